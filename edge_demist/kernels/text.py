# mypy: ignore-errors
"""One string from bytes to vector in one call, for the latency of a single item."""

from numba import njit

from edge_demist.kernels.encoder import encode
from edge_demist.kernels.simd import store_i32
from edge_demist.kernels.tokenizer import tokenize_row
from edge_demist.kernels.vectors import OPTIONS


@njit(**OPTIONS)
def encode_text(model, tokenizer, text, length, max_tokens, normalize, scratch, out, adapters):
    """Vector of one string, special ids included; the number of tokens, or a negative status as in ``encode``.

    Scratch: the ids (3 * length + 16 int32), the tokenizer's scratch, then the encoder's, in this order, each
    rounded up to 64 bytes.  ``adapters``: 0, or a table whose first adapter is used.
    """
    offsets = scratch
    index = scratch + 8
    token_ids = scratch + 64
    tokenizer_scratch = token_ids + ((12 * length + 127) & ~63)
    encoder_scratch = tokenizer_scratch + ((51 * length + 255) & ~63)
    count = tokenize_row(tokenizer, text, length, max_tokens, 1, token_ids, tokenizer_scratch)
    store_i32(offsets, 0)
    store_i32(offsets + 4, count)
    store_i32(index, 0)
    status = encode(model, token_ids, offsets, 1, adapters, index, normalize, encoder_scratch, out)
    return count if status == 0 else status
