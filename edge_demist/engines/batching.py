"""Rows before the engine: texts as callers give them, their normalized bytes, packed rows of token ids cut and put in another order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edge_demist.errors import InputError
from edge_demist.normalizers import NORMALIZERS, from_bytes, to_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Text: TypeAlias = "str | bytes"
Ids: TypeAlias = "NDArray[np.int32]"


def listed(texts: Iterable[Text]) -> Sequence[Text]:
    """Texts as a list; lists and tuples as they are.

    Raises:
        InputError: they cannot be gone through.
    """
    if isinstance(texts, (list, tuple)):
        return texts
    try:
        return list(texts)
    except TypeError:
        raise InputError(f"texts are {type(texts).__name__}; give one text (str or bytes) or an iterable of texts") from None


def refusal(text: object) -> str | None:
    """Why a text cannot be processed; None if it can."""
    if not isinstance(text, (str, bytes)):
        return f"expected str or bytes, not {type(text).__name__}"
    return None if text else "the text is empty"


def as_shown(text: object) -> str:
    """A text as predictions repeat it."""
    return from_bytes(text) if isinstance(text, bytes) else text if isinstance(text, str) else repr(text)


def as_strings(texts: Sequence[Text], first: int) -> list[str]:
    """Texts as they are shown.

    Raises:
        InputError: something is no text; counted from ``first``.
    """
    if {str}.issuperset(map(type, texts)):
        return list(texts)  # type: ignore[arg-type]
    for n, text in enumerate(texts, first):
        if not isinstance(text, (str, bytes)):
            raise InputError(f"text {n} is {type(text).__name__}, not str or bytes")
    return [as_shown(text) for text in texts]


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
