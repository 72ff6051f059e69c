"""The loop of the event kernels that asks what closed frames would have changed; compiled at first use, by numba."""

from typing import Any

from surnn.kernels.event_loops import LSTM, candidate, compiled, products


@compiled
def closed_gradients(
    kind: int,
    of_read: Any,
    of_state: Any,
    streams: Any,
    is_asked: Any,
    weight: float,
    place: Any,
    is_backward: bool,
    first_input: Any,
    second_input: Any,
    mask: Any,
    neurons: Any,
    held: Any,
    entering: Any,
    by_output: Any,
    gradient: Any,
    room: Any,
    places: Any,
) -> None:
    """Fill gradient (B, T) at the frames that are asked for; see `closed`.

    A stream is walked against its direction, so that the sum of what comes later in a stretch grows by a frame a step:

        frames      k   .   .   .   k+1
        walk            <-  <-  <-  E

    Args:
        kind: as in `step_chains`, and so are of_read and of_state.
        streams: those of this call.
        is_asked: (B, T) bool, and the weight of each.
        place: (B, T) what each frame holds, in the tables held and entering.
        first_input, second_input: (table, (B, T) places in it); a table has no columns where there is no second one.
        mask: (B, inputs) that multiplies them; of no rows: nothing does.
        neurons: (B, T, H) switch; of no streams: all are open.
        held, entering: (parts, table, H).
        by_output: (B, T, H); of no streams: none.
        room: scratch (chunk, inputs), (chunk, outputs) twice, (chunk, H), (3, H).
        places: (7, chunk) scratch.
    """
    x, read, projected, sums, rest = room
    chunk, num_inputs = x.shape
    num_outputs, num_neurons, num_parts = read.shape[1], held.shape[2], held.shape[0]
    total, new_h, new_c = rest[0], rest[1], rest[2]
    x_at, read_at, state_at, projected_at, own_row, own_place, own_frame = (
        places[0],
        places[1],
        places[2],
        places[3],
        places[4],
        places[5],
        places[6],
    )
    x_flat, read_flat, projected_flat = x.reshape(-1), read.reshape(-1), projected.reshape(-1)
    held_flat = held.reshape(-1)
    for number in range(chunk):
        x_at[number], read_at[number] = number * num_inputs, number * num_outputs
        projected_at[number] = number * num_outputs
    first_width, second_width = first_input[0].shape[1], second_input[0].shape[1]
    num_frames = place.shape[1]
    for stream in streams:
        current, num_asked, num_states = -1, 0, 0
        for walked in range(num_frames + 1):
            if walked < num_frames:
                frame = walked if is_backward else num_frames - 1 - walked
                if place[stream, frame] != current:
                    current = place[stream, frame]
                    total[:] = entering[0, current]
                if by_output.shape[0] > 0:
                    later = by_output[stream, frame]
                    for i in range(num_neurons):
                        total[i] = total[i] + later[i]
                if is_asked[stream, frame]:
                    row = x[num_asked]
                    row[:first_width] = first_input[0][first_input[1][stream, frame]]
                    if second_width > 0:
                        row[first_width:] = second_input[0][second_input[1][stream, frame]]
                    if mask.shape[0] > 0:
                        kept = mask[stream]
                        for i in range(num_inputs):
                            row[i] = row[i] * kept[i]
                    sums[num_asked, :] = total
                    if num_states == 0 or state_at[num_states - 1] != current * num_neurons:
                        state_at[num_states] = current * num_neurons
                        num_states += 1
                    own_row[num_asked], own_place[num_asked], own_frame[num_asked] = num_states - 1, current, frame
                    num_asked += 1
            if num_asked == chunk or (walked == num_frames and num_asked > 0):
                products(of_read[2], of_read[3], x_flat, x_at, read_flat, read_at, num_asked, num_inputs, num_outputs)
                products(
                    of_state[2],
                    of_state[3],
                    held_flat,
                    state_at,
                    projected_flat,
                    projected_at,
                    num_states,
                    num_neurons,
                    num_outputs,
                )
                for number in range(num_asked):
                    at, frame = own_place[number], own_frame[number]
                    old, old_c = held[0, at], held[num_parts - 1, at]
                    candidate(
                        kind,
                        read[number],
                        projected[own_row[number]],
                        old,
                        old_c,
                        num_neurons,
                        num_neurons,
                        new_h,
                        new_c,
                    )
                    adjoint = sums[number]
                    for i in range(num_neurons):
                        new_h[i] = adjoint[i] * (new_h[i] - old[i])
                    if kind == LSTM:
                        of_cell = entering[1, at]
                        for i in range(num_neurons):
                            new_h[i] = new_h[i] + of_cell[i] * (new_c[i] - old_c[i])
                    if neurons.shape[0] > 0:
                        is_open = neurons[stream, frame]
                        for i in range(num_neurons):
                            new_h[i] = new_h[i] if is_open[i] > 0.5 else 0
                    change = new_h[0] * 0
                    for i in range(num_neurons):
                        change += new_h[i]
                    gradient[stream, frame] = change * weight
                num_asked, num_states = 0, 0
