from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surnn import EventGate, frame_and_neuron_losses

F = 8


def event_gate(
    num_neurons: int | None = None, initial_logit: float = 0.0, level_frames: int | None = None
) -> EventGate:
    torch.manual_seed(0)
    gate = EventGate(
        F, channels=12, level_frames=level_frames, num_neurons=num_neurons, initial_logit=initial_logit
    ).double()
    gate.set_statistics(torch.linspace(-5, 5, F), torch.linspace(0.5, 2, F))
    return gate


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(1, 59), max_size=5), level_frames=st.sampled_from([None, 1, 5]))
def test_event_logits_in_blocks_with_context_equal_one_pass(cuts: list[int], level_frames: int | None) -> None:
    gate, glance = event_gate(num_neurons=3, level_frames=level_frames), 3 * torch.randn(2, 60, F).double()
    with torch.no_grad():
        whole = gate.switch(glance)
        bounds = [0, *sorted(set(cuts)), 60]
        blocks = []
        for begin, end in pairwise(bounds):
            left, right = begin - gate.lookback_frames, end + gate.lookahead_frames
            seen = glance[:, max(0, left) : right]
            blocks.append(gate.logits(seen, pad_left=max(0, -left), pad_right=max(0, right - 60)))
    frames, neurons = zip(*blocks, strict=True)
    assert whole.logits is not None
    assert whole.neuron_logits is not None
    torch.testing.assert_close(torch.cat(frames, dim=1), whole.logits, rtol=0, atol=1e-13)
    torch.testing.assert_close(torch.cat(neurons, dim=1), whole.neuron_logits, rtol=0, atol=1e-13)


def test_event_gate_equals_stock_convolutions() -> None:
    gate, glance = event_gate(), torch.randn(2, 30, F).double()
    layers: list[torch.nn.Module] = [torch.nn.Conv1d(F, 12, 1).double(), torch.nn.ReLU()]
    layers[0].load_state_dict({"weight": gate.entry.weight[..., None], "bias": gate.entry.bias})
    for dilation, ours in zip((1, 2, 4), gate.convolutions, strict=True):
        stock = torch.nn.Conv1d(12, 12, 3, dilation=dilation).double()
        stock.load_state_dict(
            {"weight": ours.get_parameter("weight").view(12, 3, 12).transpose(1, 2), "bias": ours.get_parameter("bias")}
        )
        layers += [stock, torch.nn.ReLU()]
    layers.append(torch.nn.Conv1d(12, 1, 1).double())
    layers[-1].load_state_dict({"weight": gate.decision.weight[..., None], "bias": gate.decision.bias})
    expected = torch.nn.Sequential(*layers)(((glance - gate.mean) / gate.scale).transpose(1, 2))[:, 0]
    torch.testing.assert_close(gate.logits(glance)[0], expected, rtol=0, atol=1e-13)
    assert gate.logits(glance)[0].shape == (2, 30 - gate.lookback_frames - gate.lookahead_frames)


def test_a_louder_recording_is_decided_alike_where_the_level_is_taken_off() -> None:
    glance = torch.randn(1, 60, F).double()
    for level_frames, is_alike in ((4, True), (None, False)):
        gate = event_gate(level_frames=level_frames)
        gate.scale.fill_(1.5)  # one scale for all numbers: then a change of level is exactly what is taken off
        assert torch.allclose(gate.logits(glance)[0], gate.logits(glance + 2.0)[0], rtol=0, atol=1e-12) == is_alike


def test_event_gate_sees_its_field_and_nothing_else() -> None:
    gate = event_gate()
    glance = torch.randn(1, 41, F).double().requires_grad_()
    logits = gate.switch(glance).logits
    assert logits is not None
    torch.autograd.backward(logits[0, 20])
    assert glance.grad is not None
    seen = (glance.grad[0] != 0).any(dim=-1).nonzero()[:, 0]
    assert (int(seen.min()), int(seen.max())) == (20 - gate.lookback_frames, 20 + gate.lookahead_frames) == (13, 27)


