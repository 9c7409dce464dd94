"""An n-gram table as it lies in a bundle's weights or in a specialist's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_demist.errors import BundleError

if TYPE_CHECKING:
    from edge_demist.format.manifest import NgramConfig
    from edge_demist.format.safetensors import Tensor


class NgramTable(NamedTuple):
    """A hashed table: its shape, int8 [buckets, dim] and float32 [dim]; of a bundle, or of one specialist."""

    config: NgramConfig
    weight: Tensor
    scale: Tensor


def table_of(config: NgramConfig, tensors: Mapping[str, Tensor], where: str = "") -> NgramTable:
    """Find the table among mapped tensors.

    Raises:
        BundleError: it is missing, or of another shape than ``config`` says.
    """
    weight, scale = tensors.get("ngrams.weight"), tensors.get("ngrams.scale")
    if weight is None or weight.dtype != np.int8 or weight.shape != (config.buckets, config.dim) or not weight.flags.c_contiguous:
        raise BundleError(f"{where}ngrams.weight must be int8 [{config.buckets}, {config.dim}]")
    if scale is None or scale.dtype != np.float32 or scale.shape != (config.dim,) or not scale.flags.c_contiguous:
        raise BundleError(f"{where}ngrams.scale must be float32 [{config.dim}]")
    return NgramTable(config, weight, scale)
