"""The event gate: decisions that are learned from the glance, for frames and for neurons."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, pad

from surnn.budgets import check_budget
from surnn.gates.step import close_outside, hard_step, no_padding
from surnn.types import Switch


class EventGate(nn.Module):
    """Open where the glance shows an event: a small stack of dilated convolutions, learned.

    A neuron is open where the frame switch and its neuron switch both are. Decisions are taken in the precision of the
    weights, under autocast, too: rounding would flip some.

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
        with torch.autocast(glance.device.type, enabled=False):
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
            within = no_padding(glance, lengths)[..., None]
            normalised = torch.where(within, normalised, normalised.new_zeros(()))
        with torch.autocast(glance.device.type, enabled=False):
            logits, neuron_logits = self._decide(pad(normalised, (0, 0, self.lookback_frames, self.lookahead_frames)))
        logits = logits - self.threshold_shift
        frames = close_outside(hard_step(logits), among, lengths)
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
