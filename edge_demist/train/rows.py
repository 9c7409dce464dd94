"""Rows to train on: texts normalized as served, packed as tokens and bytes, in batches of few shapes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_demist.normalizers import NORMALIZERS, to_bytes


@dataclasses.dataclass(frozen=True)
class Task:
    """What a specialist answers and how its text is prepared."""

    name: str
    normalizer: str
    kind: str
    max_tokens: int
    positive_labels: tuple[str, ...] = ()


@dataclasses.dataclass
class Rows:
    """Packed texts: token ids, bytes and (optionally) labels.

    ``ids`` int32 [tokens], ``cu`` int64 [n + 1]; ``data`` uint8 [bytes], ``off`` int64 [n + 1]; ``y`` float32 [n, C] or int64 [n].
    """

    ids: NDArray[np.int32]
    cu: NDArray[np.int64]
    data: NDArray[np.uint8]
    off: NDArray[np.int64]
    y: NDArray[np.int64] | NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.cu) - 1

    @property
    def labels(self) -> NDArray[np.int64]:
        """Label numbers, int64 [n] (ValueError where the rows have none)."""
        if self.y is None:
            raise ValueError("rows without labels")
        return self.y.astype(np.int64, copy=False)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per row."""
        return np.diff(self.cu)

    def take(self, index: NDArray[np.int64]) -> Rows:
        """The rows of the given numbers, in that order."""

        def cut(values: NDArray[Any], ends: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
            parts = [values[ends[i] : ends[i + 1]] for i in index]
            kept = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
            return np.concatenate(parts) if parts else values[:0], kept

        return Rows(*cut(self.ids, self.cu), *cut(self.data, self.off), None if self.y is None else self.y[index])


class Tokenizes(Protocol):
    """What packing needs of a tokenizer: SentencePiece's, or ``shipped.BundleTokenizer``."""

    def bos_id(self) -> int:
        """Id of the prefix token."""

    def encode(self, texts: list[str], /, *, num_threads: int = 1) -> Any:
        """Ids of each text, without the prefix."""


def pack(
    texts: Sequence[str],
    tokenizer: Tokenizes,
    max_tokens: int,
    y: NDArray[np.int64] | NDArray[np.float32] | None = None,
) -> Rows:
    """Tokenize normalized texts: ``<s>`` + pieces, cut to ``max_tokens``; and keep their bytes for the n-grams."""
    bos = tokenizer.bos_id()
    id_rows: list[NDArray[np.int32]] = []
    lengths = np.zeros(len(texts) + 1, np.int64)
    for begin in range(0, len(texts), 65536):
        for row in tokenizer.encode(list(texts[begin : begin + 65536]), num_threads=2):
            cut = row[: max_tokens - 1]
            id_rows.append(np.array([bos, *cut], np.int32))
            lengths[len(id_rows)] = len(cut) + 1
    raw = [to_bytes(t)[:8192] for t in texts]
    off = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(r) for r in raw], out=off[1:])
    data = np.frombuffer(b"".join(raw) or b"\0", np.uint8)
    ids = np.concatenate(id_rows) if id_rows else np.zeros(0, np.int32)
    return Rows(ids, np.cumsum(lengths), data, off, y)


def normalized(texts: Sequence[str], normalizer: str) -> list[str]:
    """Apply a named normalizer to every text."""
    function = NORMALIZERS[normalizer]
    return [function(str(t)) for t in texts]


WIDTHS = (3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 256, 512)
"""Padded row lengths of training batches."""


def width_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The padded length of each row: the next of ``WIDTHS``."""
    return np.array(WIDTHS)[np.searchsorted(WIDTHS, lengths)]


def batches(lengths: NDArray[np.int64], token_budget: int, rng: np.random.Generator, mega: int = 32) -> Iterator[NDArray[np.int64]]:
    """One shuffled epoch of row numbers, rows of similar length together.

    Every batch of padded length w has exactly ``token_budget // w`` rows, so that only a few shapes occur: oneDNN compiles a
    kernel a shape, and free shapes spend more time in its compiler than in the kernels. Rows left over go to the next width;
    the last batch of a chunk is filled by repeating rows.
    """
    order = rng.permutation(len(lengths))
    rows_per_chunk = max(1, int(mega * token_budget / max(lengths.mean(), 1.0)))
    for begin in range(0, len(order), rows_per_chunk):
        chunk = order[begin : begin + rows_per_chunk]
        widths = width_of(lengths[chunk])
        cuts = []
        rest = np.empty(0, np.int64)
        for width in np.unique(widths):
            rows = np.concatenate([rest, chunk[widths == width]])
            size = max(1, token_budget // int(width))
            full = len(rows) // size * size
            cuts += [rows[i : i + size] for i in range(0, full, size)]
            rest = rows[full:]
        if len(rest):
            size = max(1, token_budget // int(width_of(lengths[rest]).max()))
            cuts.append(np.resize(rest, size))
        for k in rng.permutation(len(cuts)):
            yield cuts[k]


def in_order(lengths: NDArray[np.int64], token_budget: int) -> Iterator[NDArray[np.int64]]:
    """Every row once, rows of similar length together (for evaluation)."""
    order = np.argsort(lengths, kind="stable")
    begin = 0
    while begin < len(order):
        end = begin + 1
        while end < len(order) and (end + 1 - begin) * int(lengths[order[end]]) <= token_budget:
            end += 1
        yield order[begin:end]
        begin = end


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
