"""Events with an onset and an offset from held scores: two thresholds, median filter, merged gaps, least length.

    score >= open_at      ###          #     ##         #      after the median filter
    score >= close_at   ########  ##   ####  ####       ##
    open to close         [-----)      [---) [---)      [-)
    gaps merged           [-----)      [---------)      [-)    a gap of merge_seconds or less is no gap
    least length          [-----)      [---------)             what lasts less than min_seconds is left out

A closed frame's score is a closed formula (pipelines.heads), so any frame can be asked at any time: frames are worked
through in blocks, and a block in which no score comes up to its threshold is passed over after a look at its open
frames. Every size of block gives the same events.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.ndimage import median_filter  # type: ignore[import-untyped]
from torch import Tensor

from featurizers import Grid

from .events import Event
from .heads import Held, scores_at
from .line import Track
from .metrics.matching import Floats, Ints
from .metrics.sheet import RecordingResult
from .metrics.sound import CountSheet, event_counts, f1_micro

# What `tune_spans` tries. Lengths are shares of the label's median length, so that notes of 0.1 s and engines of 10 s
# are served alike; scores are quantiles of those within true events, which no miscalibration can leave.
QUANTILES = np.linspace(0.01, 0.99, 13)
DROPS = (0.0, 0.5, 1.0, 2.0, 4.0)  # logits from open_at down to close_at
MEDIAN_SHARES = MERGE_SHARES = (0.0, 0.125, 0.25, 0.5, 1.0)
MIN_SHARES = (0.0, 0.125, 0.25, 0.5, 0.75)
FINE_STEPS = 9
MAX_ROUNDS = 4
MOST_PER_EVENT = 50  # a threshold with more detections than that per true event is not looked at
LARGEST_LOGIT = 30.0  # a probability this near to 1 still has a logit


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


class _Rule(NamedTuple):
    """A decision in the units of the work: logits and frames."""

    open_at: float
    close_at: float
    median_frames: int
    min_frames: int
    merge_frames: int


class _Spans(NamedTuple):
    """S stretches of frames in time order: first and end (S, 2), half-open, and the highest logit (S,) in each."""

    frames: Ints
    peaks: Floats


def _rule_of(decision: SpanDecision, grid: Grid, label: str = "") -> _Rule:
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
    return _Rule(
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
    num_frames = grid.num_frames(seconds)
    rules = [_rule_of(decisions[n] if isinstance(decisions, Mapping) else decisions, grid, n) for n in labels]
    if not held.index.numel():
        return []
    if int(held.index[-1]) >= num_frames:
        raise ValueError(f"frame {int(held.index[-1])} is open, but seconds={seconds} hold {num_frames} frames only")
    events = []
    for width in sorted({rule.median_frames for rule in rules}):
        half = width // 2
        traces = {column: _Trace(rule) for column, rule in enumerate(rules) if rule.median_frames == width}
        for begin in range(max(0, int(held.index[0]) - half), num_frames, block_frames):
            end = min(begin + block_frames, num_frames)
            near = _rows(held, max(0, begin - half), min(num_frames, end + half))
            reach = scores_at(near, grid, near.index.clamp_min(begin - half))  # between open frames scores only fall
            highest = reach.double().amax(dim=0).tolist() if len(reach) else [-math.inf] * len(labels)
            busy = [c for c, trace in traces.items() if trace.is_open or highest[c] >= trace.rule.open_at]
            if not busy:
                continue
            logits = _logits(near, grid, busy, _mirrored(torch.arange(begin - half, end + half), num_frames))
            for place, column in enumerate(busy):
                curve = median_filter(logits[:, place], width)[half : half + end - begin] if half else logits[:, place]
                traces[column].see(curve, begin)
        for column, trace in traces.items():
            events += _events_of(trace.end(), grid, labels[column], seconds)
    return sorted(events)


def _events_of(spans: _Spans, grid: Grid, label: str, seconds: float) -> list[Event]:
    """Spans on the media clock; the last frame may be longer than what is left of the recording."""
    last = grid.origin_seconds + seconds
    return [
        Event(grid.onset_seconds(first), min(grid.onset_seconds(end), last), label, _probability(peak))
        for (first, end), peak in zip(spans.frames.tolist(), spans.peaks.tolist(), strict=True)
    ]


def _filtered_logits(held: Held, grid: Grid, column: int, num_frames: int, median_frames: int = 1) -> Floats:
    """Scores of one label on every frame, as (num_frames,) logits that went through the median filter."""
    curve = _logits(held, grid, [column], torch.arange(num_frames))[:, 0]
    return np.asarray(median_filter(curve, median_frames, mode="reflect"))


def filtered_scores(
    held: Held, grid: Grid, labels: Sequence[str], decisions: Mapping[str, SpanDecision], num_frames: int
) -> Floats:
    """Logits (T, C) of every frame as `decode_spans` sees them: through the median filter of each label's decision."""
    curves = [
        _filtered_logits(held, grid, column, num_frames, decisions[label].median_frames)
        for column, label in enumerate(labels)
    ]
    return np.stack(curves, axis=1)


