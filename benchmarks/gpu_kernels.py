"""What recurrent layers cost on a GPU beside cuDNN's, by what is open: python -m benchmarks.gpu_kernels

First the tests of the kernels run on the GPU: without them no speed is printed. A time holds all that a layer does: the
choice of open frames, the kernels, the output held over closed frames; in training the backward pass as well, with the
exact gradient of every switch.
"""

import argparse
import itertools
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from benchmarks.report import machine_line, table, write_results
from surnn.cells import GRU, LSTM, Cell, State, Weights
from surnn.kernels.closed import Closed, Inputs
from surnn.kernels.rows import Ran
from surnn.kernels.rows import run_rows as loop_rows
from surnn.kernels.stock import run_stock
from surnn.kernels.triton_rows import run_rows as triton_rows
from surnn.kernels.triton_ways import Way, fits_on_chip
from surnn.layout import held_rows, lay_out

NO_GPU = 2
TESTS = Path(__file__).parents[1] / "tests" / "surnn" / "test_triton_rows.py"
CELLS: Mapping[str, tuple[Cell, Any]] = {"gru": (GRU, nn.GRU), "lstm": (LSTM, nn.LSTM)}
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DENSE, PACKED, LOOP, AUTO = "cuDNN, dense", "cuDNN, packed", "loop", "auto"
LOOP_STEPS = 200  # each takes a dozen launches: more would take minutes
Scan = Callable[[], tuple[Tensor, ...]]


class Density(NamedTuple):
    """What is open.

    Args:
        frames: share of frames.
        neurons: share of the neurons of an open frame; None: there is no neuron switch.
        bar: times faster than the dense layer that the best way is to be.
    """

    frames: float
    neurons: float | None
    bar: float


# cuDNN's packed kernels count as a way where whole frames are open.
DENSITIES = (Density(1.0, None, 1 / 1.5), Density(0.1, None, 6.0), Density(0.1, 0.5, 6.0), Density(1.0, 0.1, 1.0))


class Size(NamedTuple):
    """Shape of what is run.

    Args:
        streams: B.
        frames: T.
        input_size: F.
        hidden_size: H.
    """

    streams: int
    frames: int
    input_size: int
    hidden_size: int


class Setting(NamedTuple):
    """One layer, its input and switch, on a device.

    Args:
        cell: the equations.
        stock: torch's dense layer.
        weights: the same weights.
        frames: (B, T, F).
        state: tensors (B, H).
        is_open: (B, T) in {0, 1}.
        neurons: (B, T, H) in {0, 1}, or None.
    """

    cell: Cell
    stock: nn.RNNBase
    weights: Weights
    frames: Tensor
    state: State
    is_open: Tensor
    neurons: Tensor | None


def setting_of(name: str, size: Size, density: Density, device: torch.device, dtype: torch.dtype) -> Setting:
    """Random weights, frames and switches."""
    cell, layer = CELLS[name]
    stock = layer(size.input_size, size.hidden_size, batch_first=True, device=device, dtype=dtype)
    weights = Weights(stock.weight_ih_l0, stock.weight_hh_l0, stock.bias_ih_l0, stock.bias_hh_l0)
    shape = size.streams, size.frames
    is_open = (torch.rand(shape, device=device) < density.frames).to(dtype)
    neurons = None
    if density.neurons is not None:
        neurons = (torch.rand(*shape, size.hidden_size, device=device) < density.neurons).to(dtype)
    state = tuple(
        torch.zeros(size.streams, size.hidden_size, device=device, dtype=dtype) for _ in range(cell.num_parts)
    )
    frames = torch.randn(*shape, size.input_size, device=device, dtype=dtype)
    return Setting(cell, stock, weights, frames, state, is_open, neurons)


