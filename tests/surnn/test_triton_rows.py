"""The GPU kernels are the same function as the reference; run by Triton's interpreter where there is no GPU."""

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from surnn import SuGRU, SuLSTM, Switch
from surnn.cells import GRU, LSTM, RNN_RELU, RNN_TANH, Cell, Weights
from surnn.kernels import reference
from surnn.kernels.closed import Closed, Inputs
from surnn.kernels.triton_launch import interpreted
from surnn.kernels.triton_rows import can_run, run_rows
from surnn.kernels.triton_ways import Way, choose_way
from surnn.layout import held_rows, lay_out
from surnn.network import Network
from surnn.packing import frames_within

triton = pytest.importorskip("triton")

CELLS = [RNN_TANH, RNN_RELU, GRU, LSTM]
WAYS = get_args(Way)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
F = 3


@pytest.fixture(scope="module", autouse=True)
def _kernels() -> Iterator[None]:
    if DEVICE == "cuda":
        yield
        return
    if np.lib.NumpyVersion(np.__version__) >= "2.4.0" and triton.__version__ < "3.7":
        pytest.skip("the interpreter of Triton 3.6 does not run on this numpy")
    with interpreted():
        yield


class Case(NamedTuple):
    """One layer and direction over switched streams.

    Args:
        frames: (B, T, F).
        state: tensors (B, H).
        weights: of the layer.
        switch: of the frames, perhaps of their neurons; None: all open.
        lengths: (B,).
    """

    frames: Tensor
    state: tuple[Tensor, ...]
    weights: Weights
    switch: Switch | None
    lengths: Tensor

    def leaves(self) -> list[Tensor]:
        switch = [] if self.switch is None else [t for t in self.switch[:2] if t is not None and t.requires_grad]
        return [self.frames, *self.state, *(t for t in self.weights if t is not None), *switch]


def make_case(
    cell: Cell,
    *,
    hidden_size: int = 8,
    lengths: tuple[int, ...] = (3, 5, 0),
    rate: float | None = 0.5,
    neuron_rate: float | None = None,
    learns: bool = True,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
    seed: int = 1,
) -> Case:
    draws = torch.Generator().manual_seed(seed)
    batch, num_frames, rows = len(lengths), max(lengths), cell.num_blocks * hidden_size

    def draw(*shape: int, scale: float = 0.6) -> Tensor:
        return (scale * torch.randn(*shape, generator=draws)).to(DEVICE, dtype).requires_grad_()

    def flip(*shape: int, rate: float) -> Tensor:
        values = torch.rand(*shape, generator=draws) < rate
        return values.to(DEVICE, dtype).requires_grad_(learns)

    biases = (draw(rows), draw(rows)) if bias else (None, None)
    weights = Weights(draw(rows, F), draw(rows, hidden_size, scale=2 * hidden_size**-0.5), *biases)
    switch = None
    if rate is not None:
        neurons = None if neuron_rate is None else flip(batch, num_frames, hidden_size, rate=neuron_rate)
        switch = Switch(flip(batch, num_frames, rate=rate), neurons)
    state = tuple(draw(batch, hidden_size) for _ in range(cell.num_parts))
    return Case(draw(batch, num_frames, F), state, weights, switch, torch.tensor(lengths, device=DEVICE))


def expected_of(cell: Cell, case: Case) -> tuple[Tensor, tuple[Tensor, ...]]:
    network = Network(cell, ((case.weights,),), (None,), False, None)
    state = tuple(part[None] for part in case.state)
    output, final = reference.scan(case.frames, state, network, case.switch, case.lengths)
    return output, tuple(part[0] for part in final)


