"""What the line finds, and what a corpus says is there: events, recordings."""

from pathlib import Path
from typing import NamedTuple


class Event(NamedTuple):
    """Something that happens from onset to offset, in seconds of media time, half-open."""

    onset_seconds: float
    offset_seconds: float
    label: str
    score: float = 1.0
    channel: int = 0
    low_hz: float | None = None
    high_hz: float | None = None


class Recording(NamedTuple):
    """One media file of a corpus and what is known of it.

    Args:
        source: the media file.
        events: strong labels, sorted by onset.
        clip_labels: labels known only for the whole recording (weak labels); None where not annotated.
        labelled_spans: (onset, offset) in seconds within which `events` is complete; None: everywhere.
        split: "train", "validation" or "test".
        group: who or what must not be shared between splits (speaker, source).
        kind: sort of recording, for metrics per kind ("talkative", "quiet").
    """

    source: Path
    events: tuple[Event, ...]
    clip_labels: tuple[str, ...] | None = None
    labelled_spans: tuple[tuple[float, float], ...] | None = None
    split: str = "test"
    group: str = ""
    kind: str = ""
