"""Events with an onset and an offset from held scores: two thresholds, median filter, merged gaps, least length.

    score >= open_at      ###          #     ##         #      after the median filter
    score >= close_at   ########  ##   ####  ####       ##
    open to close         [-----)      [---) [---)      [-)
    gaps merged           [-----)      [---------)      [-)    a gap of merge_seconds or less is no gap
    least length          [-----)      [---------)             what lasts less than min_seconds is left out

A closed frame's score is a closed formula (pipelines.heads), so any frame can be asked at any time: frames are worked
through in blocks, and a block in which no score comes up to its threshold is passed over after a look at its open
frames. Every size of block gives the same events, and so do blocks that come while the recording goes on (SpanDecoder).
"""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import median_filter  # type: ignore[import-untyped]
from torch import Tensor

from featurizers import Grid

from .events import Event
from .heads import Held, scores_at
from .metrics.matching import Floats, Ints


class SpanDecision(NamedTuple):
    """When a label counts as found, from its score alone; plain numbers, as a model keeps them.

    Args:
        open_at: an event begins with the first frame whose score, a probability in [0, 1], reaches this.
        close_at: it ends before the first frame whose score is below this; at most open_at.
        median_frames: odd width of the median filter that scores go through first; 1: none.
        min_seconds: events shorter than this are left out, after merging.
        merge_seconds: events no farther apart than this are one.
    """

    open_at: float = 0.5
    close_at: float = 0.5
    median_frames: int = 1
    min_seconds: float = 0.0
    merge_seconds: float = 0.0


DEFAULT = SpanDecision()


class Rule(NamedTuple):
    """A decision in the units of the work: logits and frames."""

    open_at: float
    close_at: float
    median_frames: int
    min_frames: int
    merge_frames: int


class Spans(NamedTuple):
    """S stretches of frames in time order: first and end (S, 2), half-open, and the highest logit (S,) in each."""

    frames: Ints
    peaks: Floats


def rule_of(decision: SpanDecision, grid: Grid, label: str = "") -> Rule:
    """The decision on this grid; lengths count in whole frames.

    Raises:
        ValueError: if a number of the decision makes no sense.
    """
    open_at, close_at, median_frames, min_seconds, merge_seconds = decision
    if not 0 <= close_at <= open_at <= 1:
        raise ValueError(f"{label}: close_at={close_at}, open_at={open_at}: the rule is 0 <= close_at <= open_at <= 1")
    if median_frames < 1 or median_frames % 2 != 1:
        raise ValueError(f"{label}: median_frames={median_frames} must be odd, so that a frame is in the middle")
    if not (0 <= min_seconds < math.inf and 0 <= merge_seconds < math.inf):
        raise ValueError(f"{label}: min_seconds={min_seconds}, merge_seconds={merge_seconds}: both must be 0 or more")
    return Rule(
        _logit(open_at),
        _logit(close_at),
        int(median_frames),
        math.ceil(min_seconds / grid.hop_seconds - 1e-6),  # a whole number of frames, but for rounding, is that number
        math.floor(merge_seconds / grid.hop_seconds + 1e-6),
    )


def decode_spans(
    held: Held,
    grid: Grid,
    labels: Sequence[str],
    *,
    decisions: Mapping[str, SpanDecision] | SpanDecision,
    seconds: float,
    block_frames: int = 8192,
) -> list[Event]:
    """Events of one recording, sorted by onset; an event's score is the highest filtered score within it.

    So an event whose score is below a higher `open_at` would not be found with that one. At both ends of the recording
    the median filter sees the scores mirrored (d c b a | a b c d | d c b a). Before the first open frame nothing has
    been heard, and nothing begins, even at open_at=0.

    Args:
        held: levels at the open frames.
        grid: the model's grid; its origin is the recording's start on the media clock.
        labels: C names.
        decisions: per label, or one for all.
        seconds: duration of the recording: its last score holds to its end, where the last event ends at the latest.
        block_frames: frames worked through at once, which bounds the memory.

    Raises:
        ValueError: if a decision makes no sense, or an open frame lies beyond the recording.
    """
    decoder = SpanDecoder(grid, labels, decisions=decisions, block_frames=block_frames)
    return decoder.add(held, 0) + decoder.end(seconds)


