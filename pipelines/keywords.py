"""Keywords: peaks with thresholds from the validation split, recall against false alarms, beside the dense twin."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from .calibration import calibration_of
from .decoding import Placement, decode_peaks
from .events import Event, Recording
from .line import Track
from .metrics import (
    RecordingResult,
    keyword_metrics,
    paired_bootstrap,
    recall_statistic,
    score_sheet,
    thresholds_for,
)

DENSE_FIGURES = (
    "recall_at_1_false_alarm_per_hour",
    "recall_at_1_false_alarm_per_hour_low",
    "recall_at_1_false_alarm_per_hour_high",
    "recall_at_thresholds",
    "false_alarms_per_hour_at_thresholds",
)
CANDIDATE_PROBABILITY = 0.003  # peaks below are no candidates at any operating point worth having

LogitThresholds = dict[str, float]


class Decision(NamedTuple):
    """When a label counts as found, where it then lies, and what its score is worth.

    Args:
        threshold: of the score, in [0, 1].
        onset_delay_seconds, offset_delay_seconds, temperature, bias: see pipelines.decoding.Placement.
    """

    threshold: float
    onset_delay_seconds: float = 0.6
    offset_delay_seconds: float = 0.15
    temperature: float = 1.0
    bias: float = 0.0


def placements_of_decisions(decisions: Mapping[str, Decision]) -> dict[str, Placement]:
    """Where events lie relative to their peaks."""
    return {label: Placement(*decision[1:]) for label, decision in decisions.items()}


class Tuning(NamedTuple):
    """What the validation split decided; thresholds in logits."""

    placements: dict[str, Placement]
    thresholds: LogitThresholds
    dense_thresholds: LogitThresholds

    @property
    def decisions(self) -> dict[str, Decision]:
        """What a bundle keeps."""
        return decisions_of(self.thresholds, self.placements)


def candidates(track: Track, labels: Sequence[str], placements: Mapping[str, Placement] | None = None) -> list[Event]:
    """All peaks worth looking at, their scores as logits (operating points are shifts of logits)."""
    held = track.held._replace(level=track.held.level.double())  # a sure float32 probability has lost its logit
    found = decode_peaks(held, track.grid, labels, thresholds=CANDIDATE_PROBABILITY, placements=placements)
    return [event._replace(score=math.log(event.score / max(1e-15, 1 - event.score))) for event in found]


def results_of(
    tracks: Sequence[Track],
    recordings: Sequence[Recording],
    labels: Sequence[str],
    placements: Mapping[str, Placement] | None = None,
) -> list[RecordingResult]:
    """Candidates beside the truth, recording by recording."""
    return [
        RecordingResult(
            candidates(track, labels, placements),
            [event for event in recording.events if event.label in labels],
            track.seconds,
            recording.kind,
            recording.source.stem,
        )
        for track, recording in zip(tracks, recordings, strict=True)
    ]


def placements_of(results: Sequence[RecordingResult], labels: Sequence[str]) -> dict[str, Placement]:
    """Where events lie relative to their peaks: medians over the hits of a validation split."""
    sheet = score_sheet(results, labels, dict.fromkeys(labels, 0.0))
    accepted = sheet.is_hit & (sheet.margins > 0)
    placements = {}
    for column, label in enumerate(labels):
        rows = accepted & (sheet.label_of == column)
        place = Placement()
        if rows.sum() >= 5:
            onset = place.onset_delay_seconds + float(torch.tensor(sheet.onset_errors[rows]).median())
            offset = place.offset_delay_seconds + float(torch.tensor(sheet.offset_errors[rows]).median())
            place = Placement(max(onset, offset + 0.05), offset)
        placements[label] = place
    return placements


def decisions_of(thresholds: LogitThresholds, placements: Mapping[str, Placement]) -> dict[str, Decision]:
    """Decisions of a bundle from thresholds in logits."""
    return {
        label: Decision(1 / (1 + math.exp(-threshold)), *placements[label]) for label, threshold in thresholds.items()
    }


def comparison_metrics(
    results: Sequence[RecordingResult],
    dense_results: Sequence[RecordingResult],
    labels: Sequence[str],
    thresholds: LogitThresholds,
    dense_thresholds: LogitThresholds,
) -> dict[str, float]:
    """The dense twin's recall, and the relative change that the switch makes to it (paired bootstrap), per kind.

    Keys: dense_recall_at_1_false_alarm_per_hour, dense_recall_at_thresholds,
    dense_false_alarms_per_hour_at_thresholds, recall_change_vs_dense with _low and _high; again with the kind in front.
    """
    metrics: dict[str, float] = {}
    for kind in ["", *dict.fromkeys(result.kind for result in results)]:
        rows = [row for row, result in enumerate(results) if kind in ("", result.kind)]
        chosen, dense = [results[row] for row in rows], [dense_results[row] for row in rows]
        prefix = f"{kind}_" if kind else ""
        figures = keyword_metrics([r._replace(kind="") for r in dense], labels, dense_thresholds)
        for name in DENSE_FIGURES:
            metrics[f"{prefix}dense_{name}"] = figures[name]
        sheet, dense_sheet = score_sheet(chosen, labels, thresholds), score_sheet(dense, labels, dense_thresholds)
        change = paired_bootstrap(sheet, dense_sheet, recall_statistic(1.0))
        metrics[f"{prefix}recall_change_vs_dense"] = change.estimate
        metrics[f"{prefix}recall_change_vs_dense_low"] = change.low
        metrics[f"{prefix}recall_change_vs_dense_high"] = change.high
    return metrics


def tune_keywords(
    tracks: Sequence[Track],
    dense_tracks: Sequence[Track],
    recordings: Sequence[Recording],
    labels: Sequence[str],
    *,
    false_alarms_per_hour: float,
) -> Tuning:
    """Set the labels' thresholds, the events' places and what scores are worth on recordings of the validation split.

    Args:
        tracks, dense_tracks: of the recordings, with the switch and with everything open; each gets its own thresholds.
        recordings: what is true.
        labels: C names.
        false_alarms_per_hour: per label, at which thresholds are set.
    """
    results = results_of(tracks, recordings, labels)
    worth = calibration_of(results, labels)
    placements = {
        label: place._replace(temperature=worth[label].temperature, bias=worth[label].bias)
        for label, place in placements_of(results, labels).items()
    }
    thresholds = [
        thresholds_for(results_of(each, recordings, labels, placements), labels, false_alarms_per_hour)
        for each in (tracks, dense_tracks)
    ]
    return Tuning(placements, *thresholds)


def keyword_figures(
    results: Sequence[RecordingResult], dense_results: Sequence[RecordingResult], labels: Sequence[str], tuning: Tuning
) -> dict[str, float]:
    """What metrics.json says of words found, the dense twin beside it."""
    found = keyword_metrics(results, labels, tuning.thresholds)
    return found | comparison_metrics(results, dense_results, labels, tuning.thresholds, tuning.dense_thresholds)
