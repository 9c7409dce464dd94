# mypy: ignore-errors
"""Exact nearest rows by int8 dot product, with the best k kept while the rows stream by.

::

            dim                              four rows at a time, one query after the other:
          +-----------+                        16 bytes of the query  x  16 bytes of each row  ->  four int32 sums
    rows  | int8      |  read once             four totals -> ``scratch`` -> compared with the query's k-th best
          +-----------+                        the few that are better are inserted into scores and ids, both
                                               [queries, k], scores falling; equals stay in order of their rows

Sums are int32 and exact (127 * 127 * 4096 < 2**31), so every CPU level gives the same answer.
"""

from numba import njit

from edge_demist.kernels.simd import (
    load_bytes,
    load_i32,
    load_i64,
    multiply_int,
    store4_int,
    store_i32,
    store_i64,
    sum_four_int,
    zeros_int,
)
from edge_demist.kernels.vectors import OPTIONS


@njit(**OPTIONS)
def _insert(score, row, k, scores, ids):
    """Put one row among the k best, after those that are as good."""
    place = k - 1
    while place > 0 and load_i32(scores + 4 * (place - 1)) < score:
        store_i32(scores + 4 * place, load_i32(scores + 4 * (place - 1)))
        store_i64(ids + 8 * place, load_i64(ids + 8 * (place - 1)))
        place -= 1
    store_i32(scores + 4 * place, score)
    store_i64(ids + 8 * place, row)


@njit(**OPTIONS)
def _four(query, row0, row1, row2, row3, dim, scratch):
    """Dot products of one query with four rows: int32 [4] at ``scratch``."""
    s0, s1, s2, s3 = zeros_int(), zeros_int(), zeros_int(), zeros_int()
    for d in range(0, dim, 16):
        q = load_bytes(query + d)
        s0 = s0 + multiply_int(q, load_bytes(row0 + d))
        s1 = s1 + multiply_int(q, load_bytes(row1 + d))
        s2 = s2 + multiply_int(q, load_bytes(row2 + d))
        s3 = s3 + multiply_int(q, load_bytes(row3 + d))
    store4_int(scratch, sum_four_int(s0, s1, s2, s3))


@njit(**OPTIONS)
def nearest(queries, query_count, rows, count, dim, first, k, scores, ids, scratch):
    """Put the rows of a block among the best of each query; 0.

    queries int8 [query_count, dim], rows int8 [count, dim] numbered from ``first``, dim a multiple of 16; scores int32 and ids int64
    [query_count, k] hold what was found before (at the start the lowest int32 and -1). Scratch: 16 bytes.
    """
    for r in range(0, count, 4):
        left = min(4, count - r)
        row0 = rows + r * dim
        row1 = row0 + min(1, left - 1) * dim
        row2 = row0 + min(2, left - 1) * dim
        row3 = row0 + (left - 1) * dim
        for q in range(query_count):
            _four(queries + q * dim, row0, row1, row2, row3, dim, scratch)
            for j in range(left):
                score = load_i32(scratch + 4 * j)
                if score > load_i32(scores + 4 * (q * k + k - 1)):
                    _insert(score, first + r + j, k, scores + 4 * q * k, ids + 8 * q * k)
    return 0
