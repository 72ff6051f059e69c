"""Sound events found and missed, by the field's own rules, as flat keys: over all recordings and again per kind.

Two ways to count hits beside PSDS (psds.py): by event, with a tolerance for onset and offset, and by second; and the
share of time that is labelled wrong, which students of birdsong call frame error.
Sources: Mesaros, Heittola, Virtanen, Metrics for Polyphonic Sound Event Detection, Applied Sciences 6(6), 2016; Cohen
et al., Automated annotation of birdsong with a neural network that segments spectrograms, eLife 11, 2022.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array  # type: ignore[import-untyped]
from scipy.sparse.csgraph import maximum_bipartite_matching  # type: ignore[import-untyped]

from pipelines.events import Event
from pipelines.metrics.bootstrap import bootstrap_interval
from pipelines.metrics.matching import Floats, Ints
from pipelines.metrics.psds import (
    ScoredRecording,
    psds_of,
    psds_over_all_thresholds,
    psds_statistic,
)
from pipelines.metrics.psds_counts import PSDS1, PSDS2
from pipelines.metrics.psds_runs import microseconds
from pipelines.metrics.sheet import RecordingResult, ratio, scopes

COLLAR_SECONDS = 0.2
OFFSET_SHARE = 0.2
SEGMENT_SECONDS = 1.0


class CountSheet(NamedTuple):
    """U units (recordings or groups), L labels: what is there, what was said, what of it is right.

    Args:
        num_events: (U, L) true events, or segments with true events.
        num_detected: (U, L) detections, or segments with detections.
        num_hits: (U, L) pairs of the two.
        hours: (U,) length of each unit.
    """

    num_events: Floats
    num_detected: Floats
    num_hits: Floats
    hours: Floats
    labels: tuple[str, ...]
    units: tuple[str, ...]


def event_counts(
    per_recording: Sequence[RecordingResult],
    labels: Sequence[str],
    *,
    collar_seconds: float = COLLAR_SECONDS,
    offset_share: float = OFFSET_SHARE,
) -> CountSheet:
    """Events, a hit being a pair of one label whose onsets differ by the collar at most and whose offsets nearly agree.

    Offsets may differ by the collar or by `offset_share` of the true event's length, whichever is more. Of all ways to
    pair them, each event at most once, one with the most hits counts, as in sed_eval (matching "optimal").

    Raises:
        ValueError: if there is no recording, no label, or the collar is below 0.
    """
    if collar_seconds < 0 or offset_share < 0:
        raise ValueError(f"collar_seconds={collar_seconds} and offset_share={offset_share} must be at least 0")

    def count(detected: Ints, truth: Ints) -> tuple[int, int, int]:
        return len(truth), len(detected), _num_pairs(detected, truth, microseconds(collar_seconds), offset_share)

    return _counted(per_recording, labels, count)


def segment_counts(
    per_recording: Sequence[RecordingResult], labels: Sequence[str], *, segment_seconds: float = SEGMENT_SECONDS
) -> CountSheet:
    """Segments of each recording, from its start on; one that an event touches counts as active, as in sed_eval.

    Raises:
        ValueError: if there is no recording, no label, or the segments have no length.
    """
    if not segment_seconds >= 1e-3:
        raise ValueError(f"segment_seconds={segment_seconds} must be at least 0.001; 1 is usual")
    length = microseconds(segment_seconds)

    def active(spans: Ints) -> Ints:
        return np.unique(
            np.concatenate([np.arange(a // length, -(-b // length)) for a, b in [(0, 0), *spans.tolist()]])
        )

    def count(detected: Ints, truth: Ints) -> tuple[int, int, int]:
        found, there = active(detected), active(truth)
        return len(there), len(found), len(np.intersect1d(found, there))

    return _counted(per_recording, labels, count)


def stray_counts(per_recording: Sequence[RecordingResult], labels: Sequence[str]) -> CountSheet:
    """Events, a hit being a detection that overlaps any true event of its label, however little.

    What is no hit here is a false alarm by everyone's rule: there is nothing at that time.

    Raises:
        ValueError: if there is no recording or no label.
    """

    def count(detected: Ints, truth: Ints) -> tuple[int, int, int]:
        begun = np.searchsorted(np.sort(truth[:, 0]), detected[:, 1], side="left")
        ended = np.searchsorted(np.sort(truth[:, 1]), detected[:, 0], side="right")
        return len(truth), len(detected), int((begun > ended).sum())

    return _counted(per_recording, labels, count)


class TimeSheet(NamedTuple):
    """U units: how long what was found differs from what is there.

    Args:
        wrong_hours: (U,) time in which the set of labels found is not the set of labels there.
        num_events: (U, L) true events.
        hours: (U,) length of each unit.
    """

    wrong_hours: Floats
    num_events: Floats
    hours: Floats
    labels: tuple[str, ...]
    units: tuple[str, ...]


def wrong_time(per_recording: Sequence[RecordingResult], labels: Sequence[str]) -> TimeSheet:
    """Time in which any label is found and not there, or there and not found: the limit of small frames.

    Raises:
        ValueError: if there is no recording or no label.
    """
    sheet = _counted(per_recording, labels, lambda detected, truth: (len(truth), len(detected), 0))
    wrong, place = np.zeros(len(sheet.units)), {unit: index for index, unit in enumerate(sheet.units)}
    for recording in per_recording:
        detected, truth = _spans(recording.detected), _spans(recording.truth)
        pairs = [(detected.get(label, _NONE), truth.get(label, _NONE)) for label in labels]
        edges = np.unique(np.concatenate([spans.ravel() for pair in pairs for spans in pair]))
        differs = np.zeros(len(edges), dtype=bool)
        for found, there in pairs:
            differs |= _covered(found, edges) != _covered(there, edges)
        wrong[place[recording.group or recording.name]] += float(np.diff(edges)[differs[:-1]].sum()) / 3.6e9
    return TimeSheet(wrong, sheet.num_events, sheet.hours, sheet.labels, sheet.units)


def _covered(spans: Ints, edges: Ints) -> NDArray[np.bool_]:
    """Whether any of the spans holds the stretch that begins at each of the edges, all of theirs among them."""
    steps = np.zeros(len(edges), dtype=np.int64)
    np.add.at(steps, np.searchsorted(edges, spans[:, 0]), 1)
    np.add.at(steps, np.searchsorted(edges, spans[:, 1]), -1)
    covered: NDArray[np.bool_] = np.cumsum(steps) > 0
    return covered


def frame_error(sheet: TimeSheet, weights: Floats) -> float:
    """Share of the time that is wrong. A `Statistic`."""
    return ratio(float(weights @ sheet.wrong_hours), float(weights @ sheet.hours))


def f1_micro(sheet: CountSheet, weights: Floats) -> float:
    """F1 of all labels together, 2 hits / (true + detected): a label counts by how often it occurs. A `Statistic`."""
    hits, events, detected = (
        float((weights @ n).sum()) for n in (sheet.num_hits, sheet.num_events, sheet.num_detected)
    )
    return ratio(2 * hits, events + detected)


def f1_macro(sheet: CountSheet, weights: Floats) -> float:
    """Mean over labels that occur of each label's F1: every label counts alike. A `Statistic`."""
    events = weights @ sheet.num_events
    occurs = events > 0
    if not occurs.any():
        return float("nan")
    f1 = 2 * (weights @ sheet.num_hits)[occurs] / (events + weights @ sheet.num_detected)[occurs]
    return float(f1.mean())


