"""What PSDS counts, and how each count changes as the threshold falls."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.metrics.matching import Floats, Ints
from pipelines.metrics.psds_runs import NEVER, Runs, Truth


class PsdsVariant(NamedTuple):
    """What counts, and how much.

    Args:
        name: prefix of its keys.
        detection_tolerance: share of a detection that must lie within true events of its label.
        truth_intersection: share of a true event that must be covered by detections that count; above 0.
        cross_trigger_tolerance: share of a detection within true events of another label that makes a cross trigger.
        cross_trigger_weight: cross triggers per hour of the other label (mean over labels) times this are added to the
            false alarms per hour.
        spread_weight: standard deviation of the hit rate over labels times this is taken off its mean.
        max_false_alarms_per_hour: where the area ends.
    """

    name: str
    detection_tolerance: float
    truth_intersection: float
    cross_trigger_tolerance: float = 0.3
    cross_trigger_weight: float = 0.0
    spread_weight: float = 1.0
    max_false_alarms_per_hour: float = 100.0


PSDS1 = PsdsVariant("psds1", detection_tolerance=0.7, truth_intersection=0.7)
PSDS2 = PsdsVariant("psds2", detection_tolerance=0.1, truth_intersection=0.1, cross_trigger_weight=0.5)


class Changes(NamedTuple):
    """How a count changes as the threshold falls: by `change` in unit `unit` at `level`; levels fall."""

    level: Floats
    unit: Ints
    change: Ints


class LabelChanges(NamedTuple):
    """Counts of one label.

    Args:
        hits: of true events that are hit.
        false: of false alarms.
        crosses: other label -> of cross triggers with it.
        num_levels: K, at how many levels any of these changes.
        steps: for each of `each`, where its levels stand among the K, from 0, the highest.
    """

    hits: Changes
    false: Changes
    crosses: dict[int, Changes]
    num_levels: int
    steps: tuple[Ints, ...]

    def each(self) -> tuple[Changes, ...]:
        """Hits, false alarms, cross triggers in order."""
        return (self.hits, self.false, *self.crosses.values())

    def weighted(self, weights: Floats) -> list[Floats]:
        """For each of `each` (K + 1,) changes with units weighted: above all levels (0), then at each of them."""
        return [
            np.bincount(step + 1, weights[of.unit] * of.change, self.num_levels + 1).astype(np.float64)
            for step, of in zip(self.steps, self.each(), strict=True)
        ]


def changes_of_label(runs: Runs, column: int, truths: Sequence[Truth], variant: PsdsVariant) -> LabelChanges:
    """All counts of the label `column`, whose detections are `runs`, among the true events of every label."""
    onset, offset = runs.edges[runs.begin], runs.edges[runs.end]
    length = offset - onset
    is_run = length > 0

    def time_within(truth: Truth) -> Ints:
        before = truth.time_before(runs.edges)
        return before[runs.end] - before[runs.begin]

    counts = is_run & (time_within(truths[column]) >= _share(variant.detection_tolerance, length))
    is_false = is_run & ~counts
    crosses = {}
    if variant.cross_trigger_weight > 0:
        needed = _share(variant.cross_trigger_tolerance, length)
        for other, truth in enumerate(truths):
            if other != column:
                crosses[other] = _changes(runs, (is_false & (time_within(truth) >= needed)).astype(np.int64))
    hits = _hits(runs, np.flatnonzero(counts), onset, offset, truths[column], variant)
    false = _changes(runs, is_false.astype(np.int64))
    each = (hits, false, *crosses.values())
    levels = np.unique(np.concatenate([of.level for of in each]))[::-1]
    steps = tuple(np.searchsorted(-levels, -of.level) for of in each)
    return LabelChanges(hits, false, crosses, len(levels), steps)


def _share(share: float, length: Ints) -> Ints:
    """A share of whole microseconds, in whole microseconds."""
    shares: Ints = np.rint(share * length).astype(np.int64)
    return shares


def _hits(runs: Runs, rows: Ints, onset: Ints, offset: Ints, truth: Truth, variant: PsdsVariant) -> Changes:
    """When each true event begins or ceases to be covered enough by the runs that count (`rows`)."""
    onset, offset, closing = onset[rows], offset[rows], runs.closing()[rows]
    # True events wholly within a run are hit while it is alive.
    ends_later = np.searchsorted(truth.offset, offset, side="right")
    begins_later = np.searchsorted(truth.onset, onset, side="left")
    whole = np.maximum(ends_later - begins_later, 0)
    # Of those it covers in part, at most one reaches out of it to the left, and one more to the right.
    limit = len(truth.onset)
    reach_left = begins_later - 1
    is_left = (reach_left >= 0) & (np.append(truth.offset, 0)[reach_left] > onset)
    is_right = (ends_later < limit) & (np.append(truth.onset, np.iinfo(np.int64).max)[ends_later] < offset)
    is_right &= ends_later > reach_left
    left, right = np.flatnonzero(is_left), np.flatnonzero(is_right)
    event = np.concatenate([reach_left[left], ends_later[right]])
    row = np.concatenate([left, right])
    covered = np.minimum(truth.offset[event], offset[row]) - np.maximum(truth.onset[event], onset[row])
    # Coverage of each event as the threshold falls: more at the run's level, less where the run is joined to another.
    level, event = np.concatenate([runs.level[rows][row], closing[row]]), np.tile(event, 2)
    covered = np.concatenate([covered, -covered])
    order = np.lexsort((-level, event))
    level, event, covered = level[order], event[order], np.cumsum(covered[order])
    is_last = np.append((event[1:] != event[:-1]) | (level[1:] != level[:-1]), True)[: len(event)]
    level, event, covered = level[is_last], event[is_last], covered[is_last]
    before = np.append(0, covered)[:-1]  # every event's own sum ends at 0, so the running sum starts anew
    needed = np.maximum(_share(variant.truth_intersection, truth.offset - truth.onset), 1)[event]
    part_change = (covered >= needed).astype(np.int64) - (before >= needed)
    all_whole = np.zeros(len(runs.level), dtype=np.int64)
    all_whole[rows] = whole
    wholly = _changes(runs, all_whole)
    return _sorted(
        np.concatenate([level, wholly.level]),
        np.concatenate([truth.unit[event], wholly.unit]),
        np.concatenate([part_change, wholly.change]),
    )


def _changes(runs: Runs, counted: Ints) -> Changes:
    """Changes of the sum of `counted` over the runs that are alive."""
    joined = (runs.parent >= 0) & (counted != 0)
    ending = np.bincount(runs.parent[joined], weights=counted[joined], minlength=len(counted))
    return _sorted(runs.level, runs.unit, counted - ending.astype(np.int64))


def _sorted(level: Floats, unit: Ints, change: Ints) -> Changes:
    """By falling level; changes of one unit at one level are summed, those that no threshold reaches left out."""
    kept = (level > NEVER) & (change != 0)
    level, unit, change = level[kept], unit[kept], change[kept]
    order = np.lexsort((unit, -level))
    level, unit, change = level[order], unit[order], change[order]
    first = np.flatnonzero(np.append(True, (np.diff(level) != 0) | (np.diff(unit) != 0))[: len(level)])
    change = np.add.reduceat(change, first) if len(first) else change
    kept = change != 0
    return Changes(level[first][kept], unit[first][kept], change[kept])
