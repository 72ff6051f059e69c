"""Events from held scores: peaks for words, one event per peak."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from featurizers import Grid

from .events import Event
from .heads import Held, scores_at

BLOCK_ROWS = 16_384  # so that a day takes no more memory than an hour


class Placement(NamedTuple):
    """Where an event lies relative to the end of its peak frame, and what its peak is worth: from the validation split.

    Args:
        onset_delay_seconds: the event begins so long before the end of the peak frame.
        offset_delay_seconds: the event ends so long before it.
        temperature, bias: its score is sigmoid(level / temperature + bias).
    """

    onset_delay_seconds: float = 0.6
    offset_delay_seconds: float = 0.15
    temperature: float = 1.0
    bias: float = 0.0


def is_peak(held: Held, grid: Grid, separation_frames: int) -> Tensor:
    """Bool (N, C): no frame within `separation_frames`, open or closed, scores higher (of equals, the first wins).

    Scores only fall between open frames, so every peak of the whole score curve lies on an open frame, and of the
    closed frames near it only the first can be higher than all open ones: it holds what was said before.
    """
    level, index = held.level, held.index
    if separation_frames == 0:
        return torch.ones_like(level, dtype=torch.bool)
    peak = scores_at(held, grid, index - separation_frames) < level
    for step in range(1, min(separation_frames, level.shape[0] - 1) + 1):
        near = (index[step:] - index[:-step] <= separation_frames)[:, None]
        peak[step:] &= ~(near & (level[:-step] >= level[step:]))
        peak[:-step] &= ~(near & (level[step:] > level[:-step]))
    return peak


class PeakDecoder:
    """The events of `decode_peaks`, while the recording goes on: each as soon as no later frame can change it.

    Args:
        grid, labels, thresholds, placements, separation_seconds: see `decode_peaks`.

    Attributes:
        delay_frames: a peak is sure when so many frames after its own have settled.
        delay_seconds: so long after its offset an event comes at the latest, counted in time that has settled.
    """

    def __init__(
        self,
        grid: Grid,
        labels: Sequence[str],
        *,
        thresholds: Mapping[str, float] | float,
        placements: Mapping[str, Placement] | None = None,
        separation_seconds: float = 0.5,
    ) -> None:
        self._grid, self._labels, self._placements = grid, labels, placements or {}
        self._limits = torch.tensor(
            [thresholds[label] if isinstance(thresholds, Mapping) else thresholds for label in labels],
            dtype=torch.float64,
        )
        self.delay_frames = round(separation_seconds / grid.hop_seconds)
        places = [self._placements.get(label, Placement()) for label in labels]
        self._temperatures = torch.tensor([place.temperature for place in places], dtype=torch.float64)
        self._biases = torch.tensor([place.bias for place in places], dtype=torch.float64)
        offset_delays = [place.offset_delay_seconds for place in places]
        self.delay_seconds = self.delay_frames * grid.hop_seconds + max(offset_delays)
        self._near: Held | None = None  # rows that have not been judged, and those before that can matter
        self._num_judged = 0  # rows of these that have been

    def add(self, held: Held, num_settled: int) -> list[Event]:
        """What more open frames settle; sorted by onset.

        Args:
            held: open frames that were answered since the last call.
            num_settled: all frames before this one are known, open or closed.
        """
        if self._near is not None and not held.index.numel() and self._num_judged == len(self._near.index):
            return []
        near = held if self._near is None else Held(*map(torch.cat, zip(self._near, held, strict=True)))
        num_sure = int(torch.searchsorted(near.index, num_settled - self.delay_frames))
        events = self._events(near, slice(self._num_judged, num_sure)) if num_sure > self._num_judged else []
        begin = max(0, num_sure - self.delay_frames)  # frames are rows or more apart: all that can matter lies within
        self._near, self._num_judged = Held(*(part[begin:] for part in near)), num_sure - begin
        return events

    def end(self, seconds: float) -> list[Event]:  # noqa: ARG002 (peaks lie on open frames)
        """What is left when the recording has ended after so many seconds; sorted by onset."""
        if self._near is None:
            return []
        return self._events(self._near, slice(self._num_judged, None))

    def _events(self, near: Held, rows: slice) -> list[Event]:
        level, index = near.level[rows], near.index[rows]
        probability = (level / self._temperatures.to(level.dtype) + self._biases.to(level.dtype)).sigmoid()
        is_wanted = probability >= self._limits.to(probability.dtype)
        if not is_wanted.any():
            return []
        is_wanted &= is_peak(near, self._grid, self.delay_frames)[rows]
        events = []
        for row, column in is_wanted.nonzero().tolist():
            label = self._labels[column]
            place = self._placements.get(label, Placement())
            end = self._grid.onset_seconds(int(index[row]) + 1)
            onset = max(self._grid.origin_seconds, end - place.onset_delay_seconds)
            offset = max(onset, end - place.offset_delay_seconds)
            events.append(Event(onset, offset, label, float(probability[row, column])))
        return sorted(events)


def decode_peaks(
    held: Held,
    grid: Grid,
    labels: Sequence[str],
    *,
    thresholds: Mapping[str, float] | float,
    placements: Mapping[str, Placement] | None = None,
    separation_seconds: float = 0.5,
    block_rows: int = BLOCK_ROWS,
) -> list[Event]:
    """One event per peak whose probability reaches its label's threshold, sorted by onset.

    Args:
        held: levels at the open frames.
        grid: the model's grid; its origin is the recording's start on the media clock.
        labels: C names.
        thresholds: probability in [0, 1] per label, or one for all.
        placements: where the event lies relative to its peak, per label.
        separation_seconds: of two peaks of one label nearer than this, the higher stands.
        block_rows: open frames that are looked at together; changes memory and nothing else.
    """
    decoder = PeakDecoder(
        grid, labels, thresholds=thresholds, placements=placements, separation_seconds=separation_seconds
    )
    events = []
    for first in range(0, len(held.index), block_rows):
        rows = Held(*(part[first : first + block_rows] for part in held))
        events += decoder.add(rows, int(rows.index[-1]) + 1)
    return sorted(events + decoder.end(math.inf))