def _open_spans(logits: Floats, rule: _Rule, *, is_open: bool = False) -> _Spans:
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
        return _NO_SPANS
    return _Spans(frames, np.maximum.reduceat(np.append(logits, -math.inf), frames.ravel())[::2])


def _merged_spans(spans: _Spans, merge_frames: int) -> _Spans:
    """Spans of which none is merge_frames or less from the next."""
    frames, peaks = spans
    if len(frames) < 2:
        return spans
    is_new = np.append(True, frames[1:, 0] - frames[:-1, 1] > merge_frames)
    is_last = np.append(is_new[1:], True)
    joined = np.stack([frames[is_new, 0], frames[is_last, 1]], axis=1)
    return _Spans(joined, np.maximum.reduceat(peaks, np.flatnonzero(is_new)))


def _long_spans(spans: _Spans, min_frames: int) -> _Spans:
    """Spans of so many frames or more."""
    is_long = spans.frames[:, 1] - spans.frames[:, 0] >= min_frames
    return _Spans(spans.frames[is_long], spans.peaks[is_long])


_NO_SPANS = _Spans(np.zeros((0, 2), dtype=np.int64), np.zeros(0))


class _Trace:
    """The spans of one label, block by block; the last one may still grow, or be merged with the next."""

    def __init__(self, rule: _Rule) -> None:
        self.rule, self.is_open = rule, False
        self._done: list[_Spans] = []
        self._last = _NO_SPANS

    def see(self, logits: Floats, begin: int) -> None:
        """Go over the frames from `begin` on; frames that were left out since the last call were all closed."""
        frames, peaks = _open_spans(logits, self.rule, is_open=self.is_open)
        self.is_open = len(frames) > 0 and int(frames[-1, 1]) == len(logits)  # no closing edge lies there
        both = _Spans(np.concatenate([self._last.frames, frames + begin]), np.concatenate([self._last.peaks, peaks]))
        merged = _merged_spans(both, self.rule.merge_frames)  # what a block's edge has cut is 0 frames apart
        self._done.append(_long_spans(_Spans(merged.frames[:-1], merged.peaks[:-1]), self.rule.min_frames))
        self._last = _Spans(merged.frames[-1:], merged.peaks[-1:])

    def end(self) -> _Spans:
        """All spans, when the recording has ended."""
        parts = [*self._done, _long_spans(self._last, self.rule.min_frames)]
        return _Spans(np.concatenate([p.frames for p in parts]), np.concatenate([p.peaks for p in parts]))


def _rows(held: Held, first: int, end: int) -> Held:
    """What the scores of frames [first, end) depend on: open frames among them, and the last one before."""
    begin, stop = torch.searchsorted(held.index, torch.tensor([first + 1, end])).tolist()
    rows = slice(max(0, begin - 1), stop)
    return Held(held.level[rows], held.decay[rows], held.index[rows])


def _logits(held: Held, grid: Grid, columns: list[int], frames: Tensor) -> Floats:
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


def _probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > 0 else math.exp(logit) / (1 + math.exp(logit))


