"""General vectors through a bundle's learnt projection, by the compiled kernel."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from edge_demist.engines import tables
from edge_demist.errors import InputError
from edge_demist.format.general import width_of
from edge_demist.native import abi, arrays
from edge_demist.native import library as native

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.engines.native import NativeEngine
    from edge_demist.format.bundle import Bundle
    from edge_demist.format.general import General
    from edge_demist.native.library import Kernels
    from edge_demist.text.ngrams import Ngrams
    from edge_demist.text.tokenizer import Tokenizer


class Projection:
    """A projection at work.  Thread-safe."""

    def __init__(self, general: General, bundle: Bundle, ngrams: Ngrams, kernels: Kernels) -> None:
        """Bind mapped tensors that were checked."""
        self.hidden, self.ngrams, self._kernels = bundle.architecture.hidden_size, ngrams, kernels
        self._table = tables.general_table(general, bundle.architecture, ngrams.dim, bundle.tensors)
        self._room = abi.GENERAL_SCRATCH + 10 * abi.GENERAL_ROWS * width_of(self.hidden, ngrams.dim)
        self._local = threading.local()

    def vectors(
        self,
        pooled: NDArray[np.float32],
        ngrams: NDArray[np.float32],
        ids: NDArray[np.int32],
        offsets: NDArray[np.int32],
        *,
        normalize: bool,
    ) -> NDArray[np.float32]:
        """General vectors float32 [n, H].

        Args:
            pooled: float32 [n, H] of the base, not normalized.
            ngrams: float32 [n, dim].
            ids: int32 [T], all rows one after the other.
            offsets: int32 [n + 1].
            normalize: divide each vector by its Euclidean norm.

        Raises:
            InputError: shapes or ids that do not fit.
        """
        ids = arrays.whole(ids, np.int32, "token_ids")
        offsets = arrays.row_offsets(offsets, np.int32, len(ids))
        pooled = arrays.matrix(pooled, "pooled", self.hidden, len(offsets) - 1)
        ngrams = arrays.matrix(ngrams, "ngrams", self.ngrams.dim, len(pooled))
        out = np.empty_like(pooled)
        if not hasattr(self._local, "address"):
            self._local.memory = native.aligned(self._room)
            self._local.address = native.address(self._local.memory)
        status = self._kernels.project(
            self._table.address,
            native.address(pooled),
            native.address(ngrams),
            native.address(ids),
            native.address(offsets),
            len(pooled),
            int(normalize),
            self._local.address,
            native.address(out),
        )
        if status != 0:
            raise InputError(f"row {-status >> abi.STATUS_BITS}: the token ids are not those of this bundle")
        return out

    def vector(self, engine: NativeEngine, tokenizer: Tokenizer, text: bytes, max_tokens: int, *, normalize: bool) -> NDArray[np.float32]:
        """The vector float32 [H] of one string in one call of the kernels, with the bits of :meth:`vectors`."""
        text, limit = engine.text(text), arrays.limit_of(max_tokens, engine.architecture.max_positions)
        own, out = 2048 + 8 * self.ngrams.dim + self.ngrams.max_bytes + self._room, np.empty(self.hidden, np.float32)
        status = self._kernels.project_text(
            engine.model.address,
            tokenizer.table_address,
            self.ngrams.table_address,
            self._table.address,
            native.bytes_address(text),
            len(text),
            limit,
            int(normalize),
            engine.text_scratch(len(text) + own // 64 + 1, max(limit, tokenizer.special_count), 0),
            native.address(out),
            own,
        )
        if status < 0:
            engine.fail(status)
        return out
