"""The packed backend is the same function as the reference, and the reference is the dense loop with a select."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surnn import Restart, Switch, sample_closed
from surnn.cells import GRU, LSTM, RNN_RELU, RNN_TANH, Cell, Weights
from surnn.kernels import closed, event, packed, reference
from surnn.network import Network

Array = npt.NDArray[np.float64]
F, H = 5, 4
FAST = pytest.mark.parametrize("backend", [packed, event], ids=lambda backend: backend.__name__)
CELLS = [RNN_TANH, RNN_RELU, GRU, LSTM]


class Case(NamedTuple):
    """What a scan is run over; double precision, every tensor a leaf that wants a gradient."""

    network: Network
    frames: Tensor
    state: tuple[Tensor, ...]
    switch: Switch | None
    lengths: Tensor | None

    def leaves(self) -> list[Tensor]:
        weights = [tensor for layer in self.network.layers for way in layer for tensor in way if tensor is not None]
        switch = [] if self.switch is None else [t for t in self.switch[:2] if t is not None and t.requires_grad]
        return [self.frames, *self.state, *switch, *weights]


def make_case(
    cell: Cell,
    *,
    num_layers: int = 1,
    num_directions: int = 1,
    num_frames: int = 19,
    rate: float | None = 0.4,
    has_neurons: bool = False,
    learns: bool = True,
    is_ragged: bool = False,
    bias: bool = True,
    residual: bool = False,
    dropout: bool = False,
    restart: Restart | None = None,
    seed: int = 1,
) -> Case:
    torch.manual_seed(seed)
    batch = 3

    def draw(*shape: int) -> Tensor:
        return (0.5 * torch.randn(*shape, dtype=torch.float64)).requires_grad_()

    def weights(below: int) -> Weights:
        rows = cell.num_blocks * H
        biases = (draw(rows), draw(rows)) if bias else (None, None)
        return Weights(draw(rows, below), draw(rows, H), *biases)

    layers = tuple(
        tuple(weights(F if layer == 0 else num_directions * H) for _ in range(num_directions))
        for layer in range(num_layers)
    )
    masks: list[Tensor | None] = [None] * num_layers
    if dropout:
        masks[1:] = [torch.bernoulli(torch.full((batch, num_directions * H), 0.7)).double() for _ in masks[1:]]
    switch = None
    if rate is not None:
        frames = (torch.rand(batch, num_frames) < rate).double().requires_grad_(learns)
        neurons = (torch.rand(batch, num_frames, num_directions * H) < 0.6).double().requires_grad_(learns)
        switch = Switch(frames, neurons if has_neurons else None)
    return Case(
        Network(cell, layers, tuple(masks), residual, restart),
        draw(batch, num_frames, F),
        tuple(draw(num_layers * num_directions, batch, H) for _ in range(cell.num_parts)),
        switch,
        torch.tensor([num_frames // 2, num_frames, 0]) if is_ragged else None,
    )


def run(backend: Any, case: Case, **options: Any) -> list[Tensor]:
    """Output, states, and the gradient of every leaf under two random linear losses: on all of it, on states alone."""
    output, state = backend.scan(case.frames, case.state, case.network, case.switch, case.lengths, **options)
    draws = torch.Generator().manual_seed(7)
    losses = [(part * torch.randn(part.shape, generator=draws, dtype=part.dtype)).sum() for part in (output, *state)]
    found = [output, *state]
    for loss in (sum(losses), sum(losses[1:])):
        leaves = case.leaves()
        found += torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
    return found


def case_of_scan(case: Case) -> tuple[Any, ...]:
    return case.frames, case.state, case.network, case.switch, case.lengths


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)  # double precision, sums of some hundred terms


@pytest.mark.parametrize("has_neurons", [False, True], ids=["frames", "neurons"])
@pytest.mark.parametrize("num_directions", [1, 2], ids=["forward", "both ways"])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
@FAST
def test_open_frames_alone_equal_reference_in_outputs_states_and_every_gradient(
    backend: Any, cell: Cell, num_directions: int, has_neurons: bool
) -> None:
    shapes = itertools.product((1, 3), (1, 13), (0.0, 0.4, 1.0), (False, True))
    for num_layers, num_frames, rate, is_ragged in shapes:
        case = make_case(
            cell,
            num_layers=num_layers,
            num_directions=num_directions,
            num_frames=num_frames,
            rate=rate,
            has_neurons=has_neurons,
            is_ragged=is_ragged,
        )
        assert_same(run(backend, case), run(reference, case))


@FAST
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
@pytest.mark.parametrize(
    "options",
    [
        {"rate": None},
        {"rate": None, "is_ragged": True, "num_directions": 2},
        {"learns": False, "num_directions": 2},
        {"learns": False, "is_ragged": True, "has_neurons": True},
        {"bias": False, "num_directions": 2},
        {"num_layers": 3, "residual": True, "num_directions": 2},
        {"num_layers": 3, "dropout": True, "has_neurons": True},
        {"num_layers": 3, "dropout": True, "residual": True, "num_directions": 2, "is_ragged": True},
        {"num_layers": 2, "num_directions": 2, "restart": Restart(after_closed=2)},
        {"num_layers": 2, "num_directions": 2, "restart": Restart(after_open=3), "has_neurons": True},
        {"num_layers": 2, "num_directions": 2, "restart": Restart(2, 3), "is_ragged": True, "residual": True},
        {"num_layers": 1, "num_directions": 2, "restart": Restart(after_open=1), "rate": 1.0},
        {"num_layers": 1, "num_directions": 2, "restart": Restart(1, 2), "learns": False},
    ],
    ids=str,
)
def test_open_frames_alone_equal_reference_under_every_option(
    backend: Any, cell: Cell, options: dict[str, Any]
) -> None:
    case = make_case(cell, **options)
    assert_same(run(backend, case), run(reference, case))
    with torch.no_grad():  # "event" takes a way of its own
        found, expected = (one.scan(*case_of_scan(case)) for one in (backend, reference))
    assert_same([found[0], *found[1]], [expected[0], *expected[1]])


@settings(deadline=None, max_examples=50)
@given(
    backend=st.sampled_from([packed, event]),
    cell=st.sampled_from(CELLS),
    num_layers=st.integers(1, 3),
    num_directions=st.integers(1, 2),
    num_frames=st.integers(1, 23),
    rate=st.sampled_from([0.05, 0.3, 0.8]),
    has_neurons=st.booleans(),
    is_ragged=st.booleans(),
    residual=st.booleans(),
    after_closed=st.one_of(st.none(), st.integers(1, 4)),
    after_open=st.one_of(st.none(), st.integers(1, 4)),
    block_frames=st.integers(1, 9),
    seed=st.integers(0, 999),
)
def test_open_frames_alone_equal_reference_whatever_is_drawn(
    backend: Any, after_closed: int | None, after_open: int | None, block_frames: int, **options: Any
) -> None:
    restart = Restart(after_closed, after_open) if options["num_directions"] == 2 else None
    case = make_case(restart=restart, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed, "BLOCK_FRAMES", block_frames)
        found = run(backend, case)
    assert_same(found, run(reference, case))
    with torch.no_grad():
        alone = backend.scan(*case_of_scan(case))
    assert_same([alone[0], *alone[1]], found[: 1 + len(alone[1])])


@pytest.mark.parametrize("backend", [reference, packed, event], ids=lambda backend: backend.__name__)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_closed_neurons_frames_and_padding_hold_bit_for_bit_in_single_precision(backend: Any, cell: Cell) -> None:
    case = make_case(cell, num_layers=2, num_frames=30, rate=0.3, has_neurons=True)
    assert case.switch is not None
    assert case.switch.neurons is not None
    lengths = torch.tensor([30, 20, 7])
    layers = tuple(
        tuple(Weights(*(t.float() for t in way if t is not None)) for way in layer) for layer in case.network.layers
    )
    frames, state = case.frames.float() * 1e3, tuple(part.float() for part in case.state)
    with torch.no_grad():
        output, final = backend.scan(frames, state, case.network._replace(layers=layers), case.switch, lengths)
    steps = (case.switch.frames[..., None] * case.switch.neurons > 0.5) & (torch.arange(30) < lengths[:, None])[
        ..., None
    ]
    before = torch.cat((state[0][-1][:, None], output[:, :-1]), dim=1)
    assert torch.equal(output[~steps], before[~steps])
    assert (output[steps] != before[steps]).float().mean() > 0.7  # a relu may well stay at zero
    assert torch.equal(final[0][-1], output[:, -1])


@pytest.mark.parametrize("backend", [reference, packed, event], ids=lambda backend: backend.__name__)
def test_what_a_closed_frame_holds_does_not_matter(backend: Any) -> None:
    case = make_case(GRU, learns=False)
    assert case.switch is not None
    spoiled = torch.where(case.switch.frames[..., None] > 0, case.frames, torch.nan)
    clean, dirty = (backend.scan(x, case.state, case.network, case.switch)[0] for x in (case.frames, spoiled))
    assert torch.equal(clean, dirty)


def relaxed_loop(
    frames: Array, state: list[Array], weights: list[list[Array]], is_open: Array, neurons: Array, mix: Array
) -> float:
    """The paper's arithmetic form h + g * (c - h) in numpy, for any real switch; a weighted sum of outputs."""

    def sigmoid(a: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-a)))

    held, total = [list(part) for part in zip(*state, strict=True)], 0.0  # held[layer][part]
    for t in range(frames.shape[1]):
        below = frames[:, t]
        gate = is_open[:, t, None] * neurons[:, t]
        for layer, (w_ih, w_hh, b_ih, b_hh) in enumerate(weights):
            h = held[layer][0]
            x, p = below @ w_ih.T + b_ih, h @ w_hh.T + b_hh
            if len(x[0]) == 3 * H:
                (x_r, x_z, x_n), (p_r, p_z, p_n) = np.split(x, 3, axis=1), np.split(p, 3, axis=1)
                z = sigmoid(x_z + p_z)
                new = [(1 - z) * np.tanh(x_n + sigmoid(x_r + p_r) * p_n) + z * h]
            else:
                i, f, g, o = np.split(x + p, 4, axis=1)
                c = sigmoid(f) * held[layer][1] + sigmoid(i) * np.tanh(g)
                new = [sigmoid(o) * np.tanh(c), c]
            held[layer] = [old + gate * (made - old) for old, made in zip(held[layer], new, strict=True)]
            below = held[layer][0]
        total += float((held[-1][0] * mix[:, t]).sum())
    return total


