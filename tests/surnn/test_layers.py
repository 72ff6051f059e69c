"""The layers are used like torch's, and with everything open they are torch's."""

import copy
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from surnn import (
    EventGate,
    Heartbeat,
    Packed,
    RandomGate,
    Restart,
    Sampled,
    SuGRU,
    SuLSTM,
    SuRNN,
    Switch,
    frames_within,
    pack,
    segment_starts,
)
from surnn.layer import Backend, SuLayer

F, H = 6, 9
PAIRS: list[Any] = [
    (SuRNN, nn.RNN, {}),
    (SuRNN, nn.RNN, {"nonlinearity": "relu"}),
    (SuGRU, nn.GRU, {}),
    (SuLSTM, nn.LSTM, {}),
]
KINDS = pytest.mark.parametrize("kind", [SuRNN, SuGRU, SuLSTM], ids=lambda kind: kind.__name__)


def as_parts(state: Any) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else tuple(state)


def assert_close(found: Any, expected: Any) -> None:
    for one, other in zip(as_parts(found), as_parts(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)  # double precision; order of sums only


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("num_layers", "bidirectional", "bias"), [(1, False, True), (3, True, True), (2, True, False)])
@pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS)
def test_everything_open_is_torchs_layer(
    ours: Any, theirs: Any, options: Any, num_layers: int, bidirectional: bool, bias: bool, batch_first: bool
) -> None:
    torch.manual_seed(0)
    options = {**options, "bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
    stock = theirs(F, H, num_layers, **options, dtype=torch.float64)
    layer = ours.from_torch(stock)
    assert layer.state_dict().keys() == stock.state_dict().keys()
    parts = tuple(
        torch.randn(num_layers * (1 + bidirectional), 2, H).double()
        for _ in as_parts(stock(torch.zeros(1, F).double())[1])
    )
    hx = parts if len(parts) > 1 else parts[0]
    frames = torch.randn(*((2, 11) if batch_first else (11, 2)), F).double()
    everything = Switch(torch.ones(2, 11))
    for given_hx in (None, hx):
        expected, expected_state = stock(frames, given_hx)
        for keywords in ({}, {"switch": everything}, {"switch": everything, "backend": "reference"}):
            output, state = layer(frames, given_hx, **keywords)
            assert_close(output, expected)
            assert_close(state, expected_state)


@pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS)
def test_a_single_stream_needs_no_batch_dimension(ours: Any, theirs: Any, options: Any) -> None:
    stock = theirs(F, H, 2, **options, dtype=torch.float64)
    frames = torch.randn(7, F).double()
    expected, expected_state = stock(frames)
    output, state = ours.from_torch(stock)(frames, expected_state)
    again, again_state = stock(frames, expected_state)
    assert output.shape == expected.shape
    assert_close(output, again)
    assert_close(state, again_state)


@pytest.mark.parametrize("lengths", [[5, 12, 8], [12, 8, 8]])
@pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS)
def test_a_packed_sequence_gives_what_torch_gives(ours: Any, theirs: Any, options: Any, lengths: list[int]) -> None:
    stock = theirs(F, H, 2, bidirectional=True, **options, dtype=torch.float64)
    layer = ours.from_torch(stock)
    frames = torch.randn(12, 3, F).double()
    sequence = pack_padded_sequence(frames, torch.tensor(lengths), enforce_sorted=False)
    expected, expected_state = stock(sequence)
    output, state = layer(sequence)
    assert_close(output.data, expected.data)
    assert output.batch_sizes.equal(expected.batch_sizes)
    assert_close(pad_packed_sequence(output)[0], pad_packed_sequence(expected)[0])
    assert_close(state, expected_state)
    dense, dense_state = layer(frames, lengths=torch.tensor(lengths))
    within = frames_within(torch.tensor(lengths), 12).T
    assert_close(dense[within], pad_packed_sequence(output)[0][within])
    assert_close(dense_state, state)


@pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS)
def test_weights_are_drawn_as_torch_draws_them(ours: Any, theirs: Any, options: Any) -> None:
    torch.manual_seed(0)
    stock = theirs(F, H, 2, bidirectional=True, **options).state_dict()
    torch.manual_seed(0)
    layer = ours(F, H, 2, bidirectional=True, **options).state_dict()
    assert list(layer) == list(stock)
    assert all(torch.equal(layer[name], value) for name, value in stock.items())


@pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS)
def test_arguments_have_torchs_places_and_names(ours: Any, theirs: Any, options: Any) -> None:
    bias, batch_first, dropout, bidirectional, proj_size = False, True, 0.1, True, 0
    rest = (bias, batch_first, dropout, bidirectional, proj_size, "cpu", torch.float64)
    own = (options.get("nonlinearity", "tanh"),) if theirs is nn.RNN else ()
    stock, layer = theirs(F, H, 2, *own, *rest), ours(F, H, 2, *own, *rest)
    for name in ("bias", "batch_first", "dropout", "bidirectional", *options):
        assert getattr(layer, name) == getattr(stock, name)
    assert {n: (p.shape, p.dtype) for n, p in layer.named_parameters()} == {
        n: (p.shape, p.dtype) for n, p in stock.named_parameters()
    }
    named = {"num_layers": 2, "bias": True, "batch_first": True, "dropout": 0.1, "bidirectional": True}
    assert ours(input_size=F, hidden_size=H, **named, **options, device="cpu", dtype=torch.float64).dropout == 0.1


def test_a_taken_over_layer_is_in_the_mode_of_its_model_and_its_dropout_can_be_changed() -> None:
    stock = nn.GRU(F, H, 2, dropout=0.3).eval()
    assert SuGRU.from_torch(stock).training is False
    assert SuGRU.from_torch(stock, dropout=0.0).dropout == 0


def test_a_result_is_read_like_torchs_pair() -> None:
    result = SuLSTM(F, H)(torch.randn(3, 1, F))
    output, (h, c) = result
    assert len(result) == 2
    assert output is result[0] is result.output
    assert h is result[1][0]
    assert c is result[-1][1]


class Foreign:
    """A gate as the protocol has it, without `lengths`: open where the mean of this frame and some later ones is."""

    lookback_frames = 0

    def __init__(self, lookahead_frames: int) -> None:
        self.lookahead_frames = lookahead_frames

    def switch(self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None) -> Switch:
        del first_frame, among
        later = nn.functional.pad(glance.mean(-1), (0, self.lookahead_frames)).unfold(1, 1 + self.lookahead_frames, 1)
        return Switch((later.mean(-1) > 0).to(glance.dtype))


@pytest.mark.parametrize("wrap", [lambda gate: gate, lambda gate: Heartbeat(gate, every=4)], ids=["plain", "heartbeat"])
def test_a_gate_without_lengths_serves_ragged_streams_unless_it_would_see_padding(wrap: Callable[[Any], Any]) -> None:
    frames, lengths = torch.randn(2, 12, F).double(), torch.tensor([12, 7])
    layer = SuGRU(F, H, batch_first=True, dtype=torch.float64, gate=wrap(Foreign(0)))
    together, alone = layer(frames, lengths=lengths), layer(frames[1:, :7])
    assert_close(together.output[1:, :7], alone.output)
    assert_close(together.state[:, 1:], alone.state)
    layer.gate = wrap(Foreign(2))
    assert layer(frames).output.shape == (2, 12, H)
    with pytest.raises(ValueError, match="Foreign looks 2 frames ahead and would see padding"):
        layer(frames, lengths=lengths)


