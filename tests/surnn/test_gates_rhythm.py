import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from surnn import RhythmGate

F, H, K = 3, 5, 7
PARAMETERS = ("bias", "amplitudes", "frequencies", "phases")


def rhythm(dtype: torch.dtype = torch.float64, num_neurons: int | None = H, seed: int = 0) -> RhythmGate:
    torch.manual_seed(seed)
    return RhythmGate(F, num_neurons=num_neurons, num_frequencies=K).to(dtype)


def exact_logits(gate: RhythmGate, frame: int) -> list[float]:
    """The formula for the stored numbers: phases in rational arithmetic, whole turns taken off before the sine."""
    totals = []
    for bias, amplitudes, phases in zip(
        gate.bias.tolist(), gate.amplitudes.tolist(), gate.phases.tolist(), strict=True
    ):
        turns = [
            (Fraction(frequency) * frame + Fraction(phase)) % 1
            for frequency, phase in zip(gate.frequencies.tolist(), phases, strict=True)
        ]
        sines = [a * math.sin(2 * math.pi * float(turn)) for a, turn in zip(amplitudes, turns, strict=True)]
        totals.append(math.fsum([bias, *sines]))
    return totals


def direct_logits(gate: RhythmGate, frame: Tensor) -> Tensor:
    """The formula as it stands, (T, H), for autograd."""
    angle = 2 * math.pi * (gate.frequencies * frame[:, None, None] + gate.phases)
    return gate.bias + (gate.amplitudes * angle.sin()).sum(dim=-1)


@pytest.mark.parametrize("frame", [0, 1, 1000, 10**6 + 7, 10**7, 10**9])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_logits_are_those_of_exact_arithmetic_at_any_frame(dtype: torch.dtype, frame: int) -> None:
    gate = rhythm(dtype)
    logits = gate.logits(50, frame).detach()
    # Rounding of 2 K float64 terms, and of the phase as the class states it.
    phase_turns = 2.0**-54 + (frame + 50) * 2.0**-65 * (dtype == torch.float64)
    tolerance = float(gate.amplitudes.detach().abs().sum(1).max()) * (2 * math.pi * phase_turns + 1e-15) + 4e-16
    for place in (0, 1, 31, 49):
        assert logits[place].tolist() == pytest.approx(exact_logits(gate, frame + place), rel=0, abs=tolerance)


def test_float32_phases_would_be_wrong_after_a_week() -> None:
    # What the exact phases are for: the usual float32 product is off by far more than rounding at frame 10**7.
    gate, frame = rhythm(torch.float32), 10**7
    naive = direct_logits(gate, torch.tensor([float(frame)]))[0].tolist()
    assert max(abs(a - b) for a, b in zip(naive, exact_logits(gate, frame), strict=True)) > 0.05


def test_a_quarter_turn_per_frame_worked_by_hand() -> None:
    gate = RhythmGate(F, num_neurons=2, num_frequencies=1).double()
    with torch.no_grad():
        for name, value in (("bias", 0.0), ("amplitudes", 2.0), ("frequencies", 0.25)):
            gate.get_parameter(name).fill_(value)
        gate.phases.copy_(torch.tensor([[0.0], [-1.25]]))
    for first in (0, 4 * 10**8):
        # Zero crossings are exact zeros, which are closed.
        assert gate.logits(6, first).T.tolist() == [[0, 2, 0, -2, 0, 2], [-2, 0, 2, 0, -2, 0]]
        switch = gate.switch(torch.zeros(1, 6, F), first)
        assert switch.neurons is not None
        assert switch.neurons[0].T.tolist() == [[0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0]]
        assert switch.frames.tolist() == [[1] * 6]


@pytest.mark.parametrize("frequency", [0.5, -0.5, 1.5, 0.75, -3.25, 1 / 3, 1e-30])
def test_frequencies_of_half_a_turn_and_more_wrap(frequency: float) -> None:
    gate = rhythm()
    with torch.no_grad():
        gate.frequencies.fill_(frequency)
    for frame in (0, 1, 2, 999_999):
        assert gate.logits(1, frame)[0].tolist() == pytest.approx(exact_logits(gate, frame), rel=0, abs=1e-13)


