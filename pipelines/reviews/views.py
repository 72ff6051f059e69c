"""What a page shows of each event and recording: each file is opened once, one that is gone says so."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from featurizers import MediaError, write_audio
from pipelines.archive.rows import EventRow
from pipelines.events import Event
from pipelines.model import Model
from pipelines.stretches import write_clip

from .found import find_media
from .page import Clip, EventView, RecordingView
from .pictures import picture_of
from .recordings import Looker, Seen, Window

LONGEST_EVENT_SECONDS = 20.0  # a clip shows no more of one
MEDIA_TYPES = {".flac": "audio/flac", ".webp": "image/webp"}


class Views(NamedTuple):
    """Events in the order in which they were given, and their recordings.

    Args:
        num_gone: recordings that are not there, or cannot be read.
        num_not_followed: recordings that were only cut, not followed.
    """

    events: list[EventView]
    recordings: list[RecordingView]
    num_gone: int
    num_not_followed: int


class Viewer:
    """Looks at the recordings of some events.

    Args:
        model: that found them.
        scratch: a folder for clips on their way into the page.
        gate, channel: as the job had them.
        media: where the recordings are now; None: where they were.
        pad_seconds: shown around each event.
        follow_seconds: recordings are followed until so many seconds are reached.
    """

    def __init__(
        self,
        model: Model,
        scratch: Path,
        *,
        gate: str,
        channel: int | None,
        media: Path | None,
        pad_seconds: float,
        follow_seconds: float,
    ) -> None:
        self._model, self._scratch, self._media = model, scratch, media
        self._looker = Looker(model, gate=gate, channel=channel)
        self._pad_seconds, self._follow_seconds = pad_seconds, follow_seconds

    def view(
        self,
        shown: Sequence[EventRow],
        found: Sequence[EventRow],
        lengths: Mapping[str, float],
        truth: Mapping[str, Sequence[Event]] | None,
        *,
        seen: Callable[[str], None],
    ) -> Views:
        """What a page shows.

        Args:
            shown: events to judge.
            found: all events of their recordings.
            lengths: seconds of each file of the job.
            truth: true events by file; of files that are missing there, nothing is known.
            seen: told each file that was looked at.
        """
        events: dict[int, EventView] = {}
        recordings: list[RecordingView] = []
        num_gone = num_not_followed = 0
        left_seconds = self._follow_seconds
        by_file: dict[str, list[int]] = {}
        for number, row in enumerate(shown):
            by_file.setdefault(row.file, []).append(number)
        found_in: dict[str, list[EventRow]] = {file: [] for file in by_file}
        for row in found:
            found_in[row.file].append(row)
        for file, numbers in by_file.items():
            rows = [shown[number] for number in numbers]
            source = find_media(file, self._media)
            recording = RecordingView(
                file,
                0.0,
                lengths.get(file, 0.0),
                found_in[file],
                None if truth is None else truth.get(file),
            )
            follow = recording.seconds <= left_seconds
            try:
                if source is None:
                    raise FileNotFoundError
                sight = self._looker.look(source, recording.seconds, [self._window(r) for r in rows], follow=follow)
            except (OSError, MediaError) as error:
                num_gone += 1
                recording = recording._replace(note=_reason(file, error))
                events |= {n: EventView(row, self._window(row)) for n, row in zip(numbers, rows, strict=True)}
            else:
                left_seconds -= recording.seconds if follow else 0.0
                num_not_followed += not follow
                recording = _with_overview(recording, sight)
                views = [self._event(source, row, sight, place) for place, row in enumerate(rows)]
                events |= dict(zip(numbers, views, strict=True))
            recordings.append(recording)
            seen(file)
        return Views([events[number] for number in range(len(shown))], recordings, num_gone, num_not_followed)

    def _window(self, row: EventRow) -> Window:
        end = min(row.offset_seconds, row.onset_seconds + LONGEST_EVENT_SECONDS)
        return Window(row.onset_seconds - self._pad_seconds, end + self._pad_seconds)

    def _event(self, source: Path, row: EventRow, sight: Seen, place: int) -> EventView:
        window, top = sight.windows[place], sight.tops[place]
        frames = sight.frames[place] if sight.frames is not None else None
        if window is None or top is None:
            return EventView(row, self._window(row), note="The recording ends before this event: it has changed.")
        stem = self._scratch / "clip"
        if sight.samples:
            path = stem.with_suffix(".flac")
            # Resampling overshoots where the source is loud.
            write_audio(path, sight.samples[place].clamp(-1, 1), self._model.line.rate_hz)
        else:
            path = write_clip(stem, self._model.line, source, *window)
        clip = Clip(MEDIA_TYPES[path.suffix], path.read_bytes())
        return EventView(row, window, clip, Clip("image/webp", picture_of(top)), frames)


def _reason(file: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"The recording {file} is not there any more; if it has moved, make the page again with --media ROOT."
    return f"The recording cannot be read: {error}."


def _with_overview(recording: RecordingView, sight: Seen) -> RecordingView:
    recording = recording._replace(begin_seconds=sight.begin_seconds, seconds=sight.seconds)
    if sight.overview is None:
        return recording
    top = sight.overview.top
    return recording._replace(
        frames=sight.overview.frames, picture=None if top is None else Clip("image/webp", picture_of(top))
    )
