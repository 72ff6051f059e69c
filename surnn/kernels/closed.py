"""What closed frames would have changed: the straight-through gradient of their switches, without their steps.

In the dense loop the switch of a closed frame has the gradient <adjoint of the state after it, candidate - held>. The
state is constant through a closed stretch, so all candidates of it are one matrix product; the adjoint is that of the
state which enters the next open frame, plus the gradients of the outputs held from here to the end of the stretch:

    frames      k   .   .   .   k+1         held output of each closed frame: that of k
    adjoint         d1  d2  d3  E           E: of the state that enters k+1
                    d1+d2+d3+E, d2+d3+E, d3+E
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from surnn.cells import Cell, State, Weights

BLOCK_FRAMES = 256  # closed frames of each stream whose candidates exist at one time


class Inputs(NamedTuple):
    """What a layer would have read at each frame: for each piece of it a row of a table.

    Args:
        tables: (rows, F_i) each; their rows, side by side, are the input.
        places: (B, T) the row of each table.
        mask: (B, sum of F_i) that multiplies the input; None: nothing.
    """

    tables: tuple[Tensor, ...]
    places: tuple[Tensor, ...]
    mask: Tensor | None

    def at(self, stream: Tensor, frame: Tensor) -> Tensor:
        rows = torch.cat(
            [table[place[stream, frame]] for table, place in zip(self.tables, self.places, strict=True)], -1
        )
        return rows if self.mask is None else rows * self.mask[stream]


class Closed(NamedTuple):
    """The closed frames that one layer and direction is to give a gradient.

    Args:
        frames: (B, T) bool: these.
        weight: of each in the gradient; 1 unless only a share of them was drawn.
        place: (B, T) what each frame holds, in a table of the B states before and then the N rows.
        inputs: what the layer would have read.
        neurons: (B, T, H) neuron switch; None: every neuron follows its frame.
        is_backward: the direction is from right to left.
    """

    frames: Tensor
    weight: float
    place: Tensor
    inputs: Inputs
    neurons: Tensor | None
    is_backward: bool

    def tensors(self) -> tuple[Tensor | None, ...]:
        """All tensors in it, for autograd to keep: then it notices if one of them is changed in place."""
        return self.frames, self.place, self.neurons, self.inputs.mask, *self.inputs.tables, *self.inputs.places

    @staticmethod
    def of_tensors(tensors: Sequence[Any], weight: float, is_backward: bool) -> "Closed":
        """What gave these tensors."""
        frames, place, neurons, mask, *pairs = tensors
        half = len(pairs) // 2
        inputs = Inputs(tuple(pairs[:half]), tuple(pairs[half:]), mask)
        return Closed(frames, weight, place, inputs, neurons, is_backward)


def closed_gradient(
    closed: Closed, cell: Cell, weights: Weights, held: State, entering: State, by_output: Tensor | None
) -> Tensor:
    """(B, T) gradient of the frame switch; zero for frames that are not asked for.

    Args:
        closed: which frames.
        cell, weights: of the layer and direction.
        held: tables (B + N, H) of states.
        entering: tables (B + N, H), the gradient of each such state where it enters the next row or is the last.
        by_output: (B, T, H) gradient of the held output; None: nobody used it.
    """
    num_frames = closed.frames.shape[1]
    gradient = torch.zeros(closed.frames.shape, dtype=held[0].dtype, device=held[0].device)
    projected = linear(held[0], weights.weight_hh, weights.bias_hh)
    beyond = None  # sums at the first frame of the block that follows in the order of the direction
    for far in range(num_frames, 0, -BLOCK_FRAMES):
        near = max(0, far - BLOCK_FRAMES)
        span = slice(num_frames - far, num_frames - near) if closed.is_backward else slice(near, far)
        sums = None
        if by_output is not None:
            sums = _sums_to_come(by_output, closed, span, beyond)
            beyond = sums[:, -1 if closed.is_backward else 0]
        stream, frame = closed.frames[:, span].nonzero(as_tuple=True)
        if not len(stream):
            continue
        absolute = frame + span.start
        place = closed.place[stream, absolute]
        state = tuple(part[place] for part in held)
        read = linear(closed.inputs.at(stream, absolute), weights.weight_ih, weights.bias_ih)
        total = gradient.new_zeros(len(stream))
        news = cell.step(read, projected[place], state)
        for number, (new, old, adjoint) in enumerate(zip(news, state, entering, strict=True)):
            by_state = adjoint[place]
            if number == 0 and sums is not None:
                by_state = by_state + sums[stream, frame]
            change = new - old
            if closed.neurons is not None:
                change = torch.where(closed.neurons[stream, absolute] > 0.5, change, change.new_zeros(()))
            total = total + (by_state * change).sum(-1)
        gradient[stream, absolute] = total * closed.weight
    return gradient


def _sums_to_come(by_output: Tensor, closed: Closed, span: slice, beyond: Tensor | None) -> Tensor:
    """(B, t, H): for each frame of a block the sum of `by_output` over it and what follows and holds the same row."""
    # As many rounds as the block's length has binary digits; `joins`: all within reach so far hold the same row.
    sums, place = by_output[:, span], closed.place[:, span]
    if closed.is_backward:
        sums, place = sums.flip(1), place.flip(1)
    joins = place[:, :-1] == place[:, 1:]
    if beyond is None:
        joins = pad(joins, (0, 1))
    else:
        neighbour = closed.place[:, span.start - 1 if closed.is_backward else span.stop]
        joins = pad(torch.cat((joins, (place[:, -1] == neighbour)[:, None]), dim=1), (0, 1))
        sums = torch.cat((sums, beyond[:, None]), dim=1)
    reach = 1
    while reach < sums.shape[1]:
        reached = torch.where(joins[:, :-reach, None], sums[:, reach:], sums.new_zeros(()))
        sums = sums + pad(reached, (0, 0, 0, reach))
        joins = pad(joins[:, :-reach] & joins[:, reach:], (0, reach))
        reach *= 2
    sums = sums[:, : place.shape[1]]
    return sums.flip(1) if closed.is_backward else sums
