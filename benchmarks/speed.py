"""What a model takes from file to events, with and without its switch: python -m benchmarks.speed MODEL FILE..."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.report import machine_line, table, write_results
from benchmarks.timing import Counts, Speed, Walks, speed_of, spied_counts, timed, walks_of
from featurizers import MediaError
from pipelines.console import Progress
from pipelines.corpora import SpokenWords
from pipelines.errors import UsageError, UserError
from pipelines.model import Model, load

OVERHEAD_BAR, FLOOR_BAR, SAVED_BAR = 0.05, 1.3, 0.8
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Timed(NamedTuple):
    """One file: median seconds per walk, and which frames reached the featurizer."""

    path: Path
    seconds: Mapping[str, float]
    counts: Counts
    seconds_of_media: float


def time_files(
    model: Model, paths: Sequence[Path], *, num_runs: int, clock: str, what: str, report: Progress
) -> list[Timed]:
    """Time and count every file."""
    walks, measured = walks_of(model), []
    for path in report.track(paths, what, unit="files"):
        counts = spied_counts(model.line, path)
        seconds = timed(walks, path, num_runs=num_runs, clock=CLOCKS[clock])
        measured.append(Timed(path, seconds, counts, counts.num_frames * model.line.grid.hop_seconds))
    return measured


def total(measured: Sequence[Timed]) -> Timed:
    """Sums over files."""
    return Timed(
        Path("all"),
        {name: sum(item.seconds[name] for item in measured) for name in Walks._fields},
        Counts._make(map(sum, zip(*(item.counts for item in measured), strict=True))),
        sum(item.seconds_of_media for item in measured),
    )


def speed_figures(item: Timed) -> Speed:
    """What one file's (or all files') times say."""
    share = item.counts.num_open / item.counts.num_frames if item.counts.num_frames else 0.0
    return speed_of(item.seconds, seconds_of_media=item.seconds_of_media, frames_open=share)


def speed_table(measured: Sequence[Timed]) -> str:
    """A line per file, the sum last."""
    head = ["file", "open", "switch", "open all", "switch all open", "no switch", "floor"]
    head += ["x real time", "saved share", "overhead", "x floor"]
    rows = []
    for item in measured:
        speed = speed_figures(item)
        rows.append(
            [item.path.name, f"{speed.frames_open:.1%}"]
            + [f"{item.seconds[name]:.3f} s" for name in Walks._fields]
            + [f"{speed.times_real_time:.0f}", f"{speed.saved_share:.2f}"]
            + [f"{speed.all_open_overhead:+.1%}", f"{speed.ratio_to_floor:.2f}"]
        )
    return table(head, rows)


def count_line(counts: Counts) -> str:
    """What reached the featurizer, in words."""
    verdict = "no other closed frame reached it" if counts.is_clean else "THE WALK IS BROKEN"
    return (
        f"of {counts.num_frames} frames the switch opened {counts.num_open}; the featurizer computed "
        f"{counts.num_open_computed} of them and {counts.num_bridged} in short gaps between: {verdict} "
        f"(stray {counts.num_stray}, repeated {counts.num_repeated}; with the context of its runs it read "
        f"{counts.num_read})"
    )


def verdict(name: str, value: float, bar: float, *, at_most: bool) -> str:
    """A figure against its bar."""
    is_met = value <= bar if at_most else value >= bar
    return f"{name}: {value:.3f}, bar {'<=' if at_most else '>='} {bar:g}: {'met' if is_met else 'NOT met'}"


def sparse_files(model: Model, hours: float, cache: Path, report: Progress) -> list[Path]:
    """Streams of the model's words in which all speech together fills at most 1 % of the time."""
    corpus = SpokenWords(model.labels, train_hours={}, validation_hours={}, test_hours={"sparse": hours})
    folder = cache / "corpora"
    folder.mkdir(parents=True, exist_ok=True)
    with report.step("sparse streams"):
        return [recording.source for recording in corpus.prepare(folder)]


def measure(
    model: Model, paths: Sequence[Path], *, num_runs: int, clock: str, what: str, report: Progress
) -> tuple[dict[str, Any], Timed]:
    """Measure some files, print, and return results.json's part with the sum."""
    measured = time_files(model, paths, num_runs=num_runs, clock=clock, what=what, report=report)
    everything = total(measured)
    print(f"{what}: medians of {num_runs} runs, {clock} time, {everything.seconds_of_media / 60:.1f} min of media")
    print(speed_table(measured if len(measured) == 1 else [*measured, everything]))
    print(count_line(everything.counts))
    results = {
        str(item.path): {"seconds": item.seconds, "counts": item.counts, "speed": speed_figures(item)}
        for item in [*measured, everything]
    }
    return results, everything


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL", type=Path, help="model folder of a run")
    parser.add_argument("files", metavar="FILE", type=Path, nargs="*", help="recordings")
    parser.add_argument("--runs", type=int, default=7, help="runs per file and walk (default: %(default)s)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a machine that is busy otherwise")
    parser.add_argument("--sparse-hours", type=float, default=0.0, metavar="H", help="hours of sparse streams to stage")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where sparse streams are staged")
    parser.add_argument("--output", type=Path, metavar="DIR", help="gets results.json")
    options = parser.parse_args(argv)
    try:
        return _run(options, Progress())
    except (UserError, MediaError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)


def _run(options: argparse.Namespace, report: Progress) -> int:
    if options.runs < 1:
        raise UsageError(f"--runs {options.runs}: at least 1")
    if not options.files and not options.sparse_hours:
        raise UsageError("name recordings, or give --sparse-hours and --cache")
    if options.sparse_hours and options.cache is None:
        raise UsageError("--sparse-hours needs --cache DIR, where the streams are staged")
    torch.set_num_threads(1)
    model = load(options.model)
    print(f"{options.model} ({model.fingerprint}) on {machine_line()}")
    results: dict[str, Any] = {"model": options.model, "fingerprint": model.fingerprint, "clock": options.clock}
    how = {"num_runs": options.runs, "clock": options.clock, "report": report}
    is_clean = True
    if options.files:
        results["files"], everything = measure(model, options.files, what="recordings", **how)
        speed, is_clean = speed_figures(everything), everything.counts.is_clean
        print(verdict("saved share", speed.saved_share, SAVED_BAR, at_most=False))
        print(verdict("overhead with everything open", speed.all_open_overhead, OVERHEAD_BAR, at_most=True))
    if options.sparse_hours:
        paths = sparse_files(model, options.sparse_hours, options.cache, report)
        results["sparse"], everything = measure(model, paths, what="sparse streams", **how)
        is_clean &= everything.counts.is_clean
        ratio = speed_figures(everything).ratio_to_floor
        print(verdict("time of sparse streams against the floor", ratio, FLOOR_BAR, at_most=True))
    if options.output is not None:
        print(f"written: {write_results(options.output, results)}")
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
