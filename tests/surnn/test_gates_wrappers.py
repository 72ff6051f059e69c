from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surnn import EventGate, Heartbeat, Open, RandomGate, RhythmGate, SoftGate, Stride

F, H = 8, 3


def event(initial_logit: float) -> EventGate:
    torch.manual_seed(0)
    return EventGate(F, channels=8, num_neurons=H, initial_logit=initial_logit)


@settings(deadline=None, max_examples=30)
@given(every=st.integers(1, 40), rate=st.floats(0, 0.3), first=st.integers(0, 10**9))
def test_at_most_every_minus_one_frames_in_a_row_stay_closed(every: int, rate: float, first: int) -> None:
    gate = RandomGate(F, rate=rate)
    glance = torch.zeros(1, 400, F)
    frames = Heartbeat(gate, every=every).switch(glance, first).frames[0]
    own = gate.switch(glance, first).frames[0]
    opened = [-1, *frames.nonzero()[:, 0].tolist(), 400]
    assert max(b - a - 1 for a, b in pairwise(opened)) <= every - 1
    assert (frames >= own).all()
    beats = (torch.arange(first, first + 400) % every == 0).float()
    assert torch.equal(frames, torch.maximum(own, beats))


def test_a_beat_opens_all_neurons_and_leaves_the_gate_its_own_gradient_elsewhere() -> None:
    gate = Heartbeat(event(-9.0), every=5)
    switch = gate.switch(torch.randn(1, 12, F), first_frame=3)
    assert switch.logits is not None
    assert switch.neurons is not None
    beats = [2, 7]  # frames 5 and 10 of the recording
    assert switch.frames[0].nonzero()[:, 0].tolist() == beats
    assert (switch.neurons[0, beats] == 1).all()
    assert switch.neurons.sum() == 2 * H
    (grad,) = torch.autograd.grad(switch.frames.sum(), switch.logits)
    assert (grad[0] == 0).nonzero()[:, 0].tolist() == beats


def test_a_soft_gate_gives_the_sigmoid_of_the_logits_and_its_gradient() -> None:
    inner, glance = event(0.0), torch.randn(2, 20, F)
    among = torch.arange(20).expand(2, 20) % 2 == 0
    switch, hard = SoftGate(inner).switch(glance, 0, among), inner.switch(glance)
    assert switch.logits is not None
    assert switch.neuron_logits is not None
    assert hard.logits is not None
    assert switch.is_soft
    assert torch.equal(switch.frames, hard.logits.sigmoid() * among)
    assert switch.neurons is not None
    assert torch.equal(switch.neurons, switch.neuron_logits.sigmoid())
    (grad,) = torch.autograd.grad(switch.frames.sum(), switch.logits)
    probability = hard.logits.sigmoid()
    torch.testing.assert_close(grad, probability * (1 - probability) * among)


def test_a_soft_rhythm_of_neurons_keeps_its_frames_open() -> None:
    switch = SoftGate(RhythmGate(F, num_neurons=H)).switch(torch.zeros(1, 9, F))
    assert switch.frames.tolist() == [[1] * 9]
    assert switch.neurons is not None
    assert ((switch.neurons > 0) & (switch.neurons < 1)).all()


def test_what_does_not_fit_is_refused() -> None:
    not_a_gate: Any = 64
    with pytest.raises(ValueError, match=r"gate=64 has no switch\(\); give a gate"):
        SoftGate(not_a_gate)
    with pytest.raises(ValueError, match=r"gate=64 has no switch\(\); give a gate"):
        Heartbeat(not_a_gate, every=3)
    with pytest.raises(ValueError, match=r"would lose the beats; give Heartbeat\(SoftGate"):
        SoftGate(Heartbeat(event(0.0), every=3))
    with pytest.raises(ValueError, match="every=0"):
        Heartbeat(Open(F), every=0)
    with pytest.raises(ValueError, match="Stride gives no logits"):
        SoftGate(Stride(F, every=3)).switch(torch.zeros(1, 2, F))
