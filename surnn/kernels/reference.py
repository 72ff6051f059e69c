"""The specification: a plain loop over all frames, every gradient exact."""

from typing import Any, cast

import torch
from torch import Tensor

from surnn.cells import Cell, State, Weights, candidate
from surnn.layout import Restart
from surnn.network import Network
from surnn.packing import frames_within
from surnn.types import Switch


class _Select(torch.autograd.Function):
    """where(is_open, candidate, held), with the gradients of held + is_open * (candidate - held).

    The arithmetic form itself would round, and 0 * inf is NaN.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(is_open: Tensor, candidate: Tensor, held: Tensor) -> Tensor:
        return torch.where(is_open > 0.5, candidate, held)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)

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


def mix(is_open: Tensor, candidate: Tensor, held: Tensor) -> Tensor:
    """What a soft switch does instead: held + is_open * (candidate - held)."""
    return held + is_open * (candidate - held)


def scan(
    frames: Tensor, state: State, network: Network, switch: Switch | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, State]:
    """A gated recurrent network over every frame.

    h[t] = select(frame switch * neuron switch, step(x[t], h[t-1]), h[t-1]), layer by layer; an LSTM's c likewise.

    Args:
        frames: (B, T, F).
        state: tensors (L * D, B, H) before the first frame; index L * D counts directions of the first layer first.
        network: the weights.
        switch: None: everything open. Gradients reach `frames` and `neurons` of it; neurons are (B, T, D * H).
        lengths: (B,) frames per stream; padding after them holds. None: no padding.

    Returns:
        Dense output (B, T, D * H) of the last layer, and the state after the last frame.

    Source: arXiv:2603.02226 for the select; two grains of switch are this project's.
    """
    num_directions, num_neurons = network.num_directions, state[0].shape[-1]
    is_open = _is_open(frames, switch, lengths)
    # A backward direction forgets, at the last open frame of a segment, what lies to the right.
    forgets = _ends_of_segments(is_open[..., 0] > 0.5, network.restart)
    if switch is not None and switch.neurons is not None:
        is_open = is_open * switch.neurons.to(frames.dtype)
    is_open = is_open.expand(*frames.shape[:2], num_directions * num_neurons)
    choose = mix if switch is not None and switch.is_soft else select
    output, finals = frames, []
    for layer, directions in enumerate(network.layers):
        mask = network.masks[layer]
        below = output if mask is None else output * mask[:, None]
        sides = []
        for direction, weights in enumerate(directions):
            own = is_open[..., direction * num_neurons : (direction + 1) * num_neurons]
            before = tuple(part[layer * num_directions + direction] for part in state)
            if direction == 0:
                side, final = _loop(network.cell, below, before, weights, own, None, choose)
            else:
                flipped = below.flip(1), before, weights, own.flip(1), forgets.flip(1), choose
                side, final = _loop(network.cell, *flipped)
                side = side.flip(1)
            sides.append(side)
            finals.append(final)
        above = torch.cat(sides, dim=-1)
        output = above + output if network.residual and layer > 0 else above
    return output, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))


def _loop(
    cell: Cell, frames: Tensor, state: State, weights: Weights, is_open: Tensor, forgets: Tensor | None, choose: Any
) -> tuple[Tensor, State]:
    outputs = []
    for t in range(frames.shape[1]):
        if forgets is not None:
            state = tuple(torch.where(forgets[:, t, None], part.new_zeros(()), part) for part in state)
        new = candidate(cell, frames[:, t], state, weights)
        state = tuple(choose(is_open[:, t], *parts) for parts in zip(new, state, strict=True))
        outputs.append(state[0])
    return torch.stack(outputs, dim=1) if outputs else state[0][:, None][:, :0], state


def _is_open(frames: Tensor, switch: Switch | None, lengths: Tensor | None) -> Tensor:
    """(B, T, 1): the frame switch, padding closed."""
    batch, num_frames = frames.shape[:2]
    is_open = frames.new_ones(batch, num_frames) if switch is None else switch.frames.to(frames.dtype)
    if lengths is not None:
        within = frames_within(lengths.to(frames.device), num_frames)
        is_open = torch.where(within, is_open, is_open.new_zeros(()))
    return is_open[..., None]


def _ends_of_segments(is_open: Tensor, restart: Restart | None) -> Tensor:
    """(B, T) bool: the last open frame of every segment but a stream's last; see Restart."""
    ends = torch.zeros_like(is_open)
    if restart is None:
        return ends
    for stream, frames in enumerate(is_open.tolist()):
        last, size = None, 0  # the last open frame so far, and the number of open frames of its segment
        for t, frame_is_open in enumerate(frames):
            if not frame_is_open:
                continue
            if last is not None:
                is_far = restart.after_closed is not None and t - last - 1 >= restart.after_closed
                if is_far or size == restart.after_open:
                    ends[stream, last] = True
                    size = 0
            last, size = t, size + 1
    return ends
