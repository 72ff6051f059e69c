"""What passes between a job, its workers and its journal: inputs that wait, and what became of them."""

import os
from typing import Literal, NamedTuple

from pipelines.events import Event

from .inputs import as_utf8
from .rows import FileRow


class Task(NamedTuple):
    """An input that waits.

    Args:
        number: of its row.
        path: as the user named it.
        is_named: whether the user named it.
        size: bytes when it was found; None where that is not known.
    """

    number: int
    path: str
    is_named: bool
    size: int | None = None


class Outcome(NamedTuple):
    """What became of one input.

    Args:
        number: of its task.
        status: "done", "failed", or "skipped" for a file that was never meant to be tagged.
        reason: why it is not done; or what of it is damaged, or missing for its sample rate.
        size, mtime_ns: of the file before it was read; None if it could not be read at all.
        seconds, frames_open, work_seconds, recording_start, sample_rate_hz: as in FileRow.
        audit: JSON of its audit, None without one.
        events: sorted by onset.
    """

    number: int
    status: str
    reason: str = ""
    size: int | None = None
    mtime_ns: int | None = None
    seconds: float = 0.0
    frames_open: float = 0.0
    work_seconds: float = 0.0
    recording_start: str = ""
    sample_rate_hz: int = 0
    audit: str | None = None
    events: tuple[Event, ...] = ()


class Counts(NamedTuple):
    """Inputs by what became of them; seconds of media that are done; bytes that still wait."""

    waiting: int
    done: int
    failed: int
    skipped: int
    seconds: float
    bytes_waiting: int

    @property
    def total(self) -> int:
        return self.waiting + self.done + self.failed


def file_row(path: str, outcome: Outcome) -> FileRow:
    """An outcome as a row of the table of files."""
    status: Literal["done", "failed"] = "done" if outcome.status == "done" else "failed"
    o = outcome
    return FileRow(as_utf8(path), status, o.reason, *o[5:10])


def file_state(path: str) -> tuple[int | None, int | None]:
    """Size in bytes and time of the last change in nanoseconds; None where the system does not tell."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None, None
    return status.st_size, status.st_mtime_ns
