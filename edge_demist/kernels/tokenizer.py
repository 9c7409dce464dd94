# mypy: ignore-errors
"""Exact SentencePiece unigram encoding: identity normalisation, byte fallback, no dummy prefix.

Viterbi over a double-array trie (Aoe 1989), in the form of SentencePiece's ``EncodeOptimized``: one forward pass
keeps, per end position, the best score, where the best piece starts, and its id::

    text    e x a m p l e . c o m          node(s, c) = base[s] + c   if check[node] == s
    start   0 . . 0 . . . ...              value[node] >= 0: a piece ends here
    the way back from the last position writes the ids

Ties keep the piece found first, scores are float32 sums from the left: the same ids as SentencePiece on every
input.  As its ``identity`` normaliser does, a space becomes U+2581 and every invalid UTF-8 byte U+FFFD.
A character no piece covers costs ``unk_score`` and becomes one id a byte.
"""

from numba import njit

from edge_demist.kernels.simd import bits_to_f32, load_f32, load_i32, load_i64, load_u8, load_word, store_f32, store_i32, store_u8
from edge_demist.kernels.vectors import F32, OPTIONS
from edge_demist.native import abi

BASE_AT, CHECK_AT, VALUE_AT = 8 * abi.TRIE_BASE, 8 * abi.TRIE_CHECK, 8 * abi.TRIE_VALUE
SCORES_AT, UNK_AT, BYTES_AT = 8 * abi.SCORES, 8 * abi.UNK_SCORE, 8 * abi.BYTE_IDS_START
PREFIX_AT, PREFIX_COUNT_AT = 8 * abi.PREFIX_IDS, 8 * abi.PREFIX_COUNT
SUFFIX_AT, SUFFIX_COUNT_AT = 8 * abi.SUFFIX_IDS, 8 * abi.SUFFIX_COUNT

ONES = 0x0101010101010101
HIGH = -0x7F7F7F7F7F7F7F80  # 0x8080808080808080 as a signed number
SPACES = 0x2020202020202020


@njit(**OPTIONS)
def _is_plain(text, end):
    """Whether every byte is ASCII and none is a space: normalisation would change nothing."""
    p = text
    while p + 8 <= end:
        word = load_word(p)
        unlike_space = word ^ SPACES
        if (word | ((unlike_space - ONES) & ~unlike_space)) & HIGH != 0:
            return False
        p += 8
    while p < end:
        c = load_u8(p)
        if c >= 0x80 or c == 0x20:
            return False
        p += 1
    return True


@njit(**OPTIONS)
def _character(p, end):
    """Length of the valid UTF-8 character at ``p``, or 0 (RFC 3629: no overlong form, no surrogate)."""
    c = load_u8(p)
    if c < 0x80:
        return 1
    left = end - p
    c1 = load_u8(p + 1) if left >= 2 else 0
    if c < 0xC2 or c > 0xF4 or (c1 & 0xC0) != 0x80:
        return 0
    if c < 0xE0:
        return 2
    c2 = load_u8(p + 2) if left >= 3 else 0
    if (c2 & 0xC0) != 0x80:
        return 0
    if c < 0xF0:
        return 0 if (c == 0xE0 and c1 < 0xA0) or (c == 0xED and c1 >= 0xA0) else 3
    c3 = load_u8(p + 3) if left >= 4 else 0
    if (c3 & 0xC0) != 0x80 or (c == 0xF0 and c1 < 0x90) or (c == 0xF4 and c1 >= 0x90):
        return 0
    return 4


@njit(**OPTIONS)
def _put3(at, a, b, c):
    """Three bytes."""
    store_u8(at, a)
    store_u8(at + 1, b)
    store_u8(at + 2, c)


@njit(**OPTIONS)
def _normalize(text, end, out):
    """Space to U+2581, invalid byte to U+FFFD; returns the number of bytes written."""
    p, n = text, out
    while p < end:
        length = _character(p, end)
        if length == 0:
            _put3(n, 0xEF, 0xBF, 0xBD)
            n, p = n + 3, p + 1
        elif load_u8(p) == 0x20:
            _put3(n, 0xE2, 0x96, 0x81)
            n, p = n + 3, p + 1
        else:
            for k in range(length):
                store_u8(n + k, load_u8(p + k))
            n, p = n + length, p + length
    return n - out