def ways_of(setting: Setting, *, learns: bool) -> dict[str, Scan]:
    """Passes by name, each giving the dense output, and in training gradients after it, those of switches last."""
    cell, weight = setting.cell, setting.weights.weight_hh
    has_switch = setting.neurons is not None or not bool((setting.is_open > 0.5).all())
    ways: dict[str, Scan] = {DENSE: lambda: dense(setting, learns=learns)}
    if setting.neurons is None and not (learns and has_switch):  # cuDNN gives no gradient of a switch
        ways[PACKED] = lambda: packed(setting, _run_stock, learns=learns)
    if setting.is_open.sum(dim=1).max() <= LOOP_STEPS:
        ways[LOOP] = lambda: packed(setting, loop_rows, learns=learns)
    for way in get_args(Way):
        if way != "on chip" or fits_on_chip(cell, weight, is_backward=False):
            ways[f"Triton, {way}"] = lambda way=way: packed(setting, _run_triton(way), learns=learns)  # type: ignore[misc]
    ways[AUTO] = lambda: packed(setting, _run_triton(None), learns=learns)
    return ways


def _run_stock(cell: Cell, rows: Tensor, state: State, weights: Weights, layout: Any, *_: Any) -> Ran:
    return Ran(*run_stock(cell, rows, state, weights, layout), None)


def _run_triton(way: Way | None) -> Callable[..., Ran]:
    return lambda *given: triton_rows(*given, way=way)


def dense(setting: Setting, *, learns: bool) -> tuple[Tensor, ...]:
    """torch's layer over all frames."""
    with torch.set_grad_enabled(learns):
        output: Tensor = setting.stock(setting.frames)[0]
    return (output, *_gradients(output, setting, [])) if learns else (output,)


def packed(setting: Setting, run: Callable[..., Ran], *, learns: bool) -> tuple[Tensor, ...]:
    """Open frames picked, run, and held: a layer of surnn."""
    batch, num_frames = setting.is_open.shape
    has_switch = setting.neurons is not None or not bool((setting.is_open > 0.5).all())
    with torch.set_grad_enabled(learns):
        frames, neurons = setting.is_open, setting.neurons
        if learns and has_switch:
            frames = frames.detach().requires_grad_()
            neurons = None if neurons is None else neurons.detach().requires_grad_()
        opened = frames.detach() > 0.5
        stream, index = opened.nonzero(as_tuple=True)
        counts = opened.sum(dim=1)
        place = held_rows(opened, counts)
        gate, closed = None, None
        if has_switch:
            gate = frames[stream, index, None]
            gate = gate if neurons is None else gate * neurons[stream, index]
        if learns and has_switch:
            own = torch.arange(batch * num_frames, device=frames.device).view(batch, num_frames)
            inputs = Inputs((setting.frames.flatten(0, 1),), (own,), None)
            closed = Closed(~opened, 1.0, place, inputs, setting.neurons, False)
        given = setting.cell, setting.frames[stream, index], setting.state, setting.weights, lay_out(counts)
        learned = frames if closed is not None else None
        ran = run(*given, gate, learned, closed, closed is not None)
        output = torch.cat((setting.state[0], ran.output))[place]
        output = output if ran.tap is None else output + ran.tap
    if not learns:
        return (output,)
    switches = [part for part in (frames, neurons) if part is not None and part.requires_grad]
    return (output, *_gradients(output, setting, switches))


def _gradients(output: Tensor, setting: Setting, switches: list[Tensor]) -> tuple[Tensor, ...]:
    loss = output.square().mean(dtype=torch.float32)
    weights = [tensor for tensor in setting.weights if tensor is not None]
    return torch.autograd.grad(loss, [*weights, *switches])


