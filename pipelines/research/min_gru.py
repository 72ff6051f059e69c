"""minGRU: gates look at the input alone, so all frames are computed at once by a parallel scan."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from .contract import Encoded


class MinGRU(nn.Module):
    """Layers of minGRU, each with a norm before it and a residual around it.

    z = sigmoid(W_z x), c = W_c x, h[t] = (1 - z[t]) h[t-1] + z[t] c[t], h[0] = 0.

    Args:
        input_size: numbers per frame, given by the pipeline.
        hidden_size: width, found by the pipeline.
        num_layers: layers; one alone cannot look at the state at all.

    Source: Feng et al. 2024, "Were RNNs All We Needed?", arXiv:2410.01201, section 3.1.
    """

    readout: Literal["last", "mean"] = "last"
    is_causal = True

    def __init__(self, input_size: int, hidden_size: int, *, num_layers: int = 2) -> None:
        super().__init__()
        self.size = hidden_size
        self.entry = nn.Linear(input_size, hidden_size)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(num_layers))
        self.projections = nn.ModuleList(nn.Linear(hidden_size, 2 * hidden_size) for _ in range(num_layers))
        self.final_norm = nn.LayerNorm(hidden_size)

    def forward(self, frames: Tensor, state: Any = None, lengths: Tensor | None = None) -> Encoded:
        """`state`: h of every layer, (B, H) each."""
        del lengths  # padding lies after all frames that count
        hidden = self.entry(frames)
        states = []
        for index, (norm, projection) in enumerate(zip(self.norms, self.projections, strict=True)):
            mixing, candidate = projection(norm(hidden)).chunk(2, -1)
            mix = torch.sigmoid(mixing)
            before = state[index] if state is not None else torch.zeros_like(hidden[:, 0])
            scanned = linear_scan(1 - mix, mix * candidate, before)
            states.append(scanned[:, -1])
            hidden = hidden + scanned
        return Encoded(self.final_norm(hidden), states)


def linear_scan(keep: Tensor, new: Tensor, before: Tensor) -> Tensor:
    """h[t] = keep[t] h[t-1] + new[t], all frames at once, in log2(T) rounds.

    After a round of step n, `new` holds what the last 2n frames contribute, `keep` the product over them.

    Args:
        keep: (B, T, H), at most 1, so that products do not grow.
        new: (B, T, H).
        before: (B, H), h before the first frame.

    Source: Hillis and Steele 1986, data parallel algorithms.
    """
    new = torch.cat((new[:, :1] + keep[:, :1] * before[:, None], new[:, 1:]), 1)
    step = 1
    while step < new.shape[1]:
        new = torch.cat((new[:, :step], new[:, step:] + keep[:, step:] * new[:, :-step]), 1)
        keep = torch.cat((keep[:, :step], keep[:, step:] * keep[:, :-step]), 1)
        step *= 2
    return new
