"""Words in long audio: what a score should do, and what counts as found."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from featurizers import Grid

from ..decoding import decode_peaks
from ..events import Event, Recording
from ..heads import Held, scores_at
from ..keywords import Decision, Tuning, keyword_figures, placements_of_decisions, results_of, tune_keywords
from ..line import Track
from ..metrics import match_detections, operating_curve
from ..recipe import EvaluateOptions
from .contract import Judged, Moment, Targets


class KeywordSpotting:
    """Words in long audio: a score peaks where a word has just ended.

    A causal encoder knows a word only when it has heard most of it, so frames that end shortly after the word's offset
    are asked to be 1, frames within the word are asked nothing, all others 0.

    Args:
        before_seconds: the scores' target is 1 from so long before a word's offset.
        after_seconds: the scores' target is 1 until so long after a word's offset.
        slack_seconds: after the target has been 1, for so long the scores are free.
        open_before_seconds: the switch is asked to be open from so long before a word's offset.
        open_after_seconds: the switch is asked to be open until so long after a word's offset.
    """

    decision = Decision
    title = "Keywords found, and what it cost"

    def __init__(
        self,
        *,
        before_seconds: float = 0.0,
        after_seconds: float = 0.3,
        slack_seconds: float = 0.2,
        open_before_seconds: float = 0.3,
        open_after_seconds: float = 0.35,
    ) -> None:
        self.before_seconds, self.after_seconds, self.slack_seconds = before_seconds, after_seconds, slack_seconds
        self.open_before_seconds, self.open_after_seconds = open_before_seconds, open_after_seconds

    def targets(self, recording: Recording, labels: Sequence[str], grid: Grid, num_frames: int) -> Targets:
        """Targets of one recording; event times are on the media clock, as is the grid's origin."""
        events = recording.events
        wanted = torch.zeros(num_frames, len(labels))
        weights = torch.ones(num_frames, len(labels))
        switch = torch.zeros(num_frames)

        def frames(begin_seconds: float, end_seconds: float) -> slice:
            """Frames whose end lies in (begin, end]."""
            begin, end = (
                math.floor((seconds - grid.origin_seconds) / grid.hop_seconds + 1e-6)  # an exact end is an end
                for seconds in (begin_seconds, end_seconds)
            )
            return slice(max(0, begin), max(0, end))

        columns = {label: column for column, label in enumerate(labels)}
        for event in events:
            if event.label not in columns:
                continue
            column, end = columns[event.label], event.offset_seconds
            weights[frames(event.onset_seconds, end + self.after_seconds + self.slack_seconds), column] = 0
        for event in events:
            if event.label not in columns:
                continue
            column, end = columns[event.label], event.offset_seconds
            peak = frames(end - self.before_seconds, end + self.after_seconds)
            wanted[peak, column] = 1
            weights[peak, column] = 1
            switch[frames(end - self.open_before_seconds, end + self.open_after_seconds)] = 1
        return Targets(wanted, weights, switch)

    def decode(
        self,
        held: Held,
        grid: Grid,
        seconds: float,  # noqa: ARG002 (peaks lie on open frames)
        labels: Sequence[str],
        decisions: Mapping[str, Decision],
        min_score: float | None = None,
    ) -> list[Event]:
        """One event per peak that reaches its label's threshold."""
        thresholds = {k: d.threshold if min_score is None else float(min_score) for k, d in decisions.items()}
        return decode_peaks(held, grid, labels, thresholds=thresholds, placements=placements_of_decisions(decisions))

    def tune(
        self,
        tracks: Sequence[Track],
        dense_tracks: Sequence[Track],
        recordings: Sequence[Recording],
        labels: Sequence[str],
        options: EvaluateOptions,
    ) -> Tuning:
        """Thresholds at a rate of false alarms, and where events lie relative to their peaks."""
        rate = options.false_alarms_per_hour
        return tune_keywords(tracks, dense_tracks, recordings, labels, false_alarms_per_hour=rate)

    def metrics(self, judged: Judged) -> dict[str, float]:
        """Recall against false alarms; see docs/metrics.md."""
        results, dense_results = (
            results_of(tracks, judged.recordings, judged.labels, judged.tuning.placements)
            for tracks in (judged.tracks, judged.dense_tracks)
        )
        return keyword_figures(results, dense_results, judged.labels, judged.tuning)

    def headline(self, metrics: Mapping[str, float], kind: str = "") -> str:
        prefix = f"{kind}_" if kind else ""
        recall, low, high, dense = (
            metrics[prefix + key]
            for key in (
                "recall_at_1_false_alarm_per_hour",
                "recall_at_1_false_alarm_per_hour_low",
                "recall_at_1_false_alarm_per_hour_high",
                "dense_recall_at_1_false_alarm_per_hour",
            )
        )
        interval = "" if math.isnan(low) else f"{low:.0%} to {high:.0%}; "  # one recording alone has none
        return (
            f"finds {recall:.0%} of the words at 1 false alarm per hour and keyword "
            f"({interval}everything open: {dense:.0%})"
        )

    def moments(self, judged: Judged, number: int) -> list[Moment]:
        """The best-scored false alarms, and the misses that scored lowest, half of each."""
        return worst_moments(judged, number)

    def plots(self, folder: Path, judged: Judged) -> list[tuple[Path, str]]:
        from ..plots import plot_operating_curve  # brings matplotlib, which tagging need not wait for

        tuning, path = judged.tuning, folder / "operating_curve.png"
        results, dense_results = (
            results_of(tracks, judged.recordings, judged.labels, tuning.placements)
            for tracks in (judged.tracks, judged.dense_tracks)
        )
        curves = {"with the switch": operating_curve(results, judged.labels, tuning.thresholds)}
        curves["everything open"] = operating_curve(dense_results, judged.labels, tuning.dense_thresholds)
        plot_operating_curve(path, curves)
        return [(path, "Recall against false alarms per hour and keyword.")]


def worst_moments(judged: Judged, number: int) -> list[Moment]:
    """The best-scored false alarms, and the missed words that scored lowest, half of each."""
    tuning = judged.tuning
    results = results_of(judged.tracks, judged.recordings, judged.labels, tuning.placements)
    false_alarms, misses = [], []
    for index, result in enumerate(results):
        found = [event for event in result.detected if event.score >= tuning.thresholds[event.label]]
        matching = match_detections(found, result.truth)
        for event, truth in zip(found, matching.truth_of_detected, strict=True):
            if truth < 0:
                false_alarms.append(Moment(index, event, 1 / (1 + math.exp(-event.score)), False))
        for event, detection in zip(result.truth, matching.detected_of_truth, strict=True):
            if detection < 0:
                column = judged.labels.index(event.label)
                misses.append(Moment(index, event, best_score(judged.tracks[index], event, column), True))
    false_alarms.sort(key=lambda moment: -moment.score)
    misses.sort(key=lambda moment: moment.score)
    return false_alarms[: number // 2] + misses[: number // 2]


def best_score(track: Track, event: Event, column: int) -> float:
    """The highest score of a label from an event's onset until shortly after its offset."""
    grid = track.grid
    first, last = (
        int((t - grid.origin_seconds) / grid.hop_seconds) for t in (event.onset_seconds, event.offset_seconds)
    )
    frames = torch.arange(max(0, first), last + 6)
    return float(scores_at(track.held, grid, frames)[:, column].max().sigmoid())
