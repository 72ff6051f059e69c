"""Every stretch of time that some threshold calls a detection: what PSDS is counted from.

A score per frame, cut at every threshold, is a forest: lowering the threshold widens stretches and joins them. Each
distinct stretch is one row of `Runs`, alive from the threshold that makes it down to the one that makes its parent, so
T frames make at most T rows, whatever the number of thresholds. Times are whole microseconds; recordings lie one after
another on one axis.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.events import Event
from pipelines.metrics.matching import Floats, Ints

NEVER = -np.inf  # a level that no threshold reaches


class Runs(NamedTuple):
    """N stretches of time, each a detection for the thresholds in (its parent's level, its level].

    Args:
        edges: (E,) microseconds.
        begin, end: (N,) each stretch, as indices into `edges`.
        level: (N,) thresholds.
        parent: (N,) the stretch that it becomes a part of; -1: none.
        unit: (N,) index of the unit (recording or group) that it belongs to.
    """

    edges: Ints
    begin: Ints
    end: Ints
    level: Floats
    parent: Ints
    unit: Ints

    def closing(self) -> Floats:
        """(N,) the level at which each ends: its parent's, -inf if it has none."""
        return np.append(self.level, NEVER)[self.parent]


class Steps(NamedTuple):
    """Scores that are constant from edge to edge, -inf between recordings.

    Args:
        edges: (E,) microseconds; score i holds from edge i to edge i + 1.
        scores: (E,) the first and the last one are -inf.
        unit: (E,) as in Runs.
    """

    edges: Ints
    scores: Floats
    unit: Ints


class Truth(NamedTuple):
    """The true events of one label, sorted and apart.

    Args:
        onset, offset: (K,) microseconds.
        unit: (K,) as in Runs.
    """

    onset: Ints
    offset: Ints
    unit: Ints

    def time_before(self, moments: Ints) -> Ints:
        """How much of the true events lies before each moment, in microseconds."""
        total = np.append(0, np.cumsum(self.offset - self.onset))
        begun = np.searchsorted(self.onset, moments, side="right")
        last_offset = np.append(0, self.offset)[begun]
        return np.asarray(total[begun] - np.maximum(last_offset - moments, 0), dtype=np.int64)


def microseconds(seconds: float) -> int:
    """Times to the microsecond, so that 0.7 of a length is the same for everyone."""
    return round(seconds * 1e6)


def truth_of(
    per_recording: Sequence[Sequence[Event]], starts: Sequence[int], units: Sequence[int], label: str
) -> Truth:
    """The true events of a label on the common axis; those that overlap are one."""
    rows: list[tuple[int, int, int]] = []
    for events, start, unit in zip(per_recording, starts, units, strict=True):
        rows += [(start + a, start + b, unit) for a, b in _apart(e for e in events if e.label == label)]
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return Truth(table[:, 0], table[:, 1], table[:, 2])


def runs_of_steps(steps: Steps) -> Runs:
    """All stretches that any threshold cuts out of the scores."""
    scores = steps.scores
    left = _nearest_not_above(scores)
    is_first = scores[left] < scores  # the first of its score within its stretch: one row per stretch
    right = len(scores) - 1 - _nearest_below(scores[::-1])[::-1]
    first = np.where(is_first | (scores == NEVER), np.arange(len(scores)), left)
    while (first != first[first]).any():  # several frames of one score: each leads to the one before
        first = first[first]
    row = np.where(scores > NEVER, np.cumsum(is_first) - 1, -1)
    left, right = left[is_first], right[is_first]
    higher_side = first[np.where(scores[left] >= scores[right], left, right)]
    return Runs(steps.edges, left + 1, right, scores[is_first], row[higher_side], steps.unit[is_first])


def _nearest_not_above(scores: Floats) -> Ints:
    """For each position the nearest earlier one whose score is not above it."""
    return _nearest(scores, np.greater)


def _nearest_below(scores: Floats) -> Ints:
    """For each position the nearest earlier one whose score is below it."""
    return _nearest(scores, np.greater_equal)


def _nearest(scores: Floats, is_passed: np.ufunc) -> Ints:
    """All positions leap at once: whatever one has passed, those that come to it pass, too."""
    nearest = np.maximum(np.arange(len(scores)) - 1, 0)
    searching = np.flatnonzero(scores > NEVER)
    while len(searching):
        searching = searching[is_passed(scores[nearest[searching]], scores[searching])]
        nearest[searching] = nearest[nearest[searching]]
    return nearest


def steps_of_frames(
    scores: Sequence[Floats],
    hops_and_starts: Sequence[tuple[float, float]],
    starts: Sequence[int],
    units: Sequence[int],
) -> Steps:
    """One label's frame scores of many recordings; each recording has its (hop, first onset) in seconds."""
    edges, rows, unit_of = [np.zeros(1, dtype=np.int64)], [np.array([NEVER])], [np.zeros(1, dtype=np.int64)]
    for values, (hop_seconds, onset_seconds), start, unit in zip(scores, hops_and_starts, starts, units, strict=True):
        frames = np.arange(len(values) + 1)
        edges.append(start + np.rint((onset_seconds + frames * hop_seconds) * 1e6).astype(np.int64))
        rows += [np.asarray(values, dtype=np.float64), np.array([NEVER])]
        unit_of.append(np.full(len(frames), unit))
    return Steps(np.concatenate(edges), np.concatenate(rows), np.concatenate(unit_of))


def steps_of_events(
    per_recording: Sequence[Sequence[Event]], starts: Sequence[int], units: Sequence[int], label: str
) -> Steps:
    """A label's events as scores: at each moment the highest score of the events there."""
    edges, scores, unit_of = [np.zeros(1, dtype=np.int64)], [np.array([NEVER])], [np.zeros(1, dtype=np.int64)]
    for events, start, unit in zip(per_recording, starts, units, strict=True):
        chosen = sorted((event for event in events if event.label == label), key=lambda event: event.score)
        limits = [(microseconds(event.onset_seconds), microseconds(event.offset_seconds)) for event in chosen]
        spans = np.array(limits, dtype=np.int64).reshape(-1, 2)
        marks = np.unique(spans)
        heights = np.full(len(marks), NEVER)
        for event, (begin, end) in zip(chosen, np.searchsorted(marks, spans).tolist(), strict=True):
            heights[begin:end] = event.score
        edges.append(start + marks)
        scores.append(heights)
        unit_of.append(np.full(len(marks), unit))
    return Steps(np.concatenate(edges), np.concatenate(scores), np.concatenate(unit_of))


def runs_of_points(
    points: Sequence[Sequence[Sequence[Event]]], starts: Sequence[int], units: Sequence[int], label: str
) -> Runs:
    """A label's events at K operating points: those of point k are alive at the level -k alone."""
    rows: list[tuple[int, int, int, int]] = []
    for unit, start, *detected in zip(units, starts, *points, strict=True):
        for point, events in enumerate(detected):
            rows += [(start + a, start + b, point, unit) for a, b in _apart(e for e in events if e.label == label)]
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    num_rows = len(table)
    # The parent of each is an empty stretch at the level of the next point.
    begin = np.tile(2 * np.arange(num_rows), 2)
    end = begin + np.repeat([1, 0], num_rows)
    level = np.concatenate([-table[:, 2], -table[:, 2] - 1]).astype(np.float64)
    parent = np.append(np.arange(num_rows) + num_rows, np.full(num_rows, -1))
    return Runs(table[:, :2].reshape(-1), begin, end, level, parent, np.tile(table[:, 3], 2))


def _apart(events: Iterable[Event]) -> list[tuple[int, int]]:
    """Onsets and offsets in microseconds, sorted; events that overlap are joined, those that only touch are not."""
    joined: list[tuple[int, int]] = []
    for onset, offset in sorted((microseconds(e.onset_seconds), microseconds(e.offset_seconds)) for e in events):
        if offset <= onset:
            continue  # nothing in a microsecond grid: it can neither be hit nor be a false alarm
        if joined and onset < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], offset))
        else:
            joined.append((onset, offset))
    return joined
