"""What a switch saves before a dear featurizer, from file to events: python -m benchmarks.dear_featurizer MODEL

The switch, its glance and its threshold are the model's; the featurizer is HuBERT base's transformer (95 million
parameters) with random weights, which cost what trained ones cost. It is computed in windows: one open frame opens its
window. Everything open is the same walk, many windows to a pass, and again in windows of 12.8 s, which spares much of
the context on either side and is then another model. Without FILE, streams that are mostly silent are staged. One
thread; medians of --runs turns, one file after the other.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.report import machine_line, table, write_results
from benchmarks.timing import line_with, spied_counts
from featurizers import TorchaudioBundle
from pipelines.console import Progress
from pipelines.corpora import SpokenWords
from pipelines.encoder import Encoder
from pipelines.errors import UserError
from pipelines.heads import LevelDecay
from pipelines.line import Line
from pipelines.model import Model, load
from surnn import Gate, Open

LONG_WINDOW_SECONDS = 12.8
SPEED_BAR, OPEN_BAR = 5.0, 0.10


class Shares(NamedTuple):
    """Of all frames, those that the switch opened, and those that the featurizer computed."""

    frames_open: float
    frames_computed: float


def with_transformer(line: Line, *, name: str, window_seconds: float, context_seconds: float) -> Line:
    """The same glance and switch before a transformer of random weights, with an encoder and a head that fit it.

    Args:
        name: of torchaudio's bundle.
    """
    dear = TorchaudioBundle(
        line.grid, name=name, weights=None, window_seconds=window_seconds, context_seconds=context_seconds
    )
    changed: Any = line_with(line, featurizer=dear)
    changed.encoder = Encoder(dear.size, 128)
    changed.head = LevelDecay(changed.encoder.size, line.head.num_labels)
    ready: Line = changed.eval()
    return ready


def shares_of(line: Line, files: Sequence[Path]) -> Shares:
    """Counted at the featurizer itself.

    Raises:
        UserError: if it was asked for a frame twice, or an open frame never reached it.
    """
    counts = [spied_counts(line, path) for path in files]
    if any(each.num_open_computed < each.num_open or each.num_repeated for each in counts):
        raise UserError("the walk is broken: an open frame was computed twice, or not at all")
    total = sum(each.num_frames for each in counts)
    computed = sum(each.num_open_computed + each.num_bridged + each.num_stray for each in counts)
    return Shares(sum(each.num_open for each in counts) / total, computed / total)


def measure(ways: dict[str, Callable[[], object]], num_runs: int) -> dict[str, float]:
    """Median seconds of each way; they take turns, so that a slow minute of the machine falls on all of them alike."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(num_runs):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def ways_of(model: Model, line: Line, long: Line, files: Sequence[Path]) -> dict[str, Callable[[], object]]:
    """From file to events with the switch and with everything open, and what nothing can skip."""

    def walk(line: Line, gate: Gate | None) -> Callable[[], object]:
        def run() -> None:
            for path in files:
                with line.open(path) as stream:
                    track = line.follow(stream, gate=gate)
                model.task.decode(track.held, track.grid, track.seconds, model.labels, model.decisions)

        return run

    def floor() -> None:
        for path in files:
            with line.open(path) as stream:
                line.glance_only(stream)

    dense = Open(line.glance.size)
    return {"switch": walk(line, None), "open": walk(line, dense), "open_long": walk(long, dense), "floor": floor}


def staged(cache: Path, labels: Sequence[str], minutes: float, kind: str) -> list[Path]:
    """Streams in voices that no model has heard in training."""
    corpus = SpokenWords(
        labels,
        train_hours={},
        validation_hours={},
        test_hours={kind: minutes / 60},
        stream_seconds=min(3600.0, minutes * 60),
        seed=11,
    )
    with Progress().step("staging streams"):
        return [recording.source for recording in corpus.prepare(cache / "corpora")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("model", type=Path, metavar="MODEL", help="model folder of a run of recipes/kws.yaml")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="recordings; default: staged ones")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="for staged streams, as in pipelines.run")
    parser.add_argument("--minutes", type=float, default=2.0, help="of staged streams; default: %(default)s")
    parser.add_argument("--kind", default="quiet", help="of staged streams, see SpokenWords; default: %(default)s")
    parser.add_argument("--bundle", default="HUBERT_BASE", help="torchaudio's name; default: %(default)s")
    parser.add_argument("--window-seconds", type=float, default=0.64, help="of the featurizer; default: %(default)s")
    parser.add_argument("--context-seconds", type=float, default=0.32, help="on either side; default: %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="turns; default: %(default)s")
    parser.add_argument("--output", type=Path, metavar="DIR", help="gets results.json")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    try:
        if not options.files and options.cache is None:
            raise UserError("name FILEs, or say with --cache DIR where streams are staged")
        model = load(options.model)
        files = options.files or staged(options.cache, model.labels, options.minutes, options.kind)
        line, long = (
            with_transformer(
                model.line, name=options.bundle, window_seconds=window, context_seconds=options.context_seconds
            )
            for window in (options.window_seconds, LONG_WINDOW_SECONDS)
        )
        shares = shares_of(line, files)
        with Progress().step(f"timing {options.runs} turns"):
            seconds = measure(ways_of(model, line, long, files), options.runs)
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    faster = seconds["open"] / seconds["switch"]
    could_save = (1 - shares.frames_open) * (seconds["open"] - seconds["floor"])
    names = {
        "switch": "with the switch",
        "open": "everything open, the same windows",
        "open_long": f"everything open, windows of {LONG_WINDOW_SECONDS:g} s (another model)",
        "floor": "reading and glance alone",
    }
    rows = [[names[way], f"{took:.2f} s", f"{took / seconds['switch']:.1f}"] for way, took in seconds.items()]
    print(f"{options.bundle}, windows of {options.window_seconds:g} s, on {machine_line()}")
    print(f"{shares.frames_open:.1%} of the frames open, {shares.frames_computed:.1%} computed")
    print(table(["from file to events", "seconds", "of the switch's"], rows))
    is_asked = shares.frames_open <= OPEN_BAR
    verdict = ("met" if faster >= SPEED_BAR else "missed") if is_asked else f"asked at {OPEN_BAR:.0%} open only"
    print(f"{faster:.1f} times faster than everything open (bar {SPEED_BAR:g}: {verdict})")
    print(f"saved {(seconds['open'] - seconds['switch']) / could_save:.2f} of what closed frames could save at most")
    if options.output is not None:
        figures = {"files": files, "seconds": seconds, **shares._asdict(), "times_faster": faster}
        print(f"written: {write_results(options.output, vars(options) | figures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
