# mypy: ignore-errors
"""The packed BERT encoder: token ids to pooled vectors.

Rows are packed without padding and taken in blocks of whole rows, at most ``block_tokens`` tokens (or one longer
row).  Per block and layer::

    x --int8--> qkv --> heads --attention--> context --int8--> attn_out --+ x --> norm1 --> x
    x --int8--> ffn_up --> GELU --> wide --int8--> ffn_down --+ x --> norm2 --> x

Memory comes from the caller (``scratch_bytes``); nothing is allocated, nothing is shared between calls.
"""

import numpy as np
from numba import njit

from edge_demist.kernels.attention import attention
from edge_demist.kernels.linear import Linear, Work, linear_gelu, linear_heads, linear_residual
from edge_demist.kernels.simd import (
    activation_bytes,
    bits_to_f32,
    broadcast,
    load,
    load_bytes,
    load_f32,
    load_i32,
    load_i64,
    max_lanes,
    store,
    store_f32,
    store_i64,
    sum_lanes,
    to_float,
)
from edge_demist.kernels.vectors import F32, OPTIONS, normalize_rows, quantize_row, quantize_rows
from edge_demist.native import abi

SPARE_ROWS = 32  # AMX tiles read and write up to 31 rows past the last
HEADER_BYTES, LAYER_BYTES, LINEAR_BYTES = 8 * abi.MODEL_HEADER, 8 * abi.LAYER_STRIDE, 8 * abi.LINEAR_STRIDE
ADAPTER_BYTES = 8 * abi.ADAPTER_STRIDE
ADAPTER_HEADER_BYTES = 8 * abi.ADAPTER_HEADER
AT = {name: 8 * getattr(abi, name) for name in dir(abi) if name.isupper() and isinstance(getattr(abi, name), int)}
LAYERS_AT, HIDDEN_AT, WIDE_AT, HEADS_AT = (
    AT["NUM_LAYERS"],
    AT["HIDDEN_SIZE"],
    AT["INTERMEDIATE_SIZE"],
    AT["NUM_HEADS"],
)
VOCAB_AT, POSITIONS_AT, EPS_AT, BLOCK_AT = (
    AT["VOCAB_SIZE"],
    AT["MAX_POSITIONS"],
    AT["NORM_EPS"],
    AT["BLOCK_TOKENS"],
)
WORD_AT, WORD_SCALE_AT, POSITION_AT = AT["WORD_WEIGHT"], AT["WORD_SCALE"], AT["POSITION_WEIGHT"]
NORM_WEIGHT_AT, NORM_BIAS_AT = AT["NORM_WEIGHT"], AT["NORM_BIAS"]
NORM1_AT, NORM2_AT = AT["NORM1_WEIGHT"], AT["NORM2_WEIGHT"]
ADAPTER_COUNT_AT, ADAPTER_RANK_AT = AT["ADAPTER_COUNT"], AT["ADAPTER_MAX_RANK"]


@njit(**OPTIONS)
def _pages(size):
    """Round up to 256 bytes."""
    return (size + 255) & ~255


@njit(**OPTIONS)
def workspace(model, tokens, longest, rank, scratch):
    """Lay the scratch memory out; every buffer starts at a multiple of 256 bytes.

    ::

        x          float32 [rows, H]        heads_out  float32 [3 * heads, tokens, head_size]  (shares
        context    float32 [rows, H]        wide       float32 [rows, F]                        one buffer)
        int8       [rows, 1 or 3, max(H, F)]            scales float32 [rows]      sums float32 [rows, 16]
        tile       int32 [32, 64]                      delta  float32 [32, 64]    has_delta int64 [32]
        projected  float32 [rows, rank]                row_adapter int64 [rows]   probabilities float32 [4, keys]
    """
    hidden, wide, heads = load_i64(model + HIDDEN_AT), load_i64(model + WIDE_AT), load_i64(model + HEADS_AT)
    rows = tokens + SPARE_ROWS
    x = _pages(scratch)
    context = x + _pages(4 * rows * hidden)
    broad = context + _pages(4 * rows * hidden)
    int8 = broad + _pages(4 * rows * max(3 * hidden, wide))
    scales = int8 + _pages(rows * max(hidden, wide) * activation_bytes())
    sums = scales + _pages(4 * rows)
    tile = sums + _pages(64 * rows)
    delta = tile + 8192
    has_delta = delta + 8192
    projected = has_delta + 256
    row_adapter = projected + _pages(4 * rows * rank)
    probabilities = row_adapter + _pages(8 * rows)
    end = probabilities + _pages(16 * (longest + 16))
    work = Work(
        tokens, hidden, heads, hidden // heads, x, broad, context, broad, int8, scales, sums, tile, delta,
        has_delta, projected, rank, row_adapter, probabilities,
    )  # fmt: skip
    return work, end


