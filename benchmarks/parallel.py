"""Processes that begin together, each on a processor of its own: jobs with so many workers, and plain decoders."""

import contextlib
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from featurizers import open_audio
from pipelines.archive import JobProgress, tag_archive
from pipelines.archive.job import ModelFolder
from pipelines.archive.tagging import Tagger
from pipelines.errors import UserError
from pipelines.line import Line
from pipelines.model import Model
from pipelines.results import Events


def processors() -> list[int]:
    """Those that this process may use; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(chosen: Iterable[int]) -> None:
    """Keep this process, and what it starts from now on, to some processors."""
    os.sched_setaffinity(0, chosen)


def decode(path: Path, line: Line) -> None:
    """Read and resample a file, as the line would."""
    with open_audio(path, line.rate_hz) as stream:
        for _ in stream.blocks(line.block_frames * line.grid.elements_per_frame(line.rate_hz)):
            pass


class Meeting(NamedTuple):
    """Processes that begin together, each on a processor of its own.

    Args:
        folder: empty; each leaves a file there.
        processors: one per process.
    """

    folder: Path
    processors: tuple[int, ...]

    def join(self) -> int:
        """Move to a free processor; which one, counted from 0."""
        for place, processor in enumerate(self.processors):
            with contextlib.suppress(FileExistsError), (self.folder / str(place)).open("x") as file:
                pin([processor])
                file.write(str(time.monotonic()))
                return place
        raise UserError(f"{self.folder}: a process has died and was replaced; there is nothing to time")

    def wait(self) -> None:
        """Until all are there."""
        while len(self._arrivals()) < len(self.processors):
            time.sleep(0.005)

    @property
    def begun_seconds(self) -> float:
        """When the last one came, on the monotonic clock that all processes share."""
        return max(map(float, self._arrivals()))

    def _arrivals(self) -> list[str]:
        return [text for path in self.folder.iterdir() if (text := path.read_text())]


class PinnedModel(NamedTuple):
    """Loads a model in a worker that tags nothing before all workers are there."""

    folder: str
    meeting: Meeting

    def __call__(self) -> Tagger:
        model = ModelFolder(self.folder)()
        self.meeting.join()
        return _Patient(model, self.meeting)


class _Patient:
    """Waits for the others before its first file."""

    def __init__(self, model: Model, meeting: Meeting) -> None:
        self.fingerprint, self._model, self._meeting = model.fingerprint, model, meeting
        self._has_begun = False

    def tag(self, path: str, **settings: Any) -> Events:
        if not self._has_begun:
            self._meeting.wait()
            self._has_begun = True
        return self._model.tag(path, **settings)


def worker_seconds(folder: Path, paths: Sequence[Path], meeting: Meeting, output: Path) -> float:
    """A real job: seconds from the moment all its workers are there to the last file."""
    finished: list[float] = []

    def progress(now: JobProgress) -> None:
        if now.file is not None:
            finished.append(time.monotonic())

    number = len(meeting.processors)
    tag_archive(PinnedModel(str(folder), meeting), paths, output, workers=number, on_error="fail", progress=progress)
    return finished[-1] - meeting.begun_seconds


def decoder_seconds(folder: Path, paths: Sequence[Path], meeting: Meeting) -> float:
    """Plain decoders that share the files: seconds from the moment all are there to the last file."""
    number, spawn = len(meeting.processors), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(number, mp_context=spawn) as pool:
        ends = [pool.submit(decode_share, folder, paths, meeting) for _ in range(number)]
        return max(end.result() for end in ends) - meeting.begun_seconds


def decode_share(folder: Path, paths: Sequence[Path], meeting: Meeting) -> float:
    """One of the decoders: reads its share of the files, and tells the time when it is done."""
    line = ModelFolder(str(folder))().line
    place = meeting.join()
    meeting.wait()
    for path in paths[place :: len(meeting.processors)]:
        decode(path, line)
    return time.monotonic()


def parallel_seconds(
    folder: Path, paths: Sequence[Path], processors: Sequence[int], *, num_runs: int
) -> dict[str, float]:
    """Median seconds of jobs with one and two workers, and of one and two plain decoders; they take turns."""
    taken: dict[str, list[float]] = {}
    for _, number in itertools.product(range(num_runs), (1, 2)):
        with tempfile.TemporaryDirectory() as name:
            work, chosen = Path(name), tuple(processors[:number])
            for each in ("workers", "decoders", "output"):
                (work / each).mkdir()
            seconds = worker_seconds(folder, paths, Meeting(work / "workers", chosen), work / "output")
            taken.setdefault(f"{number} workers", []).append(seconds)
            seconds = decoder_seconds(folder, paths, Meeting(work / "decoders", chosen))
            taken.setdefault(f"{number} decoders", []).append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}
