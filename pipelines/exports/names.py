"""Names below an export's folder that mirror the recordings' own, on any file system, no two alike."""

import hashlib
import re
import unicodedata
from pathlib import Path, PurePath

from .escapes import UNFIT

LONGEST_PART_BYTES = 120  # of 255 on most file systems, 143 on some encrypted ones; endings of ours come on top
LONGEST_PATH_BYTES = 1000  # of 4096 that Linux takes and 1024 that macOS takes, with the folder above
FORBIDDEN = re.compile(r'[<>:"/\\|?*]')  # on Windows, on the sticks and shares that recordings travel by
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # no file can be called so there


class Names:
    """Gives each recording its own path below an export's folder.

    What a file system cannot take is written as "_". Where two recordings would meet in one name (also one that
    differs in case or in how an accent is coded), or a name is too long, "~" and part of a hash of the recording's name
    follow. Takes some 80 bytes of memory for each name given.

    Args:
        ending: what each given name ends in, such as ".vtt".
        taken: names that are never given.
    """

    def __init__(self, ending: str = "", taken: tuple[str, ...] = ()) -> None:
        self._ending = ending
        self._taken = {_key(name) for name in taken}

    def of(self, file: str) -> Path:
        """The path for this recording, relative, the same whenever recordings come in the same order."""
        path = PurePath(file)
        *above, name = [plain(part) for part in path.parts if part != path.anchor] or ["_"]
        # A folder that is called like a file of ours would stand in its way.
        above = [part + "_" * (bool(self._ending) and part.casefold().endswith(self._ending)) for part in above]
        if len("/".join([*above, name]).encode()) > LONGEST_PATH_BYTES:
            above, name = ["_"], shortened(name, file)
        attempt, seed = name, file
        while _key(key := "/".join([*above, attempt]) + self._ending) in self._taken:
            attempt = f"{name}~{_digest(seed)}"
            seed += "~"
        self._taken.add(_key(key))
        return Path(*above, attempt + self._ending)


def plain(part: str, longest_bytes: int = LONGEST_PART_BYTES) -> str:
    """One part of a path as any file system takes it."""
    text = UNFIT.sub("_", FORBIDDEN.sub("_", part))
    text = re.sub(r"[. ]+$", lambda end: "_" * len(end[0]), text)
    if not text or DEVICES.match(text):
        text = f"_{text}"
    return shortened(text, part, longest_bytes) if len(text.encode()) > longest_bytes else text


def shortened(text: str, seed: str, longest_bytes: int = LONGEST_PART_BYTES) -> str:
    """The beginning of a text, and a hash in place of the rest."""
    return text.encode()[: longest_bytes - 9].decode(errors="ignore") + f"~{_digest(seed)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _key(name: str) -> bytes:
    """Equal for names that some file system takes for the same."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return hashlib.blake2b(folded.encode(), digest_size=8).digest()
