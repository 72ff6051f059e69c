"""GPU kernels for many chains: groups of 16 step together, so that each weight is read once for all of them.

The neurons of a group are split over programs, so that each one's share of the weights is small enough to stay near
it. All programs of a group meet after every step: they need to run at the same time, for which they are launched
cooperatively. Where programs run one after the other (the interpreter), the launcher takes the steps apart instead.

tables    as in triton_chains
"""

# mypy: ignore-errors
# Triton compiles these functions: their arguments are tiles and constants, which Python's types do not describe.

import triton
import triton.language as tl

from surnn.kernels.triton_cells import load_blocks, pull, step, store_blocks


@triton.jit
def meet(counter_ptr, target):
    """Wait until the programs of a group have come here `target` times in all; what they stored can be read then."""
    tl.debug_barrier()
    tl.atomic_add(counter_ptr, 1, sem="acq_rel", scope="gpu")
    while tl.atomic_add(counter_ptr, 0, sem="acq_rel", scope="gpu") < target:
        pass
    tl.debug_barrier()


@triton.jit
def add_product(sums, values, weights, WIDEN: tl.constexpr):
    if WIDEN:  # the interpreter multiplies bfloat16 as if it were integers
        values = values.to(sums.dtype)
        weights = weights.to(sums.dtype)
    return tl.dot(values, weights, sums, input_precision="ieee", out_dtype=sums.dtype)


@triton.jit(do_not_specialize=["num_chains", "first_step", "end_step"])
def forward(
    read_ptr,  # as in triton_chains; further:
    weight_ptr,
    bias_ptr,
    takes_ptr,
    first_ptr,
    length_ptr,
    h_ptr,
    c_ptr,
    counter_ptr,  # (groups,) zeros
    first_step,
    end_step,
    num_chains,
    H,
    CELL: tl.constexpr,
    NUM_BLOCKS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_GATE: tl.constexpr,
    MEETS: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_C: tl.constexpr,  # chains
    BLOCK_N: tl.constexpr,  # neurons
    BLOCK_K: tl.constexpr,  # terms of a product at one time
):
    TYPE: tl.constexpr = h_ptr.dtype.element_ty
    WEIGHT_TYPE: tl.constexpr = weight_ptr.dtype.element_ty
    group = tl.program_id(0)
    share = tl.program_id(1)
    num_shares = tl.num_programs(1)
    num_tiles = (H + BLOCK_N - 1) // BLOCK_N
    chain = group * BLOCK_C + tl.arange(0, BLOCK_C)
    first = tl.load(first_ptr + chain, mask=chain < num_chains, other=0)
    length = tl.load(length_ptr + chain, mask=chain < num_chains, other=0)
    end = tl.minimum(end_step, tl.load(length_ptr + group * BLOCK_C))  # longest chain first
    for t in range(first_step, end):
        runs = t < length
        row = first + t
        after = (num_chains + row) * H
        before = tl.where(t > 0, after - H, chain * H)
        for tile in range(share, num_tiles, num_shares):
            neuron = tile * BLOCK_N + tl.arange(0, BLOCK_N)
            here = runs[:, None] & (neuron < H)[None, :]
            p0 = tl.full((BLOCK_C, BLOCK_N), 0.0, TYPE)
            p1 = p0
            p2 = p0
            p3 = p0
            for k0 in range(0, H, BLOCK_K):
                k = k0 + tl.arange(0, BLOCK_K)
                states = before[:, None] + k[None, :]
                # Other processors wrote it: past this one's own cache (.cg).
                h = tl.load(h_ptr + states, mask=runs[:, None] & (k < H)[None, :], other=0.0, cache_modifier=".cg")
                h = h.to(WEIGHT_TYPE)
                weights = weight_ptr + neuron[None, :] * H + k[:, None]
                whole = (k < H)[:, None] & (neuron < H)[None, :]
                w0, w1, w2, w3 = load_blocks(weights, H * H, whole, NUM_BLOCKS, WEIGHT_TYPE)
                p0 = add_product(p0, h, w0, WIDEN)
                if NUM_BLOCKS > 1:
                    p1 = add_product(p1, h, w1, WIDEN)
                    p2 = add_product(p2, h, w2, WIDEN)
                if NUM_BLOCKS > 3:
                    p3 = add_product(p3, h, w3, WIDEN)
            if HAS_BIAS:
                b0, b1, b2, b3 = load_blocks(bias_ptr + neuron, H, neuron < H, NUM_BLOCKS, TYPE)
                p0 += b0[None, :]
                p1 += b1[None, :]
                p2 += b2[None, :]
                p3 += b3[None, :]
            blocks = row[:, None] * (NUM_BLOCKS * H) + neuron[None, :]
            x0, x1, x2, x3 = load_blocks(read_ptr + blocks, H, here, NUM_BLOCKS, TYPE)
            own = before[:, None] + neuron[None, :]
            old_h = tl.load(h_ptr + own, mask=here, other=0.0, cache_modifier=".cg")
            old_c = old_h
            if CELL == "lstm":
                old_c = tl.load(c_ptr + own, mask=here, other=0.0, cache_modifier=".cg")
            new_h, new_c = step(CELL, x0, x1, x2, x3, p0, p1, p2, p3, old_h, old_c)
            if HAS_GATE:
                takes = tl.load(takes_ptr + row[:, None] * H + neuron[None, :], mask=here, other=0) != 0
                new_h = tl.where(takes, new_h, old_h)
                new_c = tl.where(takes, new_c, old_c)
            own = after[:, None] + neuron[None, :]
            tl.store(h_ptr + own, new_h, mask=here)
            if CELL == "lstm":
                tl.store(c_ptr + own, new_c, mask=here)
        if MEETS:
            meet(counter_ptr + group, (t - first_step + 1) * num_shares)
        else:
            tl.debug_barrier()


