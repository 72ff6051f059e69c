"""What every gate promises, on every gate."""

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

from surnn import (
    Clockwork,
    EventGate,
    Gate,
    Heartbeat,
    Open,
    RandomGate,
    RhythmGate,
    SoftGate,
    Stride,
    Switch,
    hard_step,
)

F, H = 8, 6


def glance_of(streams: int, num_frames: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(streams, num_frames, F, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(
        dtype
    )


def event(num_neurons: int | None = None, level_frames: int | None = None) -> EventGate:
    gate = EventGate(F, channels=12, num_neurons=num_neurons, level_frames=level_frames, initial_logit=0.0)
    gate.set_statistics(torch.linspace(-1, 1, F), torch.linspace(0.5, 2, F))
    with torch.no_grad():  # about half of everything open
        frames, neurons = gate.logits(glance_of(1, 500, torch.float32))
        logits = frames[..., None] if neurons is None else torch.cat((frames[..., None], neurons), dim=-1)
        gate.decision.bias.sub_(logits[0].median(dim=0).values)
    return gate


BUILDERS: dict[str, Callable[[], Gate]] = {
    "open": lambda: Open(F),
    "random": lambda: RandomGate(F, rate=0.4, seed=3),
    "stride": lambda: Stride(F, every=3, offset=1),
    "clockwork": lambda: Clockwork(F, num_neurons=H, periods=(2, 4, 8)),
    "rhythm of frames": lambda: RhythmGate(F),
    "rhythm of neurons": lambda: RhythmGate(F, num_neurons=H),
    "event": lambda: event(),
    "event and neurons": lambda: event(H, level_frames=2),
    "heartbeat of an event": lambda: Heartbeat(event(H), every=7),
    "heartbeat of a stride": lambda: Heartbeat(Stride(F, every=4), every=7),
    "soft event": lambda: SoftGate(event(H)),
    "soft rhythm": lambda: Heartbeat(SoftGate(RhythmGate(F, num_neurons=H)), every=7),
}
every_gate = pytest.mark.parametrize("name", BUILDERS)
learns = pytest.mark.parametrize("name", [name for name in BUILDERS if "event" in name or "rhythm" in name])
NEURONS = {"clockwork", "rhythm of neurons", "event and neurons", "heartbeat of an event", "soft event", "soft rhythm"}


def gate_of(name: str, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(0)
    gate: Any = BUILDERS[name]()
    return gate.to(dtype) if isinstance(gate, nn.Module) else gate


def tensors(switch: Switch) -> list[Tensor]:
    return [value for value in switch if isinstance(value, Tensor)]


def assert_equal(ours: Switch, expected: Switch) -> None:
    for value, wanted in zip(ours, expected, strict=True):
        same = (
            torch.equal(value, wanted) if isinstance(value, Tensor) and isinstance(wanted, Tensor) else value is wanted
        )
        assert same


@every_gate
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_decisions_have_their_shape_the_type_of_the_glance_and_values_0_and_1(name: str, dtype: torch.dtype) -> None:
    gate = gate_of(name, dtype)
    switch = gate.switch(glance_of(3, 80, dtype))
    assert switch.frames.shape == (3, 80)
    assert (switch.neurons is not None) == (name in NEURONS) == (getattr(gate, "num_neurons", None) == H)
    assert all(value.dtype == dtype for value in tensors(switch))
    for decided, logits, shape in (
        (switch.frames, switch.logits, (3, 80)),
        (switch.neurons, switch.neuron_logits, (3, 80, H)),
    ):
        if decided is None:
            assert logits is None
            continue
        assert decided.shape == shape
        if "soft" in name:
            assert switch.is_soft
            assert ((decided >= 0) & (decided <= 1)).all()
        else:
            assert not switch.is_soft
            assert ((decided == 0) | (decided == 1)).all()
            assert decided.min() == 0 or name in ("open", "rhythm of neurons")  # both happen: the test can fail
        if logits is not None and "heartbeat" not in name and not switch.is_soft:
            assert torch.equal(decided > 0, logits > 0)


@every_gate
def test_a_gate_opens_only_among_what_was_left_open(name: str) -> None:
    gate, glance = gate_of(name), glance_of(2, 50)
    among = torch.rand(2, 50, generator=torch.Generator().manual_seed(2)) < 0.5
    free, bound = gate.switch(glance, 7), gate.switch(glance, 7, among)
    assert_equal(bound, free._replace(frames=free.frames * among))


@every_gate
def test_ragged_recordings_are_decided_as_each_alone_and_padding_stays_closed(name: str) -> None:
    gate, glance, lengths = gate_of(name), glance_of(3, 30), torch.tensor([30, 18, 4])
    within = torch.arange(30) < lengths[:, None]
    glance[~within] = torch.nan  # padding is not looked at
    together = gate.switch(glance, 5, lengths=lengths)
    for stream, length in enumerate(lengths.tolist()):
        alone = gate.switch(glance[stream, None, :length], 5)
        for ours, expected in zip(tensors(together), tensors(alone), strict=True):
            torch.testing.assert_close(ours[stream, None, :length], expected, rtol=0, atol=1e-13)
    assert not together.frames[~within].any()
    assert all(value.isfinite().all() for value in tensors(together))


@every_gate
@settings(deadline=None, max_examples=15)
@given(cuts=st.lists(st.integers(0, 90), max_size=6), first=st.sampled_from([0, 1, 12_345, 10**7, 10**9]))
def test_a_stream_cut_anywhere_is_decided_as_in_one_pass(name: str, cuts: list[int], first: int) -> None:
    gate, glance = gate_of(name), glance_of(2, 90)
    with torch.no_grad():
        whole, blocks = gate.switch(glance, first), []
        for begin, end in pairwise([0, *sorted(cuts), 90]):
            start = max(0, begin - gate.lookback_frames)
            seen = gate.switch(glance[:, start : end + gate.lookahead_frames], first + start)
            blocks.append([value[:, begin - start : end - start] for value in tensors(seen)])
    for parts, expected in zip(zip(*blocks, strict=True), tensors(whole), strict=True):
        # Functions of time agree to the last bit; products of matrices of other sizes round otherwise, and so do
        # vectorised sigmoids.
        tolerance = 1e-13 if "event" in name else 1e-15 if "soft" in name else 0.0
        torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=0, atol=tolerance)


@every_gate
def test_a_gradient_reaches_every_parameter_or_there_are_none(name: str) -> None:
    gate = gate_of(name)
    switch = gate.switch(glance_of(2, 60))
    is_open = switch.frames if switch.neurons is None else switch.frames[..., None] * switch.neurons
    parameters = list(gate.parameters()) if isinstance(gate, nn.Module) else []
    assert is_open.requires_grad == (len(parameters) > 0) == any(word in name for word in ("event", "rhythm"))
    if parameters:
        torch.autograd.backward(is_open, torch.rand_like(is_open))
        for parameter in parameters:
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            assert parameter.grad.any()


@every_gate
def test_copies_decide_alike(name: str) -> None:
    gate, glance = gate_of(name), glance_of(2, 40)
    expected = gate.switch(glance, 3)
    assert_equal(copy.deepcopy(gate).switch(glance, 3), expected)
    assert_equal(pickle.loads(pickle.dumps(gate)).switch(glance, 3), expected)


@learns
def test_a_state_dict_holds_all_that_was_learned(name: str) -> None:
    gate, glance = gate_of(name), glance_of(2, 40)
    torch.manual_seed(1)
    other: Any = BUILDERS[name]()
    other = other.double()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.load_state_dict(gate.state_dict())
    assert_equal(other.switch(glance, 3), gate.switch(glance, 3))


@every_gate
def test_autocast_changes_no_decision(name: str) -> None:
    gate, glance = gate_of(name, torch.float32), glance_of(2, 60, torch.float32)
    expected = gate.switch(glance, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_equal(gate.switch(glance, 3), expected)


# The compiler itself instantiates autograd functions.
@pytest.mark.filterwarnings("ignore:.*Function.* should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("name", ["heartbeat of an event", pytest.param("rhythm of neurons", marks=pytest.mark.slow)])
def test_a_compiled_gate_decides_alike_with_the_same_gradients(name: str) -> None:
    gate, glance = gate_of(name), glance_of(2, 40)
    results = []
    for switch in (gate.switch, torch.compile(gate.switch, backend="aot_eager")):
        decided = switch(glance, 3)
        grads: tuple[Tensor, ...] = ()
        if isinstance(gate, nn.Module):
            grads = torch.autograd.grad((decided.frames[..., None] * decided.neurons).sum(), tuple(gate.parameters()))
        results.append((decided, grads))
    (plain, plain_grads), (compiled, compiled_grads) = results
    assert_equal(compiled, plain)
    for ours, expected in zip(compiled_grads, plain_grads, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@every_gate
def test_what_does_not_fit_is_refused(name: str) -> None:
    gate, glance = gate_of(name), glance_of(2, 30)
    with pytest.raises(ValueError, match=r"among has shape \(2, 29\); the rule is one per frame, \(2, 30\)"):
        gate.switch(glance, 0, torch.ones(2, 29, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"lengths has shape \(3,\); the rule is one per stream, \(2,\)"):
        gate.switch(glance, lengths=torch.tensor([1, 2, 3]))


def test_hard_step_is_a_step_forward_and_twice_the_slope_of_a_sigmoid_backward() -> None:
    logits = torch.tensor([-3.0, -1e-9, 0.0, 1e-9, 0.7, 40.0], dtype=torch.float64, requires_grad=True)
    steps = hard_step(logits)
    assert steps.tolist() == [0, 0, 0, 1, 1, 1]
    (grad,) = torch.autograd.grad(steps, logits, torch.arange(1.0, 7.0, dtype=torch.float64))
    twin = logits.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(2 * twin.sigmoid(), twin, torch.arange(1.0, 7.0, dtype=torch.float64))
    torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-15)
