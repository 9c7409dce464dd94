# mypy: ignore-errors
"""The encoder for several specialists of the same rows: layers below a specialist's first adapter run once.

::

    layer     0         1         2         pool
    base   x ----+--> x ----+--> x ----+--> base vector          the trunk: every row once
                 |          |          |
                 |          |          +--> x, adapter C --->    a branch leaves the trunk within the first layer that its
                 |          +--> x, adapter B ---------->        adapter changes, with a copy of x and of the base's q, k
                 +--> x, adapter A --------------------->        and v, to which the deltas of its adapter are added

Branches that leave at one layer are packed together, one adapter after the other, in blocks as ``encode`` makes them.  Every row is
worked on alone, so a vector has the bits of a call for its adapter alone.
"""

from numba import njit

from edge_demist.kernels.encoder import (
    ADAPTER_BYTES,
    ADAPTER_COUNT_AT,
    ADAPTER_HEADER_BYTES,
    ADAPTER_RANK_AT,
    BLOCK_AT,
    EPS_AT,
    LAYERS_AT,
    NORM_WEIGHT_AT,
    _after_heads,
    _embed,
    _heads_spec,
    _layer,
    _norm,
    _pool,
    check,
    workspace,
)
from edge_demist.kernels.linear import add_to_heads, linear_heads
from edge_demist.kernels.simd import bits_to_f32, load, load_i32, load_i64, store, store_i32, store_i64
from edge_demist.kernels.vectors import OPTIONS
from edge_demist.native import abi


@njit(**OPTIONS)
def shared_scratch_bytes(model, tokens, longest, rank):
    """Bytes of scratch for blocks of ``tokens`` tokens: cursors, offsets of a branch block, trunk, branches."""
    _, trunk_end = workspace(model, tokens, longest, 0, 0)
    _, branch_end = workspace(model, tokens, longest, rank, 0)
    return 8 * load_i64(model + LAYERS_AT) + 8 * tokens + trunk_end + branch_end + 2048


@njit(**OPTIONS)
def _check_branches(rows, branches, starts, layers, adapters, outputs):
    """0, or a status: branches int32 [n, 3] of (row, adapter, output) that rise by row within each layer."""
    count = 0
    if adapters != 0:
        count = load_i64(adapters + ADAPTER_COUNT_AT)
    if load_i32(starts) != 0:
        return -abi.STATUS_BRANCH
    for layer in range(layers + 1):
        first, last = load_i32(starts + 4 * layer), load_i32(starts + 4 * layer + 4)
        if last < first:
            return -abi.STATUS_BRANCH
        before = 0
        for b in range(first, last):
            row, adapter, output = load_i32(branches + 12 * b), load_i32(branches + 12 * b + 4), load_i32(branches + 12 * b + 8)
            if row < before or row >= rows or output < 0 or output >= outputs:
                return -abi.STATUS_BRANCH
            if layer < layers and (adapter < 0 or adapter >= count):
                return -((row << abi.STATUS_BITS) | abi.STATUS_ADAPTER)
            before = row
    return 0


@njit(**OPTIONS)
def _copy_row(trunk, first, work, at, count):
    """Tokens of one row from the trunk to a branch: x, and the base's q, k and v by head."""
    line = 4 * trunk.hidden
    for k in range(0, count * line, 64):
        store(work.x + at * line + k, load(trunk.x + first * line + k))
    size = 4 * trunk.head_size
    for head in range(3 * trunk.heads):
        source = trunk.heads_out + (head * trunk.tokens + first) * size
        target = work.heads_out + (head * work.tokens + at) * size
        for k in range(0, count * size, 64):
            store(target + k, load(source + k))


@njit(**OPTIONS)
def _branch_block(model, number, offsets, start, branches, chosen, count, adapters, normalize, trunk, work, local, out):
    """``count`` branches that leave within layer ``number``, to their vectors; ``local`` int32: their offsets."""
    layers = load_i64(model + LAYERS_AT)
    at = 0
    for n in range(count):
        branch = branches + 12 * load_i32(chosen + 4 * n)
        row = load_i32(branch)
        begin = load_i32(offsets + 4 * row)
        tokens = load_i32(offsets + 4 * row + 4) - begin
        _copy_row(trunk, begin - start, work, at, tokens)
        address = adapters + ADAPTER_HEADER_BYTES + load_i32(branch + 4) * layers * 4 * ADAPTER_BYTES
        for t in range(at, at + tokens):
            store_i64(work.row_adapter + 8 * t, address)
        store_i32(local + 4 * n, at)
        at += tokens
    store_i32(local + 4 * count, at)
    add_to_heads(_heads_spec(model, number, work.hidden), work.x, work)
    _after_heads(model, number, local, 0, count, work)
    for layer in range(number + 1, layers):
        _layer(model, layer, local, 0, count, work)
    for n in range(count):
        begin = load_i32(local + 4 * n)
        target = out + 4 * load_i32(branches + 12 * load_i32(chosen + 4 * n) + 8) * work.hidden
        _pool(work, begin, load_i32(local + 4 * n + 4) - begin, normalize, target)


