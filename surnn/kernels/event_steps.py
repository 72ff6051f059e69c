"""The event loops as `Steps`: what a backward pass through open rows is made of."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surnn.cells import Cell, Slopes, State, Weights
from surnn.kernels import event_loops as loops
from surnn.kernels.closed import Closed
from surnn.kernels.event_back_loops import back_chains
from surnn.kernels.event_closed_loops import closed_gradients
from surnn.kernels.event_run import CHUNK_ROWS, Chains, Table, in_parallel, max_few, run_chains, threads_for
from surnn.kernels.event_weights import back_tiles, laid_out
from surnn.kernels.rows import Back, by_begin_of_chain, by_end_of_chain
from surnn.layout import Layout

Array = NDArray[Any]


def chains_in(layout: Layout) -> tuple[Chains, Array]:
    """The chains of a layout; and where each of its rows, step by step, is in their order."""
    sizes = np.array(layout.batch_sizes, np.int64)
    num_chains, num_rows = len(layout.chain_stream), len(layout.source)
    count = np.asarray((sizes[:, None] > np.arange(num_chains)).sum(axis=0))
    first = count.cumsum() - count
    step = np.repeat(np.arange(len(sizes)), sizes)
    chain = np.arange(num_rows) - (sizes.cumsum() - sizes)[step]
    place = first[chain] + step
    order = np.empty(num_rows, np.int64)
    order[place] = layout.source.numpy()
    is_final = np.zeros(num_chains, bool)
    final = layout.final_chain.numpy()
    is_final[final[final >= 0]] = True
    stream, is_fresh = layout.chain_stream.numpy(), layout.chain_is_fresh.numpy()
    return Chains(order, first, count, stream, is_fresh, is_final), place


class EventSteps:
    """Open rows and open neurons only; forward and backward in compiled loops."""

    def forward(
        self, cell: Cell, rows: Tensor, state: State, weights: Weights, layout: Layout, gate: Tensor | None
    ) -> State:
        """As in `Steps`."""
        num_rows, num_neurons = len(rows), state[0].shape[-1]
        parts = tuple(torch.empty(num_rows, num_neurons, dtype=rows.dtype) for _ in state)
        if not num_rows:
            return parts
        chains, _ = chains_in(layout)
        number = np.arange(num_rows)
        read = Table(rows.detach().contiguous().numpy().reshape(-1), number, rows.shape[1], 0)
        switch = None
        if gate is not None:
            switch = Table(gate.detach().to(rows.dtype).contiguous().numpy().reshape(-1), number, num_neurons, 0)
        run_chains(
            cell,
            read,
            [part.detach().contiguous().numpy() for part in state],
            weights,
            chains,
            switch,
            Table(parts[0].numpy().reshape(-1), number, num_neurons, 0),
            parts[1].numpy() if len(parts) > 1 else None,
        )
        return parts

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
        num_rows, num_neurons = slopes.state.shape[0], state[0].shape[-1]
        flowing = torch.stack(by_end_of_chain(layout, state, by_final))
        entering = flowing.new_empty(len(state), num_rows, num_neurons)
        by_state = torch.empty_like(entering)
        by_projected = flowing.new_empty(num_rows, cell.num_blocks * num_neurons)
        own = flowing.new_empty(0, num_neurons) if by_output is None else by_output[layout.source]
        switch = flowing.new_empty(0, num_neurons) if takes is None else takes.to(flowing.dtype)
        rests = torch.stack(slopes.rest) if slopes.rest else flowing.new_empty(0, num_rows, num_neurons)
        tiles, num_outputs = back_tiles(weights.weight_hh)
        given = (slopes.state, rests, switch, own, flowing, entering, by_state, by_projected)
        arrays = [_array(tensor) for tensor in given]
        sizes = np.array(layout.batch_sizes, np.int64)
        weight = weights.weight_hh.detach().contiguous().numpy().reshape(-1)

        def run(chains: Array) -> None:
            num_parts, num_chains, dtype = len(state), len(chains), weight.dtype
            back_chains(
                loops.KINDS[cell.name],
                weight,
                tiles,
                np.zeros(num_outputs, dtype),
                sizes.cumsum() - sizes,
                sizes,
                chains,
                *arrays[:3],
                max_few(num_neurons),
                *arrays[3:],
                (
                    np.empty((2, num_parts, num_chains, num_neurons), dtype),
                    np.empty((num_chains, num_outputs), dtype),
                ),
                np.empty((2, num_chains), np.int64),
            )

        chains = np.arange(len(layout.chain_stream))
        num_threads = threads_for(num_rows * by_projected.shape[1] * num_neurons, len(chains))
        in_parallel(run, [np.ascontiguousarray(chains[number::num_threads]) for number in range(num_threads)])
        return Back(
            tuple(by_state), tuple(entering), by_projected, by_begin_of_chain(layout, state, tuple(flowing), by_final)
        )

    def closed_gradient(
        self, closed: Closed, cell: Cell, weights: Weights, held: State, entering: State, by_output: Tensor | None
    ) -> Tensor:
        """As in `Steps`."""
        dtype, (batch, num_frames), num_neurons = held[0].dtype, closed.frames.shape, held[0].shape[-1]
        gradient = torch.zeros(batch, num_frames, dtype=dtype)
        nothing, no_places = torch.empty(0, 0, dtype=dtype), torch.empty(0, 0, dtype=torch.int64)
        pairs = list(zip(closed.inputs.tables, closed.inputs.places, strict=True))
        pairs += [(nothing, no_places)] * (2 - len(pairs))
        inputs = [(_array(table), _array(place)) for table, place in pairs]
        mask = nothing if closed.inputs.mask is None else closed.inputs.mask
        absent = torch.empty(0, 0, 0, dtype=dtype)
        neurons = absent if closed.neurons is None else closed.neurons.to(dtype)
        laid = laid_out(weights)
        tables = np.stack([_array(part) for part in held]), np.stack([_array(part) for part in entering])
        arrays = _array(mask), _array(neurons), *tables, _array(absent if by_output is None else by_output)

        def run(streams: Array) -> None:
            num_rows = CHUNK_ROWS
            closed_gradients(
                loops.KINDS[cell.name],
                laid.read,
                laid.state,
                streams,
                _array(closed.frames),
                closed.weight,
                _array(closed.place),
                closed.is_backward,
                *inputs,
                *arrays,
                gradient.numpy(),
                (
                    np.empty((num_rows, laid.read[4]), tables[0].dtype),
                    np.empty((num_rows, laid.num_outputs), tables[0].dtype),
                    np.empty((num_rows, laid.num_outputs), tables[0].dtype),
                    np.empty((num_rows, num_neurons), tables[0].dtype),
                    np.empty((3, num_neurons), tables[0].dtype),
                ),
                np.empty((7, num_rows), np.int64),
            )

        num_threads = threads_for(batch * num_frames * laid.num_outputs * laid.read[4], batch)
        in_parallel(run, [np.arange(number, batch, num_threads) for number in range(num_threads)])
        return gradient


def _array(tensor: Tensor) -> Array:
    return tensor.detach().contiguous().numpy()
