"""Polyphonic sound detection score (PSDS): one figure for a detector over its whole range of operating points.

A detection counts if enough of it lies within true events of its label (detection tolerance); a true event is hit if
enough of it is covered by detections that count (ground truth intersection); a detection that does not count is a false
alarm, and a cross trigger with another label if enough of it lies within true events of that label. PSDS is the area
under the hit rate (mean over labels, minus their spread) against false alarms per hour.

Sources: Bilen et al., A Framework for the Robust Evaluation of Sound Event Detection, ICASSP 2020; Ebbers et al.,
Threshold-Independent Evaluation of Sound Event Detection Scores, ICASSP 2022. The parameters of PSDS1 and PSDS2 are
those of DCASE 2021 to 2023, task 4.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.events import Event
from pipelines.metrics.matching import Floats
from pipelines.metrics.psds_counts import LabelChanges, PsdsVariant, changes_of_label
from pipelines.metrics.psds_runs import (
    Runs,
    microseconds,
    runs_of_points,
    runs_of_steps,
    steps_of_events,
    steps_of_frames,
    truth_of,
)
from pipelines.metrics.sheet import RecordingResult


class ScoredRecording(NamedTuple):
    """What a detector said of every frame of one recording, and what is there.

    Args:
        scores: (T, C) per frame and label, on any scale; higher: more likely; -inf: never detected.
        hop_seconds: from frame to frame.
        truth: the true events.
        seconds: length of the recording.
        kind, name, group: as in RecordingResult.
        onset_seconds: when the first frame begins.
    """

    scores: Floats
    hop_seconds: float
    truth: Sequence[Event]
    seconds: float
    kind: str
    name: str
    group: str = ""
    onset_seconds: float = 0.0


class PsdsSheet(NamedTuple):
    """All that PSDS depends on; weights of units can be changed afterwards, for a bootstrap.

    Args:
        changes: one per label.
        num_events: (U, L) true events per unit and label.
        event_hours: (U, L) how long they last.
        hours: (U,) length of each unit.
    """

    variant: PsdsVariant
    changes: tuple[LabelChanges, ...]
    num_events: Floats
    event_hours: Floats
    hours: Floats
    labels: tuple[str, ...]
    units: tuple[str, ...]


class Psds(NamedTuple):
    """The score in [0, 1], and the area under each label's own curve; NaN for labels without true events."""

    value: float
    per_label: dict[str, float]


def psds_over_all_thresholds(
    recordings: Sequence[ScoredRecording], labels: Sequence[str], variant: PsdsVariant
) -> PsdsSheet:
    """Every threshold on the frame scores: exact, as sed_scores_eval computes it.

    Raises:
        ValueError: if there is no recording or label, a score is NaN, or the scores are not one column per label.
    """
    for recording in recordings:
        if recording.scores.ndim != 2 or recording.scores.shape[1] != len(labels):
            raise ValueError(
                f"scores of {recording.name} have the shape {recording.scores.shape}; the rule is one row per frame "
                f"and one column for each of the {len(labels)} labels"
            )
        _refuse_nan(recording.scores, recording.name)
    ends = [r.onset_seconds + len(r.scores) * r.hop_seconds for r in recordings]
    axis = _axis(recordings, ends)
    grids = [(r.hop_seconds, r.onset_seconds) for r in recordings]

    def runs(column: int) -> Runs:
        scores = [r.scores[:, column] for r in recordings]
        return runs_of_steps(steps_of_frames(scores, grids, axis.starts, axis.units))

    return _sheet(axis, recordings, labels, variant, runs)


def psds_over_event_scores(
    per_recording: Sequence[RecordingResult], labels: Sequence[str], variant: PsdsVariant
) -> PsdsSheet:
    """Every threshold on the scores of decoded events, whose limits stay as they are.

    Where events of one label overlap or touch, the score of a moment is the highest there.

    Raises:
        ValueError: if there is no recording or label, or a score is NaN.
    """
    detected = [r.detected for r in per_recording]
    for recording in per_recording:
        _refuse_nan(np.array([event.score for event in recording.detected]), recording.name)
    axis = _axis(per_recording, [_last_offset(events) for events in detected])

    def runs(column: int) -> Runs:
        return runs_of_steps(steps_of_events(detected, axis.starts, axis.units, labels[column]))

    return _sheet(axis, per_recording, labels, variant, runs)


def psds_over_operating_points(
    points: Sequence[Sequence[RecordingResult]], labels: Sequence[str], variant: PsdsVariant
) -> PsdsSheet:
    """A finite list of operating points, each the events found at it in every recording, as psds_eval computes it.

    Scores of the events count for nothing; events of one label that overlap are one. The curve is a staircase through
    the points given, so few points give a lower figure than all thresholds do.

    Raises:
        ValueError: if there is no point, recording or label, or the points are not of the same recordings.
    """
    if not points:
        raise ValueError("0 operating points; PSDS needs at least one")
    known = [(r.name, tuple(r.truth), r.seconds) for r in points[0]]
    for number, point in enumerate(points):
        if [(r.name, tuple(r.truth), r.seconds) for r in point] != known:
            raise ValueError(
                f"operating point {number} differs from point 0 in names, lengths or true events; "
                "all points are of the same recordings in the same order"
            )
    detected = [[r.detected for r in point] for point in points]
    ends = [max(_last_offset(events) for events in of_recording) for of_recording in zip(*detected, strict=True)]
    axis = _axis(points[0], ends)

    def runs(column: int) -> Runs:
        return runs_of_points(detected, axis.starts, axis.units, labels[column])

    return _sheet(axis, points[0], labels, variant, runs)


