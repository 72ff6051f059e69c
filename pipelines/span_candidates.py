"""Stretches of a recording that may be events, down to low scores and ranked, for figures that need no threshold.

scores       __/^^^^\\_/^\\____     each label's decision, its threshold moved up and down
lenient      [-----------)         stretches of all of these decodings are candidates,
its own       [------) [-)         each scored by how far its scores stand out from those around it;
strict         [----)              of candidates that overlap much, the best one stays
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.special import expit, logit  # type: ignore[import-untyped]

from featurizers import Grid

from .events import Event
from .heads import Held, scores_at
from .metrics.matching import Floats, Ints
from .metrics.temporal_iou import temporal_ious
from .spans import SpanDecision, decode_spans

SHIFTS = (-6.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)  # logits from a decision's open_at to a candidate's
DROPS = (0.0, 1.0)  # logits from a candidate's open_at to its close_at
AROUND = 0.25  # of a candidate's length, on either side, is what its scores are compared with
MOST_IOU = 0.3  # candidates that overlap a better one by this much or more are left out
LARGEST_LOGIT = 30.0


def span_candidates(
    held: Held,
    grid: Grid,
    labels: Sequence[str],
    *,
    decisions: Mapping[str, SpanDecision],
    seconds: float,
    most_iou: float = MOST_IOU,
) -> list[Event]:
    """Candidates of one recording, sorted by onset.

    A candidate's score, in [0, 1], is the mean probability within it less the mean probability next to it (a quarter of
    its length on either side): so of nested candidates the one with the best limits ranks first.

    Args:
        held, grid, labels, decisions, seconds: as in `decode_spans`; filter and lengths are those of the decisions.
        most_iou: of two candidates of a label with a temporal IoU of so much or more, only the better one stays.

    Source: outer-inner contrast: Shou et al., AutoLoc, ECCV 2018; suppression of what overlaps a better one: Neubeck
    and Van Gool, Efficient Non-Maximum Suppression, ICPR 2006.
    """
    spans: set[tuple[float, float, str]] = set()
    for shift, drop in itertools.product(SHIFTS, DROPS):
        moved = {label: _moved(decisions[label], shift, drop) for label in labels}
        spans |= {event[:3] for event in decode_spans(held, grid, labels, decisions=moved, seconds=seconds)}
    probabilities = scores_at(held, grid, torch.arange(grid.num_frames(seconds))).double().sigmoid().numpy()
    totals = np.append(np.zeros((1, len(labels))), np.cumsum(probabilities, axis=0), axis=0)
    candidates = []
    for column, label in enumerate(labels):
        times = np.array(sorted(span[:2] for span in spans if span[2] == label), dtype=np.float64).reshape(-1, 2)
        # The last frame may be longer than what is left of the recording.
        frames = np.ceil((times - grid.origin_seconds) / grid.hop_seconds - 1e-6).astype(np.int64)
        scores = _contrasts(totals[:, column], frames)
        for row in _best_rows(frames, scores, most_iou):
            onset, offset = times[row].tolist()
            candidates.append(Event(onset, offset, label, float(scores[row])))
    return sorted(candidates)


def shifted(decision: SpanDecision, shift: float) -> SpanDecision:
    """The decision with both thresholds raised by so many logits."""
    levels = [float(np.clip(logit(level), -LARGEST_LOGIT, LARGEST_LOGIT)) + shift for level in decision[:2]]
    return decision._replace(open_at=float(expit(levels[0])), close_at=float(expit(levels[1])))


def _moved(decision: SpanDecision, shift: float, drop: float) -> SpanDecision:
    open_at = float(np.clip(logit(decision.open_at), -LARGEST_LOGIT, LARGEST_LOGIT)) + shift
    return decision._replace(open_at=float(expit(open_at)), close_at=float(expit(open_at - drop)))


def _contrasts(totals: Floats, frames: Ints) -> Floats:
    """(S,) mean within spans less mean next to them, at least 0, from running totals (T + 1,)."""
    first, end = frames[:, 0], frames[:, 1]
    beside = np.maximum(1, np.rint(AROUND * (end - first)).astype(np.int64))
    before, after = (first - beside).clip(0), (end + beside).clip(max=len(totals) - 1)
    inner, wide = totals[end] - totals[first], totals[after] - totals[before]
    num_outer = (after - before) - (end - first)
    outer = np.divide(wide - inner, num_outer, out=np.zeros(len(frames)), where=num_outer > 0)
    return np.asarray((inner / (end - first) - outer).clip(0.0, 1.0), dtype=np.float64)


def _best_rows(frames: Ints, scores: Floats, most_iou: float) -> list[int]:
    """Rows that no better-scored row overlaps too much; of equal scores the earlier row is better."""
    kept, left = [], np.argsort(-scores, kind="stable")
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        left = left[temporal_ious(np.broadcast_to(frames[best], (len(left), 2)), frames[left]) < most_iou]
    return kept