@njit(**OPTIONS)
def scratch_bytes(model, tokens, longest, rank):
    """Bytes of scratch for blocks of ``tokens`` tokens, rows up to ``longest`` and adapters up to ``rank``."""
    _, end = workspace(model, tokens, longest, rank, 0)
    return end + 512


@njit(**OPTIONS)
def _linear(layer, number, k, n, section, layer_number):
    """Addresses of one linear layer."""
    at = layer + LINEAR_BYTES * number
    adapter = ADAPTER_BYTES * (4 * layer_number + number)
    return Linear(
        load_i64(at), load_i64(at + 8), load_i64(at + 16), load_i64(at + 24), k, n, section, adapter
    )  # fmt: skip


@njit(**OPTIONS)
def _embed(model, token_ids, positions, first, work):
    """Word (int8, one scale a row) + position embedding of one row's tokens, and their lane sums."""
    word, word_scale = load_i64(model + WORD_AT), load_i64(model + WORD_SCALE_AT)
    position = load_i64(model + POSITION_AT)
    n = work.hidden
    for p in range(positions):
        token = load_i32(token_ids + 4 * p)
        scale = broadcast(load_f32(word_scale + 4 * token))
        total = broadcast(F32(0.0))
        for k in range(0, n, 16):
            value = to_float(load_bytes(word + token * n + k)) * scale + load(position + 4 * (p * n + k))
            store(work.x + 4 * ((first + p) * n + k), value)
            total = total + value
        store(work.sums + 64 * (first + p), total)


@njit(**OPTIONS)
def _norm(address, work, eps):
    """Layer norm with the weights at ``address`` (weight, bias), then int8."""
    normalize_rows(
        work.tokens, work.x, work.hidden, work.sums, load_i64(address), load_i64(address + 8), eps,
        work.int8, work.scales,
    )  # fmt: skip


@njit(**OPTIONS)
def _heads_spec(model, number, hidden):
    """The linear layer that makes q, k and v."""
    return _linear(model + HEADER_BYTES + LAYER_BYTES * number, 0, hidden, 3 * hidden, hidden, number)


@njit(**OPTIONS)
def _layer(model, number, offsets, row, end, work):
    """One transformer layer over the rows row .. end of the block."""
    linear_heads(_heads_spec(model, number, work.hidden), work.x, work)
    _after_heads(model, number, offsets, row, end, work)


@njit(**OPTIONS)
def _after_heads(model, number, offsets, row, end, work):
    """What follows q, k and v in a layer."""
    layer = model + HEADER_BYTES + LAYER_BYTES * number
    hidden, wide = work.hidden, load_i64(model + WIDE_AT)
    eps = bits_to_f32(load_i64(model + EPS_AT))
    start = load_i32(offsets + 4 * row)
    for r in range(row, end):
        first = load_i32(offsets + 4 * r)
        attention(work, first - start, load_i32(offsets + 4 * r + 4) - first)
    quantize_rows(work.tokens, work.context, hidden, work.int8, work.scales)
    linear_residual(_linear(layer, 1, hidden, hidden, hidden, number), work.context, work)
    _norm(layer + NORM1_AT, work, eps)
    linear_gelu(_linear(layer, 2, hidden, wide, wide, number), work.x, work)
    for t in range(work.tokens):
        largest = max_lanes(load(work.sums + 64 * t))
        scale = quantize_row(work.wide + 4 * t * wide, wide, largest, work.int8 + t * wide * activation_bytes())
        store_f32(work.scales + 4 * t, scale)
    linear_residual(_linear(layer, 3, wide, hidden, hidden, number), work.wide, work)
    _norm(layer + NORM2_AT, work, eps)


