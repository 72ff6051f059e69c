"""torch's own kernels (cuDNN, oneDNN, ATen) over chains of rows, with their own backward pass."""

from typing import Any

import torch
from torch import Tensor

from surnn.cells import Cell, State, Weights
from surnn.layout import Layout

CUDNN_MODES = {"rnn_relu": 0, "rnn_tanh": 1, "lstm": 2, "gru": 3}


def lay_end_to_end(cell: Cell, weights: Weights) -> None:
    """Put the weights of one cuDNN call into one piece of memory; else it warns, and copies them at every call."""
    flat = [tensor for tensor in weights if tensor is not None]
    if not torch.backends.cudnn.is_acceptable(flat[0]):  # type: ignore[no-untyped-call]
        return
    mode, input_size, hidden_size = CUDNN_MODES[cell.name], weights.weight_ih.shape[1], weights.weight_hh.shape[1]
    no_projection, num_layers, batch_first, bidirectional = 0, 1, True, False
    with torch.no_grad(), torch.cuda.device(flat[0].device):
        torch._cudnn_rnn_flatten_weight(
            flat, len(flat), input_size, mode, hidden_size, no_projection, num_layers, batch_first, bidirectional
        )


def run_stock(cell: Cell, rows: Tensor, state: State, weights: Weights, layout: Layout) -> tuple[Tensor, State]:
    """One layer and direction over rows, every one of them a step.

    Args:
        cell: the equations.
        rows: (N, F), in the order of the direction.
        state: tensors (B, H) before the first row.
        weights: of the layer and direction.
        layout: of the rows.

    Returns:
        Output (N, H), and the state after each stream's last row.
    """
    if not len(rows):
        return rows.new_zeros(0, state[0].shape[-1]), state
    before, num_chains = chain_states(state, layout), len(layout.chain_stream)
    if layout.batch_sizes[-1] == num_chains:  # all chains have one length: nothing to sort, and oneDNN's fast path
        output, final = _call(cell, rows.view(num_chains, len(layout.batch_sizes), -1), None, before, weights)
        output = output.flatten(0, 1)
    else:
        output, final = _call(cell, rows[layout.source], layout.batch_sizes, before, weights)
        output = torch.empty_like(output).index_copy(0, layout.source, output)
    has_rows = (layout.final_chain >= 0)[:, None]
    ends = layout.final_chain.clamp_min(0)
    return output, tuple(torch.where(has_rows, new[ends], old) for new, old in zip(final, state, strict=True))


def chain_states(state: State, layout: Layout) -> State:
    """(C, H) each: the state with which every chain begins."""
    fresh = layout.chain_is_fresh[:, None]
    return tuple(torch.where(fresh, part.new_zeros(()), part[layout.chain_stream]) for part in state)


def _call(
    cell: Cell, data: Tensor, batch_sizes: list[int] | None, state: State, weights: Weights
) -> tuple[Tensor, State]:
    flat = [tensor for tensor in weights if tensor is not None]
    has_biases, num_layers, no_dropout, one_way = weights.bias_ih is not None, 1, 0.0, False
    keep = torch.is_grad_enabled()  # "train", without dropout: keep what a backward pass needs (cuDNN)
    kernel: Any = getattr(torch, cell.name)
    hx: Any = [part[None] for part in state] if cell.num_parts > 1 else state[0][None]
    options = (flat, has_biases, num_layers, no_dropout, keep, one_way)
    if batch_sizes is None:
        batch_first = True
        output, *final = kernel(data, hx, *options, batch_first)
    else:
        output, *final = kernel(data, torch.tensor(batch_sizes), hx, *options)
    return output, tuple(part[0] for part in final)
