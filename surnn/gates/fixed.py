"""Gates that learn nothing: decisions are functions of the frame's index alone, so streams cut anywhere agree."""

from collections.abc import Sequence

import torch
from torch import Tensor

from surnn.gates.step import close_outside
from surnn.types import Switch


class Open:
    """Everything is open: the dense model.

    Args:
        glance_size: numbers per glance frame.
    """

    lookahead_frames = 0
    lookback_frames = 0

    def __init__(self, glance_size: int) -> None:
        self.glance_size = glance_size

    def switch(
        self,
        glance: Tensor,
        first_frame: int = 0,  # noqa: ARG002
        among: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
    ) -> Switch:
        """Open on all frames of `among`; see Gate."""
        return Switch(close_outside(glance.new_ones(glance.shape[:2]), among, lengths))


class RandomGate:
    """Open on frames drawn at random, at a rate: the baseline that a learned gate must beat.

    Whether a frame is open depends on seed and frame index alone: streams cut anywhere, in any order, agree.

    Args:
        glance_size: numbers per glance frame.
        rate: share of frames that are open, in [0, 1].
        seed: another seed, another draw.
    """

    lookahead_frames = 0
    lookback_frames = 0

    def __init__(self, glance_size: int, *, rate: float, seed: int = 0) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"rate={rate} must lie in [0, 1]; it is the share of frames that are open")
        self.glance_size = glance_size
        self.rate = rate
        self.seed = seed

    def switch(
        self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> Switch:
        """Open on this seed's frames, the same ones in every stream; see Gate."""
        key = _mixed_bits(torch.tensor(self.seed, device=glance.device))
        uniform = _shifted(_mixed_bits(key + frames_of(glance, first_frame) * _GOLDEN), 11)  # of [0, 2**53)
        return _in_every_stream(uniform < round(self.rate * (1 << 53)), glance, among, lengths)


class Stride:
    """Open on every n-th frame of the recording.

    Args:
        glance_size: numbers per glance frame.
        every: n; one frame in n is open.
        offset: index of the first open frame, in [0, every).
    """

    lookahead_frames = 0
    lookback_frames = 0

    def __init__(self, glance_size: int, *, every: int, offset: int = 0) -> None:
        if every < 1 or not 0 <= offset < every:
            raise ValueError(f"every={every}, offset={offset}; the rule is every >= 1 and 0 <= offset < every")
        self.glance_size = glance_size
        self.every = every
        self.offset = offset

    def switch(
        self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> Switch:
        """Open where frame index % every == offset; see Gate."""
        is_open = frames_of(glance, first_frame) % self.every == self.offset
        return _in_every_stream(is_open, glance, among, lengths)


class Clockwork:
    """Groups of neurons that tick at periods of their own: a neuron is open where frame index % its period is 0.

    Neurons are split into as many groups as there are periods, in order and as evenly as their number allows. A frame
    on which no group ticks is closed. This is the paper's clock alone: its recurrent weights, which lead from slow
    groups to fast ones only, are no matter of a gate.

    Args:
        glance_size: numbers per glance frame.
        num_neurons: H, neurons of the recurrent layer.
        periods: in frames, one per group.

    Source: Koutnik et al. 2014, arXiv:1402.3511 (there, too, the periods are powers of two).
    """

    lookahead_frames = 0
    lookback_frames = 0

    def __init__(self, glance_size: int, *, num_neurons: int, periods: Sequence[int] = (1, 2, 4, 8, 16, 32)) -> None:
        if not periods or min(periods) < 1 or num_neurons < len(periods):
            raise ValueError(
                f"num_neurons={num_neurons}, periods={tuple(periods)}; the rule is one period or more, each at "
                f"least 1, and a neuron or more for each; give fewer periods"
            )
        self.glance_size = glance_size
        self.num_neurons = num_neurons
        self.periods = tuple(periods)

    def switch(
        self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> Switch:
        """Open where a group ticks, with the neurons of that group; see Gate."""
        periods = torch.tensor(self.periods, device=glance.device)
        group = torch.arange(self.num_neurons, device=glance.device) * len(self.periods) // self.num_neurons
        ticks = frames_of(glance, first_frame)[:, None] % periods == 0  # (T, groups)
        neurons = ticks[:, group].to(glance.dtype).expand(glance.shape[0], -1, -1)
        return _in_every_stream(ticks.any(dim=1), glance, among, lengths)._replace(neurons=neurons)


def frames_of(glance: Tensor, first_frame: int) -> Tensor:
    """(T,) int64, the grid's index of each frame of a glance (B, T, F)."""
    return torch.arange(first_frame, first_frame + glance.shape[1], device=glance.device)


_GOLDEN = -7046029254386353131  # 2**64 / golden ratio, as int64


def _mixed_bits(counter: Tensor) -> Tensor:
    # splitmix64 (Steele, Lea and Flood 2014): a counter to 64 well-mixed bits. int64 products wrap, as they should; the
    # arithmetic shift to the right must not bring the sign along.
    bits = counter + _GOLDEN
    bits = (bits ^ _shifted(bits, 30)) * -4658895280553007687
    bits = (bits ^ _shifted(bits, 27)) * -7723592293110705685
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    return (bits >> places) & ((1 << 64 - places) - 1)


def _in_every_stream(is_open: Tensor, glance: Tensor, among: Tensor | None, lengths: Tensor | None) -> Switch:
    """(T,) decisions that all streams share, as (B, T) numbers of the glance's type."""
    frames = is_open.to(glance.dtype).expand(glance.shape[:2])
    return Switch(close_outside(frames, among, lengths))
