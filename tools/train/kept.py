"""Vectors that a bundle computes, kept in a folder: another fit of a head takes seconds, and one that was broken off goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_demist.format import safetensors
from tools.train.ood import Served

if TYPE_CHECKING:
    from edge_demist import EdgeDemist
    from edge_demist.format.specialist import Specialist

Floats = NDArray[np.float32]
AT_ONCE = 4096
"""Texts that are encoded between two files."""


class Kept:
    """Features of texts, as ``Served`` computes them; what costs time, the encoder's vectors, is read from ``folder`` and added to it."""

    def __init__(self, model: EdgeDemist, specialist: Specialist, task: str, folder: Path | None) -> None:
        self._served, self._folder = Served(model, specialist), folder
        self._place: dict[bytes, tuple[int, int]] = {}
        self._found: list[Floats] = []
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._name = f"{task}-{key_of(model, task)[:16]}"
        for file in sorted(folder.glob(f"{self._name}-*.npz")):
            with np.load(file, allow_pickle=False) as part:
                self._add(list(part["key"]), part["pooled"])

    def _add(self, keys: Sequence[bytes], pooled: Floats) -> None:
        self._place |= {bytes(key): (len(self._found), row) for row, key in enumerate(keys)}
        self._found.append(pooled)

    def __call__(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Pooled [n, hidden] and n-gram vectors."""
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=15).hexdigest().encode() for text in texts]
        new = [(key, text) for key, text in dict(zip(keys, texts, strict=True)).items() if key not in self._place]
        for begin in range(0, len(new), AT_ONCE):
            some = new[begin : begin + AT_ONCE]
            pooled = self._served.vectors([text for _, text in some])
            if self._folder is not None:
                np.savez(self._folder / f"{self._name}-{len(self._found):05d}.npz", key=np.array([key for key, _ in some]), pooled=pooled)
            self._add([key for key, _ in some], pooled)
        at = [self._place[key] for key in keys]
        grams = self._served.ngrams(texts)
        return np.stack([self._found[file][row] for file, row in at]) if at else np.zeros((0, 0), np.float32), grams

    def joined(self, texts: Sequence[str]) -> Floats:
        """Vectors and n-grams side by side."""
        return np.concatenate(self(texts), axis=1)


def key_of(model: EdgeDemist, task: str) -> str:
    """SHA-256 of all that the vectors depend on: encoder, tokenizer, adapter, normalizer."""
    metadata, adapter = safetensors.read(model.bundle.path / "specialists" / f"{task}.safetensors")
    _, base = safetensors.read(model.bundle.path / "weights.safetensors")
    found = hashlib.sha256(f"{model.bundle.files['tokenizer.safetensors'].sha256} {metadata.get('normalizer')}".encode())
    for tensors in (adapter, base):
        for name in sorted(tensors):
            if not name.startswith(("head.", "screen.", "ngrams.")):
                found.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return found.hexdigest()
