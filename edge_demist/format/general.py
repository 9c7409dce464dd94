"""``general.safetensors``: the learnt projection that makes a bundle's general vectors; a bundle without it has pooled vectors.

::

    weight      int8 [H / 16, K / 4, 16, 4], as a layer of the encoder; K = 2 H + dim rounded up to 64
    scale       float32 [H]      bias  float32 [H]      correction  int32 [H], -128 times the sums of the columns
    factors     float32 [16]; the first three are of the pooled vector, the n-gram vector and the words
    metadata    base_sha256 (of weights.safetensors, whose vectors and n-grams it reads), sources (JSON)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_demist.errors import BundleError

if TYPE_CHECKING:
    from edge_demist.format.bundle import Bundle
    from edge_demist.format.safetensors import Tensor

FILE = "general.safetensors"
PARTS = 3
LARGEST = 1e15
"""Of scale times K, and of a bias: squares of a vector's numbers must add up in float32."""


class General(NamedTuple):
    """A projection, mapped from its file."""

    weight: Tensor
    scale: Tensor
    bias: Tensor
    correction: Tensor
    factors: Tensor


def width_of(hidden: int, dim: int) -> int:
    """Numbers that the projection reads of a string: pooled vector, n-gram vector and words, rounded up to 64."""
    return -(-(2 * hidden + dim) // 64) * 64


def read_general(bundle: Bundle) -> General | None:
    """The projection of a bundle; None where it has none.

    Raises:
        BundleError: malformed, of another base, or with numbers that overflow.
    """
    if FILE not in bundle.files:
        return None
    metadata, tensors = bundle.read(FILE, copy=False)
    if metadata.get("base_sha256") != bundle.base_sha256:
        raise BundleError(f"{FILE}: was made for another base; it fits weights.safetensors {metadata.get('base_sha256', 'of none')[:64]}")
    if bundle.ngrams is None:
        raise BundleError(f"{FILE}: reads n-grams, and the bundle has no table of them")
    return check_general(tensors, bundle.architecture.hidden_size, bundle.ngrams.dim)


def check_general(tensors: Mapping[str, Tensor], hidden: int, dim: int) -> General:
    """The projection among tensors, every shape, type and number checked.

    Raises:
        BundleError: names the tensor and what is wrong.
    """
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "weight": (np.int8, (hidden // 16, width_of(hidden, dim) // 4, 16, 4)),
        "scale": (np.float32, (hidden,)),
        "bias": (np.float32, (hidden,)),
        "correction": (np.int32, (hidden,)),
        "factors": (np.float32, (16,)),
    }
    if set(tensors) != set(expected):
        raise BundleError(f"{FILE}: missing or foreign tensors: {', '.join(sorted(set(tensors) ^ set(expected))[:5])}")
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.shape != shape:
            raise BundleError(f"{FILE}: {name} is {tensor.dtype}{list(tensor.shape)}, expected {np.dtype(dtype)}{list(shape)}")
        if tensor.dtype.kind == "f" and not float(np.abs(tensor).max()) < LARGEST:  # NaN is not
            raise BundleError(f"{FILE}: {name} holds numbers that overflow, or none")
    found = General(**tensors)
    if float(found.scale.min()) <= 0 or float(found.factors[:PARTS].min()) < 0 or not 0 < float(found.factors[:PARTS].max()) <= 1e3:
        raise BundleError(f"{FILE}: scales must be positive, and factors from 0 to 1000, not all zero")
    return found


def correction_of(weight: Tensor) -> Tensor:
    """What the kernels add where activations are unsigned: int32 [H], -128 times the sum of each column."""
    sums: Tensor = (-128 * weight.sum(axis=(1, 3), dtype=np.int32)).reshape(-1).astype(np.int32)
    return sums
