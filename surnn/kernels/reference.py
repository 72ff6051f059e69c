"""The specification: a plain loop over all frames, every gradient exact."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from surnn.cells import GRUWeights, gru_step
from surnn.packing import frames_within
from surnn.types import ScanResult, Switch


class _Select(torch.autograd.Function):
    """where(is_open, candidate, held), with the gradients of held + is_open * (candidate - held).

    The arithmetic form itself would round, and 0 * inf is NaN.
    """

    @staticmethod
    def forward(ctx: Any, is_open: Tensor, candidate: Tensor, held: Tensor) -> Tensor:
        ctx.save_for_backward(is_open, candidate, held)
        return torch.where(is_open > 0.5, candidate, held)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        is_open, candidate, held = ctx.saved_tensors
        (grad,) = grads
        zero = grad.new_zeros(())
        takes = is_open > 0.5
        return grad * (candidate - held), torch.where(takes, grad, zero), torch.where(takes, zero, grad)


def select(is_open: Tensor, candidate: Tensor, held: Tensor) -> Tensor:
    """The candidate where open, else what was held, to the last bit; straight-through gradient to the switch.

    Args:
        is_open: (B, H) in {0, 1}; its gradient is candidate - held.
        candidate: (B, H).
        held: (B, H).

    Returns:
        (B, H).
    """
    return cast(Tensor, _Select.apply(is_open, candidate, held))  # type: ignore[no-untyped-call]


def scan(
    frames: Tensor,
    state: Tensor,
    weights: Sequence[GRUWeights],
    switch: Switch | None = None,
    lengths: Tensor | None = None,
) -> ScanResult:
    """A gated GRU of several layers over every frame; all layers share the switch.

    h[t] = select(frame switch * neuron switch, gru_step(x[t], h[t-1]), h[t-1]), layer by layer.

    Args:
        frames: (B, T, F).
        state: (num_layers, B, H) before the first frame.
        weights: one per layer.
        switch: None: everything open. Gradients reach `frames` and `neurons` of it.
        lengths: (B,) frames per stream; padding after them holds. None: no padding.

    Returns:
        Dense output (B, T, H), of the last layer.

    Source: arXiv:2603.02226 for the select; two grains of switch are this project's.
    """
    # B streams, T frames, H neurons
    num_frames = frames.shape[1]
    is_open = _is_open(frames, state, switch, lengths)  # (B, T, H)
    held = list(state)
    outputs = []
    for t in range(num_frames):
        below = frames[:, t]
        for layer, layer_weights in enumerate(weights):
            candidate = gru_step(below, held[layer], layer_weights)
            held[layer] = below = select(is_open[:, t], candidate, held[layer])
        outputs.append(below)
    output = torch.stack(outputs, dim=1) if outputs else state[-1][:, None][:, :0]
    return ScanResult(output, torch.stack(held), switch)


def _is_open(frames: Tensor, state: Tensor, switch: Switch | None, lengths: Tensor | None) -> Tensor:
    """(B, T, H): frame switch * neuron switch, padding closed."""
    batch, num_frames = frames.shape[:2]
    is_open = state.new_ones(batch, num_frames, 1)
    if switch is not None:
        is_open = switch.frames.to(state.dtype)[..., None]
        if switch.neurons is not None:
            is_open = is_open * switch.neurons
    if lengths is not None:
        within = frames_within(lengths.to(frames.device), num_frames)[..., None]
        is_open = torch.where(within, is_open, is_open.new_zeros(()))
    return is_open.expand(batch, num_frames, state.shape[-1])
