"""Stock torch kernels over the open frames only: same function as the reference when only the frame switch is used.

Gradients reach frames, state and weights. The switch's own gradient needs the candidates of closed frames, which are
never computed here; so a frame switch that asks for a gradient is refused, and so is a neuron switch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from surnn.cells import GRUWeights
from surnn.packing import frames_within, hold, pack
from surnn.types import Packed, ScanResult, Switch


def scan(
    frames: Tensor,
    state: Tensor,
    weights: Sequence[GRUWeights],
    switch: Switch | None = None,
    lengths: Tensor | None = None,
) -> ScanResult:
    """A gated GRU of several layers that steps on open frames only and holds between them.

    Args:
        frames: (B, T, F).
        state: (num_layers, B, H) before the first frame.
        weights: one per layer.
        switch: None: everything open.
        lengths: (B,) frames per stream; padding after them holds. None: no padding.

    Returns:
        Dense output (B, T, H), of the last layer.

    Raises:
        ValueError: if the switch has neurons, or its frames require a gradient.
    """
    batch, num_frames = frames.shape[:2]
    if switch is None and lengths is None:
        if num_frames == 0:
            return ScanResult(state[-1][:, None][:, :0], state)
        return ScanResult(*_stock_gru(frames, state, weights))
    if switch is not None:
        _refuse_what_is_missing(switch)
        is_open = switch.frames > 0.5
    else:
        is_open = frames.new_ones(batch, num_frames, dtype=torch.bool)
    packed = pack(frames, is_open, None if lengths is None else lengths.to(frames.device))
    rows = scan_rows(packed, state, weights)
    output = hold(rows.output, packed.index, packed.lengths, num_frames, state[-1])
    return ScanResult(output, rows.state, switch)


def scan_rows(packed: Packed, state: Tensor, weights: Sequence[GRUWeights]) -> ScanResult:
    """A GRU over packed rows, every one of them a step.

    Args:
        packed: rows of B streams; streams without a row keep their state.
        state: (num_layers, B, H).
        weights: one per layer.

    Returns:
        Packed output (N, H), of the last layer.
    """
    data, _, lengths = packed
    counts = lengths.tolist()
    if not data.shape[0]:
        return ScanResult(data.new_zeros(0, state.shape[-1]), state)
    if min(counts) == max(counts):  # also a single stream: no sorting
        output, state = _stock_gru(data.view(len(counts), counts[0], -1), state, weights)
        return ScanResult(output.flatten(0, 1), state)
    return _scan_ragged(packed, state, weights)


def _scan_ragged(packed: Packed, state: Tensor, weights: Sequence[GRUWeights]) -> ScanResult:
    # torch wants rows step by step, longest stream first, and no stream without a row:
    #     streams  a b c | d e | f   ->   rows a d f | b e | c,  batch_sizes 3 2 1
    data, _, lengths = packed
    order = lengths.argsort(descending=True, stable=True)
    within = frames_within(lengths[order], int(lengths.max()))
    batch_sizes = within.sum(dim=0)
    first_row = (lengths.cumsum(0) - lengths)[order]
    step, stream = within.T.nonzero(as_tuple=True)
    source = first_row[stream] + step

    running, idle = order[: batch_sizes[0]], order[batch_sizes[0] :]
    flat = [tensor for layer in weights for tensor in layer]
    output, final = torch.gru(
        data[source],
        batch_sizes.cpu(),
        state[:, running],
        flat,
        True,
        len(weights),
        0.0,
        torch.is_grad_enabled(),
        False,
    )
    restored = torch.cat((final, state[:, idle]), dim=1)[:, order.argsort()]
    return ScanResult(output[source.argsort()], restored)


def _stock_gru(frames: Tensor, state: Tensor, weights: Sequence[GRUWeights]) -> tuple[Tensor, Tensor]:
    flat = [tensor for layer in weights for tensor in layer]
    # "train" without dropout means no more than: keep what a backward pass needs (cuDNN).
    return torch.gru(frames, state, flat, True, len(weights), 0.0, torch.is_grad_enabled(), False, True)


def _refuse_what_is_missing(switch: Switch) -> None:
    if switch.neurons is not None:
        raise ValueError(
            'the switch has neurons, and backend "packed" runs whole frames only; use backend="reference", '
            "or a gate without num_neurons"
        )
    if switch.frames.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            'switch.frames requires a gradient, and backend "packed" has none to give; use backend="reference", '
            "or switch.frames.detach() where the gate learns from labels and budgets alone"
        )
