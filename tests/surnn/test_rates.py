import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surnn import Switch, switch_rates


def test_shares_worked_by_hand() -> None:
    # Two streams of 4 and 2 frames. Open: frames 0, 1, 3 of the first, frame 1 of the second: 4 of 6.
    frames = torch.tensor([[1.0, 1, 0, 1], [0, 1, 1, 1]])
    # Neuron 0 is open on every open frame, neuron 1 on one of them, neuron 2 only on closed ones and on padding.
    neurons = torch.tensor(
        [[[1.0, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0]], [[0, 0, 1], [1, 0, 0], [1, 1, 1], [1, 1, 1]]]
    )
    rates = switch_rates(Switch(frames, neurons), torch.tensor([4, 2]))
    assert rates.to_dict("train/") == {
        "train/num_frames": 6,
        "train/frame_share": pytest.approx(4 / 6),
        "train/neuron_share": pytest.approx(5 / 12),
        "train/update_share": pytest.approx(5 / 18),
        "train/num_dead_neurons": 1,
        "train/num_always_open_neurons": 1,
    }
    assert rates.share_by_neuron is not None
    assert rates.share_by_neuron.tolist() == [1.0, 0.25, 0.0]


def test_probabilities_are_means_of_sigmoids_over_what_counts() -> None:
    logits = torch.tensor([[0.0, math.log(3), 50.0]], requires_grad=True)
    neuron_logits = torch.tensor([[[0.0, math.log(3)], [math.log(3), 0.0], [math.nan, 9.0]]], requires_grad=True)
    switch = Switch(torch.ones(1, 3), torch.ones(1, 3, 2), logits, neuron_logits)
    rates = switch_rates(switch, mask=torch.tensor([[True, True, False]]))
    assert float(rates.frame_probability or math.nan) == pytest.approx(0.625)
    assert float(rates.neuron_probability or math.nan) == pytest.approx(0.625)
    assert not any(isinstance(value, torch.Tensor) and value.requires_grad for value in rates)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), lengths=st.lists(st.integers(0, 9), min_size=3, max_size=3))
def test_padding_does_not_count_and_the_shares_fit_together(seed: int, lengths: list[int]) -> None:
    torch.manual_seed(seed)
    switch = Switch((torch.rand(3, 9) < 0.4).float(), (torch.rand(3, 9, 4) < 0.3).float(), torch.randn(3, 9))
    rates = switch_rates(switch, torch.tensor(lengths))
    flat = [torch.cat([v[s, :n] for s, n in enumerate(lengths)])[None] for v in switch if isinstance(v, torch.Tensor)]
    alone = switch_rates(Switch(flat[0], flat[1], flat[2]))
    for ours, expected in zip(rates, alone, strict=True):
        if ours is not None:
            assert expected is not None
            torch.testing.assert_close(ours, expected, equal_nan=True, rtol=1e-6, atol=0)
    if rates.frame_share > 0:
        assert float(rates.update_share) == pytest.approx(float(rates.frame_share * rates.neuron_share))
        assert rates.share_by_neuron is not None
        assert float(rates.share_by_neuron.mean()) == pytest.approx(float(rates.neuron_share))


def test_what_is_undefined_is_left_out_of_the_log() -> None:
    closed = switch_rates(Switch(torch.zeros(1, 3), torch.ones(1, 3, 2)))
    assert closed.to_dict() == {
        "num_frames": 3,
        "frame_share": 0,
        "update_share": 0,
        "num_dead_neurons": 2,
        "num_always_open_neurons": 0,
    }
    nothing = switch_rates(Switch(torch.ones(1, 3), logits=torch.ones(1, 3)), torch.tensor([0]))
    assert nothing.to_dict() == {"num_frames": 0}
    whole_frames = switch_rates(Switch(torch.tensor([[1.0, 0]])))
    assert whole_frames.to_dict() == {"num_frames": 2, "frame_share": 0.5, "neuron_share": 1, "update_share": 0.5}


def test_soft_shares_are_means_of_values() -> None:
    frames, neurons = torch.tensor([[0.25, 0.75]]), torch.tensor([[[0.8, 0.9], [0.4, 0.9]]])
    rates = switch_rates(Switch(frames, neurons, is_soft=True))
    assert float(rates.frame_share) == pytest.approx(0.5)
    assert float(rates.update_share) == pytest.approx((0.25 * 1.7 + 0.75 * 1.3) / 4)
    counts = rates.to_dict()  # above 0.5 is 0.675 alone, of neuron 1 on frame 1
    assert (counts["num_dead_neurons"], counts["num_always_open_neurons"]) == (1, 1)


def test_coarse_types_count_exactly() -> None:
    switch = Switch(torch.ones(1, 5001, dtype=torch.bfloat16), torch.ones(1, 5001, 2, dtype=torch.bfloat16))
    assert switch_rates(switch).to_dict()["update_share"] == 1.0


def test_what_does_not_fit_is_refused() -> None:
    switch = Switch(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"lengths has shape \(3,\); the rule for this switch is \(2,\)"):
        switch_rates(switch, torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match=r"mask has shape \(2, 4\); the rule for this switch is \(2, 3\)"):
        switch_rates(switch, mask=torch.ones(2, 4, dtype=torch.bool))
