"""One file of labels for each recording: Raven, Audacity, WebVTT. Their folder mirrors the recordings' own."""

import csv
import html
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.archive.rows import EventRow, FileRow

from .escapes import on_one_line
from .names import Names
from .rows import Rows, by_recording
from .whole import whole_folder

MAP = "files.csv"
# Events have no frequencies, and Raven refuses a table with a selection above half the recording's sample rate
# (BirdNET-Analyzer, issue 140): the box marks the time only, at the bottom of every spectrogram from 2 kHz rate on.
RAVEN_LOW_HZ, RAVEN_HIGH_HZ = 0, 1000
RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Label",
    "Score",
    "Begin Path",
    "File Offset (s)",
    "Begin File",
)


def write_raven(folder: Path, files: Rows[FileRow], events: Rows[EventRow]) -> Path:
    """raven/: Raven Pro selection tables; channels count from 1. Tabs and line ends in labels are written as escapes.

    "Begin Path" and "File Offset (s)" let Raven open table and sound together (Open Sound Selection Table).

    Source: Raven Pro User's Manual, Cornell Lab of Ornithology, "Selection tables"
    """
    return _write(folder / "raven", ".selections.txt", _raven, files, events)


def write_audacity(folder: Path, files: Rows[FileRow], events: Rows[EventRow]) -> Path:
    """audacity/: label tracks, `onset<TAB>offset<TAB>label`; tabs and line ends in labels are written as escapes.

    Source: Audacity Manual, "Importing and Exporting Labels"
    """
    return _write(folder / "audacity", ".labels.txt", _audacity, files, events)


def write_webvtt(folder: Path, files: Rows[FileRow], events: Rows[EventRow]) -> Path:
    """webvtt/: captions for players and browsers; "&", "<" and ">" in labels are escaped as the format has it.

    Source: W3C, "WebVTT: The Web Video Text Tracks Format", section 4
    """
    return _write(folder / "webvtt", ".vtt", _webvtt, files, events)


def _write(
    folder: Path,
    ending: str,
    lines: Callable[[Iterator[EventRow]], Iterator[str]],
    files: Rows[FileRow],
    events: Rows[EventRow],
) -> Path:
    names = Names(ending)
    with whole_folder(folder, MAP) as unfinished, (unfinished / MAP).open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(("file", "labels"))
        for row, its_events in by_recording(files, events):
            name = names.of(row.file)
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(lines(its_events))
            writer.writerow((row.file, name.as_posix()))
    return folder


def _raven(events: Iterator[EventRow]) -> Iterator[str]:
    yield "\t".join(RAVEN_COLUMNS) + "\n"
    for number, event in enumerate(events, 1):
        begin, end = _milliseconds(event)
        cells = (
            number,
            "Spectrogram 1",
            event.channel + 1,
            f"{begin / 1000:.3f}",
            f"{end / 1000:.3f}",
            RAVEN_LOW_HZ,
            RAVEN_HIGH_HZ,
            on_one_line(event.label),
            f"{event.score:.6f}",
            on_one_line(event.file),
            f"{begin / 1000:.3f}",
            on_one_line(Path(event.file).name),
        )
        yield "\t".join(str(cell) for cell in cells) + "\n"


def _audacity(events: Iterator[EventRow]) -> Iterator[str]:
    for event in events:
        begin, end = _milliseconds(event)
        yield f"{begin / 1000:.3f}\t{end / 1000:.3f}\t{on_one_line(event.label)}\n"


def _webvtt(events: Iterator[EventRow]) -> Iterator[str]:
    yield "WEBVTT\n\n"
    for event in events:
        begin, end = _milliseconds(event)
        yield f"{_clock(begin)} --> {_clock(end)}\n{html.escape(on_one_line(event.label), quote=False)}\n\n"


def _milliseconds(event: EventRow) -> tuple[int, int]:
    """Begin and end as these formats take them: not before 0, and at least a millisecond apart."""
    begin = max(round(event.onset_seconds * 1000), 0)
    return begin, max(round(event.offset_seconds * 1000), begin + 1)


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"