@pytest.mark.parametrize("backend", [reference, packed, event], ids=lambda backend: backend.__name__)
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", [GRU, LSTM], ids=lambda cell: cell.name)
def test_switch_gradients_are_slopes_of_the_relaxed_loop(cell: Cell, num_layers: int, backend: Any) -> None:
    case = make_case(cell, num_layers=num_layers, num_frames=6, rate=0.5, has_neurons=True, seed=4)
    assert case.switch is not None
    is_open, neurons = case.switch.frames, case.switch.neurons
    assert neurons is not None
    mix = torch.randn(3, 6, H, dtype=torch.float64)
    output, _ = backend.scan(case.frames, case.state, case.network, case.switch)
    grads = torch.autograd.grad((output * mix).sum(), (is_open, neurons))

    plain = [[t.detach().numpy() for t in way if t is not None] for (way,) in case.network.layers]
    arrays = case.frames.detach().numpy(), [part.detach().numpy() for part in case.state], plain
    step = 1e-6
    for values, grad in zip((is_open, neurons), grads, strict=True):
        for place in itertools.product(*map(range, values.shape)):
            sides = []
            for sign in (1, -1):
                nudged = values.detach().numpy().copy()
                nudged[place] += sign * step
                whole = is_open.detach().numpy(), neurons.detach().numpy()
                pair = (nudged, whole[1]) if values is is_open else (whole[0], nudged)
                sides.append(relaxed_loop(*arrays, *pair, mix.numpy()))
            # central difference: error of order step**2, and rounding / step
            assert float(grad[place]) == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)


