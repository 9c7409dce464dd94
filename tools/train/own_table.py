"""A small n-gram table of one specialist's own, in place of columns of the bundle's shared one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tools.train import calibration
from tools.train.ngram_table import columns_of
from tools.train.ngrams import NgramConfig, NgramTable

Floats = NDArray[np.float32]

TABLE_BYTES = 1 << 20
"""Of the table in int8."""
MOST_COLUMNS = 64


def shape(classes: int) -> NgramConfig:
    """As many buckets as fit, a column a label (one for two), up to ``MOST_COLUMNS``."""
    dim = min(-(-columns_of(["?"] * classes) // 16) * 16, MOST_COLUMNS)
    return NgramConfig(buckets=1 << (TABLE_BYTES // dim).bit_length() - 1, dim=dim)


def folded(weight: torch.Tensor, bias: torch.Tensor, classes: int, config: NgramConfig) -> tuple[NgramTable, tuple[Floats, Floats]]:
    """The table and the head on it, float32 [dim, C] and float32 [C], of trained columns [buckets, columns].

    With more columns than ``config.dim`` the table holds their leading singular vectors.
    """
    columns = weight.shape[1]
    if columns <= config.dim:
        padded = torch.nn.functional.pad(weight, (0, config.dim - columns))
        place = {"begin": 0, "end": columns, "bias": bias.tolist()}
        return NgramTable(config, padded), calibration.column_map(place, classes, config.dim)
    _, vectors = np.linalg.eigh(weight.T.double().numpy() @ weight.double().numpy())  # ascending
    leading = vectors[:, -config.dim :].astype(np.float32)
    return NgramTable(config, weight @ torch.from_numpy(leading)), (leading.T.copy(), bias.numpy())
