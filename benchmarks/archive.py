"""What an archive job costs beside decoders, dense taggers and another listener: python -m benchmarks.archive MODEL

sparse     a job over streams with at most 1 % of speech, beside reading, resampling and the glance alone
journal    the same over one-minute files: the share of everything that is not tagging
workers    jobs with one and two workers, beside one and two plain decoders, each process on a processor of its own
dense      the job beside taggers that compute the same embedding for every frame, and what both find
listener   the listener of livekit-wakeword, fed with a file
"""

import argparse
import importlib.metadata
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.listener import RATE_HZ, listener_speed
from benchmarks.parallel import decode, parallel_seconds, pin, processors
from benchmarks.report import machine_line, table, write_results
from benchmarks.speed import CLOCKS, verdict
from benchmarks.streams import logit_thresholds
from benchmarks.timing import line_with, walks_of
from featurizers import Featurizer, MediaError, Stretch, context_frames, open_audio, write_audio
from pipelines.archive.finish import finish
from pipelines.archive.inputs import walk_inputs
from pipelines.archive.journal import Journal
from pipelines.archive.tagging import Settings, Tagger, outcome_of
from pipelines.console import Progress
from pipelines.corpora import SpokenWords
from pipelines.errors import UsageError, UserError
from pipelines.events import Recording
from pipelines.keywords import placements_of_decisions, results_of
from pipelines.line import Line
from pipelines.metrics import paired_bootstrap, recall_statistic, score_sheet
from pipelines.model import Model, load
from pipelines.results import Events
from pipelines.tasks import KeywordSpotting

SPARSE_BAR, JOURNAL_BAR, WORKERS_BAR, DENSE_BAR, RECALL_BAR = 0.75, 0.03, 0.9, 10.0, 1.0
PARTS = ("sparse", "journal", "workers", "dense", "listener")
WINDOWS_AT_ONCE = 64

Ways = Mapping[str, Callable[[Sequence[Path]], object]]


