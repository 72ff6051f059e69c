"""The loops of the event kernels: open frames and open neurons only. Compiled at first use, by numba; see `event`."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

from surnn.kernels.event_math import (
    BLOCK_ROWS,
    OPTIONS,
    TAIL_VECTORS,
    TILE_VECTORS,
    VECTOR_BYTES,
    prefetch,
    sigmoid,
    tanh,
    tile_of,
)

NEAR_BYTES = 16 * 1024  # of a tile that is kept in the nearest cache
RNN_TANH, RNN_RELU, GRU, LSTM = range(4)
KINDS = {"rnn_tanh": RNN_TANH, "rnn_relu": RNN_RELU, "gru": GRU, "lstm": LSTM}

_wide_block, _wide_row = tile_of(BLOCK_ROWS, TILE_VECTORS), tile_of(1, TILE_VECTORS)
_tail_block, _tail_row = tile_of(BLOCK_ROWS, TAIL_VECTORS), tile_of(1, TAIL_VECTORS)


def digest_of(folder: Path) -> str:
    """A digest of the source of all event kernels."""
    sources = b"".join(file.read_bytes() for file in sorted(folder.glob("event_*.py")))
    return hashlib.sha256(sources).hexdigest()


SOURCES = digest_of(Path(__file__).parent)


class _Cache(FunctionCache):
    """numba's cache, which looks for changes in a function's own file alone; these are compiled into one another."""

    def _index_key(self, *given: Any) -> tuple[Any, ...]:
        return *super()._index_key(*given), SOURCES  # type: ignore[no-untyped-call]


def compiled(function: Any, fastmath: Any = OPTIONS["fastmath"]) -> Any:
    """numba's njit without the GIL, its result kept on disk where a folder for it can be written."""
    made = njit(**{**OPTIONS, "fastmath": fastmath, "nogil": True})(function)
    with suppress(RuntimeError):  # no folder for it can be written: compile in every process
        made._cache = _Cache(function)  # type: ignore[no-untyped-call]
    return made


@compiled
def lay_in_tiles(weight: Any, tiles: Any, num_outputs: int) -> None:
    """A weight (outputs, inputs) block by block, as products read it; tiles: flat, of num_outputs * inputs numbers."""
    num_inputs = weight.shape[1]
    lanes = VECTOR_BYTES // weight.itemsize
    k = 0
    while k < num_outputs:
        width = TILE_VECTORS * lanes if k + TILE_VECTORS * lanes <= num_outputs else TAIL_VECTORS * lanes
        for j in range(num_inputs):
            at = k * num_inputs + j * width
            for offset in range(width):
                tiles[at + offset] = weight[k + offset, j] if k + offset < weight.shape[0] else 0
        k += width


