# mypy: ignore-errors
"""Linear layers: int8 tiles, and what happens to a tile while it is still in the first-level cache.

::

            64 columns                 for each panel of 64 columns (its weights stay in L1 or L2)
          +-----------+                  for each block of rows
    rows  | C (int32) |                    C = A x W                       micro-kernel of the CPU level
          +-----------+                    LoRA delta, when a row has one  ``lora.expand``
           one tile                        epilogue: y = C * (s_a * s_w) + bias (+ delta), then
                                             ``heads``     q, k, v by head, ready for attention
                                             ``residual``  added to x, with the lane sums layer norm needs
                                             ``gelu``      GELU, with the lane maxima quantisation needs
"""

from collections import namedtuple

from numba import njit

from edge_demist.kernels import lora
from edge_demist.kernels.simd import (
    absolute,
    activation_bytes,
    broadcast,
    larger_size,
    load,
    load_f32,
    load_i64,
    load_int,
    side_by_side,
    store,
    tile_begin,
    tile_end,
    tile_product,
    tile_rows,
    to_float,
)
from edge_demist.kernels.vectors import F32, OPTIONS, gelu, gelu_four

Linear = namedtuple("Linear", "weight scale bias correction k n section adapter")
"""Addresses of one layer's tensors; input and output size; columns of an adapter section; entry offset."""

Work = namedtuple(
    "Work",
    "tokens hidden heads head_size x heads_out context wide int8 scales sums tile delta has_delta projected "
    "rank_stride row_adapter probabilities",
)
"""Scratch of one block of rows; see ``encoder.workspace`` for shapes."""
DELTA_ROWS = 32
"""Rows of LoRA deltas that the scratch has room for."""


@njit(**OPTIONS)
def _height(remaining, most):
    """Rows of the next tile: full ones, the last two about equal."""
    if remaining <= most:
        return remaining
    if remaining >= 2 * most:
        return most
    return (remaining + 1) >> 1


@njit(**OPTIONS)
def _dequantize(work, spec, m, t, column, delta):
    """The 64 columns of row m of the tile (token t) as four float32 vectors."""
    at, ws, bs = work.tile + 256 * m, spec.scale + 4 * column, spec.bias + 4 * column
    scale = broadcast(load_f32(work.scales + 4 * t))
    y0 = to_float(load_int(at)) * (scale * load(ws)) + load(bs)
    y1 = to_float(load_int(at + 64)) * (scale * load(ws + 64)) + load(bs + 64)
    y2 = to_float(load_int(at + 128)) * (scale * load(ws + 128)) + load(bs + 128)
    y3 = to_float(load_int(at + 192)) * (scale * load(ws + 192)) + load(bs + 192)
    if delta and load_i64(work.has_delta + 8 * m) != 0:
        d = work.delta + 256 * m
        y0, y1, y2, y3 = y0 + load(d), y1 + load(d + 64), y2 + load(d + 128), y3 + load(d + 192)
    return y0, y1, y2, y3


@njit(**OPTIONS)
def _place(work, t, column):
    """Where 16 columns of q, k, v go: [q heads | k heads | v heads][token][head_size]."""
    head = column // work.head_size
    return work.heads_out + 4 * ((head * work.tokens + t) * work.head_size + column - head * work.head_size)


@njit(**OPTIONS)
def _heads(rows, first, column, spec, work, delta):
    """Columns of q, k, v by head."""
    p0, p1 = _place(work, first, column), _place(work, first, column + 16)
    p2, p3 = _place(work, first, column + 32), _place(work, first, column + 48)
    for m in range(rows):
        y0, y1, y2, y3 = _dequantize(work, spec, m, first + m, column, delta)
        step = 4 * m * work.head_size
        store(p0 + step, y0)
        store(p1 + step, y1)
        store(p2 + step, y2)
        store(p3 + step, y3)