@KINDS
@pytest.mark.parametrize(
    "rewrite",
    [
        copy.deepcopy,
        lambda layer: copy.deepcopy(layer).float().double(),
        lambda layer: pickle.loads(pickle.dumps(layer)),
    ],
    ids=["deepcopy", "converted", "pickled"],
)
def test_a_copied_converted_or_pickled_layer_runs_its_own_weights(kind: Any, rewrite: Callable[[Any], Any]) -> None:
    gate = EventGate(F, num_neurons=H)
    layer = kind(F, H, 2, batch_first=True, residual=True, gate=gate).double()
    frames = torch.randn(1, 8, F).double()
    other = rewrite(layer)
    assert_close(other(frames).output, layer(frames).output.detach())
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if "gate" not in name:
                parameter.zero_()
    assert other(frames).output.abs().max() == 0
    assert layer(frames).output.abs().max() > 0


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from([SuRNN, SuGRU, SuLSTM]),
    cuts=st.lists(st.integers(0, 25), max_size=4),
    rate=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    has_neurons=st.booleans(),
    backend=st.sampled_from(["event", "packed", "reference"]),
    seed=st.integers(0, 999),
)
def test_streaming_in_any_split_equals_one_pass(
    kind: Any, cuts: list[int], rate: float, has_neurons: bool, backend: Backend, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = kind(F, H, 2, batch_first=True, residual=True).double()
    frames, is_open = torch.randn(2, 25, F).double(), (torch.rand(2, 25) < rate).double()
    neurons = (torch.rand(2, 25, H) < 0.5).double() if has_neurons else None
    with torch.no_grad():
        whole = layer(frames, switch=Switch(is_open, neurons))
        state, outputs = None, []
        for begin, end in pairwise([0, *sorted(cuts), 25]):
            block = slice(begin, end)
            switch = Switch(is_open[:, block], None if neurons is None else neurons[:, block])
            output, state = layer(frames[:, block], state, switch=switch, backend=backend)
            outputs.append(output)
    assert_close(torch.cat(outputs, dim=1), whole.output)
    assert_close(state, whole.state)


def test_a_gate_in_blocks_of_absolute_time_equals_one_pass() -> None:
    layer = SuGRU(F, H, batch_first=True, gate=RandomGate(F, rate=0.4)).double()
    frames = torch.randn(2, 30, F).double()
    whole = layer(frames, first_frame=100)
    first = layer(frames[:, :11], first_frame=100)
    second = layer(frames[:, 11:], first.state, first_frame=111)
    assert_close(torch.cat((first.output, second.output), dim=1), whole.output)
    assert 0 < float(whole.rates.frame_share) < 1


@KINDS
def test_segments_of_a_bidirectional_layer_can_be_run_as_they_end(kind: Any) -> None:
    torch.manual_seed(3)
    restart = Restart(after_closed=4, after_open=5)
    layer = kind(F, H, 2, batch_first=True, bidirectional=True, restart=restart).double()
    frames, is_open = torch.randn(1, 60, F).double(), torch.rand(1, 60) < 0.3
    rows = pack(frames, is_open)
    whole = layer(rows)
    starts = [*segment_starts(rows.index, rows.lengths, restart).nonzero()[:, 0].tolist(), len(rows.index)]
    assert len(starts) > 4
    state, outputs = None, []
    for begin, end in pairwise(starts):
        part = Packed(rows.data[begin:end], rows.index[begin:end], torch.tensor([end - begin]))
        result = layer(part, state)
        backward_from_zero = torch.tensor([1.0, 0, 1, 0], dtype=torch.float64)[:, None, None]
        state = tuple(given * backward_from_zero for given in as_parts(result.state))
        state = state if len(state) > 1 else state[0]
        outputs.append(result.output)
    assert_close(torch.cat(outputs), whole.output)


@KINDS
@pytest.mark.parametrize("num_streams", [1, 4])
def test_packed_rows_in_blocks_equal_the_dense_scan(kind: Any, num_streams: int) -> None:
    torch.manual_seed(1)
    layer = kind(F, H, 2, batch_first=True).double()
    frames, is_open = torch.randn(num_streams, 40, F).double(), torch.rand(num_streams, 40) < 0.2
    is_open[0, 10:30] = False  # a stream without a row in some blocks
    whole = layer(frames, switch=Switch(is_open.double()), backend="reference")
    state, rows = None, []
    for begin in range(0, 40, 10):
        block = slice(begin, begin + 10)
        output, state = layer(pack(frames[:, block], is_open[:, block]), state)
        rows.append(output)
    wanted = [whole.output[:, begin : begin + 10][is_open[:, begin : begin + 10]] for begin in range(0, 40, 10)]
    assert_close(torch.cat(rows), torch.cat(wanted))
    assert_close(state, whole.state)


@KINDS
@pytest.mark.parametrize("backend", ["event", "packed", "reference"])
@pytest.mark.parametrize(("streams", "num_frames"), [(0, 4), (3, 0), (0, 0)])
def test_no_streams_or_no_frames_are_a_case_like_others(
    kind: Any, backend: Backend, streams: int, num_frames: int
) -> None:
    gate = EventGate(F, num_neurons=2 * H, level_frames=2)
    layer = kind(F, H, 2, batch_first=True, bidirectional=True, restart=Restart(2, 2), gate=gate)
    frames = torch.randn(streams, num_frames, F, requires_grad=True)
    hx = tuple(torch.randn(4, streams, H) for _ in range(layer.cell.num_parts))
    result = layer(frames, hx if len(hx) > 1 else hx[0], lengths=torch.full((streams,), num_frames), backend=backend)
    (result.output.sum() + sum(part.sum() for part in as_parts(result.state)) + 0 * frames.sum()).backward()
    assert result.output.shape == (streams, num_frames, 2 * H)
    assert all(torch.equal(one, other) for one, other in zip(as_parts(result.state), hx, strict=True))
    assert result.rates.to_dict().get("frame_share") is None


@KINDS
def test_no_rows_leave_the_state_as_it_is(kind: Any) -> None:
    layer = kind(F, H, 2)
    hx = tuple(torch.randn(2, 3, H) for _ in range(layer.cell.num_parts))
    nothing = Packed(torch.zeros(0, F), torch.zeros(0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64))
    result = layer(nothing, hx if len(hx) > 1 else hx[0])
    assert result.output.shape == (0, H)
    assert all(torch.equal(one, other) for one, other in zip(as_parts(result.state), hx, strict=True))


@KINDS
def test_ragged_streams_equal_each_stream_alone(kind: Any) -> None:
    torch.manual_seed(2)
    layer = kind(F, H, 2, batch_first=True, bidirectional=True).double()
    frames, lengths = torch.randn(3, 12, F).double(), torch.tensor([5, 12, 8])
    is_open = (torch.rand(3, 12) < 0.5).double()
    together = layer(frames, switch=Switch(is_open), lengths=lengths)
    for stream, length in enumerate(lengths.tolist()):
        alone = layer(frames[stream, None, :length], switch=Switch(is_open[stream, None, :length]))
        assert_close(together.output[stream, None, :length], alone.output)
        assert_close(tuple(part[:, stream, None] for part in as_parts(together.state)), as_parts(alone.state))


def test_dropout_zeroes_the_same_numbers_at_every_frame_and_nothing_in_evaluation() -> None:
    layer = SuGRU(F, H, 2, batch_first=True, dropout=0.5).double()
    frames = torch.randn(1, 9, F).double()
    layer.eval()
    assert_close(layer(frames).output, layer(frames).output)
    layer.train()
    torch.manual_seed(0)
    first = layer(frames).output
    torch.manual_seed(0)
    assert_close(layer(frames, backend="reference").output, first)
    assert not torch.allclose(layer(frames).output, first)


def test_auto_gives_a_learning_switch_its_gradient_and_says_what_it_chose() -> None:
    layer, frames = SuGRU(F, H, batch_first=True), torch.randn(1, 4, F)
    is_open = torch.tensor([[1.0, 0, 1, 0]], requires_grad=True)
    result = layer(frames, switch=Switch(is_open))
    assert result.backend == "event"
    torch.autograd.backward(result.output.sum())
    assert is_open.grad is not None
    assert (is_open.grad != 0).all()
    assert layer(frames, switch=Switch(torch.full((1, 4), 0.5), is_soft=True)).backend == "reference"


def test_confidence_tells_each_frames_switch_whether_its_held_output_helps() -> None:
    layer, frames = SuGRU(F, H, batch_first=True).double(), torch.randn(2, 6, F).double()
    is_open = torch.tensor([[1.0, 0, 1, 0, 0, 1]] * 2).double().requires_grad_()
    mix, lengths = torch.randn(2, 6, H).double(), torch.tensor([6, 4])
    for backend in ("event", "packed", "reference"):
        keywords = {"switch": Switch(is_open), "lengths": lengths, "backend": backend}
        result = layer(frames, closed_frames="confidence", **keywords)
        assert torch.equal(result.output, layer(frames, **keywords).output)
        (grad,) = torch.autograd.grad((result.output * mix).sum(), is_open)
        gain = (result.output.detach() * mix).sum(-1) * frames_within(lengths, 6)
        assert_close(grad, torch.where(is_open > 0, gain, -gain))


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


def soft() -> Switch:
    return Switch(zeros(1, 3), is_soft=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: layer(zeros(1, 3, 5)), r"input has shape \(1, 3, 5\).*input_size=6"),
        (lambda layer: layer(zeros(1, 1, 3, F)), r"input has shape \(1, 1, 3, 6\)"),
        (lambda layer: layer(zeros(1, 3, F), zeros(2, 1, H)), r"hx has shape \(2, 1, 9\).*\(1, 1, 9\)"),
        (lambda layer: layer(zeros(1, 3, F), (zeros(1, 1, H),) * 2), "the rule is one tensor"),
        (lambda layer: layer(zeros(1, 3, F).double()), r"input is torch.float64, the weights are torch.float32"),
        (lambda layer: layer(zeros(1, 3, F), zeros(1, 1, H).half()), "hx is torch.float16"),
        (lambda layer: layer(zeros(1, 3, F), switch=Switch(zeros(1, 4))), r"switch\.frames has shape \(1, 4\)"),
        (lambda layer: layer(zeros(1, 3, F), switch=Switch(zeros(1, 3) + 0.4)), "other than 0 and 1"),
        (lambda layer: layer(zeros(1, 3, F), switch=Switch(zeros(1, 3) * torch.nan)), "other than 0 and 1"),
        (lambda layer: layer(zeros(1, 3, F), switch=Switch(zeros(1, 3) + 2, is_soft=True)), r"outside of \[0, 1\]"),
        (lambda layer: layer(zeros(1, 3, F), switch=Switch(zeros(1, 3), zeros(1, 3, 2))), r"switch\.neurons has shape"),
        (lambda layer: layer(zeros(1, 3, F), lengths=torch.tensor([4])), r"lengths=\[4\].*\[0, 3\]"),
        (lambda layer: layer(zeros(1, 3, F), lengths=torch.tensor([1, 2])), r"one per stream \(1\)"),
        (lambda layer: layer(zeros(1, 3, F), lengths=[3]), "lengths is list; the rule is a tensor of whole numbers"),
        (lambda layer: layer(zeros(1, 3, F), lengths=torch.tensor([3.0])), "lengths is torch.float32"),
        (lambda layer: layer(zeros(1, 3, F), backend="cudnn"), 'backend="cudnn" must be'),
        (lambda layer: layer(zeros(1, 3, F), closed_frames="sampled"), 'closed_frames="sampled" must be'),
        (lambda layer: layer(zeros(1, 3, F), closed_frames=Sampled(zeros(1, 4) > 0, 0.5)), r"shape \(1, 4\)"),
        (lambda layer: layer(zeros(1, 3, F), closed_frames=Sampled(zeros(1, 3), 0.5)), "type torch.float32"),
        (lambda layer: layer(zeros(1, 3, F), closed_frames=Sampled(zeros(1, 3) > 0, 0.0)), "probability=0.0"),
        (
            lambda layer: layer(zeros(1, 3, F), closed_frames=Sampled(zeros(1, 3) > 0, 0.5), backend="reference"),
            'is for backend="packed"',
        ),
        (
            lambda layer: layer(zeros(1, 3, F), switch=soft(), closed_frames=Sampled(zeros(1, 3) > 0, 0.5)),
            'is for backend="packed"',
        ),
        (
            lambda layer: layer(zeros(1, 3, F), switch=soft(), closed_frames="confidence"),
            "is for hard switches, and this one is soft",
        ),
        (
            lambda layer: layer(Packed(zeros(2, F), torch.arange(2), torch.tensor([2])), switch=Switch(zeros(1, 2))),
            "Packed input has its own lengths",
        ),
        (lambda layer: layer(Packed(zeros(2, 4), torch.arange(2), torch.tensor([2]))), r"Packed\.data has shape"),
        (lambda layer: layer(Packed(zeros(2, F), torch.arange(2), torch.tensor([1]))), r"Packed\.lengths sum to 1"),
        (
            lambda layer: layer(pack_padded_sequence(zeros(3, 1, F), torch.tensor([3])), lengths=torch.tensor([3])),
            "PackedSequence has its own lengths",
        ),
        (lambda _: SuGRU(F, 0), "hidden_size=0"),
        (lambda _: SuGRU(F, H, dropout=0.1), "act between layers"),
        (lambda _: SuGRU(F, H, residual=True), "act between layers"),
        (lambda _: SuGRU(F, H, 2, dropout=1.5), r"dropout=1.5 must lie in \[0, 1\]"),
        (lambda _: SuGRU(F, H, restart=Restart(1)), "for the backward direction"),
        (lambda _: SuGRU(F, H, bidirectional=True, restart=Restart(0)), "after_closed=0"),
        (lambda _: SuGRU(F, H, bidirectional=True, restart=Restart()), "never restarts"),
        (lambda _: SuRNN(F, H, nonlinearity="gelu"), 'nonlinearity="gelu"'),
        (lambda _: SuGRU.from_torch(nn.LSTM(F, H)), "takes the weights of gru; this module is lstm"),
        (lambda _: SuLSTM(F, H, proj_size=3), "proj_size=3: projected states are not supported"),
        (lambda _: SuLSTM.from_torch(nn.LSTM(F, H, proj_size=3)), "proj_size=3"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name_and_rule(call: Callable[[Any], object], message: str) -> None:
    layer: SuLayer = SuGRU(F, H, batch_first=True)
    with pytest.raises(ValueError, match=message):
        call(layer)
