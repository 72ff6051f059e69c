"""The recordings that tables name: found below a folder, their lengths known."""

from collections.abc import Callable
from pathlib import Path

from featurizers.media import MediaError, open_audio
from pipelines.corpora.table_formats import Mistakes
from pipelines.corpora.tables import Row
from pipelines.errors import UserError
from pipelines.events import Recording
from pipelines.yaml_text import did_you_mean

NO_MEDIA = {".txt", ".tsv", ".csv", ".parquet", ".json", ".jams", ".xml", ".yaml"}
ANY_RATE_HZ = 16000  # lengths in seconds do not depend on it


class AudioFolder:
    """The files below a folder, found by path, name, or name without suffix.

    Raises:
        UserError: if there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"audio={str(folder)!r} is no folder; it must hold the recordings that the tables name")
        self.folder = folder
        self._found: dict[str, list[Path]] = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            for name in {path.relative_to(folder).as_posix(), path.name, path.stem}:
                self._found.setdefault(name, []).append(path)

    def find(self, row: Row, mistakes: Mistakes) -> Path | None:
        """The recording that a row names; None, and a mistake noted, if there is none or more than one."""
        name = row.file.replace("\\", "/")
        parts = name.split("/")  # the longest end of the path that is known: tables may name a folder above this one
        ends = ("/".join(parts[first:]) for first in range(len(parts)))
        found = next((self._found[end] for end in ends if end in self._found), [])
        media = [path for path in found if path.suffix.lower() not in NO_MEDIA] or found
        if len(media) == 1:
            return media[0]
        if media:
            mistakes.add(row.line, f"{row.file!r} may be {media[0]} or {media[1]}; write the path from {self.folder}")
        else:
            hint = did_you_mean(row.file, self._found) or "; put it there, or take the row out"
            mistakes.add(row.line, f"there is no recording {row.file!r} in {self.folder}{hint}")
        return None


class Lengths:
    """Compares the times of rows with the lengths of their recordings, each opened once.

    Args:
        cut_seconds: times at most so far past the end are cut back to it.
        progress: called with what is being done, and twice how many recordings are done.
    """

    def __init__(self, cut_seconds: float, progress: Callable[[str, int, int], None] | None) -> None:
        self._cut_seconds = cut_seconds
        self._progress = progress
        self._ends: dict[Path, float | None] = {}

    def checked(self, path: Path, row: Row, mistakes: Mistakes) -> Row:
        """The row, its offset not past the end of the recording; a mistake is noted where it lies further past."""
        end = self._end(path, row, mistakes)
        if row.event is None or end is None or row.event.offset_seconds <= end:
            return row
        if row.event.offset_seconds > end + self._cut_seconds:
            end = max(end, _decoded_end(path))  # what a header claims may be short
        if row.event.offset_seconds > end + self._cut_seconds or row.event.onset_seconds >= end:
            mistakes.add(
                row.line,
                f"offset {row.event.offset_seconds:g} s lies past the end of {path.name} ({end:.3f} s) by more than "
                f"cut_seconds={self._cut_seconds:g}; correct it, or raise cut_seconds",
            )
            return row
        return row._replace(event=row.event._replace(offset_seconds=min(end, row.event.offset_seconds)))

    def end_of(self, recording: Recording) -> float:
        """Where a recording ends on the media clock, as its header or, if it does not tell, its last sample says."""
        with open_audio(recording.source, ANY_RATE_HZ) as stream:
            claimed = stream.duration_seconds
            return _decoded_end(recording.source) if claimed is None else stream.start_seconds + claimed

    def _end(self, path: Path, row: Row, mistakes: Mistakes) -> float | None:
        """Where a recording ends by its header; None: it does not tell, or cannot be read (a mistake is noted)."""
        if path not in self._ends:
            try:
                with open_audio(path, ANY_RATE_HZ) as stream:
                    claimed = stream.duration_seconds
                    self._ends[path] = None if claimed is None else stream.start_seconds + claimed
            except MediaError as error:
                self._ends[path] = None
                mistakes.add(row.line, f"{path.name} cannot be read: {error}")
            if self._progress is not None:
                self._progress("reading lengths", len(self._ends), len(self._ends))
        return self._ends[path]


def _decoded_end(path: Path) -> float:
    with open_audio(path, ANY_RATE_HZ) as stream:
        num_samples = sum(block.shape[-1] for block in stream.blocks(ANY_RATE_HZ * 10))
        return stream.start_seconds + num_samples / ANY_RATE_HZ
