"""Make the atlas of a bundle, or put one into a bundle.

    python -m tools.atlas make --data DATA --work WORK -o atlas.safetensors    # an hour on one core; WORK keeps what is slow
    python -m tools.atlas add atlas.safetensors --bundle DIR                   # writes the file and its hash; sign again afterwards

Needs the extra ``atlas`` (umap-learn, scikit-learn, pandas). The atlas belongs to the encoder: a bundle with other specialists or
another n-gram table keeps it, one with another encoder refuses it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_demist import EdgeDemist
from edge_demist.errors import BundleError
from edge_demist.explore.passport import encoder_sha256
from edge_demist.explore.places import FILE, Atlas, parse_atlas
from edge_demist.explore.quantize import to_int8
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.signing import SIGNATURE_NAME
from edge_demist.format.writer import describe_files, sha256, write_json
from edge_demist.normalizers import to_bytes

from . import fit, regions
from .sample import read_sample


def write_atlas(path: Path, atlas: Atlas, bundle: Bundle) -> None:
    """The file of :mod:`edge_demist.explore.places`, after reading it back as a sensor does."""
    tensors: dict[str, Any] = {name: getattr(atlas, name) for name in ("projection", "offset", "landmarks", "places", "continent")}
    rounded = [[round(v, 5) if isinstance(v, float) else v for v in region] for region in atlas.regions]
    metadata = {
        "format": "1",
        "encoder_sha256": encoder_sha256(bundle),
        "shift": str(atlas.shift),
        "continents": json.dumps(atlas.continents),
        "regions": json.dumps(rounded),
    }
    parse_atlas(metadata, tensors)
    safetensors.write(path, tensors, metadata)


def vectors_of(model: EdgeDemist, texts: list[str], keep: Path) -> Any:
    """Vectors float32 [n, dim] by the encoder alone, kept in a file."""
    if keep.exists():
        kept = np.load(keep, mmap_mode="r")
        if len(kept) == len(texts):
            return kept
    vectors = np.empty((len(texts), model.dim), np.float32)
    for begin in range(0, len(texts), 20_000):
        vectors[begin : begin + 20_000] = model.encode(texts[begin : begin + 20_000], projected=False)
        print(f"{begin:,} of {len(texts):,} strings", file=sys.stderr, flush=True)
    np.save(keep, vectors)
    return vectors


def pieces_of(model: EdgeDemist, texts: list[str]) -> Iterator[list[str]]:
    """The tokenizer's pieces of each text."""
    tokenizer = model.tokenizer
    for begin in range(0, len(texts), 20_000):
        ids, offsets = tokenizer.encode_batch([to_bytes(text) for text in texts[begin : begin + 20_000]])
        for first, last in itertools.pairwise(offsets):
            yield tokenizer.pieces(ids[first:last])


def make(args: argparse.Namespace) -> int:
    """Sample, embed, lay out, choose landmarks, name regions, write."""
    args.work.mkdir(parents=True, exist_ok=True)
    sample = read_sample(args.data)
    with EdgeDemist.load(args.bundle) as model:
        vectors = vectors_of(model, sample["text"].tolist(), args.work / "vectors.npy")
        atlas, rows, _ = fit.build(sample, vectors, args.work)
        projected = np.concatenate([atlas.project(to_int8(vectors[b : b + 65_536])) for b in range(0, len(vectors), 65_536)])
        located = regions.landmark_of(atlas, projected, sample["kind"].to_numpy())
        texts = sample["text"].tolist()
        words = list(map(regions.words_of, sample["kind"], texts, pieces_of(model, texts)))
        atlas = atlas._replace(regions=tuple(regions.build_regions(atlas, sample, located, words)))
        write_atlas(args.output, atlas, model.bundle)
    print(f"{args.output}: {len(rows)} landmarks, {len(atlas.regions)} regions, {args.output.stat().st_size:,} bytes")
    return 0


def add(args: argparse.Namespace) -> int:
    """Put an atlas into a bundle's folder; its old signature, which no longer fits, is taken away."""
    bundle = Bundle.load(args.bundle)
    metadata, tensors = safetensors.read(args.atlas)
    parse_atlas(metadata, tensors)
    if metadata.get("encoder_sha256") != encoder_sha256(bundle):
        raise BundleError(f"{args.atlas}: was made for another encoder than that of {args.bundle}")
    shutil.copyfile(args.atlas, args.bundle / FILE)
    manifest = {**bundle.manifest, "files": describe_files(args.bundle, sorted({*bundle.files, FILE}))}
    write_json(args.bundle / "manifest.json", manifest)
    (args.bundle / SIGNATURE_NAME).unlink(missing_ok=True)
    print(f"{args.bundle}: bundle id {sha256(args.bundle / 'manifest.json')}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.atlas", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    maker = commands.add_parser("make", help="make an atlas")
    maker.add_argument("--data", type=Path, required=True, help="folder with corpus/ and tasks/")
    maker.add_argument("--work", type=Path, required=True, help="folder that keeps vectors and layouts")
    maker.add_argument("--bundle", type=Path, default=None, help="bundle (default: the one in the package)")
    maker.add_argument("-o", "--output", type=Path, default=Path(FILE))
    maker.set_defaults(run=make)
    adder = commands.add_parser("add", help="put an atlas into a bundle")
    adder.add_argument("atlas", type=Path)
    adder.add_argument("--bundle", type=Path, required=True, help="folder of the bundle, changed in place")
    adder.set_defaults(run=add)
    args = parser.parse_args(argv)
    return int(args.run(args))


if __name__ == "__main__":
    raise SystemExit(main())
