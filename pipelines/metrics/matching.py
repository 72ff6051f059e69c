"""Which detection found which true event.

One variant everywhere: a detection is a hit if it overlaps a true event of its label, extended by a tolerance on both
sides, that no better-scored detection has taken. Every other detection is a false alarm, a second detection of the same
event included: whoever reads the result list has to look at it, too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.events import Event

TOLERANCE_SECONDS = 0.3

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Matching(NamedTuple):
    """Which detection found which true event; -1: none.

    Args:
        truth_of_detected: (num detected,) index of the true event that each detection found; -1: a false alarm.
        detected_of_truth: (num true,) index of the detection that found each true event; -1: missed.
    """

    truth_of_detected: Ints
    detected_of_truth: Ints


def match_detections(
    detected: Sequence[Event], truth: Sequence[Event], *, tolerance_seconds: float = TOLERANCE_SECONDS
) -> Matching:
    """Pair detections with the true events they found, label by label.

    Best score first (ties: earliest first), a detection takes, among the true events of its label that are still free
    and that, extended by the tolerance on both sides, overlap it, the one with the largest overlap.

    Raises:
        ValueError: if a score is NaN.
    """
    found = _columns(detected)
    true = _columns(truth)
    if np.isnan(found.scores).any():
        index = int(np.flatnonzero(np.isnan(found.scores))[0])
        raise ValueError(f"score of detection {detected[index]} is NaN; the rule is a number; check the model's scores")
    truth_of_detected = np.full(len(detected), -1, dtype=np.int64)
    detected_of_truth = np.full(len(truth), -1, dtype=np.int64)
    for label in set(true.labels.tolist()):
        rows = np.flatnonzero(found.labels == label)
        rows = rows[np.lexsort((found.offsets[rows], found.onsets[rows], -found.scores[rows]))]
        columns = np.flatnonzero(true.labels == label)
        columns = columns[np.argsort(true.onsets[columns], kind="stable")]
        begins = true.onsets[columns] - tolerance_seconds
        ends = true.offsets[columns] + tolerance_seconds
        # Only true events [first, last) can overlap: later ones begin too late, earlier ones have all ended.
        first = np.searchsorted(np.maximum.accumulate(ends), found.onsets[rows], side="right")
        last = np.searchsorted(begins, found.offsets[rows], side="left")
        for rank in np.flatnonzero(first < last).tolist():
            near = np.arange(first[rank], last[rank])
            row = rows[rank]
            overlap = np.minimum(ends[near], found.offsets[row]) - np.maximum(begins[near], found.onsets[row])
            is_free = (ends[near] > found.onsets[row]) & (detected_of_truth[columns[near]] < 0)
            if is_free.any():
                column = columns[near[np.argmax(np.where(is_free, overlap, -np.inf))]]
                truth_of_detected[row], detected_of_truth[column] = column, row
    return Matching(truth_of_detected, detected_of_truth)


class _Columns(NamedTuple):
    onsets: Floats
    offsets: Floats
    scores: Floats
    labels: NDArray[np.str_]


def _columns(events: Sequence[Event]) -> _Columns:
    return _Columns(
        np.array([event.onset_seconds for event in events], dtype=np.float64),
        np.array([event.offset_seconds for event in events], dtype=np.float64),
        np.array([event.score for event in events], dtype=np.float64),
        np.array([event.label for event in events], dtype=np.str_),
    )
