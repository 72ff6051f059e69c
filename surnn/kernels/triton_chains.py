"""GPU kernels with one program per chain, which goes through time alone.

Weights stay on chip (in registers) where they fit; else each step reads those of its open neurons. What the neurons of
one step tell those of the next then goes through the row that the step writes anyway, behind a barrier.

tables    rows 0 .. C-1: the states before each chain; then the N rows, chain by chain in order: row r is C + r
"""

# mypy: ignore-errors
# Triton compiles these functions: their arguments are tiles and constants, which Python's types do not describe.

import triton
import triton.language as tl

from surnn.kernels.triton_cells import load_blocks, pull, step, store_blocks, tiles_by_vector, vectors_by_tiles


@triton.jit(do_not_specialize=["num_chains"])
def forward_on_chip(
    read_ptr,  # (N, G * H) projected frames, G blocks of H neurons
    weight_ptr,  # (G * H, H)
    bias_ptr,  # (G * H,)
    takes_ptr,  # (N, H) int8, whether a neuron is open
    first_ptr,  # (C,) first row of each chain
    length_ptr,  # (C,) rows of each chain
    h_ptr,  # (C + N, H)
    c_ptr,  # the same of an LSTM's cell state
    num_chains,
    H,
    CELL: tl.constexpr,
    NUM_BLOCKS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_GATE: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    TYPE: tl.constexpr = h_ptr.dtype.element_ty
    chain = tl.program_id(0)
    neuron = tl.arange(0, BLOCK_H)
    within = neuron < H
    tile = neuron[:, None] * H + neuron[None, :]
    whole = within[:, None] & within[None, :]
    w0, w1, w2, w3 = load_blocks(weight_ptr + tile, H * H, whole, NUM_BLOCKS, weight_ptr.dtype.element_ty)
    first = tl.load(first_ptr + chain)
    length = tl.load(length_ptr + chain)
    h = tl.load(h_ptr + chain * H + neuron, mask=within, other=0.0)
    c = h
    if CELL == "lstm":
        c = tl.load(c_ptr + chain * H + neuron, mask=within, other=0.0)
    for t in range(length):
        row = first + t
        x0, x1, x2, x3 = load_blocks(read_ptr + row * (NUM_BLOCKS * H) + neuron, H, within, NUM_BLOCKS, TYPE)
        p0, p1, p2, p3 = tiles_by_vector(w0, w1, w2, w3, h, NUM_BLOCKS)
        if HAS_BIAS:
            b0, b1, b2, b3 = load_blocks(bias_ptr + neuron, H, within, NUM_BLOCKS, TYPE)
            p0, p1, p2, p3 = p0 + b0, p1 + b1, p2 + b2, p3 + b3
        new_h, new_c = step(CELL, x0, x1, x2, x3, p0, p1, p2, p3, h, c)
        if HAS_GATE:
            takes = tl.load(takes_ptr + row * H + neuron, mask=within, other=0) != 0
            new_h = tl.where(takes, new_h, h)
            new_c = tl.where(takes, new_c, c)
        h = new_h
        c = new_c
        tl.store(h_ptr + (num_chains + row) * H + neuron, h, mask=within)
        if CELL == "lstm":
            tl.store(c_ptr + (num_chains + row) * H + neuron, c, mask=within)


@triton.jit(do_not_specialize=["num_chains"])
def forward_gathered(
    read_ptr,  # as above; further:
    weight_ptr,
    bias_ptr,
    takes_ptr,
    open_ptr,  # (number of open neurons,) which they are, row by row
    begin_ptr,  # (N + 1,) where each row's begin in it
    first_ptr,
    length_ptr,
    h_ptr,
    c_ptr,
    num_chains,
    H,
    CELL: tl.constexpr,
    NUM_BLOCKS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_GATE: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_N: tl.constexpr,  # open neurons at one time
):
    TYPE: tl.constexpr = h_ptr.dtype.element_ty
    chain = tl.program_id(0)
    k = tl.arange(0, BLOCK_H)
    within = k < H
    first = tl.load(first_ptr + chain)
    length = tl.load(length_ptr + chain)
    for t in range(length):
        row = first + t
        after = (num_chains + row) * H
        before = tl.where(t > 0, after - H, chain * H)
        h = tl.load(h_ptr + before + k, mask=within, other=0.0)
        if HAS_GATE:
            begin = tl.load(begin_ptr + row)
            end = tl.load(begin_ptr + row + 1)
            held = within & (tl.load(takes_ptr + row * H + k, mask=within, other=1) == 0)
            tl.store(h_ptr + after + k, h, mask=held)
            if CELL == "lstm":
                tl.store(c_ptr + after + k, tl.load(c_ptr + before + k, mask=held, other=0.0), mask=held)
        else:
            begin = row * 0
            end = begin + H
        for start in range(begin, end, BLOCK_N):
            place = start + tl.arange(0, BLOCK_N)
            valid = place < end
            neuron = place
            if HAS_GATE:
                neuron = tl.load(open_ptr + place, mask=valid, other=0)
            tile = neuron[:, None] * H + k[None, :]
            whole = valid[:, None] & within[None, :]
            w0, w1, w2, w3 = load_blocks(weight_ptr + tile, H * H, whole, NUM_BLOCKS, weight_ptr.dtype.element_ty)
            x0, x1, x2, x3 = load_blocks(read_ptr + row * (NUM_BLOCKS * H) + neuron, H, valid, NUM_BLOCKS, TYPE)
            p0, p1, p2, p3 = tiles_by_vector(w0, w1, w2, w3, h, NUM_BLOCKS)
            if HAS_BIAS:
                b0, b1, b2, b3 = load_blocks(bias_ptr + neuron, H, valid, NUM_BLOCKS, TYPE)
                p0, p1, p2, p3 = p0 + b0, p1 + b1, p2 + b2, p3 + b3
            old_h = tl.load(h_ptr + before + neuron, mask=valid, other=0.0)
            old_c = old_h
            if CELL == "lstm":
                old_c = tl.load(c_ptr + before + neuron, mask=valid, other=0.0)
            new_h, new_c = step(CELL, x0, x1, x2, x3, p0, p1, p2, p3, old_h, old_c)
            tl.store(h_ptr + after + neuron, new_h, mask=valid)
            if CELL == "lstm":
                tl.store(c_ptr + after + neuron, new_c, mask=valid)
        tl.debug_barrier()  # the next step reads this row with other threads


@triton.jit(do_not_specialize=["num_chains"])
def backward(
    read_ptr,  # (N, G * H)
    projected_ptr,  # (N, G * H) projected states, bias included
    weight_ptr,
    takes_ptr,
    open_ptr,
    begin_ptr,
    first_ptr,
    length_ptr,
    h_ptr,
    c_ptr,
    by_output_ptr,  # (N, H)
    by_h_ptr,  # (C + N, H) of each state where it enters the next row; given at each chain's last row
    by_c_ptr,
    by_projected_ptr,  # (N, G * H)
    by_frame_ptr,  # (N, G * H), a GRU's alone: elsewhere it is by_projected
    num_chains,
    H,
    CELL: tl.constexpr,
    NUM_BLOCKS: tl.constexpr,
    HAS_GATE: tl.constexpr,
    HAS_OUTPUT: tl.constexpr,
    ON_CHIP: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    TYPE: tl.constexpr = h_ptr.dtype.element_ty
    WEIGHT_TYPE: tl.constexpr = weight_ptr.dtype.element_ty
    chain = tl.program_id(0)
    k = tl.arange(0, BLOCK_H)
    within = k < H
    first = tl.load(first_ptr + chain)
    length = tl.load(length_ptr + chain)
    if ON_CHIP:
        tile = k[:, None] * H + k[None, :]
        whole = within[:, None] & within[None, :]
        w0, w1, w2, w3 = load_blocks(weight_ptr + tile, H * H, whole, NUM_BLOCKS, WEIGHT_TYPE)
    last = (num_chains + first + length - 1) * H + k
    by_h = tl.load(by_h_ptr + last, mask=within, other=0.0)
    by_c = by_h
    if CELL == "lstm":
        by_c = tl.load(by_c_ptr + last, mask=within, other=0.0)
    for back in range(length):
        t = length - 1 - back
        row = first + t
        before = tl.where(t > 0, (num_chains + row - 1) * H, chain * H) + k
        if HAS_OUTPUT:
            by_h += tl.load(by_output_ptr + row * H + k, mask=within, other=0.0)
        here = within
        if HAS_GATE:
            here = within & (tl.load(takes_ptr + row * H + k, mask=within, other=0) != 0)
        blocks = row * (NUM_BLOCKS * H) + k
        x0, x1, x2, x3 = load_blocks(read_ptr + blocks, H, here, NUM_BLOCKS, TYPE)
        p0, p1, p2, p3 = load_blocks(projected_ptr + blocks, H, here, NUM_BLOCKS, TYPE)
        h = tl.load(h_ptr + before, mask=here, other=0.0)
        c = h
        if CELL == "lstm":
            c = tl.load(c_ptr + before, mask=here, other=0.0)
        q0, q1, q2, q3, frame2, direct_h, direct_c = pull(CELL, x0, x1, x2, x3, p0, p1, p2, p3, h, c, by_h, by_c)
        if HAS_GATE:
            q0 = tl.where(here, q0, 0.0)
            q1 = tl.where(here, q1, 0.0)
            q2 = tl.where(here, q2, 0.0)
            q3 = tl.where(here, q3, 0.0)
            frame2 = tl.where(here, frame2, 0.0)
            direct_h = tl.where(here, direct_h, by_h)
            direct_c = tl.where(here, direct_c, by_c)
        store_blocks(by_projected_ptr + blocks, H, within, q0, q1, q2, q3, NUM_BLOCKS)
        if CELL == "gru":
            store_blocks(by_frame_ptr + blocks, H, within, q0, q1, frame2, q3, NUM_BLOCKS)
        if ON_CHIP:
            by_h = direct_h + vectors_by_tiles(q0, q1, q2, q3, w0, w1, w2, w3, NUM_BLOCKS)
        else:
            tl.debug_barrier()  # other threads read the row of by_projected
            by_h = direct_h
            if HAS_GATE:
                begin = tl.load(begin_ptr + row)
                end = tl.load(begin_ptr + row + 1)
            else:
                begin = row * 0
                end = begin + H
            for start in range(begin, end, BLOCK_N):
                place = start + tl.arange(0, BLOCK_N)
                valid = place < end
                neuron = place
                if HAS_GATE:
                    neuron = tl.load(open_ptr + place, mask=valid, other=0)
                tile = neuron[:, None] * H + k[None, :]
                whole = valid[:, None] & within[None, :]
                w0, w1, w2, w3 = load_blocks(weight_ptr + tile, H * H, whole, NUM_BLOCKS, WEIGHT_TYPE)
                own = by_projected_ptr + row * (NUM_BLOCKS * H) + neuron
                s0, s1, s2, s3 = load_blocks(own, H, valid, NUM_BLOCKS, TYPE)
                by_h += vectors_by_tiles(s0, s1, s2, s3, w0, w1, w2, w3, NUM_BLOCKS)
        by_c = direct_c
        tl.store(by_h_ptr + before, by_h, mask=within)
        if CELL == "lstm":
            tl.store(by_c_ptr + before, by_c, mask=within)
