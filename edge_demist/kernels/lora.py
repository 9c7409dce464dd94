# mypy: ignore-errors
"""Low-rank adapters, a different one for each row if need be, inside the pass of the base.

y += (x A) B with x the float32 input of the layer.  Both halves run on the rows as they lie; a row's adapter is
the address in ``row_adapter`` (0: the base alone), so a batch may mix adapters freely::

    x [1, K] -- A (stored [rank, K]) --> projected [1, total rank]      ``project``, once per layer
    projected -- B [rank, section] --> delta [1, 64]                    ``expand``, once per tile

x A: per rank one sum over K in 16 lanes and a halving tree.  (x A) B: ranks one after the other.  Rows that follow each
other and share an adapter, as the tokens of a string do, are worked on four (AVX-512) or two at a time: A and B are then
read from the second-level cache once for all of them.  Every sum is added up in the same order whatever the number.
"""

from numba import njit

from edge_demist.kernels.simd import (
    adapter_rows,
    broadcast,
    lane0,
    lane1,
    lane2,
    lane3,
    load,
    load_f32,
    load_i64,
    store,
    store4,
    store_f32,
    store_i64,
    sum_four,
)
from edge_demist.kernels.vectors import F32, OPTIONS
from edge_demist.native import abi

A_AT = 8 * abi.ADAPTER_A
RANK_AT = 8 * abi.ADAPTER_RANK
SECTIONS_AT = 8 * abi.ADAPTER_SECTIONS


@njit(**OPTIONS)
def _together(work, first, end, most):
    """How many rows from ``first`` on, ``most`` at the most, have the adapter of ``first``."""
    base = load_i64(work.row_adapter + 8 * first)
    count = 1
    while count < most and first + count < end and load_i64(work.row_adapter + 8 * (first + count)) == base:
        count += 1
    return count


@njit(**OPTIONS)
def _project_one(x, a, k_bytes, out):
    """Four ranks of one row."""
    s0 = broadcast(F32(0.0))
    s1, s2, s3 = s0, s0, s0
    for k in range(0, k_bytes, 64):
        value = load(x + k)
        s0 = s0 + value * load(a + k)
        s1 = s1 + value * load(a + k_bytes + k)
        s2 = s2 + value * load(a + 2 * k_bytes + k)
        s3 = s3 + value * load(a + 3 * k_bytes + k)
    store4(out, sum_four(s0, s1, s2, s3))


@njit(**OPTIONS)
def _project_two(x, a, k_bytes, out, stride):
    """Two ranks of two rows: eight sums of half a vector fill what AVX2 has of registers."""
    s0 = broadcast(F32(0.0))
    s1, s2, s3 = s0, s0, s0
    for k in range(0, k_bytes, 64):
        x0, x1 = load(x + k), load(x + k_bytes + k)
        value = load(a + k)
        s0, s2 = s0 + x0 * value, s2 + x1 * value
        value = load(a + k_bytes + k)
        s1, s3 = s1 + x0 * value, s3 + x1 * value
    sums = sum_four(s0, s1, s2, s3)
    store_f32(out, lane0(sums))
    store_f32(out + 4, lane1(sums))
    store_f32(out + stride, lane2(sums))
    store_f32(out + stride + 4, lane3(sums))


@njit(**OPTIONS)
def _project_four(x, a, k_bytes, out, stride):
    """Four ranks of four rows."""
    a0 = broadcast(F32(0.0))
    a1, a2, a3 = a0, a0, a0
    b0, b1, b2, b3 = a0, a0, a0, a0
    c0, c1, c2, c3 = a0, a0, a0, a0
    d0, d1, d2, d3 = a0, a0, a0, a0
    for k in range(0, k_bytes, 64):
        x0, x1, x2, x3 = load(x + k), load(x + k_bytes + k), load(x + 2 * k_bytes + k), load(x + 3 * k_bytes + k)
        value = load(a + k)
        a0, b0, c0, d0 = a0 + x0 * value, b0 + x1 * value, c0 + x2 * value, d0 + x3 * value
        value = load(a + k_bytes + k)
        a1, b1, c1, d1 = a1 + x0 * value, b1 + x1 * value, c1 + x2 * value, d1 + x3 * value
        value = load(a + 2 * k_bytes + k)
        a2, b2, c2, d2 = a2 + x0 * value, b2 + x1 * value, c2 + x2 * value, d2 + x3 * value
        value = load(a + 3 * k_bytes + k)
        a3, b3, c3, d3 = a3 + x0 * value, b3 + x1 * value, c3 + x2 * value, d3 + x3 * value
    store4(out, sum_four(a0, a1, a2, a3))
    store4(out + stride, sum_four(b0, b1, b2, b3))
    store4(out + 2 * stride, sum_four(c0, c1, c2, c3))
    store4(out + 3 * stride, sum_four(d0, d1, d2, d3))


