"""What validation recordings decide for actions: thresholds that keep to a rate of false alarms, and clips' scores.

F1 of each label     open_at, close_at, median filter, lengths     (pipelines.spans)
false alarms         one shift of all thresholds, in logits: that finds most within the budget
trimmed clips        the share of a clip's frames that speaks for it
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..events import Event, Recording
from ..heads import scores_at
from ..labelled import labelled_part, labelled_seconds, true_events
from ..line import Track
from ..metrics.clips import ClipSheet, clip_sheet, mean_class_accuracy
from ..metrics.matching import Floats, match_detections
from ..metrics.temporal_iou import iou_counts
from ..span_candidates import shifted
from ..spans import SpanDecision, decode_spans, tune_spans

CLIP_SHARES = (1.0, 0.5, 0.25, 0.125, 0.0)  # of a clip's frames; 0: the best frame alone
SHIFTS: tuple[float, ...] = tuple(np.arange(-4.0, 12.25, 0.25).tolist())  # logits that all thresholds are raised by


class ActionDecision(NamedTuple):
    """When a label counts as found in a long recording, and how much of a trimmed clip speaks for it.

    Args:
        open_at, close_at, median_frames, min_seconds, merge_seconds: see pipelines.spans.SpanDecision.
        clip_share: a clip's score for the label is the mean probability of this share of its frames, the best ones;
            0: of the best frame alone.
        raised_logits: by so much both thresholds were raised from those of the highest F1, to keep to a rate of false
            alarms. Candidates, which are ranked and need no threshold, do not depend on it.
    """

    open_at: float = 0.5
    close_at: float = 0.5
    median_frames: int = 1
    min_seconds: float = 0.0
    merge_seconds: float = 0.0
    clip_share: float = 0.5
    raised_logits: float = 0.0

    @property
    def span(self) -> SpanDecision:
        """What concerns long recordings."""
        return SpanDecision(*self[:5])

    @property
    def ranking_span(self) -> SpanDecision:
        """The same as F1 had it, for candidates of long recordings."""
        return shifted(self.span, -self.raised_logits)


class Tuning(NamedTuple):
    """What the validation split decided, for the switch and for everything open."""

    decisions: dict[str, ActionDecision]
    dense_decisions: dict[str, ActionDecision]


def tuned_decisions(
    tracks: Sequence[Track],
    recordings: Sequence[Recording],
    labels: Sequence[str],
    *,
    least_iou: float,
    tolerance_seconds: float,
    false_alarms_per_hour: float,
) -> dict[str, ActionDecision]:
    """Thresholds, filter and lengths of each label, and the clip share with the most clips right.

    Each label's own are those of its highest F1. Then one shift, common to all thresholds, keeps to the false alarms
    per hour and label that are allowed: validation recordings are short, and hold too few to place each label's.
    Where there are only clips, each counts as a recording with one event from its start to its end, and nothing is
    shifted.
    """
    long, clips = long_rows(recordings), clip_rows(recordings, labels)
    decisions = dict.fromkeys(labels, ActionDecision())
    if long or clips:
        heard = [labelled_part(tracks[row], recordings[row]) for row in long or clips]
        truths = [true_events(recordings[row], labels) for row in long]
        if not long:
            truths = [[whole_clip(tracks[row], clip_label(recordings[row]))] for row in clips]
        counts = functools.partial(iou_counts, least_iou=least_iou)
        spans, shift = tune_spans(heard, truths, labels, counts=counts).decisions, 0.0
        if long:
            hours = sum(labelled_seconds(tracks[row], recordings[row]) for row in long) / 3600
            allowed = false_alarms_per_hour * hours * len(labels)
            shift = _best_shift(heard, truths, labels, spans, tolerance_seconds, allowed)
        raised = {label: shifted(span, shift) if shift else span for label, span in spans.items()}
        decisions = {label: ActionDecision(*raised[label], raised_logits=shift) for label in labels}
    if clips:
        sheets = {
            share: clip_sheet_of(tracks, recordings, labels, clips, [share] * len(labels)) for share in CLIP_SHARES
        }
        best = max(CLIP_SHARES, key=lambda share: mean_class_accuracy(sheets[share], np.ones(len(clips))))
        decisions = {label: each._replace(clip_share=best) for label, each in decisions.items()}
    return decisions


def _best_shift(
    tracks: Sequence[Track],
    truths: Sequence[Sequence[Event]],
    labels: Sequence[str],
    spans: dict[str, SpanDecision],
    tolerance_seconds: float,
    allowed: float,
) -> float:
    """The shift that finds most events with no more false alarms than allowed: 0 if it is one, else their middle."""
    hits_of: dict[float, int] = {}
    for shift in reversed(SHIFTS):
        moved = {label: shifted(span, shift) for label, span in spans.items()}
        num_false = num_hits = 0
        for track, truth in zip(tracks, truths, strict=True):
            found = decode_spans(track.held, track.grid, labels, decisions=moved, seconds=track.seconds)
            matching = match_detections(found, truth, tolerance_seconds=tolerance_seconds)
            num_false += int((matching.truth_of_detected < 0).sum())
            num_hits += int((matching.truth_of_detected >= 0).sum())
        if num_false > allowed * (1 + 1e-9):
            break
        hits_of[shift] = num_hits
    best = [shift for shift, num_hits in hits_of.items() if num_hits == max(hits_of.values())]
    if not best:
        return SHIFTS[-1]
    return 0.0 if 0.0 in best else best[len(best) // 2]


def clip_rows(recordings: Sequence[Recording], labels: Sequence[str]) -> list[int]:
    """Which recordings are trimmed clips of one of the labels."""
    return [row for row, each in enumerate(recordings) if _is_clip(each) and clip_label(each) in labels]


def long_rows(recordings: Sequence[Recording]) -> list[int]:
    """Which recordings are judged by the times of their actions; one without any action is, too."""
    return [row for row, each in enumerate(recordings) if not _is_clip(each) and (each.events or not each.clip_labels)]


def _is_clip(recording: Recording) -> bool:
    return recording.clip_labels is not None and len(recording.clip_labels) == 1


def clip_label(recording: Recording) -> str:
    assert recording.clip_labels
    return recording.clip_labels[0]


def pooled_scores(track: Track, shares: Sequence[float]) -> Floats:
    """(C,) mean probability of each label over this share of the frames, its best ones, at least one."""
    num_frames = track.grid.num_frames(track.seconds)
    scores = scores_at(track.held, track.grid, torch.arange(num_frames)).detach().double().sigmoid()
    ranked = scores.sort(dim=0, descending=True).values.numpy()
    means = [ranked[: max(1, math.ceil(share * num_frames - 1e-9)), c] for c, share in enumerate(shares)]
    return np.array([each.mean() if len(each) else 0.0 for each in means])


def whole_clip(track: Track, label: str) -> Event:
    """A whole recording as one event."""
    return Event(track.grid.origin_seconds, track.grid.origin_seconds + track.seconds, label)


def clip_shares(decisions: Mapping[str, ActionDecision], labels: Sequence[str]) -> list[float]:
    """The clip share of each label, in the order of the labels."""
    return [decisions[label].clip_share for label in labels]


def clip_sheet_of(
    tracks: Sequence[Track],
    recordings: Sequence[Recording],
    labels: Sequence[str],
    rows: Sequence[int],
    shares: Sequence[float],
) -> ClipSheet:
    """What the tracks of trimmed clips say of their one label; shares: per label."""
    return clip_sheet(
        [pooled_scores(tracks[row], shares) for row in rows],
        [clip_label(recordings[row]) for row in rows],
        labels,
        [str(recordings[row].source) for row in rows],
        [tracks[row].seconds for row in rows],
    )
