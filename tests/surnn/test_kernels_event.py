"""The event kernels: the same bits however rows are cut, batched or spread over threads; and who runs when."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor

from surnn import Packed, SuGRU, SuLSTM, SuRNN, Switch, pack
from surnn.kernels import event, event_loops, event_math, event_run, event_weights
from surnn.kernels.choice import choose

KINDS = pytest.mark.parametrize("kind", [SuRNN, SuGRU, SuLSTM], ids=lambda kind: kind.__name__)
TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
SIZES = pytest.mark.parametrize("size", [1, 31, 100, 128])


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(event_run, "MIN_WORK_PER_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def switch_of(batch: int, num_frames: int, num_neurons: int, dtype: torch.dtype, rate: float = 0.5) -> Switch:
    """Rows with few and with many open neurons, and some with none."""
    draws = torch.Generator().manual_seed(3)
    is_open = torch.rand(batch, num_frames, generator=draws) < rate
    share = torch.rand(batch, num_frames, 1, generator=draws)
    neurons = torch.rand(batch, num_frames, num_neurons, generator=draws) < share
    return Switch(is_open.to(dtype), neurons.to(dtype))


def parts(state: Any) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else state


@KINDS
@TYPES
@SIZES
@pytest.mark.usefixtures("two_threads")
@torch.no_grad()
def test_any_cut_into_blocks_any_batch_and_any_threads_give_the_same_bits(
    kind: Any, dtype: torch.dtype, size: int
) -> None:
    layer, frames = kind(7, size, 2, batch_first=True, dtype=dtype), torch.randn(5, 70, 7, dtype=dtype)
    switch = switch_of(5, 70, size, dtype)
    for given in (switch, switch._replace(neurons=None)):
        whole = layer(frames, switch=given, backend="event")
        for stream in range(5):
            state, outputs, begin = None, [], 0
            for num_frames in (1, 3, 40, 26):
                span = slice(begin, begin + num_frames)
                block = Switch(*(None if s is None else s[stream : stream + 1, span] for s in given[:2]))
                alone = layer(frames[stream : stream + 1, span], state, switch=block, backend="event")
                state, begin = alone.state, begin + num_frames
                outputs.append(alone.output)
            assert torch.equal(torch.cat(outputs, dim=1)[0], whole.output[stream])
            for one, other in zip(parts(state), parts(whole.state), strict=True):
                assert torch.equal(one[:, 0], other[:, stream])


@KINDS
def test_gradients_do_not_depend_on_the_number_of_threads(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, frames = kind(7, 31, 2, batch_first=True), torch.randn(5, 40, 7)
    switch, before = switch_of(5, 40, 31, torch.float32), torch.get_num_threads()
    found = []
    monkeypatch.setattr(event_run, "MIN_WORK_PER_THREAD", 1)
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        given = Switch(*(part.clone().requires_grad_() for part in switch[:2] if part is not None))
        leaves = [*given[:2], layer.weight_hh_l0, layer.weight_ih_l1]
        loss = layer(frames, switch=given, backend="event").output.square().sum()
        found.append(torch.autograd.grad(loss, leaves))
    torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)  # torch's own products may differ


@KINDS
@SIZES
@torch.no_grad()
def test_single_precision_is_as_near_to_double_as_torch_is(kind: Any, size: int) -> None:
    layer, frames = kind(20, size, batch_first=True), torch.randn(3, 60, 20)
    switch = switch_of(3, 60, size, torch.float32)
    found, stock = (layer(frames, switch=switch, backend=name).output for name in ("event", "packed"))
    exact = layer.double()(frames.double(), switch=Switch(*(s.double() for s in switch[:2])), backend="reference")
    bound = 4 * float((stock - exact.output).abs().max()) + 1e-6
    assert float((found - exact.output).abs().max()) < bound


@KINDS
@torch.no_grad()
def test_packed_rows_equal_dense_frames(kind: Any) -> None:
    layer, frames = kind(6, 20, 2, batch_first=True), torch.randn(3, 30, 6)
    is_open = torch.rand(3, 30) < 0.3
    rows = pack(frames, is_open)
    found = layer(rows, backend="event")
    assert found.backend == "event"
    assert torch.equal(found.output, layer(frames, switch=Switch(is_open.float()), backend="event").output[is_open])
    nothing = layer(Packed(frames[0, :0], rows.index[:0], torch.tensor([0, 0])), backend="event")
    assert nothing.output.shape == (0, 20)


@torch.no_grad()
def test_a_change_of_the_weights_is_noticed_however_it_is_made() -> None:
    layer, frames = SuGRU(6, 40, batch_first=True), torch.randn(1, 9, 6)

    def check() -> None:
        torch.testing.assert_close(layer(frames).output, layer(frames, backend="reference").output, rtol=0, atol=1e-6)

    check()
    layer.weight_hh_l0.mul_(2)
    check()
    for weight in layer.parameters():
        weight.data[-1] += 3  # autograd does not see this one, nor the next
        check()
        weight.detach().numpy()[7] -= 3
        check()
    layer.bias_hh_l0.add_(1)
    check()
    before = layer.weight_ih_l0.data
    layer.weight_ih_l0.data = before.clone()  # other memory, the same values
    check()
    before.mul_(5)
    check()
    layer.weight_ih_l0.data = layer.weight_ih_l0 * 3
    check()
    layer.load_state_dict(SuGRU(6, 40).state_dict())
    check()


def test_weights_are_laid_out_once_and_go_with_their_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    lay_out = event_weights._lay_out
    monkeypatch.setattr(event_weights, "_lay_out", lambda weights: calls.append(1) or lay_out(weights))
    layer, before = SuGRU(6, 40, batch_first=True), len(event_weights._kept)
    with torch.no_grad():
        for _ in range(3):
            layer(torch.randn(1, 4, 6))
    assert len(calls) == 1
    del layer
    assert len(event_weights._kept) <= before


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 4), (np.float64, 4)], ids=["single", "double"])
def test_tanh_and_sigmoid_are_off_by_less_than_four_units_of_the_last_bit(name: str, dtype: Any, bound: float) -> None:
    function = getattr(event_math, name)

    @njit(**event_math.OPTIONS)
    def apply(x: Any, y: Any) -> None:
        for i in range(x.shape[0]):
            y[i] = function(x[i])

    tiny = np.logspace(-20, 0, 2001)
    x = np.concatenate([np.linspace(-30, 30, 200_001), tiny, -tiny, [0, 80, -80, 1e4, np.inf]]).astype(dtype)
    y, wide = np.empty_like(x), x.astype(np.longdouble)
    apply(x, y)
    exact = np.tanh(wide) if name == "tanh" else 1 / (1 + np.exp(-wide))
    assert float((np.abs(y - exact) / np.spacing(np.abs(exact).astype(dtype))).max()) < bound
    edges = np.array([np.nan, -np.inf], dtype)
    apply(edges, edges)
    assert np.isnan(edges[0])
    assert abs(edges[1] - (-1 if name == "tanh" else 0)) < 1e-37


def test_numba_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, torch, surnn\n"
        "layer = surnn.SuGRU(3, 4, batch_first=True)\n"
        "layer(torch.zeros(1, 2, 3), backend='packed')\n"
        "print('numba' in sys.modules)\n"
        "print(layer(torch.zeros(1, 2, 3)).backend, 'numba' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "event", "True"]


def test_auto_takes_the_packed_backend_where_numba_is_missing_and_event_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("surnn.kernels.choice.has_numba", lambda: False)
    assert choose("auto", torch.zeros(1, 2, 3), None).name == "packed"
    with pytest.raises(ValueError, match="numba, which is not installed"):
        choose("event", torch.zeros(1, 2, 3), None)


def test_event_refuses_what_it_cannot_run() -> None:
    layer = SuGRU(3, 4, batch_first=True, dtype=torch.bfloat16)
    frames = torch.zeros(1, 2, 3, dtype=torch.bfloat16)
    assert layer(frames).backend == "packed"
    with pytest.raises(ValueError, match=r'"event" runs float32 and float64 on a CPU; these are torch.bfloat16'):
        layer(frames, backend="event")
    soft = Switch(torch.full((1, 2), 0.5), is_soft=True)
    with pytest.raises(ValueError, match=r'soft.*backend="reference"'):
        SuGRU(3, 4, batch_first=True)(torch.zeros(1, 2, 3), switch=soft, backend="event")


@torch.no_grad()
def test_what_is_not_a_number_stays_none() -> None:
    assert bool(SuGRU(3, 4, batch_first=True)(torch.full((1, 2, 3), torch.nan), backend="event").output.isnan().all())


def test_an_edit_of_any_kernel_file_compiles_all_kernels_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def add_one(x: Any) -> Any:
        return x + 1

    def hits() -> int:
        function = event_loops.compiled(add_one)
        assert function(3) == 4
        return sum(function.stats.cache_hits.values())

    assert hits() == 0
    assert hits() == 1
    folder = tmp_path / "kernels"
    shutil.copytree(Path(event_loops.__file__).parent, folder)
    assert event_loops.digest_of(folder) == event_loops.SOURCES
    with (folder / "event_math.py").open("a") as file:
        file.write("\n")
    monkeypatch.setattr(event_loops, "SOURCES", event_loops.digest_of(folder))
    assert hits() == 0


def test_without_a_folder_for_compiled_code_it_is_compiled_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.caching.FunctionCache._impl_class._locator_classes", [])

    def twice(x: Any) -> Any:
        return x + x

    function = event_loops.compiled(twice, set())
    assert function(3) == 6
    assert function.stats.cache_path is None


def test_a_slow_first_call_is_explained_and_a_quick_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    event.explain_compiling(0.5)
    assert not caplog.messages
    event.explain_compiling(13.0)
    (message,) = caplog.messages
    assert "numba compiled surnn's kernels for this machine in 13 s; " in message


@pytest.mark.slow
def test_a_forked_process_can_use_layers_that_its_parent_used() -> None:
    # Compared by numpy: torch's own threads may not survive a fork.
    code = (
        "import os, torch, surnn\n"
        "torch.set_num_threads(2)\n"
        "layer, frames = surnn.SuGRU(64, 64, batch_first=True), torch.ones(8, 400, 64)\n"
        "torch.set_grad_enabled(False)\n"
        "expected = layer(frames).output\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if (layer(frames).output.numpy() == expected.numpy()).all() else 3)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "0"
