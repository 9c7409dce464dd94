# mypy: ignore-errors
"""A specialist's head: pooled vector and n-gram vector to probabilities.

::

    logit[c] = sum_lanes(pooled . W[c, :H] + ngrams . W[c, H:]) + bias[c]          c = 0 .. labels; the last one is the domain
    P[c]     = exp(logit[c] - largest) / sum * sigmoid(domain)

W float32 [labels + 1, H + dim] holds the temperature already.  A row is worked on alone, so an answer has the same bits
whatever stands beside it in a batch.
"""

from numba import njit

from edge_demist.kernels.attention import LOG2_E, softmax_of_one
from edge_demist.kernels.simd import broadcast, load, load_f32, load_i64, store, store_f32, sum_lanes
from edge_demist.kernels.vectors import F32, OPTIONS, exp2
from edge_demist.native import abi

WEIGHT_AT, BIAS_AT, LABELS_AT, HIDDEN_AT, DIM_AT, DOMAIN_AT = (
    8 * abi.HEAD_WEIGHT,
    8 * abi.HEAD_BIAS,
    8 * abi.HEAD_LABELS,
    8 * abi.HEAD_HIDDEN,
    8 * abi.HEAD_DIM,
    8 * abi.HEAD_DOMAIN,
)


@njit(**OPTIONS)
def head_row(table, pooled, ngrams, out, logits):
    """P(label) of one row, float32 [labels]; ``logits``: scratch for labels + 1 numbers, rounded up to 16 and 16 more."""
    weight, bias, labels = load_i64(table + WEIGHT_AT), load_i64(table + BIAS_AT), load_i64(table + LABELS_AT)
    hidden, dim = 4 * load_i64(table + HIDDEN_AT), 4 * load_i64(table + DIM_AT)
    domain = F32(0.0)
    for c in range(labels + 1):
        total = broadcast(F32(0.0))
        for k in range(0, hidden, 64):
            total = total + load(pooled + k) * load(weight + k)
        weight += hidden
        for k in range(0, dim, 64):
            total = total + load(ngrams + k) * load(weight + k)
        weight += dim
        domain = sum_lanes(total) + load_f32(bias + 4 * c)
        store_f32(logits + 4 * c, domain)
    total = softmax_of_one(logits, labels, broadcast(LOG2_E))
    if load_i64(table + DOMAIN_AT) != 0:
        power = min(max(-domain * LOG2_E, F32(-43.0)), F32(43.0))
        at = logits + 4 * ((labels + 16) & ~15)
        store(at, exp2(broadcast(power)))
        total = total * (F32(1.0) + load_f32(at))
    factor = F32(1.0) / total
    for c in range(labels):
        store_f32(out + 4 * c, load_f32(logits + 4 * c) * factor)


@njit(**OPTIONS)
def head(table, pooled, ngrams, rows, out, logits):
    """``head_row`` of rows that follow each other: pooled [rows, H], ngrams [rows, dim] (not read where dim is 0), out [rows, labels]."""
    hidden, dim, labels = load_i64(table + HIDDEN_AT), load_i64(table + DIM_AT), load_i64(table + LABELS_AT)
    for r in range(rows):
        head_row(table, pooled + 4 * r * hidden, ngrams + 4 * r * dim, out + 4 * r * labels, logits)
    return 0
