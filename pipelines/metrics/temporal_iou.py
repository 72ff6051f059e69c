"""Mean average precision at temporal IoU, as ActivityNet's evaluation defines it, and F1 at the same kind of hit.

    true        [-----------)           intersection over union: 6 s / 14 s = 0.43
    detected          [--------------)  a hit at 0.3, no hit at 0.5

Label by label, best score first over all recordings, a detection takes the free true event of its recording with the
largest temporal IoU of at least the threshold; each true event is taken at most once, all else is a false alarm. The
average precision is the area under precision over recall, precision at a recall being the highest at that recall or
beyond (all points, as Pascal VOC since 2010; not eleven of them). Labels with a true event are averaged; one that is
never detected counts 0.

Source: Caba Heilbron, Escorcia, Ghanem, Niebles, ActivityNet, CVPR 2015, and its evaluation code (eval_detection.py);
Everingham et al., The Pascal Visual Object Classes Challenge: A Retrospective, IJCV 2015.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.events import Event
from pipelines.metrics.matching import Floats, Ints
from pipelines.metrics.psds_runs import microseconds
from pipelines.metrics.sheet import RecordingResult
from pipelines.metrics.sound import CountSheet

IOUS = (0.3, 0.5, 0.7)


class DetectionSheet(NamedTuple):
    """N detections of L labels in U units, label by label and by falling score; whether each is a hit at K IoUs.

    Args:
        label_of: (N,) index into `labels`, rising.
        unit_of: (N,) index into `units`.
        is_hit: (N, K) bool.
        num_events: (U, L) true events.
        hours: (U,) length of each unit.
        ious: K least temporal IoUs.
    """

    label_of: Ints
    unit_of: Ints
    is_hit: NDArray[np.bool_]
    num_events: Floats
    hours: Floats
    ious: tuple[float, ...]
    labels: tuple[str, ...]
    units: tuple[str, ...]


def temporal_ious(spans: Ints, others: Ints) -> Floats:
    """Intersection over union of P pairs of (onset, offset), each (P, 2); 0 where both are empty."""
    common = (np.minimum(spans[:, 1], others[:, 1]) - np.maximum(spans[:, 0], others[:, 0])).clip(0)
    union = (spans[:, 1] - spans[:, 0]) + (others[:, 1] - others[:, 0]) - common
    return np.asarray(common / np.maximum(union, 1), dtype=np.float64)


def detection_sheet(
    per_recording: Sequence[RecordingResult], labels: Sequence[str], ious: Sequence[float] = IOUS
) -> DetectionSheet:
    """Match every recording once per IoU; times are compared to the microsecond. Other labels' events are left out.

    Of equal scores the earlier recording comes first, then the earlier onset.

    Raises:
        ValueError: if there is no recording, no label, an IoU outside (0, 1], or a NaN score.
    """
    if not per_recording or not labels:
        raise ValueError(f"{len(per_recording)} recordings and {len(labels)} labels; metrics need at least one of each")
    if not ious or not all(0 < iou <= 1 for iou in ious):
        raise ValueError(f"ious={tuple(ious)}: the rule is at least one, each above 0 and at most 1")
    units = {name: index for index, name in enumerate(dict.fromkeys(r.group or r.name for r in per_recording))}
    num_events, hours = np.zeros((len(units), len(labels))), np.zeros(len(units))
    label_of, unit_of, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    hits = [np.zeros((0, len(ious)), dtype=np.bool_)]
    for recording in per_recording:
        unit = units[recording.group or recording.name]
        hours[unit] += recording.seconds / 3600
        detected, truth = _by_label(recording.detected), _by_label(recording.truth)
        for column, label in enumerate(labels):
            found, true = (
                side.get(label, _Spans(np.zeros((0, 2), np.int64), np.zeros(0))) for side in (detected, truth)
            )
            num_events[unit, column] += len(true.times)
            label_of.append(np.full(len(found.times), column))
            unit_of.append(np.full(len(found.times), unit))
            scores.append(found.scores)
            hits.append(_hits(found, true.times, ious))
    columns, order = np.concatenate(label_of), np.lexsort((-np.concatenate(scores), np.concatenate(label_of)))
    return DetectionSheet(
        columns[order],
        np.concatenate(unit_of)[order],
        np.concatenate(hits)[order],
        num_events,
        hours,
        tuple(ious),
        tuple(labels),
        tuple(units),
    )


class _Spans(NamedTuple):
    """(S, 2) onsets and offsets in microseconds, sorted, and (S,) scores."""

    times: Ints
    scores: Floats


def _by_label(events: Sequence[Event]) -> dict[str, _Spans]:
    rows: dict[str, list[tuple[int, int, float]]] = {}
    for event in events:
        if math.isnan(event.score):
            raise ValueError(f"score of {event} is NaN; the rule is a number; check the model's scores")
        times = microseconds(event.onset_seconds), microseconds(event.offset_seconds)
        rows.setdefault(event.label, []).append((*times, event.score))
    spans = {}
    for label, found in rows.items():
        onsets, offsets, scores = zip(*sorted(found, key=lambda row: row[:2]), strict=True)
        spans[label] = _Spans(np.array([onsets, offsets], dtype=np.int64).T, np.array(scores, dtype=np.float64))
    return spans


def _hits(found: _Spans, truth: Ints, ious: Sequence[float]) -> NDArray[np.bool_]:
    """(S, K): whether each detection of one label in one recording takes a true event, for each least IoU."""
    hits = np.zeros((len(found.times), len(ious)), dtype=np.bool_)
    # Only true events [first, last) overlap: later ones begin too late, earlier ones have all ended.
    first = np.searchsorted(np.maximum.accumulate(truth[:, 1]), found.times[:, 0], side="right")
    last = np.searchsorted(truth[:, 0], found.times[:, 1], side="left")
    number = (last - first).clip(0)
    row = np.repeat(np.arange(len(found.times)), number)
    column = np.arange(len(row)) - np.repeat(np.cumsum(number) - number, number) + np.repeat(first, number)
    overlap = temporal_ious(found.times[row], truth[column])
    rank = np.empty(len(found.times), dtype=np.int64)
    rank[np.argsort(-found.scores, kind="stable")] = np.arange(len(rank))
    order = np.lexsort((-overlap, rank[row]))
    for place, iou in enumerate(ious):
        taken: set[int] = set()
        for pair in order[overlap[order] >= iou].tolist():
            if not hits[row[pair], place] and int(column[pair]) not in taken:
                hits[row[pair], place] = True
                taken.add(int(column[pair]))
    return hits


def average_precisions(sheet: DetectionSheet, weights: Floats) -> Floats:
    """(L, K) average precision of each label at each IoU, units counting with (U,) weights; NaN without true events."""
    values = np.full((len(sheet.labels), len(sheet.ious)), np.nan)
    for column, number in enumerate((weights @ sheet.num_events).tolist()):
        if number > 0:
            recall, precision = _curves(sheet, column, weights, number)
            values[column] = (np.diff(recall, axis=0, prepend=0) * precision).sum(axis=0)
    return values


def _curves(sheet: DetectionSheet, column: int, weights: Floats, number: float) -> tuple[Floats, Floats]:
    """(n, K) recall after each detection of one label, and the highest precision there or later."""
    rows = slice(*np.searchsorted(sheet.label_of, [column, column + 1]).tolist())
    weight = weights[sheet.unit_of[rows]]
    hits = np.cumsum(weight[:, None] * sheet.is_hit[rows], axis=0)
    accepted = np.cumsum(weight)[:, None]
    precision = np.divide(hits, accepted, out=np.zeros_like(hits), where=accepted > 0)
    return hits / number, np.maximum.accumulate(precision[::-1], axis=0)[::-1]


def mean_precisions(sheet: DetectionSheet, recalls: Floats) -> Floats:
    """(R, K) interpolated precision at each recall, mean over labels with a true event: the area under it is the mAP.

    NaN if no label has one.
    """
    curves = []
    for column, number in enumerate(sheet.num_events.sum(axis=0).tolist()):
        if number > 0:
            recall, precision = _curves(sheet, column, np.ones(len(sheet.units)), number)
            padded = np.append(precision, np.zeros((1, precision.shape[1])), axis=0)  # beyond the last recall: 0
            at = [np.searchsorted(recall[:, k], recalls - 1e-9, side="left") for k in range(len(sheet.ious))]
            curves.append(np.stack([padded[rows, k] for k, rows in enumerate(at)], axis=1))
    return np.mean(curves, axis=0) if curves else np.full((len(recalls), len(sheet.ious)), np.nan)


def map_statistic(iou: float | None = None) -> Callable[[DetectionSheet, Floats], float]:
    """The mAP at one of the sheet's IoUs, or the mean over all of them, as a statistic for a bootstrap."""

    def statistic(sheet: DetectionSheet, weights: Floats) -> float:
        values = average_precisions(sheet, weights)
        values = values[~np.isnan(values[:, 0])]
        if not len(values):
            return math.nan
        return float(values.mean() if iou is None else values[:, sheet.ious.index(iou)].mean())

    return statistic


def iou_counts(
    per_recording: Sequence[RecordingResult], labels: Sequence[str], *, least_iou: float = 0.5
) -> CountSheet:
    """Events, a hit being a pair of one label with a temporal IoU of `least_iou` or more, best score first.

    Raises:
        ValueError: as `detection_sheet` does.
    """
    sheet = detection_sheet(per_recording, labels, (least_iou,))
    counts = np.zeros((2, len(sheet.units), len(labels)))
    np.add.at(counts[0], (sheet.unit_of, sheet.label_of), 1.0)
    np.add.at(counts[1], (sheet.unit_of, sheet.label_of), sheet.is_hit[:, 0])
    return CountSheet(sheet.num_events, counts[0], counts[1], sheet.hours, sheet.labels, sheet.units)
