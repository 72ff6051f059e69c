"""What a job leaves once everything is tagged: tables, exports, clips, the audit's estimate. All from the journal."""

import itertools
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
    journal: Journal,
    folder: Path,
    *,
    exports: Collection[str],
    clips: str | os.PathLike[str] | None = None,
    usual_missed_share: float | None = None,
) -> Finished:
    """Write tables, the exports of this call and those that earlier calls asked for, clips, and the audit's estimate.

    Args:
        usual_missed_share: what the switch missed when the model was made; an audit says if it is surely more here.

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
    audit = _write_estimate(journal, folder / AUDIT_FILE, usual_missed_share)
    if audit:
        written.append(folder / AUDIT_FILE)
    return Finished(tuple(dict.fromkeys(written)), audit, notes)


def _cut_clips(folder: Path, journal: Journal) -> tuple[str, ...]:
    missing = cut_clips(folder, journal.event_rows)
    return tuple(f"{each.file}: {each.num_clips} clips could not be cut: {each.reason}" for each in missing)


def _write_estimate(journal: Journal, path: Path, usual_missed_share: float | None) -> str:
    """The audit's estimate, in words and as numbers; "" where nothing was audited."""
    audits = journal.audits()
    first = next(audits, None)
    if first is None:
        return ""
    from pipelines.audit import estimate  # brings torch, which a job without audit does not need

    found = estimate(itertools.chain([first], audits), usual_missed_share=usual_missed_share)
    write_atomic(path, json.dumps({"estimate": str(found), **found._asdict()}, indent=1) + "\n")
    return str(found)


def usual_missed_share_of(model: object) -> float | None:
    """What the model's folder says that its switch misses; None where it says nothing."""
    if not isinstance(model, str | os.PathLike):
        return None
    try:
        metrics = json.loads((Path(model) / "metrics.json").read_text(encoding="utf-8"))
        share = metrics["missed_share_vs_dense"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # models made before it was measured, or by others
    return float(share) if isinstance(share, int | float) else None
