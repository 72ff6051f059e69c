"""Open frames and open neurons only, on a CPU: loops of our own, compiled by numba at first use.

frames      x x . x . . x       find_open: the rows to be stepped
rows        A B   C     D       step_chains: what a chunk of rows reads, projected at once; then step by step
neurons     |||| |. .| |...     a row with few open neurons is computed neuron by neuron
frames      A B B C C C D       hold

Each output adds its terms in one order, whatever rows or streams are computed beside it: a row alone, in a batch, in
any cut of a stream into blocks, and on any number of threads gives the same bits.
"""

import logging
import time
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surnn.cells import State
from surnn.kernels import event_loops as loops
from surnn.kernels import packed
from surnn.kernels.event_run import Chains, Table, run_chains
from surnn.kernels.event_steps import EventSteps
from surnn.kernels.rows import run_rows
from surnn.layout import Restart, segment_starts
from surnn.network import Network
from surnn.types import Packed, Sampled, Switch

Array = NDArray[Any]
SLOW_SECONDS = 2.0  # a first call that takes longer is explained
_log = logging.getLogger(__name__)


def scan(
    frames: Tensor,
    state: State,
    network: Network,
    switch: Switch | None = None,
    lengths: Tensor | None = None,
    sampled: Sampled | None = None,
) -> tuple[Tensor, State]:
    """A gated recurrent network over open frames and neurons; arguments and results as in `packed.scan`.

    Where gradients are wanted the loops serve `packed.scan` forward and backward.

    Raises:
        ValueError: if the switch is soft, or tensors are neither float32 nor float64 on a CPU.
    """
    check_can_run(frames)
    if switch is not None and switch.is_soft:
        raise ValueError('the switch is soft, so no frame is closed; use backend="reference"')
    batch, num_frames = frames.shape[:2]
    if wants_gradient(frames, state, network, switch):
        run = partial(run_rows, steps=EventSteps())
        return packed.scan(frames, state, network, switch, lengths, sampled, run)
    begun = None if loops.step_chains.overloads else time.perf_counter()
    index, counts = _open_frames(frames, switch, lengths)
    width = network.num_directions * state[0].shape[-1]
    gate = None
    if switch is not None and switch.neurons is not None:
        gate = Table(_flat(switch.neurons.to(frames.dtype)), index, width, 0)
    output = torch.empty(batch, num_frames, width, dtype=frames.dtype)
    read = Table(_flat(frames), index, frames.shape[2], 0)
    held = _stack(read, state, network, index, counts, num_frames, gate, output.numpy())
    spread = output.numpy()
    for direction, before in enumerate(held.before):
        loops.hold(spread, index, counts, before, direction * before.shape[1], direction == 1)
    if begun is not None:
        explain_compiling(time.perf_counter() - begun)
    return output, held.state


def scan_rows(rows: Packed, state: State, network: Network) -> tuple[Tensor, State]:
    """The same over rows that were packed before; arguments and results as in `packed.scan_rows`."""
    check_can_run(rows.data)
    if wants_gradient(rows.data, state, network, None):
        return packed.scan_rows(rows, state, network, partial(run_rows, steps=EventSteps()))
    num_rows, width = len(rows.data), network.num_directions * state[0].shape[-1]
    output = torch.empty(num_rows, width, dtype=rows.data.dtype)
    read = Table(_flat(rows.data), np.arange(num_rows), rows.data.shape[1], 0)
    index, counts = rows.index.numpy(), rows.lengths.numpy()
    held = _stack(read, state, network, index, counts, None, None, output.numpy())
    return output, held.state


def is_binary(values: Tensor) -> bool:
    """Whether all values are 0 or 1."""
    return bool(loops.is_binary(_flat(values)))


def wants_gradient(frames: Tensor, state: State, network: Network, switch: Switch | None) -> bool:
    """Whether autograd would follow anything that goes into a scan."""
    if not torch.is_grad_enabled():
        return False
    of_switch = () if switch is None else (switch.frames, switch.neurons)
    weights = (tensor for layer in network.layers for way in layer for tensor in way)
    return any(tensor is not None and tensor.requires_grad for tensor in (frames, *state, *of_switch, *weights))


def explain_compiling(seconds: float) -> None:
    """Says, where a first call was slow, why it was, and whether the next process will be faster."""
    if seconds > SLOW_SECONDS:
        folder = loops.step_chains.stats.cache_path
        kept = f"kept in {folder} for later processes" if folder else "not kept: no folder for it can be written"
        _log.warning("numba compiled surnn's kernels for this machine in %.0f s; %s", seconds, kept)


def check_can_run(frames: Tensor) -> None:
    """Raises a ValueError unless the loops take such tensors."""
    if torch._C._are_functorch_transforms_active():
        raise ValueError('transforms of torch.func do not go through backend="event"; use backend="reference"')
    if frames.device.type != "cpu" or frames.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f'backend="event" runs float32 and float64 on a CPU; these are {frames.dtype} on {frames.device}; '
            'use backend="packed" or "auto"'
        )


class _Held(NamedTuple):
    """What is held before the first open frame, (B, H) per direction, and the final state."""

    before: list[Array]
    state: State


