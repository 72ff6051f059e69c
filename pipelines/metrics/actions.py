"""When which action happens in long recordings: ranked candidates and events at thresholds, as flat keys."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipelines.metrics.bootstrap import bootstrap_interval, paired_bootstrap
from pipelines.metrics.matching import TOLERANCE_SECONDS, Floats
from pipelines.metrics.operating import recall_at_thresholds
from pipelines.metrics.sheet import RecordingResult, ratio, score_sheet
from pipelines.metrics.sound import CountSheet, f1_macro, f1_micro, stray_counts
from pipelines.metrics.temporal_iou import IOUS, average_precisions, detection_sheet, iou_counts, map_statistic


def action_figures(
    found: Sequence[RecordingResult],
    candidates: Sequence[RecordingResult],
    labels: Sequence[str],
    *,
    least_iou: float = 0.5,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    resamples: int = 1000,
    map_resamples: int = 200,
    seed: int = 0,
) -> dict[str, float]:
    """The keys of docs/metrics.md on actions in long recordings. A figure that is not defined is NaN.

    Args:
        found: `detected` holds the events at the model's thresholds, as a user gets them.
        candidates: `detected` holds events down to low scores, ranked by score, of the same recordings.
        least_iou: temporal IoU of a hit in the F1 at thresholds; it stands in the key.
        tolerance_seconds: a true event, extended by this on both sides, is found by an event that overlaps it.

    Raises:
        ValueError: if there is no recording, no label, or a NaN score.
    """
    return (
        _map_figures(candidates, labels, map_resamples, seed)
        | _count_figures(found, labels, least_iou, resamples, seed)
        | _found_figures(found, labels, tolerance_seconds, resamples, seed)
    )


def map_change(
    candidates: Sequence[RecordingResult],
    dense_candidates: Sequence[RecordingResult],
    labels: Sequence[str],
    *,
    map_resamples: int = 200,
    seed: int = 0,
) -> dict[str, float]:
    """mAP with the switch relative to everything open, minus 1, on the same recordings: paired bootstrap."""
    sheet, dense = detection_sheet(candidates, labels), detection_sheet(dense_candidates, labels)
    change = paired_bootstrap(sheet, dense, map_statistic(), resamples=map_resamples, seed=seed)
    return dict(zip(_ends("map_change_vs_dense"), change, strict=True))


def _ends(key: str) -> tuple[str, str, str]:
    return key, f"{key}_low", f"{key}_high"


def _interval(
    key: str, statistic: Callable[[Any, Floats], float], sheet: Any, resamples: int, seed: int
) -> dict[str, float]:
    interval = bootstrap_interval(statistic, sheet, resamples=resamples, seed=seed)
    return dict(zip(_ends(key), interval, strict=True))


def _map_figures(
    candidates: Sequence[RecordingResult], labels: Sequence[str], resamples: int, seed: int
) -> dict[str, float]:
    sheet = detection_sheet(candidates, labels, IOUS)
    figures = _interval("map_mean", map_statistic(), sheet, resamples, seed)
    per_label = average_precisions(sheet, np.ones(len(sheet.units)))
    for place, iou in enumerate(IOUS):
        figures |= _interval(f"map_at_iou_{iou:g}", map_statistic(iou), sheet, resamples, seed)
        figures |= {
            f"average_precision_at_iou_{iou:g}/{label}": float(value)
            for label, value in zip(labels, per_label[:, place], strict=True)
        }
    return figures


def _count_figures(
    found: Sequence[RecordingResult], labels: Sequence[str], least_iou: float, resamples: int, seed: int
) -> dict[str, float]:
    sheet, end = iou_counts(found, labels, least_iou=least_iou), f"iou_{least_iou:g}"
    figures = {"num_detections": float(sheet.num_detected.sum())}
    figures |= _interval(f"event_f1_{end}_micro", f1_micro, sheet, resamples, seed)
    figures |= _interval(f"event_f1_{end}_macro", f1_macro, sheet, resamples, seed)
    hits = float(sheet.num_hits.sum())
    figures[f"event_precision_{end}_micro"] = ratio(hits, figures["num_detections"])
    figures[f"event_recall_{end}_micro"] = ratio(hits, float(sheet.num_events.sum()))
    figures |= {f"event_f1_{end}/{label}": f1 for label, f1 in zip(labels, f1_by_label(sheet), strict=True)}
    strays = stray_counts(found, labels)
    figures["false_alarms_per_hour_no_overlap"] = ratio(
        float((strays.num_detected - strays.num_hits).sum()), float(strays.hours.sum())
    )
    return figures


def f1_by_label(sheet: CountSheet) -> list[float]:
    """F1 of each label; NaN where it neither occurs nor is detected."""
    hits, there, said = (each.sum(axis=0) for each in (sheet.num_hits, sheet.num_events, sheet.num_detected))
    return [ratio(2 * hit, a + b) for hit, a, b in zip(hits.tolist(), there.tolist(), said.tolist(), strict=True)]


def _found_figures(
    found: Sequence[RecordingResult], labels: Sequence[str], tolerance_seconds: float, resamples: int, seed: int
) -> dict[str, float]:
    anything = dict.fromkeys(labels, -math.inf)  # what was found has passed its threshold
    sheet = score_sheet(found, labels, anything, tolerance_seconds=tolerance_seconds)
    is_hit, hours = sheet.is_hit, float(sheet.hours.sum())
    num_events = sheet.num_events.sum(axis=0)
    figures = _interval("recall_at_thresholds", recall_at_thresholds, sheet, resamples, seed)
    figures["precision_at_thresholds"] = ratio(float(is_hit.sum()), len(is_hit))
    figures["false_alarms_per_hour_at_thresholds"] = ratio(float((~is_hit).sum()), hours * len(labels))
    figures["false_alarms_per_hour_all_labels"] = ratio(float((~is_hit).sum()), hours)
    for name, errors in {"onset": sheet.onset_errors, "offset": sheet.offset_errors}.items():
        key = f"{name}_error_seconds_median"
        figures[key] = float(np.median(np.abs(errors[is_hit]))) if is_hit.any() else math.nan
    for column, label in enumerate(labels):
        own = sheet.label_of == column
        figures[f"num_events/{label}"] = float(num_events[column])
        figures[f"recall_at_thresholds/{label}"] = ratio(float((is_hit & own).sum()), float(num_events[column]))
        figures[f"false_alarms_per_hour_at_thresholds/{label}"] = ratio(float((~is_hit & own).sum()), hours)
    return figures