def found_of(cell: Cell, case: Case, way: Way | None) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The same by packed rows: what surnn.kernels.packed does for a single layer."""
    batch, num_frames = case.frames.shape[:2]
    within = frames_within(case.lengths, num_frames)
    is_open = within if case.switch is None else within & (case.switch.frames > 0.5)
    stream, index = is_open.nonzero(as_tuple=True)
    counts = is_open.sum(dim=1)
    gate, frames, closed = None, None, None
    if case.switch is not None:
        gate = case.switch.frames[stream, index, None]
        neurons = case.switch.neurons
        gate = gate if neurons is None else gate * neurons[stream, index]
        if case.switch.frames.requires_grad:
            frames = case.switch.frames
            place = torch.arange(batch * num_frames, device=DEVICE).view(batch, num_frames)
            inputs = Inputs((case.frames.detach().flatten(0, 1),), (place,), None)
            neurons = None if neurons is None else neurons.detach()
            closed = Closed(within & ~is_open, 1.0, held_rows(is_open, counts), inputs, neurons, False)
    given = case.frames[stream, index], case.state, case.weights, lay_out(counts), gate, frames, closed
    ran = run_rows(cell, *given, is_tapped=closed is not None, way=way)
    output = torch.cat((case.state[0], ran.output))[held_rows(is_open, counts)]
    return output if ran.tap is None else output + ran.tap, ran.state


def gradients(case: Case, output: Tensor, state: tuple[Tensor, ...]) -> list[Tensor]:
    """Of every leaf, under two random linear losses: on outputs and states, and on the last state alone."""
    draws = torch.Generator().manual_seed(7)
    losses = [(part * torch.randn(part.shape, generator=draws).to(part)).sum() for part in (output, *state)]
    found: list[Tensor] = []
    for loss in (sum(losses), losses[-1]):
        found += torch.autograd.grad(loss, case.leaves(), retain_graph=True, allow_unused=True, materialize_grads=True)
    return found


def assert_equal_to_reference(cell: Cell, case: Case, way: Way | None, atol: float = 1e-12) -> None:
    found, expected = found_of(cell, case, way), expected_of(cell, case)
    pairs = [(found[0], expected[0]), *zip(found[1], expected[1], strict=True)]
    pairs += zip(gradients(case, *found), gradients(case, *expected), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=0, atol=atol)


@pytest.mark.parametrize("neuron_rate", [None, 0.4], ids=["frames", "neurons"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_kernels_equal_the_reference_in_outputs_states_and_every_gradient(
    cell: Cell, way: Way, neuron_rate: float | None
) -> None:
    assert_equal_to_reference(cell, make_case(cell, neuron_rate=neuron_rate), way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", [GRU, LSTM], ids=lambda cell: cell.name)
@pytest.mark.parametrize(
    "options",
    [
        {"rate": None, "bias": False},
        {"learns": False, "neuron_rate": 0.4},
        {"rate": 1.0, "neuron_rate": 0.0, "lengths": (4,)},
        {"rate": 0.0},
        {"lengths": (1, 1)},
    ],
    ids=str,
)
def test_kernels_equal_the_reference_under_every_option(cell: Cell, way: Way, options: dict[str, Any]) -> None:
    assert_equal_to_reference(cell, make_case(cell, **options), way)


@pytest.mark.parametrize(("way", "hidden_size"), [("on chip", 13), ("gathered", 70), ("grouped", 70)])
@pytest.mark.parametrize("cell", [GRU, LSTM], ids=lambda cell: cell.name)
def test_sizes_that_fill_no_tile_and_more_chains_than_a_group(cell: Cell, way: Way, hidden_size: int) -> None:
    lengths = (3, 1, 2, 0, *(1,) * 14)
    case = make_case(cell, hidden_size=hidden_size, lengths=lengths, rate=0.9, neuron_rate=0.5)
    assert_equal_to_reference(cell, case, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", [GRU, LSTM], ids=lambda cell: cell.name)
def test_single_precision_differs_by_rounding_alone(cell: Cell, way: Way) -> None:
    case = make_case(cell, neuron_rate=0.4, dtype=torch.float32)
    assert_equal_to_reference(cell, case, way, atol=2e-5)  # sums of some hundred terms of size 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_closed_neurons_hold_bit_for_bit(cell: Cell, way: Way, dtype: torch.dtype) -> None:
    case = make_case(cell, neuron_rate=0.4, rate=0.8, dtype=dtype, lengths=(9, 7))
    assert case.switch is not None
    assert case.switch.neurons is not None
    state = tuple(part.detach().float() + 1e-3 for part in case.state)  # not what bfloat16 could hold
    with torch.no_grad():
        output, final = found_of(cell, case._replace(state=state), way)
    assert output.dtype == final[0].dtype == torch.float32
    steps = case.switch.frames[..., None] * case.switch.neurons > 0.5
    steps &= frames_within(case.lengths, 9)[..., None]
    before = torch.cat((state[0][:, None], output[:, :-1]), dim=1)
    assert torch.equal(output[~steps], before[~steps])
    assert (output[steps] != before[steps]).float().mean() > 0.7  # a relu may well stay at zero
    assert torch.equal(final[0], output[:, -1])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", [GRU, LSTM], ids=lambda cell: cell.name)
def test_bfloat16_weights_run_with_a_state_in_single_precision(cell: Cell, way: Way) -> None:
    case = make_case(cell, neuron_rate=0.4, dtype=torch.bfloat16)
    state = tuple(part.detach().float().requires_grad_() for part in case.state)
    case = case._replace(state=state)
    # the reference in single precision, at the same weights and frames
    weights = Weights(*(t.detach().float().requires_grad_() for t in case.weights if t is not None))
    assert case.switch is not None
    assert case.switch.neurons is not None
    switch = Switch(*(t.detach().float().requires_grad_() for t in (case.switch.frames, case.switch.neurons)))
    wide = Case(case.frames.detach().float().requires_grad_(), state, weights, switch, case.lengths)
    found, expected = found_of(cell, case, way), expected_of(cell, wide)
    pairs = [(found[0], expected[0]), *zip(found[1], expected[1], strict=True)]
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=0, atol=0.02)  # projected frames are rounded to 8 bits
    for one, other in zip(gradients(case, *found), gradients(wide, *expected), strict=True):
        assert (one.float() - other).norm() <= 0.03 * other.norm() + 1e-3
    narrow = case._replace(state=tuple(part.bfloat16() for part in state))
    output, final = found_of(cell, narrow, way)
    assert output.dtype == final[0].dtype == torch.bfloat16


@pytest.mark.parametrize("way", WAYS)
def test_fresh_chains_are_streams_of_their_own_that_begin_at_zero(way: Way) -> None:
    case = make_case(GRU, lengths=(6, 4), rate=None)
    counts = case.lengths
    fresh = torch.zeros(10, dtype=torch.bool, device=DEVICE)
    fresh[[2, 3, 6]] = True  # chains of rows 0 1 | 2 | 3 4 5, and 6 7 8 9, which begins at zero, too
    rows = torch.cat((case.frames[0, :6], case.frames[1, :4]))
    ran = run_rows(GRU, rows, case.state, case.weights, lay_out(counts, fresh), None, None, None, False, way=way)
    zero = torch.zeros_like(case.state[0][:1])
    parts = []
    for begin, end, state in ((0, 2, case.state[0][:1]), (2, 3, zero), (3, 6, zero), (6, 10, zero)):
        alone = Case(rows[None, begin:end], (state,), case.weights, None, counts.new_tensor([end - begin]))
        parts.append(expected_of(GRU, alone)[0][0])
    expected = torch.cat(parts)
    torch.testing.assert_close(ran.output, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(ran.state[0], expected[[5, 9]], rtol=0, atol=1e-12)
    mix = torch.randn(10, 8, generator=torch.Generator().manual_seed(0)).to(expected)
    leaves = [case.frames, *case.state, *(t for t in case.weights if t is not None)]
    found = torch.autograd.grad((ran.output * mix).sum() + ran.state[0].sum(), leaves)
    wanted = torch.autograd.grad((expected * mix).sum() + expected[[5, 9]].sum(), leaves)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_no_rows_keep_the_state() -> None:
    case = make_case(LSTM, rate=0.0, lengths=(2, 3))
    assert_equal_to_reference(LSTM, case, None)


def test_what_is_asked_for_in_vain_is_refused() -> None:
    case = make_case(GRU)
    rows, layout = case.frames[0, :2], lay_out(torch.tensor([2, 0, 0], device=DEVICE))
    half = Weights(*(None if t is None else t.half() for t in case.weights))  # type: ignore[arg-type]
    assert not can_run(GRU, rows.half(), half)
    with pytest.raises(ValueError, match="float16"):
        run_rows(GRU, rows.half(), case.state, half, layout, None, None, None, False)
    wide = make_case(GRU, hidden_size=130)
    with pytest.raises(ValueError, match="130 neurons of gru have too many weights"):
        run_rows(GRU, rows, wide.state, wide.weights, layout, None, None, None, False, way="on chip")
    ran = run_rows(GRU, rows, case.state, case.weights, layout, None, None, None, False)
    with pytest.raises(ValueError, match="second derivatives"):
        torch.autograd.grad(ran.output.sum(), case.state, create_graph=True)


def test_few_open_neurons_are_gathered_and_small_weights_stay_on_chip() -> None:
    def way(hidden_size: int, num_chains: int, share: float, *, is_backward: bool = False) -> Way:
        weight = torch.empty(3 * hidden_size, hidden_size)
        return choose_way(GRU, weight, num_chains, share, 132, is_backward=is_backward)

    assert way(16, 1, 1.0) == way(128, 1, 1.0) == "on chip"
    assert way(128, 1, 0.5, is_backward=True) == way(256, 1, 0.1) == way(512, 1, 0.05) == "gathered"
    assert way(512, 1, 1.0) == way(512, 256, 1.0) == way(512, 256, 1.0, is_backward=True) == "grouped"


@pytest.mark.parametrize("kind", [SuGRU, SuLSTM])
def test_a_layer_runs_on_them_when_asked(kind: type[SuGRU] | type[SuLSTM]) -> None:
    torch.manual_seed(0)
    layer = kind(F, 8, num_layers=2, bidirectional=True, batch_first=True, dtype=torch.float64).to(DEVICE)
    frames = torch.randn(2, 6, F, dtype=torch.float64, device=DEVICE)
    switch = Switch(
        (torch.rand(2, 6, device=DEVICE) < 0.6).double().requires_grad_(),
        (torch.rand(2, 6, 16, device=DEVICE) < 0.5).double().requires_grad_(),
    )
    found: dict[str, list[Tensor]] = {}
    for backend in ("triton", "reference"):
        result = layer(frames, switch=switch, backend=backend)
        assert result.backend == backend
        leaves = [switch.frames, switch.neurons, *layer.parameters()]
        found[backend] = [result.output, *torch.autograd.grad(result.output.square().sum(), leaves)]  # type: ignore[arg-type]
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_a_layer_on_a_cpu_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surnn.kernels.triton_rows.is_interpreting", lambda: False)
    with pytest.raises(ValueError, match='backend="packed"'):
        SuGRU(F, 8)(torch.ones(2, 1, F), switch=Switch(torch.ones(1, 2), torch.ones(1, 2, 8)), backend="triton")
