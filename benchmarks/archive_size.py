"""Does a job of any size cost the same per file, and a file of any length the same memory?

    python -m benchmarks.archive_size MODEL --cache DIR

tiny   a job over very many recordings of less than a second: processor time per file and memory, tenth by tenth
day    a file of one hour and one of 24: peak memory of the worker that tags each

Reads Linux's /proc.
"""

import argparse
import os
import random
import sys
import tempfile
import wave
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.archive import staged
from benchmarks.report import machine_line, table, write_results
from benchmarks.speed import verdict
from featurizers import MediaError, open_audio, write_audio
from pipelines.archive import JobProgress, tag_archive
from pipelines.console import Progress
from pipelines.errors import UsageError, UserError
from pipelines.model import load

GROWTH_BAR, MEMORY_BAR_MIB = 1.2, 100.0
PARTS = ("tiny", "day")
NUM_DIFFERENT = 360  # tiny files; the others are links to them
NUM_MARKS = 10
Marks = list["Mark"]


class Mark(NamedTuple):
    """A moment of a job, between two files.

    Args:
        num_files: tagged so far.
        driver_seconds, worker_seconds: processor time used so far.
        driver_mib, worker_mib: memory in use.
        worker_peak_mib: the most it ever used.
    """

    num_files: int
    driver_seconds: float
    worker_seconds: float
    driver_mib: float
    worker_mib: float
    worker_peak_mib: float


def mark(num_files: int) -> Mark:
    """This process and the one worker that it started, as they are now."""
    driver, (worker,) = os.getpid(), _workers()
    memory = {pid: _memory_mib(pid) for pid in (driver, worker)}
    return Mark(
        num_files,
        _processor_seconds(driver),
        _processor_seconds(worker),
        memory[driver]["VmRSS"],
        memory[worker]["VmRSS"],
        memory[worker]["VmHWM"],
    )


def marked_job(model: Path, inputs: Sequence[Path], *, every: int, report: Callable[[Mark], None]) -> Marks:
    """Run a job with one worker; a mark after its first file and then after every so many.

    Raises:
        UserError: if a file could not be tagged.
    """
    marks: Marks = []
    num_files = 0

    def progress(now: JobProgress) -> None:
        nonlocal num_files
        if now.file is None:
            return
        num_files += 1
        if num_files == 1 or num_files % every == 0:
            marks.append(mark(num_files))
            report(marks[-1])

    with tempfile.TemporaryDirectory() as folder:
        summary = tag_archive(model, inputs, Path(folder) / "out", workers=1, progress=progress)
    if summary.num_failed:
        raise UserError(f"{summary.num_failed} files could not be tagged; there is nothing to measure")
    return marks


def tiny_files(streams: Sequence[Path], folder: Path, *, number: int, rate_hz: int) -> None:
    """So many FLAC files of 0.2 to 1 s in folders of a thousand; all but a few hundred are links."""
    drawn, sources = random.Random(1), list[Path]()
    sounds = []
    for stream in streams:
        with open_audio(stream, rate_hz) as audio:
            sounds.append(torch.cat(list(audio.blocks(rate_hz * 60))))
    for each in range(number):
        path = folder / f"{each // 1000:03d}" / f"{each:06d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        if each >= NUM_DIFFERENT:
            path.hardlink_to(sources[each % NUM_DIFFERENT])
            continue
        sound, length = drawn.choice(sounds), round(drawn.uniform(0.2, 1.0) * rate_hz)
        start = drawn.randrange(len(sound) - length)
        write_audio(path, sound[start : start + length], rate_hz)
        sources.append(path)