@compiled
def products(
    tiles: Any, first: Any, x: Any, x_at: Any, out: Any, out_at: Any, num_rows: int, num_inputs: int, num_outputs: int
) -> None:
    """Rows of out: first + x @ weight.T, where x_at and out_at say; the weight lies in tiles."""
    lanes = VECTOR_BYTES // tiles.itemsize
    k = 0
    while k < num_outputs:
        is_wide = k + TILE_VECTORS * lanes <= num_outputs
        width = TILE_VECTORS * lanes if is_wide else TAIL_VECTORS * lanes
        # Many rows take a tile piece by piece, so that a piece stays in the nearest cache for all of them.
        piece = max(16, NEAR_BYTES // (width * tiles.itemsize)) if num_rows > BLOCK_ROWS else num_inputs
        for j in range(0, num_inputs, piece):
            at, n, begins, row = k * num_inputs + j * width, min(piece, num_inputs - j), j == 0, 0
            while row + BLOCK_ROWS <= num_rows:
                if is_wide:
                    _wide_block(tiles, at, first, x, x_at, out, out_at, row, k, j, n, begins)
                else:
                    _tail_block(tiles, at, first, x, x_at, out, out_at, row, k, j, n, begins)
                row += BLOCK_ROWS
            while row < num_rows:
                if is_wide:
                    _wide_row(tiles, at, first, x, x_at, out, out_at, row, k, j, n, begins)
                else:
                    _tail_row(tiles, at, first, x, x_at, out, out_at, row, k, j, n, begins)
                row += 1
        k += width


@compiled
def candidate(kind: int, x: Any, p: Any, h: Any, c: Any, width: int, n: int, new_h: Any, new_c: Any) -> None:
    """n neurons' candidates; x, p: projections of frame and state, blocks `width` apart. Results overlap nothing."""
    if kind == GRU:
        x_r, x_z, x_n = x[:n], x[width : width + n], x[2 * width : 2 * width + n]
        p_r, p_z, p_n = p[:n], p[width : width + n], p[2 * width : 2 * width + n]
        for i in range(n):
            z = sigmoid(x_z[i] + p_z[i])
            new = tanh(x_n[i] + sigmoid(x_r[i] + p_r[i]) * p_n[i])
            new_h[i] = new + z * (h[i] - new)
    elif kind == LSTM:
        x_i, x_f, x_g, x_o = x[:n], x[width : width + n], x[2 * width : 2 * width + n], x[3 * width : 3 * width + n]
        p_i, p_f, p_g, p_o = p[:n], p[width : width + n], p[2 * width : 2 * width + n], p[3 * width : 3 * width + n]
        for i in range(n):
            new = sigmoid(x_f[i] + p_f[i]) * c[i] + sigmoid(x_i[i] + p_i[i]) * tanh(x_g[i] + p_g[i])
            new_c[i] = new
            new_h[i] = sigmoid(x_o[i] + p_o[i]) * tanh(new)
    elif kind == RNN_TANH:
        for i in range(n):
            new_h[i] = tanh(x[i] + p[i])
    else:
        for i in range(n):
            new = x[i] + p[i]
            new_h[i] = 0 if new < 0 else new


def _plain_sums_of_open(
    weight: Any, bias: Any, x: Any, open_neurons: Any, n: int, num_blocks: int, num_neurons: int, out: Any
) -> None:
    """out[block * num_neurons + i] of the i-th open neuron: the sums are taken of its rows of the weight alone."""
    num_inputs = x.shape[0]
    for i in range(n):
        for block in range(num_blocks):
            output = block * num_neurons + open_neurons[i]
            row = weight[output * num_inputs : output * num_inputs + num_inputs]
            total = bias[output]
            for j in range(num_inputs):
                total += row[j] * x[j]
            out[block * num_neurons + i] = total


_sums_of_open = compiled(_plain_sums_of_open, {"contract", "reassoc"})


@compiled
def _select(is_open: Any, new: Any, held: Any) -> None:
    for i in range(held.shape[0]):
        held[i] = new[i] if is_open[i] > 0.5 else held[i]


def _plain_total(is_open: Any) -> Any:
    total = is_open.dtype.type(0)
    for i in range(is_open.shape[0]):
        total += is_open[i]
    return total


_total = compiled(_plain_total, {"contract", "reassoc"})  # whole numbers: exact in any order


def _plain_is_binary(values: Any) -> bool:
    """Whether flat values are all 0 or 1."""
    for begin in range(0, values.shape[0], 4096):
        part = values[begin : begin + 4096]
        off, one = values.dtype.type(0), values.dtype.type(1)
        for i in range(part.shape[0]):
            off += abs(part[i] * (part[i] - one))
        if off != 0:  # or not a number
            return False
    return True


is_binary = compiled(_plain_is_binary, {"contract", "reassoc"})


@compiled
def is_same(values: Any, others: Any) -> bool:
    """Whether flat uint8 arrays are equal."""
    if values.shape[0] != others.shape[0]:
        return False
    for begin in range(0, values.shape[0], 16384):
        part, other = values[begin : begin + 16384], others[begin : begin + 16384]
        off = values.dtype.type(0)
        for i in range(part.shape[0]):
            off |= part[i] ^ other[i]
        if off != 0:
            return False
    return True


@compiled
def _step_few(
    kind: int, num_blocks: int, x: Any, of_read: Any, of_state: Any, h: Any, c: Any, neurons: Any, n: int, room: Any
) -> None:
    """One step of n open neurons of one chain, h and c in place; room: scratch of (2 * num_blocks + 4) * H numbers."""
    num_neurons = h.shape[0]
    width = num_blocks * num_neurons
    read, projected = room[:width], room[width : 2 * width]
    _sums_of_open(of_read[0], of_read[1], x, neurons, n, num_blocks, num_neurons, read)
    _sums_of_open(of_state[0], of_state[1], h, neurons, n, num_blocks, num_neurons, projected)
    rest = room[2 * width :]
    old_h, new_h = rest[:num_neurons], rest[num_neurons : 2 * num_neurons]
    old_c, new_c = rest[2 * num_neurons : 3 * num_neurons], rest[3 * num_neurons : 4 * num_neurons]
    for i in range(n):
        old_h[i] = h[neurons[i]]
        if kind == LSTM:
            old_c[i] = c[neurons[i]]
    candidate(kind, read, projected, old_h, old_c, num_neurons, n, new_h, new_c)
    for i in range(n):
        h[neurons[i]] = new_h[i]
        if kind == LSTM:
            c[neurons[i]] = new_c[i]


@compiled
def _ask_for(values: Any, at: int, n: int) -> None:
    for i in range(0, n, 64 // values.itemsize):
        prefetch(values, at + i)


@compiled
def step_chains(
    kind: int,
    of_read: Any,
    of_state: Any,
    x: Any,
    x_places: Any,
    gate: Any,
    gate_places: Any,
    max_few: int,
    order: Any,
    first: Any,
    count: Any,
    h: Any,
    c: Any,
    out: Any,
    out_places: Any,
    cells: Any,
    room: Any,
    places: Any,
    neurons: Any,
) -> None:
    """Step C independent chains through their rows, longest first.

    Args:
        kind: one of KINDS.
        of_read: weight_ih flat as torch has it, bias_ih; and in tiles, with the bias padded alike.
        of_state: the same of weight_hh and bias_hh.
        x: flat rows.
        x_places: (place of each row, in rows; numbers between rows; offset): where a row begins in x.
        gate: flat switch of neurons; of no numbers: everything open.
        gate_places: as x_places.
        max_few: with at most so many open neurons a row is computed neuron by neuron.
        order: (N,) rows, chain by chain; an index into the places.
        first, count: (C,) the first row of each chain in `order`, and how many it has; the most rows first.
        h, c: (C, H) the state, stepped in place; c of no rows where a cell has none.
        out, out_places: where h is written at each row.
        cells: (N, H) where c is, by row; of no rows: nowhere.
        room: (rows of a chunk + C, padded outputs) and (..), scratch; at least C rows to a chunk.
        places: (4, rows of a chunk) scratch.
        neurons: (H,) scratch.
    """
    num_chains, num_neurons = h.shape
    few_room, read_room, state_room, new_room = room
    has_gate, num_outputs, num_inputs = gate.shape[0] > 0, read_room.shape[1], of_read[4]
    num_blocks = of_state[0].shape[0] // (num_neurons * num_neurons)
    capacity = read_room.shape[0]
    x_at, read_at, h_at, state_at = places[0], places[1], places[2], places[3]
    read_flat, state_flat, h_flat = read_room.reshape(-1), state_room.reshape(-1), h.reshape(-1)
    begin, active = 0, num_chains
    while active > 0 and count[active - 1] == 0:
        active -= 1
    while active > 0:
        # As many steps as there is room for: what they read, projected at once.
        end, filled, num_read, going = begin, 0, 0, active
        while going > 0 and filled + going <= capacity:
            for chain in range(going):
                row = order[first[chain] + end]
                is_whole = True
                if has_gate:
                    at = gate_places[0][row] * gate_places[1] + gate_places[2]
                    is_whole = _total(gate[at : at + num_neurons]) > max_few
                if is_whole:
                    x_at[num_read] = x_places[0][row] * x_places[1] + x_places[2]
                    read_at[num_read] = (filled + chain) * num_outputs
                    num_read += 1
                places[4, filled + chain] = is_whole
                _ask_for(x, x_places[0][row] * x_places[1] + x_places[2], num_inputs)
                _ask_for(out, out_places[0][row] * out_places[1] + out_places[2], num_neurons)
            filled += going
            end += 1
            while going > 0 and count[going - 1] <= end:
                going -= 1
        products(of_read[2], of_read[3], x, x_at, read_flat, read_at, num_read, num_inputs, num_outputs)
        filled = 0
        for step in range(begin, end):
            num_whole = 0
            for chain in range(active):
                if places[4, filled + chain]:
                    h_at[num_whole], state_at[num_whole] = chain * num_neurons, chain * num_outputs
                    num_whole += 1
            products(of_state[2], of_state[3], h_flat, h_at, state_flat, state_at, num_whole, num_neurons, num_outputs)
            for chain in range(active):
                row = order[first[chain] + step]
                out_at = out_places[0][row] * out_places[1] + out_places[2]
                own, at = h[chain], gate_places[0][row] * gate_places[1] + gate_places[2]
                own_c = c[chain] if kind == LSTM else own
                if places[4, filled + chain]:
                    read, projected = read_room[filled + chain], state_room[chain]
                    new, new_c = new_room[:num_neurons], new_room[num_neurons:]
                    candidate(kind, read, projected, own, own_c, num_neurons, num_neurons, new, new_c)
                    if has_gate:
                        _select(gate[at : at + num_neurons], new, own)
                        if kind == LSTM:
                            _select(gate[at : at + num_neurons], new_c, own_c)
                    else:
                        own[:] = new
                        if kind == LSTM:
                            own_c[:] = new_c
                else:
                    num_open, is_open = 0, gate[at : at + num_neurons]
                    for i in range(num_neurons):
                        neurons[num_open] = i
                        num_open += is_open[i] > 0.5
                    begins = x_places[0][row] * x_places[1] + x_places[2]
                    read = x[begins : begins + num_inputs]
                    _step_few(kind, num_blocks, read, of_read, of_state, own, own_c, neurons, num_open, few_room)
                out[out_at : out_at + num_neurons] = own
                if cells.shape[0] > 0:
                    cells[row, :] = own_c
            filled += active
            while active > 0 and count[active - 1] <= step + 1:
                active -= 1
        begin = end


@compiled
def find_open(is_open: Any, lengths: Any, index: Any, counts: Any) -> int:
    """Fills index with the open frames of all streams, stream * T + frame, and counts per stream; says how many.

    Args:
        is_open: (B, T) in {0, 1}.
        lengths: (B,) frames per stream; of no numbers: T each.
        index: (B * T,) int64, filled from the front.
        counts: (B,) int64.
    """
    num_streams, num_frames = is_open.shape
    total = 0
    for stream in range(num_streams):
        before, stop = total, num_frames if lengths.shape[0] == 0 else lengths[stream]
        for frame in range(stop):
            if is_open[stream, frame] > 0.5:
                index[total] = stream * num_frames + frame
                total += 1
        counts[stream] = total - before
    return total


@compiled
def hold(out: Any, index: Any, counts: Any, before: Any, shift: int, is_backward: bool) -> None:
    """Fills closed frames with the row that they hold: the last open one in the direction's order, or `before`.

    Args:
        out: (B, T, D * H), open frames there already.
        index, counts: of the open frames, in time order, as `find_open` gives them.
        before: (B, H).
        shift: the first of H columns of this direction.
    """
    num_streams, num_frames = out.shape[:2]
    num_neurons = before.shape[1]
    first = 0
    for stream in range(num_streams):
        rows = index[first : first + counts[stream]]
        first += counts[stream]
        frames = out[stream]
        if is_backward:
            frame, held = num_frames - 1, before[stream]
            for number in range(len(rows) - 1, -2, -1):
                open_frame = rows[number] - stream * num_frames if number >= 0 else -1
                while frame > open_frame:
                    for i in range(num_neurons):
                        frames[frame, shift + i] = held[i]
                    frame -= 1
                if open_frame >= 0:
                    held = frames[open_frame, shift : shift + num_neurons]
                    frame -= 1
        else:
            frame, held = 0, before[stream]
            for number in range(len(rows) + 1):
                open_frame = rows[number] - stream * num_frames if number < len(rows) else num_frames
                while frame < open_frame:
                    for i in range(num_neurons):
                        frames[frame, shift + i] = held[i]
                    frame += 1
                if open_frame < num_frames:
                    held = frames[open_frame, shift : shift + num_neurons]
                    frame += 1
