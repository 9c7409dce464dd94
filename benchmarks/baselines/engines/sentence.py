"""sentence-transformers all-MiniLM-L6-v2 with a linear head, as its users write it; one thread.

The head has random weights: only its time counts here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sentence_transformers
import torch
from numpy.typing import NDArray

from benchmarks.baselines.engines.padded import weights_folder

CLASSES = 26


class Sentence:
    """encode, then argmax of a matrix product."""

    def __init__(self, models: Path) -> None:
        """Load the package's weights."""
        torch.set_num_threads(1)
        self._model = sentence_transformers.SentenceTransformer(str(weights_folder()), device="cpu", local_files_only=True)
        self._head = np.random.default_rng(0).standard_normal((384, CLASSES)).astype(np.float32)
        self.facts = {"version": sentence_transformers.__version__, "torch": torch.__version__}

    def prepare(self, texts: list[str]) -> list[str]:
        """Input in the form that ``encode`` takes."""
        return texts

    def encode(self, prepared: list[str]) -> NDArray[np.intp]:
        """Labels of one batch."""
        vectors: NDArray[np.float32] = self._model.encode(prepared, show_progress_bar=False)
        labels: NDArray[np.intp] = (vectors @ self._head).argmax(1)
        return labels


load = Sentence
