# mypy: ignore-errors
"""The general vector: what the encoder, the n-grams and the words say of a string, through one learnt projection.

::

    pooled vector [H]               each divided by its length, times its factor
    n-gram vector [dim]        -->  x [K], K = 2 H + dim rounded up to 64  --int8-->  x . W * scale + bias  -->  vector [H]
    sum of word embeddings [H]

W int8 [K, H] lies in panels as a layer of the encoder does.  A row is worked on alone and its sums are int32, so a vector has the same
bits on every CPU level, whatever stands beside it.
"""

import numpy as np
from numba import njit

from edge_demist.kernels.simd import (
    broadcast,
    load,
    load_bytes,
    load_f32,
    load_i32,
    load_i64,
    load_int,
    store,
    sum_lanes,
    tile_begin,
    tile_end,
    tile_product,
    tile_rows,
    to_float,
)
from edge_demist.kernels.vectors import F32, OPTIONS, quantize_rows
from edge_demist.native import abi

WEIGHT_AT, SCALE_AT, BIAS_AT, CORRECTION_AT, FACTOR_AT, HIDDEN_AT, DIM_AT, WORD_AT, WORD_SCALE_AT, VOCAB_AT = (
    8 * abi.GENERAL_WEIGHT,
    8 * abi.GENERAL_SCALE,
    8 * abi.GENERAL_BIAS,
    8 * abi.GENERAL_CORRECTION,
    8 * abi.GENERAL_FACTORS,
    8 * abi.GENERAL_HIDDEN,
    8 * abi.GENERAL_DIM,
    8 * abi.GENERAL_WORD,
    8 * abi.GENERAL_WORD_SCALE,
    8 * abi.GENERAL_VOCAB,
)
TILE_BYTES, SCALE_BYTES = 8192, 256  # of a tile, and of its rows' scales


@njit(**OPTIONS)
def _width(table):
    """Numbers of one row of x, rounded up to 64."""
    return (2 * load_i64(table + HIDDEN_AT) + load_i64(table + DIM_AT) + 63) & ~63


@njit(**OPTIONS)
def _unit(source, n, factor, out):
    """``source`` divided by its Euclidean norm, times ``factor``; zeros stay zeros."""
    squares = broadcast(F32(0.0))
    for k in range(0, n, 16):
        squares = squares + load(source + 4 * k) * load(source + 4 * k)
    by = broadcast(factor / np.sqrt(max(sum_lanes(squares), F32(1e-24))))
    for k in range(0, n, 16):
        store(out + 4 * k, load(source + 4 * k) * by)


@njit(**OPTIONS)
def _words(table, token_ids, count, out):
    """Sum of the embeddings of a row's words."""
    word, word_scale, n = load_i64(table + WORD_AT), load_i64(table + WORD_SCALE_AT), load_i64(table + HIDDEN_AT)
    for k in range(0, n, 16):
        store(out + 4 * k, broadcast(F32(0.0)))
    for p in range(count):
        token = load_i32(token_ids + 4 * p)
        scale = broadcast(load_f32(word_scale + 4 * token))
        for k in range(0, n, 16):
            store(out + 4 * k, load(out + 4 * k) + to_float(load_bytes(word + token * n + k)) * scale)


@njit(**OPTIONS)
def _gather(table, pooled, ngrams, token_ids, count, x):
    """The row x of one string."""
    hidden, dim, factors = load_i64(table + HIDDEN_AT), load_i64(table + DIM_AT), load_i64(table + FACTOR_AT)
    _unit(pooled, hidden, load_f32(factors), x)
    _unit(ngrams, dim, load_f32(factors + 4), x + 4 * hidden)
    words = x + 4 * (hidden + dim)
    _words(table, token_ids, count, words)
    _unit(words, hidden, load_f32(factors + 8), words)
    for k in range(2 * hidden + dim, _width(table), 16):
        store(x + 4 * k, broadcast(F32(0.0)))


@njit(**OPTIONS)
def project(table, pooled, ngrams, token_ids, offsets, rows, normalize, scratch, out):
    """General vectors float32 [rows, H] of rows that follow each other; 0, or -(row << STATUS_BITS | status) before anything is written.

    pooled float32 [rows, H] (not normalized; may be ``out``), ngrams float32 [rows, dim], token_ids int32 and offsets int32 [rows + 1] as
    for ``encode``.  Scratch: 8448 bytes, then GENERAL_ROWS * K * (4 + activation bytes, at most 6).
    """
    hidden, dim, width = load_i64(table + HIDDEN_AT), load_i64(table + DIM_AT), _width(table)
    first, words = load_i32(offsets), load_i64(table + VOCAB_AT)
    for r in range(rows):
        last = load_i32(offsets + 4 * r + 4)
        if first < 0 or last < first:
            return -((r << abi.STATUS_BITS) | abi.STATUS_OFFSETS)
        for p in range(first, last):
            token = load_i32(token_ids + 4 * p)
            if token < 0 or token >= words:
                return -((r << abi.STATUS_BITS) | abi.STATUS_TOKEN)
        first = last
    tile, scales = scratch, scratch + TILE_BYTES
    x = scales + SCALE_BYTES
    int8 = x + 4 * abi.GENERAL_ROWS * width
    weight, scale, bias = load_i64(table + WEIGHT_AT), load_i64(table + SCALE_AT), load_i64(table + BIAS_AT)
    tile_begin(rows)
    row = 0
    while row < rows:
        some = min(tile_rows(), rows - row)
        for r in range(row, row + some):
            begin = load_i32(offsets + 4 * r)
            count = load_i32(offsets + 4 * r + 4) - begin
            own = x + 4 * (r - row) * width
            _gather(table, pooled + 4 * r * hidden, ngrams + 4 * r * dim, token_ids + 4 * begin, count, own)
        quantize_rows(some, x, width, int8, scales)
        for column in range(0, hidden, 64):
            tile_product(
                some, int8, weight + column * width, 0, width >> 2, tile, load_i64(table + CORRECTION_AT) + 4 * column
            )  # fmt: skip
            for m in range(some):
                by = broadcast(load_f32(scales + 4 * m))
                for k in range(0, 64, 16):
                    at = 4 * (column + k)
                    y = to_float(load_int(tile + 256 * m + 4 * k)) * (by * load(scale + at)) + load(bias + at)
                    store(out + 4 * (row + m) * hidden + at, y)
        if normalize != 0:
            for m in range(some):
                at = out + 4 * (row + m) * hidden
                _unit(at, hidden, F32(1.0), at)
        row += some
    tile_end()
    return 0