def psds_of(sheet: PsdsSheet, weights: Floats | None = None) -> Psds:
    """PSDS of the whole sheet, or of its units weighted by (U,) weights."""
    weights = np.ones(len(sheet.units)) if weights is None else weights
    limit = sheet.variant.max_false_alarms_per_hour
    present = np.flatnonzero(weights @ sheet.num_events > 0).tolist()
    curves = {column: _curve(sheet, column, present, weights) for column in present}
    per_label = dict.fromkeys(sheet.labels, float("nan"))
    for column, (rates, hits) in curves.items():
        per_label[sheet.labels[column]] = _area(rates, hits, limit)
    if not curves:
        return Psds(float("nan"), per_label)
    rates = np.unique(np.concatenate([rates for rates, _ in curves.values()]))
    hits = np.stack([hits[np.searchsorted(own, rates, side="right") - 1] for own, hits in curves.values()])
    effective = np.maximum(hits.mean(axis=0) - sheet.variant.spread_weight * hits.std(axis=0), 0.0)
    return Psds(_area(rates, effective, limit), per_label)


def psds_statistic(sheet: PsdsSheet, weights: Floats) -> float:
    """`psds_of` as one figure, for a bootstrap over units."""
    return psds_of(sheet, weights).value


class _Axis(NamedTuple):
    """Recordings one after another: where each starts, in microseconds, and to which unit it belongs."""

    starts: list[int]
    units: list[int]
    names: tuple[str, ...]
    hours: Floats


_Recordings = Sequence[ScoredRecording | RecordingResult]


def _axis(recordings: _Recordings, ends_seconds: Sequence[float]) -> _Axis:
    names = [r.group or r.name for r in recordings]
    units = {name: index for index, name in enumerate(dict.fromkeys(names))}
    hours = np.zeros(len(units))
    starts, start = [], 0
    for recording, name, end in zip(recordings, names, ends_seconds, strict=True):
        starts.append(start)
        start += microseconds(max(recording.seconds, end, _last_offset(recording.truth)))
        hours[units[name]] += recording.seconds / 3600
    return _Axis(starts, [units[name] for name in names], tuple(units), hours)


def _last_offset(events: Sequence[Event]) -> float:
    return max((event.offset_seconds for event in events), default=0.0)


def _refuse_nan(scores: Floats, name: str) -> None:
    if np.isnan(scores).any():
        raise ValueError(f"scores of {name} hold NaN; the rule is a number; check the model's scores")


def _sheet(
    axis: _Axis,
    recordings: _Recordings,
    labels: Sequence[str],
    variant: PsdsVariant,
    runs_of_label: Callable[[int], Runs],
) -> PsdsSheet:
    if not recordings or not labels:
        raise ValueError(f"{len(recordings)} recordings and {len(labels)} labels; PSDS needs at least one of each")
    truths = [truth_of([r.truth for r in recordings], axis.starts, axis.units, label) for label in labels]
    num_events, event_hours = np.zeros((2, len(axis.names), len(labels)))
    for column, truth in enumerate(truths):
        np.add.at(num_events[:, column], truth.unit, 1.0)
        np.add.at(event_hours[:, column], truth.unit, (truth.offset - truth.onset) / 3.6e9)
    changes = tuple(changes_of_label(runs_of_label(c), c, truths, variant) for c in range(len(labels)))
    return PsdsSheet(variant, changes, num_events, event_hours, axis.hours, tuple(labels), axis.names)


def _curve(sheet: PsdsSheet, column: int, present: Sequence[int], weights: Floats) -> tuple[Floats, Floats]:
    """(false alarms per hour, hit rate), both rising: the best hit rate at each rate up to the limit."""
    changes, variant = sheet.changes[column], sheet.variant
    hit, false, *crosses = changes.weighted(weights)
    rates = np.cumsum(false) / float(weights @ sheet.hours)
    hours = dict(zip(changes.crosses, weights @ sheet.event_hours[:, list(changes.crosses)], strict=True))
    others = [(cross, hours[other]) for other, cross in zip(changes.crosses, crosses, strict=True) if other in present]
    if others:
        total = sum(cross / hours_of_other for cross, hours_of_other in others)
        rates += variant.cross_trigger_weight / len(others) * np.cumsum(total)
    hits = np.cumsum(hit) / float(weights @ sheet.num_events[:, column])
    allowed = np.flatnonzero(rates <= variant.max_false_alarms_per_hour)
    allowed = allowed[np.lexsort((hits[allowed], rates[allowed]))]
    rates, hits = rates[allowed], np.maximum.accumulate(hits[allowed])
    is_last = np.append(rates[1:] != rates[:-1], True)
    return rates[is_last], hits[is_last]


def _area(rates: Floats, hits: Floats, limit: float) -> float:
    """Area under the staircase up to the limit, as a share of it."""
    return float(hits @ np.diff(np.append(rates, limit))) / limit
