"""One layer and direction over open rows, with every gradient: of neuron switches, and of the frames that were closed.

Forward it selects neuron by neuron; where all neurons of a row are open, torch's kernel does the same. Backward it goes
through the rows once, in reverse, with slopes that were computed for all of them at once. What it keeps for that grows
with the number of rows, not of frames.
"""

import itertools
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from surnn.cells import Cell, Slopes, State, Weights
from surnn.kernels.closed import Closed, closed_gradient
from surnn.kernels.stock import chain_states, run_stock
from surnn.layout import Layout


class Ran(NamedTuple):
    """What a layer and direction gave.

    Args:
        output: (N, H) at each row.
        state: tensors (B, H) after the last row of each stream.
        tap: (B, T, H) zeros, to be added to what is held of the output, so that the gradient of closed frames is heard
            of; None unless it was asked for.
    """

    output: Tensor
    state: State
    tap: Tensor | None


class Back(NamedTuple):
    """Gradients, rows step by step.

    Args:
        by_state: of the state after each row, held or new.
        entering: the part of it that comes through the next row, or is the final state's.
        by_projected: of the projected state.
        by_before: (B, H) of the state before the first row.
    """

    by_state: State
    entering: State
    by_projected: Tensor
    by_before: State


class Steps(Protocol):
    """Who steps through rows, and back."""

    def forward(
        self, cell: Cell, rows: Tensor, state: State, weights: Weights, layout: Layout, gate: Tensor | None
    ) -> State:
        """The state after each row, tensors (N, H), of rows (N, F) under a switch (N, H) or None."""
        ...

    def backward(
        self,
        cell: Cell,
        layout: Layout,
        slopes: Slopes,
        weights: Weights,
        takes: Tensor | None,
        state: State,
        by_output: Tensor | None,
        by_final: tuple[Tensor | None, ...],
    ) -> Back:
        """Through the rows in reverse: slopes and takes (N, H) step by step, by_output (N, H) as rows lie."""
        ...

    def closed_gradient(
        self, closed: Closed, cell: Cell, weights: Weights, held: State, entering: State, by_output: Tensor | None
    ) -> Tensor:
        """As `closed.closed_gradient`."""
        ...


class TorchSteps:
    """Steps made of torch's operations, and torch's kernel where it gives all that is needed."""

    def forward(
        self, cell: Cell, rows: Tensor, state: State, weights: Weights, layout: Layout, gate: Tensor | None
    ) -> State:
        """As in `Steps`."""
        if cell.num_parts == 1 and gate is None:
            return (run_stock(cell, rows, state, weights, layout)[0],)
        return _select_rows(cell, rows, state, weights, layout, gate)

    def backward(
        self,
        cell: Cell,
        layout: Layout,
        slopes: Slopes,
        weights: Weights,
        takes: Tensor | None,
        state: State,
        by_output: Tensor | None,
        by_final: tuple[Tensor | None, ...],
    ) -> Back:
        """As in `Steps`."""
        return _back_through_time(cell, layout, slopes, weights, takes, state, by_output, by_final)

    def closed_gradient(
        self, closed: Closed, cell: Cell, weights: Weights, held: State, entering: State, by_output: Tensor | None
    ) -> Tensor:
        """As in `Steps`."""
        return closed_gradient(closed, cell, weights, held, entering, by_output)


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
    steps: Steps | None = None,
) -> Ran:
    """Step through rows.

    Args:
        cell, rows, state, weights, layout: as in `run_stock`.
        gate: (N, H) in {0, 1}, the switch of each row's neurons, or (N, 1) ones; its gradient is straight-through.
            None: ones that need no gradient.
        frames: (B, T) frame switch, whose gradient at closed frames is wanted; None: it is not.
        closed: these frames.
        is_tapped: the layer's output is held over closed frames and may be used there.
        steps: who steps; None: torch.

    Raises:
        ValueError: inside of a transform of torch.func.
    """
    if torch._C._are_functorch_transforms_active():  # which torch's own refusal asks, too
        raise ValueError(
            'transforms of torch.func do not go through backend="packed" or "event"; use backend="reference", or '
            "torch.autograd"
        )
    task = _Task(cell, layout, closed, is_tapped, TorchSteps() if steps is None else steps)
    output, *rest = _Rows.apply(task, rows, gate, frames, *weights, *state)  # type: ignore[no-untyped-call]
    final, tap = rest[: cell.num_parts], rest[cell.num_parts]
    return Ran(output, tuple(final), tap)


