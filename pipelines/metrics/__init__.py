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
from pipelines.metrics.psds import (
    ScoredRecording,
    psds_of,
    psds_over_all_thresholds,
    psds_over_event_scores,
    psds_over_operating_points,
    psds_statistic,
)
from pipelines.metrics.psds_counts import PSDS1, PSDS2, PsdsVariant
from pipelines.metrics.sheet import RecordingResult, ScoreSheet, score_sheet
from pipelines.metrics.sound import (
    event_counts,
    f1_macro,
    f1_micro,
    frame_error,
    segment_counts,
    sound_metrics,
    stray_counts,
    wrong_time,
)
from pipelines.metrics.work import WorkCounts, work_metrics

__all__ = [
    "PSDS1",
    "PSDS2",
    "Curve",
    "Interval",
    "Matching",
    "PsdsVariant",
    "RecordingResult",
    "ScoreSheet",
    "ScoredRecording",
    "Statistic",
    "WorkCounts",
    "bootstrap_interval",
    "curve_of",
    "event_counts",
    "f1_macro",
    "f1_micro",
    "frame_error",
    "keyword_metrics",
    "match_detections",
    "operating_curve",
    "paired_bootstrap",
    "psds_of",
    "psds_over_all_thresholds",
    "psds_over_event_scores",
    "psds_over_operating_points",
    "psds_statistic",
    "recall_at",
    "recall_at_thresholds",
    "recall_statistic",
    "score_sheet",
    "segment_counts",
    "sound_metrics",
    "stray_counts",
    "thresholds_for",
    "work_metrics",
    "wrong_time",
]
