"""The two tables of a tagging job, row by row: what every export is made from."""

from typing import Literal, NamedTuple


class FileRow(NamedTuple):
    """What became of one input.

    Args:
        file: its path as the user named it (bytes that are no UTF-8 as backslash escapes).
        status: "done" or "failed".
        reason: why it failed; of what is done, what is damaged of a video, or what the sample rate keeps from the
            model; else "".
        seconds: duration of the media that were read.
        frames_open: share of frames that the switch left open, in [0, 1].
        work_seconds: from opening the file to its last event; the one column that differs from run to run.
        recording_start: ISO 8601, with a UTC offset where the source gives one; "" where nothing tells.
        sample_rate_hz: the file's own; 0 of video, and of what failed.
    """

    file: str
    status: Literal["done", "failed"]
    reason: str
    seconds: float
    frames_open: float
    work_seconds: float
    recording_start: str
    sample_rate_hz: int


class EventRow(NamedTuple):
    """One found event, and where it comes from.

    Args:
        file: as in FileRow.
        onset_seconds, offset_seconds: media time, half-open.
        label: what was found.
        score: in [0, 1].
        channel: the channel that was heard; 0 for the mean of all.
        recording_start: as in FileRow.
        model_fingerprint: which model found it.
        version: of this software.
    """

    file: str
    onset_seconds: float
    offset_seconds: float
    label: str
    score: float
    channel: int
    recording_start: str
    model_fingerprint: str
    version: str
