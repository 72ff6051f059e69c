"""What events can be exported to, and the one function that does it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pipelines.archive.rows import EventRow, FileRow
from pipelines.errors import UsageError

from .one_table import write_csv, write_dcase, write_jsonl
from .per_recording import write_audacity, write_raven, write_webvtt
from .rows import Rows
from .tables import EVENTS_TABLE, write_tables


class Format(NamedTuple):
    """A format of export.

    Args:
        content: what is written, in one line.
        write: writes it below a folder; returns the path of what it wrote.
    """

    content: str
    write: Callable[[Path, Rows[FileRow], Rows[EventRow]], Path]


def _write_parquet(folder: Path, files: Rows[FileRow], events: Rows[EventRow]) -> Path:
    """The tables themselves."""
    write_tables(folder, files, events)
    return folder / EVENTS_TABLE


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "csv": Format("events.csv: one table, for spreadsheets", write_csv),
        "parquet": Format("files.parquet, events.parquet: the tables, always written", _write_parquet),
        "raven": Format("raven/: a selection table per recording, for Raven Pro", write_raven),
        "audacity": Format("audacity/: a label track per recording", write_audacity),
        "webvtt": Format("webvtt/: captions per recording, for players and browsers", write_webvtt),
        "jsonl": Format("events.jsonl: one JSON object per event", write_jsonl),
        "dcase": Format("events.tsv: strong labels of the DCASE challenges", write_dcase),
    }
)


def export(name: str, folder: Path, files: Rows[FileRow], events: Rows[EventRow]) -> Path:
    """Write the events in one format; an older export of that format is replaced, with all its files.

    Args:
        name: a key of FORMATS.
        folder: the results folder of the job.
        files, events: called as often as needed; each call gives all rows, by file, events by onset.

    Returns:
        The file, or the folder of files, that was written.

    Raises:
        UsageError: if there is no such format, or something else stands where its folder belongs.
        OSError: if the folder is missing, read-only or full; an older export then stays as it is.
    """
    if name not in FORMATS:
        raise UsageError(f"no export is called {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name].write(folder, files, events)