def long_file(streams: Sequence[Path], path: Path, *, hours: int, rate_hz: int) -> Path:
    """A WAV file of so many hours: the streams over and over."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        hour, missing = bytearray(), 3600 * rate_hz * 2
        while len(hour) < missing:
            for stream in streams:
                with open_audio(stream, rate_hz) as audio:
                    for block in audio.blocks(rate_hz * 60):
                        hour += (block.clamp(-1, 1) * 32767).to(torch.int16).numpy().astype("<i2").tobytes()
        for _ in range(hours):
            file.writeframesraw(memoryview(hour)[:missing])
    return path


def tiny(options: argparse.Namespace, streams: Sequence[Path], rate_hz: int, work: Path) -> dict[str, Any]:
    """The job over tiny files."""
    if options.files < 2 * NUM_MARKS:
        raise UsageError(f"--files {options.files} must be {2 * NUM_MARKS} or more, to be seen tenth by tenth")
    tiny_files(streams, work / "tiny", number=options.files, rate_hz=rate_hz)
    every = options.files // NUM_MARKS
    marks = marked_job(options.model, [work / "tiny"], every=every, report=_say)
    rows, costs = [], []
    for before, after in pairwise(marks):
        files = after.num_files - before.num_files
        each_ms = [
            1000 * (getattr(after, name) - getattr(before, name)) / files
            for name in ("driver_seconds", "worker_seconds")
        ]
        costs.append(sum(each_ms))
        rows.append(
            [
                f"{after.num_files}",
                *(f"{ms:.3f}" for ms in each_ms),
                f"{after.driver_mib:.0f}",
                f"{after.worker_mib:.0f}",
            ]
        )
    print(table(["files", "driver ms a file", "worker ms a file", "driver MiB", "worker MiB"], rows))
    growth = costs[-1] / costs[0]
    memory = marks[-1].driver_mib + marks[-1].worker_mib - marks[1].driver_mib - marks[1].worker_mib
    print(verdict("cost per file of the last tenth over the first", growth, GROWTH_BAR, at_most=True))
    print(verdict("MiB that both processes grew after the first tenth", memory, MEMORY_BAR_MIB, at_most=True))
    return {"marks": marks, "growth_of_cost": growth, "growth_of_memory_mib": memory}


def day(options: argparse.Namespace, streams: Sequence[Path], rate_hz: int, work: Path) -> dict[str, Any]:
    """Peak memory of a worker that tags one file of an hour, and of another one that tags a longer file."""
    peaks = {}
    for hours in (1, options.hours):
        path = long_file(streams, work / f"{hours}h.wav", hours=hours, rate_hz=rate_hz)
        peaks[hours] = marked_job(options.model, [path], every=1, report=_say)[-1].worker_peak_mib
        path.unlink()
    difference = peaks[options.hours] - peaks[1]
    print(table(["hours", "peak MiB"], [[str(hours), f"{peak:.0f}"] for hours, peak in peaks.items()]))
    print(verdict("MiB more at the peak for the long file", difference, MEMORY_BAR_MIB, at_most=True))
    return {"peak_mib": peaks, "difference_mib": difference}


def _say(now: Mark) -> None:
    print(f"{now.num_files} files, worker {now.worker_mib:.0f} MiB", file=sys.stderr, flush=True)


def _workers() -> list[int]:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # of user and system


def _memory_mib(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = [line.split(":") for line in lines if line.startswith(("VmRSS", "VmHWM"))]
    return {name: int(value.split()[0]) / 1024 for name, value in pairs}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="model folder of a run; it must spot words")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: both")
    parser.add_argument("--files", type=int, default=100_000, help="tiny ones (default: %(default)s)")
    parser.add_argument("--hours", type=int, default=24, help="of the long file, 0.1 GB each (default: %(default)s)")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="where streams are staged")
    parser.add_argument("--output", type=Path, metavar="DIR", help="gets results.json")
    options = parser.parse_args(argv)
    try:
        if not Path("/proc/self/status").exists():
            raise UsageError("memory and time of processes are read from /proc, which only Linux has")
        model = load(options.model)
        recordings = staged(model, {"sparse": 0.5}, options.cache, Progress())
        streams, rate_hz = [recording.source for recording in recordings], model.line.rate_hz
        del model
        print(machine_line())
        results: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as folder:
            for part in options.parts:
                results[part] = {"tiny": tiny, "day": day}[part](options, streams, rate_hz, Path(folder))
        if options.output is not None:
            print(f"written: {write_results(options.output, results)}")
    except (UserError, MediaError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