@njit(**OPTIONS)
def project(spec, source, work):
    """X A of every row that has an adapter here; returns whether any has."""
    if work.rank_stride == 0:
        return False
    found = False
    k_bytes, stride = 4 * spec.k, 4 * work.rank_stride
    t = 0
    while t < work.tokens:
        count = _together(work, t, work.tokens, adapter_rows())
        base = load_i64(work.row_adapter + 8 * t)
        a = 0
        if base != 0:
            a = load_i64(base + spec.adapter + A_AT)
        if a != 0:
            found = True
            x = source + t * k_bytes
            out = work.projected + t * stride
            count = 4 if count == 4 else min(count, 2)
            for r in range(0, 4 * load_i64(base + spec.adapter + RANK_AT), 16):
                if count == 4:
                    _project_four(x, a, k_bytes, out + r, stride)
                elif count == 2:
                    _project_two(x, a, k_bytes, out + r, stride)
                    _project_two(x, a + 2 * k_bytes, k_bytes, out + r + 8, stride)
                else:
                    _project_one(x, a, k_bytes, out + r)
                a += 4 * k_bytes
        t += count
    return found


@njit(**OPTIONS)
def store_four(out, a, b, c, d):
    """64 columns of a row."""
    store(out, a)
    store(out + 64, b)
    store(out + 128, c)
    store(out + 192, d)


@njit(**OPTIONS)
def _expand_one(projected, b, rank, line, out):
    """64 columns of one row."""
    d0 = broadcast(F32(0.0))
    d1, d2, d3 = d0, d0, d0
    for r in range(rank):
        value = broadcast(load_f32(projected + 4 * r))
        d0 = d0 + value * load(b)
        d1 = d1 + value * load(b + 64)
        d2 = d2 + value * load(b + 128)
        d3 = d3 + value * load(b + 192)
        b += line
    store_four(out, d0, d1, d2, d3)


@njit(**OPTIONS)
def _expand_two(projected, stride, b, rank, line, out):
    """32 columns of two rows."""
    c0 = broadcast(F32(0.0))
    c1, d0, d1 = c0, c0, c0
    for r in range(rank):
        b0, b1 = load(b), load(b + 64)
        value = broadcast(load_f32(projected + 4 * r))
        c0, c1 = c0 + value * b0, c1 + value * b1
        value = broadcast(load_f32(projected + stride + 4 * r))
        d0, d1 = d0 + value * b0, d1 + value * b1
        b += line
    store(out, c0)
    store(out + 64, c1)
    store(out + 256, d0)
    store(out + 256 + 64, d1)


@njit(**OPTIONS)
def _expand_four(projected, stride, b, rank, line, out):
    """64 columns of four rows."""
    c0 = broadcast(F32(0.0))
    c1, c2, c3 = c0, c0, c0
    d0, d1, d2, d3 = c0, c0, c0, c0
    e0, e1, e2, e3 = c0, c0, c0, c0
    f0, f1, f2, f3 = c0, c0, c0, c0
    for r in range(rank):
        b0, b1, b2, b3 = load(b), load(b + 64), load(b + 128), load(b + 192)
        value = broadcast(load_f32(projected + 4 * r))
        c0, c1, c2, c3 = c0 + value * b0, c1 + value * b1, c2 + value * b2, c3 + value * b3
        value = broadcast(load_f32(projected + stride + 4 * r))
        d0, d1, d2, d3 = d0 + value * b0, d1 + value * b1, d2 + value * b2, d3 + value * b3
        value = broadcast(load_f32(projected + 2 * stride + 4 * r))
        e0, e1, e2, e3 = e0 + value * b0, e1 + value * b1, e2 + value * b2, e3 + value * b3
        value = broadcast(load_f32(projected + 3 * stride + 4 * r))
        f0, f1, f2, f3 = f0 + value * b0, f1 + value * b1, f2 + value * b2, f3 + value * b3
        b += line
    store_four(out, c0, c1, c2, c3)
    store_four(out + 256, d0, d1, d2, d3)
    store_four(out + 512, e0, e1, e2, e3)
    store_four(out + 768, f0, f1, f2, f3)


@njit(**OPTIONS)
def expand(rows, first, column, spec, work):
    """(x A) B for 64 columns of ``rows`` rows; ``has_delta`` says which rows have one."""
    section = column // spec.section
    entry_at = spec.adapter + SECTIONS_AT + 24 * section
    inside, line, stride = 4 * (column - section * spec.section), 4 * spec.section, 4 * work.rank_stride
    m = 0
    while m < rows:
        t = first + m
        count = _together(work, t, first + rows, adapter_rows())
        base = load_i64(work.row_adapter + 8 * t)
        rank = 0
        if base != 0 and load_i64(base + spec.adapter + A_AT) != 0:
            rank = load_i64(base + entry_at + 8)
            count = 4 if count == 4 else min(count, 2)
        for one in range(count):
            store_i64(work.has_delta + 8 * (m + one), rank)
        if rank != 0:
            projected = work.projected + t * stride + 4 * load_i64(base + entry_at)
            b = load_i64(base + entry_at + 16) + inside
            out = work.delta + 256 * m
            if count == 4:
                _expand_four(projected, stride, b, rank, line, out)
            elif count == 2:
                _expand_two(projected, stride, b, rank, line, out)
                _expand_two(projected, stride, b + 128, rank, line, out + 128)
            else:
                _expand_one(projected, b, rank, line, out)
        m += count
