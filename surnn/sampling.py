"""Some of the closed frames, drawn at random, to learn from."""

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
