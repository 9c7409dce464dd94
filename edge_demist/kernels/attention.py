# mypy: ignore-errors
"""Softmax attention of one row over its own tokens.

q, k and v lie by head, so the tokens of one head follow each other and nothing is transposed::

    q, k, v:  [head][token][head_size]        scores: 4 queries x all keys of the row, [4][keys rounded up to 16]

Four queries meet four keys at a time: 16 dot products of head_size numbers, each summed in 16 lanes and a halving
tree (``simd.sum_four`` runs four trees in one).  The last one to three queries of a row go one by one.  Softmax
divides after the product with v: out = (sum_j e_j v_j) * (1 / sum_j e_j), keys one after the other.
"""

import numpy as np
from numba import njit

from edge_demist.kernels.simd import (
    broadcast,
    keep_lanes,
    lane0,
    lane1,
    lane2,
    lane3,
    load,
    load_f32,
    max_four,
    max_lanes,
    maximum,
    store,
    store4,
    sum_four,
    sum_lanes,
)
from edge_demist.kernels.vectors import F32, OPTIONS, exp2

LOG2_E = F32(1.44269504)
LOWEST = F32(-3e38)


def _make(head_size):
    """Attention for one head size (0: any multiple of 16)."""
    fixed = head_size

    @njit(**OPTIONS)
    def dot_four(q, k0, k1, k2, k3, size):
        """One query with four keys."""
        width = fixed if fixed else size
        x = load(q)
        s0, s1, s2, s3 = x * load(k0), x * load(k1), x * load(k2), x * load(k3)
        for d in range(64, 4 * width, 64):
            x = load(q + d)
            s0 = s0 + x * load(k0 + d)
            s1 = s1 + x * load(k1 + d)
            s2 = s2 + x * load(k2 + d)
            s3 = s3 + x * load(k3 + d)
        return sum_four(s0, s1, s2, s3)

    @njit(**OPTIONS)
    def scores(q0, q1, q2, q3, k, keys, out, stride, size):
        """Four queries with every key; keys past the last repeat it and are masked by ``softmax``."""
        step, last = 4 * size, (keys - 1) * 4 * size
        for j in range(0, keys, 4):
            k0 = j * step
            k1, k2, k3 = k + min(k0 + step, last), k + min(k0 + 2 * step, last), k + min(k0 + 3 * step, last)
            k0 = k + k0
            at = out + 4 * j
            store4(at, dot_four(q0, k0, k1, k2, k3, size))
            store4(at + stride, dot_four(q1, k0, k1, k2, k3, size))
            store4(at + 2 * stride, dot_four(q2, k0, k1, k2, k3, size))
            store4(at + 3 * stride, dot_four(q3, k0, k1, k2, k3, size))

    @njit(**OPTIONS)
    def scores_of_one(q, k, keys, out, size):
        """One query with every key, as in ``scores``."""
        step, last = 4 * size, (keys - 1) * 4 * size
        for j in range(0, keys, 4):
            k0 = j * step
            k1, k2, k3 = k + min(k0 + step, last), k + min(k0 + 2 * step, last), k + min(k0 + 3 * step, last)
            store4(out + 4 * j, dot_four(q, k + k0, k1, k2, k3, size))

    @njit(**OPTIONS)
    def values_of_one(p, v, keys, factor, out, size):
        """Sum of e_j v_j over the keys, times ``factor``, for one query."""
        width = fixed if fixed else size
        for d in range(0, 4 * width, 64):
            total = broadcast(F32(0.0))
            for j in range(keys):
                total = total + broadcast(load_f32(p + 4 * j)) * load(v + 4 * j * width + d)
            store(out + d, total * factor)

    @njit(**OPTIONS)
    def attend(q, k, v, keys, size, out, out_stride, p):
        """One head of one row of ``keys`` tokens; ``p``: scratch for four rows of scores."""
        width = fixed if fixed else size
        stride = 4 * ((keys + 15) & ~15)
        step = 4 * width
        factor = LOG2_E / np.sqrt(F32(width))
        for i in range(0, keys - 3, 4):
            q0 = q + i * step
            scores(q0, q0 + step, q0 + 2 * step, q0 + 3 * step, k, keys, p, stride, width)
            sums = softmax(p, keys, stride, broadcast(factor))
            r0, r1, r2, r3 = (
                broadcast(F32(1.0) / lane0(sums)),
                broadcast(F32(1.0) / lane1(sums)),
                broadcast(F32(1.0) / lane2(sums)),
                broadcast(F32(1.0) / lane3(sums)),
            )
            for d in range(0, 4 * width, 64):
                o0 = broadcast(F32(0.0))
                o1, o2, o3 = o0, o0, o0
                for j in range(keys):
                    value = load(v + j * step + d)
                    e = p + 4 * j
                    o0 = o0 + broadcast(load_f32(e)) * value
                    o1 = o1 + broadcast(load_f32(e + stride)) * value
                    o2 = o2 + broadcast(load_f32(e + 2 * stride)) * value
                    o3 = o3 + broadcast(load_f32(e + 3 * stride)) * value
                at = out + i * out_stride + d
                store(at, o0 * r0)
                store(at + out_stride, o1 * r1)
                store(at + 2 * out_stride, o2 * r2)
                store(at + 3 * out_stride, o3 * r3)
        for i in range(keys & ~3, keys):
            scores_of_one(q + i * step, k, keys, p, width)
            factor_of_one = broadcast(F32(1.0) / softmax_of_one(p, keys, broadcast(factor)))
            values_of_one(p, v, keys, factor_of_one, out + i * out_stride, width)

    return attend


