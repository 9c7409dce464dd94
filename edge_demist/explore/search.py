"""Exact nearest rows by the dot product of int8 vectors: in the compiled library, or in numpy with the same answers.

Integer sums are exact, so every CPU level and numpy give the same scores; among equal scores the earlier row comes first.
numpy multiplies the integers as float32, where sums below 2**24 are exact (127 * 127 * 1040).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_demist.errors import EngineUnavailableError, InputError
from edge_demist.native import abi
from edge_demist.native import library as native

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.native.library import Kernels

MAX_QUERIES, MAX_K, MAX_DIM = 4096, 4096, 4096
_EXACT_DIM = 1040
_BLOCK = 1 << 14
_LOWEST = np.iinfo(np.int32).min

Found = tuple["NDArray[np.int32]", "NDArray[np.int64]"]


def nearest(queries: NDArray[np.int8], rows: NDArray[np.int8], k: int, kernels: Kernels | None = None) -> Found:
    """The ``k`` rows with the largest dot product for each query.

    Args:
        queries: int8 [q, dim].
        rows: int8 [n, dim], in memory or mapped; a row of zeros scores 0.
        k: at most ``MAX_K``; at most n are given.
        kernels: compiled functions to use; None for the best library here, or numpy where there is none.

    Returns:
        Scores int32 [q, min(k, n)], falling, and row numbers int64 of the same shape.

    Raises:
        InputError: shapes that do not fit, or a value out of range.
    """
    queries, rows = np.ascontiguousarray(queries), np.ascontiguousarray(rows)
    if queries.dtype != np.int8 or rows.dtype != np.int8 or queries.ndim != 2 or rows.ndim != 2:
        raise InputError("search needs int8 vectors [n, dim]")
    if queries.shape[1] != rows.shape[1] or not 1 <= queries.shape[1] <= MAX_DIM:
        raise InputError(f"vectors of {queries.shape[1]} and of {rows.shape[1]} numbers cannot be compared")
    if not 1 <= k <= MAX_K:
        raise InputError(f"k must be 1 to {MAX_K}, not {k}")
    best = Best(len(queries), min(k, len(rows)))
    best.add(queries, rows, 0, kernels)
    return best.scores, best.rows


class Best:
    """The best rows so far, for queries that meet the rows block by block."""

    def __init__(self, queries: int, k: int) -> None:
        """Nothing found yet: scores int32 [queries, k] at the lowest number, rows -1."""
        self.scores = np.full((queries, k), _LOWEST, np.int32)
        self.rows = np.full((queries, k), -1, np.int64)

    def add(self, queries: NDArray[np.int8], rows: NDArray[np.int8], first: int, kernels: Kernels | None = None) -> None:
        """Look through a block of rows; ``first`` is the number of its first one."""
        if not self.scores.size or not len(rows):
            return
        functions = kernels if kernels is not None else _library()
        dim = queries.shape[1]
        if functions is None or dim % 16:
            self._add_numpy(queries, rows, first)
            return
        for begin in range(0, len(queries), MAX_QUERIES):
            some = queries[begin : begin + MAX_QUERIES]
            functions.nearest(
                native.address(some), len(some), native.address(rows), len(rows), dim, first, self.scores.shape[1],
                native.address(self.scores[begin:]), native.address(self.rows[begin:]),
            )  # fmt: skip

    def _add_numpy(self, queries: NDArray[np.int8], rows: NDArray[np.int8], first: int) -> None:
        for begin in range(0, len(rows), _BLOCK):
            block = rows[begin : begin + _BLOCK]
            for at in range(0, len(queries), 256):
                scores = dots(queries[at : at + 256], block)
                self._merge(at, scores, first + begin)

    def _merge(self, at: int, scores: NDArray[np.int32], first: int) -> None:
        """Put the scores [q, m] of rows ``first`` and on among those of the queries from ``at``."""
        k = self.scores.shape[1]
        for q, row in enumerate(scores, at):
            good = np.flatnonzero(row > self.scores[q, -1])
            if len(good) > k:  # the k-th largest and all above it; order settles the rest
                limit = np.partition(row[good], len(good) - k)[len(good) - k]
                good = good[row[good] >= limit]
            if len(good):
                both = np.concatenate([self.scores[q], row[good]])
                numbers = np.concatenate([self.rows[q], first + good])
                order = np.argsort(-both.astype(np.int64), kind="stable")[:k]
                self.scores[q], self.rows[q] = both[order], numbers[order]


class Panels:
    """A fixed set of int8 rows that is asked many times, packed for the compiled library; numpy where there is none."""

    def __init__(self, rows: NDArray[np.int8], kernels: Kernels | None = None) -> None:
        """Pack rows int8 [n, dim]."""
        count, dim = rows.shape
        self._functions = kernels if kernels is not None else _library()
        self.rows = rows
        if self._functions is None or dim % 64:
            self._functions = None
            return
        padded = np.zeros((-(-count // 64) * 64, dim), np.int8)
        padded[:count] = rows
        packed = padded.reshape(-1, 16, dim // 4, 4).transpose(0, 2, 1, 3)
        self._panels = native.aligned(packed.nbytes)
        self._panels[:] = np.ascontiguousarray(packed).reshape(-1).view(np.uint8)
        self._correction = np.ascontiguousarray(-128 * padded.sum(1, dtype=np.int32))

    def nearest(self, queries: NDArray[np.int8], k: int) -> Found:
        """As :func:`nearest`."""
        if self._functions is None:
            best = Best(len(queries), min(k, len(self.rows)))
            best._add_numpy(queries, self.rows, 0)
            return best.scores, best.rows
        queries = np.ascontiguousarray(queries)
        best, dim = Best(len(queries), min(k, len(self.rows))), queries.shape[1]
        scratch = native.aligned(8192 + 6 * abi.NEAREST_ROWS * dim)
        self._functions.nearest_panels(
            native.address(queries), len(queries), native.address(self._panels), native.address(self._correction), len(self.rows), dim,
            best.scores.shape[1], native.address(best.scores), native.address(best.rows), native.address(scratch),
        )  # fmt: skip
        return best.scores, best.rows


def dots(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.int32]:
    """Exact dot products int32 [len(a), len(b)] of int8 rows."""
    out = np.zeros((len(a), len(b)), np.int32)
    for begin in range(0, a.shape[1], _EXACT_DIM):
        part = slice(begin, begin + _EXACT_DIM)
        out += (a[:, part].astype(np.float32) @ b[:, part].astype(np.float32).T).astype(np.int32)
    return out


def cosines(scores: NDArray[np.int32], queries: NDArray[np.int8], rows: NDArray[np.int8]) -> NDArray[np.float32]:
    """Dot products int32 [q, k] as cosines float32; ``queries`` int8 [q, dim], ``rows`` the rows found, int8 [q, k, dim]."""
    lengths = np.sqrt((rows.astype(np.float64) ** 2).sum(2)) * np.sqrt((queries.astype(np.float64) ** 2).sum(1))[:, None]
    cosine: NDArray[np.float32] = (scores / np.maximum(lengths, 1e-9)).astype(np.float32)
    return cosine


def similarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines float32 [n, m] between the rows of two float arrays.

    Raises:
        InputError: rows of different length.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise InputError(f"vectors of {list(a.shape)} and of {list(b.shape)} cannot be compared; both must be [n, dim]")
    lengths = (np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12) for side in (a, b))
    left, right = (np.asarray(side / length, np.float32) for side, length in zip((a, b), lengths, strict=True))
    return of_units(left, right)


def of_units(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines of unit vectors [n, dim] and [m, dim], float32 [n, m]: what their sums have over 1 is rounding."""
    cosine: NDArray[np.float32] = np.clip(a @ b.T, -1, 1)
    return cosine


def _library() -> Kernels | None:
    """The best library of this machine; None where none fits."""
    try:
        return native.load()
    except EngineUnavailableError:
        return None
