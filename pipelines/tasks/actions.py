"""Actions in video: the class of a trimmed clip, and when which action happens in a long recording."""

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from featurizers import Grid

from ..events import Event, Recording
from ..heads import Held, scores_at
from ..labelled import labelled_part, labelled_seconds, true_events
from ..line import Track
from ..metrics.actions import action_figures, f1_by_label, map_change
from ..metrics.clips import ClipSheet, clip_changes, clip_figures, clip_sheet, confusion, mean_class_accuracy
from ..metrics.matching import Floats, match_detections
from ..metrics.sheet import RecordingResult, scopes
from ..metrics.temporal_iou import IOUS, detection_sheet, iou_counts, mean_precisions
from ..recipe import EvaluateOptions
from ..span_candidates import span_candidates
from ..spans import SpanDecision, decode_spans, tune_spans
from .contract import Judged, Moment, Targets
from .sounds import SoundEventDetection

CLIP_SHARES = (1.0, 0.5, 0.25, 0.125, 0.0)  # of a clip's frames; 0: the best frame alone
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


class ActionDecision(NamedTuple):
    """When a label counts as found in a long recording, and how much of a trimmed clip speaks for it.

    Args:
        open_at, close_at, median_frames, min_seconds, merge_seconds: see pipelines.spans.SpanDecision.
        clip_share: a clip's score for the label is the mean probability of this share of its frames, the best ones;
            0: of the best frame alone.
    """

    open_at: float = 0.5
    close_at: float = 0.5
    median_frames: int = 1
    min_seconds: float = 0.0
    merge_seconds: float = 0.0
    clip_share: float = 0.5

    @property
    def span(self) -> SpanDecision:
        """What concerns long recordings."""
        return SpanDecision(*self[:5])


