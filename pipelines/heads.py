"""Scores that hold by law: at each open frame a level and a decay, and a closed formula for the frames between.

Held is not "nothing": a frame that closes just after an onset would hold its high score for minutes. So the head gives,
at each open frame and per label, a level (in logits) and a decay (in logits per second); the score of a closed frame is

    level[i] - decay[i] * (seconds since open frame i)          i: the last open frame

and before the first open frame nothing has been heard: the score is 0 as a probability, minus infinity as a logit. No
call of any network is made for a closed frame, and the formula is exact in every mode.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from featurizers import Grid


class Held(NamedTuple):
    """What the head said at the N open frames of one recording, in time order.

    Args:
        level: (N, C) logits.
        decay: (N, C) logits per second, >= 0.
        index: (N,) int64 frames on the grid, strictly rising.
    """

    level: Tensor
    decay: Tensor
    index: Tensor  # type: ignore[assignment]  # shadows tuple.index, which nobody needs here


class Head(Protocol):
    """Level (N, C) in logits and decay (N, C) in logits per second, >= 0, from hidden rows (N, H); an nn.Module.

    The constructor takes hidden_size and num_labels first.
    """

    num_labels: int

    def __call__(self, hidden: Tensor) -> tuple[Tensor, Tensor]: ...


class LevelDecay(nn.Module):
    """Level and decay of C independent labels (events may overlap) from one hidden row per open frame.

    Args:
        hidden_size: H, given by the model.
        num_labels: C, given by the model.
        initial_level: logits at the start of training; events are rare, so scores begin low.
        initial_decay: logits per second at the start of training, above 0.

    Raises:
        ValueError: if initial_decay is not above 0.
    """

    def __init__(
        self, hidden_size: int, num_labels: int, *, initial_level: float = -4.0, initial_decay: float = 4.0
    ) -> None:
        super().__init__()
        if not initial_decay > 0:
            raise ValueError(f"initial_decay={initial_decay} must be above 0: scores only fall while nothing is heard")
        self.num_labels = num_labels
        self.level = nn.Linear(hidden_size, num_labels)
        self.decay = nn.Linear(hidden_size, num_labels)
        nn.init.constant_(self.level.bias, initial_level)
        softplus_inverted = initial_decay + math.log(-math.expm1(-initial_decay))
        nn.init.constant_(self.decay.bias, softplus_inverted)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Level and decay, each (..., C), from hidden (..., H)."""
        return self.level(hidden), nn.functional.softplus(self.decay(hidden))


def scores_at(held: Held, grid: Grid, frames: Tensor) -> Tensor:
    """Logits (M, C) at any frames (M,) int64, open or closed; minus infinity before the first open frame."""
    last = torch.searchsorted(held.index, frames, right=True) - 1
    if held.index.numel() == 0:
        return held.level.new_full((frames.numel(), held.level.shape[1]), -torch.inf)
    source = last.clamp_min(0)
    age_seconds = (frames - held.index[source]).to(held.level.dtype)[:, None] * grid.hop_seconds
    scores = held.level[source] - held.decay[source] * age_seconds
    return torch.where(last[:, None] >= 0, scores, -torch.inf)


def held_logits(level: Tensor, decay: Tensor, *, is_open: Tensor, hop_seconds: float) -> Tensor:
    """Logits (B, T, C) of every frame from level and decay given on every frame, of which only open ones count.

    Args:
        level: (B, T, C) logits; read at open frames.
        decay: (B, T, C) logits per second.
        is_open: (B, T) bool.
        hop_seconds: seconds per frame.

    The same law as `scores_at`, for batches in training. Frames before the first open one get -30 (finite, so that a
    loss on them has a value; as a probability it is below 1e-13).
    """
    steps = torch.arange(is_open.shape[1], device=is_open.device).expand_as(is_open)
    last = torch.where(is_open, steps, -1).cummax(dim=1).values
    source = last.clamp_min(0)[..., None].expand_as(level)
    age_seconds = (steps - last.clamp_min(0)).to(level.dtype)[..., None] * hop_seconds
    scores = level.gather(1, source) - decay.gather(1, source) * age_seconds
    return torch.where(last[..., None] >= 0, scores, -30.0)


def held_logits_stepwise(level: Tensor, decay: Tensor, *, frames: Tensor, hop_seconds: float) -> Tensor:
    """`held_logits`, frame by frame, with the straight-through gradient of the frame switch.

    The reference: (level, decay, age) = select(switch, (head's level, head's decay, 0), (previous ones, age + 1)). Its
    derivative by the switch is the difference of the two sides, and reaches every later frame that holds the choice.

    Args:
        level: (B, T, C) logits.
        decay: (B, T, C) logits per second.
        frames: (B, T) in {0, 1}, carrying the switch's gradient.
        hop_seconds: seconds per frame.
    """
    held_level, held_decay = torch.full_like(level[:, 0], -30.0), torch.zeros_like(decay[:, 0])
    age = torch.zeros_like(frames[:, :1])
    scores = []
    for step in range(frames.shape[1]):
        is_open = frames[:, step, None]
        held_level = is_open * level[:, step] + (1 - is_open) * held_level
        held_decay = is_open * decay[:, step] + (1 - is_open) * held_decay
        age = (1 - is_open) * (age + 1)
        scores.append(held_level - held_decay * age * hop_seconds)
    return torch.stack(scores, dim=1)