class _Task(NamedTuple):
    cell: Cell
    layout: Layout
    closed: Closed | None
    is_tapped: bool
    steps: Steps


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, task: _Task, rows: Tensor, gate: Tensor | None, frames: Tensor | None, *given: Any) -> Any:
        weights, state = Weights(*given[:4]), given[4:]
        cell, layout = task.cell, task.layout
        has_neurons = gate is not None and gate.shape[1] > 1
        parts = task.steps.forward(cell, rows, state, weights, layout, gate if has_neurons else None)
        closed = task.closed if ctx.needs_input_grad[3] else None
        ctx.cell, ctx.layout, ctx.steps = cell, layout, task.steps
        ctx.how = None if closed is None else (closed.weight, closed.is_backward)
        of_closed = () if closed is None else closed.tensors()
        ctx.save_for_backward(rows, gate, frames, *weights, *state, *parts, *of_closed)
        ctx.set_materialize_grads(False)
        final = tuple(torch.cat(pair)[layout.last] for pair in zip(state, parts, strict=True))
        tap = None
        if task.is_tapped and closed is not None:
            tap = rows.new_zeros(()).expand(*closed.frames.shape, state[0].shape[-1])
        return parts[0], *final, tap

    @staticmethod
    def backward(ctx: Any, by_output: Tensor | None, *by_rest: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise ValueError(
                'second derivatives (create_graph=True) do not go through backend="packed" or "event"; use '
                'backend="reference"'
            )
        cell, layout = ctx.cell, ctx.layout
        rows, gate, frames, *rest = ctx.saved_tensors
        ends = itertools.accumulate((4, cell.num_parts, cell.num_parts))
        weights, state, parts, of_closed = (rest[a:b] for a, b in itertools.pairwise((0, *ends, len(rest))))
        weights, state, parts = Weights(*weights), tuple(state), tuple(parts)
        by_final, by_tap = by_rest[: cell.num_parts], by_rest[cell.num_parts]

        read = rows[layout.source]  # from here on rows lie step by step
        stepped = tuple(part[layout.source] for part in parts)
        before = tuple(
            torch.cat(pair)[layout.previous] for pair in zip(chain_states(state, layout), stepped, strict=True)
        )
        projected_frame = linear(read, weights.weight_ih, weights.bias_ih)
        projected_state = linear(before[0], weights.weight_hh, weights.bias_hh)
        takes = gate[layout.source] > 0.5 if gate is not None and gate.shape[1] > 1 else None
        slopes = cell.slopes(projected_frame, projected_state, before)
        back = ctx.steps.backward(cell, layout, slopes, weights, takes, state, by_output, by_final)

        by_candidate = back.by_state if takes is None else _where(takes, back.by_state)
        by_projected_frame = cell.pull(by_candidate, slopes)[1] if slopes.frame is not None else None
        by_frame = back.by_projected if by_projected_frame is None else by_projected_frame
        needs = ctx.needs_input_grad
        by_rows = _unordered(by_frame @ weights.weight_ih, layout) if needs[1] else None
        by_gate = None
        if gate is not None and needs[2]:
            news = stepped if takes is None else cell.step(projected_frame, projected_state, before)
            products = [a * (new - old) for a, new, old in zip(back.by_state, news, before, strict=True)]
            by_gate = _unordered(sum(products[1:], products[0]), layout)
            by_gate = by_gate if takes is not None else by_gate.sum(-1, keepdim=True)
        by_frames = None
        if frames is not None and ctx.how is not None:
            held = tuple(torch.cat(pair) for pair in zip(state, parts, strict=True))
            entering = tuple(
                torch.cat((first, _unordered(later, layout)))
                for first, later in zip(back.by_before, back.entering, strict=True)
            )
            closed = Closed.of_tensors(of_closed, *ctx.how)
            by_frames = ctx.steps.closed_gradient(closed, cell, weights, held, entering, by_tap).to(frames.dtype)
        has_biases = weights.bias_ih is not None
        by_weights = (
            by_frame.T @ read,
            back.by_projected.T @ before[0],
            by_frame.sum(0) if has_biases else None,
            back.by_projected.sum(0) if has_biases else None,
        )
        return None, by_rows, by_gate, by_frames, *by_weights, *back.by_before


def _back_through_time(
    cell: Cell,
    layout: Layout,
    slopes: Slopes,
    weights: Weights,
    takes: Tensor | None,
    state: State,
    by_output: Tensor | None,
    by_final: tuple[Tensor | None, ...],
) -> Back:
    num_rows, num_neurons = slopes.state.shape[0], state[0].shape[-1]
    ends = by_end_of_chain(layout, state, by_final)
    own = None if by_output is None else by_output[layout.source]
    by_state = tuple(slopes.state.new_empty(num_rows, num_neurons) for _ in state)
    entering = tuple(torch.empty_like(part) for part in by_state)
    by_projected = slopes.state.new_empty(num_rows, cell.num_blocks * num_neurons)
    slopes = slopes._replace(frame=None)
    flowing: State = tuple(end[:0] for end in ends)
    stop = num_rows
    for size in reversed(layout.batch_sizes):
        step = slice(stop - size, stop)
        stop -= size
        if size > len(flowing[0]):  # chains that end with this step
            flowing = tuple(torch.cat((part, end[len(part) : size])) for part, end in zip(flowing, ends, strict=True))
        for kept, part in zip(entering, flowing, strict=True):
            kept[step] = part
        if own is not None:
            flowing = (flowing[0] + own[step], *flowing[1:])
        for kept, part in zip(by_state, flowing, strict=True):
            kept[step] = part
        pulled = flowing if takes is None else _where(takes[step], flowing)
        here = Slopes(slopes.state[step], None, tuple(factor[step] for factor in slopes.rest))
        by_projected[step], _, direct = cell.pull(pulled, here)
        through = (torch.addmm(direct[0], by_projected[step], weights.weight_hh), *direct[1:])
        if takes is not None:
            through = tuple(part + passed for part, passed in zip(through, _where(~takes[step], flowing), strict=True))
        flowing = through
    return Back(by_state, entering, by_projected, by_begin_of_chain(layout, state, flowing, by_final))


def by_begin_of_chain(layout: Layout, state: State, arrived: State, by_final: tuple[Tensor | None, ...]) -> State:
    """(B, H): gradient of the state before; arrived: (C, H), what chains pass to the state with which they begin."""
    by_before = []
    for part, of_chain, by_end in zip(state, arrived, by_final, strict=True):
        idle = part.new_zeros(()).expand_as(part) if by_end is None else by_end
        before = torch.where((layout.final_chain >= 0)[:, None], part.new_zeros(()), idle)
        begun = ~layout.chain_is_fresh
        by_before.append(before.index_add(0, layout.chain_stream[begun], of_chain[begun]))
    return tuple(by_before)


def by_end_of_chain(layout: Layout, state: State, by_final: tuple[Tensor | None, ...]) -> State:
    """(C, H): gradient of the final state, for the chains with which streams end; zero for the others."""
    has_rows = layout.final_chain >= 0
    ends = []
    for part, by_end in zip(state, by_final, strict=True):
        end = part.new_zeros(len(layout.chain_stream), part.shape[-1])
        if by_end is not None:
            end[layout.final_chain[has_rows]] = by_end[has_rows]
        ends.append(end)
    return tuple(ends)


def _select_rows(
    cell: Cell, rows: Tensor, state: State, weights: Weights, layout: Layout, gate: Tensor | None
) -> State:
    """The state after each row, tensors (N, H)."""
    read = linear(rows[layout.source], weights.weight_ih, weights.bias_ih)
    takes = None if gate is None else gate[layout.source] > 0.5
    now, steps, start = chain_states(state, layout), [], 0
    for size in layout.batch_sizes:
        step = slice(start, start + size)
        start += size
        now = tuple(part[:size] for part in now)
        new = cell.step(read[step], linear(now[0], weights.weight_hh, weights.bias_hh), now)
        if takes is not None:
            new = tuple(torch.where(takes[step], *pair) for pair in zip(new, now, strict=True))
        steps.append(new)
        now = new
    if not steps:
        return tuple(part[:0] for part in state)
    return tuple(_unordered(torch.cat(part), layout) for part in zip(*steps, strict=True))


def _unordered(stepped: Tensor, layout: Layout) -> Tensor:
    """Rows that lie step by step, stream by stream again."""
    return torch.empty_like(stepped).index_copy(0, layout.source, stepped)


def _where(takes: Tensor, parts: State) -> State:
    return tuple(torch.where(takes, part, part.new_zeros(())) for part in parts)
