"""Recall against false alarms per hour and keyword, and the thresholds that meet a budget of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.metrics.matching import Floats
from pipelines.metrics.sheet import RecordingResult, ScoreSheet, ratio, rows_down_to, score_sheet


class Curve(NamedTuple):
    """Operating points reached by one shift of all thresholds, from strict to lenient; the first finds nothing.

    Args:
        shift: (K,) added to every label's threshold; a detection counts if its score - threshold >= shift.
        recall: (K,) share of the true events that are found; NaN if there are none.
        false_alarms_per_hour: (K,) per hour and keyword.
    """

    shift: Floats
    recall: Floats
    false_alarms_per_hour: Floats


CLEARANCE = 1e-6  # a threshold's distance from the only score it separates, above rounding

Statistic = Callable[[ScoreSheet, Floats], float]
"""A figure of a sheet whose units count with the given (U,) weights."""


def curve_of(sheet: ScoreSheet) -> Curve:
    """The operating curve of a sheet: one point per distinct margin."""
    is_last_of_ties = np.append(np.diff(sheet.margins) != 0, True)[: len(sheet.margins)]
    false = sheet.num_false[is_last_of_ties]
    hits = np.flatnonzero(is_last_of_ties) + 1 - false
    num_events = sheet.num_events.sum()
    keyword_hours = sheet.hours.sum() * len(sheet.labels)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Curve(
            shift=np.append(np.inf, sheet.margins[is_last_of_ties]),
            recall=np.append(0, hits) / num_events,
            false_alarms_per_hour=np.append(0, false) / keyword_hours,
        )


def operating_curve(
    per_recording: Sequence[RecordingResult], labels: Sequence[str], thresholds: Mapping[str, float]
) -> Curve:
    """Recall against false alarms per hour and keyword, while one shift is added to all thresholds.

    Scores and thresholds may be logits or probabilities: only score - threshold is used.
    """
    return curve_of(score_sheet(per_recording, labels, thresholds))


def recall_at(curve: Curve, false_alarms_per_hour: float) -> float:
    """Best recall at no more than so many false alarms per hour and keyword; a step function, nothing interpolated."""
    is_allowed = curve.false_alarms_per_hour <= false_alarms_per_hour * (1 + 1e-9)
    return float(curve.recall[is_allowed].max())


def recall_statistic(false_alarms_per_hour: float) -> Statistic:
    """`recall_at` of the weighted sheet, each time with a shift of its own, for a bootstrap."""

    def statistic(sheet: ScoreSheet, weights: Floats) -> float:
        allowed = false_alarms_per_hour * (1 + 1e-9) * float(weights @ sheet.hours) * len(sheet.labels)
        num_rows = _rows_within(sheet, weights, allowed)
        return ratio(_weighted_hits(sheet, weights, num_rows), float(weights @ sheet.num_events.sum(axis=1)))

    return statistic


def recall_at_thresholds(sheet: ScoreSheet, weights: Floats) -> float:
    """Recall of the thresholds as they are (shift 0): a `Statistic`."""
    num_rows = sheet.num_rows(0.0)
    return ratio(_weighted_hits(sheet, weights, num_rows), float(weights @ sheet.num_events.sum(axis=1)))


def _rows_within(sheet: ScoreSheet, weights: Floats, allowed: float) -> int:
    """How many rows can be accepted before the weighted number of false alarms exceeds `allowed`."""
    # A few times as many false alarms as are allowed nearly always suffice; the rest of a long tail is then not read.
    head = max(16.0, 4 * allowed)
    while True:
        stop = int(np.searchsorted(sheet.num_false, head, side="right"))
        false = np.cumsum(np.where(sheet.is_hit[:stop], 0.0, weights[sheet.unit_of[:stop]]))
        excess = int(np.searchsorted(false, allowed, side="right"))
        if excess < stop:
            return rows_down_to(sheet.margins, sheet.margins[excess], inclusive=False)
        if stop == len(sheet.margins):
            return stop
        head *= 4


def _weighted_hits(sheet: ScoreSheet, weights: Floats, num_rows: int) -> float:
    return float(weights[sheet.unit_of[:num_rows]][sheet.is_hit[:num_rows]].sum())


def thresholds_for(
    per_recording: Sequence[RecordingResult],
    labels: Sequence[str],
    false_alarms_per_hour: float = 1.0,
    *,
    loose_false_alarms_per_hour: float = 8.0,
    prior_false_alarms: float = 2.0,
) -> dict[str, float]:
    """Per-label thresholds that meet a pooled budget of false alarms per hour and keyword on these recordings.

    An hour or two of validation holds one or two false alarms per label at the budget: too few to place a threshold. So
    each label's offset from the others is estimated at a looser budget and shrunk towards the pooled threshold by
    n / (n + prior), n being the number of false alarms that it rests on; one shift common to all labels, halfway
    between the last detection accepted and the first one refused, then meets the budget.

    No threshold lies below the lowest score seen (0 if there is no detection at all).
    """
    sheet = score_sheet(per_recording, labels, dict.fromkeys(labels, 0.0))
    if not len(sheet.margins):
        return dict.fromkeys(labels, 0.0)
    hours = float(sheet.hours.sum())
    loose = max(loose_false_alarms_per_hour, false_alarms_per_hour) * hours
    pooled = _loosest_threshold(sheet.margins, sheet.is_hit, loose * len(labels))
    offsets = np.full(len(labels), pooled)
    for index in range(len(labels)):
        is_label = sheet.label_of == index
        if is_label.any():
            own = _loosest_threshold(sheet.margins[is_label], sheet.is_hit[is_label], loose)
            offsets[index] += loose / (loose + prior_false_alarms) * (own - pooled)
    margins = sheet.margins - offsets[sheet.label_of]
    order = np.argsort(-margins, kind="stable")
    shift = _loosest_threshold(margins[order], sheet.is_hit[order], false_alarms_per_hour * hours * len(labels))
    thresholds = np.maximum(sheet.margins[-1], offsets + shift)
    return {label: float(threshold) for label, threshold in zip(labels, thresholds, strict=True)}


def _loosest_threshold(margins: Floats, is_hit: NDArray[np.bool_], allowed: float) -> float:
    """The middle of the gap between what can be accepted within `allowed` false alarms and what cannot."""
    excess = int(np.searchsorted(np.cumsum(~is_hit), allowed * (1 + 1e-9), side="right"))
    if excess == len(margins):
        return float(margins[-1]) - CLEARANCE
    num_accepted = rows_down_to(margins, margins[excess], inclusive=False)
    if num_accepted == 0:
        return float(margins[0]) + CLEARANCE
    return float(margins[num_accepted - 1] + margins[excess]) / 2
