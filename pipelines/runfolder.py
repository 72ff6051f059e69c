"""Run folders: where a run writes, one run at a time, never over somebody else's files, never half a file."""

import contextlib
import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import UsageError, UserError

STATE_FILE = "run.json"
LOCK_FILE = ".lock"
_MADE_BY = "pipelines.run"
_LEAST_FREE_BYTES = 1_000_000
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_TELLING = (*_FULL, *_FORBIDDEN)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all: to a temporary name beside it, then renamed.

    Raises:
        UserError: if the disk is full or the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(disk_message(error, path)) from error


def disk_message(error: OSError, path: Path) -> str:
    """What an OSError means for somebody who wanted to write `path`, and the way out."""
    if error.errno in _FULL:
        return f"{path}: the disk is full; free some space, or write elsewhere with --output and --cache"
    if error.errno in _FORBIDDEN:
        return f"{path}: cannot be used ({error.strerror}); choose another folder"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{path}: a file stands where a folder is needed; choose another folder"
    return f"{path}: {error.strerror or error}"


def disk_trouble(error: Exception, folders: Sequence[Path]) -> str | None:
    """What to tell the user if the disk is to blame for this exception; None if it is not.

    Args:
        error: what ended the work; libraries report a full disk in words of their own.
        folders: where the work wrote, the likeliest first.
    """
    if isinstance(error, OSError) and error.errno in _TELLING and (error.filename or folders):
        return disk_message(error, Path(error.filename or folders[0]))
    for folder in folders:
        if "No space left" in str(error) or shutil.disk_usage(folder).free < _LEAST_FREE_BYTES:
            return disk_message(OSError(errno.ENOSPC, ""), folder)
    return None


def is_run_folder(folder: Path) -> bool:
    """Whether a run wrote this folder: it holds a state file of ours."""
    try:
        state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(state, dict) and state.get("made_by") == _MADE_BY


def read_state(folder: Path) -> dict[str, Any]:
    """What the run noted about itself when it began: seed, device, command."""
    state: dict[str, Any] = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    return state


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Mark the folder as a run's and note what --resume needs."""
    write_atomic(folder / STATE_FILE, json.dumps({"made_by": _MADE_BY, **state}, indent=2) + "\n")


def new_folder(runs: Path, name: str) -> Path:
    """Make runs/<name>, or runs/<name>-2, -3, ... if that is taken: never a folder that was there before.

    Raises:
        UserError: if nothing can be made there.
    """
    number = 1
    while True:
        folder = runs / (name if number == 1 else f"{name}-{number}")
        try:
            runs.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            return folder
        except FileExistsError as error:
            if not runs.is_dir():
                raise UsageError(disk_message(error, runs)) from error
            number += 1
        except OSError as error:
            raise UsageError(disk_message(error, folder)) from error


@contextlib.contextmanager
def open_folder(folder: Path, *, resume: bool = False, overwrite: bool = False) -> Iterator[Path]:
    """Hold a run folder that the user named, for as long as the block runs; nobody else can run in it meanwhile.

    A folder that does not exist is made, an empty one is used. A run folder needs `resume`, which keeps what it holds,
    or `overwrite`, which deletes what it holds. Any other folder is refused, whatever the flags say.

    Raises:
        UsageError: if the folder cannot be used, with the way out.
    """
    _check(folder, resume=resume, overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # a folder may exist and yet refuse files
    except OSError as error:
        raise UsageError(disk_message(error, folder)) from error
    with held_alone(folder, "--output"):
        if overwrite:
            _empty(folder)
        yield folder


@contextlib.contextmanager
def held_alone(folder: Path, option: str) -> Iterator[None]:
    """Hold an existing folder, so that no other run works in it, for as long as the block runs.

    Args:
        folder: gets a lock file.
        option: of the command, that chooses another folder.

    Raises:
        UsageError: if another run holds it, or the disk refuses.
    """
    try:
        lock = open(folder / LOCK_FILE, "a+b")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UsageError(disk_message(error, folder)) from error
    with lock:
        if not _lock(lock.fileno()):
            raise UsageError(f"{folder}: another run is working in it; wait for it, or choose another {option}")
        yield


def _check(folder: Path, *, resume: bool, overwrite: bool) -> None:
    if not folder.exists():
        if resume:
            raise UsageError(f"{folder}: nothing to resume, there is no such folder; leave --resume out to begin there")
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; --output takes a folder")
    try:
        held = sorted(entry.name for entry in folder.iterdir() if entry.name != LOCK_FILE)
    except OSError as error:
        raise UsageError(disk_message(error, folder)) from error
    if is_run_folder(folder):
        if not (resume or overwrite):
            raise UsageError(
                f"{folder}: holds a run; --resume continues it, --overwrite deletes it and begins again, "
                "and without --output the run goes to a new folder"
            )
    elif held:
        raise UsageError(f"{folder}: holds files that no run wrote, such as {held[0]}; choose another --output")
    elif resume:
        raise UsageError(f"{folder}: nothing to resume, the folder is empty; leave --resume out to begin there")


def _empty(folder: Path) -> None:
    """Delete all but the lock; the state file goes last, so that an interrupted deletion can be repeated."""
    entries = [entry for entry in folder.iterdir() if entry.name not in (LOCK_FILE, STATE_FILE)]
    try:
        for entry in [*entries, folder / STATE_FILE]:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(disk_message(error, folder)) from error


def _lock(file: int) -> bool:
    """Take the lock, which the system frees even if the process is killed; False if somebody else holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
