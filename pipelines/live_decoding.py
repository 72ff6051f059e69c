"""Events of a recording that goes on: for each task, what its `decode` finds, before the recording has ended."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from featurizers import Grid

from .decoding import PeakDecoder
from .errors import UsageError
from .events import Event
from .heads import Held
from .keywords import placements_of_decisions
from .span_decoding import SpanDecision, SpanDecoder
from .tasks import ActionRecognition, KeywordSpotting, SoundEventDetection, Task


class LiveDecoder(Protocol):
    """What a task's `decode` finds, each event as soon as no later frame can change it.

    delay_seconds: so long after its offset an event comes at the latest, counted in time that has settled.
    """

    delay_seconds: float

    def add(self, held: Held, num_settled: int) -> list[Event]:
        """What more open frames settle; all frames before `num_settled` are known."""
        ...

    def end(self, seconds: float) -> list[Event]:
        """What is left when the recording has ended after so many seconds."""
        ...


def decoder_of(
    task: Task, grid: Grid, labels: Sequence[str], decisions: Mapping[str, Any], min_score: float | None = None
) -> LiveDecoder:
    """The decoder that finds what `task.decode` finds with the same arguments.

    Raises:
        UsageError: if the task is none of this package's own: what its `decode` does nobody else can know.
    """
    kind = type(task)
    if kind is KeywordSpotting:
        thresholds = {label: each.threshold if min_score is None else min_score for label, each in decisions.items()}
        return PeakDecoder(grid, labels, thresholds=thresholds, placements=placements_of_decisions(decisions))
    if kind is SoundEventDetection or kind is ActionRecognition:
        spans = {label: SpanDecision(*each[: len(SpanDecision._fields)]) for label, each in decisions.items()}
        if min_score is not None:
            spans = {k: s._replace(open_at=min_score, close_at=min(min_score, s.close_at)) for k, s in spans.items()}
        return SpanDecoder(grid, labels, decisions=spans)
    raise UsageError(
        f"task {kind.__module__}.{kind.__qualname__} can only decode whole recordings: the rule is that events can be "
        "had live of KeywordSpotting, SoundEventDetection and ActionRecognition; tag finished files with it"
    )
