"""Hashed character n-gram features of text bytes (definition in docs/explanation/architecture.md)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_demist.errors import BundleError, InputError
from edge_demist.format.manifest import NgramConfig
from edge_demist.format.ngram_table import NgramTable, table_of
from edge_demist.native import abi, arrays
from edge_demist.native import library as native

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.format.bundle import Bundle
    from edge_demist.format.screen import ScreenNet
    from edge_demist.native.library import Kernels

STRETCH = 256  # rows summed at a time in the kernel


class Ngrams:
    """An n-gram table at work.  Thread-safe."""

    def __init__(self, source: Bundle | NgramTable, kernels: Kernels | None = None) -> None:
        """Bind the mapped table of a bundle, or of a specialist that has its own.

        Raises:
            BundleError: the bundle has no n-gram table, or one of another shape.
            EngineUnavailableError: no library runs here.
        """
        if not isinstance(source, NgramTable):
            if source.ngrams is None:
                raise BundleError("this bundle has no n-gram table")
            source = table_of(source.ngrams, source.tensors)
        config, weight, scale = table_of(source.config, {"ngrams.weight": source.weight, "ngrams.scale": source.scale})
        self.kernels: Kernels = kernels if kernels is not None else native.load()
        NgramConfig.check(config)
        self.dim, self.max_bytes = config.dim, config.max_bytes
        self._kept = weight, scale
        table = np.zeros(abi.NGRAM_TABLE, np.int64)
        table[: abi.NGRAM_MAX_BYTES + 1] = (
            native.address(weight), native.address(scale), config.buckets, config.dim, config.min_n, config.max_n,
            config.max_bytes,
        )  # fmt: skip
        self._table = table
        self.table_address = native.address(table)
        self._local = threading.local()

    def encode_batch(self, texts: Sequence[bytes]) -> NDArray[np.float32]:
        """Features of many strings, float32 [n, dim]; bytes past ``max_bytes`` are left out."""
        return self.encode_packed(*arrays.packed(texts))

    def encode_packed(self, text: bytes, text_offsets: NDArray[np.int64]) -> NDArray[np.float32]:
        """``encode_batch`` of strings that lie in one piece of memory; ``text_offsets`` int64 [n + 1]."""
        text = arrays.text_bytes(text)
        text_offsets = arrays.row_offsets(text_offsets, np.int64, len(text))
        count = len(text_offsets) - 1
        out = np.empty((count, self.dim), np.float32)
        status = self.kernels.ngrams(
            self.table_address,
            native.bytes_address(text),
            native.address(text_offsets),
            count,
            self._scratch(),
            native.address(out),
        )
        if status != 0:
            raise InputError(f"row {-status >> abi.STATUS_BITS}: {abi.STATUS_TEXT[abi.STATUS_OFFSETS]}")
        return out

    def scores(
        self, texts: Sequence[bytes], weight: NDArray[np.float32], bias: NDArray[np.float32], nets: Sequence[ScreenNet] = ()
    ) -> NDArray[np.float32]:
        """Features times ``weight`` float32 [k, dim] plus ``bias`` float32 [k], then a score a net: float32 [n, k + nets].

        Raises:
            InputError: a weight, a bias or a net is made for other vectors.
        """
        text, text_offsets = arrays.packed(texts)
        weight = arrays.matrix(weight, "weight", self.dim)
        bias = arrays.matrix([bias], "bias", len(weight))[0]
        table = np.zeros((len(nets), abi.NET_TABLE), np.int64)
        for row, net in zip(table, nets, strict=True):
            if net.dim != self.dim:
                raise InputError(f"a net for vectors of {net.dim} numbers does not fit a table of {self.dim}")
            for n, (matrix, shift) in enumerate(zip(net.weights, net.biases, strict=True)):
                row[3 * n : 3 * n + 3] = (native.address(matrix), native.address(shift), len(shift))[: abi.NET_TABLE - 3 * n]
        out = np.empty((len(texts), len(bias) + len(nets)), np.float32)
        status = self.kernels.screen(
            self.table_address,
            native.address(weight),
            native.address(bias),
            len(bias),
            native.address(table),
            len(nets),
            native.bytes_address(text),
            native.address(text_offsets),
            len(texts),
            self._scratch(),
            native.address(out),
        )
        if status != 0:
            raise InputError(f"row {-status >> abi.STATUS_BITS}: {abi.STATUS_TEXT[abi.STATUS_OFFSETS]}")
        return out

    def _scratch(self) -> int:
        """Address of this thread's scratch memory."""
        if not hasattr(self._local, "address"):
            self._local.memory = native.aligned(8 * abi.NET_MAX_WIDTH + 8 * self.dim + 4 * STRETCH + self.max_bytes + 64)
            self._local.address = native.address(self._local.memory)
        return int(self._local.address)
