"""A step is torch's step, and its slopes are those of autograd."""

from typing import Any

import pytest
import torch

from surnn.cells import GRU, LSTM, RNN_RELU, RNN_TANH, Cell, Weights, candidate

CELLS = [(RNN_TANH, torch.nn.RNNCell, {}), (RNN_RELU, torch.nn.RNNCell, {"nonlinearity": "relu"})]
CELLS += [(GRU, torch.nn.GRUCell, {}), (LSTM, torch.nn.LSTMCell, {})]


@pytest.mark.parametrize(("cell", "stock", "options"), CELLS)
def test_candidate_is_the_step_of_torchs_cell(cell: Cell, stock: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    theirs = stock(5, 7, dtype=torch.float64, **options)
    frame = torch.randn(3, 5, dtype=torch.float64)
    state = tuple(torch.randn(3, 7, dtype=torch.float64) for _ in range(cell.num_parts))
    weights = Weights(theirs.weight_ih, theirs.weight_hh, theirs.bias_ih, theirs.bias_hh)
    expected = theirs(frame, state if cell.num_parts > 1 else state[0])
    expected = expected if cell.num_parts > 1 else (expected,)
    for ours, theirs_part in zip(candidate(cell, frame, state, weights), expected, strict=True):
        torch.testing.assert_close(ours, theirs_part, rtol=0, atol=1e-14)  # a few roundings in double precision


@pytest.mark.parametrize("cell", [RNN_TANH, RNN_RELU, GRU, LSTM], ids=lambda cell: cell.name)
def test_pulled_gradients_are_those_of_autograd(cell: Cell) -> None:
    torch.manual_seed(1)
    leaves = [torch.randn(4, cell.num_blocks * 6, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    state = tuple(torch.randn(4, 6, dtype=torch.float64, requires_grad=True) for _ in range(cell.num_parts))
    grads = tuple(torch.randn(4, 6, dtype=torch.float64) for _ in range(cell.num_parts))
    expected = torch.autograd.grad(
        cell.step(leaves[0], leaves[1], state), [*leaves, *state], grads, allow_unused=True, materialize_grads=True
    )
    with torch.no_grad():
        by_state, by_frame, direct = cell.pull(grads, cell.slopes(leaves[0], leaves[1], state))
    found = [by_state if by_frame is None else by_frame, by_state, *direct]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
