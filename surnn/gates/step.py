"""The hard step with its straight-through gradient, and the closing of frames that are not to be decided."""

import inspect
from typing import Any, cast

import torch
from torch import Tensor

from surnn.packing import frames_within
from surnn.types import Gate, Switch


class _HardStep(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor) -> Tensor:
        return (logits > 0).to(logits.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        probability = torch.sigmoid(logits)
        return 2 * probability * (1 - probability) * grads[0]


def hard_step(logits: Tensor) -> Tensor:
    """1 where the logit is above 0, else 0; backward as if it were 2 * sigmoid(logit) (straight-through, no noise).

    Args:
        logits: any shape, floating.

    Returns:
        The same shape and type, values in {0, 1}.
    """
    return cast(Tensor, _HardStep.apply(logits))  # type: ignore[no-untyped-call]


def close_outside(frames: Tensor, among: Tensor | None, lengths: Tensor | None) -> Tensor:
    """Decisions as they are where a frame may open, 0 elsewhere; no gradient there.

    Args:
        frames: (B, T) decisions.
        among: (B, T) bool, frames that may open. None: all.
        lengths: (B,) frames per stream; padding after them stays closed. None: no padding.

    Raises:
        ValueError: if a shape does not fit.
    """
    if among is not None and among.shape != frames.shape:
        raise ValueError(f"among has shape {tuple(among.shape)}; the rule is one per frame, {tuple(frames.shape)}")
    if lengths is not None:
        within = no_padding(frames, lengths)
        among = within if among is None else among & within
    return frames if among is None else torch.where(among, frames, frames.new_zeros(()))


def no_padding(values: Tensor, lengths: Tensor) -> Tensor:
    """(B, T) bool: false on the padding of values (B, T, ...), on their device.

    Raises:
        ValueError: if lengths is not (B,).
    """
    if lengths.shape != values.shape[:1]:
        raise ValueError(f"lengths has shape {tuple(lengths.shape)}; the rule is one per stream, ({values.shape[0]},)")
    return frames_within(lengths.to(values.device), values.shape[1])


def decide(gate: Gate, glance: Tensor, first_frame: int, among: Tensor | None, lengths: Tensor | None) -> Switch:
    """What any gate decides where streams may have padding; arguments as in Gate.

    A gate whose `switch` has no argument `lengths` takes padding for frames. That cannot matter to one that looks at no
    later frame: the caller closes the padding. Any other would decide a stream's last frames by what is no part of it.

    Raises:
        ValueError: if there are lengths, and such a gate looks ahead.
    """
    if lengths is None:
        return gate.switch(glance, first_frame, among)
    if "lengths" in inspect.signature(gate.switch).parameters:
        options: Any = {"lengths": lengths}
        return gate.switch(glance, first_frame, among, **options)
    if gate.lookahead_frames > 0:
        name = type(gate).__name__
        raise ValueError(
            f"{name} looks {gate.lookahead_frames} frames ahead and would see padding; give {name}.switch an argument "
            f"`lengths` (surnn.Gate says how), or run streams of equal length"
        )
    return gate.switch(glance, first_frame, among)
