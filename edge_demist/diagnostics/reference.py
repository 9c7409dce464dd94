"""The committed reference: strings, their ids and their vectors, bit for bit (``edge_demist/assets/reference.safetensors``).

``tools/kernels/reference.py`` writes it. It holds two parts: ``tiny.*`` for the bundle made in code, and ``bundle.*`` for
the shipped bundle, bound to it by the bundle's id.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist.diagnostics import tiny_model
from edge_demist.engines.general import Projection
from edge_demist.engines.native import NativeEngine
from edge_demist.errors import BundleError
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.general import read_general
from edge_demist.format.safetensors import Tensor
from edge_demist.native.library import Kernels
from edge_demist.text.ngrams import Ngrams
from edge_demist.text.tokenizer import Tokenizer

PATH = Path(__file__).resolve().parent.parent / "assets" / "reference.safetensors"
BUNDLE_STRINGS = 16
"""Strings of the shipped bundle's part."""


@dataclass(frozen=True)
class Reference:
    """The file's content."""

    tensors: Mapping[str, Tensor]
    bundle_id: str

    def texts(self) -> list[bytes]:
        """The strings, hostile bytes among them."""
        raw, ends = self.tensors["texts"].tobytes(), self.tensors["text_offsets"]
        return [raw[int(a) : int(b)] for a, b in itertools.pairwise(ends)]

    def part(self, name: str) -> dict[str, Tensor]:
        """The expected tensors of ``tiny`` or ``bundle``, without the prefix."""
        return {key.partition(".")[2]: value for key, value in self.tensors.items() if key.startswith(f"{name}.")}


def read(path: Path = PATH) -> Reference:
    """Read the file.

    Raises:
        BundleError: missing or malformed.
    """
    try:
        metadata, tensors = safetensors.read(path)
    except OSError as error:
        raise BundleError(f"{path.name}: {error.strerror}") from None
    if "texts" not in tensors or "text_offsets" not in tensors:
        raise BundleError(f"{path.name}: texts are missing")
    return Reference(tensors, metadata.get("bundle_id", ""))


def compute(
    bundle: Bundle, kernels: Kernels, texts: Sequence[bytes], *, with_adapters: bool, single: bool = True
) -> dict[str, NDArray[np.generic]]:
    """What one kernel level gives for ``texts``.

    Returns:
        ``ids`` int32 [T], ``offsets`` int32 [n + 1], ``vectors`` float32 [n, H] (normalised, all rows in one call),
        with ``single`` also that: float32 [n, H] (a call a row), ``ngrams`` float32 [n, dim] if the bundle has a table, ``general``
        float32 [n, H] if it has a projection too, and with ``with_adapters`` the tiny bundle's own ``adapted`` float32 [n, H] (rows to
        base and adapters in turn).
    """
    tokenizer, engine = Tokenizer(bundle, kernels), NativeEngine(bundle, kernels=kernels)
    ids, offsets = tokenizer.encode_batch(texts, max_tokens=bundle.limits.max_tokens, add_special_tokens=True)
    rows = [ids[offsets[i] : offsets[i + 1]] for i in range(len(texts))]
    found: dict[str, NDArray[np.generic]] = {
        "ids": ids,
        "offsets": offsets,
        "vectors": engine.encode(ids, offsets),
    }
    if single:
        found["single"] = np.concatenate([engine.encode(row, np.array([0, len(row)], np.int32), normalize=False) for row in rows])
    if bundle.ngrams is not None:
        ngrams = Ngrams(bundle, kernels)
        found["ngrams"] = grams = ngrams.encode_batch(texts)
        general = tiny_model.general() if with_adapters else read_general(bundle)
        if general is not None:
            pooled = engine.encode(ids, offsets, normalize=False)
            projection = Projection(general, bundle, ngrams, kernels)
            found["general"] = projection.vectors(pooled, grams, ids, offsets, normalize=True)
    if with_adapters:
        turn = (np.arange(len(texts)) % 3 - 1).astype(np.int32)
        found["adapted"] = engine.encode(ids, offsets, tiny_model.adapters(), turn, normalize=False)
    return found


def differences(expected: Mapping[str, Tensor], found: Mapping[str, NDArray[np.generic]]) -> list[str]:
    """Names of the parts whose bytes differ, with how far; empty if all bits agree."""
    wrong = []
    for name in sorted(set(expected) | set(found)):
        want, have = expected.get(name), found.get(name)
        if want is None or have is None or want.shape != have.shape or want.dtype != have.dtype:
            wrong.append(f"{name}: of another shape")
        elif want.tobytes() != have.tobytes():
            bad = int(np.count_nonzero(np.ascontiguousarray(want) != have))
            far = float(np.max(np.abs(want.astype(np.float64) - have.astype(np.float64))))
            wrong.append(f"{name}: {bad} of {want.size} values differ, by {far:.2g} at most")
    return wrong
