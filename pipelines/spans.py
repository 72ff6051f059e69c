"""Which thresholds and lengths find a label's events best: the search that validation recordings decide.

What a decision means, and how it is decoded, is in pipelines.span_decoding.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.ndimage import median_filter  # type: ignore[import-untyped]

from featurizers import Grid

from .events import Event
from .heads import Held
from .line import Track
from .metrics.matching import Floats
from .metrics.sheet import RecordingResult
from .metrics.sound import CountSheet, event_counts, f1_micro
from .span_decoding import (
    DEFAULT,
    SpanDecision,
    decode_spans,
    logits_of,
    long_spans,
    merged_spans,
    open_spans,
    probability_of,
    rule_of,
)

__all__ = ["DEFAULT", "SpanDecision", "TunedSpans", "decode_spans", "filtered_scores", "tune_spans"]

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


def _filtered_logits(held: Held, grid: Grid, column: int, num_frames: int, median_frames: int = 1) -> Floats:
    """Scores of one label on every frame, as (num_frames,) logits that went through the median filter."""
    curve = logits_of(held, grid, [column], torch.arange(num_frames))[:, 0]
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
        close_at = probability_of(point.level - point.drop)
        lengths = point.min_frames * self._hop, point.merge_frames * self._hop
        return SpanDecision(probability_of(point.level), close_at, point.median_frames, *lengths)

    def f1(self, point: _Point) -> float:
        """F1 of the whole validation split."""
        if point not in self._known:
            self._known[point] = self._f1(point)
        return self._known[point]

    def _f1(self, point: _Point) -> float:
        rule = rule_of(self.decision(point), self._tracks[0].grid, self._label)
        spans = merged_spans(open_spans(self._curve(point.median_frames), rule), rule.merge_frames)
        frames = long_spans(spans, rule.min_frames).frames
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
