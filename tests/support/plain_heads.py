"""A bundle whose specialist has its alarm group alone: what tools change that fit a head of one column a label."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from quantize import cli


def with_one_group(model: EdgeDemist, task: str, folder: Path) -> Path:
    """Write the bundle of a model into ``folder``, without a task's label group, screen and the n-gram columns that only labels read."""
    specialist = model.specialist(task)
    metadata, tensors = safetensors.read(model.bundle.path / "specialists" / f"{task}.safetensors", copy=True)
    count = len(specialist.owners)
    metadata = {name: value for name, value in metadata.items() if name not in ("label_subclasses", "label_below", "screen")}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("screen.")}
    for name in ("head.weight", "head.ngram_weight", "head.bias"):
        tensors[name] = np.ascontiguousarray(tensors[name][..., :count])
    unread = ~tensors["head.ngram_weight"].any(axis=1)
    if "ngrams.weight" in tensors:
        tensors["ngrams.weight"] = np.where(unread, tensors["ngrams.weight"].dtype.type(0), tensors["ngrams.weight"])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{task}.safetensors"
    safetensors.write(file, tensors, metadata)
    assert cli.main(["add", str(file), "--replace", "--bundle", str(model.bundle.path), "--out", str(folder / "plain")]) == 0
    return folder / "plain"
