import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surnn import Switch, frame_and_neuron_losses, hard_step, ratio_loss


def test_ratio_loss_worked_by_hand() -> None:
    # N = 4, F = 1/2, G = 0.3: 4/3 * (3 * 0.5 * 0.3 + 0.5 * 0.7) = 16/15
    loss = ratio_loss(torch.tensor([1.0, 0.0]), torch.tensor([0.4, 0.2]), 0.25)
    assert float(loss) == pytest.approx(16 / 15)


def test_padding_is_not_counted() -> None:
    hard, probability = torch.tensor([[1.0, 0, 1, 1]]), torch.tensor([[0.9, 0.2, 0.7, 0.8]])
    mask = torch.tensor([[True, True, False, False]])
    assert float(ratio_loss(hard, probability, 0.1, mask)) == pytest.approx(
        float(ratio_loss(hard[:, :2], probability[:, :2], 0.1))
    )


@settings(deadline=None, max_examples=60)
@given(budget=st.floats(0.02, 0.98), num_open=st.integers(0, 50), seed=st.integers(0, 99))
def test_too_many_open_push_every_probability_down_and_too_few_up(budget: float, num_open: int, seed: int) -> None:
    torch.manual_seed(seed)
    hard = (torch.arange(50) < num_open).double()
    probability = torch.rand(50).double().requires_grad_()
    torch.autograd.backward(ratio_loss(hard, probability, budget))
    assert probability.grad is not None
    if abs(num_open / 50 - budget) > 1e-9:
        assert ((probability.grad > 0) == (num_open / 50 > budget)).all()
        assert (probability.grad != 0).all()


def as_switch(logits: Tensor, neuron_logits: Tensor) -> Switch:
    return Switch(hard_step(logits), hard_step(neuron_logits), logits, neuron_logits)


def train(logits: Tensor, neuron_logits: Tensor, frame_budget: float, neuron_budget: float) -> Switch:
    optimizer = torch.optim.Adam([logits, neuron_logits], lr=0.03)
    for _ in range(300):
        optimizer.zero_grad()
        switch = as_switch(logits, neuron_logits)
        losses = frame_and_neuron_losses(switch, frame_budget=frame_budget, neuron_budget=neuron_budget)
        assert losses.frames is not None
        assert losses.neurons is not None
        torch.autograd.backward(losses.frames + losses.neurons)
        optimizer.step()
    return as_switch(logits.detach(), neuron_logits.detach())


@pytest.mark.parametrize("start", [-3.0, 3.0])
def test_budgets_are_met_from_everything_closed_and_from_everything_open(start: float) -> None:
    torch.manual_seed(0)
    logits = (start + torch.randn(2, 200)).requires_grad_()
    neuron_logits = (start + torch.randn(2, 200, 8)).requires_grad_()
    switch = train(logits, neuron_logits, 0.2, 0.4)
    assert switch.neurons is not None
    assert 0.1 < float(switch.frames.mean()) < 0.3
    assert 0.3 < float(switch.neurons[switch.frames > 0].mean()) < 0.5


def test_a_frame_and_a_neuron_that_are_both_closed_are_both_pushed_open() -> None:
    logits, neuron_logits = torch.full((1, 4), -2.0).requires_grad_(), torch.full((1, 4, 3), -2.0).requires_grad_()
    switch = as_switch(logits, neuron_logits)
    losses = frame_and_neuron_losses(switch, frame_budget=0.1, neuron_budget=0.5)
    assert losses.frames is not None
    assert losses.neurons is not None
    torch.autograd.backward(losses.frames + losses.neurons)
    assert logits.grad is not None
    assert neuron_logits.grad is not None
    assert (logits.grad < 0).all()
    assert (neuron_logits.grad < 0).all()


def test_the_budget_of_neurons_is_of_open_frames_and_leaves_the_frame_switch_alone() -> None:
    # One of four frames is open, with both its neurons; those of closed frames are closed. Given an open frame, all are
    # open: too many, though only a quarter is open overall.
    logits = torch.tensor([[2.0, -2, -2, -2]]).requires_grad_()
    neuron_logits = logits.detach()[..., None].expand(1, 4, 2).clone().requires_grad_()
    losses = frame_and_neuron_losses(as_switch(logits, neuron_logits), frame_budget=0.25, neuron_budget=0.5)
    assert losses.neurons is not None
    frame_grad, neuron_grad = torch.autograd.grad(
        losses.neurons, (logits, neuron_logits), materialize_grads=True, allow_unused=True
    )
    assert (frame_grad == 0).all()
    assert (neuron_grad > 0).all()


def test_a_switch_of_neurons_alone_has_its_budget_counted_on_all_frames_that_count() -> None:
    # All frames are open, without a logit. Neurons: 3 of 4 are open where the mask is true; N = 2, F = 3/4.
    neuron_logits = torch.tensor([[[1.0, 2.0], [3.0, -1.0], [-9.0, -9.0]]], requires_grad=True)
    switch = Switch(torch.ones(1, 3), hard_step(neuron_logits), neuron_logits=neuron_logits)
    mask = torch.tensor([[True, True, False]])
    losses = frame_and_neuron_losses(switch, frame_budget=0.1, neuron_budget=0.5, mask=mask)
    assert losses.frames is None
    assert losses.neurons is not None
    mean = float(neuron_logits[0, :2].detach().sigmoid().mean())
    assert losses.neurons.item() == pytest.approx(2 * (0.75 * mean + 0.25 * (1 - mean)))


def test_a_grain_without_a_budget_has_no_loss() -> None:
    switch = as_switch(torch.randn(1, 5), torch.randn(1, 5, 2))
    only_frames = frame_and_neuron_losses(switch, frame_budget=0.2)
    only_neurons = frame_and_neuron_losses(switch, neuron_budget=0.3)
    both = frame_and_neuron_losses(switch, frame_budget=0.2, neuron_budget=0.3)
    assert (only_frames.neurons, only_neurons.frames) == (None, None)
    assert (only_frames.frames, only_neurons.neurons) == both


def test_masked_frames_are_left_alone_and_a_fully_masked_batch_is_finite() -> None:
    logits, neuron_logits = torch.randn(1, 6, requires_grad=True), torch.randn(1, 6, 2, requires_grad=True)
    for mask in (torch.arange(6)[None] < 3, torch.zeros(1, 6, dtype=torch.bool)):
        losses = frame_and_neuron_losses(
            as_switch(logits, neuron_logits), frame_budget=0.3, neuron_budget=0.5, mask=mask
        )
        assert losses.frames is not None
        assert losses.neurons is not None
        grads = torch.autograd.grad(losses.frames + losses.neurons, (logits, neuron_logits))
        for grad in grads:
            assert grad.isfinite().all()
            assert (grad[~mask] == 0).all()


def test_what_does_not_fit_is_refused() -> None:
    frames = torch.ones(1, 3)
    with pytest.raises(ValueError, match=r"budget=1 must lie between 0 and 1.*surnn\.Open"):
        ratio_loss(frames, frames, 1)
    with pytest.raises(ValueError, match="one shape for all"):
        ratio_loss(frames, frames[:, :2], 0.5)
    with pytest.raises(ValueError, match="no logits"):
        frame_and_neuron_losses(Switch(frames), frame_budget=0.1, neuron_budget=0.5)