@pytest.mark.parametrize("backend", [reference, packed, event], ids=lambda backend: backend.__name__)
def test_a_closed_neuron_holds_to_the_last_bit_while_its_neighbour_steps(backend: Any) -> None:
    case = make_case(GRU, num_frames=1, rate=1.0)
    neurons = torch.tensor([1, 0, 1, 0]).double().expand(3, 1, H)
    half, _ = backend.scan(case.frames, case.state, case.network, Switch(torch.ones(3, 1).double(), neurons))
    whole, _ = backend.scan(case.frames, case.state, case.network)
    takes = neurons[:, 0] > 0
    assert torch.equal(half[:, 0][~takes], case.state[0][0][~takes])
    torch.testing.assert_close(half[:, 0][takes], whole[:, 0][takes], rtol=0, atol=1e-14)


@pytest.mark.parametrize("backend", [reference, packed, event], ids=lambda backend: backend.__name__)
def test_padding_gives_the_switch_no_gradient(backend: Any) -> None:
    case = make_case(GRU, num_frames=4, rate=0.5, is_ragged=True)
    assert case.switch is not None
    output, _ = backend.scan(case.frames, case.state, case.network, case.switch, torch.tensor([4, 2, 0]))
    (grad,) = torch.autograd.grad(output.sum(), case.switch.frames)
    assert (grad != 0).tolist() == [[True] * 4, [True, True, False, False], [False] * 4]


