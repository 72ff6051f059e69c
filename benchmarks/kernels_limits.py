"""What this machine can do at most: arithmetic and memory, measured; and so how long a recurrence must take."""

import time
from typing import Any, NamedTuple

import numpy as np
import torch

from surnn.kernels import event_loops
from surnn.kernels.event_math import OPTIONS, VECTOR_BYTES


class Machine(NamedTuple):
    """One core.

    Args:
        operations_per_second: multiplications and additions of float32, of numbers that lie in the nearest cache.
        bytes_per_second: reading a block of memory again and again, by its size in bytes.
    """

    operations_per_second: float
    bytes_per_second: dict[int, float]


def _read(values: Any) -> Any:
    total = np.float32(0)
    for number in range(values.shape[0]):
        total += values[number]
    return total


def measure_machine(sizes: list[int]) -> Machine:
    """Measure for weights of these sizes in bytes; takes about a tenth of a second each."""
    from numba import njit

    read = njit(**{**OPTIONS, "fastmath": True})(_read)
    speeds = {}
    for size in sizes:
        block = np.ones(max(1, size // 4), np.float32)
        seconds = fastest_seconds(lambda: read(block))  # noqa: B023 - called at once
        speeds[size] = size / seconds
    num_inputs, num_outputs, num_rows = 32, 6 * VECTOR_BYTES // 4, 64
    tiles, first = np.ones(num_inputs * num_outputs, np.float32), np.zeros(num_outputs, np.float32)
    x, out = np.ones((num_rows, num_inputs), np.float32), np.zeros((num_rows, num_outputs), np.float32)
    places = np.arange(num_rows)
    given = tiles, first, x.reshape(-1), places * num_inputs, out.reshape(-1), places * num_outputs
    seconds = fastest_seconds(lambda: event_loops.products(*given, num_rows, num_inputs, num_outputs))
    return Machine(2 * num_rows * num_inputs * num_outputs / seconds, speeds)


def fastest_seconds(call: Any, at_least_seconds: float = 0.1) -> float:
    """The fastest of as many calls as fit, after one that does not count."""
    call()
    best, begun = np.inf, time.perf_counter()
    while time.perf_counter() - begun < at_least_seconds:
        before = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - before)
    return float(best)


def least_seconds(
    machine: Machine, *, num_blocks: int, input_size: int, hidden_size: int, num_rows: int, num_steps: int
) -> float:
    """What the open rows must take on one core: their arithmetic, or reading W_hh at every step, whichever is longer.

    Args:
        machine: the core.
        num_blocks, input_size, hidden_size: of the cell.
        num_rows: open rows.
        num_steps: steps in which streams go together.
    """
    weights = num_blocks * hidden_size * hidden_size
    operations = 2.0 * num_rows * (weights + num_blocks * hidden_size * input_size)
    nearest = min(machine.bytes_per_second, key=lambda size: abs(size - 4 * weights))
    reading = num_steps * 4 * weights / machine.bytes_per_second[nearest]
    return max(operations / machine.operations_per_second, reading)


def versions() -> dict[str, str]:
    """Libraries that were compared."""
    import numba
    import onnxruntime  # type: ignore[import-untyped]

    found = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "numba": numba.__version__}
    return {**found, "numpy": np.__version__}
