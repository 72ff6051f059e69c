"""What a model answers: events to iterate and print, scores to plot."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurizers import Damage

from .audit import Audit
from .console import one_line
from .events import Event

if TYPE_CHECKING:
    import pandas as pd


class Scores(NamedTuple):
    """Scores of T frames.

    Args:
        times: (T,) float64 seconds at which each frame begins, on the media clock.
        labels: C names.
        scores: (T, C) float32 in [0, 1]; 0 before the first open frame.
        is_open: (T,) bool; closed frames were neither featurized nor encoded, their scores decay by law.
    """

    times: NDArray[np.float64]
    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    is_open: NDArray[np.bool_]


@dataclass(frozen=True)
class Events:
    """The events of one recording, sorted by onset: iterate, index, print, or `to_pandas()`.

    Args:
        events: found events.
        source: path, or "array".
        seconds: duration of the recording.
        frames_open: share of frames that the switch left open, in [0, 1].
        work_seconds: time spent from opening the file to the last event, audit included.
        audit: what the switch made the model miss in the closed time that was opened; None if none was asked for.
        recording_start: when the recording began, ISO 8601, as its name or container tells; "" where nothing does.
        damage: what of a video could not be read or decoded, by time; the nearest picture stood in for it.
        sample_rate_hz: of the recording, before it became the model's; 0 of video.
        missing_band: what that rate keeps from the model, in words; "" if nothing.
    """

    events: tuple[Event, ...]
    source: str
    seconds: float
    frames_open: float
    work_seconds: float
    audit: Audit | None = None
    recording_start: str = ""
    damage: tuple[Damage, ...] = ()
    sample_rate_hz: int = 0
    missing_band: str = ""

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, place: int) -> Event:
        return self.events[place]

    @property
    def damage_text(self) -> str:
        """What is damaged, in a line; "" if nothing is. Of many places the first three."""
        places = [f"{d.onset_seconds:.2f} to {d.offset_seconds:.2f} s ({one_line(d.reason)})" for d in self.damage[:3]]
        more = [f"{len(self.damage) - 3} more places"] if len(self.damage) > 3 else []
        return f"damaged: {'; '.join([*places, *more])}" if places else ""

    def __str__(self) -> str:
        speed = self.seconds / self.work_seconds if self.work_seconds > 0 else float("inf")
        lines = [
            f"{len(self)} event{'' if len(self) == 1 else 's'} in {one_line(self.source)} ({self.seconds:.1f} s; "
            f"{self.frames_open:.1%} of frames open, {speed:.0f} times real time)"
        ]
        lines += [
            f"  {e.onset_seconds:9.2f} - {e.offset_seconds:9.2f} s  {e.score:.2f}  {e.label}" for e in self.events
        ]
        return "\n".join([*lines, *(f"  {text}" for text in (self.damage_text, self.missing_band) if text)])

    def to_pandas(self) -> "pd.DataFrame":
        """One row per event; the columns of `Event`, also when there is none."""
        import pandas as pd  # takes a second, which whoever wants no table need not wait for

        return pd.DataFrame(list(self.events), columns=list(Event._fields))
