import torch

from surnn import GRUWeights, gru_step


def test_gru_step_equals_torch_gru_cell() -> None:
    torch.manual_seed(0)
    cell = torch.nn.GRUCell(5, 7, dtype=torch.float64)
    frame, state = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    step = gru_step(frame, state, GRUWeights(cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh))
    torch.testing.assert_close(step, cell(frame, state), rtol=0, atol=1e-14)  # a few roundings in double precision
