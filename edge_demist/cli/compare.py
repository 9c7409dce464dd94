"""``edge-demist compare``: the cosine between two strings, or between every two of two lists."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edge_demist.cli.lines import dump, write_lines
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_model, add_normalizer, command
from edge_demist.errors import InputError
from edge_demist.explore.passport import require_same
from edge_demist.explore.search import similarity
from edge_demist.explore.vector_files import SUFFIXES, VectorFile

EXAMPLES = (
    Example("edge-demist compare www.mit.edu stanford.edu", '{"a": "www.mit.edu", "b": "stanford.edu", "cosine": …}'),
    Example("edge-demist compare \"' or 1=1--\" '%27%20or%201%3D1--' --task uri-attack", '{"a": …, "cosine": …}'),
)
NOTES = """
  edge-demist compare today.parquet yesterday.parquet

output: {"a", "b", "cosine"}. Two files of vectors (.npy, .jsonl, .parquet as embed writes them) give {"a", "b", "rows_a", "rows_b",
"cosine_of_means", "nearest_mean"}: how alike they are as a whole, and the mean cosine from a row of A to the nearest row of B.
"""

MAX_ROWS = 20_000


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "compare", "cosine of two strings", EXAMPLES, NOTES, __doc__ or "")
    parser.add_argument("a", metavar="A", help="a string, or a file of vectors")
    parser.add_argument("b", metavar="B", help="another one")
    parser.add_argument("--task", default=None, help="this specialist's view instead of the general vector")
    add_normalizer(parser, "for the general vector")
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Compare."""
    files = [side.endswith(SUFFIXES) and Path(side).is_file() for side in (args.a, args.b)]
    if all(files):
        return _files(VectorFile(Path(args.a)), VectorFile(Path(args.b)))
    if any(files):
        raise InputError("compare takes two strings or two files of vectors, not one of each; see edge-demist similar")
    with load_model(args) as model:
        vectors = model.encode([args.a, args.b], task=args.task, normalizer=args.normalizer)
    cosine = float(similarity(vectors[:1], vectors[1:])[0, 0])
    write_lines([dump({"a": args.a, "b": args.b, "cosine": round(cosine, 4)})])
    return 0


def _files(a: VectorFile, b: VectorFile) -> int:
    """Two files as a whole; of a longer one every n-th row."""
    require_same(a.passport, b.passport, str(a.path), str(b.path))
    sides = []
    for file in (a, b):
        rows = file.all()[0]
        rows = rows[rows.any(1)]
        if not len(rows):
            raise InputError(f"{file.path}: holds no vector")
        sides.append((len(rows), rows[:: -(-len(rows) // MAX_ROWS)].astype(np.float32)))
    (count_a, rows_a), (count_b, rows_b) = sides
    means = similarity(rows_a.mean(0, keepdims=True), rows_b.mean(0, keepdims=True))[0, 0]
    nearest = np.concatenate([similarity(part, rows_b).max(1) for part in np.array_split(rows_a, -(-len(rows_a) // 1024))]).mean()
    result = {"a": str(a.path), "b": str(b.path), "rows_a": count_a, "rows_b": count_b}
    write_lines([dump({**result, "cosine_of_means": round(float(means), 4), "nearest_mean": round(float(nearest), 4)})])
    return 0