@njit(**OPTIONS)
def _branches(model, number, offsets, start, branches, first, last, adapters, normalize, trunk, room, branch_scratch, local, chosen, out):
    """The branches first .. last of a block, which leave within layer ``number``, in blocks of at most ``room`` tokens or one longer row.

    One adapter after the other, so that rows of one adapter lie together.
    """
    rank, count = load_i64(adapters + ADAPTER_RANK_AT), load_i64(adapters + ADAPTER_COUNT_AT)
    adapter, b = 0, first
    while adapter < count:
        picked, tokens, longest = 0, 0, 0
        while adapter < count:
            if b == last:
                adapter, b = adapter + 1, first
                continue
            if load_i32(branches + 12 * b + 4) == adapter:
                row = load_i32(branches + 12 * b)
                own = load_i32(offsets + 4 * row + 4) - load_i32(offsets + 4 * row)
                if picked > 0 and tokens + own > room:
                    break
                store_i32(chosen + 4 * picked, b)
                picked, tokens, longest = picked + 1, tokens + own, max(longest, own)
            b += 1
        if picked > 0:
            work, _ = workspace(model, tokens, longest, rank, branch_scratch)
            _branch_block(model, number, offsets, start, branches, chosen, picked, adapters, normalize, trunk, work, local, out)


@njit(**OPTIONS)
def _trunk(model, token_ids, offsets, row, end, branches, starts, cursors, adapters, normalize, trunk, branch_scratch, local, chosen, out):
    """The rows row .. end: the trunk as far as a branch needs it, and all branches."""
    start = load_i32(offsets + 4 * row)
    layers, room = load_i64(model + LAYERS_AT), load_i64(model + BLOCK_AT)
    deepest = -1
    for layer in range(layers + 1):
        b = load_i64(cursors + 8 * layer)
        if b < load_i32(starts + 4 * layer + 4) and load_i32(branches + 12 * b) < end:
            deepest = layer
    if deepest < 0:
        return
    for r in range(row, end):
        first = load_i32(offsets + 4 * r)
        _embed(model, token_ids + 4 * first, load_i32(offsets + 4 * r + 4) - first, first - start, trunk)
    _norm(model + NORM_WEIGHT_AT, trunk, bits_to_f32(load_i64(model + EPS_AT)))
    for layer in range(deepest + 1):
        first = load_i64(cursors + 8 * layer)
        last, all_of_layer = first, load_i32(starts + 4 * layer + 4)
        while last < all_of_layer and load_i32(branches + 12 * last) < end:
            last += 1
        store_i64(cursors + 8 * layer, last)
        if layer < layers:
            linear_heads(_heads_spec(model, layer, trunk.hidden), trunk.x, trunk)
            if first < last:
                _branches(
                    model, layer, offsets, start, branches, first, last, adapters, normalize, trunk, room, branch_scratch,
                    local, chosen, out,
                )  # fmt: skip
            if layer < deepest:
                _after_heads(model, layer, offsets, row, end, trunk)
        else:
            for b in range(first, last):
                at = load_i32(branches + 12 * b)
                begin = load_i32(offsets + 4 * at)
                count = load_i32(offsets + 4 * at + 4) - begin
                _pool(trunk, begin - start, count, normalize, out + 4 * load_i32(branches + 12 * b + 8) * trunk.hidden)


@njit(**OPTIONS)
def encode_shared(model, token_ids, offsets, rows, branches, starts, outputs, adapters, normalize, tokens, longest, scratch, out):
    """Vectors float32 [outputs, H] of branches over ``rows`` packed rows; 0, or a status before anything is written.

    branches int32 [n, 3]: row, adapter, output; first those that leave the trunk before layer 0, then layer 1 and so on, last
    those that take the base alone; starts int32 [layers + 2]: where each layer's begin.  Scratch: ``shared_scratch_bytes`` of
    ``tokens`` (the most in a block: the block size or the longest row) and ``longest``.
    """
    layers = load_i64(model + LAYERS_AT)
    status = check(model, token_ids, offsets, rows, 0, 0)
    if status == 0:
        status = _check_branches(rows, branches, starts, layers, adapters, outputs)
    if status != 0:
        return status
    cursors = (scratch + 63) & ~63
    local = cursors + 8 * (layers + 1)
    chosen = local + 4 * (tokens + 2)
    own = chosen + 4 * (tokens + 2)
    _, branch_scratch = workspace(model, tokens, longest, 0, own)
    for layer in range(layers + 1):
        store_i64(cursors + 8 * layer, load_i32(starts + 4 * layer))
    room = load_i64(model + BLOCK_AT)
    row = 0
    while row < rows:
        end = row + 1
        start = load_i32(offsets + 4 * row)
        most = load_i32(offsets + 4 * end) - start
        while end < rows and load_i32(offsets + 4 * end + 4) - start <= room:
            most = max(most, load_i32(offsets + 4 * end + 4) - load_i32(offsets + 4 * end))
            end += 1
        trunk, _ = workspace(model, load_i32(offsets + 4 * end) - start, most, 0, own)
        _trunk(
            model, token_ids, offsets, row, end, branches, starts, cursors, adapters, normalize, trunk, branch_scratch,
            local, chosen, out,
        )  # fmt: skip
        row = end
    return 0
