"""Tables of found events, in formats that other programs open."""

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pipelines.events import Event

COLUMNS = ("file", "onset_seconds", "offset_seconds", "label", "score", "channel", "model_fingerprint", "version")


class Row(NamedTuple):
    """One found event, and where it comes from.

    Args:
        file: the media file, as the user named it.
        event: what was found in it.
        model_fingerprint: which model found it.
        version: of this software.
    """

    file: str
    event: Event
    model_fingerprint: str
    version: str


def write_csv(path: str | Path, rows: Iterable[Row]) -> None:
    """Write the results table, header first (even without rows): UTF-8, comma-separated (RFC 4180), LF line ends.

    Times have 3 decimals (milliseconds of media time), scores 6, with a point whatever the locale. The table appears
    under its name only when it is complete; until then an older one of that name stays.

    Raises:
        OSError: if the folder is missing, read-only or full.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(_cells(row) for row in rows)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _cells(row: Row) -> tuple[str, ...]:
    event = row.event
    return (
        row.file,
        f"{event.onset_seconds:.3f}",
        f"{event.offset_seconds:.3f}",
        event.label,
        f"{event.score:.6f}",
        str(event.channel),
        row.model_fingerprint,
        row.version,
    )
