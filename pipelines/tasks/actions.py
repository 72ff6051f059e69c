"""Actions in video: the class of a trimmed clip, and when which action happens in a long recording."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from featurizers import Grid

from ..events import Event, Recording
from ..heads import Held, scores_at
from ..labelled import labelled_part, labelled_seconds, true_events
from ..line import Track
from ..metrics.actions import action_figures, map_change
from ..metrics.clips import clip_changes, clip_figures
from ..metrics.matching import Floats, match_detections
from ..metrics.sheet import RecordingResult, scopes
from ..metrics.temporal_iou import IOUS
from ..recipe import EvaluateOptions
from ..span_candidates import span_candidates
from ..spans import decode_spans
from .action_tuning import (
    ActionDecision,
    Tuning,
    clip_label,
    clip_rows,
    clip_shares,
    clip_sheet_of,
    long_rows,
    pooled_scores,
    tuned_decisions,
    whole_clip,
)
from .contract import Judged, Moment, Targets
from .sounds import SoundEventDetection

DENSE_FIGURES = (
    "map_mean",
    *(f"map_at_iou_{iou:g}" for iou in IOUS),
    "event_f1_{iou}_macro",
    "recall_at_thresholds",
    "false_alarms_per_hour_all_labels",
    "false_alarms_per_hour_no_overlap",
    "clip_accuracy",
    "clip_top5_accuracy",
    "clip_mean_class_accuracy",
    "num_clips_unanswered",
)


class ActionRecognition:
    """Actions: a score is high from an action's onset to its offset; of a trimmed clip, all along.

    A recording with one clip label is a trimmed clip, and judged by its class. All others are judged by when which
    action happens, within labelled time; one of which several labels are known, but not their times, is not judged.

    Args:
        least_iou: temporal intersection over union of an event that counts as found, in thresholds and in F1.
        tolerance_seconds: recall and false alarms at the thresholds ask only that an event overlaps the true one,
            extended by this on both sides.
        open_before_seconds: the switch is asked to be open from so long before an action's onset.
        open_after_seconds: the switch is asked to be open until so long after an action's offset.
        clip_margin_seconds: at both ends of a trimmed clip without times nothing is asked of its label for so long, at
            most for a quarter of the clip: people begin and end in a neutral pose.

    Raises:
        ValueError: if least_iou lies outside (0, 1], or a time is below 0.
    """

    decision = ActionDecision
    title = "Actions found, and what it cost"

    def __init__(
        self,
        *,
        least_iou: float = 0.5,
        tolerance_seconds: float = 1.0,
        open_before_seconds: float = 0.2,
        open_after_seconds: float = 0.2,
        clip_margin_seconds: float = 0.0,
    ) -> None:
        if not 0 < least_iou <= 1:
            raise ValueError(f"least_iou={least_iou} must be above 0 and at most 1; 0.5 is usual")
        if not (tolerance_seconds >= 0 and clip_margin_seconds >= 0):
            raise ValueError(
                f"tolerance_seconds={tolerance_seconds}, clip_margin_seconds={clip_margin_seconds}: "
                "both must be 0 or more"
            )
        self.least_iou, self.tolerance_seconds = least_iou, tolerance_seconds
        self.clip_margin_seconds = clip_margin_seconds
        self._events = SoundEventDetection(
            open_before_seconds=open_before_seconds, open_after_seconds=open_after_seconds
        )

    def targets(self, recording: Recording, labels: Sequence[str], grid: Grid, num_frames: int) -> Targets:
        """Targets of one recording: its events where it has any, else its clip label on all frames but the margins.

        Of several clip labels without times nothing is asked.
        """
        if recording.events or not recording.clip_labels:
            return self._events.targets(recording, labels, grid, num_frames)
        seconds = num_frames * grid.hop_seconds
        margin = min(self.clip_margin_seconds, seconds / 4)
        begin, end = grid.origin_seconds + margin, grid.origin_seconds + seconds - margin
        is_one = len(recording.clip_labels) == 1
        events = tuple(Event(begin, end, label) for label in recording.clip_labels) if is_one else ()
        # A clip of which nobody marked times has no labelled span; its label holds for the whole of it all the same.
        clip = recording._replace(events=events, labelled_spans=recording.labelled_spans or None)
        targets = self._events.targets(clip, labels, grid, num_frames)
        for label in set(recording.clip_labels) & set(labels):
            column = list(labels).index(label)
            targets.weights[targets.labels[:, column] == 0, column] = 0
        return targets

    def decode(
        self,
        held: Held,
        grid: Grid,
        seconds: float,
        labels: Sequence[str],
        decisions: Mapping[str, ActionDecision],
        min_score: float | None = None,
    ) -> list[Event]:
        """Stretches of high score; `min_score` takes the place of every threshold at which events open."""
        spans = {label: each.span for label, each in decisions.items()}
        if min_score is not None:
            score = float(min_score)
            spans = {k: s._replace(open_at=score, close_at=min(score, s.close_at)) for k, s in spans.items()}
        return decode_spans(held, grid, labels, decisions=spans, seconds=seconds)

    def clip_scores(self, track: Track, labels: Sequence[str], decisions: Mapping[str, ActionDecision]) -> Floats:
        """One score per label, (C,) in [0, 1], for a recording taken as a trimmed clip; all 0 if nothing was open."""
        return pooled_scores(track, clip_shares(decisions, labels))

    def tune(
        self,
        tracks: Sequence[Track],
        dense_tracks: Sequence[Track],
        recordings: Sequence[Recording],
        labels: Sequence[str],
        options: EvaluateOptions,
    ) -> Tuning:
        """Thresholds that keep to the rate of false alarms, filter and lengths of each label; the clip share.

        See pipelines.tasks.action_tuning.
        """
        own, dense = (
            tuned_decisions(
                side,
                recordings,
                labels,
                least_iou=self.least_iou,
                tolerance_seconds=self.tolerance_seconds,
                false_alarms_per_hour=options.false_alarms_per_hour,
            )
            for side in (tracks, dense_tracks)
        )
        return Tuning(own, dense)

    def metrics(self, judged: Judged) -> dict[str, float]:
        """mAP, F1, recall and false alarms of long recordings, accuracy of clips, the dense twin's beside them.

        Figures of a sort of recording that is absent, altogether or in a kind, are absent; see docs/metrics.md.
        """
        metrics: dict[str, float] = {}
        recordings, labels = judged.recordings, judged.labels
        side, dense = _sides(judged)
        found, dense_found = (self._found(judged, *each) for each in (side, dense))
        ranked, dense_ranked = (self._ranked(judged, *each) for each in (side, dense))
        long, clips = long_rows(recordings), clip_rows(recordings, labels)
        for prefix, rows in scopes([recording.kind for recording in recordings]).items():
            here = [place for place, row in enumerate(long) if row in rows]
            figures: dict[str, float] = {"num_recordings": float(len(rows))}
            figures["hours"] = sum(labelled_seconds(judged.tracks[row], recordings[row]) for row in rows) / 3600
            figures["num_events"] = float(sum(len(found[place].truth) for place in here))
            beside: dict[str, float] = {}
            if here:
                options = {"least_iou": self.least_iou, "tolerance_seconds": self.tolerance_seconds}
                for into, events, candidates in ((figures, found, ranked), (beside, dense_found, dense_ranked)):
                    here_found, here_ranked = ([each[place] for place in here] for each in (events, candidates))
                    into |= action_figures(here_found, here_ranked, labels, **options)  # type: ignore[arg-type]
                figures["hours_of_long_recordings"] = sum(found[place].seconds for place in here) / 3600
                pairs = [[each[place] for place in here] for each in (ranked, dense_ranked)]
                figures |= map_change(pairs[0], pairs[1], labels)
            if shown := [row for row in clips if row in rows]:
                sheets = [
                    clip_sheet_of(tracks, recordings, labels, shown, clip_shares(each, labels))
                    for tracks, each in (side, dense)
                ]
                figures |= clip_figures(sheets[0]) | clip_changes(sheets[0], sheets[1])
                beside |= clip_figures(sheets[1])
            for name in DENSE_FIGURES:
                for end in ("", "_low", "_high"):
                    key = f"{name.format(iou=self._iou)}{end}"
                    figures |= {f"dense_{key}": beside[key]} if key in beside else {}
            metrics |= {prefix + key: value for key, value in figures.items()}
        return metrics

    @property
    def _iou(self) -> str:
        return f"iou_{self.least_iou:g}"

    def _found(
        self, judged: Judged, tracks: Sequence[Track], decisions: Mapping[str, ActionDecision]
    ) -> list[RecordingResult]:
        """Events at the thresholds of every long recording."""
        return [
            _result(judged, row, self.decode(part.held, part.grid, part.seconds, judged.labels, decisions))
            for row, part in _long_parts(judged, tracks)
        ]

    def _ranked(
        self, judged: Judged, tracks: Sequence[Track], decisions: Mapping[str, ActionDecision]
    ) -> list[RecordingResult]:
        """Candidates of every long recording."""
        spans = {label: decision.ranking_span for label, decision in decisions.items()}
        return [
            _result(
                judged,
                row,
                span_candidates(part.held, part.grid, judged.labels, decisions=spans, seconds=part.seconds),
            )
            for row, part in _long_parts(judged, tracks)
        ]

    def headline(self, metrics: Mapping[str, float], kind: str = "") -> str:
        prefix = f"{kind}_" if kind else ""

        def share(key: str) -> str:
            return f"{metrics[prefix + key]:.0%}"

        def interval(key: str) -> str:
            low, high = metrics[f"{prefix}{key}_low"], metrics[f"{prefix}{key}_high"]
            return "" if math.isnan(low) else f"{100 * low:.0f} to {100 * high:.0f}; "  # one recording alone has none

        parts = []
        if f"{prefix}clip_accuracy" in metrics:
            parts.append(
                f"names {share('clip_accuracy')} of the clips right ({interval('clip_accuracy')}"
                f"chance {share('clip_chance')}; everything open: {share('dense_clip_accuracy')})"
            )
        if f"{prefix}map_mean" in metrics and math.isnan(metrics[f"{prefix}recall_at_thresholds"]):
            parts.append(f"raises {metrics[f'{prefix}false_alarms_per_hour_all_labels']:.1f} false alarms per hour")
        elif f"{prefix}map_mean" in metrics:
            parts.append(
                f"finds {share('recall_at_thresholds')} of the actions ({interval('recall_at_thresholds')}"
                f"everything open: {share('dense_recall_at_thresholds')}) at "
                f"{metrics[f'{prefix}false_alarms_per_hour_all_labels']:.1f} false alarms per hour, with an mAP of "
                f"{metrics[f'{prefix}map_mean']:.2f} (everything open: {metrics[f'{prefix}dense_map_mean']:.2f})"
            )
        return "; ".join(parts) or "was not judged: neither clips of one label nor times of actions are annotated"

    def moments(self, judged: Judged, number: int) -> list[Moment]:
        """The best-scored false alarms, the longest misses, the clips whose wrong answer was surest; as many of each.

        A clip named wrongly counts as a miss of its label, from its start to its end.
        """
        false_alarms, misses, wrong = [], [], []
        side, _ = _sides(judged)
        for row, result in zip(long_rows(judged.recordings), self._found(judged, *side), strict=True):
            matching = match_detections(result.detected, result.truth, tolerance_seconds=self.tolerance_seconds)
            for event, truth in zip(result.detected, matching.truth_of_detected, strict=True):
                if truth < 0:
                    false_alarms.append(Moment(row, event, event.score, False))
            for event, detection in zip(result.truth, matching.detected_of_truth, strict=True):
                if detection < 0:
                    misses.append(Moment(row, event, _best_score(judged, row, event), True))
        for row in clip_rows(judged.recordings, judged.labels):
            scores = self.clip_scores(side[0][row], judged.labels, side[1])
            label = clip_label(judged.recordings[row])
            own = float(scores[judged.labels.index(label)])
            if (scores >= own).sum() > 1:
                moment = Moment(row, whole_clip(judged.tracks[row], label), own, True)
                wrong.append((own - float(scores.max()), row, moment))
        false_alarms.sort(key=lambda moment: -moment.score)
        misses.sort(key=lambda moment: moment.event.onset_seconds - moment.event.offset_seconds)
        groups = [false_alarms, misses, [moment for _, _, moment in sorted(wrong, key=lambda each: each[:2])]]
        groups = [group for group in groups if group]
        return [moment for group in groups for moment in group[: max(1, number // len(groups))]][:number]

    def plots(self, folder: Path, judged: Judged) -> list[tuple[Path, str]]:
        # They bring matplotlib, which tagging need not wait for.
        from .action_plots import plot_clips, plot_long

        recordings, labels = judged.recordings, judged.labels
        sides = dict(zip(("with the switch", "everything open"), _sides(judged), strict=True))
        pictures = []
        if clips := clip_rows(recordings, labels):
            sheets = {
                name: clip_sheet_of(tracks, recordings, labels, clips, clip_shares(each, labels))
                for name, (tracks, each) in sides.items()
            }
            pictures += plot_clips(folder, labels, sheets)
        if long_rows(recordings):
            found = {name: self._found(judged, *side) for name, side in sides.items()}
            ranked = {name: self._ranked(judged, *side) for name, side in sides.items()}
            pictures += plot_long(folder, labels, found, ranked, least_iou=self.least_iou)
        return pictures


def _sides(judged: Judged) -> tuple[tuple[Sequence[Track], dict[str, ActionDecision]], ...]:
    """Tracks and decisions with the switch, and with everything open."""
    tuning = judged.tuning
    return (judged.tracks, tuning.decisions), (judged.dense_tracks, tuning.dense_decisions)


def _long_parts(judged: Judged, tracks: Sequence[Track]) -> list[tuple[int, Track]]:
    return [(row, labelled_part(tracks[row], judged.recordings[row])) for row in long_rows(judged.recordings)]


def _result(judged: Judged, row: int, detected: Sequence[Event]) -> RecordingResult:
    recording = judged.recordings[row]
    seconds = labelled_seconds(judged.tracks[row], recording)
    truth = true_events(recording, judged.labels)
    return RecordingResult(detected, truth, seconds, recording.kind, str(recording.source))


def _best_score(judged: Judged, row: int, event: Event) -> float:
    """The highest score of a label within an event."""
    track = judged.tracks[row]
    grid, last = track.grid, track.grid.num_frames(track.seconds) - 1
    first, end = (
        min(last, max(0, math.floor((t - grid.origin_seconds) / grid.hop_seconds)))
        for t in (event.onset_seconds, event.offset_seconds)
    )
    scores = scores_at(track.held, grid, torch.arange(first, end + 1))
    return float(scores[:, judged.labels.index(event.label)].max().sigmoid())
