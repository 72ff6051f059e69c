"""Layers do what torch's tools expect of a module: precision, autocast, compilation, data parallelism, CUDA."""

import os
import tempfile
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from surnn import EventGate, Restart, SuGRU, SuLSTM, SuRNN, Switch

F, H = 6, 8
KINDS = pytest.mark.parametrize("kind", [SuRNN, SuGRU, SuLSTM], ids=lambda kind: kind.__name__)


def make(kind: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    gate = EventGate(F, num_neurons=2 * H, initial_logit=0.0)
    with torch.no_grad():  # untrained, it would open everything or nothing: half of the decisions are to be open
        frame_logits, neuron_logits = gate.logits(torch.randn(1, 201, F))
        assert neuron_logits is not None
        gate.decision.bias -= torch.cat((frame_logits[..., None], neuron_logits), -1).flatten(0, 1).median(0).values
    options = {"bidirectional": True, "restart": Restart(3, 6), "residual": True, "gate": gate, **options}
    return kind(F, H, 2, batch_first=True, **options)


def step(layer: nn.Module, frames: Tensor) -> dict[str, Tensor]:
    """Gradients by name after one backward pass; every one of them has something to say."""
    layer.zero_grad()
    output, _ = layer(frames)
    output.square().mean().backward()
    grads = {name: p.grad.clone() for name, p in layer.named_parameters() if p.grad is not None}
    assert all(bool((grad != 0).any()) for grad in grads.values())
    return grads


@KINDS
def test_bfloat16_autocast_keeps_state_and_switch_exact(kind: Any) -> None:
    layer, frames = make(kind, gate=None), torch.randn(2, 20, F)
    switch = Switch((torch.rand(2, 20) < 0.4).float())
    plain = layer(frames, switch=switch)
    with torch.autocast("cpu", torch.bfloat16):
        below = nn.Linear(F, F)(frames)
        assert below.dtype == torch.bfloat16
        cast = layer(below, switch=switch)
        same = layer(frames, switch=switch)
    assert cast.output.dtype == torch.float32
    assert torch.equal(same.output, plain.output)
    assert torch.equal(cast.output, layer(below.float(), switch=switch).output)


@KINDS
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_layer_of_another_precision_trains_and_holds_bit_for_bit(kind: Any, dtype: torch.dtype) -> None:
    layer, frames = (
        make(kind, gate=None, bidirectional=False, restart=None).to(dtype),
        torch.randn(2, 20, F, dtype=dtype),
    )
    is_open = (torch.rand(2, 20) < 0.4).to(dtype)
    neurons = (torch.rand(2, 20, H) < 0.5).to(dtype)
    output, _ = layer(frames, switch=Switch(is_open.requires_grad_(), neurons))
    assert output.dtype == dtype
    output.float().square().mean().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in layer.parameters())
    assert is_open.grad is not None
    assert is_open.grad.dtype == dtype
    closed = is_open[:, 1:] == 0
    assert torch.equal(output[:, 1:][closed], output[:, :-1][closed])


def run_with(layer: Any, backend: str, frames: Tensor, switch: Switch) -> Tensor:
    output: Tensor = layer(frames, switch=switch, backend=backend).output
    return output.square().sum()