@njit(**OPTIONS)
def _forward(table, text, n, nodes):
    """Best piece ending at each position; ``nodes``: 16 bytes a position: score, start (-1: none), id."""
    base, check, value = load_i64(table + BASE_AT), load_i64(table + CHECK_AT), load_i64(table + VALUE_AT)
    scores, unk_score = load_i64(table + SCORES_AT), bits_to_f32(load_i64(table + UNK_AT))
    root = load_i32(base)
    for k in range(n + 1):
        store_i32(nodes + 16 * k + 4, -1)
    store_f32(nodes, F32(0.0))
    p = 0
    while p < n:
        score = load_f32(nodes + 16 * p)
        c = load_u8(text + p)
        length = 1 if c < 0x80 else (2 if c < 0xE0 else (3 if c < 0xF0 else 4))
        covered = False
        state, step, q = 0, root, p
        while q < n:
            node = step + load_u8(text + q)
            if load_i32(check + 4 * node) != state:
                break
            state = node
            q += 1
            piece = load_i32(value + 4 * node)
            if piece >= 0:
                candidate = score + load_f32(scores + 4 * piece)
                end = nodes + 16 * q
                if load_i32(end + 4) == -1 or candidate > load_f32(end):
                    store_f32(end, candidate)
                    store_i32(end + 4, p)
                    store_i32(end + 8, piece)
                if q - p == length:
                    covered = True
            step = load_i32(base + 4 * node)
            if step < 0:
                break
        if not covered:
            candidate = score + unk_score
            end = nodes + 16 * (p + length)
            if load_i32(end + 4) == -1 or candidate > load_f32(end):
                store_f32(end, candidate)
                store_i32(end + 4, p)
                store_i32(end + 8, -1)
        p += length


@njit(**OPTIONS)
def _count(nodes, n):
    """Number of ids on the best path."""
    count, p = 0, n
    while p > 0:
        start = load_i32(nodes + 16 * p + 4)
        count += 1 if load_i32(nodes + 16 * p + 8) >= 0 else p - start
        p = start
    return count


@njit(**OPTIONS)
def _write(nodes, text, n, count, room, first_byte_id, out):
    """The first ``room`` of the path's ``count`` ids, written from the last to the first."""
    p, w = n, count
    while p > 0:
        start, piece = load_i32(nodes + 16 * p + 4), load_i32(nodes + 16 * p + 8)
        if piece >= 0:
            w -= 1
            if w < room:
                store_i32(out + 4 * w, piece)
        else:
            for k in range(p - 1, start - 1, -1):
                w -= 1
                if w < room:
                    store_i32(out + 4 * w, first_byte_id + load_u8(text + k))
        p = start


@njit(**OPTIONS)
def tokenize_row(table, text, n, max_tokens, special, out, scratch):
    """Ids of one string; returns how many.  ``special``: 1 puts prefix and suffix ids around the pieces.

    Scratch: 16 bytes for each of 3 n + 1 positions and 3 n bytes for the normalised text.
    """
    limit, prefix, suffix = max_tokens, 0, 0
    if special != 0:
        prefix, suffix = load_i64(table + PREFIX_COUNT_AT), load_i64(table + SUFFIX_COUNT_AT)
        limit = max(max_tokens - prefix - suffix, 0)
        for k in range(prefix):
            store_i32(out + 4 * k, load_i32(load_i64(table + PREFIX_AT) + 4 * k))
    nodes = scratch + ((3 * n + 71) & ~63)
    if not _is_plain(text, text + n):
        n = _normalize(text, text + n, scratch)
        text = scratch
    _forward(table, text, n, nodes)
    count = _count(nodes, n)
    kept = min(count, limit)
    _write(nodes, text, n, count, kept, load_i64(table + BYTES_AT), out + 4 * prefix)
    for k in range(suffix):
        store_i32(out + 4 * (prefix + kept + k), load_i32(load_i64(table + SUFFIX_AT) + 4 * k))
    return prefix + kept + suffix


@njit(**OPTIONS)
def tokenize(table, text, text_offsets, rows, max_tokens, special, token_ids, offsets, scratch):
    """Packed ids of ``rows`` strings; returns how many ids in all.

    text uint8 packed, text_offsets int64 [rows + 1], token_ids int32 with room for 3 ids a byte plus the special
    ids (or ``max_tokens`` a row), offsets int32 [rows + 1].  A failing check gives -(row << STATUS_BITS | status).
    """
    if load_i64(text_offsets) != 0:
        return -abi.STATUS_OFFSETS
    total = 0
    store_i32(offsets, 0)
    for r in range(rows):
        first, last = load_i64(text_offsets + 8 * r), load_i64(text_offsets + 8 * r + 8)
        if last < first:
            return -((r << abi.STATUS_BITS) | abi.STATUS_OFFSETS)
        total += tokenize_row(table, text + first, last - first, max_tokens, special, token_ids + 4 * total, scratch)
        store_i32(offsets + 4 * r + 4, total)
    return total