class TunedSpans(NamedTuple):
    """What the validation recordings decided.

    Args:
        decisions: per label.
        f1: per label, on the recordings it was tuned on; NaN where the fallback stands.
    """

    decisions: dict[str, SpanDecision]
    f1: dict[str, float]


def tune_spans(
    tracks: Sequence[Track],
    truths: Sequence[Sequence[Event]],
    labels: Sequence[str],
    *,
    counts: Callable[[Sequence[RecordingResult], Sequence[str]], CountSheet] = event_counts,
    fallback: SpanDecision = DEFAULT,
) -> TunedSpans:
    """Per label, the decision with the highest F1 found on validation recordings; the same recordings, the same ones.

    First every median filter with every threshold of a coarse scale; then one number after the other, as long as that
    helps; then the threshold on a finer scale. Of thresholds that do equally well the middle one is taken, of lengths
    the shortest. Each label is tuned by itself, so it is the mean F1 over labels that is made large.

    Args:
        tracks: what the line said of each recording, all on one grid but for its origin.
        truths: true events of each recording; those of labels that are not listed are left out.
        labels: C names, in the order of the scores.
        counts: what F1 is made of; functools.partial(event_counts, collar_seconds=0.02) for short notes.
        fallback: for a label without a true event, and for one of whose events none can be found.

    Raises:
        ValueError: if there is no recording, or tracks and truths differ in number.
    """
    if not tracks or len(tracks) != len(truths):
        raise ValueError(f"{len(tracks)} tracks and {len(truths)} lists of true events; give one of each per recording")
    decisions: dict[str, SpanDecision] = {}
    f1: dict[str, float] = {}
    for column, label in enumerate(labels):
        found = _Search(tracks, truths, label, column, counts).best()
        decisions[label], f1[label] = found or (fallback, math.nan)
    return TunedSpans(decisions, f1)


class _Point(NamedTuple):
    """One place of the search: threshold and its drop for closing in logits, lengths in frames."""

    level: float
    drop: float = 0.0
    median_frames: int = 1
    merge_frames: int = 0
    min_frames: int = 0


