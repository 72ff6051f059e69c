"""Open frames only: as many sequential steps as frames are open, and the same function as the reference.

frames     x x . x . . x        the switch leaves N rows open
rows       A B   C     D        each layer and direction runs over rows: torch's kernel, or `rows` for what it lacks
frames     A B B C C C D        the last layer's rows, held
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from surnn.cells import State, Weights
from surnn.kernels.closed import Closed, Inputs
from surnn.kernels.rows import Ran, run_rows
from surnn.kernels.stock import run_stock
from surnn.layout import Layout, held_rows, lay_out, reversed_rows, segment_starts
from surnn.network import Network
from surnn.packing import frames_within
from surnn.types import Packed, Sampled, Switch

RunRows = Callable[..., Ran]  # arguments and result of surnn.kernels.rows.run_rows


class _Way(NamedTuple):
    """One direction through the rows.

    Args:
        layout: rows in the order of the direction.
        turn: (N,) from time order to that order, and back; None: the same.
        place: (B, T) what each frame holds, in a table of the B states before and then the N rows in the order of the
            direction; None where no frame is asked for.
    """

    layout: Layout
    turn: Tensor | None
    place: Tensor | None

    def turned(self, rows: Tensor) -> Tensor:
        return rows if self.turn is None else rows[self.turn]


class _Learning(NamedTuple):
    """A switch that requires a gradient.

    Args:
        frames: (B, T) frame switch.
        closed: (B, T) bool, the closed frames that get one.
        weight: of each of them.
        neurons: (B, T, D * H) neuron switch, or None.
        read: (B, T, F) frames.
    """

    frames: Tensor
    closed: Tensor
    weight: float
    neurons: Tensor | None
    read: Tensor


def scan(
    frames: Tensor,
    state: State,
    network: Network,
    switch: Switch | None = None,
    lengths: Tensor | None = None,
    sampled: Sampled | None = None,
    run: RunRows = run_rows,
) -> tuple[Tensor, State]:
    """A gated recurrent network over open frames, held between them; arguments and results as in `reference.scan`.

    The gradient of a closed frame's switch needs the candidate that it kept out. Candidates are computed in the
    backward pass, a few hundred frames at a time, outside of the sequential loop; nothing of closed frames is stored.

    Args:
        sampled: compute the gradient of these closed frames only, weighted to be right on average; None: of all.
        run: who runs a layer and direction over rows.

    Raises:
        ValueError: if the switch is soft.
    """
    if switch is not None and switch.is_soft:
        raise ValueError('the switch is soft, so no frame is closed; use backend="reference"')
    batch, num_frames = frames.shape[:2]
    is_open = frames.new_ones(batch, num_frames, dtype=torch.bool) if switch is None else switch.frames > 0.5
    within = None if lengths is None else frames_within(lengths.to(frames.device), num_frames)
    if within is not None:
        is_open = is_open & within
    stream, index = is_open.nonzero(as_tuple=True)
    gate, learning = None, None
    if switch is not None:
        gate = _gate_rows(switch, stream, index, frames.dtype)
        if switch.frames.requires_grad and torch.is_grad_enabled():
            closed = ~is_open if within is None else within & ~is_open
            weight = 1.0
            if sampled is not None:
                closed, weight = closed & sampled.frames, 1 / sampled.probability
            learning = _Learning(switch.frames, closed, weight, switch.neurons, frames.detach())
    ways = _ways(index, is_open.sum(dim=1), network, is_open)
    tables, final, taps = _stack(frames[stream, index], state, network, ways, gate, learning, run)
    output = torch.cat([table[way.place] for table, way in zip(tables, ways, strict=True)], dim=-1)
    for tap in taps:
        output = output + tap  # zero; it tells a layer the gradient of what is held of it
    return output, final


def scan_rows(packed: Packed, state: State, network: Network, run: RunRows = run_rows) -> tuple[Tensor, State]:
    """The same over rows that were packed before, every one of them a step.

    Args:
        packed: rows of B streams; streams without a row keep their state.
        state, network, run: as in `scan`.

    Returns:
        Packed output (N, D * H) of the last layer, and the state.
    """
    ways = _ways(packed.index, packed.lengths, network, None)
    tables, final, _ = _stack(packed.data, state, network, ways, None, None, run)
    return _side_by_side(tables, ways, len(packed.lengths)), final


def _ways(index: Tensor, counts: Tensor, network: Network, is_open: Tensor | None) -> list[_Way]:
    ways = [_Way(lay_out(counts), None, None if is_open is None else held_rows(is_open, counts))]
    if network.num_directions == 2:
        turn, fresh = reversed_rows(counts), None
        if network.restart is not None:
            # Taken from right to left, a segment begins with its last row, behind which another one starts in time.
            fresh = segment_starts(index, counts, network.restart).roll(-1)
            fresh[(counts.cumsum(0) - 1)[counts > 0]] = False  # each stream begins at its own state
            fresh = fresh[turn]
        place = None if is_open is None else held_rows(is_open.flip(1), counts).flip(1)
        ways.append(_Way(lay_out(counts, fresh), turn, place))
    return ways


def _gate_rows(switch: Switch, stream: Tensor, index: Tensor, dtype: torch.dtype) -> Tensor | None:
    """(N, D * H) or (N, 1) switch of the open rows; None where there is nothing to select and nothing to learn."""
    if switch.neurons is None:
        learns = switch.frames.requires_grad and torch.is_grad_enabled()
        return switch.frames[stream, index, None].to(dtype) if learns else None
    return (switch.frames[stream, index, None] * switch.neurons[stream, index]).to(dtype)


def _stack(
    rows: Tensor,
    state: State,
    network: Network,
    ways: list[_Way],
    gate: Tensor | None,
    learning: _Learning | None,
    run: RunRows,
) -> tuple[list[Tensor], State, list[Tensor]]:
    """The last layer's output before and at each row, a table (B + N, H) per direction; the state; the taps."""
    num_streams, num_neurons = state[0].shape[1:]
    stream = torch.repeat_interleave(ways[0].layout.counts, output_size=len(rows))
    finals: list[State] = []
    taps: list[Tensor] = []
    tables: list[Tensor] = []
    inputs = None if learning is None else _frames_as_inputs(learning.read)
    for layer, directions in enumerate(network.layers):
        mask = network.masks[layer]
        if layer > 0:
            rows = _side_by_side(tables, ways, num_streams)
            rows = rows if mask is None else rows * mask[stream]
            if learning is not None:
                places = [way.place for way in ways if way.place is not None]
                inputs = Inputs(tuple(table.detach() for table in tables), tuple(places), mask)
        ran = []
        for direction, (way, weights) in enumerate(zip(ways, directions, strict=True)):
            before = tuple(part[layer * len(ways) + direction] for part in state)
            given = network.cell, way.turned(rows), before, weights, way.layout
            if gate is None and _is_stock_best(way.layout, *given[1:4]):
                ran.append(Ran(*run_stock(*given), None))
                continue
            own = slice(direction * num_neurons, (direction + 1) * num_neurons)
            closed = None
            if learning is not None and inputs is not None and way.place is not None:
                neurons = None if learning.neurons is None else learning.neurons.detach()[..., own]
                closed = Closed(learning.closed, learning.weight, way.place, inputs, neurons, direction == 1)
            is_heard = layer == len(network.layers) - 1 or network.residual
            frames = None if learning is None else learning.frames
            gated = gate if gate is None or gate.shape[1] == 1 else gate[:, own]
            gated = None if gated is None else way.turned(gated)
            ran.append(run(*given, gated, frames, closed, is_tapped=is_heard))
        finals += [way_ran.state for way_ran in ran]
        if ran[0].tap is not None:
            taps.append(torch.cat([way_ran.tap for way_ran in ran if way_ran.tap is not None], dim=-1))
        firsts = state[0][layer * len(ways) : (layer + 1) * len(ways)]
        above = [torch.cat((before, way_ran.output)) for before, way_ran in zip(firsts, ran, strict=True)]
        is_added = network.residual and layer > 0
        tables = [new + old for new, old in zip(above, tables, strict=True)] if is_added else above
    return tables, tuple(torch.stack(parts) for parts in zip(*finals, strict=True)), taps


def _is_stock_best(layout: Layout, rows: Tensor, state: State, weights: Weights) -> bool:
    """Whether torch's kernel is the faster one where every neuron of every row is open.

    Measured (one thread, B=16, T=1000, H=128, half of the frames open, forward and backward): on a CPU torch goes back
    over chains of different lengths 3 to 5 times slower than `rows`; over chains of one length 2 times faster.
    """
    learns = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (rows, *state, *weights)
    )
    is_even = bool(layout.batch_sizes) and layout.batch_sizes[0] == layout.batch_sizes[-1]
    return not learns or is_even or rows.device.type != "cpu"


def _side_by_side(tables: list[Tensor], ways: list[_Way], num_streams: int) -> Tensor:
    """(N, D * H) rows in time order."""
    return torch.cat([way.turned(table[num_streams:]) for table, way in zip(tables, ways, strict=True)], dim=-1)


def _frames_as_inputs(frames: Tensor) -> Inputs:
    batch, num_frames = frames.shape[:2]
    place = torch.arange(batch * num_frames, device=frames.device).view(batch, num_frames)
    return Inputs((frames.flatten(0, 1),), (place,), None)