@njit(**OPTIONS)
def _raise(at, maximum_lanes, factor, count):
    """exp2(score - maximum) of 16 keys, zero past the last one."""
    power = maximum(broadcast(F32(-64.0)), load(at) * factor - maximum_lanes)
    value = keep_lanes(exp2(power), count, broadcast(F32(0.0)))
    store(at, value)
    return value


@njit(**OPTIONS)
def softmax(p, keys, stride, factor):
    """Scores of four rows to exp2(score * factor - largest) in place; returns the four sums."""
    lowest = broadcast(LOWEST)
    m0, m1, m2, m3 = lowest, lowest, lowest, lowest
    for j in range(0, keys, 16):
        at = p + 4 * j
        m0 = maximum(m0, keep_lanes(load(at) * factor, keys - j, lowest))
        m1 = maximum(m1, keep_lanes(load(at + stride) * factor, keys - j, lowest))
        m2 = maximum(m2, keep_lanes(load(at + 2 * stride) * factor, keys - j, lowest))
        m3 = maximum(m3, keep_lanes(load(at + 3 * stride) * factor, keys - j, lowest))
    largest = max_four(m0, m1, m2, m3)
    m0, m1, m2, m3 = (
        broadcast(lane0(largest)),
        broadcast(lane1(largest)),
        broadcast(lane2(largest)),
        broadcast(lane3(largest)),
    )
    s0 = broadcast(F32(0.0))
    s1, s2, s3 = s0, s0, s0
    for j in range(0, keys, 16):
        at = p + 4 * j
        s0 = s0 + _raise(at, m0, factor, keys - j)
        s1 = s1 + _raise(at + stride, m1, factor, keys - j)
        s2 = s2 + _raise(at + 2 * stride, m2, factor, keys - j)
        s3 = s3 + _raise(at + 3 * stride, m3, factor, keys - j)
    return sum_four(s0, s1, s2, s3)


@njit(**OPTIONS)
def softmax_of_one(p, keys, factor):
    """``softmax`` of one row; returns its sum."""
    lowest = broadcast(LOWEST)
    largest = lowest
    for j in range(0, keys, 16):
        largest = maximum(largest, keep_lanes(load(p + 4 * j) * factor, keys - j, lowest))
    largest = broadcast(max_lanes(largest))
    total = broadcast(F32(0.0))
    for j in range(0, keys, 16):
        total = total + _raise(p + 4 * j, largest, factor, keys - j)
    return sum_lanes(total)


_attend_32 = _make(32)
_attend_any = _make(0)


@njit(**OPTIONS)
def attention(work, first, keys):
    """All heads of the row whose tokens start at ``first`` in the block."""
    size = work.head_size
    head_bytes = 4 * work.tokens * size
    start = work.heads_out + 4 * first * size
    for h in range(work.heads):
        q = start + h * head_bytes
        k = q + work.heads * head_bytes
        v = k + work.heads * head_bytes
        out = work.context + 4 * (first * work.hidden + h * size)
        if size == 32:
            _attend_32(q, k, v, keys, size, out, 4 * work.hidden, work.probabilities)
        else:
            _attend_any(q, k, v, keys, size, out, 4 * work.hidden, work.probabilities)
