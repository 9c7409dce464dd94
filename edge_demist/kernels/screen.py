# mypy: ignore-errors
"""Stage one of the screen: the scores of all alarm specialists from one n-gram vector.

::

    score[r, c]         = sum_lanes(ngrams[r] . W[c]) + bias[c]                    W float32 [count, dim]
    score[r, count + n] = sum_lanes(h2 . w3) + b3                                  of the net n
        h1 = max(0, b1 + ngrams[r] . W1)    h2 = max(0, b2 + h1 . W2)              W1 [dim, width1], W2 [width1, width2]

A layer of a net holds 64 of its outputs in registers and walks over its inputs, so each output is one sum in the order of the inputs.
A string whose scores all lie under their cuts goes without the encoder.  A row is worked on alone, so a score has the
same bits whatever stands beside it.
"""

from numba import njit

from edge_demist.kernels.ngrams import DIM_AT, ngram_row
from edge_demist.kernels.simd import broadcast, load, load_f32, load_i64, maximum, store, store_f32, sum_lanes
from edge_demist.kernels.vectors import F32, OPTIONS
from edge_demist.native import abi

W1_AT, B1_AT, WIDTH1_AT, W2_AT, B2_AT, WIDTH2_AT, W3_AT, B3_AT = (8 * k for k in range(8))
FIRST_LAYER = 4 * abi.NET_MAX_WIDTH
HIDDEN = 8 * abi.NET_MAX_WIDTH


@njit(**OPTIONS)
def _layer(x, count, weight, bias, width, out):
    """max(0, bias + x . weight): x [count], weight [count, width], bias and out [width]; width a multiple of 64."""
    line, zero = 4 * width, broadcast(F32(0.0))
    for o in range(0, line, 256):
        t0, t1, t2, t3 = load(bias + o), load(bias + o + 64), load(bias + o + 128), load(bias + o + 192)
        at = weight + o
        for k in range(count):
            value = broadcast(load_f32(x + 4 * k))
            t0 = t0 + value * load(at)
            t1 = t1 + value * load(at + 64)
            t2 = t2 + value * load(at + 128)
            t3 = t3 + value * load(at + 192)
            at += line
        store(out + o, maximum(t0, zero))
        store(out + o + 64, maximum(t1, zero))
        store(out + o + 128, maximum(t2, zero))
        store(out + o + 192, maximum(t3, zero))


@njit(**OPTIONS)
def _dot(a, b, line):
    total = broadcast(F32(0.0))
    for k in range(0, line, 64):
        total = total + load(a + k) * load(b + k)
    return sum_lanes(total)


@njit(**OPTIONS)
def _net(net, vector, dim, hidden):
    """The score of one net for a vector [dim]; hidden: room for both layers."""
    first, second = load_i64(net + WIDTH1_AT), load_i64(net + WIDTH2_AT)
    _layer(vector, dim, load_i64(net + W1_AT), load_i64(net + B1_AT), first, hidden)
    _layer(hidden, first, load_i64(net + W2_AT), load_i64(net + B2_AT), second, hidden + FIRST_LAYER)
    return _dot(hidden + FIRST_LAYER, load_i64(net + W3_AT), 4 * second) + load_f32(load_i64(net + B3_AT))


@njit(**OPTIONS)
def screen(table, weight, bias, count, nets, net_count, text, text_offsets, rows, scratch, out):
    """First scores float32 [rows, count + net_count]; 0 or -(row << STATUS_BITS | status).

    text uint8 packed, text_offsets int64 [rows + 1], weight float32 [count, dim], bias float32 [count], nets int64 [net_count,
    NET_TABLE].  Scratch: both layers of a net, 8 * NET_MAX_WIDTH bytes, the vector, 4 * dim bytes, then that of ``ngrams``.
    """
    if load_i64(text_offsets) != 0:
        return -abi.STATUS_OFFSETS
    dim = load_i64(table + DIM_AT)
    vector = scratch + HIDDEN
    for r in range(rows):
        first, last = load_i64(text_offsets + 8 * r), load_i64(text_offsets + 8 * r + 8)
        if last < first:
            return -((r << abi.STATUS_BITS) | abi.STATUS_OFFSETS)
        ngram_row(table, text + first, last - first, vector, vector + 4 * dim)
        for c in range(count):
            store_f32(out, _dot(vector, weight + 4 * c * dim, 4 * dim) + load_f32(bias + 4 * c))
            out += 4
        for n in range(net_count):
            store_f32(out, _net(nets + 8 * abi.NET_TABLE * n, vector, dim, scratch))
            out += 4
    return 0
