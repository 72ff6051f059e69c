"""Every backend is the same function as the reference, and the reference is the dense loop with a select."""

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from surnn import GRUWeights, Switch
from surnn.kernels import packed, reference

Array = npt.NDArray[np.float64]
F, H = 5, 7


def make_weights(num_layers: int, dtype: torch.dtype = torch.float64) -> list[GRUWeights]:
    def draw(*shape: int) -> Tensor:
        return (0.5 * torch.randn(*shape, dtype=dtype)).requires_grad_()

    return [
        GRUWeights(draw(3 * H, F if layer == 0 else H), draw(3 * H, H), draw(3 * H), draw(3 * H))
        for layer in range(num_layers)
    ]


def with_first_open_frame_late(batch: int, num_frames: int) -> Tensor:
    is_open = torch.zeros(batch, num_frames)
    is_open[:, -1] = 1
    is_open[0, num_frames // 2] = 1
    return is_open


SWITCHES: dict[str, Callable[[int, int], Tensor | None]] = {
    "some open": lambda batch, num_frames: (torch.rand(batch, num_frames) < 0.4).float(),
    "all open": lambda batch, num_frames: torch.ones(batch, num_frames),
    "all closed": lambda batch, num_frames: torch.zeros(batch, num_frames),
    "late": with_first_open_frame_late,
    "one stream closed": lambda batch, num_frames: (torch.arange(batch) > 0).float()[:, None].expand(-1, num_frames),
    "no switch": lambda *_: None,
}


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("num_frames", [1, 19])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("openness", SWITCHES)
def test_packed_equals_reference_in_outputs_states_and_gradients(
    openness: str, num_layers: int, num_frames: int, ragged: bool
) -> None:
    torch.manual_seed(1)
    batch = 3
    weights = make_weights(num_layers)
    frames = torch.randn(batch, num_frames, F, dtype=torch.float64, requires_grad=True)
    state = torch.randn(num_layers, batch, H, dtype=torch.float64, requires_grad=True)
    decided = SWITCHES[openness](batch, num_frames)
    switch = None if decided is None else Switch(decided)
    lengths = torch.tensor([num_frames // 2, num_frames, 0]) if ragged else None
    leaves = [frames, state, *itertools.chain(*weights)]
    mix = torch.randn(batch, num_frames, H, dtype=torch.float64)
    mix_state = torch.randn(num_layers, batch, H, dtype=torch.float64)

    results = []
    for backend in (reference, packed):
        result = backend.scan(frames, state, weights, switch, lengths)
        loss = (result.output * mix).sum() + (result.state * mix_state).sum()
        grads = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        results.append([result.output, result.state, *grads])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)  # double precision, sums of some hundred terms


@pytest.mark.parametrize("backend", [reference, packed])
def test_closed_frames_and_padding_hold_bit_for_bit_in_single_precision(backend: object) -> None:
    torch.manual_seed(2)
    weights = make_weights(2, torch.float32)
    frames, state = torch.randn(3, 30, F) * 1e3, torch.randn(2, 3, H)
    is_open = torch.rand(3, 30) < 0.3
    lengths = torch.tensor([30, 20, 7])
    with torch.no_grad():
        result = backend.scan(frames, state, weights, Switch(is_open.float()), lengths)  # type: ignore[attr-defined]
    steps = is_open & (torch.arange(30) < lengths[:, None])
    before = torch.cat((state[-1][:, None], result.output[:, :-1]), dim=1)
    assert torch.equal(result.output[~steps], before[~steps])
    assert not torch.isclose(result.output[steps], before[steps]).all(dim=-1).any()
    assert torch.equal(result.state[-1], result.output[:, -1])


@pytest.mark.parametrize("backend", [reference, packed])
def test_what_a_closed_frame_holds_does_not_matter(backend: object) -> None:
    torch.manual_seed(3)
    weights = make_weights(1)
    frames, state = torch.randn(2, 9, F, dtype=torch.float64), torch.zeros(1, 2, H, dtype=torch.float64)
    is_open = torch.tensor([1, 0, 0, 1, 0, 1, 1, 0, 0]).double().expand(2, -1)
    spoiled = torch.where(is_open[..., None] > 0, frames, torch.nan)
    clean, dirty = (
        backend.scan(x, state, weights, Switch(is_open))  # type: ignore[attr-defined]
        for x in (frames, spoiled)
    )
    assert torch.equal(clean.output, dirty.output)


def relaxed_loop(
    frames: Array, state: Array, weights: list[list[Array]], is_open: Array, neurons: Array, mix: Array
) -> float:
    """The paper's arithmetic form h + g * (c - h) in numpy, for any real switch; a weighted sum of outputs."""

    def sigmoid(a: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-a)))

    held, total = list(state), 0.0
    for t in range(frames.shape[1]):
        below = frames[:, t]
        for layer, (w_ih, w_hh, b_ih, b_hh) in enumerate(weights):
            h = held[layer]
            x_r, x_z, x_n = np.split(below @ w_ih.T + b_ih, 3, axis=1)
            h_r, h_z, h_n = np.split(h @ w_hh.T + b_hh, 3, axis=1)
            z = sigmoid(x_z + h_z)
            candidate = (1 - z) * np.tanh(x_n + sigmoid(x_r + h_r) * h_n) + z * h
            below = held[layer] = h + is_open[:, t, None] * neurons[:, t] * (candidate - h)
        total += float((held[-1] * mix[:, t]).sum())
    return total