def test_event_gate_opens_among_what_was_left_open_and_passes_a_gradient_there() -> None:
    gate, glance = event_gate(initial_logit=5.0), torch.randn(1, 20, F).double()
    among = torch.arange(20)[None] % 2 == 0
    switch = gate.switch(glance, among=among)
    assert torch.equal(switch.frames > 0, among)
    assert switch.logits is not None
    (grad,) = torch.autograd.grad(switch.frames.sum(), switch.logits)
    assert torch.equal(grad != 0, among)


def test_threshold_shift_moves_the_threshold() -> None:
    gate, glance = event_gate(), torch.randn(1, 200, F).double()
    with torch.no_grad():
        logits = gate.switch(glance).logits
        assert logits is not None
        gate.threshold_shift = float(logits.quantile(0.9))
        shifted = gate.switch(glance)
    assert shifted.logits is not None
    assert torch.equal(shifted.frames > 0, logits > gate.threshold_shift)
    assert torch.equal(shifted.frames > 0, shifted.logits > 0)


def test_training_starts_mostly_open_and_the_normalisation_is_saved() -> None:
    torch.manual_seed(0)
    gate = EventGate(F)
    gate.set_statistics(torch.full((F,), 3.0), torch.full((F,), 2.0))
    assert float(gate.switch(3 + 2 * torch.randn(1, 500, F)).frames.detach().mean()) > 0.9
    other = EventGate(F)
    other.load_state_dict(gate.state_dict())
    glance = torch.randn(1, 20, F)
    assert torch.equal(gate.logits(glance)[0], other.logits(glance)[0])


def closed_gate() -> EventGate:
    gate = EventGate(F, channels=12, num_neurons=4, initial_logit=-4.0).float()
    gate.set_statistics(torch.zeros(F), torch.ones(F))
    return gate


@pytest.mark.parametrize("is_two_sided", [True, False], ids=["two-sided", "one-sided"])
def test_frames_and_neurons_that_are_all_closed_open_again_under_two_sided_budgets_alone(is_two_sided: bool) -> None:
    torch.manual_seed(0)
    gate, glance = closed_gate(), torch.randn(2, 100, F)
    first = gate.switch(glance)
    assert first.neurons is not None
    assert not first.frames.any()
    assert not first.neurons.any()

    # The dead zone: each factor of the product is closed, so the task gives neither a gradient.
    task = (first.frames[..., None] * first.neurons * torch.randn(2, 100, 4)).sum()
    assert all(not grad.any() for grad in torch.autograd.grad(task, list(gate.parameters())))

    optimizer = torch.optim.Adam(gate.parameters(), lr=0.01)
    for _ in range(150):
        switch = gate.switch(glance)
        assert switch.neurons is not None
        if is_two_sided:
            losses = frame_and_neuron_losses(switch, frame_budget=0.2, neuron_budget=0.5)
            assert losses.frames is not None
            assert losses.neurons is not None
            loss = losses.frames + losses.neurons
        else:
            loss = (switch.frames.mean() - 0.2).relu() + (switch.neurons.mean() - 0.5).relu()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    last = gate.switch(glance)
    assert last.neurons is not None
    assert bool(last.frames.any()) == is_two_sided
    if is_two_sided:
        assert 0.1 < float(last.frames.detach().mean()) < 0.4
        assert 0.3 < float(last.neurons[last.frames > 0].detach().mean()) < 0.7


def test_what_does_not_fit_is_refused() -> None:
    gate = EventGate(F)
    with pytest.raises(ValueError, match=r"glance has shape \(1, 30, 3\).*glance_size=8"):
        gate.switch(torch.zeros(1, 30, 3))
    with pytest.raises(ValueError, match="13 frames are fewer than the context of 7 before and 7 after"):
        gate.logits(torch.zeros(1, 13, F))
    with pytest.raises(ValueError, match="std above 0"):
        gate.set_statistics(torch.zeros(F), torch.zeros(F))
    with pytest.raises(ValueError, match=r"mean has shape \(3,\)"):
        gate.set_statistics(torch.zeros(3), torch.ones(F))
    with pytest.raises(ValueError, match=r"frame_budget=1\.5"):
        EventGate(F, frame_budget=1.5)
    with pytest.raises(ValueError, match=r"dilations\[1\]=0"):
        EventGate(F, dilations=(1, 0))
    with pytest.raises(ValueError, match="num_neurons=0"):
        EventGate(F, num_neurons=0)
