"""Cheaper gradients for the switches of closed frames than the exact one."""

import torch
from torch import Tensor

from surnn.packing import frames_within
from surnn.types import Sampled, Switch


def sample_closed(
    switch: Switch, probability: float, *, lengths: Tensor | None = None, generator: torch.Generator | None = None
) -> Sampled:
    """Draw closed frames, each with the same probability, whose switches a backward pass is to give a gradient.

    Its expectation is the exact gradient; only these frames (and the open ones) need features.

    Args:
        switch: whose closed frames are drawn from.
        probability: in (0, 1].
        lengths: (B,) frames per stream; padding is never drawn. None: no padding.
        generator: of random numbers, on the device of the switch; None: torch's own.

    Raises:
        ValueError: if the probability is not in (0, 1].
    """
    if not 0 < probability <= 1:
        raise ValueError(f"probability={probability} must lie in (0, 1]; for no gradient detach the switch")
    frames = switch.frames
    drawn = torch.rand(frames.shape, generator=generator, device=frames.device) < probability
    drawn &= frames < 0.5
    if lengths is not None:
        drawn &= frames_within(lengths.to(frames.device), frames.shape[1])
    return Sampled(drawn, probability)


def confident(output: Tensor, frames: Tensor, lengths: Tensor | None) -> Tensor:
    """The output itself, whose gradient tells the switch of each frame: of the output at an open frame, or less of it.

    Args:
        output: (B, T, H), held over closed frames.
        frames: (B, T) frame switch, to which the gradient goes.
        lengths: (B,) frames per stream; padding gets no gradient. None: no padding.

    Source: confidence scores of H-Net, arXiv:2507.07955, section 2.2.2: output times p at open, 1 - p at closed frames.
    """
    confidence = torch.where(frames > 0.5, frames, -frames)
    if lengths is not None:
        within = frames_within(lengths.to(frames.device), frames.shape[1])
        confidence = torch.where(within, confidence, confidence.new_zeros(()))
    return output * (1 + confidence - confidence.detach())[..., None].to(output.dtype)
