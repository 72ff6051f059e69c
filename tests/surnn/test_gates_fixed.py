import math

import pytest
import torch

from surnn import Clockwork, Open, RandomGate, Stride

F = 8


def test_open_opens_everything() -> None:
    assert Open(F).switch(torch.zeros(2, 3, F)).frames.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_stride_counts_from_the_start_of_the_recording() -> None:
    gate = Stride(F, every=4, offset=1)
    assert gate.switch(torch.zeros(1, 6, F)).frames.tolist() == [[0, 1, 0, 0, 0, 1]]
    assert gate.switch(torch.zeros(1, 6, F), first_frame=5).frames.tolist() == [[1, 0, 0, 0, 1, 0]]


def test_a_clock_ticks_at_multiples_of_each_groups_period_counted_from_the_start_of_the_recording() -> None:
    gate = Clockwork(F, num_neurons=5, periods=(2, 3))  # as evenly as it goes: three neurons of 2, two of 3
    switch = gate.switch(torch.zeros(1, 7, F))
    assert switch.neurons is not None
    twos, threes = [1, 0, 1, 0, 1, 0, 1], [1, 0, 0, 1, 0, 0, 1]
    assert switch.neurons[0].T.tolist() == [twos, twos, twos, threes, threes]
    assert switch.frames[0].tolist() == [1, 0, 1, 1, 1, 0, 1]  # where no group ticks, the frame is closed
    assert gate.switch(torch.zeros(1, 2, F), first_frame=10**9 + 1).frames.tolist() == [[0, 1]]  # 2 divides 10**9 + 2


def test_a_neuron_of_a_clock_is_open_once_per_period() -> None:
    neurons = Clockwork(F, num_neurons=12).switch(torch.zeros(1, 64, F)).neurons
    assert neurons is not None
    assert neurons[0].sum(dim=0).tolist() == [64, 64, 32, 32, 16, 16, 8, 8, 4, 4, 2, 2]


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_random_rate_is_the_nominal_one(rate: float, seed: int) -> None:
    num_frames = 100_000
    frames = RandomGate(F, rate=rate, seed=seed).switch(torch.zeros(1, num_frames, 1)).frames[0].double()
    sigma = math.sqrt(rate * (1 - rate) / num_frames)
    assert float(frames.mean()) == pytest.approx(rate, abs=4.5 * sigma)
    # neighbours are independent: pairs occur at rate squared
    pairs = float((frames[1:] * frames[:-1]).mean())
    assert pairs == pytest.approx(rate**2, abs=4.5 * 2 * sigma)


def test_seeds_draw_independently() -> None:
    glance = torch.zeros(1, 50_000, 1)
    first, second = (RandomGate(F, rate=0.5, seed=seed).switch(glance).frames for seed in (1, 2))
    assert float((first == second).double().mean()) == pytest.approx(0.5, abs=4.5 * 0.5 / math.sqrt(50_000))


@pytest.mark.parametrize("seed", [-(2**63), -1, 2**63 - 1])
def test_any_int64_seed_draws(seed: int) -> None:
    frames = RandomGate(F, rate=0.5, seed=seed).switch(torch.zeros(1, 10_000, 1), 10**9).frames
    assert float(frames.mean()) == pytest.approx(0.5, abs=4.5 * 0.5 / 100)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="rate=2"):
        RandomGate(F, rate=2)
    with pytest.raises(ValueError, match="every=3, offset=3"):
        Stride(F, every=3, offset=3)
    for num_neurons, periods in ((4, (1, 0)), (4, ()), (2, (1, 2, 4))):
        with pytest.raises(ValueError, match=f"num_neurons={num_neurons}, periods=.*give fewer periods"):
            Clockwork(F, num_neurons=num_neurons, periods=periods)
