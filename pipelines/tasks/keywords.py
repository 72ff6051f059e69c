"""Words in long audio: what a score should do, and what counts as found."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from featurizers import Grid

from ..calibration import reliability
from ..decoding import decode_peaks
from ..events import Event, Recording
from ..heads import Held, scores_at
from ..keywords import Decision, Tuning, keyword_figures, placements_of_decisions, results_of, tune_keywords
from ..line import Track
from ..metrics import match_detections, operating_curve
from ..metrics.clips import ClipSheet, clip_changes, clip_figures, clip_sheet, confusion
from ..metrics.matching import Floats
from ..metrics.sheet import scopes
from ..recipe import EvaluateOptions
from .contract import Judged, Moment, Targets

DENSE_CLIP_FIGURES = ("clip_accuracy", "clip_mean_class_accuracy", "num_clips_unanswered")


class KeywordSpotting:
    """Words in long audio: a score peaks where a word has just ended.

    A causal encoder knows a word only when it has heard most of it, so frames that end shortly after the word's offset
    are asked to be 1, frames within the word are asked nothing, all others 0.

    A recording with one clip label is a trimmed clip, and judged by its word as well: the one with the highest score of
    all frames. The score comes where the word has ended, so a clip needs some sound or silence behind its word.

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
        """Targets of one recording; event times are on the media clock, as is the grid's origin.

        Of a clip label without a time nothing is asked.
        """
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
        for label in set(recording.clip_labels or ()) - {event.label for event in events}:
            if label in columns:  # it is said somewhere in the recording; nobody told where
                weights[:, columns[label]] = 0
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
        """Recall against false alarms, and how many clips are named right; see docs/metrics.md."""
        results, dense_results = (
            results_of(tracks, judged.recordings, judged.labels, judged.tuning.placements)
            for tracks in (judged.tracks, judged.dense_tracks)
        )
        figures = keyword_figures(results, dense_results, judged.labels, judged.tuning)
        clips = _clip_rows(judged)
        for prefix, rows in scopes([recording.kind for recording in judged.recordings]).items():
            figures[f"{prefix}calibration_error"] = reliability([results[row] for row in rows], judged.labels).error
            if shown := [row for row in clips if row in rows]:
                sheet, dense = (_clip_sheet(judged, tracks, shown) for tracks in (judged.tracks, judged.dense_tracks))
                of_clips, beside = clip_figures(sheet) | clip_changes(sheet, dense), clip_figures(dense)
                names = (name + end for name in DENSE_CLIP_FIGURES for end in ("", "_low", "_high"))
                of_clips |= {f"dense_{name}": beside[name] for name in names if name in beside}
                figures |= {prefix + key: value for key, value in of_clips.items()}
        return figures

    def headline(self, metrics: Mapping[str, float], kind: str = "") -> str:
        prefix = f"{kind}_" if kind else ""

        def share(key: str) -> str:
            return f"{metrics[prefix + key]:.0%}"

        def interval(key: str) -> str:
            low, high = metrics[f"{prefix}{key}_low"], metrics[f"{prefix}{key}_high"]
            return "" if math.isnan(low) else f"{low:.0%} to {high:.0%}; "  # one recording alone has none

        parts = []
        num_clips = metrics.get(f"{prefix}num_clips", 0)
        if num_clips:
            parts.append(
                f"names {share('clip_accuracy')} of the clips right ({interval('clip_accuracy')}"
                f"everything open: {share('dense_clip_accuracy')})"
            )
        if num_clips < metrics[f"{prefix}num_recordings"]:
            key = "recall_at_1_false_alarm_per_hour"
            parts.append(
                f"finds {share(key)} of the words at 1 false alarm per hour and keyword "
                f"({interval(key)}everything open: {share(f'dense_{key}')})"
            )
        return "; ".join(parts)

    def moments(self, judged: Judged, number: int) -> list[Moment]:
        """The best-scored false alarms, and the misses that scored lowest, half of each."""
        return worst_moments(judged, number)

    def plots(self, folder: Path, judged: Judged) -> list[tuple[Path, str]]:
        # They bring matplotlib, which tagging need not wait for.
        from ..plots import plot_confusion, plot_operating_curve, plot_reliability

        tuning, path = judged.tuning, folder / "operating_curve.png"
        results, dense_results = (
            results_of(tracks, judged.recordings, judged.labels, tuning.placements)
            for tracks in (judged.tracks, judged.dense_tracks)
        )
        curves = {"with the switch": operating_curve(results, judged.labels, tuning.thresholds)}
        curves["everything open"] = operating_curve(dense_results, judged.labels, tuning.dense_thresholds)
        plot_operating_curve(path, curves)
        pictures = [(path, "Recall against false alarms per hour and keyword.")]
        path = folder / "reliability.png"
        plot_reliability(path, reliability(results, judged.labels))
        pictures.append((path, "Of detections with a score, how many are right: on the line, scores are such shares."))
        if clips := _clip_rows(judged):
            path = folder / "confusion.png"
            plot_confusion(path, judged.labels, confusion(_clip_sheet(judged, judged.tracks, clips)))
            pictures.append((path, "Trimmed clips: what they are, and what the model says with the switch."))
        return pictures


def clip_scores(track: Track, num_labels: int) -> Floats:
    """One score per label, (C,) in [0, 1], of a recording of one word: the highest of all frames; 0 if none was open.

    Between open frames scores only fall, so the highest one is on an open frame.
    """
    level = track.held.level.double()  # a sure float32 probability ties with another one
    best: Floats = (level.amax(dim=0).sigmoid() if len(level) else torch.zeros(num_labels).double()).numpy()
    return best


def _clip_rows(judged: Judged) -> list[int]:
    """Which recordings are trimmed clips of one of the labels."""
    names = [recording.clip_labels or () for recording in judged.recordings]
    return [row for row, each in enumerate(names) if len(each) == 1 and each[0] in judged.labels]


def _clip_sheet(judged: Judged, tracks: Sequence[Track], rows: Sequence[int]) -> ClipSheet:
    recordings = [judged.recordings[row] for row in rows]
    return clip_sheet(
        [clip_scores(tracks[row], len(judged.labels)) for row in rows],
        [label for recording in recordings for label in recording.clip_labels or ()],
        judged.labels,
        [str(recording.source) for recording in recordings],
        [tracks[row].seconds for row in rows],
    )


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
