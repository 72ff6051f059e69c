"""The loop of the event kernels that goes back through open rows; compiled at first use, by numba."""

from typing import Any

from surnn.kernels.event_loops import GRU, LSTM, compiled, products


@compiled
def _pull(kind: int, slopes: Any, rests: Any, at: int, taken: Any, by_projected: Any, direct: Any) -> None:
    """Gradients by the projected state, and by the state directly, of one row; taken: (parts, H) by the candidate."""
    num_neurons = direct.shape[1]
    if kind == GRU:
        by_h, z = taken[0], rests[0, at]
        for block in range(3):
            slope, by_block = slopes[at, block], by_projected[block * num_neurons : (block + 1) * num_neurons]
            for i in range(num_neurons):
                by_block[i] = by_h[i] * slope[i]
        for i in range(num_neurons):
            direct[0, i] = by_h[i] * z[i]
    elif kind == LSTM:
        by_h, by_c, f, h_by_c = taken[0], taken[1], rests[0, at], rests[1, at]
        for i in range(num_neurons):
            by_c[i] = by_c[i] + by_h[i] * h_by_c[i]
        for block in range(4):
            slope, by_block = slopes[at, block], by_projected[block * num_neurons : (block + 1) * num_neurons]
            source = by_h if block == 3 else by_c
            for i in range(num_neurons):
                by_block[i] = source[i] * slope[i]
        for i in range(num_neurons):
            direct[0, i] = 0
            direct[1, i] = by_c[i] * f[i]
    else:
        by_h, slope = taken[0], slopes[at, 0]
        for i in range(num_neurons):
            by_projected[i] = by_h[i] * slope[i]
            direct[0, i] = 0


@compiled
def _through_few(weight: Any, by_projected: Any, is_open: Any, num_blocks: int, out: Any) -> None:
    """by_projected @ weight_hh, from the rows of open neurons alone."""
    num_neurons = is_open.shape[0]
    out[:num_neurons] = 0
    for neuron in range(num_neurons):
        if is_open[neuron] > 0.5:
            for block in range(num_blocks):
                output = block * num_neurons + neuron
                value, row = by_projected[output], weight[output * num_neurons : (output + 1) * num_neurons]
                for i in range(num_neurons):
                    out[i] += value * row[i]


@compiled
def back_chains(
    kind: int,
    weight: Any,
    tiles: Any,
    zeros: Any,
    starts: Any,
    sizes: Any,
    chains: Any,
    slopes: Any,
    rests: Any,
    takes: Any,
    max_few: int,
    own: Any,
    flowing: Any,
    entering: Any,
    by_state: Any,
    by_projected: Any,
    room: Any,
    places: Any,
) -> None:
    """Go back through the rows of some chains; rows lie step by step.

    Args:
        kind: as in `step_chains`.
        weight: weight_hh, flat.
        tiles: of its transpose; zeros: as many as it has padded outputs.
        starts, sizes: (S,) where each step begins, and how many chains it has.
        chains: (C,) numbers of these chains, growing.
        slopes, rests: (N, blocks, H) and (factors, N, H) of the cell.
        takes: (N, H) switch of neurons; of no rows: all are open.
        max_few: as in `step_chains`.
        own: (N, H) gradient of each row's output; of no rows: none.
        flowing: (parts, all chains, H) gradient of the state with which chains end; becomes that of their begin.
        entering, by_state, by_projected: filled, see `rows.Back`; (parts, N, H), (parts, N, H), (N, blocks * H).
        room: (2, parts, C, H) and (C, padded outputs), scratch.
        places: (2, C) scratch.
    """
    num_parts, num_neurons = flowing.shape[0], flowing.shape[2]
    num_inputs, num_outputs = by_projected.shape[1], room[1].shape[1]
    taken, direct, through = room[0][0], room[0][1], room[1]
    flat, through_flat = by_projected.reshape(-1), through.reshape(-1)
    has_switch, x_at, out_at = takes.shape[0] > 0, places[0], places[1]
    active = 0
    for step in range(len(starts) - 1, -1, -1):
        while active < len(chains) and chains[active] < sizes[step]:
            active += 1
        num_whole = 0
        for place in range(active):
            chain = chains[place]
            at = starts[step] + chain
            for part in range(num_parts):
                flow, kept, after, take = (
                    flowing[part, chain],
                    entering[part, at],
                    by_state[part, at],
                    taken[part, place],
                )
                for i in range(num_neurons):
                    kept[i] = flow[i]
                if part == 0 and own.shape[0] > 0:
                    by_output = own[at]
                    for i in range(num_neurons):
                        flow[i] = flow[i] + by_output[i]
                for i in range(num_neurons):
                    after[i] = flow[i]
                    take[i] = flow[i]
                if has_switch:
                    is_open = takes[at]
                    for i in range(num_neurons):
                        take[i] = take[i] if is_open[i] > 0.5 else 0
            _pull(kind, slopes, rests, at, taken[:, place], by_projected[at], direct[:, place])
            is_whole = True
            if has_switch:
                num_open, is_open = 0, takes[at]
                for i in range(num_neurons):
                    num_open += is_open[i] > 0.5
                is_whole = num_open > max_few
            if is_whole:
                x_at[num_whole], out_at[num_whole] = at * num_inputs, place * num_outputs
                num_whole += 1
            else:
                num_blocks = num_inputs // num_neurons
                _through_few(weight, by_projected[at], takes[at], num_blocks, through[place])
        products(tiles, zeros, flat, x_at, through_flat, out_at, num_whole, num_inputs, num_outputs)
        for place in range(active):
            chain = chains[place]
            at = starts[step] + chain
            for part in range(num_parts):
                flow, straight, added = flowing[part, chain], direct[part, place], through[place]
                if has_switch:
                    is_open = takes[at]
                    for i in range(num_neurons):
                        flow[i] = straight[i] if is_open[i] > 0.5 else flow[i]
                else:
                    for i in range(num_neurons):
                        flow[i] = straight[i]
                if part == 0:
                    for i in range(num_neurons):
                        flow[i] = flow[i] + added[i]
