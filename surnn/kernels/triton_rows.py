"""One layer and direction over open rows on a GPU, with every gradient: `rows.run_rows`, fused over time by Triton.

All that is known before the recurrence, or only needed after it, is a product over all rows: projected frames and,
going back, projected states and the gradients of weights. One kernel each way goes through time (triton_ways).

Sums and state are float32 (float64 where weights are), whatever the weights. A neuron that is not open holds its state
to the last bit. Triton is imported when the first layer runs.
"""

import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from surnn.cells import Cell, State, Weights
from surnn.kernels.closed import Closed, closed_gradient
from surnn.kernels.rows import Ran, by_begin_of_chain, by_end_of_chain
from surnn.kernels.stock import chain_states
from surnn.kernels.triton_launch import (
    MAX_HIDDEN_SIZE,
    is_interpreting,
    launch_backward,
    launch_forward,
    why_missing,
)
from surnn.kernels.triton_ways import Plan, Way, fits_on_chip, plan_ways
from surnn.layout import Layout

CELLS, TYPES = ("rnn_tanh", "rnn_relu", "gru", "lstm"), (torch.float32, torch.float64, torch.bfloat16)


def can_run(cell: Cell, rows: Tensor, weights: Weights) -> bool:
    """Whether `run_rows` takes these; false without Triton, too.

    Args:
        cell, rows, weights: as in `run_rows`.
    """
    if rows.dtype not in TYPES or any(tensor is not None and tensor.dtype != rows.dtype for tensor in weights):
        return False
    if weights.weight_hh.shape[1] > MAX_HIDDEN_SIZE or cell.name not in CELLS:
        return False
    if not rows.is_cuda:
        return rows.device.type == "cpu" and is_interpreting()
    is_new = torch.version.hip is None and torch.cuda.get_device_capability(rows.device) >= (8, 0)
    return is_new and why_missing() is None


def run_rows(
    cell: Cell,
    rows: Tensor,
    state: State,
    weights: Weights,
    layout: Layout,
    gate: Tensor | None,
    frames: Tensor | None,
    closed: Closed | None,
    is_tapped: bool,
    *,
    way: Way | None = None,
) -> Ran:
    """Step through rows on a GPU; arguments and results as in `surnn.kernels.rows.run_rows`.

    Args:
        rows: in the type of the weights: float32, float64 or bfloat16.
        state: in that type, or float32 for bfloat16 weights. Outputs and states come in its type; within the call they
            are carried in float32 at least.
        way: how to go through time (triton_ways); None: by the rule of `choose_way`.

    Raises:
        ModuleNotFoundError: without Triton.
        ValueError: if type, size or device are none that `can_run` takes; inside of a transform of torch.func.
    """
    if torch._C._are_functorch_transforms_active():
        raise ValueError(
            'transforms of torch.func do not go through backend="triton"; use backend="reference", or torch.autograd'
        )
    reason = why_missing()
    if reason is not None:
        raise ModuleNotFoundError(reason)
    hidden_size = weights.weight_hh.shape[1]
    if not can_run(cell, rows, weights):
        raise ValueError(
            "Triton kernels take float32, float64 or bfloat16 rows, weights of that type and up to "
            f"{MAX_HIDDEN_SIZE} neurons, on a CUDA device of compute capability 8.0 or later; got {rows.dtype} on "
            f'{rows.device}, weights {weights.weight_hh.dtype}, {hidden_size} neurons; use backend="packed"'
        )
    if way == "on chip" and not fits_on_chip(cell, weights.weight_hh, is_backward=False):
        raise ValueError(
            f'way="on chip": {hidden_size} neurons of {cell.name} have too many weights; leave the way out'
        )
    task = _Task(cell, layout, closed, is_tapped, way)
    output, *rest = _TritonRows.apply(task, rows, gate, frames, *weights, *state)  # type: ignore[no-untyped-call]
    final, tap = rest[: cell.num_parts], rest[cell.num_parts]
    return Ran(output, tuple(final), tap)


