"""The compiled engine: packed int8 encoder with adapters, no dependency but numpy."""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_demist.engines import shared, tables
from edge_demist.errors import InputError
from edge_demist.format.adapter import Adapter
from edge_demist.native import abi, arrays
from edge_demist.native import library as native

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from numpy.typing import NDArray

    from edge_demist.engines.tables import PackedAdapter, Table
    from edge_demist.format.bundle import Bundle
    from edge_demist.native.library import Kernels
    from edge_demist.text.ngrams import Ngrams
    from edge_demist.text.tokenizer import Tokenizer

BLOCK_TOKENS = 128
"""Tokens of one block of rows: its activations stay in the second-level cache."""
MAX_PACKED_ADAPTERS = 256
MAX_TEXT_BYTES = 1 << 20
"""Upper limit of the text of one ``encode_text`` or ``classify_text``: what a bundle may allow."""


class _Call(NamedTuple):
    """Checked arguments of one ``encode``, in the form that the kernel takes."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int32]
    table: Table | None
    adapter_index: NDArray[np.int32] | None
    normalize: bool
    out: NDArray[np.float32]


class NativeEngine:
    """Runs the kernels of one CPU level over mapped weights.

    Thread-safe: each thread has its own scratch memory, and the kernels run without the interpreter lock.
    """

    name = "native"

    def __init__(self, bundle: Bundle, threads: int = 1, kernels: Kernels | None = None) -> None:
        """Bind the weights of ``bundle``.

        Args:
            bundle: its tensors stay where they are mapped.
            threads: rows of a large call are split over this many threads.
            kernels: the compiled functions; None loads the best library for this CPU.

        Raises:
            EngineUnavailableError: no library runs here.
            BundleError: a tensor is not what the architecture needs.
        """
        self.kernels: Kernels = kernels if kernels is not None else native.load()
        self.architecture = bundle.architecture
        self.threads = max(1, threads)
        self.model: Table = tables.model_table(bundle.architecture, bundle.tensors, BLOCK_TOKENS)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._packed: dict[int, tuple[Adapter, PackedAdapter]] = {}
        self._tables: dict[tuple[int, ...], Table] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._pool_pid = 0

    @property
    def level(self) -> str:
        """CPU level of the kernels."""
        return self.kernels.level

    def encode(
        self,
        token_ids: NDArray[np.int32],
        offsets: NDArray[np.int32],
        adapters: Sequence[Adapter | None] = (),
        adapter_index: NDArray[np.int32] | None = None,
        normalize: bool = True,
    ) -> NDArray[np.float32]:
        """See ``Engine.encode``."""
        ids = arrays.whole(token_ids, np.int32, "token_ids")
        offsets = arrays.row_offsets(offsets, np.int32, len(ids))
        rows = len(offsets) - 1
        out = np.empty((rows, self.architecture.hidden_size), np.float32)
        table, index = self._adapters(adapters, adapter_index, rows)
        if rows == 0:
            return out
        call = _Call(ids, offsets, table, index, normalize, out)
        parts = self._split(offsets) if self.threads > 1 else [(0, rows)]
        if len(parts) == 1:
            self._run(call)
        else:
            self._run_parallel(parts, call)
        return out

    def encode_shared(
        self, token_ids: NDArray[np.int32], offsets: NDArray[np.int32], adapters: Sequence[Adapter | None], branches: shared.Branches
    ) -> NDArray[np.float32]:
        """Pooled vectors float32 [branches, H], not normalized, with the bits that ``encode`` gives for each row and adapter.

        Args:
            token_ids: as for ``encode``.
            offsets: as for ``encode``.
            adapters: those that have layers are numbered from 0.
            branches: made by ``shared.branches``.

        Raises:
            InputError: names the first row whose ids or length are out of range.
        """
        ids = arrays.whole(token_ids, np.int32, "token_ids")
        offsets = arrays.row_offsets(offsets, np.int32, len(ids))
        branches = shared.checked(branches, self.architecture.num_layers)
        out = np.empty((len(branches.table), self.architecture.hidden_size), np.float32)
        used = [a for a in adapters if a is not None and a.layers]
        table = self._table(used) if used else None
        parts = self._split(offsets) if self.threads > 1 else [(0, len(offsets) - 1)]

        def work(part: tuple[int, int]) -> None:
            a, b = part
            own = _Call(ids[offsets[a] : offsets[b]], np.ascontiguousarray(offsets[a : b + 1] - offsets[a]), table, None, False, out)
            self._run_shared(own, shared.part(branches, a, b), a)

        if len(parts) == 1:
            self._run_shared(_Call(ids, offsets, table, None, False, out), branches)
        else:
            list(self._executor().map(work, parts))
        return out

    def _run_shared(self, call: _Call, branches: shared.Branches, first_row: int = 0) -> None:
        """One call of the kernel."""
        ids, offsets, table, _, normalize, out = call
        longest = min(max(int((offsets[1:] - offsets[:-1]).max(initial=1)), 1), self.architecture.max_positions)
        rank = 0 if table is None else int(table.numbers[abi.ADAPTER_MAX_RANK])
        need, size = (max(BLOCK_TOKENS, longest), longest, rank), functools.partial(self.kernels.shared_scratch_bytes, self.model.address)
        status = self.kernels.encode_shared(
            self.model.address,
            native.address(ids),
            native.address(offsets),
            len(offsets) - 1,
            native.address(branches.table),
            native.address(branches.starts),
            len(out),
            0 if table is None else table.address,
            int(normalize),
            *need[:2],
            self._memory("shared", need, size),
            native.address(out),
        )
        if status != 0:
            self.fail(status, first_row)

    def encode_text(
        self,
        tokenizer: Tokenizer,
        text: bytes,
        max_tokens: int | None = None,
        adapter: Adapter | None = None,
        normalize: bool = True,
    ) -> NDArray[np.float32]:
        """One string from bytes to its vector, float32 [H], in one call of the kernels: the path of least latency.

        Prefix and suffix ids are put around the pieces; the result has the bits that ``Tokenizer.encode_batch`` and
        ``encode`` would give.

        Args:
            tokenizer: made over the same bundle.
            text: any bytes, already normalized.
            max_tokens: cut the row to this many tokens; at most, and by default, ``max_positions``.
            adapter: None for the base alone.
            normalize: divide by the Euclidean norm.

        Raises:
            InputError: the text has no token at all (an empty string without special ids).
        """
        text = self.text(text)
        limit = arrays.limit_of(max_tokens, self.architecture.max_positions)
        table = None if adapter is None or not adapter.layers else self._table((adapter,))
        rank = 0 if table is None else int(table.numbers[abi.ADAPTER_MAX_RANK])
        out = np.empty(self.architecture.hidden_size, np.float32)
        status = self.kernels.encode_text(
            self.model.address,
            tokenizer.table_address,
            native.bytes_address(text),
            len(text),
            limit,
            int(normalize),
            self.text_scratch(len(text), max(limit, tokenizer.special_count), rank),
            native.address(out),
            0 if table is None else table.address,
        )
        if status < 0:
            self.fail(status)
        return out

    def classify_text(
        self, tokenizer: Tokenizer, ngrams: Ngrams | None, head: Table, text: bytes, max_tokens: int, adapter: Adapter
    ) -> tuple[NDArray[np.float32], int]:
        """One string from bytes to P(label or subclass) in one call of the kernels, with the bits of the batch.

        Args:
            tokenizer: made over the same bundle.
            ngrams: made over the same bundle; needed by a head that takes n-grams.
            head: made by ``tables.head_table`` for this bundle.
            text: any bytes, already normalized.
            max_tokens: cut the row to this many tokens.
            adapter: the specialist's.

        Returns:
            A probability a row of the head, float32 [rows], and the number of tokens read.

        Raises:
            InputError: the text has no token at all, or the head is made for other vectors.
        """
        text = self.text(text)
        hidden, limit = self.architecture.hidden_size, arrays.limit_of(max_tokens, self.architecture.max_positions)
        table = self._table((adapter,)) if adapter.layers else None
        rank = 0 if table is None else int(table.numbers[abi.ADAPTER_MAX_RANK])
        labels, dim = int(head.numbers[abi.HEAD_LABELS]), int(head.numbers[abi.HEAD_DIM])
        ngrams = ngrams if dim else None
        if int(head.numbers[abi.HEAD_HIDDEN]) != hidden or dim != (ngrams.dim if ngrams is not None else 0):
            raise InputError(f"a head for vectors of {int(head.numbers[abi.HEAD_HIDDEN])} and n-grams of {dim} numbers does not fit")
        own = abi.HEAD_SCRATCH + 4 * (hidden + labels) + 8 * dim + (0 if ngrams is None else ngrams.max_bytes)
        out = np.empty(labels, np.float32)
        tokens = self.kernels.classify_text(
            self.model.address,
            tokenizer.table_address,
            0 if ngrams is None else ngrams.table_address,
            head.address,
            native.bytes_address(text),
            len(text),
            limit,
            self.text_scratch(len(text) + own // 64 + 1, max(limit, tokenizer.special_count), rank),
            native.address(out),
            0 if table is None else table.address,
        )
        if tokens < 0:
            self.fail(tokens)
        return out, tokens

    def text(self, text: bytes) -> bytes:
        """The text of a single call, whose scratch memory grows with it."""
        text = arrays.text_bytes(text)
        if len(text) > MAX_TEXT_BYTES:
            raise InputError(f"a text of {len(text)} bytes; at most {MAX_TEXT_BYTES} in one call: cut it, or encode its tokens")
        return text

    def text_scratch(self, length: int, tokens: int, rank: int) -> int:
        """Address of this thread's scratch memory for ``encode_text``; see ``kernels.text`` for its layout."""

        def size(length: int, tokens: int, rank: int) -> int:
            return 64 * length + 1024 + self.kernels.scratch_bytes(self.model.address, tokens, tokens, rank)

        return self._memory("text", (max(length, 1024), tokens, rank), size)

    def _memory(self, kind: str, need: tuple[int, int, int], size: Callable[[int, int, int], int]) -> int:
        """Address of this thread's scratch memory, one for all kinds of calls, grown when one needs more."""
        local = self._local
        had: tuple[int, int, int] | None = getattr(local, kind, None)
        if had is None or need[0] > had[0] or need[1] > had[1] or need[2] > had[2]:
            had = had or need
            room = max(need[0], had[0]), max(need[1], had[1]), max(need[2], had[2])
            least = size(*room)
            if len(getattr(local, "memory", ())) < least:
                local.__dict__.clear()  # the old one is free before the new one is made
                local.memory = native.aligned(least)
                local.address = native.address(local.memory)
            setattr(local, kind, room)
        address: int = local.address
        return address

    def _run(self, call: _Call, first_row: int = 0) -> None:
        """One call of the kernel."""
        ids, offsets, table, index, normalize, out = call
        longest = len(ids) if len(offsets) == 2 else int((offsets[1:] - offsets[:-1]).max())
        longest = min(max(longest, 1), self.architecture.max_positions)
        tokens = max(min(len(ids), BLOCK_TOKENS), longest)
        rank = 0 if table is None else int(table.numbers[abi.ADAPTER_MAX_RANK])
        status = self.kernels.encode(
            self.model.address,
            native.address(ids),
            native.address(offsets),
            len(offsets) - 1,
            0 if table is None else table.address,
            0 if index is None else native.address(index),
            int(normalize),
            self._memory("rows", (tokens, longest, rank), self._row_scratch),
            native.address(out),
        )
        if status != 0:
            self.fail(status, first_row)

    def _row_scratch(self, tokens: int, longest: int, rank: int) -> int:
        """Bytes of scratch for blocks of ``tokens`` tokens."""
        return self.kernels.scratch_bytes(self.model.address, tokens, longest, rank)

    def fail(self, status: int, first_row: int = 0) -> None:
        """Turn a kernel's status into the error it stands for.

        Raises:
            InputError: always (a ValueError).
        """
        row, code = -status >> abi.STATUS_BITS, -status & ((1 << abi.STATUS_BITS) - 1)
        arch = self.architecture
        text = abi.STATUS_TEXT.get(code, f"unknown status {status}")
        raise InputError(f"row {first_row + row}: {text.format(max_positions=arch.max_positions, vocab_size=arch.vocab_size)}")

    # ---- adapters ---------------------------------------------------------------------------------------------

    def _adapters(
        self, adapters: Sequence[Adapter | None], index: NDArray[np.int32] | None, rows: int
    ) -> tuple[Table | None, NDArray[np.int32] | None]:
        """The adapter table of a call and each row's index in it (-1: the base)."""
        if index is not None:
            index = arrays.whole(index, np.int32, "adapter_index", rows)
            if rows and int(index.max()) >= len(adapters):
                row = int(np.argmax(index >= len(adapters)))
                raise InputError(f"row {row}: adapter {int(index[row])} of {len(adapters)}")
        used = [a for a in adapters if a is not None and a.layers]
        if not used:
            return None, None
        if index is None:
            if len(adapters) != 1:
                raise InputError("adapter_index is needed when there is more than one adapter")
            index = np.zeros(rows, np.int32)
        if len(used) != len(adapters):
            place = np.full(len(adapters) + 1, -1, np.int32)
            known = [i for i, a in enumerate(adapters) if a is not None and a.layers]
            place[known] = np.arange(len(known), dtype=np.int32)
            index = place[np.maximum(index, -1)]
        return self._table(used), index

    def _table(self, adapters: Sequence[Adapter]) -> Table:
        """Packed form of these adapters, kept for the next call."""
        key = tuple(map(id, adapters))
        table = self._tables.get(key)
        if table is not None:
            return table
        with self._lock:
            if len(self._packed) + len(adapters) > MAX_PACKED_ADAPTERS:
                self._packed.clear()
                self._tables.clear()
            packed = []
            for adapter in adapters:
                if id(adapter) not in self._packed:
                    self._packed[id(adapter)] = (adapter, tables.pack_adapter(adapter, self.architecture))
                packed.append(self._packed[id(adapter)][1])
            table = tables.adapter_table(packed)
            if len(self._tables) >= MAX_PACKED_ADAPTERS:
                self._tables.clear()
            self._tables[key] = table
            return table

    # ---- threads ----------------------------------------------------------------------------------------------

    def _split(self, offsets: NDArray[np.int32]) -> list[tuple[int, int]]:
        """Row ranges of about equal token counts, at most one a thread."""
        total = int(offsets[-1])
        count = min(self.threads, max(1, total // BLOCK_TOKENS))
        cuts = np.searchsorted(offsets, [total * i // count for i in range(count + 1)])
        edges = sorted({0, len(offsets) - 1, *map(int, cuts[1:-1])})
        return list(itertools.pairwise(edges))

    def _run_parallel(self, parts: list[tuple[int, int]], call: _Call) -> None:
        """Each range of rows on its own thread; the first failing row's error wins."""
        ids, offsets, table, index, normalize, out = call

        def work(part: tuple[int, int]) -> None:
            a, b = part
            own = np.ascontiguousarray(offsets[a : b + 1] - offsets[a])
            rows_index = None if index is None else index[a:b]
            self._run(_Call(ids[offsets[a] : offsets[b]], own, table, rows_index, normalize, out[a:b]), a)

        list(self._executor().map(work, parts))

    def _executor(self) -> ThreadPoolExecutor:
        """The thread pool, made anew after a fork."""
        from concurrent.futures import ThreadPoolExecutor  # brings logging along: not for a start on one thread

        with self._lock:
            if self._pool is None or self._pool_pid != os.getpid():
                self._pool, self._pool_pid = ThreadPoolExecutor(self.threads, thread_name_prefix="edge-demist"), os.getpid()
            return self._pool
