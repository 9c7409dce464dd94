# mypy: ignore-errors
"""Low-rank adapters, a different one for each row if need be, inside the pass of the base.

y += (x A) B with x the float32 input of the layer.  Both halves run on the rows as they lie; a row's adapter is
the address in ``row_adapter`` (0: the base alone), so a batch may mix adapters freely::

    x [1, K] -- A (stored [rank, K]) --> projected [1, total rank]      ``project``, once per layer
    projected -- B [rank, section] --> delta [1, 64]                    ``expand``, once per tile

x A: per rank one sum over K in 16 lanes and a halving tree.  (x A) B: ranks one after the other.
"""

from numba import njit

from edge_demist import abi
from edge_demist.kernels.simd import broadcast, load, load_f32, load_i64, store, store4, store_i64, sum_four
from edge_demist.kernels.vectors import F32, OPTIONS

A_AT = 8 * abi.ADAPTER_A
RANK_AT = 8 * abi.ADAPTER_RANK
SECTIONS_AT = 8 * abi.ADAPTER_SECTIONS


@njit(**OPTIONS)
def project(spec, source, work):
    """X A of every row that has an adapter here; returns whether any has."""
    if work.rank_stride == 0:
        return False
    found = False
    for t in range(work.tokens):
        base = load_i64(work.row_adapter + 8 * t)
        if base == 0:
            continue
        a = load_i64(base + spec.adapter + A_AT)
        if a == 0:
            continue
        found = True
        x = source + 4 * t * spec.k
        for r in range(0, load_i64(base + spec.adapter + RANK_AT), 4):
            row = a + 4 * r * spec.k
            s0 = broadcast(F32(0.0))
            s1, s2, s3 = s0, s0, s0
            for k in range(0, 4 * spec.k, 64):
                value = load(x + k)
                s0 = s0 + value * load(row + k)
                s1 = s1 + value * load(row + 4 * spec.k + k)
                s2 = s2 + value * load(row + 8 * spec.k + k)
                s3 = s3 + value * load(row + 12 * spec.k + k)
            store4(work.projected + 4 * (t * work.rank_stride + r), sum_four(s0, s1, s2, s3))
    return found


@njit(**OPTIONS)
def expand(rows, first, column, spec, work):
    """(x A) B for 64 columns of ``rows`` rows; ``has_delta`` says which rows have one."""
    section = column // spec.section
    entry_at = spec.adapter + SECTIONS_AT + 24 * section
    inside = 4 * (column - section * spec.section)
    for m in range(rows):
        t = first + m
        base = load_i64(work.row_adapter + 8 * t)
        rank = 0
        if base != 0 and load_i64(base + spec.adapter + A_AT) != 0:
            rank = load_i64(base + entry_at + 8)
        store_i64(work.has_delta + 8 * m, rank)
        if rank == 0:
            continue
        projected = work.projected + 4 * (t * work.rank_stride + load_i64(base + entry_at))
        b = load_i64(base + entry_at + 16) + inside
        d0 = broadcast(F32(0.0))
        d1, d2, d3 = d0, d0, d0
        for r in range(rank):
            value = broadcast(load_f32(projected + 4 * r))
            d0 = d0 + value * load(b)
            d1 = d1 + value * load(b + 64)
            d2 = d2 + value * load(b + 128)
            d3 = d3 + value * load(b + 192)
            b += 4 * spec.section
        out = work.delta + 256 * m
        store(out, d0)
        store(out + 64, d1)
        store(out + 128, d2)
        store(out + 192, d3)
