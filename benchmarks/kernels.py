"""surnn's CPU kernels beside torch and ONNX Runtime: python -m benchmarks.kernels [--quick] [--json FILE]."""

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.kernels_limits import Machine, least_seconds, measure_machine, versions
from benchmarks.kernels_rivals import LAYERS, onnx_call, torch_call
from benchmarks.report import machine, machine_line, plain, table
from pipelines.runfolder import write_atomic
from surnn import EventGate, Switch

INPUT_SIZE = 64
GLANCE_SIZE = 8
MAX_NUMBERS = 2**28  # of an output; larger shapes are left out
BARS = {"all open": 1 / 1.3, "10 % frames": 7.0, "10 % frames, 50 % neurons": 10.0, "5 % neurons": 3.0}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
NUM_BLOCKS = {"gru": 3, "lstm": 4, "rnn": 1}


class Shape(NamedTuple):
    """What is run.

    Args:
        cell: "gru", "lstm" or "rnn".
        hidden_size, batch, num_frames: H, B, T.
        num_threads: that torch, ONNX Runtime and the kernels may use.
    """

    cell: str
    hidden_size: int
    batch: int
    num_frames: int
    num_threads: int


class Spread(NamedTuple):
    """Seconds of several runs."""

    median: float
    lower: float
    upper: float
    num_runs: int


class Row(NamedTuple):
    """One shape and density, ours beside the rivals.

    Args:
        shape: of the run.
        density: one of BARS.
        seconds: by name: "torch", "onnxruntime", "ours" (packing, steps and holding), "switch" (deciding).
        times_faster: than the faster rival, the switch counted with ours.
        bar: what times_faster is to be.
        share_of_limit: least seconds that the machine could take for the open rows, by ours.
        max_difference: of the outputs with everything open, ours and the rivals'.
    """

    shape: Shape
    density: str
    seconds: Mapping[str, Spread]
    times_faster: float
    bar: float
    share_of_limit: float
    max_difference: float


