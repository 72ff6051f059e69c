"""One layer and direction over chains of rows, by the compiled loops, on one thread or several."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from surnn.cells import Cell, Weights
from surnn.kernels import event_loops as loops
from surnn.kernels.event_weights import Laid, laid_out

Array = NDArray[Any]
CHUNK_ROWS = 64  # rows whose projections exist at one time, unless more streams step together
MIN_WORK_PER_THREAD = 4_000_000  # multiplications; less is done before another thread has begun


class Chains(NamedTuple):
    """Rows in the order in which one direction takes them; the longest chain first.

    Args:
        order: (N,) rows, chain by chain.
        first: (C,) where each chain begins in it.
        count: (C,) its rows.
        stream: (C,) its stream.
        is_fresh: (C,) bool; true: it begins at zero, not at its stream's state.
        is_final: (C,) bool; true: it ends with its stream's final state.
    """

    order: Array
    first: Array
    count: Array  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    stream: Array
    is_fresh: Array
    is_final: Array


class Table(NamedTuple):
    """Numbers of which each row has some: (place of row * stride + shift) is where they begin."""

    numbers: Array
    places: Array
    stride: int
    shift: int

    @property
    def at(self) -> tuple[Array, int, int]:
        return self.places, self.stride, self.shift


def run_chains(
    cell: Cell,
    read: Table,
    state: list[Array],
    weights: Weights,
    chains: Chains,
    gate: Table | None,
    out: Table,
    cells: Array | None,
) -> list[Array]:
    """One layer and direction over its chains, on as many threads as torch may use and the work is worth.

    Args:
        cell: the equations.
        read: input of each row.
        state: (B, H) before.
        weights: of the layer and direction.
        chains: the order.
        gate: switch of each row's neurons; None: open.
        out: where each row's output is written.
        cells: (N, H) where an LSTM's cell state is written; None: nowhere.

    Returns:
        (B, H) after.
    """
    final = [part.copy() for part in state]
    num_chains = len(chains.first)
    if not len(chains.order):
        return final
    laid = laid_out(weights)
    if num_chains == len(state[0]) == 1 and not chains.is_fresh[0]:  # a single stream, block by block: be quick
        _step(cell, read, final, laid, chains, gate, out, cells)
        return final
    work = len(chains.order) * (laid.read[4] + laid.state[4]) * laid.num_outputs
    num_threads = threads_for(work, num_chains)

    def run(own: slice) -> None:
        mine = Chains(chains.order, *(part[own] for part in chains[1:]))
        begun = [part[mine.stream] for part in state]
        for part in begun:
            part[mine.is_fresh] = 0
        _step(cell, read, begun, laid, mine, gate, out, cells)
        for part, ended in zip(final, begun, strict=True):
            part[mine.stream[mine.is_final]] = ended[mine.is_final]

    own = [slice(number, None, num_threads) for number in range(num_threads)]
    if gate is not None and _are_few(gate, chains, len(state[0][0])):
        # Streams that step together share reads of whole weights; these read little of them, and much of the switch.
        own = [slice(number, number + 1) for number in range(num_chains)]

    def run_all(parts: list[slice]) -> None:
        for part in parts:
            run(part)

    in_parallel(run_all, [own[number::num_threads] for number in range(num_threads)])
    return final


def max_few(num_neurons: int) -> int:
    """With how many open neurons a row is computed neuron by neuron; a rule of the row alone, so that bits are, too.

    Measured (GRU, 64 to 512 neurons): one stream gains up to a half of the neurons; 32 streams, which share reads of
    whole weights, up to a fifth or a third of them.
    """
    return int(0.3 * num_neurons)


def threads_for(work: int, num_chains: int) -> int:
    """How many threads so many multiplications in so many chains are worth."""
    return max(1, min(torch.get_num_threads(), num_chains, work // MIN_WORK_PER_THREAD))


def _are_few(gate: Table, chains: Chains, num_neurons: int) -> bool:
    """Whether most rows, by a sample, have few open neurons."""
    rows = chains.order[:: max(1, len(chains.order) // 32)]
    begins = gate.places[rows] * gate.stride + gate.shift
    num_open = gate.numbers[begins[:, None] + np.arange(num_neurons)].sum(axis=1)
    return bool(np.median(num_open) <= max_few(num_neurons)) if len(rows) else False


def _step(
    cell: Cell,
    read: Table,
    begun: list[Array],
    laid: Laid,
    chains: Chains,
    gate: Table | None,
    out: Table,
    cells: Array | None,
) -> None:
    num_chains, num_neurons = begun[0].shape
    if not num_chains:
        return
    dtype = begun[0].dtype
    nothing = np.empty((0, 0), dtype)
    num_rows = max(CHUNK_ROWS, num_chains)
    room = (
        np.empty((2 * cell.num_blocks + 4) * num_neurons, dtype),
        np.empty((num_rows, laid.num_outputs), dtype),
        np.empty((num_chains, laid.num_outputs), dtype),
        np.empty(2 * num_neurons, dtype),
    )
    switch = Table(np.empty(0, dtype), out.places, 0, 0) if gate is None else gate
    loops.step_chains(
        loops.KINDS[cell.name],
        laid.read,
        laid.state,
        read.numbers,
        read.at,
        switch.numbers,
        switch.at,
        max_few(num_neurons),
        chains.order,
        np.ascontiguousarray(chains.first),
        np.ascontiguousarray(chains.count),
        begun[0],
        begun[1] if len(begun) > 1 else nothing,
        out.numbers,
        out.at,
        nothing if cells is None else cells,
        room,
        np.empty((5, num_rows), np.int64),
        np.empty(num_neurons, np.int64),
    )


def in_parallel(run: Callable[[Any], None], parts: list[Any]) -> None:
    """Each part in a thread of its own, the first in this one; what one of them raises is raised here."""
    if len(parts) == 1:
        run(parts[0])
        return
    failures: list[BaseException] = []

    def run_other(part: Any) -> None:
        try:
            run(part)
        except BaseException as failure:
            failures.append(failure)

    others = [threading.Thread(target=run_other, args=(part,)) for part in parts[1:]]
    for other in others:
        other.start()
    run(parts[0])
    for other in others:
        other.join()
    if failures:
        raise failures[0]
