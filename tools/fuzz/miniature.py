"""A miniature of the shipped bundle: every file, specialist, label, threshold, screen and n-gram table of it, all dimensions small.

    python -m tools.fuzz.miniature FOLDER

Weights are corners of the shipped ones, the vocabulary is its first pieces, so formats and code paths are those of the shipped bundle;
answers mean nothing. One string costs a hundredth of the time, and a mutant of the bundle can be written and loaded in milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_demist.explore.passport import encoder_sha256
from edge_demist.explore.places import FILE as ATLAS
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.general import FILE as GENERAL
from edge_demist.format.general import correction_of, width_of
from edge_demist.format.int8 import from_panels, to_panels
from quantize.tokenizer_tables import double_array

HIDDEN, HEADS, WIDE, PIECES, BUCKETS, LANDMARKS = 64, 2, 128, 2048, 1024, 256
SPECIAL = 261
"""Ids before the first piece: five special ones and 256 bytes."""
Tensors = dict[str, NDArray[Any]]


def smaller(name: str, tensor: NDArray[Any], hidden: int, wide: int) -> NDArray[Any]:
    """The corner of a tensor; ``hidden`` and ``wide`` are the sizes it comes from."""
    if tensor.ndim == 4:
        return to_panels(smaller(name, from_panels(tensor), hidden, wide))
    if name.startswith("ngrams.weight"):
        return tensor[:BUCKETS]
    if ".qkv." in name:
        parts = np.split(tensor, 3, axis=-1)
        return np.concatenate([smaller(name.replace("qkv", "one"), part, hidden, wide) for part in parts], axis=-1)
    for axis, size in enumerate(tensor.shape):
        small = {hidden: HIDDEN, wide: WIDE}.get(size, size)
        if name.startswith("embeddings.word") and axis == 0:
            small = PIECES
        tensor = np.take(tensor, range(small), axis)
    return tensor


def weights(bundle: Bundle) -> Tensors:
    """``weights.safetensors``."""
    arch = bundle.architecture
    found = {name: smaller(name, tensor, arch.hidden_size, arch.intermediate_size) for name, tensor in bundle.tensors.items()}
    for name in [name for name in found if name.endswith(".correction")]:
        panels = found[name.replace("correction", "weight")]
        found[name] = (-128 * from_panels(panels).astype(np.int32).sum(0)).astype(np.int32)
    return found


def tokenizer(bundle: Bundle) -> Tensors:
    """``tokenizer.safetensors``."""
    tables = bundle.tokenizer_tensors
    raw, at = tables["pieces.bytes"].tobytes(), tables["pieces.offsets"][: PIECES + 1]
    pieces = [raw[at[i] : at[i + 1]] for i in range(PIECES)]
    base, check, value = double_array((pieces[i], i) for i in range(SPECIAL, PIECES))
    return {
        "pieces.bytes": np.frombuffer(b"".join(pieces), np.uint8),
        "pieces.offsets": at.copy(),
        "scores": tables["scores"][:PIECES].copy(),
        "trie.base": base,
        "trie.check": check,
        "trie.value": value,
    }


def specialist(bundle: Bundle, file: str, bound: str) -> tuple[dict[str, str], Tensors]:
    """A specialist's file, bound to the small weights."""
    metadata, tensors = bundle.read(file, copy=False)
    arch = bundle.architecture
    about = {**metadata, "base_sha256": bound}
    if "ngrams" in about:
        about["ngrams"] = re.sub(r'"buckets": \d+', f'"buckets": {BUCKETS}', about["ngrams"])
    return about, {name: smaller(name, tensor, arch.hidden_size, arch.intermediate_size) for name, tensor in tensors.items()}


def projection(tensors: Tensors, bundle: Bundle) -> Tensors:
    """The corner of the projection of general vectors."""
    hidden, ngrams = bundle.architecture.hidden_size, bundle.ngrams
    assert ngrams is not None
    whole = from_panels(tensors["weight"])[:, :HIDDEN]
    few = np.zeros((width_of(HIDDEN, ngrams.dim), HIDDEN), np.int8)
    for at, source, size in ((0, 0, HIDDEN), (HIDDEN, hidden, ngrams.dim), (HIDDEN + ngrams.dim, hidden + ngrams.dim, HIDDEN)):
        few[at : at + size] = whole[source : source + size]
    weight = to_panels(few)
    return tensors | {
        "weight": weight,
        "correction": correction_of(weight),
        "scale": tensors["scale"][:HIDDEN],
        "bias": tensors["bias"][:HIDDEN],
    }


def write(folder: Path) -> Path:
    """Write the miniature of the shipped bundle into a new folder."""
    bundle = Bundle.load()
    (folder / "specialists").mkdir(parents=True)
    safetensors.write(folder / "weights.safetensors", weights(bundle))
    safetensors.write(folder / "tokenizer.safetensors", tokenizer(bundle), dict(bundle.tokenizer_metadata))
    bound = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    names = [f"specialists/{task}.safetensors" for task in bundle.tasks]
    for name in names:
        about, tensors = specialist(bundle, name, bound)
        safetensors.write(folder / name, tensors, about)
    manifest = {**json.loads(bundle.manifest_bytes), "name": "miniature"}
    manifest["architecture"] |= {"hidden_size": HIDDEN, "num_heads": HEADS, "intermediate_size": WIDE, "vocab_size": PIECES}
    manifest["ngrams"] |= {"buckets": BUCKETS}
    names = ["weights.safetensors", "tokenizer.safetensors", *names]
    list_files(folder, manifest, names)
    if GENERAL in bundle.files:
        about, tensors = bundle.read(GENERAL, copy=False)
        safetensors.write(folder / GENERAL, projection(tensors, bundle), {**about, "base_sha256": bound})
        names.append(GENERAL)
        list_files(folder, manifest, names)
    metadata, tensors = bundle.read(ATLAS, copy=False)
    about = {**metadata, "encoder_sha256": encoder_sha256(Bundle.load(folder))}
    few = {name: tensor if name in ("projection", "offset") else tensor[:LANDMARKS] for name, tensor in tensors.items()}
    safetensors.write(folder / ATLAS, few | {"projection": few["projection"][:HIDDEN]}, about)
    list_files(folder, manifest, [*names, ATLAS])
    return folder


def list_files(folder: Path, manifest: dict[str, Any], names: list[str]) -> None:
    """Write the manifest with the hashes of these files."""
    files = {name: (folder / name).read_bytes() for name in names}
    manifest["files"] = {name: {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)} for name, raw in files.items()}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
