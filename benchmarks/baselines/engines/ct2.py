"""CTranslate2 int8, one thread; pooling in numpy, which it leaves to the caller."""

from __future__ import annotations

from pathlib import Path

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines.engines.padded import pad, pool


class CTranslate2:
    """The encoder that ``TransformersConverter`` wrote to ``models/ctranslate2``."""

    def __init__(self, models: Path) -> None:
        """Open it."""
        self._encoder = ctranslate2.Encoder(
            str(models / "ctranslate2"), device="cpu", compute_type="int8", inter_threads=1, intra_threads=1
        )
        self.facts = {"version": ctranslate2.__version__, "compute_type": self._encoder.compute_type}

    def prepare(
        self, token_ids: NDArray[np.int32], offsets: NDArray[np.int32]
    ) -> tuple[ctranslate2.StorageView, ctranslate2.StorageView, NDArray]:
        """Padded ids, lengths and mask: the cheapest form of input its Python interface takes."""
        ids, mask = pad(token_ids, offsets, np.int32)
        views = (ctranslate2.StorageView.from_array(a) for a in (ids, np.diff(offsets).astype(np.int32)))
        return *views, mask

    def encode(self, prepared: tuple[ctranslate2.StorageView, ctranslate2.StorageView, NDArray]) -> NDArray[np.float32]:
        """Vectors [n, H] of one batch."""
        ids, lengths, mask = prepared
        return pool(np.asarray(self._encoder.forward_batch(ids, lengths).last_hidden_state), mask)


load = CTranslate2
