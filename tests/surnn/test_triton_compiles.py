"""The GPU kernels compile as they are launched, without a GPU: the interpreter takes what a compiler refuses."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from surnn.cells import GRU, LSTM, RNN_RELU, RNN_TANH, Cell, Weights
from surnn.kernels import triton_launch, triton_ways
from surnn.kernels.triton_launch import launch_backward, launch_forward
from surnn.kernels.triton_ways import Way, plan_ways
from surnn.layout import lay_out

triton = pytest.importorskip("triton")
Compiled = dict[str, Any]


class Target:
    """A driver of a GPU that is not there.

    Args:
        capability: its compute capability, 80 for 8.0.
    """

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> Any:
        return triton.backends.compiler.GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return self.capability  # kernels are cached by device

    def get_current_stream(self, device: int) -> int:  # noqa: ARG002
        return 0


class Kernels:
    """Kernels of a module that are compiled where they would have been launched.

    Args:
        module: they are its functions.
        compiled: gets them by name.
    """

    def __init__(self, module: Any, compiled: Compiled) -> None:
        self.module, self.compiled = module, compiled

    def __getattr__(self, name: str) -> Any:
        kernel, compiled = getattr(self.module, name), self.compiled

        class Launch:
            def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
                def compile_it(*args: Any, **options: Any) -> None:
                    compiled[name] = kernel.warmup(*args, grid=grid, **options)

                return compile_it

        return Launch()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Compiled]:
    kernels = triton_launch._kernels()
    assert not kernels.is_interpreted
    found: Compiled = {}
    wrapped = kernels._replace(chains=Kernels(kernels.chains, found), groups=Kernels(kernels.groups, found))
    monkeypatch.setattr(triton_launch, "_loaded", [wrapped])
    for module in (triton_launch, triton_ways):
        monkeypatch.setattr(module, "num_processors", lambda device: 132)  # noqa: ARG005
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    return found


def compile_kernels(
    cell: Cell, way: Way, hidden_size: int, dtype: torch.dtype, *, has_neurons: bool, num_chains: int = 17
) -> None:
    """Both kernels of a call."""
    carried = torch.promote_types(dtype, torch.float32)
    width = cell.num_blocks * hidden_size
    bias = torch.zeros(width, dtype=dtype)
    weights = Weights(torch.zeros(width, 3, dtype=dtype), torch.zeros(width, hidden_size, dtype=dtype), bias, bias)
    layout = lay_out(torch.full((num_chains,), 2))
    gate = torch.ones(2 * num_chains, hidden_size) if has_neurons else None
    plan = plan_ways(cell, weights, layout, gate, way)
    read = torch.zeros(2 * num_chains, width, dtype=dtype)
    tables = tuple(torch.zeros(3 * num_chains, hidden_size, dtype=carried) for _ in range(cell.num_parts))
    launch_forward(cell, plan, read, weights, tables)
    by_output = torch.zeros(2 * num_chains, hidden_size, dtype=carried)
    by_projected = torch.zeros(2 * num_chains, width, dtype=carried)
    launch_backward(cell, plan, read, read, weights, tables, by_output, tables, by_projected, by_projected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "capability", "cells"),
    [
        (torch.float32, 90, (GRU, LSTM, RNN_RELU)),
        (torch.bfloat16, 80, (GRU, LSTM)),
        (torch.float64, 90, (RNN_TANH,)),
    ],
    ids=["float32", "bfloat16", "float64"],
)
def test_every_kernel_compiles_for_a_gpu(
    dtype: torch.dtype, capability: int, cells: tuple[Cell, ...], compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton.runtime.driver, "_active", Target(capability))
    for cell in cells:
        has_neurons = cell is not LSTM
        compile_kernels(cell, "on chip", 24, dtype, has_neurons=has_neurons)
        assert compiled.keys() == {"forward_on_chip", "backward"}
        compile_kernels(cell, "gathered", 96, dtype, has_neurons=has_neurons, num_chains=1)
        compile_kernels(cell, "grouped", 96, dtype, has_neurons=has_neurons)
        assert compiled.keys() == {"forward_on_chip", "forward_gathered", "forward", "backward"}
        assert all(kernel.metadata.launch_cooperative_grid for name, kernel in compiled.items() if name == "forward")
        compiled.clear()


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "hidden_size"), [(GRU, 128), (LSTM, 64), (RNN_TANH, 128)], ids=["gru", "lstm", "rnn"])
def test_weights_that_are_to_stay_on_chip_find_registers(
    cell: Cell, hidden_size: int, compiled: Compiled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(triton.runtime.driver, "_active", Target(90))
    compile_kernels(cell, "on chip", hidden_size, torch.float32, has_neurons=True)
    for kernel in compiled.values():
        source = tmp_path / "kernel.ptx"
        source.write_text(kernel.asm["ptx"])
        assembler = [triton.knobs.nvidia.ptxas.path, "-v", "-arch=sm_90a", str(source), "-o", str(tmp_path / "kernel")]
        said = subprocess.run(assembler, capture_output=True, text=True, check=True).stderr
        (spilled,) = re.findall(r"(\d+) bytes spill stores", said)
        assert int(spilled) <= 160, said  # of the 512 that a thread has
