"""What an encoder of surnn costs beside torch's dense one, by share of open frames: python -m benchmarks.encoder"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.report import machine_line, table, write_results
from pipelines.errors import UsageError
from surnn import SuGRU, SuLSTM, SuRNN, Switch, sample_closed

CELLS: Mapping[str, tuple[Any, Any]] = {
    "gru": (SuGRU, nn.GRU),
    "lstm": (SuLSTM, nn.LSTM),
    "rnn": (SuRNN, nn.RNN),
}
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
DENSE, INFERENCE = "torch, training", "torch, inference"
TRAINING = ("fixed switch", "exact", "sampled 10 %", "confidence", "exact, half the neurons")
WAYS = (*TRAINING, "inference")
SHARE_SAMPLED = 0.1


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


class Cost(NamedTuple):
    """What one way takes.

    Args:
        seconds: of a training step (forward, backward), or of a forward pass alone.
        kept_megabytes: what autograd keeps for the backward pass beside input, switch and weights; None without one.
    """

    seconds: float
    kept_megabytes: float | None


def ways_of(cell: str, size: Size, share: float) -> dict[str, Callable[[], Tensor]]:
    """Forward passes by name, all over the same frames, weights and open frames; each gives a loss or an output."""
    ours, theirs = CELLS[cell]
    stock = theirs(size.input_size, size.hidden_size, batch_first=True)
    layer = ours.from_torch(stock)
    frames = torch.randn(size.streams, size.frames, size.input_size)
    is_open = torch.rand(size.streams, size.frames) < share
    neurons = (torch.rand(size.streams, size.frames, size.hidden_size) < 0.5).float()

    def loss(*, learns: bool = True, neurons: Tensor | None = None, closed_frames: Any = "exact") -> Tensor:
        switch = Switch(is_open.float().requires_grad_(learns), neurons)
        if closed_frames == "sampled":
            closed_frames = sample_closed(switch, SHARE_SAMPLED)
        output: Tensor = layer(frames, switch=switch, closed_frames=closed_frames).output
        return output.square().mean()

    def output_of(encoder: nn.Module, **options: Any) -> Tensor:
        with torch.inference_mode():
            output: Tensor = encoder(frames, **options)[0]
        return output

    return {
        DENSE: lambda: stock(frames)[0].square().mean(),
        INFERENCE: lambda: output_of(stock),
        "fixed switch": lambda: loss(learns=False),
        "exact": loss,
        "sampled 10 %": lambda: loss(closed_frames="sampled"),
        "confidence": lambda: loss(closed_frames="confidence"),
        "exact, half the neurons": lambda: loss(neurons=neurons),
        "inference": lambda: output_of(layer, switch=Switch(is_open.float())),
    }


def costs_of(ways: Mapping[str, Callable[[], Tensor]], size: Size, *, num_runs: int, clock: str) -> dict[str, Cost]:
    """Medians; the ways take turns, after one turn that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(num_runs + 1):
        for name, way in ways.items():
            started = CLOCKS[clock]()
            result = way()
            if result.requires_grad:
                torch.autograd.backward(result)
            if run > 0:
                seconds[name].append(CLOCKS[clock]() - started)
    return {name: Cost(statistics.median(seconds[name]), kept_megabytes(way, size)) for name, way in ways.items()}


def kept_megabytes(way: Callable[[], Tensor], size: Size) -> float | None:
    """What autograd keeps from a forward pass, each piece of memory once, input frames and weights left out."""
    given = size.streams * size.frames * size.input_size * 4
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.nbytes() != given and not isinstance(tensor, nn.Parameter):
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = way()
    return sum(kept.values()) / 1e6 if result.requires_grad else None


def cost_table(costs: Mapping[float, Mapping[str, Cost]]) -> str:
    """Times faster than torch's dense layer in the same turn, and memory kept as a share of torch's."""
    head = ["frames open", *(f"{way} x" for way in WAYS), "torch ms", "memory, exact", "... torch MB"]
    rows = []
    for share, by_way in costs.items():
        dense = by_way[DENSE]
        faster = [
            f"{(by_way[INFERENCE] if way == 'inference' else dense).seconds / by_way[way].seconds:.1f}" for way in WAYS
        ]
        kept = by_way["exact"].kept_megabytes
        assert kept is not None
        assert dense.kept_megabytes is not None
        memory = [f"{kept / dense.kept_megabytes:.0%}", f"{dense.kept_megabytes:.0f}"]
        rows.append([f"{share:.0%}", *faster, f"{1e3 * dense.seconds:.0f}", *memory])
    return table(head, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--cell", choices=CELLS, default="gru")
    parser.add_argument("--streams", type=int, default=16, metavar="B", help="(default: %(default)s)")
    parser.add_argument("--frames", type=int, default=1000, metavar="T", help="(default: %(default)s)")
    parser.add_argument("--input-size", type=int, default=64, metavar="F", help="(default: %(default)s)")
    parser.add_argument("--hidden-size", type=int, default=128, metavar="H", help="(default: %(default)s)")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, metavar="P", help="shares of open frames")
    parser.add_argument("--runs", type=int, default=7, help="turns of every way (default: %(default)s)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a machine that is busy otherwise")
    parser.add_argument("--output", type=Path, metavar="DIR", help="gets results.json")
    options = parser.parse_args(argv)
    try:
        return _run(options)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    size = Size(options.streams, options.frames, options.input_size, options.hidden_size)
    if options.runs < 1 or min(size) < 1:
        raise UsageError("--runs and all sizes are at least 1")
    if any(not 0 < share <= 1 for share in options.shares):
        raise UsageError(f"--shares {options.shares}: each is in (0, 1]")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{options.cell}, {size}, float32, medians of {options.runs} turns, {options.clock} time; {machine_line()}")
    costs = {}
    for share in options.shares:
        ways = ways_of(options.cell, size, share)
        costs[share] = costs_of(ways, size, num_runs=options.runs, clock=options.clock)
    print(cost_table(costs))
    if options.output is not None:
        results = {"cell": options.cell, "size": size, "clock": options.clock, "costs": costs}
        print(f"written: {write_results(options.output, results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