def milliseconds(scan: Scan, num_runs: int) -> float:
    """Median, after two turns that do not count: the first compiles. NaN where memory does not suffice."""
    took: list[float] = []
    for run in range(num_runs + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        begin.record()
        try:
            scan()
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            return math.nan
        end.record()
        torch.cuda.synchronize()
        if run >= 2:
            took.append(begin.elapsed_time(end))
    return statistics.median(took)


def line_of(took: Mapping[str, float], columns: Sequence[str], bar: float) -> list[str]:
    """Milliseconds of each way; then the best of ours, how much faster than dense it is, and whether that is enough."""
    ours = {name: each for name, each in took.items() if name != DENSE and not math.isnan(each)}
    cells = ["" if name not in took else f"{took[name]:.2f}" for name in columns]
    if not ours or math.isnan(took[DENSE]):
        return [*cells, "-", "-", "no memory"]
    best = min(ours, key=lambda name: ours[name])
    faster = took[DENSE] / ours[best]
    return [*cells, best, f"{faster:.2f}", f"{'met' if faster >= bar else 'NOT met'} ({bar:.2f})"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 2 where there is no GPU, 1 where its kernels are wrong."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="1,000 frames, 128 and 512 neurons, few runs")
    parser.add_argument("--type", choices=TYPES, default="float32", help="of weights and frames (default: %(default)s)")
    parser.add_argument("--tf32", action="store_true", help="let cuDNN and products round float32 to 11 bits")
    parser.add_argument("--output", type=Path, metavar="DIR", help="gets results.json")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("error: torch sees no CUDA GPU here, and there is nothing else to measure; nothing ran", file=sys.stderr)
        return NO_GPU
    print(f"tests on {torch.cuda.get_device_name()}: {TESTS.name}", flush=True)
    if subprocess.run([sys.executable, "-m", "pytest", "-q", str(TESTS)], cwd=TESTS.parents[2]).returncode != 0:
        print("error: the kernels differ from the reference here; their speed is not measured", file=sys.stderr)
        return 1
    _measure(options)
    return 0


def _measure(options: argparse.Namespace) -> None:
    how = "tf32" if options.tf32 else "ieee"
    torch.backends.cuda.matmul.fp32_precision = how
    torch.backends.cudnn.rnn.fp32_precision = how  # type: ignore[attr-defined]
    device, dtype = torch.device("cuda"), TYPES[options.type]
    lengths, hidden_sizes = ((1000,), (128, 512)) if options.quick else ((1000, 10_000), (128, 256, 512))
    num_runs = 3 if options.quick else 7
    columns = [DENSE, PACKED, LOOP, *(f"Triton, {way}" for way in get_args(Way)), AUTO]
    precision = f"{options.type}{', TF32' if options.tf32 else ''}"
    print(f"{torch.cuda.get_device_name()}, {precision}, milliseconds, medians of {num_runs}; {machine_line()}")
    rows, results = [], []
    shapes = itertools.product(CELLS, lengths, hidden_sizes, (1, 16, 256), DENSITIES, (False, True))
    for name, num_frames, hidden_size, batch, density, learns in shapes:
        torch.manual_seed(0)
        size = Size(batch, num_frames, 64, hidden_size)
        try:
            ways = ways_of(setting_of(name, size, density, device, dtype), learns=learns)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            continue
        took = {way: milliseconds(scan, num_runs) for way, scan in ways.items()}
        label = f"{name} {'training' if learns else 'inference'} T={num_frames} H={hidden_size} B={batch}"
        neurons = "" if density.neurons is None else f", {density.neurons:.0%} of neurons"
        row = [f"{label}: {density.frames:.0%} of frames{neurons}", *line_of(took, columns, density.bar)]
        print("  ".join(row), file=sys.stderr, flush=True)
        rows.append(row)
        results.append({"cell": name, "size": size, "density": density, "training": learns, "milliseconds": took})
    print(table(["", *columns, "best", "times dense", "bar"], rows))
    if options.output is not None:
        facts = {"gpu": torch.cuda.get_device_name(), "precision": precision, "runs": num_runs, "rows": results}
        print(f"written: {write_results(options.output, facts)}")


if __name__ == "__main__":
    sys.exit(main())
