"""The files that names stand for: files, folders with all that is below them, glob patterns, lists of paths."""

import glob
import hashlib
import os
import sys
from collections.abc import Container, Iterable, Iterator
from typing import BinaryIO, NamedTuple

from pipelines.errors import UsageError

STANDARD_INPUT = "-"
_PIECE_BYTES = 1 << 16


class Found(NamedTuple):
    """A file to tag.

    Args:
        path: as the user named it, or below the folder as the user named that.
        is_named: by the user; false in a folder, where files that no model reads are to be expected.
    """

    path: str
    is_named: bool


class Unusable(NamedTuple):
    """A name that stands for no file: a folder that cannot be read, a pattern that matches nothing.

    Args:
        path: the folder or pattern.
        reason: what to say of it, to be put behind its name.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


class Shard(NamedTuple):
    """Part `number` of `parts`, counted from 1: the files whose path falls into it.

    The path's bytes, as the user named it, decide: their BLAKE2b digest of 8 bytes, read as a big-endian number, is
    `number` - 1 modulo `parts`. So every machine must name the archive alike.
    """

    number: int
    parts: int

    def holds(self, path: str) -> bool:
        """Whether this part is the one that tags the path."""
        digest = hashlib.blake2b(os.fsencode(path), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.parts == self.number - 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """A shard from "2/8".

        Raises:
            UsageError: if it is no such thing.
        """
        number, slash, parts = text.partition("/")
        if not (slash and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
            raise UsageError(f"shard {text!r} must be i/n with i from 1 to n, such as 1/4 for the first of four parts")
        return cls(int(number), int(parts))


def walk_inputs(
    names: Iterable[str], *, lists: Iterable[str] = (), leave_out: Container[str] = frozenset()
) -> Iterator[Found | Unusable]:
    """What names stand for, one after the other, folders sorted; a file that is named twice comes twice.

    Args:
        names: files, folders, glob patterns; "-" for paths on standard input.
        lists: files of paths, one per line, or each ended by a NUL byte.
        leave_out: real paths of folders not to look into.

    Raises:
        UsageError: if a list cannot be read.
    """
    for name in names:
        if name == STANDARD_INPUT:
            yield from _listed(sys.stdin.buffer, leave_out)
        elif glob.has_magic(name) and not os.path.lexists(name):
            matches = sorted(glob.glob(name, recursive=True))
            if not matches:
                yield Unusable(name, "matches no file")
            for match in matches:
                yield from _named(match, leave_out)
        else:
            yield from _named(name, leave_out)
    for name in lists:
        try:
            with open(name, "rb") as file:
                yield from _listed(file, leave_out)
        except OSError as error:
            raise UsageError(f"--list {name}: {error.strerror}; name a file with one path per line") from error


def find_files(
    names: Iterable[str], *, lists: Iterable[str] = (), leave_out: Container[str] = frozenset()
) -> tuple[list[Found], list[str]]:
    """`walk_inputs`, every file once.

    Returns:
        Files in the order of the names; and, for names and folders that cannot be used, why.
    """
    found: dict[str, Found] = {}
    unusable: list[str] = []
    for each in walk_inputs(names, lists=lists, leave_out=leave_out):
        if isinstance(each, Unusable):
            unusable.append(str(each))
        elif each.is_named:
            found[each.path] = each
        else:
            found.setdefault(each.path, each)
    return list(found.values()), unusable


def as_utf8(name: str) -> str:
    """A file's name for a UTF-8 table; bytes that are no UTF-8 as backslash escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _named(name: str, leave_out: Container[str]) -> Iterator[Found | Unusable]:
    if not os.path.isdir(name):
        yield Found(name, True)
    elif os.path.realpath(name) not in leave_out:
        yield from _below(name, leave_out)


def _below(folder: str, leave_out: Container[str]) -> Iterator[Found | Unusable]:
    """All files below a folder, links followed, no folder twice."""
    visited = set()
    unusable: list[Unusable] = []

    def note(error: OSError) -> None:
        unusable.append(Unusable(error.filename, f"cannot be read: {error.strerror}"))

    for base, folders, names in os.walk(folder, onerror=note, followlinks=True):
        place = os.path.realpath(base)
        if place in visited or place in leave_out:
            folders.clear()
            continue
        visited.add(place)
        folders.sort()
        yield from (Found(os.path.join(base, name), False) for name in sorted(names))
        yield from unusable
        unusable.clear()
    yield from unusable


def _listed(file: BinaryIO, leave_out: Container[str]) -> Iterator[Found | Unusable]:
    for path in _paths(file):
        yield from _named(os.fsdecode(path), leave_out)


def _paths(file: BinaryIO) -> Iterator[bytes]:
    """Paths that are each ended by NUL, if there is one in the first 64 KiB; else by a line end."""
    piece = file.read(_PIECE_BYTES)
    end, strip = (b"\0", b"") if b"\0" in piece else (b"\n", b"\r")
    rest = b""
    while piece:
        *whole, rest = (rest + piece).split(end)
        yield from filter(None, (path.removesuffix(strip) for path in whole))
        piece = file.read(_PIECE_BYTES)
    yield from filter(None, [rest.removesuffix(strip)])


def real_folders(*folders: str | os.PathLike[str] | None) -> frozenset[str]:
    """Real paths of folders, for `leave_out`; None is passed over."""
    return frozenset(os.path.realpath(folder) for folder in folders if folder is not None)
