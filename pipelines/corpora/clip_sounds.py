"""Where in each of many short clips the sound is: measured once, kept in a cache on disk."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from featurizers.media import MediaError, open_audio
from pipelines.corpora.acoustics import RATE_HZ, sound_limits
from pipelines.runfolder import write_atomic

SILENT_BELOW = 1e-4  # peak, of full scale: a few steps of 16 bits
SHOWN_UNUSABLE = 5


class Sounding(NamedTuple):
    """The sounding part of a clip, in seconds of media time.

    Args:
        onset_seconds, offset_seconds: where it is, to 10 ms: what is within 35 dB of the loudest moment; equal if the
            clip is silent.
    """

    onset_seconds: float
    offset_seconds: float

    @property
    def is_silent(self) -> bool:
        return self.onset_seconds == self.offset_seconds


class Unusable(NamedTuple):
    """A file that a corpus leaves out, and why."""

    path: Path
    reason: str


def sounding_parts(
    paths: Sequence[Path], cache: Path, progress: Callable[[str, int, int], None] | None = None
) -> dict[Path, Sounding | str]:
    """Where the sound is in each clip, or why it cannot be read.

    Args:
        paths: clips; each is held in memory as a whole.
        cache: a JSON file, with what was measured of files that have not changed since.
        progress: called with what is being done, how many clips are done, and how many there are.
    """
    known: dict[str, list[float] | str] = {}
    if cache.exists():
        known = json.loads(cache.read_text(encoding="utf-8"))
    keys = {path: _key(path) for path in paths}
    todo = [path for path, key in keys.items() if key not in known]
    try:
        for number, path in enumerate(todo):
            if progress is not None and number % 20 == 0:
                progress("finding the sound in clips", number, len(todo))
            known[keys[path]] = _measured(path)
    finally:
        if todo:
            if progress is not None:
                progress("finding the sound in clips", len(todo), len(todo))
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(cache, json.dumps(known))
    found: dict[Path, Sounding | str] = {}
    for path, key in keys.items():
        value = known[key]
        found[path] = value if isinstance(value, str) else Sounding(*value)
    return found


def _key(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return f"{path}: {error.strerror}"
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def _measured(path: Path) -> list[float] | str:
    try:
        with open_audio(path, RATE_HZ) as stream:
            start = stream.start_seconds
            samples = np.concatenate([np.asarray(block).reshape(-1) for block in stream.blocks(RATE_HZ * 10)])
    except (MediaError, OSError) as error:
        return f"cannot be read: {error}"
    if float(np.abs(samples).max(initial=0.0)) < SILENT_BELOW:
        return [start, start]
    limits = sound_limits(samples)
    return [start + limits.onset / RATE_HZ, start + limits.offset / RATE_HZ]


def told_unusable(unusable: Iterable[Unusable], root: Path) -> str:
    """A sentence for a model card: how many files were left out, and the first of them with reasons; "" if none."""
    listed = list(unusable)
    if not listed:
        return ""
    names = [f"{item.path.relative_to(root)} ({item.reason})" for item in listed[:SHOWN_UNUSABLE]]
    more = f", and {len(listed) - SHOWN_UNUSABLE} more" if len(listed) > SHOWN_UNUSABLE else ""
    return f" {len(listed)} files were left out: {'; '.join(names)}{more}."
