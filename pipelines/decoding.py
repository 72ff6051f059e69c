"""Events from held scores: peaks for words, one event per peak."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from featurizers import Grid

from .events import Event
from .heads import Held, scores_at

BLOCK_ROWS = 16_384  # so that a day takes no more memory than an hour


class Placement(NamedTuple):
    """Where an event lies relative to the end of its peak frame, learned on the validation split.

    Args:
        onset_delay_seconds: the event begins so long before the end of the peak frame.
        offset_delay_seconds: the event ends so long before it.
    """

    onset_delay_seconds: float = 0.6
    offset_delay_seconds: float = 0.15


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
    limits = torch.tensor(
        [thresholds[label] if isinstance(thresholds, Mapping) else thresholds for label in labels],
        dtype=held.level.dtype,
    )
    separation_frames = round(separation_seconds / grid.hop_seconds)
    events = []
    for first in range(0, len(held.index), block_rows):
        begin = max(0, first - separation_frames)  # frames are rows or more apart: all that can matter lies within
        near = Held(*(part[begin : first + block_rows + separation_frames] for part in held))
        block = slice(first - begin, first - begin + block_rows)
        probability, index = near.level[block].sigmoid(), near.index[block]
        wanted = is_peak(near, grid, separation_frames)[block] & (probability >= limits)
        for row, column in wanted.nonzero().tolist():
            label = labels[column]
            place = (placements or {}).get(label, Placement())
            end = grid.onset_seconds(int(index[row]) + 1)
            onset = max(grid.origin_seconds, end - place.onset_delay_seconds)
            offset = max(onset, end - place.offset_delay_seconds)
            events.append(Event(onset, offset, label, float(probability[row, column])))
    return sorted(events)
