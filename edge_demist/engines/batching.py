"""Rows before the engine: normalized bytes of a text, and packed rows of token ids cut and put in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edge_demist.normalizers import NORMALIZERS, from_bytes, to_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Text: TypeAlias = "str | bytes"
Ids: TypeAlias = "NDArray[np.int32]"


def normalized_bytes(text: Text, normalizer: str, limit: int) -> bytes:
    """The bytes that a specialist sees, reading at most ``limit`` characters of an overlong text."""
    whole = from_bytes(text) if isinstance(text, bytes) else text
    return to_bytes(NORMALIZERS[normalizer](whole[:limit]))


def cut(ids: Ids, offsets: Ids, lengths: NDArray[np.int64], over: NDArray[np.bool_], suffix: tuple[int, ...]) -> tuple[Ids, Ids]:
    """Cut rows to ``lengths``; rows that lost tokens end with the suffix again."""
    position = np.arange(len(ids)) - np.repeat(offsets[:-1], np.diff(offsets))
    kept = ids[position < np.repeat(lengths, np.diff(offsets))]
    new = np.zeros(len(offsets), np.int32)
    np.cumsum(lengths, out=new[1:])
    for j, token in enumerate(reversed(suffix)):
        kept[new[1:][over] - 1 - j] = token
    return kept, new


def reorder(ids: Ids, offsets: Ids, order: NDArray[np.int64]) -> tuple[Ids, Ids]:
    """Pack rows in another order; a row may come several times, or not at all."""
    lengths = np.diff(offsets)[order]
    new = np.zeros(len(order) + 1, np.int32)
    np.cumsum(lengths, out=new[1:])
    source = np.repeat(offsets[:-1][order] - new[:-1], lengths) + np.arange(new[-1])
    return np.ascontiguousarray(ids[source]), new
