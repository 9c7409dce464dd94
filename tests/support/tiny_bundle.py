"""The tiny bundle of ``edge_demist.diagnostics.tiny_model`` on disk, with one random specialist."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from edge_demist.diagnostics import tiny_model
from edge_demist.format import safetensors


def write_tiny_bundle(folder, task="hostname-category"):
    folder.mkdir(parents=True)
    (folder / "specialists").mkdir()
    bundle = tiny_model.bundle()
    safetensors.write(folder / "weights.safetensors", bundle.tensors)
    safetensors.write(folder / "tokenizer.safetensors", bundle.tokenizer_tensors, dict(bundle.tokenizer_metadata))
    random = np.random.default_rng(0)
    adapter = tiny_model.adapters()[0]
    tensors = {f"lora.{i}.{t}.{x}": m for (i, t), pair in adapter.layers.items() for x, m in zip("AB", pair, strict=True)}
    tensors |= {"head.weight": random.standard_normal((tiny_model.HIDDEN, 3)).astype(np.float32), "head.bias": np.zeros(3, np.float32)}
    base = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    metadata = {"task": task, "labels": '["a", "b", "c"]', "normalizer": "hostname", "kind": "category", "base_sha256": base}
    safetensors.write(folder / "specialists" / f"{task}.safetensors", tensors, metadata)
    names = ("weights.safetensors", "tokenizer.safetensors", f"specialists/{task}.safetensors")
    files = {n: {"sha256": hashlib.sha256((folder / n).read_bytes()).hexdigest(), "bytes": (folder / n).stat().st_size} for n in names}
    manifest = {
        "format": 1, "name": "tiny", "version": 1, "created": "2026-01-01T00:00:00Z",
        "architecture": {
            "type": "bert", "num_layers": tiny_model.LAYERS, "hidden_size": tiny_model.HIDDEN, "num_heads": tiny_model.HEADS,
            "intermediate_size": tiny_model.WIDE, "vocab_size": tiny_model.VOCAB,
            "max_positions": tiny_model.POSITIONS, "layer_norm_eps": 1e-12,
            "activation": "gelu", "pooling": "mean",
        },
        "tokenizer": {
            "type": "unigram", "prefix_ids": [2], "suffix_ids": [], "pad_id": 0, "unk_id": 1, "byte_ids_start": tiny_model.BYTE_IDS_START,
        },
        "ngrams": {"buckets": 1024, "dim": 32, "min_n": 2, "max_n": 5, "max_bytes": 128},
        "limits": {"max_bytes": 8192, "max_tokens": tiny_model.POSITIONS},
        "files": files,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
