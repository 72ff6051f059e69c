"""Recurrent cells: one step, its slopes, and torch's weight layout.

A cell sees a frame and the state only through their projections,

    projected frame = W_ih x + b_ih        projected state = W_hh h + b_hh        (rows, num_blocks * H each)

so that the former, and all of it backwards, is one matrix product over any number of frames outside the loop.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

State = tuple[Tensor, ...]


class Weights(NamedTuple):
    """Weights of one layer and direction, named and laid out as in torch.nn.RNN, GRU and LSTM.

    Args:
        weight_ih: (num_blocks * H, F).
        weight_hh: (num_blocks * H, H).
        bias_ih: (num_blocks * H,) or None.
        bias_hh: (num_blocks * H,) or None.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None


class Slopes(NamedTuple):
    """All that one backward step needs, elementwise, of rows that were stepped before.

    Args:
        state: (rows, num_blocks, H) derivatives by the projected state; what they multiply is up to the cell.
        frame: the same by the projected frame; None where equal.
        rest: further factors of the cell, (rows, H) each.
    """

    state: Tensor
    frame: Tensor | None
    rest: tuple[Tensor, ...]


class Cell(NamedTuple):
    """The equations of a recurrent cell; its state is `num_parts` tensors, the first of which is its output.

    Args:
        name: "rnn_tanh", "rnn_relu", "gru" or "lstm"; also that of torch's kernel.
        num_blocks: projections per neuron.
        num_parts: tensors in the state.
        step: projected frame, projected state and state to the candidate state.
        slopes: the same arguments to the slopes of the step.
        pull: gradients by the candidate (a tuple like the state) and slopes to gradients by the projected state, by the
            projected frame (None where equal), and by the state directly; rows of one step, or of all.
    """

    name: str
    num_blocks: int
    num_parts: int
    step: Callable[[Tensor, Tensor, State], State]
    slopes: Callable[[Tensor, Tensor, State], Slopes]
    pull: Callable[[State, Slopes], tuple[Tensor, Tensor | None, State]]


def candidate(cell: Cell, frame: Tensor, state: State, weights: Weights) -> State:
    """What the state would become if the cell took this frame.

    Args:
        cell: the equations.
        frame: (..., F).
        state: tensors (..., H).
        weights: of one layer and direction.
    """
    projected_frame = linear(frame, weights.weight_ih, weights.bias_ih)
    return cell.step(projected_frame, linear(state[0], weights.weight_hh, weights.bias_hh), state)


# In the equations: x projected frame, p projected state, h output, c cell state; a gradient by the candidate.


def _rnn_tanh_step(x: Tensor, p: Tensor, state: State) -> State:  # noqa: ARG001 (as all cells)
    return (torch.tanh(x + p),)


def _rnn_tanh_slopes(x: Tensor, p: Tensor, state: State) -> Slopes:  # noqa: ARG001
    return Slopes((1 - torch.tanh(x + p) ** 2)[:, None], None, ())


def _rnn_relu_step(x: Tensor, p: Tensor, state: State) -> State:  # noqa: ARG001
    return (torch.relu(x + p),)


def _rnn_relu_slopes(x: Tensor, p: Tensor, state: State) -> Slopes:  # noqa: ARG001
    return Slopes((x + p > 0).to(x.dtype)[:, None], None, ())


def _rnn_pull(grads: State, slopes: Slopes) -> tuple[Tensor, Tensor | None, State]:
    (a,) = grads
    return a * slopes.state[:, 0], None, (torch.zeros_like(a),)


def _gru_step(x: Tensor, p: Tensor, state: State) -> State:
    (h,) = state
    x_r, x_z, x_n = x.chunk(3, dim=-1)
    p_r, p_z, p_n = p.chunk(3, dim=-1)
    r = torch.sigmoid(x_r + p_r)
    z = torch.sigmoid(x_z + p_z)
    n = torch.tanh(x_n + r * p_n)
    return ((1 - z) * n + z * h,)


def _gru_slopes(x: Tensor, p: Tensor, state: State) -> Slopes:
    (h,) = state
    x_r, x_z, x_n = x.chunk(3, dim=-1)
    p_r, p_z, p_n = p.chunk(3, dim=-1)
    r = torch.sigmoid(x_r + p_r)
    z = torch.sigmoid(x_z + p_z)
    n = torch.tanh(x_n + r * p_n)
    by_n = (1 - z) * (1 - n * n)
    by_r = by_n * p_n * r * (1 - r)
    by_z = (h - n) * z * (1 - z)
    by_state = torch.stack((by_r, by_z, by_n * r), dim=1)
    return Slopes(by_state, torch.stack((by_r, by_z, by_n), dim=1), (z,))


def _gru_pull(grads: State, slopes: Slopes) -> tuple[Tensor, Tensor | None, State]:
    (a,) = grads
    (z,) = slopes.rest
    by_frame = None if slopes.frame is None else (a[:, None] * slopes.frame).flatten(1)
    return (a[:, None] * slopes.state).flatten(1), by_frame, (a * z,)


def _lstm_step(x: Tensor, p: Tensor, state: State) -> State:
    _, c = state
    i, f, g, o = (x + p).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _lstm_slopes(x: Tensor, p: Tensor, state: State) -> Slopes:
    _, c = state
    i, f, g, o = (x + p).chunk(4, dim=-1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    t = torch.tanh(f * c + i * g)
    by_block = (g * i * (1 - i), c * f * (1 - f), i * (1 - g * g), t * o * (1 - o))
    return Slopes(torch.stack(by_block, dim=1), None, (f, o * (1 - t * t)))


def _lstm_pull(grads: State, slopes: Slopes) -> tuple[Tensor, Tensor | None, State]:
    a_h, a_c = grads
    f, h_by_c = slopes.rest
    a_c = torch.addcmul(a_c, a_h, h_by_c)
    a = torch.stack((a_c, a_c, a_c, a_h), dim=1)
    return (a * slopes.state).flatten(1), None, (torch.zeros_like(a_h), a_c * f)


RNN_TANH = Cell("rnn_tanh", 1, 1, _rnn_tanh_step, _rnn_tanh_slopes, _rnn_pull)
"""Elman 1990, as in torch.nn.RNN: h' = tanh(x + p)."""

RNN_RELU = Cell("rnn_relu", 1, 1, _rnn_relu_step, _rnn_relu_slopes, _rnn_pull)
"""As RNN_TANH, with max(0, .)."""

GRU = Cell("gru", 3, 1, _gru_step, _gru_slopes, _gru_pull)
"""Cho et al. 2014, arXiv:1406.1078, in the variant of torch.nn.GRU (reset after the recurrent product)."""

LSTM = Cell("lstm", 4, 2, _lstm_step, _lstm_slopes, _lstm_pull)
"""Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, as in torch.nn.LSTM; state h and c."""