@njit(**OPTIONS)
def _pool(work, first, count, normalize, out):
    """Mean over the row's tokens, divided by its Euclidean norm if asked."""
    factor = broadcast(F32(1.0) / F32(count))
    squares = broadcast(F32(0.0))
    for k in range(0, work.hidden, 16):
        total = load(work.x + 4 * (first * work.hidden + k))
        for t in range(first + 1, first + count):
            total = total + load(work.x + 4 * (t * work.hidden + k))
        mean = total * factor
        store(out + 4 * k, mean)
        squares = squares + mean * mean
    if normalize != 0:
        factor = broadcast(F32(1.0) / np.sqrt(max(sum_lanes(squares), F32(1e-24))))
        for k in range(0, work.hidden, 16):
            store(out + 4 * k, load(out + 4 * k) * factor)


@njit(**OPTIONS)
def _block(model, token_ids, offsets, row, end, adapters, adapter_index, normalize, work, out):
    """The rows row .. end from ids to vectors."""
    start = load_i32(offsets + 4 * row)
    layers = load_i64(model + LAYERS_AT)
    for r in range(row, end):
        first = load_i32(offsets + 4 * r)
        count = load_i32(offsets + 4 * r + 4) - first
        _embed(model, token_ids + 4 * first, count, first - start, work)
        if work.rank_stride != 0:
            index = load_i32(adapter_index + 4 * r)
            address = 0
            if index >= 0:
                address = adapters + ADAPTER_HEADER_BYTES + index * layers * 4 * ADAPTER_BYTES
            for t in range(first - start, first - start + count):
                store_i64(work.row_adapter + 8 * t, address)
    _norm(model + NORM_WEIGHT_AT, work, bits_to_f32(load_i64(model + EPS_AT)))
    for number in range(layers):
        _layer(model, number, offsets, row, end, work)
    for r in range(row, end):
        first = load_i32(offsets + 4 * r)
        count = load_i32(offsets + 4 * r + 4) - first
        _pool(work, first - start, count, normalize, out + 4 * r * work.hidden)


@njit(**OPTIONS)
def check(model, token_ids, offsets, rows, adapters, adapter_index):
    """0, or -(row << STATUS_BITS | status): every address of ``encode`` depends on these numbers."""
    positions, words = load_i64(model + POSITIONS_AT), load_i64(model + VOCAB_AT)
    count = 0
    if adapters != 0:
        count = load_i64(adapters + ADAPTER_COUNT_AT)
    if load_i32(offsets) != 0:
        return -abi.STATUS_OFFSETS
    for r in range(rows):
        first, last = load_i32(offsets + 4 * r), load_i32(offsets + 4 * r + 4)
        if last <= first or last - first > positions:
            return -((r << abi.STATUS_BITS) | abi.STATUS_LENGTH)
        for t in range(first, last):
            token = load_i32(token_ids + 4 * t)
            if token < 0 or token >= words:
                return -((r << abi.STATUS_BITS) | abi.STATUS_TOKEN)
        if adapters != 0 and load_i32(adapter_index + 4 * r) >= count:
            return -((r << abi.STATUS_BITS) | abi.STATUS_ADAPTER)
    return 0


@njit(**OPTIONS)
def encode(model, token_ids, offsets, rows, adapters, adapter_index, normalize, scratch, out):
    """Vectors of ``rows`` packed rows; 0, or a status as ``check`` gives it, before anything is written.

    token_ids int32 [T], offsets int32 [rows + 1], adapters 0 or an adapter table, adapter_index int32 [rows]
    (negative: the base), out float32 [rows, H].  ``scratch`` holds ``scratch_bytes`` for the longest row.
    """
    status = check(model, token_ids, offsets, rows, adapters, adapter_index)
    if status != 0:
        return status
    room = load_i64(model + BLOCK_AT)
    rank = 0
    if adapters != 0:
        rank = load_i64(adapters + ADAPTER_RANK_AT)
    row = 0
    while row < rows:
        end = row + 1
        start = load_i32(offsets + 4 * row)
        longest = load_i32(offsets + 4 * end) - start
        while end < rows and load_i32(offsets + 4 * end + 4) - start <= room:
            longest = max(longest, load_i32(offsets + 4 * end + 4) - load_i32(offsets + 4 * end))
            end += 1
        work, _ = workspace(model, load_i32(offsets + 4 * end) - start, longest, rank, scratch)
        _block(model, token_ids, offsets, row, end, adapters, adapter_index, normalize, work, out)
        row = end
    return 0