def _open_frames(frames: Tensor, switch: Switch | None, lengths: Tensor | None) -> tuple[Array, Array]:
    """Open frames, stream * T + frame, and how many each stream has."""
    batch, num_frames = frames.shape[:2]
    if switch is None and lengths is None:
        return np.arange(batch * num_frames), np.full(batch, num_frames)
    is_open = np.ones((batch, num_frames), np.float32) if switch is None else _array(switch.frames.to(frames.dtype))
    ends = np.empty(0, np.int64) if lengths is None else lengths.to(torch.int64).numpy()
    index, counts = np.empty(batch * num_frames, np.int64), np.empty(batch, np.int64)
    return index[: loops.find_open(is_open, ends, index, counts)], counts


def chains_of(
    index: Array, counts: Array, *, is_backward: bool, restart: Restart | None, num_frames: int | None
) -> Chains:
    """The chains of one direction.

    Args:
        index: (N,) open frames, stream * num_frames + frame; frame alone where num_frames is None.
        counts: (B,) rows per stream.
        is_backward: from right to left.
        restart: when the backward direction forgets.
        num_frames: T.
    """
    num_rows = len(index)
    order = np.arange(num_rows)
    if len(counts) == 1 and num_rows and not is_backward:  # a single stream, block by block: be quick
        only = np.zeros(1, np.int64)
        return Chains(order, only, counts, only, only.astype(bool), only == 0)
    if is_backward and restart is not None and num_rows:
        frame = index if num_frames is None else index % num_frames
        starts = segment_starts(torch.from_numpy(frame), torch.from_numpy(counts), restart).numpy()
        first = np.flatnonzero(starts)
        count = np.diff(first, append=num_rows)
    else:
        first, count = (counts.cumsum() - counts)[counts > 0], counts[counts > 0]
    stream = np.repeat(np.arange(len(counts)), counts)[first]
    if is_backward:
        order = np.repeat(2 * first + count - 1, count) - order
    is_fresh = np.zeros(len(first), bool)
    is_fresh[:-1] = stream[1:] == stream[:-1]  # another segment of the stream lies to the right
    is_final = np.ones(len(first), bool)
    is_final[1:] = stream[1:] != stream[:-1]
    if len(first) > 1:
        longest = np.argsort(-count, kind="stable")
        first, count, stream, is_fresh, is_final = (
            part[longest] for part in (first, count, stream, is_fresh, is_final)
        )
    return Chains(order, first, count, stream, is_fresh, is_final)


def _stack(
    read: Table,
    state: State,
    network: Network,
    index: Array,
    counts: Array,
    num_frames: int | None,
    gate: Table | None,
    output: Array,
) -> _Held:
    """All layers; writes the last one's output at each row's place."""
    num_directions, num_neurons = network.num_directions, state[0].shape[-1]
    width, num_rows, dtype = num_directions * num_neurons, len(index), output.dtype
    ways = [
        chains_of(index, counts, is_backward=number == 1, restart=network.restart, num_frames=num_frames)
        for number in range(num_directions)
    ]
    begins, ends = [_array(part) for part in state], [torch.empty_like(part) for part in state]
    number_of_row = np.arange(num_rows)
    final = Table(output.reshape(-1), number_of_row if num_frames is None else index, width, 0)
    below: Array | None = None  # of the layer below, (N, D * H), and what it holds before the first row
    below_before: Array | None = None
    for layer, directions in enumerate(network.layers):
        mask = network.masks[layer]
        if below is not None:
            masked = below if mask is None else below * np.repeat(_array(mask), counts, axis=0)
            read = Table(masked.reshape(-1), number_of_row, width, 0)
        is_last = layer == len(network.layers) - 1 and not network.residual
        table = None if is_last else np.empty((num_rows, width), dtype)
        out = final if table is None else Table(table.reshape(-1), number_of_row, width, 0)
        for direction, (chains, weights) in enumerate(zip(ways, directions, strict=True)):
            at, shift = layer * num_directions + direction, direction * num_neurons
            gated = None if gate is None else gate._replace(shift=shift)
            before = [part[at] for part in begins]
            after = run_chains(network.cell, read, before, weights, chains, gated, out._replace(shift=shift), None)
            for end, part in zip(ends, after, strict=True):
                end[at] = torch.from_numpy(part)
        firsts = begins[0][layer * num_directions : (layer + 1) * num_directions]
        own_before = firsts[0] if num_directions == 1 else np.concatenate(list(firsts), axis=1)
        if network.residual and table is not None and below is not None and below_before is not None:
            table, own_before = table + below, own_before + below_before
        below, below_before = table, own_before
    if network.residual and below is not None:
        output.reshape(-1, width)[final.places] = below
    assert below_before is not None  # there is a layer
    before = [below_before] if num_directions == 1 else np.split(below_before, num_directions, axis=1)
    return _Held([np.ascontiguousarray(part) for part in before], tuple(ends))


def _array(tensor: Tensor) -> Array:
    return tensor.detach().contiguous().numpy()


def _flat(tensor: Tensor) -> Array:
    return _array(tensor).reshape(-1)
