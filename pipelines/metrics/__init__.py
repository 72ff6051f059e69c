"""How many of the true events are found, at how many false alarms, and what it cost: the figures of metrics.json.

docs/metrics.md defines every key.
"""

from pipelines.metrics.bootstrap import Interval, bootstrap_interval, paired_bootstrap
from pipelines.metrics.keywords import keyword_metrics
from pipelines.metrics.matching import Matching, match_detections
from pipelines.metrics.operating import (
    Curve,
    Statistic,
    curve_of,
    operating_curve,
    recall_at,
    recall_at_thresholds,
    recall_statistic,
    thresholds_for,
)
from pipelines.metrics.sheet import RecordingResult, ScoreSheet, score_sheet
from pipelines.metrics.work import WorkCounts, work_metrics

__all__ = [
    "Curve",
    "Interval",
    "Matching",
    "RecordingResult",
    "ScoreSheet",
    "Statistic",
    "WorkCounts",
    "bootstrap_interval",
    "curve_of",
    "keyword_metrics",
    "match_detections",
    "operating_curve",
    "paired_bootstrap",
    "recall_at",
    "recall_at_thresholds",
    "recall_statistic",
    "score_sheet",
    "thresholds_for",
    "work_metrics",
]
