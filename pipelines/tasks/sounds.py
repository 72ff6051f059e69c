"""Sound events in long recordings: overlapping, each with an onset and an offset."""

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from featurizers import Grid

from ..events import Event, Recording
from ..heads import Held, scores_at
from ..labelled import labelled_part, labelled_seconds, true_events
from ..line import Track
from ..metrics import (
    PSDS1,
    Interval,
    RecordingResult,
    ScoredRecording,
    event_counts,
    f1_macro,
    frame_error,
    paired_bootstrap,
    psds_over_all_thresholds,
    psds_statistic,
    sound_metrics,
    wrong_time,
)
from ..metrics.sheet import scopes
from ..recipe import EvaluateOptions
from ..spans import SpanDecision, decode_spans, filtered_scores, tune_spans
from .contract import Judged, Moment, Targets

DENSE_FIGURES = (
    "psds1_all_thresholds",
    "psds2_all_thresholds",
    "event_f1_{collar}_macro",
    "event_f1_{collar}_micro",
    "segment_f1_1s_macro",
    "frame_error",
)


Side = tuple[list[RecordingResult], list[ScoredRecording]]  # of the test recordings, with the switch or open


class Tuning(NamedTuple):
    """What the validation split decided, for the switch and for everything open."""

    decisions: dict[str, SpanDecision]
    dense_decisions: dict[str, SpanDecision]


