"""What systems are compared by: recall of words, or PSDS1 and event F1 of sounds, from tracks and decisions."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from benchmarks.paired import Draws, draws_of
from benchmarks.streams import logit_thresholds
from pipelines.decoding import Placement
from pipelines.events import Recording
from pipelines.keywords import placements_of_decisions, results_of
from pipelines.labelled import labelled_part, labelled_seconds, true_events
from pipelines.line import Track
from pipelines.metrics import (
    PSDS1,
    RecordingResult,
    ScoredRecording,
    event_counts,
    f1_macro,
    psds_over_all_thresholds,
    psds_statistic,
    recall_statistic,
    score_sheet,
)
from pipelines.spans import decode_spans, filtered_scores


class Yardstick(Protocol):
    """How good a system is.

    Attributes:
        kind: of recordings on which systems are compared; "": all of them.
        figures: name of each figure -> its title in the table; the first one decides.
    """

    kind: str
    figures: Mapping[str, str]

    def measure(
        self,
        tracks: Sequence[Track],
        recordings: Sequence[Recording],
        labels: Sequence[str],
        decisions: Mapping[str, Any],
        *,
        is_resampled: bool = True,
    ) -> dict[str, Draws]:
        """Every figure; without resamples only the first one."""
        ...


class Words:
    """Recall at 1 false alarm per hour and keyword on talkative streams: false alarms come from other speech."""

    kind = "talkative"
    figures: Mapping[str, str] = {"recall": "recall at 1 per hour"}

    def measure(
        self,
        tracks: Sequence[Track],
        recordings: Sequence[Recording],
        labels: Sequence[str],
        decisions: Mapping[str, Any],
        *,
        is_resampled: bool = True,
    ) -> dict[str, Draws]:
        """Operating points are common shifts of the labels' thresholds."""
        placements: dict[str, Placement] = placements_of_decisions(decisions)
        results = results_of(tracks, recordings, labels, placements)
        sheet = score_sheet(results, labels, logit_thresholds(decisions))
        return {"recall": draws_of(sheet, recall_statistic(1.0), resamples=1000 if is_resampled else 0)}


class Sounds:
    """PSDS1 over all thresholds, and the mean F1 of labels by event with a collar.

    Args:
        collar_seconds: how far the onset of an event that counts as found may be off.
        kind: of recordings on which systems are compared; "": all of them.
    """

    figures: Mapping[str, str] = {"psds1": "PSDS1", "event_f1": "event F1"}

    def __init__(self, collar_seconds: float, *, kind: str = "busy") -> None:
        self.collar_seconds, self.kind = collar_seconds, kind

    def measure(
        self,
        tracks: Sequence[Track],
        recordings: Sequence[Recording],
        labels: Sequence[str],
        decisions: Mapping[str, Any],
        *,
        is_resampled: bool = True,
    ) -> dict[str, Draws]:
        """PSDS1 is of scores behind each label's median filter; F1 of the events that the decisions give."""
        scored, results = [], []
        for whole, recording in zip(tracks, recordings, strict=True):
            track, truth = labelled_part(whole, recording), true_events(recording, labels)
            name, grid, seconds = recording.source.stem, track.grid, labelled_seconds(whole, recording)
            scores = filtered_scores(track.held, grid, labels, decisions, track.is_open.numel())
            scored.append(
                ScoredRecording(
                    scores, grid.hop_seconds, truth, seconds, recording.kind, name, onset_seconds=grid.origin_seconds
                )
            )
            events = decode_spans(track.held, grid, labels, decisions=decisions, seconds=track.seconds)
            results.append(RecordingResult(events, truth, seconds, recording.kind, name))
        sheet = psds_over_all_thresholds(scored, labels, PSDS1)
        if not is_resampled:
            return {"psds1": draws_of(sheet, psds_statistic, resamples=0)}
        counts = event_counts(results, labels, collar_seconds=self.collar_seconds)
        return {
            "psds1": draws_of(sheet, psds_statistic, resamples=200),
            "event_f1": draws_of(counts, f1_macro),
        }
