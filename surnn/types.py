"""The values that travel through surnn: switches, packed frames, results."""

from typing import NamedTuple, Protocol

from torch import Tensor


class Switch(NamedTuple):
    """Decisions of a gate, known before the recurrence runs.

    Args:
        frames: (B, T) in {0, 1}; 1: the frame is open. Carries the straight-through gradient while training.
        neurons: (B, T, H) in {0, 1}, in effect on open frames only; None: every neuron follows its frame.
        logits: (B, T) what was thresholded at 0; None where nothing was learned (open, random, stride).
        neuron_logits: (B, T, H) or None.
        is_soft: frames and neurons lie in [0, 1] and mix states instead of selecting them; for ablations only.
    """

    frames: Tensor
    neurons: Tensor | None = None
    logits: Tensor | None = None
    neuron_logits: Tensor | None = None
    is_soft: bool = False


class Gate(Protocol):
    """Decides which frames (and which neurons) are open. Never looks at the recurrent state.

    A gate that looks ahead and is to serve streams of different lengths has one more argument, by name: `lengths`, (B,)
    frames per stream, after which comes padding; it decides as if each stream ended there. Layers close padding
    whatever a gate says, so a gate that looks ahead by no frame can do without.

    lookahead_frames: how many frames after t the decision at t depends on (0: causal).
    lookback_frames: how many before.
    """

    lookahead_frames: int
    lookback_frames: int

    def switch(self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None) -> Switch:
        """Decide for T consecutive frames of B streams.

        Args:
            glance: (B, T, F).
            first_frame: index on the grid of glance[:, 0], for gates that depend on absolute time.
            among: (B, T) bool; frames that an earlier, cheaper glance left open. Others stay closed.
        """
        ...


class Packed(NamedTuple):
    """The open frames of B streams, one after the other: closed frames never exist.

    Args:
        data: (N, F) open frames, stream by stream, in time order.
        index: (N,) int64, the frame each row stands for.
        lengths: (B,) int64 rows per stream; their sum is N.
    """

    data: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    lengths: Tensor


class Sampled(NamedTuple):
    """The closed frames whose candidates a backward pass computes, drawn at random: see `sample_closed`.

    Args:
        frames: (B, T) bool.
        probability: with which each closed frame was drawn.
    """

    frames: Tensor
    probability: float