@KINDS
def test_second_derivatives_come_from_the_reference_and_are_refused_by_the_packed_backend(kind: Any) -> None:
    layer, frames = kind(F, H, batch_first=True).double(), torch.randn(1, 4, F).double().requires_grad_()
    switch = Switch(torch.tensor([[1.0, 0, 1, 1]]).double().requires_grad_())

    def slope(x: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(run_with(layer, "reference", x, switch), x, create_graph=True)
        return found

    assert torch.autograd.gradcheck(slope, frames)
    with pytest.raises(ValueError, match=r'second derivatives.*use backend="reference"'):
        torch.autograd.grad(run_with(layer, "packed", frames, switch), frames, create_graph=True)


@KINDS
def test_functional_transforms_go_through_the_reference_and_are_refused_by_the_packed_backend(kind: Any) -> None:
    layer, frames = make(kind).double(), torch.randn(2, 9, F).double()
    weights = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(weights: dict[str, Tensor], backend: str) -> Tensor:
        output: Tensor = torch.func.functional_call(layer, weights, (frames,), {"backend": backend}).output
        return output.square().mean()

    found = torch.func.grad(loss)(weights, "reference")
    for name, grad in step(layer, frames).items():
        torch.testing.assert_close(found[name], grad, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r'torch\.func.*backend="reference"'):
        torch.func.grad(loss)(weights, "packed")


@KINDS
@pytest.mark.parametrize("spoil", ["frames", "switch", "weights"])
def test_a_change_in_place_before_the_backward_pass_is_noticed(kind: Any, spoil: str) -> None:
    layer, frames = kind(F, H, batch_first=True), torch.randn(2, 9, F)
    is_open = (torch.rand(2, 9) < 0.5).float().requires_grad_()
    given = is_open * 1
    loss = run_with(layer, "packed", frames, Switch(given))
    with torch.no_grad():
        {"frames": frames, "switch": given, "weights": layer.weight_hh_l0}[spoil].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@KINDS
@pytest.mark.parametrize("is_reentrant", [False, True])
def test_checkpointing_changes_no_gradient(kind: Any, is_reentrant: bool) -> None:
    layer, frames = make(kind), torch.randn(2, 20, F, requires_grad=True)
    expected = step(layer, frames)
    layer.zero_grad()
    output = checkpoint(lambda x: layer(x).output, frames, use_reentrant=is_reentrant)
    output.square().mean().backward()
    for name, grad in expected.items():
        assert torch.equal(layer.get_parameter(name).grad, grad)


@KINDS
def test_weights_can_be_constrained_pruned_and_frozen_in_part(kind: Any) -> None:
    layer, frames = make(kind).double(), torch.randn(2, 20, F).double()
    expected = step(layer, frames)
    for name in ("weight_ih_l0", "bias_hh_l1"):
        layer.get_parameter(name).requires_grad_(False)
    left = step(layer, frames)
    assert expected.keys() - left.keys() == {"weight_ih_l0", "bias_hh_l1"}
    assert all(torch.equal(grad, expected[name]) for name, grad in left.items())

    parametrizations.weight_norm(layer, "weight_hh_l0")
    assert step(layer, frames).keys() > {f"parametrizations.weight_hh_l0.original{part}" for part in (0, 1)}
    prune.random_unstructured(layer, "weight_ih_l1", 0.5)
    mask = layer.weight_ih_l1_mask
    pruned = step(layer, frames)["weight_ih_l1_orig"]
    assert bool((pruned[mask == 0] == 0).all())
    assert bool((pruned[mask == 1] != 0).any())


@KINDS
def test_what_is_not_finite_on_closed_frames_and_in_padding_reaches_no_weight_and_no_output(kind: Any) -> None:
    layer, frames = make(kind, gate=None), torch.randn(2, 20, F)
    is_open, lengths = (torch.rand(2, 20) < 0.4).float(), torch.tensor([20, 13])
    is_read = (is_open > 0) & (torch.arange(20) < lengths[:, None])

    def run(fill: float) -> tuple[Tensor, list[Tensor]]:
        layer.zero_grad()
        filled = torch.where(is_read[..., None], frames, fill).requires_grad_()
        output, _ = layer(filled, switch=Switch(is_open), lengths=lengths)
        output.square().mean().backward()
        assert filled.grad is not None
        return output.detach(), [filled.grad, *(p.grad.clone() for p in layer.parameters())]

    output, grads = run(0.0)
    for fill in (torch.nan, torch.inf):
        spoiled, spoiled_grads = run(fill)
        assert torch.equal(spoiled, output)
        assert all(torch.equal(one, other) for one, other in zip(spoiled_grads, grads, strict=True))


class Tagger(nn.Module):
    """A layer with something around it for a compiler to compile."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.below, self.rnn, self.above = nn.Linear(F, F), make(kind), nn.Linear(2 * H, 3)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        output, state = self.rnn(self.below(frames).relu())
        return self.above(output).tanh(), state


# The compiler looks for gradients behind a layer that it leaves alone, and hides this warning, but not here.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning")
@KINDS
def test_a_compiled_model_equals_the_plain_one(kind: Any) -> None:
    model, frames = Tagger(kind), torch.randn(2, 20, F)
    expected, output = step(model, frames), model(frames)[0]
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(compiled(frames)[0], output, rtol=0, atol=1e-6)  # single precision
    found = step(compiled, frames)
    assert found.keys() == {f"_orig_mod.{name}" for name in expected}
    for name, grad in expected.items():
        torch.testing.assert_close(found[f"_orig_mod.{name}"], grad, rtol=1e-4, atol=1e-7)


def _one_of_two(rank: int, kind: Any, frames: Tensor, store: str, answers: Any) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    parallel = DistributedDataParallel(make(kind))
    grads = step(parallel, frames[rank : rank + 1])
    answers.put({name: grad.numpy() for name, grad in grads.items()})
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_as_one() -> None:
    frames = torch.randn(2, 20, F)
    expected = step(make(SuGRU), frames)
    context = multiprocessing.get_context("spawn")
    answers: Any = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        arguments = SuGRU, frames, os.path.join(folder, "store"), answers
        processes = [context.Process(target=_one_of_two, args=(rank, *arguments)) for rank in range(2)]
        for process in processes:
            process.start()
        both = [answers.get() for _ in processes]
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
    for grads in both:  # DistributedDataParallel means over processes; the loss is a mean over streams of equal length
        for name, grad in expected.items():
            torch.testing.assert_close(torch.from_numpy(grads[f"module.{name}"]), grad, rtol=1e-4, atol=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@KINDS
def test_a_gpu_gives_what_the_cpu_gives(kind: Any) -> None:
    layer, frames = make(kind).double(), torch.randn(2, 20, F).double()
    expected, output = step(layer, frames), layer(frames).output
    found, on_gpu = step(layer.cuda(), frames.cuda()), layer.cuda()(frames.cuda()).output
    torch.testing.assert_close(on_gpu.cpu(), output, rtol=0, atol=1e-11)
    for name, grad in expected.items():
        torch.testing.assert_close(found[name].cpu(), grad, rtol=0, atol=1e-11)
