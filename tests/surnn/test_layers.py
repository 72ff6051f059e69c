import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surnn import Packed, SuGRU, Switch, pack
from surnn.layers import Backend

F, H = 6, 9


@pytest.mark.parametrize("num_layers", [1, 3])
def test_everything_open_is_torch_gru(num_layers: int) -> None:
    stock = torch.nn.GRU(F, H, num_layers, batch_first=True, dtype=torch.float64)
    layer = SuGRU(F, H, num_layers).double()
    layer.load_state_dict(stock.state_dict())
    frames, hx = torch.randn(2, 11, F).double(), torch.randn(num_layers, 2, H).double()
    expected = stock(frames, hx)
    everything = Switch(torch.ones(2, 11))
    packed = Packed(frames.flatten(0, 1), torch.arange(11).repeat(2), torch.tensor([11, 11]))
    rows = layer(packed, hx)
    results = [layer(frames, hx), layer(frames, hx, switch=everything)]
    results.append(layer(frames, hx, switch=everything, backend="reference"))
    results.append(rows._replace(output=rows.output.view(2, 11, H)))
    for result in results:
        torch.testing.assert_close(result.output, expected[0], rtol=0, atol=1e-13)  # order of sums only
        torch.testing.assert_close(result.state, expected[1], rtol=0, atol=1e-13)


def test_weights_are_named_and_drawn_as_in_torch_gru() -> None:
    torch.manual_seed(0)
    stock = torch.nn.GRU(F, H, 2)
    torch.manual_seed(0)
    ours = SuGRU(F, H, 2).state_dict()
    assert list(ours) == list(stock.state_dict())
    assert all(torch.equal(ours[name], value) for name, value in stock.state_dict().items())


@pytest.mark.parametrize("rewrite", [copy.deepcopy, lambda layer: layer.float().double()])
def test_a_copied_or_converted_layer_runs_its_own_weights(rewrite: Callable[[SuGRU], SuGRU]) -> None:
    layer = SuGRU(F, H).double()
    frames = torch.randn(1, 3, F).double()
    other = rewrite(layer)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert other(frames).output.abs().max() == 0


@settings(deadline=None, max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 25), max_size=4),
    rate=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    backend=st.sampled_from(["packed", "reference"]),
    seed=st.integers(0, 999),
)
def test_streaming_in_any_split_equals_one_pass(cuts: list[int], rate: float, backend: Backend, seed: int) -> None:
    torch.manual_seed(seed)
    layer = SuGRU(F, H, 2).double()
    frames, is_open = torch.randn(2, 25, F).double(), (torch.rand(2, 25) < rate).double()
    with torch.no_grad():
        whole = layer(frames, switch=Switch(is_open))
        state, outputs = None, []
        bounds = [0, *sorted(cuts), 25]
        for begin, end in pairwise(bounds):
            block = layer(frames[:, begin:end], state, switch=Switch(is_open[:, begin:end]), backend=backend)
            state = block.state
            outputs.append(block.output)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole.output, rtol=0, atol=1e-13)
    torch.testing.assert_close(state, whole.state, rtol=0, atol=1e-13)


@pytest.mark.parametrize("num_streams", [1, 4])
def test_packed_rows_in_blocks_equal_the_dense_scan(num_streams: int) -> None:
    torch.manual_seed(1)
    layer = SuGRU(F, H, 2).double()
    frames, is_open = torch.randn(num_streams, 40, F).double(), torch.rand(num_streams, 40) < 0.2
    is_open[0, 10:30] = False  # a stream without a row in some blocks
    whole = layer(frames, switch=Switch(is_open.double()), backend="reference")
    state, rows = None, []
    for begin in range(0, 40, 10):
        block = slice(begin, begin + 10)
        result = layer(pack(frames[:, block], is_open[:, block]), state)
        state = result.state
        rows.append(result.output)
    wanted = [whole.output[:, begin : begin + 10][is_open[:, begin : begin + 10]] for begin in range(0, 40, 10)]
    torch.testing.assert_close(torch.cat(rows), torch.cat(wanted), rtol=0, atol=1e-13)
    torch.testing.assert_close(state, whole.state, rtol=0, atol=1e-13)


