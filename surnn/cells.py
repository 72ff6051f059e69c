"""One step of a recurrent cell: the equations, with torch's weight layout."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear


class GRUWeights(NamedTuple):
    """Weights of one GRU layer, named and laid out as in torch.nn.GRU: reset, update and new gate, one below the other.

    Args:
        weight_ih: (3 H, F).
        weight_hh: (3 H, H).
        bias_ih: (3 H,).
        bias_hh: (3 H,).
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


def gru_step(frame: Tensor, state: Tensor, weights: GRUWeights) -> Tensor:
    """The candidate state: what the GRU would become if it took this frame.

    Args:
        frame: (B, F).
        state: (B, H).
        weights: of one layer.

    Returns:
        (B, H).

    Source: Cho et al. 2014, arXiv:1406.1078, in the variant of torch.nn.GRU (reset after the recurrent product).
    """
    # x frame, h state; r reset gate, z update gate, n new state
    x_r, x_z, x_n = linear(frame, weights.weight_ih, weights.bias_ih).chunk(3, dim=-1)
    h_r, h_z, h_n = linear(state, weights.weight_hh, weights.bias_hh).chunk(3, dim=-1)
    r = torch.sigmoid(x_r + h_r)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return (1 - z) * n + z * state
