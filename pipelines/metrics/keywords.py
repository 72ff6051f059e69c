"""What was found and missed, as flat keys: over all recordings and again per kind."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.metrics.bootstrap import bootstrap_interval
from pipelines.metrics.matching import TOLERANCE_SECONDS, Floats, match_detections
from pipelines.metrics.operating import Statistic, recall_at_thresholds, recall_statistic
from pipelines.metrics.sheet import RecordingResult, ScoreSheet, ratio, scopes, sheet_of

RATES = (0.5, 1.0, 2.0, 4.0)  # false alarms per hour and keyword at which recall is reported


def keyword_metrics(
    per_recording: Sequence[RecordingResult],
    labels: Sequence[str],
    thresholds: Mapping[str, float],
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """The keys of docs/metrics.md on what was found: over all recordings, and again per kind with the kind as prefix.

    A figure that is not defined (the precision of no detection) is NaN.

    Raises:
        ValueError: if there is no recording, no label, a label without a threshold, or a NaN score.
    """
    matched = [match_detections(r.detected, r.truth, tolerance_seconds=tolerance_seconds) for r in per_recording]
    metrics: dict[str, float] = {}
    for prefix, rows in scopes([r.kind for r in per_recording]).items():
        sheet = sheet_of([per_recording[row] for row in rows], [matched[row] for row in rows], labels, thresholds)
        figures = {"num_recordings": float(len(rows))} | _figures(sheet, resamples=resamples, seed=seed)
        metrics |= {prefix + key: value for key, value in figures.items()}
    return metrics


def _figures(sheet: ScoreSheet, *, resamples: int, seed: int) -> dict[str, float]:
    figures = {"hours": float(sheet.hours.sum()), "num_events": float(sheet.num_events.sum())}

    def add(key: str, statistic: Statistic) -> None:
        interval = bootstrap_interval(statistic, sheet, resamples=resamples, seed=seed)
        figures.update({key: interval.estimate, f"{key}_low": interval.low, f"{key}_high": interval.high})

    for rate in RATES:
        add(f"recall_at_{rate:g}_false_alarm{'' if rate == 1 else 's'}_per_hour", recall_statistic(rate))
    add("recall_at_thresholds", recall_at_thresholds)
    figures.update(_figures_at_thresholds(sheet))
    return figures


def _figures_at_thresholds(sheet: ScoreSheet) -> dict[str, float]:
    accepted = slice(sheet.num_rows(0.0))
    is_hit, label_of = sheet.is_hit[accepted], sheet.label_of[accepted]
    hours, num_events = float(sheet.hours.sum()), float(sheet.num_events.sum())
    num_hits, num_false = float(is_hit.sum()), float((~is_hit).sum())
    onset_errors, offset_errors = sheet.onset_errors[accepted][is_hit], sheet.offset_errors[accepted][is_hit]
    figures = {
        "num_hits_at_thresholds": num_hits,
        "num_false_alarms_at_thresholds": num_false,
        "false_alarms_per_hour_at_thresholds": ratio(num_false, hours * len(sheet.labels)),
        "false_alarms_per_hour_all_keywords": ratio(num_false, hours),
        "precision_at_thresholds": ratio(num_hits, num_hits + num_false),
        "f1_at_thresholds": ratio(2 * num_hits, num_hits + num_false + num_events),
        "onset_error_seconds_median": _median(np.abs(onset_errors)),
        "offset_error_seconds_median": _median(np.abs(offset_errors)),
        "onset_delay_seconds_median": _median(onset_errors),
    }
    for index, label in enumerate(sheet.labels):
        is_label = label_of == index
        figures[f"num_events/{label}"] = float(sheet.num_events[:, index].sum())
        figures[f"recall_at_thresholds/{label}"] = ratio(
            float((is_hit & is_label).sum()), figures[f"num_events/{label}"]
        )
        figures[f"false_alarms_per_hour_at_thresholds/{label}"] = ratio(float((~is_hit & is_label).sum()), hours)
    return figures


def _median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else float("nan")
