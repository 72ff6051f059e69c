"""Launches of the GPU kernels, and where they come from: Triton's compiler, or in tests its interpreter."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

from surnn.cells import Cell, State, Weights
from surnn.kernels.triton_ways import GROUP_CHAINS, Plan, num_processors, shares_of, tile_of

MAX_HIDDEN_SIZE = 1024  # a row of the state is one tile of a program
WEIGHT_REGISTERS_OF_THREAD = 100
TILE_TERMS = 64  # of a product, at one time
GATHERED_WEIGHTS = 8192  # weights of each block that a program reads at one time


def launch_forward(cell: Cell, plan: Plan, read: Tensor, weights: Weights, tables: State) -> None:
    """Fill the tables (C + N, H), whose first C rows are the states before each chain.

    Args:
        cell, plan, weights: of the call.
        read: (N, G * H) projected frames.
        tables: of each part of the state, in the type in which it is carried.
    """
    num_chains, hidden_size = len(plan.first), read.shape[1] // cell.num_blocks
    if not len(read):
        return
    kernels = _kernels()
    weight, bias = weights.weight_hh.contiguous(), weights.bias_hh
    common = read.contiguous(), weight, bias if bias is not None else weight, _given(plan.takes, read)
    of_chains = plan.first, plan.length, tables[0], tables[-1]
    options = {"CELL": cell.name, "NUM_BLOCKS": cell.num_blocks, "HAS_BIAS": bias is not None}
    options |= {"HAS_GATE": plan.takes is not None}
    with _on_device(read):
        if plan.forward == "on chip":
            size = tile_of(hidden_size)
            options |= {"BLOCK_H": size, "num_warps": _warps_on_chip(cell, size, weight), "num_stages": 1}
            kernels.chains.forward_on_chip[(num_chains,)](*common, *of_chains, num_chains, hidden_size, **options)
        elif plan.forward == "gathered":
            lists = _given(plan.open_neurons, read), _given(plan.begin, read)
            options |= _gathered(hidden_size)
            kernels.chains.forward_gathered[(num_chains,)](
                *common, *lists, *of_chains, num_chains, hidden_size, **options
            )
        else:
            grid, counter, tiles = _grouped(plan, hidden_size, read)
            for steps in _spans(plan.num_steps, kernels.is_interpreted):
                sizes = *steps, num_chains, hidden_size
                kernels.groups.forward[grid](*common, *of_chains, counter, *sizes, **options, **tiles)


def launch_backward(
    cell: Cell,
    plan: Plan,
    read: Tensor,
    projected: Tensor,
    weights: Weights,
    tables: State,
    by_output: Tensor | None,
    entering: State,
    by_projected: Tensor,
    by_frame: Tensor,
) -> None:
    """Fill the last three arguments.

    Args:
        cell, plan, read, weights, tables: as forward.
        projected: (N, G * H) projected states.
        by_output: (N, H) gradient of the output; None: nobody used it.
        entering: tables (C + N, H), the gradient of each state where it enters the next row; given at chains' ends.
        by_projected: (N, G * H), the gradient of the projected states.
        by_frame: (N, G * H), of the projected frames; `by_projected` itself where they are equal.
    """
    num_chains, hidden_size = len(plan.first), read.shape[1] // cell.num_blocks
    if not len(read):
        return
    kernels, weight = _kernels(), weights.weight_hh.contiguous()
    common = read.contiguous(), projected.contiguous(), weight, _given(plan.takes, read)
    by_rows = _given(by_output, tables[0]), entering[0], entering[-1], by_projected, by_frame
    of_chains = plan.first, plan.length, tables[0], tables[-1], *by_rows
    options = {"CELL": cell.name, "NUM_BLOCKS": cell.num_blocks}
    options |= {"HAS_GATE": plan.takes is not None, "HAS_OUTPUT": by_output is not None}
    with _on_device(read):
        if plan.backward != "grouped":
            lists = _given(plan.open_neurons, read), _given(plan.begin, read)
            options |= {"ON_CHIP": plan.backward == "on chip", **_gathered(hidden_size)}
            if plan.backward == "on chip":
                options["num_warps"] = _warps_on_chip(cell, tile_of(hidden_size), weight)
            kernels.chains.backward[(num_chains,)](*common, *lists, *of_chains, num_chains, hidden_size, **options)
            return
        grid, counter, tiles = _grouped(plan, hidden_size, read)
        for steps in reversed(_spans(plan.num_steps, kernels.is_interpreted)):
            sizes = *steps, num_chains, hidden_size
            for parts in (1, 2) if kernels.is_interpreted else (3,):
                given = *common, *of_chains, counter, *sizes
                kernels.groups.backward[grid](*given, PARTS=parts, **options, **tiles)


def _grouped(plan: Plan, hidden_size: int, like: Tensor) -> tuple[tuple[int, int], Tensor, dict[str, Any]]:
    """Groups and shares of neurons, a counter for each group, and the kernel's options."""
    groups, shares, tile_neurons = shares_of(len(plan.first), hidden_size, num_processors(like.device))
    is_interpreted = _kernels().is_interpreted
    meets = shares > 1 and not is_interpreted
    options: dict[str, Any] = {"BLOCK_C": GROUP_CHAINS, "BLOCK_N": tile_neurons, "BLOCK_K": TILE_TERMS}
    options |= {"MEETS": meets, "WIDEN": is_interpreted, "num_warps": 4, "num_stages": 1}
    if meets:
        options["launch_cooperative_grid"] = True  # all programs run at the same time, or none starts
    return (groups, shares), torch.zeros(groups, dtype=torch.int32, device=like.device), options


