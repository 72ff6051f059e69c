"""Pieces of the GPU kernels: a cell's step, its slopes, and sums over tiles of weights.

Kernels call nothing of triton's library that is itself compiled (tl.sum, tl.sigmoid): those are bound to a compiler or
to the interpreter when triton is first imported, so that only without them the tests can interpret in any process.
"""

# mypy: ignore-errors
# Triton compiles these functions: their arguments are tiles and constants, which Python's types do not describe.

import triton
import triton.language as tl

IS_INTERPRETED = bool(triton.knobs.runtime.interpret)


@triton.jit
def sigmoid(x):
    small = tl.exp(-tl.abs(x))  # never overflows
    return tl.where(x >= 0, 1.0, small) / (1.0 + small)


@triton.jit
def tanh(x):
    small = tl.exp(-2.0 * tl.abs(x))
    positive = (1.0 - small) / (1.0 + small)
    return tl.where(x >= 0, positive, -positive)


@triton.jit
def step(CELL: tl.constexpr, x0, x1, x2, x3, p0, p1, p2, p3, h, c):
    """New h and c, of projected frame x and projected state p, blocks as in surnn.cells; c is kept if unused."""
    new_c = c
    if CELL == "gru":
        z = sigmoid(x1 + p1)
        n = tanh(x2 + sigmoid(x0 + p0) * p2)
        new_h = (1.0 - z) * n + z * h
    elif CELL == "lstm":
        new_c = sigmoid(x1 + p1) * c + sigmoid(x0 + p0) * tanh(x2 + p2)
        new_h = sigmoid(x3 + p3) * tanh(new_c)
    elif CELL == "rnn_tanh":
        new_h = tanh(x0 + p0)
    else:
        new_h = tl.maximum(x0 + p0, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return new_h, new_c


@triton.jit
def pull(CELL: tl.constexpr, x0, x1, x2, x3, p0, p1, p2, p3, h, c, by_h, by_c):
    """Gradients by the new h and c, to those by blocks of p, by block 2 of x (elsewhere that of p), by h and by c."""
    q1 = by_h
    q2 = by_h
    q3 = by_h
    frame2 = by_h
    direct_h = by_h * 0.0
    direct_c = by_c
    if CELL == "gru":
        r = sigmoid(x0 + p0)
        z = sigmoid(x1 + p1)
        n = tanh(x2 + r * p2)
        frame2 = by_h * (1.0 - z) * (1.0 - n * n)
        q0 = frame2 * p2 * r * (1.0 - r)
        q1 = by_h * (h - n) * z * (1.0 - z)
        q2 = frame2 * r
        direct_h = by_h * z
    elif CELL == "lstm":
        i = sigmoid(x0 + p0)
        f = sigmoid(x1 + p1)
        g = tanh(x2 + p2)
        o = sigmoid(x3 + p3)
        t = tanh(f * c + i * g)
        all_c = by_c + by_h * o * (1.0 - t * t)
        q0 = all_c * g * i * (1.0 - i)
        q1 = all_c * c * f * (1.0 - f)
        q2 = all_c * i * (1.0 - g * g)
        q3 = by_h * t * o * (1.0 - o)
        frame2 = q2
        direct_c = all_c * f
    elif CELL == "rnn_tanh":
        t = tanh(x0 + p0)
        q0 = by_h * (1.0 - t * t)
    else:
        q0 = tl.where(x0 + p0 > 0, by_h, 0.0)
    return q0, q1, q2, q3, frame2, direct_h, direct_c


@triton.jit
def load_blocks(pointers, stride, mask, NUM_BLOCKS: tl.constexpr, TYPE: tl.constexpr):
    """What lies at pointers into the first block, and `stride` further on for each other; if lacking, the first."""
    b0 = tl.load(pointers, mask=mask, other=0.0).to(TYPE)
    b1 = b0
    b2 = b0
    b3 = b0
    if NUM_BLOCKS > 1:
        b1 = tl.load(pointers + stride, mask=mask, other=0.0).to(TYPE)
        b2 = tl.load(pointers + 2 * stride, mask=mask, other=0.0).to(TYPE)
    if NUM_BLOCKS > 3:
        b3 = tl.load(pointers + 3 * stride, mask=mask, other=0.0).to(TYPE)
    return b0, b1, b2, b3


@triton.jit
def store_blocks(pointers, stride, mask, q0, q1, q2, q3, NUM_BLOCKS: tl.constexpr):
    tl.store(pointers, q0, mask=mask)
    if NUM_BLOCKS > 1:
        tl.store(pointers + stride, q1, mask=mask)
        tl.store(pointers + 2 * stride, q2, mask=mask)
    if NUM_BLOCKS > 3:
        tl.store(pointers + 3 * stride, q3, mask=mask)


@triton.jit
def tiles_by_vector(w0, w1, w2, w3, vector, NUM_BLOCKS: tl.constexpr):
    """Each block's tile (N, K) times a vector (K,)."""
    p0 = tl.reduce(w0.to(vector.dtype) * vector[None, :], 1, tl.standard._sum_combine)
    p1 = p0
    p2 = p0
    p3 = p0
    if NUM_BLOCKS > 1:
        p1 = tl.reduce(w1.to(vector.dtype) * vector[None, :], 1, tl.standard._sum_combine)
        p2 = tl.reduce(w2.to(vector.dtype) * vector[None, :], 1, tl.standard._sum_combine)
    if NUM_BLOCKS > 3:
        p3 = tl.reduce(w3.to(vector.dtype) * vector[None, :], 1, tl.standard._sum_combine)
    return p0, p1, p2, p3


@triton.jit
def vectors_by_tiles(q0, q1, q2, q3, w0, w1, w2, w3, NUM_BLOCKS: tl.constexpr):
    """(K,): the sum over blocks of a vector (N,) times a tile (N, K)."""
    terms = w0.to(q0.dtype) * q0[:, None]
    if NUM_BLOCKS > 1:
        terms += w1.to(q0.dtype) * q1[:, None] + w2.to(q0.dtype) * q2[:, None]
    if NUM_BLOCKS > 3:
        terms += w3.to(q0.dtype) * q3[:, None]
    return tl.reduce(terms, 0, tl.standard._sum_combine)
