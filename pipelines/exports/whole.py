"""Files and folders that appear under their name only when they are whole; until then an older one stays."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import UsageError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write to the yielded path; at the end of the block the content is on the disk and bears its name.

    Raises:
        OSError: if the folder is missing, read-only or full.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
        _flush_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(folder: Path, marker: str) -> Iterator[Path]:
    """Fill the yielded folder; at the end of the block it takes the place of an older one, of which nothing stays.

    Its files are not forced to the disk one by one, which would take minutes for ten thousand: after a power failure,
    export again.

    Args:
        folder: where it shall be.
        marker: name of a file that every such folder holds.

    Raises:
        UsageError: if what stands there is no such folder.
        OSError: if the folder above is missing, read-only or full.
    """
    folder = folder.resolve()
    check_replaceable(folder, marker)
    unfinished, old = scratch_folders(folder)
    if old.exists() and not folder.exists():  # killed between the two renames below
        old.rename(folder)
    for leftover in (unfinished, old):
        if leftover.exists():
            shutil.rmtree(leftover)
    unfinished.mkdir()
    try:
        yield unfinished
        if folder.exists():
            folder.rename(old)
        try:
            unfinished.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        _flush_folder(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def scratch_folders(folder: Path) -> tuple[Path, Path]:
    """Where a new folder grows, and where the old one waits meanwhile: both stay behind if the program is killed."""
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.unfinished"), folder.with_name(f".{folder.name}.old")


def check_replaceable(folder: Path, marker: str) -> None:
    """Refuse to replace what is not ours.

    Raises:
        UsageError: if `folder` is neither absent, nor empty, nor a folder that holds `marker`, or is a disk of its own.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} exists and is no folder; choose another name")
    if os.path.ismount(folder):
        raise UsageError(f"{folder} is a disk of its own, which cannot be replaced as a whole; name a folder on it")
    if any(folder.iterdir()) and not (folder / marker).is_file():
        raise UsageError(
            f"{folder} holds other files (no {marker} is there), and would be replaced; choose another name"
        )


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power failure (POSIX; elsewhere a folder cannot be opened)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
