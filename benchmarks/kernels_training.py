"""What a training step takes at 10 % open frames, beside torch's dense layer: python -m benchmarks.kernels_training."""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.kernels import CLOCKS, Spread, in_turns
from benchmarks.kernels_limits import versions
from benchmarks.kernels_rivals import LAYERS
from benchmarks.report import machine, machine_line, plain, table
from pipelines.runfolder import write_atomic
from surnn import Switch

INPUT_SIZE, BAR = 64, 3.0


class Step(NamedTuple):
    """One shape: forward and backward, weights and switch learning, every gradient exact.

    Args:
        cell, hidden_size, batch, num_frames, frames_open: the shape.
        seconds: by name: "torch", "ours", and "ours, fixed switch": without the gradients of closed frames.
        times_faster: ours than torch.
        kept_bytes: by name: what autograd keeps for the backward pass.
    """

    cell: str
    hidden_size: int
    batch: int
    num_frames: int
    frames_open: float
    seconds: dict[str, Spread]
    times_faster: float
    kept_bytes: dict[str, int]


def kept_bytes(call: Callable[[], object]) -> int:
    """Bytes that autograd keeps, each piece of memory once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        call()
    return sum(kept.values())


def measure(
    cell: str, hidden_size: int, batch: int, num_frames: int, *, frames_open: float, seconds: float, clock: str
) -> Step:
    """Time a step of each."""
    torch.manual_seed(0)
    ours, dense, _ = LAYERS[cell]
    rival = dense(INPUT_SIZE, hidden_size, batch_first=True)
    layer: Any = ours.from_torch(rival)
    frames, mix = torch.randn(batch, num_frames, INPUT_SIZE), torch.randn(batch, num_frames, hidden_size)
    is_open = (torch.rand(batch, num_frames) < frames_open).float()
    learned = is_open.clone().requires_grad_()

    def run(module: Any, **options: Any) -> Tensor:
        return torch.as_tensor((module(frames, **options)[0] * mix).sum())

    forward: dict[str, Callable[[], Tensor]] = {
        "torch": lambda: run(rival),
        "ours": lambda: run(layer, switch=Switch(learned)),
        "ours, fixed switch": lambda: run(layer, switch=Switch(is_open)),
    }

    def step(call: Callable[[], Tensor]) -> Callable[[], None]:
        def both_ways() -> None:
            for tensor in (*rival.parameters(), *layer.parameters(), learned):
                tensor.grad = None
            torch.autograd.backward(call())

        return both_ways

    calls = {name: step(call) for name, call in forward.items()}
    found = in_turns(calls, at_least_runs=3, seconds=seconds, clock=CLOCKS[clock])
    faster = found["torch"].median / found["ours"].median
    kept = {name: kept_bytes(call) for name, call in forward.items()}
    return Step(cell, hidden_size, batch, num_frames, frames_open, found, faster, kept)


def steps_table(steps: Sequence[Step]) -> str:
    """A line per shape."""
    head = ["cell", "H", "B", "T", "torch ms", "ours ms", "fixed switch ms", "x faster", "bar", "torch MiB", "ours MiB"]
    lines = []
    for step in steps:
        each = [f"{spread.median * 1000:.1f}" for spread in step.seconds.values()]
        bar = f"{BAR:.1f}{'' if step.times_faster >= BAR else ' missed'}"
        memory = [f"{step.kept_bytes[name] / 2**20:.1f}" for name in ("torch", "ours")]
        lines.append([*map(str, step[:4]), *each, f"{step.times_faster:.2f}", bar, *memory])
    return table(head, lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--cells", nargs="+", choices=LAYERS, default=["gru", "lstm", "rnn"])
    parser.add_argument("--hidden", nargs="+", type=int, default=[128, 256], help="neurons")
    parser.add_argument("--batch", nargs="+", type=int, default=[16], help="streams")
    parser.add_argument("--frames", nargs="+", type=int, default=[1_000], help="of each stream")
    parser.add_argument("--open", type=float, default=0.1, help="share of frames (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="spent on a shape, at least (default: %(default)s)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(machine_line())
    steps = []
    for shape in itertools.product(options.cells, options.hidden, options.batch, options.frames):
        print(*shape, file=sys.stderr)
        steps.append(measure(*shape, frames_open=options.open, seconds=options.seconds, clock=options.clock))
    print(steps_table(steps))
    if options.json is not None:
        results = {"machine": machine(), "versions": versions(), "clock": options.clock, "steps": steps}
        write_atomic(options.json, json.dumps(plain(results), indent=1, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