class _Search:
    """One label in all validation recordings, laid on one axis so that F1 takes a single count.

    frames    |recording 0|---|recording 1|---|...     frames that were not heard between them, more than are merged
    seconds   |recording 0|......|recording 1|.....    a whole number of minutes from one to the next
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        truths: Sequence[Sequence[Event]],
        label: str,
        column: int,
        counts: Callable[[Sequence[RecordingResult], Sequence[str]], CountSheet],
    ) -> None:
        self._tracks, self._label, self._column, self._counts = tracks, label, column, counts
        self._hop = tracks[0].grid.hop_seconds
        self._origins = np.array([track.grid.origin_seconds for track in tracks])
        self._ends = self._origins + [track.seconds for track in tracks]
        self._begins = np.cumsum([0.0, *(60.0 * np.ceil(self._ends / 60.0 + 1))])
        self._truth = [
            e._replace(onset_seconds=e.onset_seconds + begin, offset_seconds=e.offset_seconds + begin)
            for begin, truth in zip(self._begins[:-1].tolist(), truths, strict=True)
            for e in truth
            if e.label == label
        ]
        lengths = [e.offset_seconds - e.onset_seconds for e in self._truth]
        self._usual = float(np.median(lengths)) / self._hop if lengths else 0.0  # frames
        self._gap = math.ceil(max(MERGE_SHARES) * self._usual) + 2
        self._num_frames = [track.grid.num_frames(track.seconds) for track in tracks]
        self._firsts = np.cumsum([0, *(n + self._gap for n in self._num_frames)])
        self._curves: dict[int, Floats] = {}
        self._known: dict[_Point, float] = {}

    def best(self) -> tuple[SpanDecision, float] | None:
        """The best decision and its F1; None if no event can be found."""
        levels = self._levels()
        if not levels:
            return None
        medians = _frames(MEDIAN_SHARES, self._usual)
        scales: dict[str, Sequence[Any]] = {
            "drop": DROPS,
            "merge_frames": _frames(MERGE_SHARES, self._usual),
            "min_frames": _frames(MIN_SHARES, self._usual),
            "level": levels,
            "median_frames": sorted({n // 2 * 2 + 1 for n in medians}),
        }
        best = _Point(levels[len(levels) // 2])
        for width in scales["median_frames"]:
            best = max(best, self._tried(best._replace(median_frames=width), "level", levels), key=self.f1)
        for _ in range(MAX_ROUNDS):
            before = self.f1(best)
            for name, values in scales.items():
                best = self._tried(best, name, values)
            if self.f1(best) <= before:
                break
        lower = max((level for level in levels if level < best.level), default=best.level)
        upper = min((level for level in levels if level > best.level), default=best.level)
        best = self._tried(best, "level", sorted({*np.linspace(lower, upper, FINE_STEPS).tolist(), best.level}))
        return (self.decision(best), self.f1(best)) if self.f1(best) > 0 else None

    def decision(self, point: _Point) -> SpanDecision:
        """The point in the units of a decision."""
        close_at = _probability(point.level - point.drop)
        lengths = point.min_frames * self._hop, point.merge_frames * self._hop
        return SpanDecision(_probability(point.level), close_at, point.median_frames, *lengths)

    def f1(self, point: _Point) -> float:
        """F1 of the whole validation split."""
        if point not in self._known:
            self._known[point] = self._f1(point)
        return self._known[point]

    def _f1(self, point: _Point) -> float:
        rule = _rule_of(self.decision(point), self._tracks[0].grid, self._label)
        spans = _merged_spans(_open_spans(self._curve(point.median_frames), rule), rule.merge_frames)
        frames = _long_spans(spans, rule.min_frames).frames
        if len(frames) > MOST_PER_EVENT * len(self._truth):
            return 0.0
        owner = np.searchsorted(self._firsts, frames[:, 0], side="right") - 1
        times = self._origins[owner, None] + (frames - self._firsts[owner, None]) * self._hop
        times = np.minimum(times, self._ends[owner, None]) + self._begins[owner, None]
        detected = [Event(onset, offset, self._label) for onset, offset in times.tolist()]
        whole = RecordingResult(detected, self._truth, float(self._begins[-1]), "", "validation")
        return f1_micro(self._counts([whole], [self._label]), np.ones(1))

    def _tried(self, point: _Point, name: str, values: Sequence[Any]) -> _Point:
        """The best of this point with one number replaced; the point itself if nothing is better."""
        options = [point._replace(**{name: value}) for value in values]
        highest = max(map(self.f1, [point, *options]))
        equals = [option for option in options if self.f1(option) == highest]
        if name == "level" and equals:
            return equals[len(equals) // 2]
        return point if self.f1(point) == highest else equals[0]

    def _curve(self, median_frames: int) -> Floats:
        if median_frames not in self._curves:
            between = np.full(self._gap, -math.inf)
            parts = []
            for track, num_frames in zip(self._tracks, self._num_frames, strict=True):
                parts += [_filtered_logits(track.held, track.grid, self._column, num_frames, median_frames), between]
            self._curves[median_frames] = np.concatenate(parts)
        return self._curves[median_frames]

    def _levels(self) -> list[float]:
        """Thresholds to try: quantiles of the scores within true events."""
        curve, parts = self._curve(1), [np.zeros(0)]
        for event in self._truth:
            owner = int(np.searchsorted(self._begins, event.onset_seconds, side="right")) - 1
            zero = self._begins[owner] + self._origins[owner]
            begin = max(0, math.floor((event.onset_seconds - zero) / self._hop + 1e-6))
            end = min(self._num_frames[owner], math.ceil((event.offset_seconds - zero) / self._hop - 1e-6))
            parts.append(curve[self._firsts[owner] + begin : self._firsts[owner] + end])
        heard = np.concatenate(parts)
        heard = heard[np.isfinite(heard)].clip(-LARGEST_LOGIT, LARGEST_LOGIT)
        return sorted(set(np.quantile(heard, QUANTILES).tolist())) if len(heard) else []


def _frames(shares: Sequence[float], usual: float) -> list[int]:
    """Whole frames, each once, rising."""
    return sorted({round(share * usual) for share in shares})