class _Task(NamedTuple):
    cell: Cell
    layout: Layout
    closed: Closed | None
    is_tapped: bool
    way: Way | None


class _TritonRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, task: _Task, rows: Tensor, gate: Tensor | None, frames: Tensor | None, *given: Any) -> Any:
        weights, state = Weights(*given[:4]), given[4:]
        cell, layout = task.cell, task.layout
        plan = plan_ways(cell, weights, layout, gate, task.way)
        read = linear(rows, weights.weight_ih, weights.bias_ih)
        firsts = tuple(part.to(_carried(weights)) for part in chain_states(state, layout))
        tables = tuple(torch.cat((first, first.new_empty(len(rows), first.shape[1]))) for first in firsts)
        launch_forward(cell, plan, read, weights, tables)
        closed = task.closed if ctx.needs_input_grad[3] else None
        ctx.cell, ctx.layout, ctx.ways = cell, layout, plan[:3]
        ctx.how = None if closed is None else (closed.weight, closed.is_backward)
        of_closed = () if closed is None else closed.tensors()
        of_plan = plan.tensors()
        ctx.save_for_backward(rows, gate, frames, *weights, *state, *tables, *of_plan, *of_closed)
        ctx.set_materialize_grads(False)
        parts = tuple(table[len(first) :].to(state[0].dtype) for table, first in zip(tables, firsts, strict=True))
        final = tuple(torch.cat(pair)[layout.last] for pair in zip(state, parts, strict=True))
        tap = None
        if task.is_tapped and closed is not None:
            tap = state[0].new_zeros(()).expand(*closed.frames.shape, state[0].shape[-1])
        return parts[0], *final, tap

    @staticmethod
    def backward(ctx: Any, by_output: Tensor | None, *by_rest: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise ValueError(
                'second derivatives (create_graph=True) do not go through backend="triton"; use backend="reference"'
            )
        cell, layout = ctx.cell, ctx.layout
        rows, gate, frames, *rest = ctx.saved_tensors
        ends = itertools.accumulate((4, cell.num_parts, cell.num_parts, 5))
        given, state, tables, of_plan, of_closed = (rest[a:b] for a, b in itertools.pairwise((0, *ends, len(rest))))
        weights, state, tables = Weights(*given), tuple(state), tuple(tables)
        plan = Plan(*ctx.ways, *of_plan)
        by_final, by_tap = by_rest[: cell.num_parts], by_rest[cell.num_parts]
        carried, num_chains = tables[0].dtype, len(plan.first)
        by_output = None if by_output is None else by_output.to(carried).contiguous()

        place_before = torch.arange(num_chains - 1, num_chains - 1 + len(rows), device=rows.device)
        place_before[plan.first] = torch.arange(num_chains, device=rows.device)
        before = tuple(table[place_before] for table in tables)
        read = linear(rows, weights.weight_ih, weights.bias_ih)
        read_before = before[0].to(weights.weight_hh.dtype)
        projected = linear(read_before, weights.weight_hh, weights.bias_hh)
        by_final = tuple(None if by_end is None else by_end.to(carried) for by_end in by_final)
        entering = _entering(tables, plan, layout, by_final)
        by_projected = torch.empty_like(projected, dtype=carried)
        by_frame = torch.empty_like(by_projected) if cell.name == "gru" else by_projected
        launch_backward(cell, plan, read, projected, weights, tables, by_output, entering, by_projected, by_frame)

        needs = ctx.needs_input_grad
        by_frame, by_projected = (part.to(rows.dtype) for part in (by_frame, by_projected))
        by_gate = None
        if gate is not None and needs[2]:
            by_gate = _gate_gradient(cell, plan, read, projected, tables, before, entering, by_output, gate)
        by_frames = None
        if frames is not None and ctx.how is not None:
            closed = Closed.of_tensors(of_closed, *ctx.how)
            by_frames = _frame_gradient(closed, cell, weights, state, tables, entering, by_final, layout, by_tap)
            by_frames = by_frames.to(frames.dtype)
        has_biases = weights.bias_ih is not None
        by_weights = (
            by_frame.T @ rows,
            by_projected.T @ read_before,
            by_frame.sum(0) if has_biases else None,
            by_projected.sum(0) if has_biases else None,
        )
        by_rows = by_frame @ weights.weight_ih if needs[1] else None
        by_before = (
            gradient.to(part.dtype)
            for gradient, part in zip(_state_gradients(state, entering, by_final, layout), state, strict=True)
        )
        return None, by_rows, by_gate, by_frames, *by_weights, *by_before


def _carried(weights: Weights) -> torch.dtype:
    return torch.promote_types(weights.weight_hh.dtype, torch.float32)


def _entering(tables: State, plan: Plan, layout: Layout, by_final: tuple[Tensor | None, ...]) -> State:
    """(C + N, H) to be filled; at each chain's last row the gradient of the final state, if it is its stream's end."""
    last = len(plan.first) + plan.first + plan.length - 1
    ends = by_end_of_chain(layout, tables, by_final)
    return tuple(torch.empty_like(table).index_copy_(0, last, end) for table, end in zip(tables, ends, strict=True))


def _state_gradients(
    state: State, entering: State, by_final: tuple[Tensor | None, ...], layout: Layout
) -> tuple[Tensor, ...]:
    """(B, H) of the state before the first row, in the type in which it is carried."""
    carried = tuple(part.to(entered.dtype) for part, entered in zip(state, entering, strict=True))
    arrived = tuple(entered[: len(layout.chain_stream)] for entered in entering)
    return by_begin_of_chain(layout, carried, arrived, by_final)


def _gate_gradient(
    cell: Cell,
    plan: Plan,
    read: Tensor,
    projected: Tensor,
    tables: State,
    before: State,
    entering: State,
    by_output: Tensor | None,
    gate: Tensor,
) -> Tensor:
    """(N, H) or (N, 1): the gradient of each row's state times what the cell would have changed."""
    carried, num_chains = before[0].dtype, len(plan.first)
    if plan.takes is None:  # every row holds what its step gave
        news = tuple(table[num_chains:] for table in tables)
    else:
        news = cell.step(read.to(carried), projected.to(carried), before)
    total = torch.zeros_like(before[0])
    for number, (new, old, entered) in enumerate(zip(news, before, entering, strict=True)):
        by_state = entered[num_chains:]
        if number == 0 and by_output is not None:
            by_state = by_state + by_output
        total.addcmul_(by_state, new - old)
    return (total if gate.shape[1] > 1 else total.sum(-1, keepdim=True)).to(gate.dtype)


def _frame_gradient(
    closed: Closed,
    cell: Cell,
    weights: Weights,
    state: State,
    tables: State,
    entering: State,
    by_final: tuple[Tensor | None, ...],
    layout: Layout,
    by_tap: Tensor | None,
) -> Tensor:
    carried = tables[0].dtype
    num_chains = len(layout.chain_stream)
    held = tuple(torch.cat((part.to(carried), table[num_chains:])) for part, table in zip(state, tables, strict=True))
    firsts = _state_gradients(state, entering, by_final, layout)
    entered = tuple(torch.cat((a, b[num_chains:])) for a, b in zip(firsts, entering, strict=True))
    wide = Weights(*(None if tensor is None else tensor.to(carried) for tensor in weights))  # type: ignore[arg-type]
    inputs = closed.inputs._replace(tables=tuple(table.to(carried) for table in closed.inputs.tables))
    by_tap = None if by_tap is None else by_tap.to(carried)
    return closed_gradient(closed._replace(inputs=inputs), cell, wide, held, entered, by_tap)