def sound_metrics(
    per_recording: Sequence[RecordingResult],
    labels: Sequence[str],
    *,
    scored: Sequence[ScoredRecording] | None = None,
    collar_seconds: float = COLLAR_SECONDS,
    resamples: int = 1000,
    psds_resamples: int = 200,
    seed: int = 0,
) -> dict[str, float]:
    """The keys of docs/metrics.md on sound events, over all recordings and again per kind with the kind as prefix.

    A figure that is not defined (the F1 of a label that neither occurs nor is detected) is NaN.

    Args:
        per_recording: `detected` holds the events at the model's operating point, as a user gets them.
        scored: frame scores of the same recordings in the same order, for PSDS; None: PSDS is left out.
        collar_seconds: of the event-based figures; it stands in their keys.
        resamples, psds_resamples: for the intervals of F1 and of PSDS, which takes longer.

    Raises:
        ValueError: if there is no recording or label, or `scored` is not of the same recordings.
    """
    if scored is not None and [r.name for r in scored] != [r.name for r in per_recording]:
        raise ValueError(
            f"scores of {len(scored)} recordings and events of {len(per_recording)} differ in their names; "
            "both are of the same recordings in the same order"
        )
    metrics: dict[str, float] = {}
    for prefix, rows in scopes([r.kind for r in per_recording]).items():
        chosen = [per_recording[row] for row in rows]
        figures = {"num_recordings": float(len(rows))}
        figures |= _count_figures(chosen, labels, collar_seconds, resamples, seed)
        if scored is not None:
            figures |= _psds_figures([scored[row] for row in rows], labels, psds_resamples, seed)
        metrics |= {prefix + key: value for key, value in figures.items()}
    return metrics


