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
    broadcast,
    load,
    load_f32,
    load_i64,
    load_int,
    maximum,
    store,
    tile_begin,
    tile_end,
    tile_product,
    tile_rows,
    to_float,
)
from edge_demist.kernels.vectors import F32, OPTIONS, gelu

Linear = namedtuple("Linear", "weight scale bias correction k n section adapter")
"""Addresses of one layer's tensors; input and output size; columns of an adapter section; entry offset."""

Work = namedtuple(
    "Work",
    "tokens hidden heads head_size x heads_out context wide int8 plane scales sums tile delta has_delta projected "
    "rank_stride row_adapter probabilities",
)
"""Scratch of one block of rows; see ``encoder.workspace`` for shapes."""


@njit(**OPTIONS)
def _height(remaining, most):
    """Rows of the next tile: full ones, the last two about equal."""
    if remaining <= most:
        return remaining
    if remaining >= 2 * most:
        return most
    return (remaining + 1) >> 1


@njit(**OPTIONS)
def _dequantize(work, m, t, v, scale, bias, delta):
    """16 columns of row m of the tile (token t) as float32."""
    at = work.tile + 256 * m + 64 * v
    value = to_float(load_int(at)) * (broadcast(load_f32(work.scales + 4 * t)) * scale) + bias
    if delta and load_i64(work.has_delta + 8 * m) != 0:
        value = value + load(work.delta + 256 * m + 64 * v)
    return value


@njit(**OPTIONS)
def _heads(rows, first, column, spec, work, delta):
    """Columns of q, k, v to [q heads | k heads | v heads][token][head_size]."""
    for v in range(4):
        c = column + 16 * v
        scale, bias = load(spec.scale + 4 * c), load(spec.bias + 4 * c)
        head = c // work.head_size
        out = work.heads_out + 4 * (head * work.tokens * work.head_size + c - head * work.head_size)
        for m in range(rows):
            t = first + m
            store(out + 4 * t * work.head_size, _dequantize(work, m, t, v, scale, bias, delta))


@njit(**OPTIONS)
def _residual(rows, first, column, spec, work, delta):
    """x += y in place; ``sums`` collects the 16 lane sums of each row in column order."""
    for v in range(4):
        c = column + 16 * v
        scale, bias = load(spec.scale + 4 * c), load(spec.bias + 4 * c)
        for m in range(rows):
            t = first + m
            at = work.x + 4 * (t * spec.n + c)
            value = _dequantize(work, m, t, v, scale, bias, delta) + load(at)
            store(at, value)
            if c == 0:
                store(work.sums + 64 * t, value)
            else:
                store(work.sums + 64 * t, load(work.sums + 64 * t) + value)


@njit(**OPTIONS)
def _gelu(rows, first, column, spec, work, delta):
    """wide = GELU(y); ``sums`` collects the 16 lane maxima of each row."""
    for v in range(4):
        c = column + 16 * v
        scale, bias = load(spec.scale + 4 * c), load(spec.bias + 4 * c)
        for m in range(rows):
            t = first + m
            value = gelu(_dequantize(work, m, t, v, scale, bias, delta))
            store(work.wide + 4 * (t * spec.n + c), value)
            largest = broadcast(F32(1e-12))
            if c != 0:
                largest = load(work.sums + 64 * t)
            store(work.sums + 64 * t, maximum(largest, absolute(value)))


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
            first = 0
            while first < work.tokens:
                rows = _height(work.tokens - first, most)
                tile_product(
                    rows,
                    work.int8 + first * spec.k,
                    spec.k,
                    work.plane,
                    weight,
                    16 * spec.k,
                    spec.k >> 2,
                    work.tile,
                    spec.correction + 4 * column,
                )
                if delta:
                    lora.expand(rows, first, column, spec, work)
                epilogue(rows, first, column, spec, work, delta)
                first += rows
        tile_end()

    return linear


linear_heads = _make(_heads)
linear_residual = _make(_residual)
linear_gelu = _make(_gelu)