@njit(**OPTIONS)
def _residual(rows, first, column, spec, work, delta):
    """X += y in place; ``sums`` collects the 16 lane sums of each row in column order."""
    for m in range(rows):
        t = first + m
        at = work.x + 4 * (t * spec.n + column)
        y0, y1, y2, y3 = _dequantize(work, spec, m, t, column, delta)
        y0, y1, y2, y3 = y0 + load(at), y1 + load(at + 64), y2 + load(at + 128), y3 + load(at + 192)
        store(at, y0)
        store(at + 64, y1)
        store(at + 128, y2)
        store(at + 192, y3)
        total = broadcast(F32(0.0))
        if column != 0:
            total = load(work.sums + 64 * t)
        store(work.sums + 64 * t, total + y0 + y1 + y2 + y3)


@njit(**OPTIONS)
def _gelu(rows, first, column, spec, work, delta):
    """Wide = GELU(y); ``sums`` collects the 16 lane maxima of each row."""
    for m in range(rows):
        t = first + m
        y0, y1, y2, y3 = _dequantize(work, spec, m, t, column, delta)
        if side_by_side() == 4:
            y0, y1, y2, y3 = gelu_four(y0, y1, y2, y3)
        else:
            y0, y1, y2, y3 = gelu(y0), gelu(y1), gelu(y2), gelu(y3)
        at = work.wide + 4 * (t * spec.n + column)
        store(at, y0)
        store(at + 64, y1)
        store(at + 128, y2)
        store(at + 192, y3)
        largest = larger_size(larger_size(absolute(y0), absolute(y1)), larger_size(absolute(y2), absolute(y3)))
        known = broadcast(F32(1e-12))
        if column != 0:
            known = load(work.sums + 64 * t)
        store(work.sums + 64 * t, larger_size(largest, known))


def _make(epilogue):
    """A linear layer that ends in ``epilogue``."""

    @njit(**OPTIONS)
    def linear(spec, source, work):
        """``source``: the float32 input rows, which LoRA reads; their int8 lies in ``work.int8``."""
        delta = lora.project(spec, source, work)
        most = tile_rows()
        tile_begin(work.tokens)
        for column in range(0, spec.n, 64):
            weight = spec.weight + column * spec.k
            ahead = 64 * spec.k if column + 64 < spec.n else 0
            first = 0
            while first < work.tokens:
                rows = _height(work.tokens - first, most)
                tile_product(
                    rows,
                    work.int8 + first * spec.k * activation_bytes(),
                    weight,
                    ahead,
                    spec.k >> 2,
                    work.tile,
                    spec.correction + 4 * column,
                )
                if delta:
                    lora.expand(rows, first, column, spec, work)
                epilogue(rows, first, column, spec, work, delta)
                first += rows
                ahead = 0
        tile_end()

    return linear


@njit(**OPTIONS)
def add_to_heads(spec, source, work):
    """``linear_heads`` of rows whose product with the base lies in ``work.heads_out`` already: the LoRA deltas are added."""
    if not lora.project(spec, source, work):
        return
    for column in range(0, spec.n, 64):
        first = 0
        while first < work.tokens:
            rows = min(work.tokens - first, DELTA_ROWS)
            lora.expand(rows, first, column, spec, work)
            p0, p1 = _place(work, first, column), _place(work, first, column + 16)
            p2, p3 = _place(work, first, column + 32), _place(work, first, column + 48)
            for m in range(rows):
                if load_i64(work.has_delta + 8 * m) != 0:
                    d, step = work.delta + 256 * m, 4 * m * work.head_size
                    store(p0 + step, load(p0 + step) + load(d))
                    store(p1 + step, load(p1 + step) + load(d + 64))
                    store(p2 + step, load(p2 + step) + load(d + 128))
                    store(p3 + step, load(p3 + step) + load(d + 192))
            first += rows


linear_heads = _make(_heads)
linear_residual = _make(_residual)
linear_gelu = _make(_gelu)
