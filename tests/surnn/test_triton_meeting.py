"""Programs of a group that meet after every step give what steps taken one by one give.

The interpreter runs one program after the other, where a meeting would never end. So here each program has a process of
its own, and their tensors lie in shared memory.
"""

import multiprocessing
import time
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from surnn.cells import LSTM, Weights
from surnn.kernels import triton_launch
from surnn.kernels.triton_launch import interpreted, launch_backward, launch_forward
from surnn.kernels.triton_ways import plan_ways
from surnn.layout import lay_out

triton = pytest.importorskip("triton")
SHARES, HIDDEN_SIZE, LENGTHS = 3, 40, (4, 7)  # three tiles of 16 neurons
CELL = LSTM


class Call(NamedTuple):
    """What both launches are given, and fill."""

    weights: Weights
    gate: Tensor
    read: Tensor
    projected: Tensor
    tables: tuple[Tensor, ...]
    by_output: Tensor
    entering: tuple[Tensor, ...]
    by_projected: Tensor


def make_call() -> Call:
    draws = torch.Generator().manual_seed(0)
    num_chains, num_rows, width = len(LENGTHS), sum(LENGTHS), CELL.num_blocks * HIDDEN_SIZE

    def draw(*shape: int) -> Tensor:
        return (0.3 * torch.randn(*shape, generator=draws)).share_memory_()

    weights = Weights(draw(width, 1), draw(width, HIDDEN_SIZE), None, draw(width))
    gate = (torch.rand(num_rows, HIDDEN_SIZE, generator=draws) < 0.5).float().share_memory_()
    tables, entering = (tuple(draw(num_chains + num_rows, HIDDEN_SIZE) for _ in range(2)) for _ in range(2))
    by_projected = torch.zeros(num_rows, width).share_memory_()
    return Call(
        weights, gate, draw(num_rows, width), draw(num_rows, width), tables, draw(num_rows, HIDDEN_SIZE), entering,
        by_projected,
    )  # fmt: skip


def run(call: Call) -> None:
    """Forward and backward."""
    plan = plan_ways(CELL, call.weights, lay_out(torch.tensor(LENGTHS)), call.gate, "grouped")
    launch_forward(CELL, plan, call.read, call.weights, call.tables)
    given = plan, call.read, call.projected, call.weights, call.tables, call.by_output, call.entering
    launch_backward(CELL, *given, call.by_projected, call.by_projected)


class OneProgram:
    """Kernels of which this process runs one program of a grid."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        kernel = getattr(self.module, name)

        class Launch:
            def __getitem__(self, grid: tuple[int, int]) -> Any:
                assert grid == (1, SHARES)
                return kernel[(1, 1)]

        return Launch()


def run_share(call: Call, share: int, counters: list[Tensor]) -> None:
    """What one program does of both launches, in a process of its own."""
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    builder.set_grid_dim = lambda *_: setattr(builder, "grid_dim", (1, SHARES, 1))
    builder.set_grid_idx = lambda *_: setattr(builder, "grid_idx", (0, share, 0))
    add = builder.create_atomic_rmw

    def add_and_let_others_run(
        *given: Any,
    ) -> Any:  # there may be fewer processors than programs that wait
        time.sleep(0.0002)
        return add(*given)

    builder.create_atomic_rmw = add_and_let_others_run
    interpreter.GridExecutor._restore_args_dev = lambda *_: None  # it would write old values over those of others
    with interpreted():
        kernels = triton_launch._loaded[0]
        triton_launch._loaded[0] = kernels._replace(groups=OneProgram(kernels.groups), is_interpreted=False)
        grouped, left = triton_launch._grouped, counters.copy()

        def with_shared_counter(*given: Any) -> Any:
            grid, _, options = grouped(*given)
            assert options["MEETS"]
            return grid, left.pop(0), options

        triton_launch._grouped = with_shared_counter
        run(call)


@pytest.mark.slow
def test_programs_that_meet_give_what_steps_one_by_one_give() -> None:
    expected, found = make_call(), make_call()
    with interpreted():
        run(expected)
    counters = [torch.zeros(1, dtype=torch.int32).share_memory_() for _ in range(2)]
    processes = multiprocessing.get_context("spawn")
    workers = [processes.Process(target=run_share, args=(found, share, counters)) for share in range(SHARES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    alive = [worker for worker in workers if worker.is_alive()]
    for worker in alive:
        worker.kill()
    assert not alive, "they wait for each other for ever"
    assert [worker.exitcode for worker in workers] == [0] * SHARES
    assert [int(counter) for counter in counters] == [SHARES * max(LENGTHS)] * 2
    for one, other in zip((*found.tables, *found.entering), (*expected.tables, *expected.entering), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(found.by_projected, expected.by_projected)
    assert bool(found.by_projected.any())