def test_every_gradient_is_that_of_the_formula() -> None:
    gate, frame = rhythm(), torch.arange(40, 540, dtype=torch.float64)
    weights = torch.randn(500, H, dtype=torch.float64)
    parameters = [gate.get_parameter(name) for name in PARAMETERS]
    ours = torch.autograd.grad(gate.logits(500, 40), parameters, weights)
    expected = torch.autograd.grad(direct_logits(gate, frame), parameters, weights)
    for grad, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(grad, wanted, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("num_neurons", [None, H])
def test_a_switchs_gradient_is_that_of_twice_the_sigmoid_summed_over_streams(num_neurons: int | None) -> None:
    gate, frame = rhythm(num_neurons=num_neurons), torch.arange(9, 39, dtype=torch.float64)
    switch = gate.switch(torch.zeros(3, 30, F, dtype=torch.float64), 9)
    decided = switch.frames[..., None] if switch.neurons is None else switch.neurons
    weights = torch.randn_like(decided)
    parameters = [gate.get_parameter(name) for name in PARAMETERS]
    ours = torch.autograd.grad(decided, parameters, weights)
    expected = torch.autograd.grad(2 * direct_logits(gate, frame).sigmoid(), parameters, weights.sum(dim=0))
    for grad, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(grad, wanted, rtol=1e-11, atol=1e-12)


def test_gradients_of_the_soft_rhythm_are_those_of_finite_differences_to_second_order() -> None:
    gate = rhythm()
    parameters = tuple(gate.get_parameter(name).detach().clone().requires_grad_() for name in PARAMETERS)

    def soft(*values: Tensor) -> Tensor:
        decided: Tensor = torch.func.functional_call(gate, dict(zip(PARAMETERS, values, strict=True)), (6, 2))
        return decided.sigmoid()

    gate.forward = gate.logits  # what functional_call calls
    assert torch.autograd.gradcheck(soft, parameters)
    assert torch.autograd.gradgradcheck(soft, parameters)


def test_without_neurons_one_rhythm_opens_whole_frames() -> None:
    gate = rhythm(num_neurons=None)
    switch = gate.switch(torch.zeros(2, 300, F, dtype=torch.float64), 11)
    assert switch.logits is not None
    assert switch.neurons is None
    assert torch.equal(switch.logits[0], gate.logits(300, 11)[:, 0])
    assert torch.equal(switch.logits[0], switch.logits[1])
    assert 0 < float(switch.frames.detach().mean()) < 1


def test_training_starts_at_the_stated_values() -> None:
    torch.manual_seed(0)
    gate = RhythmGate(F, num_neurons=2000, num_frequencies=9, shortest_period_frames=4, longest_period_frames=1024)
    periods = (1 / gate.frequencies.detach()).tolist()
    assert periods == pytest.approx([2.0**power for power in range(2, 11)])
    logits = gate.logits(2048).detach()
    assert float((logits - 0.5).square().mean()) == pytest.approx(1.0, abs=0.05)
    assert float((logits > 0).double().mean()) == pytest.approx(0.69, abs=0.02)


def test_a_finer_glance_is_decided_in_its_own_precision_and_a_coarser_one_in_that_of_the_weights() -> None:
    gate = rhythm(torch.float32)
    for given, expected in (
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        switch = gate.switch(torch.zeros(1, 4, F, dtype=given))
        assert switch.neurons is not None
        assert (switch.frames.dtype, switch.neurons.dtype) == (expected, expected)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="num_neurons=0 must be at least 1"):
        RhythmGate(F, num_neurons=0)
    with pytest.raises(ValueError, match="num_frequencies=0 must be at least 1"):
        RhythmGate(F, num_frequencies=0)
    for shortest, longest in ((1.5, 8.0), (9.0, 8.0), (2.0, math.inf), (math.nan, 8.0)):
        with pytest.raises(ValueError, match=r"the rule is 2 <= shortest <= longest"):
            RhythmGate(F, shortest_period_frames=shortest, longest_period_frames=longest)
    with pytest.raises(ValueError, match=r"neuron_budget=1\.5"):
        RhythmGate(F, neuron_budget=1.5)
