"""The folder of a tagging job: made for it, held by one call at a time, never somebody else's."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import UsageError, UserError
from pipelines.exports.tables import EVENTS_TABLE, FILES_TABLE
from pipelines.runfolder import LOCK_FILE, disk_message, held_alone

from .journal import JOURNAL_FILE, Journal

AUDIT_FILE = "audit.json"


@contextlib.contextmanager
def job_folder(folder: Path) -> Iterator[None]:
    """Hold the folder of a job while the block runs; another call is refused meanwhile, and a dead one holds nothing.

    Args:
        folder: is made if it is missing; may be empty, or hold a job.

    Raises:
        UsageError: if it holds files that no job wrote, another call works in it, or the disk refuses.
    """
    if folder.suffix == ".csv" and not folder.is_dir():
        raise UsageError(
            f"--output {folder}: is a folder now; for a table write --output {folder.with_suffix('')} --export csv"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise UsageError(disk_message(error, folder)) from error
    foreign = [name for name in held if name != LOCK_FILE]
    if foreign and JOURNAL_FILE not in foreign:
        raise UsageError(
            f"{folder}: holds files that no tagging job wrote, such as {foreign[0]}; choose another --output"
        )
    with held_alone(folder, "--output"):
        yield


def empty_job_folder(folder: Path) -> None:
    """Delete what a job wrote, and nothing else; the journal goes last, so that this can be repeated if interrupted.

    Raises:
        UsageError: if the disk refuses.
    """
    if not (folder / JOURNAL_FILE).exists():
        return
    written = [FILES_TABLE, EVENTS_TABLE, AUDIT_FILE]
    with contextlib.suppress(UserError), Journal(folder) as journal:  # a damaged one tells nothing, and goes as well
        written += journal.exported().values()
    try:
        for name in [*written, *(JOURNAL_FILE + end for end in ("-wal", "-shm", ""))]:
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(disk_message(error, folder)) from error