@triton.jit(do_not_specialize=["num_chains", "first_step", "end_step"])
def backward(
    read_ptr,  # as in triton_chains; further:
    projected_ptr,
    weight_ptr,
    takes_ptr,
    first_ptr,
    length_ptr,
    h_ptr,
    c_ptr,
    by_output_ptr,
    by_h_ptr,
    by_c_ptr,
    by_projected_ptr,
    by_frame_ptr,
    counter_ptr,
    first_step,
    end_step,
    num_chains,
    H,
    CELL: tl.constexpr,
    NUM_BLOCKS: tl.constexpr,
    HAS_GATE: tl.constexpr,
    HAS_OUTPUT: tl.constexpr,
    MEETS: tl.constexpr,
    PARTS: tl.constexpr,  # 1: through the cell; 2: through the weights; 3: both, one after the other
    WIDEN: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    TYPE: tl.constexpr = h_ptr.dtype.element_ty
    WEIGHT_TYPE: tl.constexpr = weight_ptr.dtype.element_ty
    group = tl.program_id(0)
    share = tl.program_id(1)
    num_shares = tl.num_programs(1)
    num_tiles = (H + BLOCK_N - 1) // BLOCK_N
    chain = group * BLOCK_C + tl.arange(0, BLOCK_C)
    first = tl.load(first_ptr + chain, mask=chain < num_chains, other=0)
    length = tl.load(length_ptr + chain, mask=chain < num_chains, other=0)
    end = tl.minimum(end_step, tl.load(length_ptr + group * BLOCK_C))
    for back in range(first_step, end):
        t = end - 1 - (back - first_step)
        runs = t < length
        row = first + t
        after = (num_chains + row) * H
        before = tl.where(t > 0, after - H, chain * H)
        if PARTS != 2:
            for tile in range(share, num_tiles, num_shares):
                neuron = tile * BLOCK_N + tl.arange(0, BLOCK_N)
                whole = runs[:, None] & (neuron < H)[None, :]
                rows = row[:, None] * H + neuron[None, :]
                states = before[:, None] + neuron[None, :]
                by_h = tl.load(by_h_ptr + after[:, None] + neuron[None, :], mask=whole, other=0.0)
                by_c = by_h
                if CELL == "lstm":
                    by_c = tl.load(by_c_ptr + after[:, None] + neuron[None, :], mask=whole, other=0.0)
                if HAS_OUTPUT:
                    by_h += tl.load(by_output_ptr + rows, mask=whole, other=0.0)
                here = whole
                if HAS_GATE:
                    here = whole & (tl.load(takes_ptr + rows, mask=whole, other=0) != 0)
                blocks = row[:, None] * (NUM_BLOCKS * H) + neuron[None, :]
                x0, x1, x2, x3 = load_blocks(read_ptr + blocks, H, here, NUM_BLOCKS, TYPE)
                p0, p1, p2, p3 = load_blocks(projected_ptr + blocks, H, here, NUM_BLOCKS, TYPE)
                h = tl.load(h_ptr + states, mask=here, other=0.0)
                c = h
                if CELL == "lstm":
                    c = tl.load(c_ptr + states, mask=here, other=0.0)
                q0, q1, q2, q3, frame2, direct_h, direct_c = pull(
                    CELL, x0, x1, x2, x3, p0, p1, p2, p3, h, c, by_h, by_c
                )
                if HAS_GATE:
                    q0 = tl.where(here, q0, 0.0)
                    q1 = tl.where(here, q1, 0.0)
                    q2 = tl.where(here, q2, 0.0)
                    q3 = tl.where(here, q3, 0.0)
                    frame2 = tl.where(here, frame2, 0.0)
                    direct_h = tl.where(here, direct_h, by_h)
                    direct_c = tl.where(here, direct_c, by_c)
                store_blocks(by_projected_ptr + blocks, H, whole, q0, q1, q2, q3, NUM_BLOCKS)
                if CELL == "gru":
                    store_blocks(by_frame_ptr + blocks, H, whole, q0, q1, frame2, q3, NUM_BLOCKS)
                tl.store(by_h_ptr + states, direct_h, mask=whole)
                if CELL == "lstm":
                    tl.store(by_c_ptr + states, direct_c, mask=whole)
        if MEETS:
            meet(counter_ptr + group, (back - first_step + 1) * num_shares)
        else:
            tl.debug_barrier()
        if PARTS != 1:
            for tile in range(share, num_tiles, num_shares):
                neuron = tile * BLOCK_N + tl.arange(0, BLOCK_N)
                sums = tl.full((BLOCK_C, BLOCK_N), 0.0, TYPE)
                for k0 in range(0, NUM_BLOCKS * H, BLOCK_K):
                    k = k0 + tl.arange(0, BLOCK_K)
                    is_term = k < NUM_BLOCKS * H
                    terms = by_projected_ptr + row[:, None] * (NUM_BLOCKS * H) + k[None, :]
                    q = tl.load(terms, mask=runs[:, None] & is_term[None, :], other=0.0, cache_modifier=".cg")
                    w_mask = is_term[:, None] & (neuron < H)[None, :]
                    w = tl.load(weight_ptr + k[:, None] * H + neuron[None, :], mask=w_mask, other=0.0)
                    sums = add_product(sums, q.to(WEIGHT_TYPE), w, WIDEN)
                whole = runs[:, None] & (neuron < H)[None, :]
                states = by_h_ptr + before[:, None] + neuron[None, :]
                tl.store(states, tl.load(states, mask=whole, other=0.0) + sums, mask=whole)
            tl.debug_barrier()