def _count_figures(
    per_recording: Sequence[RecordingResult], labels: Sequence[str], collar_seconds: float, resamples: int, seed: int
) -> dict[str, float]:
    collar = f"{1000 * collar_seconds:g}ms"
    events = event_counts(per_recording, labels, collar_seconds=collar_seconds)
    hours, num_detected = float(events.hours.sum()), float(events.num_detected.sum())
    figures = {"hours": hours, "num_events": float(events.num_events.sum()), "num_detections": num_detected}
    for name, sheet in {f"event_f1_{collar}": events, "segment_f1_1s": segment_counts(per_recording, labels)}.items():
        figures |= _interval(f"{name}_micro", f1_micro, sheet, resamples, seed)
        figures |= _interval(f"{name}_macro", f1_macro, sheet, resamples, seed)
        for column, label in enumerate(labels):
            figures[f"{name}/{label}"] = f1_micro(_of_label(sheet, column), np.ones(len(sheet.units)))
    figures |= _interval("frame_error", frame_error, wrong_time(per_recording, labels), resamples, seed)
    hits = float(events.num_hits.sum())
    figures[f"event_precision_{collar}_micro"] = ratio(hits, num_detected)
    figures[f"event_recall_{collar}_micro"] = ratio(hits, figures["num_events"])
    stray = stray_counts(per_recording, labels)
    for name, sheet in {f"false_alarms_per_hour_{collar}": events, "false_alarms_per_hour_no_overlap": stray}.items():
        num_false = (sheet.num_detected - sheet.num_hits).sum(axis=0)
        figures[name] = ratio(float(num_false.sum()), hours)
        figures |= {f"{name}/{label}": ratio(float(n), hours) for label, n in zip(labels, num_false, strict=True)}
    figures |= {f"num_events/{label}": float(n) for label, n in zip(labels, events.num_events.sum(0), strict=True)}
    return figures


def _psds_figures(
    scored: Sequence[ScoredRecording], labels: Sequence[str], resamples: int, seed: int
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for variant in (PSDS1, PSDS2):
        name = f"{variant.name}_all_thresholds"
        sheet = psds_over_all_thresholds(scored, labels, variant)
        figures |= _interval(name, psds_statistic, sheet, resamples, seed)
        figures |= {f"{name}/{label}": value for label, value in psds_of(sheet).per_label.items()}
    return figures


def _interval(
    name: str, statistic: Callable[[Any, Floats], float], sheet: Any, resamples: int, seed: int
) -> Mapping[str, float]:
    interval = bootstrap_interval(statistic, sheet, resamples=resamples, seed=seed)
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _of_label(sheet: CountSheet, column: int) -> CountSheet:
    one = slice(column, column + 1)
    return sheet._replace(
        num_events=sheet.num_events[:, one], num_detected=sheet.num_detected[:, one], num_hits=sheet.num_hits[:, one]
    )


def _counted(
    per_recording: Sequence[RecordingResult],
    labels: Sequence[str],
    count: Callable[[Ints, Ints], tuple[int, int, int]],
) -> CountSheet:
    """Counts of every recording and label, summed over units; `count` gets (N, 2) and (K, 2) spans in microseconds."""
    if not per_recording or not labels:
        raise ValueError(f"{len(per_recording)} recordings and {len(labels)} labels; metrics need at least one of each")
    units = {name: index for index, name in enumerate(dict.fromkeys(r.group or r.name for r in per_recording))}
    counts, hours = np.zeros((3, len(units), len(labels))), np.zeros(len(units))
    for recording in per_recording:
        unit = units[recording.group or recording.name]
        hours[unit] += recording.seconds / 3600
        detected, truth = _spans(recording.detected), _spans(recording.truth)
        for column, label in enumerate(labels):
            counts[:, unit, column] += count(detected.get(label, _NONE), truth.get(label, _NONE))
    return CountSheet(counts[0], counts[1], counts[2], hours, tuple(labels), tuple(units))


_NONE: Ints = np.zeros((0, 2), dtype=np.int64)


def _spans(events: Sequence[Event]) -> dict[str, Ints]:
    rows: dict[str, list[tuple[int, int]]] = {}
    for event in events:
        span = (microseconds(event.onset_seconds), microseconds(event.offset_seconds))
        rows.setdefault(event.label, []).append(span)
    return {label: np.array(sorted(spans), dtype=np.int64) for label, spans in rows.items()}


def _num_pairs(detected: Ints, truth: Ints, collar: int, offset_share: float) -> int:
    """Size of the largest matching of detections and true events, both sorted by onset."""
    first = np.searchsorted(detected[:, 0], truth[:, 0] - collar, side="left")
    last = np.searchsorted(detected[:, 0], truth[:, 0] + collar, side="right")
    number = last - first
    row = np.repeat(np.arange(len(truth)), number)
    column = np.arange(len(row)) - np.repeat(np.cumsum(number) - number, number) + first[row]
    tolerance = np.maximum(collar, np.rint(offset_share * (truth[:, 1] - truth[:, 0])))[row]
    is_pair = np.abs(detected[column, 1] - truth[row, 1]) <= tolerance
    row, column = row[is_pair], column[is_pair]
    if not len(row):
        return 0
    graph = csr_array((np.ones(len(row), dtype=np.int8), (row, column)), shape=(len(truth), len(detected)))
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
