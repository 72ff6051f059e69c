"""Gates: which frames, and which neurons, are open.

Every gate takes `glance_size` first; the rest are options by name. None of them looks at the recurrent state, so all
decisions of a stretch are known before the recurrence runs.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, pad

from surnn.budgets import check_budget
from surnn.packing import frames_within
from surnn.types import Switch


class _HardStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        return (logits > 0).to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        probability = torch.sigmoid(logits)
        return 2 * probability * (1 - probability) * grads[0]


def hard_step(logits: Tensor) -> Tensor:
    """1 where the logit is above 0, else 0; backward as if it were 2 * sigmoid(logit) (straight-through, no noise)."""
    return cast(Tensor, _HardStep.apply(logits))  # type: ignore[no-untyped-call]


class Open:
    """Everything is open: the dense model."""

    lookahead_frames = 0
    lookback_frames = 0

    def __init__(self, glance_size: int) -> None:
        self.glance_size = glance_size

    def switch(self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None) -> Switch:  # noqa: ARG002
        """Open on all frames of `among`; see Gate."""
        return Switch(_as_frames(glance.new_ones(glance.shape[1], dtype=torch.bool), glance, among))


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

    def switch(self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None) -> Switch:
        """Open on this seed's frames, the same ones in every stream; see Gate."""
        frame = torch.arange(first_frame, first_frame + glance.shape[1], device=glance.device)
        key = _mixed_bits(torch.tensor(self.seed, device=glance.device))
        uniform = _shifted(_mixed_bits(key + frame * _GOLDEN), 11)  # of [0, 2**53)
        return Switch(_as_frames(uniform < round(self.rate * (1 << 53)), glance, among))


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

    def switch(self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None) -> Switch:
        """Open where frame index % every == offset; see Gate."""
        frame = torch.arange(first_frame, first_frame + glance.shape[1], device=glance.device)
        return Switch(_as_frames(frame % self.every == self.offset, glance, among))