def test_a_backward_direction_forgets_where_a_segment_ends() -> None:
    # One stream, open at 0, 1, 5, 6, 7; a gap of 3 closed frames, and at most 2 open frames: segments 0 1 | 5 6 | 7.
    case = make_case(GRU, num_directions=2, num_frames=8)
    is_open = torch.tensor([1, 1, 0, 0, 0, 1, 1, 1]).double().expand(3, -1)
    network = case.network._replace(restart=Restart(after_closed=3, after_open=2))
    state = tuple(torch.zeros_like(part) for part in case.state)
    (both,) = case.network.layers
    for backend in (reference, packed, event):
        output, _ = backend.scan(case.frames, state, network, Switch(is_open))
        alone = network._replace(layers=((both[1],),), restart=None)
        for begin, end in ((0, 2), (5, 7), (7, 8)):
            segment = case.frames[:, begin:end].flip(1)
            expected, _ = reference.scan(segment, tuple(part[1:] for part in state), alone)
            torch.testing.assert_close(output[:, begin:end, H:], expected.flip(1), rtol=0, atol=1e-13)
        assert torch.equal(output[:, 3, H:], output[:, 5, H:])  # held from the right


def test_a_sampled_share_of_closed_frames_gives_the_exact_gradient_on_average() -> None:
    case = make_case(GRU, num_layers=2, num_frames=12, rate=0.3)
    assert case.switch is not None
    is_open = case.switch.frames

    def gradient(**options: Any) -> Tensor:
        output, _ = packed.scan(case.frames, case.state, case.network, case.switch, **options)
        return torch.autograd.grad((output * mix).sum(), is_open)[0]

    mix = torch.randn(3, 12, H, dtype=torch.float64)
    exact = gradient()
    draws, generator = [], torch.Generator().manual_seed(0)
    for _ in range(400):
        sampled = sample_closed(case.switch, 0.5, generator=generator)
        grad = gradient(sampled=sampled)
        left_out = (is_open < 0.5) & ~sampled.frames
        assert torch.equal(grad[left_out], torch.zeros_like(grad[left_out]))
        draws.append(grad)
    mean = torch.stack(draws).mean(0)
    # each closed frame's draw is 0 or twice the exact one: standard error |exact| / sqrt(400)
    assert bool(((mean - exact).abs() <= 5 * exact.abs() / 20 + 1e-12).all())
    torch.testing.assert_close(mean[is_open > 0.5], exact[is_open > 0.5], rtol=0, atol=1e-12)


def kept_bytes(call: Callable[[], tuple[Tensor, Any]]) -> int:
    """Bytes that autograd keeps for the backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        call()
    return sum(kept.values())


@FAST
def test_what_is_kept_for_the_backward_pass_grows_with_open_frames_alone(backend: Any) -> None:
    sizes = []
    for num_frames in (2_000, 20_000):
        case = make_case(GRU, num_frames=num_frames, rate=0.0)
        is_open = torch.zeros(3, num_frames, dtype=torch.float64)
        is_open[:, :: num_frames // 20] = 1
        switch = Switch(is_open.requires_grad_())
        sizes.append(kept_bytes(lambda: backend.scan(case.frames, case.state, case.network, switch)))  # noqa: B023
    per_frame = (sizes[1] - sizes[0]) / (3 * 18_000)
    # Beside input and switch, which exist already: two places of 8 bytes, and whether it is closed; not H numbers.
    assert per_frame - 8 * (F + 1) <= 17, f"{per_frame} bytes per closed frame"


def test_packed_refuses_a_soft_switch() -> None:
    case = make_case(GRU)
    soft = Switch(torch.full((3, 19), 0.3, dtype=torch.float64), is_soft=True)
    with pytest.raises(ValueError, match=r'soft.*backend="reference"'):
        packed.scan(case.frames, case.state, case.network, soft)


def test_a_soft_switch_mixes() -> None:
    case = make_case(GRU, num_frames=1, rate=1.0)
    quarter = Switch(torch.full((3, 1), 0.25, dtype=torch.float64), is_soft=True)
    whole, _ = reference.scan(case.frames, case.state, case.network)
    mixed, _ = reference.scan(case.frames, case.state, case.network, quarter)
    torch.testing.assert_close(mixed[:, 0], 0.75 * case.state[0][0] + 0.25 * whole[:, 0], rtol=0, atol=1e-14)
