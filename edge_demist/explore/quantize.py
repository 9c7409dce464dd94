"""Vectors as int8 with one scale for all, and as bits; what search, places and vector files share.

A unit vector of ``dim`` numbers has components of about 1 / sqrt(dim). int8 cuts them at five times that and keeps 127 steps on
either side; one scale for all rows makes an integer dot product comparable between any two of them. A row of zeros
stands for a line that could not be embedded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge_demist.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CUT = 5.0
"""Largest component that int8 can hold, in units of 1 / sqrt(dim)."""


def scale_of(dim: int) -> float:
    """Value of one int8 step for unit vectors of ``dim`` components."""
    return CUT / (127.0 * math.sqrt(dim))


def to_int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Unit vectors float32 [n, dim] as int8 [n, dim]; a row with a number that is not finite becomes zeros.

    Raises:
        InputError: not a two-dimensional float array.
    """
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(f"vectors must be float32 [n, dim], not {vectors.dtype} {list(vectors.shape)}")
    steps = np.float32(1.0 / scale_of(vectors.shape[1]))
    with np.errstate(invalid="ignore"):
        scaled = np.rint(np.asarray(vectors, np.float32) * steps)
        lost = ~np.isfinite(scaled).all(1)
        quantized: NDArray[np.int8] = np.clip(np.nan_to_num(scaled), -127, 127).astype(np.int8)
    quantized[lost] = 0
    return quantized


def from_int8(quantized: NDArray[np.int8]) -> NDArray[np.float32]:
    """int8 [n, dim] back to float32; a row of zeros, which no vector gives, becomes NaN."""
    vectors = quantized.astype(np.float32) * np.float32(scale_of(quantized.shape[1]))
    vectors[~quantized.any(1)] = np.nan
    return vectors


def to_bits(vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Signs of vectors [n, dim] as uint8 [n, dim / 8], the first component in the highest bit; a row that is not finite becomes zeros.

    Raises:
        InputError: ``dim`` is not a multiple of 8.
    """
    if vectors.ndim != 2 or vectors.shape[1] % 8:
        raise InputError(f"binary vectors need a dimension that is a multiple of 8, not {list(vectors.shape)}")
    bits = np.packbits(vectors > 0, axis=1)
    bits[~np.isfinite(vectors).all(1)] = 0
    return bits


def from_bits(bits: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Bits uint8 [n, dim / 8] as int8 of +1 and -1 [n, dim]; a row of zeros, which no vector gives, stays zeros."""
    signs = (2 * np.unpackbits(bits, axis=1).astype(np.int8) - 1).astype(np.int8)
    signs[~bits.any(1)] = 0
    return signs