class EventGate(nn.Module):
    """Open where the glance shows an event: a small stack of dilated convolutions, learned.

    Args:
        glance_size: F, numbers per glance frame.
        frame_budget: share of frames to be open, for `frame_and_neuron_losses`.
        channels: width of the hidden layers.
        dilations: one width-3 convolution each; the gate sees their sum of frames on either side (default: 15 in all).
        level_frames: the glance's mean over so many frames on either side is taken off, so that quiet and loud
            recordings look alike (they do in a glance of logarithms); None: it is looked at as it is.
        num_neurons: H, to decide for each neuron, too; None: for whole frames only.
        neuron_budget: share of neurons to be open on an open frame, for `frame_and_neuron_losses`.
        initial_logit: bias of the decisions; above 0, training starts from an open gate.

    Attributes:
        threshold_shift: frames open where logit > threshold_shift; above 0 opens fewer.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        glance_size: int,
        *,
        frame_budget: float = 0.10,
        channels: int = 48,
        dilations: Sequence[int] = (1, 2, 4),
        level_frames: int | None = None,
        num_neurons: int | None = None,
        neuron_budget: float = 0.5,
        initial_logit: float = 0.5,
    ) -> None:
        super().__init__()
        check_budget("frame_budget", frame_budget)
        check_budget("neuron_budget", neuron_budget)
        sizes = {
            "glance_size": glance_size,
            "channels": channels,
            "num_neurons": 1 if num_neurons is None else num_neurons,
            "level_frames": 1 if level_frames is None else level_frames,
        }
        sizes |= {f"dilations[{place}]": dilation for place, dilation in enumerate(dilations)}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.glance_size = glance_size
        self.frame_budget = frame_budget
        self.neuron_budget = neuron_budget
        self.num_neurons = num_neurons
        self.dilations = tuple(dilations)
        self.level_frames = level_frames
        self.lookback_frames = self.lookahead_frames = sum(dilations) + (level_frames or 0)
        self.threshold_shift = 0.0

        self.register_buffer("mean", torch.zeros(glance_size))
        self.register_buffer("scale", torch.ones(glance_size))
        self.entry = nn.Linear(glance_size, channels)
        self.convolutions = nn.ModuleList(nn.Linear(3 * channels, channels) for _ in dilations)
        self.decision = nn.Linear(channels, 1 + (num_neurons or 0))
        nn.init.constant_(self.decision.bias, initial_logit)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix the normalisation of the glance, from the training corpus.

        Args:
            mean: (F,).
            std: (F,), above 0.

        Raises:
            ValueError: if a shape is not (F,), a mean is not finite, or a std is not above 0.
        """
        for name, values in (("mean", mean), ("std", std)):
            if values.shape != (self.glance_size,):
                raise ValueError(f"{name} has shape {tuple(values.shape)}; the rule is ({self.glance_size},)")
        if not bool(torch.isfinite(mean).all()) or not bool((torch.isfinite(std) & (std > 0)).all()):
            raise ValueError(
                f"mean={mean.tolist()}, std={std.tolist()}; the rule is finite numbers, std above 0; where a number of "
                f"the glance never changes, give std 1"
            )
        self.mean.copy_(mean)
        self.scale.copy_(std)

    def logits(self, glance: Tensor, *, pad_left: int = 0, pad_right: int = 0) -> tuple[Tensor, Tensor | None]:
        """Decisions before the threshold, for the frames whose whole context is given.

        Only the ends of a recording are padded, once, with zeros after normalisation. So blocks with true context give
        what one pass gives, to rounding.

        Args:
            glance: (B, T, F), T frames with context.
            pad_left: lookback_frames at the start of a recording, else 0.
            pad_right: lookahead_frames at the end of a recording, else 0.

        Returns:
            Frame logits (B, T'), neuron logits (B, T', H) or None; T' = T + padding - lookback - lookahead.

        Raises:
            ValueError: if the glance has another size, or is shorter than the context.
        """
        self._check_glance(glance)
        return self._decide(pad((glance - self.mean) / self.scale, (0, 0, pad_left, pad_right)))

    def switch(
        self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> Switch:
        """Decide for whole recordings (for blocks of one: `logits`); see Gate.

        Args:
            glance: (B, T, F).
            first_frame: without effect, the decision depends on the glance alone.
            among: (B, T) bool; other frames stay closed.
            lengths: (B,) frames per recording; what follows is seen as the end, and stays closed. None: T.

        Returns:
            frames and neurons carry the straight-through gradient; logits have threshold_shift taken off.
        """
        del first_frame
        self._check_glance(glance)
        normalised = (glance - self.mean) / self.scale
        if lengths is not None:
            within = frames_within(lengths.to(glance.device), glance.shape[1])
            normalised = torch.where(within[..., None], normalised, normalised.new_zeros(()))
            among = within if among is None else among & within
        logits, neuron_logits = self._decide(pad(normalised, (0, 0, self.lookback_frames, self.lookahead_frames)))
        logits = logits - self.threshold_shift
        frames = hard_step(logits)
        if among is not None:
            frames = torch.where(among, frames, frames.new_zeros(()))
        neurons = None if neuron_logits is None else hard_step(neuron_logits)
        return Switch(frames, neurons, logits, neuron_logits)

    def _check_glance(self, glance: Tensor) -> None:
        if glance.dim() != 3 or glance.shape[2] != self.glance_size:
            raise ValueError(
                f"glance has shape {tuple(glance.shape)}; the rule is (streams, frames, glance_size={self.glance_size})"
            )

    def _decide(self, normalised: Tensor) -> tuple[Tensor, Tensor | None]:
        num_decided = normalised.shape[1] - self.lookback_frames - self.lookahead_frames
        if num_decided < 0:
            raise ValueError(
                f"{normalised.shape[1]} frames are fewer than the context of {self.lookback_frames} before and "
                f"{self.lookahead_frames} after; give more frames, or pad the ends of the recording"
            )
        if self.level_frames is not None:
            width = 2 * self.level_frames + 1
            level = avg_pool1d(normalised.mean(-1, keepdim=True).transpose(1, 2), width, stride=1).transpose(1, 2)
            normalised = normalised[:, self.level_frames : normalised.shape[1] - self.level_frames] - level
        hidden = self.entry(normalised).relu()
        for dilation, convolution in zip(self.dilations, self.convolutions, strict=True):
            # A width-3 convolution as one product over three shifted views: faster than conv1d on short stretches.
            n = hidden.shape[1] - 2 * dilation
            taps = (hidden[:, :n], hidden[:, dilation : dilation + n], hidden[:, 2 * dilation :])
            hidden = convolution(torch.cat(taps, dim=-1)).relu()
        decision = self.decision(hidden)
        return decision[..., 0], None if self.num_neurons is None else decision[..., 1:]


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


def _as_frames(is_open: Tensor, glance: Tensor, among: Tensor | None) -> Tensor:
    """(T,) decisions that all streams share, as (B, T) numbers of the glance's type."""
    frames = is_open.expand(glance.shape[:2])
    return (frames if among is None else frames & among).to(glance.dtype)