class Tuning(NamedTuple):
    """What the validation split decided, for the switch and for everything open."""

    decisions: dict[str, ActionDecision]
    dense_decisions: dict[str, ActionDecision]


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
        return pooled_scores(track, [decisions[label].clip_share for label in labels])

    def tune(
        self,
        tracks: Sequence[Track],
        dense_tracks: Sequence[Track],
        recordings: Sequence[Recording],
        labels: Sequence[str],
        options: EvaluateOptions,  # noqa: ARG002 (F1 is made large, not recall at a rate of false alarms)
    ) -> Tuning:
        """Thresholds, filter and lengths with the highest F1 of each label; the clip share with the most clips right.

        Where there are only clips, each counts as a recording with one event from its start to its end.
        """
        return Tuning(*(self._tuned(side, recordings, labels) for side in (tracks, dense_tracks)))

    def _tuned(
        self, tracks: Sequence[Track], recordings: Sequence[Recording], labels: Sequence[str]
    ) -> dict[str, ActionDecision]:
        long, clips = long_rows(recordings), clip_rows(recordings, labels)
        decisions = dict.fromkeys(labels, ActionDecision())
        if long or clips:
            heard = [labelled_part(tracks[row], recordings[row]) for row in long or clips]
            truths = [true_events(recordings[row], labels) for row in long]
            if not long:
                truths = [[_whole(tracks[row], _clip_label(recordings[row]))] for row in clips]
            counts = functools.partial(iou_counts, least_iou=self.least_iou)
            spans = tune_spans(heard, truths, labels, counts=counts).decisions
            decisions = {label: ActionDecision(*spans[label]) for label in labels}
        if clips:
            shares = {share: dict.fromkeys(labels, ActionDecision(clip_share=share)) for share in CLIP_SHARES}
            sheets = {s: self._clip_sheet(tracks, recordings, labels, clips, each) for s, each in shares.items()}
            best = max(CLIP_SHARES, key=lambda s: mean_class_accuracy(sheets[s], np.ones(len(clips))))
            decisions = {label: each._replace(clip_share=best) for label, each in decisions.items()}
        return decisions

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
                sheets = [self._clip_sheet(tracks, recordings, labels, shown, each) for tracks, each in (side, dense)]
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
        spans = {label: decision.span for label, decision in decisions.items()}
        return [
            _result(
                judged,
                row,
                span_candidates(part.held, part.grid, judged.labels, decisions=spans, seconds=part.seconds),
            )
            for row, part in _long_parts(judged, tracks)
        ]

    def _clip_sheet(
        self,
        tracks: Sequence[Track],
        recordings: Sequence[Recording],
        labels: Sequence[str],
        rows: Sequence[int],
        decisions: Mapping[str, ActionDecision],
    ) -> ClipSheet:
        return clip_sheet(
            [self.clip_scores(tracks[row], labels, decisions) for row in rows],
            [_clip_label(recordings[row]) for row in rows],
            labels,
            [str(recordings[row].source) for row in rows],
            [tracks[row].seconds for row in rows],
        )

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
            label = _clip_label(judged.recordings[row])
            own = float(scores[judged.labels.index(label)])
            if (scores >= own).sum() > 1:
                moment = Moment(row, _whole(judged.tracks[row], label), own, True)
                wrong.append((own - float(scores.max()), row, moment))
        false_alarms.sort(key=lambda moment: -moment.score)
        misses.sort(key=lambda moment: moment.event.onset_seconds - moment.event.offset_seconds)
        groups = [false_alarms, misses, [moment for _, _, moment in sorted(wrong, key=lambda each: each[:2])]]
        groups = [group for group in groups if group]
        return [moment for group in groups for moment in group[: max(1, number // len(groups))]][:number]

    def plots(self, folder: Path, judged: Judged) -> list[tuple[Path, str]]:
        # They bring matplotlib, which tagging need not wait for.
        from ..plots import plot_by_label, plot_confusion, plot_precision_recall

        pictures, labels = [], judged.labels
        sides = dict(zip(("with the switch", "everything open"), _sides(judged), strict=True))
        if clips := clip_rows(judged.recordings, labels):
            sheets = {
                name: self._clip_sheet(tracks, judged.recordings, labels, clips, each)
                for name, (tracks, each) in sides.items()
            }
            path = folder / "confusion.png"
            plot_confusion(path, labels, confusion(sheets["with the switch"]))
            pictures.append((path, "Trimmed clips: what they are, and what the model says with the switch."))
            path = folder / "clip_labels.png"
            accuracies = {
                name: [clip_figures(sheet, resamples=0)[f"clip_accuracy/{label}"] for label in labels]
                for name, sheet in sheets.items()
            }
            plot_by_label(path, labels, accuracies, "share of clips named right")
            pictures.append((path, "Share of the trimmed clips of each label that are named right."))
        if long_rows(judged.recordings):
            recalls, f1 = np.linspace(0, 1, 201), {}
            curves: dict[str, Floats] = {}
            for name, (tracks, decisions) in sides.items():
                sheet = detection_sheet(self._ranked(judged, tracks, decisions), labels)
                precisions = mean_precisions(sheet, recalls)
                curves |= {f"IoU {iou:g}, {name}": precisions[:, place] for place, iou in enumerate(IOUS)}
                counts = iou_counts(self._found(judged, tracks, decisions), labels, least_iou=self.least_iou)
                f1[name] = f1_by_label(counts)
            path = folder / "precision_recall.png"
            plot_precision_recall(path, recalls, curves)
            pictures.append((path, "Precision against recall, mean over labels: the area under a curve is its mAP."))
            path = folder / "labels.png"
            plot_by_label(path, labels, f1, f"event F1, temporal IoU {self.least_iou:g}")
            pictures.append((path, "How well actions of each label are found, at the model's thresholds."))
        return pictures


def clip_rows(recordings: Sequence[Recording], labels: Sequence[str]) -> list[int]:
    """Which recordings are trimmed clips of one of the labels."""
    return [row for row, each in enumerate(recordings) if _is_clip(each) and _clip_label(each) in labels]


def long_rows(recordings: Sequence[Recording]) -> list[int]:
    """Which recordings are judged by the times of their actions; one without any action is, too."""
    return [row for row, each in enumerate(recordings) if not _is_clip(each) and (each.events or not each.clip_labels)]


def _is_clip(recording: Recording) -> bool:
    return recording.clip_labels is not None and len(recording.clip_labels) == 1


def _clip_label(recording: Recording) -> str:
    assert recording.clip_labels
    return recording.clip_labels[0]


def pooled_scores(track: Track, shares: Sequence[float]) -> Floats:
    """(C,) mean probability of each label over this share of the frames, its best ones, at least one."""
    num_frames = track.grid.num_frames(track.seconds)
    scores = scores_at(track.held, track.grid, torch.arange(num_frames)).detach().double().sigmoid()
    ranked = scores.sort(dim=0, descending=True).values.numpy()
    means = [ranked[: max(1, math.ceil(share * num_frames - 1e-9)), c] for c, share in enumerate(shares)]
    return np.array([each.mean() if len(each) else 0.0 for each in means])


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


def _whole(track: Track, label: str) -> Event:
    """A whole recording as one event."""
    return Event(track.grid.origin_seconds, track.grid.origin_seconds + track.seconds, label)


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
