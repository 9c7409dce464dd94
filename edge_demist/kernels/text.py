# mypy: ignore-errors
"""One string in one call, for the latency of a single item: from bytes to a vector, or to a specialist's probabilities."""

from numba import njit

from edge_demist.kernels import general
from edge_demist.kernels.encoder import HIDDEN_AT, encode
from edge_demist.kernels.head import DIM_AT, LABELS_AT, head_row
from edge_demist.kernels.ngrams import MAX_BYTES_AT, ngram_row
from edge_demist.kernels.simd import load_i64, store_i32
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


@njit(**OPTIONS)
def classify_text(model, tokenizer, ngram_table, head, text, length, max_tokens, scratch, out, adapters):
    """P(label) of one string under one specialist, float32 [labels]; the number of tokens, or a status as in ``encode``.

    ``ngram_table``: 0 where the head takes no n-grams.  Scratch: pooled vector, n-gram vector, logits, the n-grams' scratch,
    then that of ``encode_text``, in this order; ``HEAD_SCRATCH`` of ``edge_demist.native.abi`` holds what does not depend on the sizes.
    """
    pooled = (scratch + 63) & ~63
    features = pooled + 4 * load_i64(model + HIDDEN_AT)
    logits = features + 4 * load_i64(head + DIM_AT)
    ngram_scratch = logits + 4 * ((load_i64(head + LABELS_AT) + 48) & ~15)
    own = ngram_scratch
    if ngram_table != 0:
        own += 4 * load_i64(head + DIM_AT) + 4 * 256 + load_i64(ngram_table + MAX_BYTES_AT) + 64
    own = (own + 63) & ~63
    count = encode_text(model, tokenizer, text, length, max_tokens, 0, own, pooled, adapters)
    if count < 0:
        return count
    if ngram_table != 0:
        ngram_row(ngram_table, text, length, features, ngram_scratch)
    head_row(head, pooled, features, out, logits)
    return count


@njit(**OPTIONS)
def project_text(model, tokenizer, ngram_table, table, text, length, max_tokens, normalize, scratch, out, own_bytes):
    """General vector of one string, float32 [H]; the number of tokens, or a status as in ``encode``.

    Scratch: n-gram vector, the n-grams' scratch and that of ``project``, ``own_bytes`` together, then that of ``encode_text``.
    """
    features = (scratch + 63) & ~63
    dim = 4 * load_i64(table + general.DIM_AT)
    ngram_scratch = features + ((dim + 63) & ~63)
    projection_scratch = ngram_scratch + ((dim + 4 * 256 + load_i64(ngram_table + MAX_BYTES_AT) + 127) & ~63)
    own = (scratch + own_bytes + 63) & ~63
    count = encode_text(model, tokenizer, text, length, max_tokens, 0, own, out, 0)
    if count < 0:
        return count
    ngram_row(ngram_table, text, length, features, ngram_scratch)
    status = general.project(table, out, features, own + 64, own, 1, normalize, projection_scratch, out)
    return count if status == 0 else status
