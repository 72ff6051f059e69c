"""Skip RNN: a GRU whose own state decides how many frames to skip."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from surnn import frames_within

from .contract import Encoded


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004
        return (values >= 0.5).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # noqa: ARG004
        return grads[0]


def rounded(values: Tensor) -> Tensor:
    """Values in [0, 1] to the nearer end, 0.5 to 1; backwards as if nothing had been rounded."""
    result: Tensor = _Round.apply(values)  # type: ignore[no-untyped-call]
    return result


class SkipRNN(nn.Module):
    """A GRU with a switch that depends on its state: each update says how soon the next one comes.

    With p the accumulated probability of an update, u the update and s the state:
    u[t] = round(p[t]), s[t] = u[t] GRU(s[t-1], x[t]) + (1 - u[t]) s[t-1], d[t] = sigmoid(w s[t] + b),
    p[t+1] = u[t] d[t] + (1 - u[t]) (p[t] + min(d[t], 1 - p[t])); p[0] = 1. Steps that are skipped are computed and
    multiplied by 0, as in the paper's own code: the state must be known before the next decision.

    Args:
        input_size: numbers per frame, given by the pipeline.
        hidden_size: neurons, found by the pipeline.
        initial_bias: b at the start; 1: nearly every frame is an update.

    Source: Campos et al. 2018, arXiv:1708.06834, equations 2 to 6, straight-through gradient of the rounding; the
    budget loss is the share of updates (equation 10, divided by the number of frames).
    """

    readout: Literal["last", "mean"] = "last"
    is_causal = True

    def __init__(self, input_size: int, hidden_size: int, *, initial_bias: float = 1.0) -> None:
        super().__init__()
        self.size = hidden_size
        self.layer = nn.GRU(input_size, hidden_size, batch_first=True)  # for its weights and their initial values
        self.decision = nn.Linear(hidden_size, 1)
        nn.init.constant_(self.decision.bias, initial_bias)

    def forward(self, frames: Tensor, state: Any = None, lengths: Tensor | None = None) -> Encoded:
        """`state`: (B, H) and the accumulated probability (B, 1)."""
        weight_ih, weight_hh, bias_ih, bias_hh = self.layer.all_weights[0]
        projected = linear(frames, weight_ih, bias_ih).unbind(1)
        hidden, likely = state if state is not None else (frames.new_zeros(len(frames), self.size), None)
        likely = frames.new_ones(len(frames), 1) if likely is None else likely
        outputs, updates = [], []
        for frame in projected:
            update = rounded(likely)
            hidden = update * gru_step(frame, hidden, weight_hh, bias_hh) + (1 - update) * hidden
            step = torch.sigmoid(self.decision(hidden))
            likely = update * step + (1 - update) * (likely + torch.minimum(step, 1 - likely))
            outputs.append(hidden)
            updates.append(update)
        opened = torch.cat(updates, 1)
        num_frames = torch.tensor(opened.numel())
        if lengths is not None:
            opened = opened * frames_within(lengths.to(frames.device), opened.shape[1])
            num_frames = lengths.sum()
        share = opened.sum() / num_frames.to(frames.device)
        return Encoded(torch.stack(outputs, 1), (hidden, likely), opened.detach(), None, share, share.detach())


def gru_step(projected: Tensor, hidden: Tensor, weight_hh: Tensor, bias_hh: Tensor) -> Tensor:
    """One step of torch's GRU from a frame's projection W_ih x + b_ih, (B, 3H), and the state (B, H)."""
    x_r, x_z, x_n = projected.chunk(3, -1)
    h_r, h_z, h_n = torch.addmm(bias_hh, hidden, weight_hh.T).chunk(3, -1)
    keep = torch.sigmoid(x_z + h_z)
    candidate = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
    return torch.lerp(candidate, hidden, keep)
