"""The n-gram table of a checkpoint: ``ngrams.safetensors`` with ``weight`` [buckets, dim] and its configuration."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist.format.int8 import QuantizedMatrix, quantize_columns
from quantize.errors import CheckpointError
from quantize.tensors import expect, read_tensors

MAX_BUCKETS = 1 << 22
MAX_DIM = 1024
MAX_N = 8
DEFAULTS = {"min_n": 2, "max_n": 5, "max_bytes": 512}


@dataclass(frozen=True)
class NgramTable:
    """The float table [buckets, dim], the quantized one, and the manifest's ``ngrams`` entry."""

    weight: NDArray[np.float32]
    matrix: QuantizedMatrix
    manifest: dict[str, int]


def read_ngrams(path: Path) -> NgramTable | None:
    """Read and quantize ``path`` (scale a dimension); None if there is no such file."""
    if not path.is_file():
        return None
    tensors, metadata = read_tensors(path)
    weight: NDArray[np.float32] = expect(tensors, "weight", (-1, -1), path)
    buckets, dim = weight.shape
    if not 64 <= buckets <= MAX_BUCKETS or buckets & (buckets - 1):
        raise CheckpointError(f"{path}: {buckets} buckets is not a power of two in 64…{MAX_BUCKETS}")
    if dim % 16 or not 16 <= dim <= MAX_DIM:
        raise CheckpointError(f"{path}: dim {dim} is not a multiple of 16 in 16…{MAX_DIM}")
    config = {name: _integer(metadata, name, default, path) for name, default in DEFAULTS.items()}
    for name, actual in (("buckets", buckets), ("dim", dim)):
        if _integer(metadata, name, actual, path) != actual:
            raise CheckpointError(f"{path}: metadata {name} is not the weight's {actual}")
    if not 1 <= config["min_n"] <= config["max_n"] <= MAX_N or not 1 <= config["max_bytes"] <= 1 << 16:
        raise CheckpointError(f"{path}: min_n, max_n or max_bytes is out of range: {config}")
    return NgramTable(weight, quantize_columns(weight), {"buckets": buckets, "dim": dim, **config})


def _integer(metadata: dict[str, str], name: str, default: int, path: Path) -> int:
    text = metadata.get(name, str(default))
    if not text.isdecimal():
        raise CheckpointError(f"{path}: metadata {name} = {text!r} is not an integer")
    return int(text)