@pytest.mark.parametrize("num_layers", [1, 2])
def test_switch_gradients_of_the_reference_are_slopes_of_the_relaxed_loop(num_layers: int) -> None:
    torch.manual_seed(4)
    weights = make_weights(num_layers)
    batch, num_frames = 2, 6
    frames = torch.randn(batch, num_frames, F, dtype=torch.float64)
    state = torch.randn(num_layers, batch, H, dtype=torch.float64)
    is_open = (torch.rand(batch, num_frames) < 0.5).double().requires_grad_()
    neurons = (torch.rand(batch, num_frames, H) < 0.5).double().requires_grad_()
    mix = torch.randn(batch, num_frames, H, dtype=torch.float64)

    result = reference.scan(frames, state, weights, Switch(is_open, neurons))
    torch.autograd.backward((result.output * mix).sum())

    plain = [[tensor.detach().numpy() for tensor in layer] for layer in weights]
    arrays = frames.numpy(), state.numpy(), plain
    assert is_open.grad is not None
    assert neurons.grad is not None
    step = 1e-6
    for values, grad in ((is_open, is_open.grad), (neurons, neurons.grad)):
        for place in itertools.product(*map(range, values.shape)):
            sides = []
            for sign in (1, -1):
                nudged = values.detach().numpy().copy()
                nudged[place] += sign * step
                pair = (nudged, neurons.detach().numpy()) if values is is_open else (is_open.detach().numpy(), nudged)
                sides.append(relaxed_loop(*arrays, *pair, mix.numpy()))
            # central difference: error of order step**2, and rounding / step
            assert float(grad[place]) == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)


def test_a_closed_neuron_holds_to_the_last_bit_while_its_neighbour_steps() -> None:
    torch.manual_seed(5)
    weights = make_weights(1)
    frames, state = torch.randn(1, 1, F, dtype=torch.float64), torch.randn(1, 1, H, dtype=torch.float64)
    neurons = torch.tensor([1, 0, 1, 0, 1, 0, 1]).double().view(1, 1, H)
    half = reference.scan(frames, state, weights, Switch(torch.ones(1, 1), neurons)).output[0, 0]
    whole = reference.scan(frames, state, weights).output[0, 0]
    assert torch.equal(half, torch.where(neurons[0, 0] > 0, whole, state[0, 0]))


def test_padding_gives_the_switch_no_gradient() -> None:
    weights = make_weights(1)
    frames, state = torch.randn(2, 4, F, dtype=torch.float64), torch.zeros(1, 2, H, dtype=torch.float64)
    is_open = torch.ones(2, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.backward(reference.scan(frames, state, weights, Switch(is_open), torch.tensor([4, 2])).output.sum())
    assert is_open.grad is not None
    assert is_open.grad[1, 2:].tolist() == [0, 0]
    assert (is_open.grad[0] != 0).all()
    assert (is_open.grad[1, :2] != 0).all()


def test_packed_refuses_what_it_cannot_do() -> None:
    weights = make_weights(1)
    frames, state = torch.randn(1, 2, F, dtype=torch.float64), torch.zeros(1, 1, H, dtype=torch.float64)
    with pytest.raises(ValueError, match=r'switch has neurons.*backend="reference"'):
        packed.scan(frames, state, weights, Switch(torch.ones(1, 2), torch.ones(1, 2, H)))
    learning = Switch(torch.ones(1, 2, requires_grad=True))
    with pytest.raises(ValueError, match=r"requires a gradient.*detach"):
        packed.scan(frames, state, weights, learning)
    with torch.no_grad():  # no gradient is asked for here
        packed.scan(frames, state, weights, learning)
