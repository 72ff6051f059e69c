"""What a job leaves once everything is tagged: tables, exports, clips, the audit's estimate. All from the journal."""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import UsageError, UserError
from pipelines.exports import FORMATS, export, write_tables
from pipelines.exports.clips import cut_clips
from pipelines.exports.tables import EVENTS_TABLE, FILES_TABLE
from pipelines.runfolder import write_atomic

from .folder import AUDIT_FILE
from .journal import Journal


class Finished(NamedTuple):
    """What was written; the audit's estimate as text, "" without audit; and what could not be written."""

    written: tuple[Path, ...]
    audit: str
    notes: tuple[str, ...]


def check_exports(names: Collection[str]) -> None:
    """Refuse formats that do not exist.

    Raises:
        UsageError: with the ones that do.
    """
    for name in names:
        if name not in FORMATS:
            raise UsageError(f"export {name!r} is unknown; there are {', '.join(FORMATS)}")


def finish(
    journal: Journal, folder: Path, *, exports: Collection[str], clips: str | os.PathLike[str] | None = None
) -> Finished:
    """Write tables, the exports of this call and those that earlier calls asked for, clips, and the audit's estimate.

    Raises:
        UserError: if the disk refuses; what is tagged is safe.
    """
    notes: tuple[str, ...] = ()
    try:
        write_tables(folder, journal.file_rows, journal.event_rows)
        written = [folder / FILES_TABLE, folder / EVENTS_TABLE]
        for name in dict.fromkeys([*journal.exported(), *exports]):
            path = export(name, folder, journal.file_rows, journal.event_rows)
            journal.note_export(name, os.path.relpath(path, folder))
            written.append(path)
        if clips is not None:
            notes = _cut_clips(Path(clips), journal)
            written.append(Path(clips))
    except OSError as error:
        where, why = error.filename or folder, error.strerror or error
        way_out = "make room for it, then give the same command again"
        raise UserError(f"{where}: cannot be written ({why}); everything is tagged and kept: {way_out}") from error
    audit = _estimate(journal)
    if audit:
        write_atomic(folder / AUDIT_FILE, json.dumps({"estimate": audit}, indent=1) + "\n")
        written.append(folder / AUDIT_FILE)
    return Finished(tuple(dict.fromkeys(written)), audit, notes)


def _cut_clips(folder: Path, journal: Journal) -> tuple[str, ...]:
    missing = cut_clips(folder, journal.event_rows)
    return tuple(f"{each.file}: {each.num_clips} clips could not be cut: {each.reason}" for each in missing)


def _estimate(journal: Journal) -> str:
    audits = journal.audits()
    first = next(audits, None)
    if first is None:
        return ""
    from pipelines.audit import estimate  # brings torch, which a job without audit does not need

    return str(estimate([first, *audits]))