def test_no_rows_leave_the_state_as_it_is() -> None:
    layer, hx = SuGRU(F, H, 2), torch.randn(2, 3, H)
    result = layer(Packed(torch.zeros(0, F), torch.zeros(0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)), hx)
    assert result.output.shape == (0, H)
    assert torch.equal(result.state, hx)


def test_ragged_streams_equal_each_stream_alone() -> None:
    torch.manual_seed(2)
    layer = SuGRU(F, H, 2).double()
    frames, lengths = torch.randn(3, 12, F).double(), torch.tensor([5, 12, 8])
    is_open = (torch.rand(3, 12) < 0.5).double()
    together = layer(frames, switch=Switch(is_open), lengths=lengths)
    for stream, length in enumerate(lengths.tolist()):
        alone = layer(frames[stream, None, :length], switch=Switch(is_open[stream, None, :length]))
        torch.testing.assert_close(together.output[stream, None, :length], alone.output, rtol=0, atol=1e-13)
        torch.testing.assert_close(together.state[:, stream, None], alone.state, rtol=0, atol=1e-13)


def test_auto_gives_a_learning_switch_its_gradient() -> None:
    layer, frames = SuGRU(F, H), torch.randn(1, 4, F)
    is_open = torch.tensor([[1.0, 0, 1, 0]], requires_grad=True)
    torch.autograd.backward(layer(frames, switch=Switch(is_open)).output.sum())
    assert is_open.grad is not None
    assert (is_open.grad != 0).all()


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: layer(zeros(1, 3, 5)), r"input has shape \(1, 3, 5\).*input_size=6"),
        (lambda layer: layer(zeros(3, F)), r"input has shape \(3, 6\)"),
        (lambda layer: layer(zeros(1, 3, F), zeros(2, 1, H)), r"hx has shape \(2, 1, 9\).*\(1, 1, 9\)"),
        (lambda layer: layer(zeros(1, 3, F), switch=Switch(zeros(1, 4))), r"switch\.frames has shape \(1, 4\)"),
        (lambda layer: layer(zeros(1, 3, F), switch=Switch(zeros(1, 3) + 0.4)), "other than 0 and 1"),
        (lambda layer: layer(zeros(1, 3, F), switch=Switch(zeros(1, 3) * torch.nan)), "other than 0 and 1"),
        (lambda layer: layer(zeros(1, 3, F), switch=Switch(zeros(1, 3), zeros(1, 3, 2))), r"switch\.neurons has shape"),
        (lambda layer: layer(zeros(1, 3, F), lengths=torch.tensor([4])), r"lengths=\[4\].*\[0, 3\]"),
        (lambda layer: layer(zeros(1, 3, F), lengths=torch.tensor([1, 2])), r"one per stream \(1\)"),
        (lambda layer: layer(zeros(1, 3, F), backend="cudnn"), 'backend="cudnn" must be'),
        (
            lambda layer: layer(zeros(1, 3, F), switch=Switch(zeros(1, 3), zeros(1, 3, H)), backend="packed"),
            "switch has neurons",
        ),
        (
            lambda layer: layer(Packed(zeros(2, F), torch.arange(2), torch.tensor([2])), switch=Switch(zeros(1, 2))),
            "Packed input has its own lengths",
        ),
        (lambda layer: layer(Packed(zeros(2, 4), torch.arange(2), torch.tensor([2]))), r"Packed\.data has shape"),
        (lambda layer: layer(Packed(zeros(2, F), torch.arange(2), torch.tensor([1]))), r"Packed\.lengths sum to 1"),
        (lambda _: SuGRU(F, 0), "hidden_size=0"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name_and_rule(call: Callable[[SuGRU], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(SuGRU(F, H))
