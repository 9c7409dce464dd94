"""A bundle with some columns of its n-gram table replaced; the encoder, other columns and the specialists' tensors stay as they are."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.general import FILE as GENERAL
from edge_demist.format.int8 import quantize_columns
from edge_demist.format.writer import describe_files, sha256, whole_folder, write_json
from quantize.errors import QuantizeError

WEIGHTS, NET = "weights.safetensors", "screen.1.weight"


def replace_columns(
    bundle: Bundle, columns: Mapping[int, NDArray[np.float32]], out: Path, *, overwrite: bool = False, keep_general: bool = False
) -> str:
    """Write ``bundle`` with new columns to ``out`` and return its id; its version stays.

    Args:
        bundle: what to start from.
        columns: float32 [buckets] by number of the column.
        out: the new bundle; written whole or not at all.
        overwrite: replace an existing bundle at ``out``.
        keep_general: keep the projection of general vectors, which was learnt on the old columns; without it ``out`` has none.

    Raises:
        QuantizeError: no such column, another length, no table, or ``out`` exists.
    """
    if bundle.ngrams is None:
        raise QuantizeError("the bundle has no n-gram table")
    metadata, old = safetensors.read(bundle.path / WEIGHTS)
    tensors = {name: np.array(value) for name, value in old.items()}
    unread = [number for number in columns if 0 <= number < bundle.ngrams.dim and not old["ngrams.weight"][:, number].any()]
    for number, column in sorted(columns.items()):
        if not 0 <= number < bundle.ngrams.dim or column.shape != (bundle.ngrams.buckets,):
            raise QuantizeError(f"column {number} of {column.shape} does not fit {bundle.ngrams.buckets} buckets x {bundle.ngrams.dim}")
        matrix = quantize_columns(column[:, None])
        tensors["ngrams.weight"][:, number], tensors["ngrams.scale"][number] = matrix.values[:, 0], matrix.scale[0]
    with whole_folder(out, overwrite) as folder:
        (folder / "specialists").mkdir()
        files = sorted({*bundle.files} - (set() if keep_general else {GENERAL}))  # tools.train.general learns it anew
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / file, folder / file)
        safetensors.write(folder / WEIGHTS, tensors, metadata)
        base = sha256(folder / WEIGHTS)
        bound = [f"specialists/{task}.safetensors" for task in bundle.tasks] + [GENERAL] * (GENERAL in files)
        for path in (folder / name for name in bound):
            described, parts = safetensors.read(path)
            kept = {name: np.array(value) for name, value in parts.items()}
            if NET in kept and "ngrams.weight" not in kept:
                kept[NET][unread] = 0  # no screen has learnt what a column means that was empty
            safetensors.write(path, kept, {**described, "base_sha256": base})
        manifest = {**bundle.manifest, "files": describe_files(folder, files)}
        manifest.pop("extends", None)
        write_json(folder / "manifest.json", manifest)
    return sha256(out / "manifest.json")
