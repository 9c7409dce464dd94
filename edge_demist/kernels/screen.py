# mypy: ignore-errors
"""Stage one of the screen: the scores of all alarm specialists from one n-gram vector.

::

    score[r, c] = sum_lanes(ngrams[r] . W[c]) + bias[c]        W float32 [screens, dim]

A string whose scores all lie under their cuts goes without the encoder.  A row is worked on alone, so a score has the
same bits whatever stands beside it.
"""

from numba import njit

from edge_demist.kernels.ngrams import DIM_AT, ngram_row
from edge_demist.kernels.simd import broadcast, load, load_f32, load_i64, store_f32, sum_lanes
from edge_demist.kernels.vectors import F32, OPTIONS
from edge_demist.native import abi


@njit(**OPTIONS)
def screen(table, weight, bias, count, text, text_offsets, rows, scratch, out):
    """First scores float32 [rows, count]; 0 or -(row << STATUS_BITS | status).

    text uint8 packed, text_offsets int64 [rows + 1], weight float32 [count, dim], bias float32 [count].  Scratch: the vector, 4 * dim
    bytes, then that of ``ngrams``.
    """
    if load_i64(text_offsets) != 0:
        return -abi.STATUS_OFFSETS
    line = 4 * load_i64(table + DIM_AT)
    for r in range(rows):
        first, last = load_i64(text_offsets + 8 * r), load_i64(text_offsets + 8 * r + 8)
        if last < first:
            return -((r << abi.STATUS_BITS) | abi.STATUS_OFFSETS)
        ngram_row(table, text + first, last - first, scratch, scratch + line)
        for c in range(count):
            total = broadcast(F32(0.0))
            for k in range(0, line, 64):
                total = total + load(scratch + k) * load(weight + c * line + k)
            store_f32(out + 4 * (r * count + c), sum_lanes(total) + load_f32(bias + 4 * c))
    return 0
