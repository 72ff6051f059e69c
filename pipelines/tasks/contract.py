"""What a task is: targets to train on, events to decode, how well that is done."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from featurizers import Grid

from ..events import Event, Recording
from ..heads import Held
from ..line import Track
from ..recipe import EvaluateOptions


class Targets(NamedTuple):
    """What training wants of the T frames of one recording.

    Args:
        labels: (T, C) in {0, 1}.
        weights: (T, C); 0 where nothing is asked.
        switch: (T,) in {0, 1}; frames that the helping loss wants open.
        clip: (C,) in {0, 1}, for a recording of which only its labels are known, not their times; None: any other.
    """

    labels: Tensor
    weights: Tensor
    switch: Tensor
    clip: Tensor | None = None


class Judged(NamedTuple):
    """The test split, walked.

    Args:
        recordings: what is true.
        tracks: of each, with the switch.
        dense_tracks: of each, with everything open.
        labels: C names.
        tuning: what the task decided on the validation split.
    """

    recordings: Sequence[Recording]
    tracks: Sequence[Track]
    dense_tracks: Sequence[Track]
    labels: Sequence[str]
    tuning: Any


class Moment(NamedTuple):
    """A miss or a false alarm worth looking at.

    Args:
        recording: which of the judged recordings.
        event: the true event missed, or the event found where there is none.
        score: of the detection, or the best score near the missed event, as a probability.
        is_miss: missed, or false alarm.
    """

    recording: int
    event: Event
    score: float
    is_miss: bool


class Task(Protocol):
    """What is looked for: what to train, what counts as found, how well that is done.

    decision: a NamedTuple of numbers, which a bundle keeps for every label.
    title: of the report.
    """

    decision: type[Any]
    title: str

    def targets(self, recording: Recording, labels: Sequence[str], grid: Grid, num_frames: int) -> Targets:
        """Targets of one recording; event times are on the media clock, as is the grid's origin."""
        ...

    def decode(
        self,
        held: Held,
        grid: Grid,
        seconds: float,
        labels: Sequence[str],
        decisions: Mapping[str, Any],
        min_score: float | None = None,
    ) -> list[Event]:
        """The events of one recording of so many seconds, sorted by onset.

        `min_score`, a probability, takes the place of every threshold.
        """
        ...

    def tune(
        self,
        tracks: Sequence[Track],
        dense_tracks: Sequence[Track],
        recordings: Sequence[Recording],
        labels: Sequence[str],
        options: EvaluateOptions,
    ) -> Any:
        """What validation recordings decide: something with `decisions`, by label, and what the task needs besides."""
        ...

    def metrics(self, judged: Judged) -> dict[str, float]:
        """Flat figures, over all recordings and again per kind, the dense twin's among them; see docs/metrics.md."""
        ...

    def headline(self, metrics: Mapping[str, float], kind: str = "") -> str:
        """How well it does, in the words of a user, over all recordings or those of a kind."""
        ...

    def moments(self, judged: Judged, number: int) -> list[Moment]:
        """The worst mistakes."""
        ...

    def plots(self, folder: Path, judged: Judged) -> list[tuple[Path, str]]:
        """Draws what shows the task's quality: PNG files with captions."""
        ...