def _spans(num_steps: int, is_interpreted: bool) -> list[tuple[int, int]]:
    """First and end of the steps of each launch: one for all, or one each where programs cannot meet."""
    return [(step, step + 1) for step in range(num_steps)] if is_interpreted else [(0, num_steps)]


def _gathered(hidden_size: int) -> dict[str, Any]:
    size = tile_of(hidden_size)
    return {"BLOCK_H": size, "BLOCK_N": max(4, GATHERED_WEIGHTS // size), "num_warps": 8, "num_stages": 1}


def _warps_on_chip(cell: Cell, size: int, weight: Tensor) -> int:
    """As few as hold the weights in that many registers a thread."""
    num_registers = cell.num_blocks * size * size * weight.element_size() // 4
    return min(16, max(4, tile_of(math.ceil(num_registers / (32 * WEIGHT_REGISTERS_OF_THREAD)))))


def _given(tensor: Tensor | None, instead: Tensor) -> Tensor:
    """A kernel's argument; where there is none, any other: the kernel does not look at it."""
    return instead if tensor is None else tensor


def _on_device(tensor: Tensor) -> Any:
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


class _Kernels(NamedTuple):
    chains: Any
    groups: Any
    is_interpreted: bool


@contextmanager
def interpreted() -> Iterator[None]:
    """Inside of it, Triton's interpreter runs the kernels, on tensors of the CPU: to test them without a GPU."""
    triton = import_module("triton")
    kept = {name: sys.modules.pop(name) for name in _MODULES if name in sys.modules}
    loaded, was_interpreting = _loaded.copy(), triton.knobs.runtime.interpret
    _loaded.clear()
    triton.knobs.runtime.interpret = True  # it decides where functions are decorated, so: when they are imported
    try:
        _kernels()
        yield
    finally:
        triton.knobs.runtime.interpret = was_interpreting
        _loaded[:] = loaded
        for name in _MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(kept)


_MODULES = tuple(f"surnn.kernels.triton_{name}" for name in ("chains", "groups", "cells"))
_loaded: list[_Kernels] = []  # once they are


def _kernels() -> _Kernels:
    if not _loaded:
        chains, groups, cells = map(import_module, _MODULES)
        _loaded.append(_Kernels(chains, groups, cells.IS_INTERPRETED))
    return _loaded[0]


def is_interpreting() -> bool:
    """Whether tensors of the CPU are taken: see `interpreted`."""
    return bool(_loaded) and _loaded[0].is_interpreted


def why_missing() -> str | None:
    """What to do where Triton cannot be imported; None: it can."""
    try:
        _kernels()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "triton":
            raise
        return (
            "GPU kernels need the package triton, which comes with torch for CUDA on Linux and is missing here; "
            'install torch from its CUDA index, or use backend="packed"'
        )
    return None
