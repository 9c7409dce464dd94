"""Hashed character n-grams for training: the definition of docs/explanation/architecture.md, in Numba over packed bytes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from edge_demist.format import safetensors
from edge_demist.train.rows import Rows

FNV_OFFSET = 2166136261
FNV_PRIME = 16777619


@dataclasses.dataclass(frozen=True)
class NgramConfig:
    """Shape of the hashed n-gram table."""

    buckets: int = 262144
    dim: int = 64
    min_n: int = 2
    max_n: int = 5
    max_bytes: int = 512


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _hash_rows(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    min_n: int,
    max_n: int,
    mask: int,
    out: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> int:
    written = 0
    for row in range(starts.shape[0]):
        offsets[row] = written
        begin, length = starts[row], ends[row] - starts[row] + 2
        for i in range(length):
            h = np.uint32(FNV_OFFSET)
            for n in range(1, max_n + 1):
                j = i + n - 1
                if j >= length:
                    break
                byte = 2 if j == 0 else (3 if j == length - 1 else data[begin + j - 1])
                h = np.uint32((h ^ np.uint32(byte)) * np.uint32(FNV_PRIME))
                if n >= min_n:
                    out[written] = np.int64((h ^ (h >> np.uint32(15))) & np.uint32(mask))
                    written += 1
    offsets[starts.shape[0]] = written
    return written


def hash_rows(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], config: NgramConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bucket numbers of all n-grams of each row.

    Args:
        data: packed bytes of all texts.
        starts: int64 [n], first byte of each row.
        ends: int64 [n], one past the last byte of each row.
        config: table shape.

    Returns:
        ``(buckets int64 [m], offsets int64 [n + 1])``.
    """
    stops = np.minimum(ends, starts + config.max_bytes)
    room = int((stops - starts + 2).sum()) * (config.max_n - config.min_n + 1)
    out = np.empty(room, np.int64)
    offsets = np.empty(len(starts) + 1, np.int64)
    written = _hash_rows(data, starts, stops, config.min_n, config.max_n, config.buckets - 1, out, offsets)
    return out[:written], offsets


@dataclasses.dataclass(frozen=True)
class NgramTable:
    """A trained table, float32 [buckets, dim]."""

    config: NgramConfig
    weight: torch.Tensor

    @classmethod
    def read(cls, path: Path) -> NgramTable:
        """Read ``ngrams.safetensors``."""
        metadata, tensors = safetensors.read(path)
        return cls(NgramConfig(**{k: int(v) for k, v in metadata.items()}), torch.from_numpy(np.array(tensors["weight"], np.float32)))

    def write(self, path: Path) -> None:
        """Write ``ngrams.safetensors``, whole or not at all."""
        metadata = {k: str(v) for k, v in dataclasses.asdict(self.config).items()}
        safetensors.write(path, {"weight": self.weight.contiguous().numpy()}, metadata)

    def vectors(self, rows: Rows, index: NDArray[np.int64]) -> torch.Tensor:
        """n-gram vectors [n, dim] of the named rows: sum of the rows' buckets over sqrt(count)."""
        buckets, offsets = hash_rows(rows.data, rows.off[index], rows.off[index + 1], self.config)
        counts = np.diff(offsets)
        weights = np.repeat((1.0 / np.sqrt(np.maximum(counts, 1))).astype(np.float32), counts)
        return functional.embedding_bag(
            torch.from_numpy(buckets), self.weight, torch.from_numpy(offsets[:-1]), mode="sum", per_sample_weights=torch.from_numpy(weights)
        )