class SoundEventDetection:
    """Sounds in long recordings, several at a time: a score is high from an event's onset to its offset.

    Time that nobody labelled asks nothing of scores and switch, and counts for no figure. A clip of which only labels
    are known, not their times, is learned from as a whole.

    Args:
        collar_seconds: how far the onset of an event that counts as found may be off, in thresholds and in figures.
        open_before_seconds: the switch is asked to be open from so long before an event's onset.
        open_after_seconds: the switch is asked to be open until so long after an event's offset.
    """

    decision = SpanDecision
    title = "Sound events found, and what it cost"

    def __init__(
        self, *, collar_seconds: float = 0.2, open_before_seconds: float = 0.1, open_after_seconds: float = 0.1
    ) -> None:
        self.collar_seconds = collar_seconds
        self.open_before_seconds, self.open_after_seconds = open_before_seconds, open_after_seconds

    def targets(self, recording: Recording, labels: Sequence[str], grid: Grid, num_frames: int) -> Targets:
        """Targets of one recording: 1 on frames of which an event takes half or more, and on its longest share else."""
        wanted, switch = torch.zeros(num_frames, len(labels)), torch.zeros(num_frames)
        weights = torch.ones(num_frames, len(labels))
        if recording.labelled_spans is not None:
            weights[:] = 0
            for onset, offset in recording.labelled_spans:
                weights[self._frames(onset, offset, grid, num_frames)] = 1
        columns = {label: column for column, label in enumerate(labels)}
        for event in recording.events:
            if event.label not in columns:
                continue
            wanted[self._frames(event.onset_seconds, event.offset_seconds, grid, num_frames), columns[event.label]] = 1
            begin, end = event.onset_seconds - self.open_before_seconds, event.offset_seconds + self.open_after_seconds
            switch[self._frames(begin, end, grid, num_frames)] = 1
        clip = None
        if recording.clip_labels is not None and recording.labelled_spans == ():
            clip = torch.tensor([float(label in recording.clip_labels) for label in labels])
        return Targets(wanted, weights, switch, clip)

    def _frames(self, onset_seconds: float, offset_seconds: float, grid: Grid, num_frames: int) -> slice:
        begin, end = ((t - grid.origin_seconds) / grid.hop_seconds for t in (onset_seconds, offset_seconds))
        first, last = math.floor(begin + 0.5), math.ceil(end - 0.5)
        if last <= first:  # shorter than a frame: the one that holds its middle
            first = math.floor((begin + end) / 2)
            last = first + 1
        return slice(max(0, first), max(0, min(num_frames, last)))

    def decode(
        self,
        held: Held,
        grid: Grid,
        seconds: float,
        labels: Sequence[str],
        decisions: Mapping[str, SpanDecision],
        min_score: float | None = None,
    ) -> list[Event]:
        """Stretches of high score; `min_score` takes the place of every threshold at which events open."""
        if min_score is not None:
            score = float(min_score)
            decisions = {
                label: each._replace(open_at=score, close_at=min(score, each.close_at))
                for label, each in decisions.items()
            }
        return decode_spans(held, grid, labels, decisions=decisions, seconds=seconds)

    def tune(
        self,
        tracks: Sequence[Track],
        dense_tracks: Sequence[Track],
        recordings: Sequence[Recording],
        labels: Sequence[str],
        options: EvaluateOptions,  # noqa: ARG002 (F1 is made large, not recall at a rate of false alarms)
    ) -> Tuning:
        """Thresholds, filter and lengths of each label that find its events with the highest F1."""
        counts = functools.partial(event_counts, collar_seconds=self.collar_seconds)
        truths = [true_events(recording, labels) for recording in recordings]
        found = [
            tune_spans(_labelled(each, recordings), truths, labels, counts=counts).decisions
            for each in (tracks, dense_tracks)
        ]
        return Tuning(*found)

    def metrics(self, judged: Judged) -> dict[str, float]:
        """PSDS, event and segment F1, false alarms; the dense twin's beside them; see docs/metrics.md."""
        tuning, labels = judged.tuning, judged.labels
        sides = [
            (self._results(judged, tracks, decisions), self._scored(judged, tracks, decisions))
            for tracks, decisions in (
                (judged.tracks, tuning.decisions),
                (judged.dense_tracks, tuning.dense_decisions),
            )
        ]
        metrics, dense = (
            sound_metrics(results, labels, scored=scored, collar_seconds=self.collar_seconds)
            for results, scored in sides
        )
        for prefix, rows in scopes([recording.kind for recording in judged.recordings]).items():
            for figure in DENSE_FIGURES:
                name = figure.format(collar=self._collar)
                metrics |= {
                    f"{prefix}dense_{name}{end}": dense[f"{prefix}{name}{end}"] for end in ("", "_low", "_high")
                }
            chosen = [([results[row] for row in rows], [scored[row] for row in rows]) for results, scored in sides]
            for name, change in self._changes(*chosen, labels=labels).items():
                ends = zip(("", "_low", "_high"), change, strict=True)
                metrics |= {f"{prefix}{name}_change_vs_dense{end}": value for end, value in ends}
        return metrics

    def _changes(self, own: Side, dense: Side, *, labels: Sequence[str]) -> dict[str, Interval]:
        """Figures relative to everything open, minus 1: both on the same resampled recordings."""
        (results, scored), (dense_results, dense_scored) = own, dense
        psds = psds_over_all_thresholds(scored, labels, PSDS1)
        dense_psds = psds_over_all_thresholds(dense_scored, labels, PSDS1)
        events = event_counts(results, labels, collar_seconds=self.collar_seconds)
        dense_events = event_counts(dense_results, labels, collar_seconds=self.collar_seconds)
        times, dense_times = wrong_time(results, labels), wrong_time(dense_results, labels)
        return {
            "psds1": paired_bootstrap(psds, dense_psds, psds_statistic, resamples=200),
            f"event_f1_{self._collar}_macro": paired_bootstrap(events, dense_events, f1_macro),
            "frame_error": paired_bootstrap(times, dense_times, frame_error),
        }

    @property
    def _collar(self) -> str:
        return f"{1000 * self.collar_seconds:g}ms"

    def _results(
        self, judged: Judged, tracks: Sequence[Track], decisions: Mapping[str, SpanDecision]
    ) -> list[RecordingResult]:
        return [
            RecordingResult(
                self.decode(track.held, track.grid, track.seconds, judged.labels, decisions),
                true_events(recording, judged.labels),
                labelled_seconds(track, recording),
                recording.kind,
                recording.source.stem,
            )
            for track, recording in zip(_labelled(tracks, judged.recordings), judged.recordings, strict=True)
        ]

    def _scored(
        self, judged: Judged, tracks: Sequence[Track], decisions: Mapping[str, SpanDecision]
    ) -> list[ScoredRecording]:
        return [
            ScoredRecording(
                filtered_scores(track.held, track.grid, judged.labels, decisions, track.is_open.numel()),
                track.grid.hop_seconds,
                true_events(recording, judged.labels),
                labelled_seconds(track, recording),
                recording.kind,
                recording.source.stem,
                onset_seconds=track.grid.origin_seconds,
            )
            for track, recording in zip(_labelled(tracks, judged.recordings), judged.recordings, strict=True)
        ]

    def headline(self, metrics: Mapping[str, float], kind: str = "") -> str:
        prefix = f"{kind}_" if kind else ""
        psds, low, high, dense = (
            metrics[prefix + key]
            for key in (
                "psds1_all_thresholds",
                "psds1_all_thresholds_low",
                "psds1_all_thresholds_high",
                "dense_psds1_all_thresholds",
            )
        )
        interval = "" if math.isnan(low) else f"{low:.2f} to {high:.2f}; "
        f1 = metrics[f"{prefix}event_f1_{self._collar}_macro"]
        false_alarms = metrics[f"{prefix}false_alarms_per_hour_no_overlap"]
        return (
            f"finds events with a PSDS1 of {psds:.2f} ({interval}everything open: {dense:.2f}); at its thresholds an "
            f"event F1 of {f1:.2f}, and {false_alarms:.1f} false alarms per hour"
        )

    def moments(self, judged: Judged, number: int) -> list[Moment]:
        """The best-scored events where there is none of their label, and the longest true ones that none overlaps."""
        false_alarms, misses = [], []
        for index, result in enumerate(self._results(judged, judged.tracks, judged.tuning.decisions)):
            for event in result.detected:
                if not any(_overlap(event, true) for true in result.truth):
                    false_alarms.append(Moment(index, event, event.score, False))
            for event in result.truth:
                if not any(_overlap(found, event) for found in result.detected):
                    score = _best_score(judged.tracks[index], event, judged.labels.index(event.label))
                    misses.append(Moment(index, event, score, True))
        false_alarms.sort(key=lambda moment: -moment.score)
        misses.sort(key=lambda moment: moment.event.onset_seconds - moment.event.offset_seconds)
        return false_alarms[: number // 2] + misses[: number // 2]

    def plots(self, folder: Path, judged: Judged) -> list[tuple[Path, str]]:
        from ..plots import plot_by_label  # brings matplotlib, which tagging need not wait for

        figures = {}
        sides = {
            "with the switch": (judged.tracks, judged.tuning.decisions),
            "everything open": (judged.dense_tracks, judged.tuning.dense_decisions),
        }
        for name, (tracks, decisions) in sides.items():
            sheet = event_counts(
                self._results(judged, tracks, decisions), judged.labels, collar_seconds=self.collar_seconds
            )
            hits, found, true = (each.sum(axis=0) for each in (sheet.num_hits, sheet.num_detected, sheet.num_events))
            figures[name] = (2 * hits / (found + true).clip(1)).tolist()
        path = folder / "labels.png"
        plot_by_label(path, judged.labels, figures, f"event F1, collar {self._collar}")
        return [(path, "How well events of each label are found, at the model's thresholds.")]


def _labelled(tracks: Sequence[Track], recordings: Sequence[Recording]) -> list[Track]:
    """The tracks, silent where nobody labelled."""
    return [labelled_part(track, recording) for track, recording in zip(tracks, recordings, strict=True)]


def _overlap(one: Event, other: Event) -> bool:
    return (
        one.label == other.label
        and one.onset_seconds < other.offset_seconds
        and other.onset_seconds < one.offset_seconds
    )


def _best_score(track: Track, event: Event, column: int) -> float:
    """The highest score of a label within an event."""
    grid = track.grid
    first, last = (
        int((t - grid.origin_seconds) / grid.hop_seconds) for t in (event.onset_seconds, event.offset_seconds)
    )
    frames = torch.arange(max(0, first), max(0, last) + 1)
    return float(scores_at(track.held, grid, frames)[:, column].max().sigmoid())
