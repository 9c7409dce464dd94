# mypy: ignore-errors
"""Hashed character n-grams: exact integer sums of int8 table rows.

::

    0x02 text 0x03     each start, each n in min_n .. max_n that fits:
                         h = FNV-1a, 32 bit, over the n bytes       (grown by one byte from n - 1: one multiplication)
                         bucket = (h ^ h >> 15) & (buckets - 1)
    table int8 [buckets, dim]: a row of 64 numbers is one cache line
    feature[d] = float(sum of rows)[d] * scale[d] * (1 / sqrt(count))

First all buckets of a stretch are hashed and their lines prefetched, then the lines are summed: the table is
larger than the second-level cache and the time goes into waiting for it.  Sums run in int16 for at most 256 rows
(256 * 127 < 2**15), then go to int32, so they are exact in any order.
"""

import numpy as np
from numba import njit

from edge_demist.kernels.simd import (
    broadcast,
    load,
    load_bytes,
    load_bytes64,
    load_i32,
    load_i64,
    load_int,
    load_u8,
    prefetch,
    quarter64,
    store,
    store_i32,
    store_int,
    store_u8,
    to_float,
    zeros64,
    zeros_int,
)
from edge_demist.kernels.vectors import F32, OPTIONS
from edge_demist.native import abi

FNV_START = 0x811C9DC5
FNV_PRIME = 0x01000193
STRETCH = 256  # rows summed in int16
WEIGHT_AT, SCALE_AT, BUCKETS_AT, DIM_AT = (
    8 * abi.NGRAM_WEIGHT,
    8 * abi.NGRAM_SCALE,
    8 * abi.NGRAM_BUCKETS,
    8 * abi.NGRAM_DIM,
)
MIN_AT, MAX_AT, MAX_BYTES_AT = 8 * abi.NGRAM_MIN, 8 * abi.NGRAM_MAX, 8 * abi.NGRAM_MAX_BYTES


@njit(**OPTIONS)
def _add_rows(table, buckets, count, dim, sums):
    """Add ``count`` rows of the table to the int32 sums."""
    for d in range(0, dim & ~63, 64):
        total = zeros64()
        for k in range(count):
            total = total + load_bytes64(table + load_i32(buckets + 4 * k) * dim + d)
        at = sums + 4 * d
        store_int(at, load_int(at) + quarter64(total, 0))
        store_int(at + 64, load_int(at + 64) + quarter64(total, 1))
        store_int(at + 128, load_int(at + 128) + quarter64(total, 2))
        store_int(at + 192, load_int(at + 192) + quarter64(total, 3))
    for d in range(dim & ~63, dim, 16):
        total = zeros_int()
        for k in range(count):
            total = total + load_bytes(table + load_i32(buckets + 4 * k) * dim + d)
        store_int(sums + 4 * d, load_int(sums + 4 * d) + total)


@njit(**OPTIONS)
def ngram_row(table, text, n, out, scratch):
    """Features of one string.

    Scratch: the sentinel copy of the text, one stretch of buckets, the int32 sums, in this order; see ``ngrams``.
    """
    weight, scale, dim = load_i64(table + WEIGHT_AT), load_i64(table + SCALE_AT), load_i64(table + DIM_AT)
    mask = load_i64(table + BUCKETS_AT) - 1
    low, high = load_i64(table + MIN_AT), load_i64(table + MAX_AT)
    n = min(n, load_i64(table + MAX_BYTES_AT))
    sums = scratch
    buckets = scratch + 4 * dim
    copy = buckets + 4 * STRETCH
    store_u8(copy, 2)
    for k in range(n):
        store_u8(copy + 1 + k, load_u8(text + k))
    store_u8(copy + 1 + n, 3)
    n += 2
    for d in range(0, dim, 16):
        store_int(sums + 4 * d, zeros_int())
    count, waiting = 0, 0
    for start in range(n):
        h = FNV_START
        for k in range(min(high, n - start)):
            h = ((h ^ load_u8(copy + start + k)) * FNV_PRIME) & 0xFFFFFFFF
            if k + 1 >= low:
                bucket = (h ^ (h >> 15)) & mask
                for line in range(0, dim, 64):
                    prefetch(weight + bucket * dim + line)
                store_i32(buckets + 4 * waiting, bucket)
                waiting += 1
                if waiting == STRETCH:
                    _add_rows(weight, buckets, waiting, dim, sums)
                    count += waiting
                    waiting = 0
    _add_rows(weight, buckets, waiting, dim, sums)
    count += waiting
    factor = F32(0.0)
    if count > 0:
        factor = F32(1.0) / np.sqrt(F32(count))
    for d in range(0, dim, 16):
        store(out + 4 * d, to_float(load_int(sums + 4 * d)) * load(scale + 4 * d) * broadcast(factor))
    return count


@njit(**OPTIONS)
def ngrams(table, text, text_offsets, rows, scratch, out):
    """Features float32 [rows, dim]; 0 or -(row << STATUS_BITS | status).

    text uint8 packed, text_offsets int64 [rows + 1].  Scratch: 4 * dim + 4 * 256 + max_bytes + 2 bytes.
    """
    if load_i64(text_offsets) != 0:
        return -abi.STATUS_OFFSETS
    dim = load_i64(table + DIM_AT)
    for r in range(rows):
        first, last = load_i64(text_offsets + 8 * r), load_i64(text_offsets + 8 * r + 8)
        if last < first:
            return -((r << abi.STATUS_BITS) | abi.STATUS_OFFSETS)
        ngram_row(table, text + first, last - first, out + 4 * r * dim, scratch)
    return 0
