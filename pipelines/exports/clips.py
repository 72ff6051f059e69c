"""Every event as a sound file of its own, to listen to, to sort, to train with."""

import csv
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.archive.rows import EventRow
from pipelines.errors import UsageError

from .clip_audio import ENCODERS, ClipFormat, Span, cut_spans
from .clip_source import CannotCut
from .names import Names, plain
from .rows import Rows
from .whole import check_replaceable, whole_folder

MAP = "clips.csv"
MAP_COLUMNS = ("clip", "begin_seconds", "file", "onset_seconds", "offset_seconds", "label", "score", "channel")
LONGEST_STEM_BYTES, LONGEST_LABEL_BYTES = 60, 40
LATEST_END_SECONDS = 1.0  # by which an event may end after the audio: models round up to their frames


class ClipFailure(NamedTuple):
    """A recording of which not every event became a clip.

    Args:
        file: as in EventRow.
        num_clips: how many are missing.
        reason: why.
    """

    file: str
    num_clips: int
    reason: str


def cut_clips(
    folder: Path, events: Rows[EventRow], *, pad_seconds: float = 0.0, format: ClipFormat = "flac"
) -> list[ClipFailure]:
    """Cut every event out of its media file: the file's own rate and channels, in a folder for each recording.

    A clip is called `<recording>_<onset as 00h12m03.450s>_<label>_<score>`; clips.csv says exactly what each one is,
    and at which media time its first sample lies. Samples of 16 and 24 bits come out as they went in (in WAV also those
    of 32 bits and floating point); in containers that count time in milliseconds, a clip may begin a millisecond off.

    Args:
        folder: an older folder of clips is replaced, with all its files.
        events: all rows, by file, events by onset.
        pad_seconds: how much to keep before onset and after offset, as far as there is audio.
        format: "flac", or "wav" for programs that read no FLAC.

    Returns:
        What is missing, and why. One broken file does not keep the others from being cut.

    Raises:
        UsageError: if pad_seconds is negative, or `folder` holds other files.
        OSError: if the disk is full or the folder cannot be written; older clips then stay as they are.
    """
    if not 0 <= pad_seconds < float("inf"):
        raise UsageError(f"pad_seconds={pad_seconds:g} must be a number of seconds from 0 on")
    if format not in (formats := sorted({name for name, _ in ENCODERS})):
        raise UsageError(f"no clips are written as {format!r}; choose one of {', '.join(formats)}")
    failures: list[ClipFailure] = []
    names = Names(taken=(MAP,))
    with whole_folder(folder, MAP) as unfinished, (unfinished / MAP).open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(MAP_COLUMNS)
        for file, its_events in itertools.groupby(events(), key=lambda event: event.file):
            clips = _clips(unfinished, names.of(file), list(its_events), pad_seconds, format)
            begins: dict[Span, float] = {}
            try:
                for span, begin_seconds in cut_spans(_media_path(file), list(clips), format):
                    begins[span] = begin_seconds
            except CannotCut as error:
                failures.append(ClipFailure(file, len(clips) - len(begins), str(error)))
            for span, event in clips.items():
                if span in begins:
                    clip = span.path.relative_to(unfinished).as_posix()
                    writer.writerow((clip, f"{begins[span]:.6f}", *_cells(event)))
    return failures


def check_clips_folder(folder: Path) -> None:
    """Refuse, before hours are spent, a folder that clips would not replace.

    Raises:
        UsageError: if it holds files, and no clips.csv.
    """
    check_replaceable(folder.resolve(), MAP)


def _clips(
    base: Path, below: Path, events: Sequence[EventRow], pad_seconds: float, format: ClipFormat
) -> dict[Span, EventRow]:
    """What to cut out of one recording, in the order of its events."""
    names = Names(f".{format}")
    stem = plain(below.stem, LONGEST_STEM_BYTES)
    clips = {}
    for event in events:
        label = plain(event.label, LONGEST_LABEL_BYTES)
        name = names.of(f"{stem}_{_clock(event.onset_seconds)}_{label}_{event.score:.2f}")
        span = Span(
            event.onset_seconds - pad_seconds,
            event.offset_seconds + pad_seconds,
            max(event.onset_seconds, event.offset_seconds - LATEST_END_SECONDS),
            base / below / name,
        )
        clips[span] = event
    return clips


def _clock(seconds: float) -> str:
    """12.34 as 00h00m12.340s: sorts by time, and is a file name everywhere."""
    milliseconds = max(round(seconds * 1000), 0)
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole // 3600:02d}h{whole // 60 % 60:02d}m{whole % 60:02d}.{rest:03d}s"


def _cells(event: EventRow) -> Iterator[str | int]:
    yield from (event.file, f"{event.onset_seconds:.3f}", f"{event.offset_seconds:.3f}", event.label)
    yield from (f"{event.score:.6f}", event.channel)


def _media_path(file: str) -> Path:
    r"""The file that a row names: tables are UTF-8, and hold other bytes of a name as escapes such as \xe9."""
    if not os.path.lexists(file):
        as_bytes = re.sub(rb"\\x([89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), file.encode())
        if os.path.lexists(as_bytes):
            return Path(os.fsdecode(as_bytes))
    return Path(file)
