"""A small atlas for a bundle: random landmarks on two continents, two regions; and a bundle that holds it."""

from __future__ import annotations

import json

import numpy as np

from edge_demist.explore.passport import encoder_sha256
from edge_demist.explore.places import FILE
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.writer import describe_files, write_json

WIDTH, COUNT = 64, 150


def small_atlas(dim, encoder="0" * 64, seed=0):
    """Tensors and metadata."""
    random = np.random.default_rng(seed)
    tensors = {
        "projection": random.integers(-60, 61, (dim, WIDTH), dtype=np.int8),
        "offset": random.integers(-500, 500, WIDTH, dtype=np.int32),
        "landmarks": random.integers(-60, 61, (COUNT, WIDTH), dtype=np.int8),
        "places": random.random((COUNT, 2), dtype=np.float32),
        "continent": np.repeat([0, 1], [100, 50]).astype(np.uint8),
    }
    regions = [["host names", "host", 0, 0.3, 0.3, 0.2, 100], ["shops: sale", "host", 1, 0.35, 0.3, 0.1, 30]]
    metadata = {"encoder_sha256": encoder, "shift": "9", "continents": '["host", "request"]', "regions": json.dumps(regions)}
    return tensors, metadata


def add_small_atlas(folder):
    """Put a small atlas into a bundle's folder and list it in the manifest."""
    bundle = Bundle.load(folder)
    tensors, metadata = small_atlas(bundle.architecture.hidden_size, encoder_sha256(bundle))
    safetensors.write(folder / FILE, tensors, metadata)
    write_json(folder / "manifest.json", {**bundle.manifest, "files": describe_files(folder, sorted({*bundle.files, FILE}))})
    return folder