def side_by_side(ways: Ways, paths: Sequence[Path], *, num_runs: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds of every way through all files, in turns; before that, one file each that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(paths[:1])
    for _ in range(num_runs):
        for name, way in ways.items():
            begun = clock()
            way(paths)
            taken[name].append(clock() - begun)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


class Stopwatch:
    """A tagger that adds up the seconds another one takes."""

    def __init__(self, tagger: Tagger, clock: Callable[[], float]) -> None:
        self.fingerprint, self._tagger, self._clock = tagger.fingerprint, tagger, clock
        self.seconds = 0.0

    def tag(self, path: str, **settings: Any) -> Events:
        """As the other one."""
        begun = self._clock()
        events = self._tagger.tag(path, **settings)
        self.seconds += self._clock() - begun
        return events


def run_job(tagger: Tagger, paths: Sequence[Path], folder: Path) -> None:
    """All that a job does from paths to tables, in this process, so that one thread pays for everything.

    Raises:
        UserError: if a file could not be tagged.
    """
    settings = Settings()
    with Journal(folder) as journal:
        identity = {"model": tagger.fingerprint, "version": importlib.metadata.version("surnn-pipelines")}
        journal.settle(identity | settings._asdict())
        for _ in journal.enlist(walk_inputs(map(str, paths)), _no_matter):
            pass
        for task in journal.tasks():
            journal.record(outcome_of(tagger, settings, task, _no_matter))
        journal.commit()
        if journal.counts().failed:
            raise UserError(f"{folder}: {journal.counts().failed} files could not be tagged; there is nothing to time")
        finish(journal, folder, exports=())


def fresh_job(tagger: Tagger) -> Callable[[Sequence[Path]], None]:
    """A way to run the job in a folder of its own."""

    def way(paths: Sequence[Path]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_job(tagger, paths, Path(folder))

    return way


def job_seconds(
    model: Model, paths: Sequence[Path], *, num_runs: int, clock: Callable[[], float]
) -> tuple[dict[str, float], float]:
    """Seconds of the job, of tagging alone, of the glance and reading alone; share of the job that is not tagging."""
    line, watch, shares = model.line, Stopwatch(model, clock), list[float]()

    def job(paths: Sequence[Path]) -> None:
        before, begun = watch.seconds, clock()
        fresh_job(watch)(paths)
        shares.append(1 - (watch.seconds - before) / (clock() - begun))

    def tag(paths: Sequence[Path]) -> None:
        for path in paths:
            model.tag(path)

    def glance(paths: Sequence[Path]) -> None:
        for path in paths:
            with open_audio(path, line.rate_hz) as stream:
                line.glance_only(stream)

    def read(paths: Sequence[Path]) -> None:
        for path in paths:
            decode(path, line)

    ways = {"job": job, "tag, no job": tag, "read and glance": glance, "read": read}
    seconds = side_by_side(ways, paths, num_runs=num_runs, clock=clock)
    return seconds, statistics.median(shares[1:])


class WindowPerFrame:
    """A featurizer as a straightforward tagger calls it: each frame from a window of its own, once.

    Args:
        line: whose featurizer does the work; it must read the glance.
    """

    def __init__(self, line: Line) -> None:
        self.inner: Featurizer = line.featurizer
        self.needs, self.size = self.inner.needs, self.inner.size
        self._hop_seconds, self._context = line.grid.hop_seconds, context_frames(self.needs, line.grid)

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        """(1, context + num_frames, G) to (1, num_frames, size)."""
        windows = stretch.data[0].unfold(0, sum(self._context) + 1, 1).transpose(1, 2)
        parts = []
        for first in range(0, num_frames, WINDOWS_AT_ONCE):
            some = windows[first : min(first + WINDOWS_AT_ONCE, num_frames)]
            frames = first_frame + first + torch.arange(len(some))
            begins = (frames - self._context[0]).double() * self._hop_seconds
            parts.append(self.inner.evaluate(Stretch(some, begins), frames, 1)[:, 0])
        return torch.cat(parts)[None]


def dense_ways(model: Model) -> Ways:
    """The job; and the same model with everything open and no trace of a switch, its embedding computed in two ways."""
    windowed = replace(model, line=line_with(model.line, featurizer=WindowPerFrame(model.line)))

    def every(walk: Callable[[Path], object]) -> Callable[[Sequence[Path]], None]:
        def way(paths: Sequence[Path]) -> None:
            for path in paths:
                walk(path)

        return way

    return {
        "job": fresh_job(model),
        "dense, a window per frame": every(walks_of(windowed).no_switch),
        "dense, whole passes": every(walks_of(model).no_switch),
    }


def recall_figures(model: Model, recordings: Sequence[Recording], report: Progress) -> dict[str, Any]:
    """Recall at 1 false alarm per hour and keyword with the switch and with everything open; the relative change."""
    thresholds = logit_thresholds(model.decisions)
    placements, sheets = placements_of_decisions(model.decisions), {}
    for name in ("learned", "open"):
        chosen = report.track(recordings, f"recall, switch {name}", unit="streams")
        tracks = [model.track(recording.source, gate=model.gate_named(name)) for recording in chosen]
        sheets[name] = score_sheet(results_of(tracks, recordings, model.labels, placements), model.labels, thresholds)
    statistic = recall_statistic(1.0)
    return {
        "num_words": int(sheets["open"].num_events.sum()),
        "hours": float(sheets["open"].hours.sum()),
        "recall": {name: statistic(sheet, np.ones(len(sheet.units))) for name, sheet in sheets.items()},
        "change": paired_bootstrap(sheets["learned"], sheets["open"], statistic),
    }


def staged(model: Model, hours: Mapping[str, float], cache: Path, report: Progress) -> list[Recording]:
    """Streams of the model's words in voices it has not heard, of each kind so many hours."""
    folder = cache / "corpora"
    folder.mkdir(parents=True, exist_ok=True)
    with report.step("streams"):
        corpus = SpokenWords(model.labels, train_hours={}, validation_hours={}, test_hours=dict(hours))
        return corpus.prepare(folder)


def short_files(streams: Sequence[Path], folder: Path, *, number: int, seconds: float, rate_hz: int) -> list[Path]:
    """So many FLAC files of so many seconds, cut from streams; when these are used up, links to the first ones."""
    length, paths = round(seconds * rate_hz), list[Path]()
    for stream in streams:
        with open_audio(stream, rate_hz) as audio:
            for part in audio.blocks(length):
                if len(paths) < number and len(part) == length:
                    paths.append(folder / f"{len(paths):05d}.flac")
                    write_audio(paths[-1], part, rate_hz)
    num_cut = len(paths)
    if not num_cut:
        raise UsageError(f"no stream is as long as {seconds:g} s; nothing can be cut from them")
    for each in range(num_cut, number):
        paths.append(folder / f"{each:05d}.flac")
        paths[-1].hardlink_to(paths[each % num_cut])
    return paths


def seconds_table(seconds: Mapping[str, float], media_seconds: float) -> str:
    """A line per way: seconds, and how many times real time."""
    return table(
        ["", "seconds", "x real time"],
        [[name, f"{taken:.2f}", f"{media_seconds / taken:.0f}"] for name, taken in seconds.items()],
    )


class Bench:
    """The parts of the benchmark over one model's material; each prints, and returns its part of results.json.

    Args:
        model, folder: the model, and where it was loaded from.
        recordings: streams of kind "sparse" to time, and others to find words in.
        options: of the command.
        work: an empty folder for short files.
        cores: processors that may be used.
    """

    def __init__(
        self, model: Model, recordings: Sequence[Recording], options: argparse.Namespace, work: Path, cores: list[int]
    ) -> None:
        self.model, self.recordings, self.options, self.cores = model, recordings, options, cores
        self.streams = [recording.source for recording in recordings if recording.kind == "sparse"]
        self.stream_seconds = sum(self._seconds(path) for path in self.streams)
        cut = {"number": options.files, "seconds": options.file_seconds, "rate_hz": model.line.rate_hz}
        self.files = short_files(self.streams, work, **cut) if {"journal", "workers"} & {*options.parts} else []
        self.how = {"num_runs": options.runs, "clock": CLOCKS[options.clock]}

    def sparse(self, _: Progress) -> dict[str, Any]:
        """The job over whole streams."""
        seconds, _share = job_seconds(self.model, self.streams, **self.how)
        print(f"{len(self.streams)} sparse streams, {self.stream_seconds / 60:.0f} min")
        print(seconds_table(seconds, self.stream_seconds))
        speed = seconds["read and glance"] / seconds["job"]
        print(verdict("speed of the job over reading and glance", speed, SPARSE_BAR, at_most=False))
        return {"seconds": seconds, "speed_over_glance": speed}

    def journal(self, _: Progress) -> dict[str, Any]:
        """The job over short files."""
        seconds, share = job_seconds(self.model, self.files, **self.how)
        print(f"{len(self.files)} files of {self.options.file_seconds:g} s")
        print(seconds_table(seconds, len(self.files) * self.options.file_seconds))
        print(verdict("share of the job that is not tagging", share, JOURNAL_BAR, at_most=True))
        return {"seconds": seconds, "share": share, "share_by_difference": 1 - seconds["tag, no job"] / seconds["job"]}

    def workers(self, _: Progress) -> dict[str, Any]:
        """Jobs and decoders with one and two processes."""
        if len(self.cores) < 2:
            print(f"{len(self.cores)} processors can be chosen here; two are needed to compare workers: left out")
            return {"left_out": "fewer than two processors can be chosen"}
        pin(self.cores)
        seconds = parallel_seconds(self.options.model, self.files, self.cores, num_runs=self.options.runs)
        pin(self.cores[:1])
        print(f"{len(self.files)} files of {self.options.file_seconds:g} s, wall time")
        print(seconds_table(seconds, len(self.files) * self.options.file_seconds))
        gains = [seconds[f"1 {what}"] / seconds[f"2 {what}"] for what in ("workers", "decoders")]
        print(f"a second worker: {gains[0]:.2f} times as fast; a second decoder: {gains[1]:.2f} times")
        gain, speed = gains[0] / gains[1], seconds["2 decoders"] / seconds["2 workers"]
        print(verdict("gain by a second worker over gain by a second decoder", gain, WORKERS_BAR, at_most=False))
        print(verdict("speed of two workers over two decoders", speed, WORKERS_BAR, at_most=False))
        return {"seconds": seconds, "gain_over_decoders": gain, "speed_over_decoders": speed}

    def dense(self, report: Progress) -> dict[str, Any]:
        """The job beside dense taggers."""
        seconds = side_by_side(dense_ways(self.model), self.streams, **self.how)
        found = recall_figures(self.model, self.recordings, report)
        print(f"{len(self.streams)} sparse streams, {self.stream_seconds / 60:.0f} min")
        print(seconds_table(seconds, self.stream_seconds))
        print(
            f"recall at 1 false alarm per hour and keyword in {found['hours']:.1f} h with {found['num_words']} words: "
            f"switch {found['recall']['learned']:.1%}, dense {found['recall']['open']:.1%}; change "
            f"{found['change'].estimate:+.1%} ({found['change'].low:+.1%} to {found['change'].high:+.1%})"
        )
        ratio, kept = seconds["dense, a window per frame"] / seconds["job"], 1 + found["change"].estimate
        print(verdict("speed of the job over the dense tagger", ratio, DENSE_BAR, at_most=False))
        print(verdict("recall over the dense tagger's", kept, RECALL_BAR, at_most=False))
        return {"seconds": seconds, "speed_over_dense": ratio, "recall": found}

    def listener(self, _: Progress) -> dict[str, Any]:
        """The other listener, and the job over the same stream."""
        with open_audio(self.streams[0], RATE_HZ) as audio:
            samples = next(iter(audio.blocks(round(self.options.listener_seconds * RATE_HZ))))
        stream, num_words, clock = self.streams[:1], len(self.model.labels), CLOCKS[self.options.clock]
        speeds = [listener_speed(samples, num_words, clock) for _ in range(self.options.runs)]
        seconds = side_by_side({"job": fresh_job(self.model)}, stream, **self.how)
        theirs, ours = statistics.median(speeds), self._seconds(stream[0]) / seconds["job"]
        print(f"livekit-wakeword's listener, {num_words} untrained words: {theirs:.2f} times real time; ", end="")
        print(f"the job: {ours:.0f} times; {ours / theirs:.0f} times as fast")
        return {"listener_times_real_time": theirs, "job_times_real_time": ours, "speed_over_listener": ours / theirs}

    def _seconds(self, path: Path) -> float:
        with open_audio(path, self.model.line.rate_hz) as audio:
            return sum(map(len, audio.blocks(self.model.line.rate_hz))) / self.model.line.rate_hz


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="model folder of a run; it must spot words")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument("--runs", type=int, default=3, help="runs of everything timed (default: %(default)s)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a machine that is busy otherwise")
    parser.add_argument("--sparse-hours", type=float, default=0.5, metavar="H", help="timed (default: %(default)s)")
    parser.add_argument("--quiet-hours", type=float, default=1.0, metavar="H", help="for recall (default: %(default)s)")
    parser.add_argument("--files", type=int, default=1000, help="short files (default: %(default)s)")
    parser.add_argument("--file-seconds", type=float, default=60.0, metavar="S", help="each (default: %(default)g)")
    parser.add_argument("--listener-seconds", type=float, default=12.0, metavar="S", help="default: %(default)g")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="where streams are staged")
    parser.add_argument("--output", type=Path, metavar="DIR", help="gets results.json")
    options = parser.parse_args(argv)
    try:
        _run(options, Progress())
    except (UserError, MediaError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    return 0


def _run(options: argparse.Namespace, report: Progress) -> None:
    if min(options.runs, options.files) < 1 or not options.sparse_hours > 0 or not options.listener_seconds > 2:
        raise UsageError("--runs and --files must be at least 1, --sparse-hours above 0, --listener-seconds above 2")
    torch.set_num_threads(1)
    model, cores = load(options.model), processors()
    if not isinstance(model.task, KeywordSpotting):
        raise UsageError(f"{options.model} looks for {type(model.task).__name__}; the streams hold words to be spotted")
    recordings = staged(model, {"sparse": options.sparse_hours, "quiet": options.quiet_hours}, options.cache, report)
    if cores:
        pin(cores[:1])
    print(f"{options.model} ({model.fingerprint}) on {machine_line()}; medians of {options.runs}, {options.clock} time")
    results: dict[str, Any] = {"model": options.model, "fingerprint": model.fingerprint, "clock": options.clock}
    try:
        with tempfile.TemporaryDirectory() as work:
            bench = Bench(model, recordings, options, Path(work), cores)
            for part in options.parts:
                print(f"\n{part}")
                results[part] = getattr(bench, part)(report)
    finally:
        if cores:
            pin(cores)
    if options.output is not None:
        print(f"written: {write_results(options.output, results)}")


def _no_matter(_: object) -> None:
    """Nobody listens."""


if __name__ == "__main__":
    sys.exit(main())