def switches(shape: Shape) -> dict[str, Switch | None]:
    """The densities, drawn at random; a frame or neuron more or less is left out, so that shares are exact."""
    batch, num_frames, num_neurons = shape.batch, shape.num_frames, shape.hidden_size

    def share_of(rows: int, size: int, share: float) -> Tensor:
        taken = torch.rand(rows, size).argsort(dim=1)[:, : max(1, round(share * size))]
        return torch.zeros(rows, size).scatter_(1, taken, 1)

    tenth = share_of(batch, num_frames, 0.1)
    drawn = min(batch * num_frames, 1000)  # rows of a neuron switch; more repeat them
    repeats = -(-batch * num_frames // drawn)

    def neurons(share: float) -> Tensor:
        rows = share_of(drawn, num_neurons, share).repeat(repeats, 1)[: batch * num_frames]
        return rows.view(batch, num_frames, num_neurons)

    return {
        "all open": None,
        "10 % frames": Switch(tenth),
        "10 % frames, 50 % neurons": Switch(tenth, neurons(0.5)),
        "5 % neurons": Switch(torch.ones(batch, num_frames), neurons(0.05)),
    }


def in_turns(
    calls: Mapping[str, Callable[[], object]],
    *,
    at_least_runs: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Spread]:
    """Medians and quartiles; the calls take turns, so that a slow second of the machine falls on all alike."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    begun, num_runs = time.perf_counter(), -1
    while num_runs < at_least_runs or (time.perf_counter() - begun < seconds and num_runs < 200):
        for name, call in calls.items():
            before = clock()
            call()
            if num_runs >= 0:  # the first run of each does not count
                taken[name].append(clock() - before)
        num_runs += 1
    return {name: spread_of(values) for name, values in taken.items()}


def spread_of(seconds: Sequence[float]) -> Spread:
    """Median and quartiles."""
    lower, median, upper = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else (seconds[0],) * 3
    return Spread(median, lower, upper, len(seconds))


@torch.inference_mode()
def measure(
    shape: Shape,
    limits: Machine,
    *,
    at_least_runs: int = 5,
    seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Row]:
    """All densities of one shape."""
    torch.set_num_threads(shape.num_threads)
    torch.manual_seed(0)
    kind = LAYERS[shape.cell][0]
    with torch.inference_mode(False):
        layer = kind(INPUT_SIZE, shape.hidden_size, batch_first=True).requires_grad_(False)
        gate = EventGate(GLANCE_SIZE, channels=8, dilations=(1, 2)).requires_grad_(False)
    frames = torch.randn(shape.batch, shape.num_frames, INPUT_SIZE)
    glance = torch.randn(shape.batch, shape.num_frames, GLANCE_SIZE)
    rivals = {
        "torch": torch_call(shape.cell, layer, frames),
        "onnxruntime": onnx_call(shape.cell, layer, frames, num_threads=shape.num_threads),
    }
    own = {name: (lambda given=switch: layer(frames, switch=given).output) for name, switch in switches(shape).items()}
    difference = max(float((own["all open"]() - rival()).abs().max()) for rival in rivals.values())
    calls = {**rivals, **own, "switch": lambda: gate.switch(glance)}
    found = in_turns(calls, at_least_runs=at_least_runs, seconds=seconds, clock=clock)
    best = min(found[name].median for name in rivals)
    rows = []
    for density, bar in BARS.items():
        switch_seconds = 0.0 if density == "all open" else found["switch"].median
        num_open = shape.batch * shape.num_frames * (0.1 if "frames" in density else 1.0)
        neurons_open = {"10 % frames, 50 % neurons": 0.5, "5 % neurons": 0.05}.get(density, 1.0)
        limit = neurons_open * least_seconds(
            limits,
            num_blocks=NUM_BLOCKS[shape.cell],
            input_size=INPUT_SIZE,
            hidden_size=shape.hidden_size,
            num_rows=round(num_open),
            num_steps=round(num_open / shape.batch),
        )
        kept = {name: found[name] for name in ("torch", "onnxruntime", "switch")} | {"ours": found[density]}
        faster = best / (found[density].median + switch_seconds)
        limit = limit / min(shape.num_threads, shape.batch)
        rows.append(Row(shape, density, kept, faster, bar, limit / found[density].median, difference))
    return rows


def rows_table(rows: Sequence[Row]) -> str:
    """A line per shape and density; microseconds per frame of a stream."""
    head = ["cell", "H", "B", "T", "threads", "open", "torch us", "ORT us", "ours us", "switch us"]
    head += ["x faster", "without switch", "bar", "of limit"]
    lines = []
    for row in rows:
        shape, num_frames = row.shape, row.shape.batch * row.shape.num_frames
        each = {name: f"{spread.median / num_frames * 1e6:.3f}" for name, spread in row.seconds.items()}
        alone = min(row.seconds["torch"].median, row.seconds["onnxruntime"].median) / row.seconds["ours"].median
        is_met = row.times_faster >= row.bar
        lines.append(
            [
                *map(str, shape),
                row.density,
                *(each[name] for name in ("torch", "onnxruntime", "ours", "switch")),
                f"{row.times_faster:.2f}",
                f"{alone:.2f}",
                f"{row.bar:.2f}{'' if is_met else ' missed'}",
                f"{row.share_of_limit:.0%}",
            ]
        )
    return table(head, lines)


def shapes_of(options: argparse.Namespace) -> list[Shape]:
    """All combinations that fit into memory."""
    product = itertools.product(options.cells, options.hidden, options.batch, options.frames, options.threads)
    return [shape for shape in map(Shape._make, product) if shape[1] * shape[2] * shape[3] <= MAX_NUMBERS]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="GRU, 128 neurons, 1,000 frames, one thread")
    parser.add_argument("--json", type=Path, metavar="FILE", help="gets medians, spread, shapes, densities, versions")
    parser.add_argument("--cells", nargs="+", choices=LAYERS, default=["gru", "lstm", "rnn"])
    parser.add_argument("--hidden", nargs="+", type=int, default=[64, 128, 256, 512], help="neurons")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 32], help="streams")
    parser.add_argument("--frames", nargs="+", type=int, default=[100, 1_000, 10_000, 100_000], help="of each stream")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=2.0, help="spent on a shape, at least (default: %(default)s)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with one thread")
    options = parser.parse_args(argv)
    if options.clock == "cpu" and options.threads != [1] and not options.quick:
        parser.error("--clock cpu adds up what threads take; give --threads 1")
    if options.quick:
        options.cells, options.hidden, options.frames, options.threads = ["gru"], [128], [1_000], [1]
        options.seconds = min(options.seconds, 1.0)
    shapes = shapes_of(options)
    sizes = sorted({4 * NUM_BLOCKS[shape.cell] * shape.hidden_size**2 for shape in shapes})
    torch.set_num_threads(1)
    limits = measure_machine(sizes)
    print(machine_line())
    rows: list[Row] = []
    for number, shape in enumerate(shapes):
        print(f"{number + 1} of {len(shapes)}: {shape}", file=sys.stderr)
        rows += measure(shape, limits, seconds=options.seconds, clock=CLOCKS[options.clock])
    print(rows_table(rows))
    if options.json is not None:
        results: dict[str, Any] = {
            "machine": machine(),
            "clock": options.clock,
            "versions": versions(),
            "limits": limits,
            "rows": rows,
        }
        write_atomic(options.json, json.dumps(plain(results), indent=1, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
