"""What stands before an address is handed to compiled code: arrays of the right type, in one piece, that never lead outside.

The kernels trust what they are given. So every entry point, also the private ones, takes its arrays through here: a number of
another type is converted only if it keeps its value, and offsets are looked at as a whole.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from edge_demist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Whole = TypeVar("Whole", np.int32, np.int64)
OFFSETS = "offsets must start at 0, never fall, and end at the number of items"


def text_bytes(text: object) -> bytes:
    """Text as bytes that nobody changes or resizes while compiled code reads them.

    Raises:
        InputError: it is no bytes, bytearray or memoryview.
    """
    if type(text) is bytes:
        return text
    if isinstance(text, (bytes, bytearray, memoryview)):
        return memoryview(text).tobytes()
    raise InputError(f"text must be bytes, not {type(text).__name__}")


def whole(values: object, dtype: type[Whole], name: str, length: int | None = None) -> NDArray[Whole]:
    """A contiguous vector of whole numbers of ``dtype``, each with the value it had.

    Args:
        values: an array or a sequence.
        dtype: ``np.int32`` or ``np.int64``.
        name: for messages.
        length: how many there must be; None for any number.

    Raises:
        InputError: another shape, another kind of numbers, or one that does not fit.
    """
    array = np.asarray(values)
    if array.ndim != 1 or (length is not None and len(array) != length):
        wanted = "n" if length is None else str(length)
        raise InputError(f"{name} must be {np.dtype(dtype)} [{wanted}], one a row, not {list(array.shape)}")
    if array.dtype != dtype:
        if array.size and array.dtype.kind not in "iu":
            raise InputError(f"{name} must be whole numbers, not {array.dtype}")
        limits = np.iinfo(dtype)
        if array.size and not (limits.min <= int(array.min()) and int(array.max()) <= limits.max):
            raise InputError(f"{name} must fit into {np.dtype(dtype)}")
    return np.ascontiguousarray(array, dtype)


def row_offsets(values: object, dtype: type[Whole], total: int) -> NDArray[Whole]:
    """Offsets [n + 1] that rise from 0 to ``total``, contiguous.

    Raises:
        InputError: they do not; names the first row that falls.
    """
    offsets = whole(values, dtype, "offsets")
    if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != total:
        row = 0 if len(offsets) < 1 or offsets[0] != 0 else len(offsets) - 2
        raise InputError(f"row {row}: {OFFSETS} ({total})")
    falls = offsets[1:] < offsets[:-1]
    if falls.any():
        raise InputError(f"row {int(np.argmax(falls))}: {OFFSETS}")
    return offsets


def packed(texts: Sequence[bytes]) -> tuple[bytes, NDArray[np.int64]]:
    """Many texts in one piece, and their offsets int64 [n + 1].

    Raises:
        InputError: one of them is no bytes.
    """
    if not {bytes}.issuperset(map(type, texts)):
        texts = [text_bytes(text) for text in texts]
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
    return b"".join(texts), offsets


def matrix(values: object, name: str, columns: int | None = None, rows: int | None = None) -> NDArray[np.float32]:
    """A contiguous float32 matrix.

    Raises:
        InputError: another shape, or no numbers.
    """
    array = np.asarray(values)
    if array.ndim != 2 or (columns is not None and array.shape[1] != columns) or (rows is not None and len(array) != rows):
        wanted = f"[{'n' if rows is None else rows}, {columns}]"
        raise InputError(f"{name}: does not take vectors of this shape: must be float32 {wanted}, not {list(array.shape)}")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} must be numbers, not {array.dtype}")
    return np.ascontiguousarray(array, np.float32)


def limit_of(max_tokens: object, most: int) -> int:
    """A limit of tokens, from 0 to ``most``; None is ``most``.

    Raises:
        InputError: it is no whole number.
    """
    if max_tokens is None:
        return most
    try:
        return max(0, min(operator.index(max_tokens), most))  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"max_tokens must be a whole number, not {type(max_tokens).__name__}") from None
