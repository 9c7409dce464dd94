# mypy: ignore-errors
"""Exact nearest rows by int8 dot product, with the best k kept while the rows stream by.

::

            dim                              four rows at a time, one query after the other:
          +-----------+                        16 bytes of the query  x  16 bytes of each row  ->  four int32 sums
    rows  | int8      |  read once             four totals, compared with the query's k-th best
          +-----------+                        the few that are better are inserted into scores and ids, both
                                               [queries, k], scores falling; equals stay in order of their rows

``nearest_panels`` is for a fixed set of rows that fits the caches and is asked many times (the landmarks of the map): the rows are the
weights of the CPU level's micro-kernel (``isa``), 64 of them at a time beside a tile of queries.

Sums are int32 and exact (127 * 127 * 4096 < 2**31), so every CPU level gives the same answer.
"""

from numba import njit

from edge_demist.kernels.simd import (
    activation_bytes,
    activation_offset,
    activation_ready,
    broadcast_int,
    largest_int,
    load_bytes,
    load_i32,
    load_i64,
    load_int,
    multiply_int,
    store_bytes,
    store_i32,
    store_i64,
    sum_int,
    tile_begin,
    tile_end,
    tile_product,
    tile_rows,
    zeros_int,
)
from edge_demist.kernels.vectors import OPTIONS


@njit(**OPTIONS)
def _offer(score, row, k, scores, ids):
    """Put one row among the k best, after those that are as good, if it is better than the last."""
    if score <= load_i32(scores + 4 * k - 4):
        return
    place = k - 1
    while place > 0 and load_i32(scores + 4 * (place - 1)) < score:
        store_i32(scores + 4 * place, load_i32(scores + 4 * (place - 1)))
        store_i64(ids + 8 * place, load_i64(ids + 8 * (place - 1)))
        place -= 1
    store_i32(scores + 4 * place, score)
    store_i64(ids + 8 * place, row)


@njit(**OPTIONS)
def _four(query, row0, row1, row2, row3, dim):
    """Dot products of one query with four rows."""
    s0, s1, s2, s3 = zeros_int(), zeros_int(), zeros_int(), zeros_int()
    for d in range(0, dim, 16):
        q = load_bytes(query + d)
        s0 = s0 + multiply_int(q, load_bytes(row0 + d))
        s1 = s1 + multiply_int(q, load_bytes(row1 + d))
        s2 = s2 + multiply_int(q, load_bytes(row2 + d))
        s3 = s3 + multiply_int(q, load_bytes(row3 + d))
    return sum_int(s0), sum_int(s1), sum_int(s2), sum_int(s3)


@njit(**OPTIONS)
def nearest(queries, query_count, rows, count, dim, first, k, scores, ids):
    """Put the rows of a block among the best of each query; 0.

    queries int8 [query_count, dim], rows int8 [count, dim] numbered from ``first``, dim a multiple of 16; scores int32 and ids int64
    [query_count, k] hold what was found before (at the start the lowest int32 and -1).
    """
    for r in range(0, count, 4):
        left = min(4, count - r)
        row0 = rows + r * dim
        row1 = row0 + min(1, left - 1) * dim
        row2 = row0 + min(2, left - 1) * dim
        row3 = row0 + (left - 1) * dim
        for q in range(query_count):
            s0, s1, s2, s3 = _four(queries + q * dim, row0, row1, row2, row3, dim)
            own, ids_of = scores + 4 * q * k, ids + 8 * q * k
            worst = load_i32(own + 4 * k - 4)
            if max(s0, s1, s2, s3) > worst:
                _offer(s0, first + r, k, own, ids_of)
                if left > 1:
                    _offer(s1, first + r + 1, k, own, ids_of)
                if left > 2:
                    _offer(s2, first + r + 2, k, own, ids_of)
                if left > 3:
                    _offer(s3, first + r + 3, k, own, ids_of)
    return 0


@njit(**OPTIONS)
def _prepare(queries, rows, dim, out):
    """Queries as the micro-kernel wants activations."""
    offset = broadcast_int(activation_offset())
    for m in range(rows):
        row = out + m * dim * activation_bytes()
        for d in range(0, dim, 16):
            store_bytes(row + d, load_bytes(queries + m * dim + d) + offset)
        activation_ready(row, dim)


@njit(**OPTIONS)
def nearest_panels(queries, query_count, panels, correction, count, dim, k, scores, ids, scratch):
    """``nearest`` for rows that are packed as weights; 0.

    queries int8 [query_count, dim], dim a multiple of 64; panels int8 [4 * blocks, dim / 4, 16, 4] and correction int32 [64 * blocks]
    (-128 times the sum of each row) hold ``count`` rows and, up to a multiple of 64, rows that are not looked at. Scratch: 8192 bytes,
    then NEAREST_ROWS * dim * activation bytes (at most 6).
    """
    activations, most = scratch + 8192, tile_rows()
    tile_begin(query_count)
    first = 0
    while first < query_count:
        rows = min(most, query_count - first)
        _prepare(queries + first * dim, rows, dim, activations)
        for column in range(0, count, 64):
            tile_product(rows, activations, panels + column * dim, 0, dim >> 2, scratch, correction + 4 * column)
            for m in range(rows):
                at, own, ids_of = scratch + 256 * m, scores + 4 * (first + m) * k, ids + 8 * (first + m) * k
                best = largest_int(load_int(at), load_int(at + 64), load_int(at + 128), load_int(at + 192))
                if best > load_i32(own + 4 * k - 4):
                    for j in range(min(64, count - column)):
                        _offer(load_i32(at + 4 * j), column + j, k, own, ids_of)
        first += rows
    tile_end()
    return 0