class SpanDecoder:
    """The events of `decode_spans`, while the recording goes on: each as soon as no later frame can change it.

    Args:
        grid, labels, decisions, block_frames: see `decode_spans`.

    Attributes:
        delay_seconds: so long after its offset an event comes at the latest, counted in time that has settled: half the
            median filter, and the gap that would be merged.

    Raises:
        ValueError: if a decision makes no sense.
    """

    def __init__(
        self,
        grid: Grid,
        labels: Sequence[str],
        *,
        decisions: Mapping[str, SpanDecision] | SpanDecision,
        block_frames: int = 8192,
    ) -> None:
        rules = [rule_of(decisions[n] if isinstance(decisions, Mapping) else decisions, grid, n) for n in labels]
        self._grid, self._labels, self._block_frames = grid, labels, block_frames
        self._filters = [
            _Filter(width, {column: _Trace(rule) for column, rule in enumerate(rules) if rule.median_frames == width})
            for width in sorted({rule.median_frames for rule in rules})
        ]
        longest = max(rule.median_frames // 2 + rule.merge_frames + 1 for rule in rules)
        self.delay_seconds = longest * grid.hop_seconds
        self._held: Held | None = None  # open frames that can still matter

    def add(self, held: Held, num_settled: int) -> list[Event]:
        """What more open frames settle; sorted by onset.

        Args:
            held: open frames that were answered since the last call.
            num_settled: all frames before this one are known, open or closed.
        """
        if self._held is not None and not held.index.numel():
            held = self._held
        elif self._held is not None:
            held = Held(*map(torch.cat, zip(self._held, held, strict=True)))
        for each in self._filters:
            self._see(held, each, num_settled - each.half, num_settled)
        first_needed = min(each.num_seen - each.half for each in self._filters)
        self._held = rows_of(held, first_needed, sys.maxsize)
        return self._taken(math.inf)

    def end(self, seconds: float) -> list[Event]:
        """What is left when the recording has ended after so many seconds; sorted by onset.

        Raises:
            ValueError: if an open frame lies beyond the recording.
        """
        num_frames = self._grid.num_frames(seconds)
        if self._held is None or not self._held.index.numel():
            return []
        last = int(self._held.index[-1])
        if last >= num_frames:
            raise ValueError(f"frame {last} is open, but seconds={seconds} hold {num_frames} frames only")
        for each in self._filters:
            self._see(self._held, each, num_frames, num_frames)
            for trace in each.traces.values():
                trace.end()
        return self._taken(seconds)

    def _see(self, held: Held, each: "_Filter", until: int, num_frames: int) -> None:
        """Go on to the frame `until`; of the recording num_frames are known."""
        half, first_open = each.half, int(held.index[0]) if held.index.numel() else num_frames
        if len(held.index) == 1 and first_open == each.too_low:
            until, each.num_seen = each.num_seen, max(each.num_seen, until)
            for trace in each.traces.values():
                trace.settle(each.num_seen)
        each.num_seen = max(each.num_seen, min(until, first_open - half))  # nothing begins before it
        for begin in range(each.num_seen, until, self._block_frames):
            end = min(begin + self._block_frames, until)
            near = rows_of(held, max(0, begin - half), min(num_frames, end + half))
            reach = scores_at(near, self._grid, near.index.clamp_min(begin - half))  # between open frames scores fall
            highest = reach.double().amax(dim=0).tolist() if len(reach) else [-math.inf] * len(self._labels)
            busy = [c for c, trace in each.traces.items() if trace.is_open or highest[c] >= trace.rule.open_at]
            if not busy and len(near.index) == 1:
                each.too_low = int(near.index[0])
            if busy:
                frames = _mirrored(torch.arange(begin - half, end + half), num_frames)
                logits = logits_of(near, self._grid, busy, frames)
                for place, column in enumerate(busy):
                    curve = logits[:, place]
                    if half:
                        curve = median_filter(curve, each.width)[half : half + end - begin]
                    each.traces[column].see(curve, begin)
            for trace in each.traces.values():
                trace.settle(end)
            each.num_seen = end

    def _taken(self, seconds: float) -> list[Event]:
        return sorted(
            event
            for each in self._filters
            for column, trace in each.traces.items()
            for event in _events_of(trace.take(), self._grid, self._labels[column], seconds)
        )


class _Trace:
    """The spans of one label, block by block; the last one may still grow, or be merged with the next."""

    def __init__(self, rule: Rule) -> None:
        self.rule, self.is_open = rule, False
        self._done: list[Spans] = []
        self._last = NO_SPANS

    def see(self, logits: Floats, begin: int) -> None:
        """Go over the frames from `begin` on; frames that were left out since the last call were all closed."""
        frames, peaks = open_spans(logits, self.rule, is_open=self.is_open)
        self.is_open = len(frames) > 0 and int(frames[-1, 1]) == len(logits)  # no closing edge lies there
        both = Spans(np.concatenate([self._last.frames, frames + begin]), np.concatenate([self._last.peaks, peaks]))
        merged = merged_spans(both, self.rule.merge_frames)  # what a block's edge has cut is 0 frames apart
        self._done.append(Spans(merged.frames[:-1], merged.peaks[:-1]))
        self._last = Spans(merged.frames[-1:], merged.peaks[-1:])

    def settle(self, num_seen: int) -> None:
        """All frames before `num_seen` were seen: what lies so far back that nothing can be merged with it is done."""
        if len(self._last.frames) and num_seen - int(self._last.frames[0, 1]) > self.rule.merge_frames:
            self.end()

    def end(self) -> None:
        """Nothing can be merged with the last span any more."""
        self._done.append(self._last)
        self._last = NO_SPANS

    def take(self) -> Spans:
        """The spans that are done, each once."""
        parts, self._done = self._done, []
        if not parts:
            return NO_SPANS
        spans = Spans(np.concatenate([p.frames for p in parts]), np.concatenate([p.peaks for p in parts]))
        return long_spans(spans, self.rule.min_frames)


class _Filter:
    """The labels that share a median filter, and how far they were seen.

    too_low: an open frame whose held scores reach no threshold, as long as no other frame opens; they only fall.
    """

    def __init__(self, width: int, traces: dict[int, _Trace]) -> None:
        self.width, self.half, self.traces = width, width // 2, traces
        self.num_seen, self.too_low = 0, -1


def _events_of(spans: Spans, grid: Grid, label: str, seconds: float) -> list[Event]:
    """Spans on the media clock; the last frame may be longer than what is left of the recording."""
    last = grid.origin_seconds + seconds
    return [
        Event(grid.onset_seconds(first), min(grid.onset_seconds(end), last), label, probability_of(peak))
        for (first, end), peak in zip(spans.frames.tolist(), spans.peaks.tolist(), strict=True)
    ]


def open_spans(logits: Floats, rule: Rule, *, is_open: bool = False) -> Spans:
    """Stretches that open at a logit of open_at or more and close below close_at.

    Args:
        logits: (T,).
        rule: what opens and closes.
        is_open: whether a stretch is open when the first frame comes.
    """
    telling = np.flatnonzero((logits >= rule.open_at) | (logits < rule.close_at))
    states = np.concatenate([[is_open], logits[telling] >= rule.open_at])
    edges = [0] * is_open + telling[states[1:] != states[:-1]].tolist()
    frames = np.array(edges + [len(logits)] * (len(edges) % 2), dtype=np.int64).reshape(-1, 2)
    if not len(frames):
        return NO_SPANS
    return Spans(frames, np.maximum.reduceat(np.append(logits, -math.inf), frames.ravel())[::2])


def merged_spans(spans: Spans, merge_frames: int) -> Spans:
    """Spans of which none is merge_frames or less from the next."""
    frames, peaks = spans
    if len(frames) < 2:
        return spans
    is_new = np.append(True, frames[1:, 0] - frames[:-1, 1] > merge_frames)
    is_last = np.append(is_new[1:], True)
    joined = np.stack([frames[is_new, 0], frames[is_last, 1]], axis=1)
    return Spans(joined, np.maximum.reduceat(peaks, np.flatnonzero(is_new)))


def long_spans(spans: Spans, min_frames: int) -> Spans:
    """Spans of so many frames or more."""
    is_long = spans.frames[:, 1] - spans.frames[:, 0] >= min_frames
    return Spans(spans.frames[is_long], spans.peaks[is_long])


NO_SPANS = Spans(np.zeros((0, 2), dtype=np.int64), np.zeros(0))


def rows_of(held: Held, first: int, end: int) -> Held:
    """What the scores of frames [first, end) depend on: open frames among them, and the last one before."""
    begin, stop = torch.searchsorted(held.index, torch.tensor([first + 1, end])).tolist()
    rows = slice(max(0, begin - 1), stop)
    return Held(held.level[rows], held.decay[rows], held.index[rows])


def logits_of(held: Held, grid: Grid, columns: list[int], frames: Tensor) -> Floats:
    chosen = Held(held.level[:, columns], held.decay[:, columns], held.index)
    logits: Floats = scores_at(chosen, grid, frames).detach().double().numpy()
    return logits


def _mirrored(frames: Tensor, num_frames: int) -> Tensor:
    """Frames beyond the ends of a recording as the frames in it that they mirror."""
    place = frames % (2 * num_frames)
    return torch.where(place < num_frames, place, 2 * num_frames - 1 - place)


def _logit(probability: float) -> float:
    if probability == 0:
        return -sys.float_info.max  # above the minus infinity of what has not been heard
    return math.inf if probability == 1 else math.log(probability) - math.log1p(-probability)


def probability_of(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > 0 else math.exp(logit) / (1 + math.exp(logit))
