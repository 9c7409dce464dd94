"""``edge-demist cluster``: groups of strings that are alike, with a name, typical and odd members for each."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist.cli.lines import Progress, dump, write_lines
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_model, add_normalizer, command, number
from edge_demist.cli.strings import read_rows
from edge_demist.errors import BundleError, InputError
from edge_demist.explore import cluster
from edge_demist.explore.passport import KEY, Passport, passport_of, require_same
from edge_demist.explore.quantize import to_int8
from edge_demist.explore.vector_files import SUFFIXES, NoPassportError, Replacement, VectorFile
from edge_demist.io import spelled_out
from edge_demist.normalizers import to_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.model import EdgeDemist

EXAMPLES = (
    Example(
        "printf 'www.mit.edu\\nstanford.edu\\nbet365.com\\nberkeley.edu\\n' > names.txt\nedge-demist cluster names.txt --threshold 0.4",
        '{"cluster": 0, "name": …, "size": 3, "typical": …, "odd": …}',
    ),
)
NOTES = """
  edge-demist cluster attacks.txt --threshold 0.3 -o clusters.parquet
  edge-demist cluster vectors.parquet --count 30

input: strings (text, JSON Lines, Zeek or EVE logs, Parquet) or a file of vectors as embed writes it (.npy, .parquet, .jsonl).
output: a line a cluster, largest first: {"cluster", "name", "size", "typical", "odd"}. -o adds a file with every string's cluster and its
cosine to the middle (.parquet or .jsonl), for pandas and others.
Good thresholds: 0.3 for attack values and user agents, 0.4 for host names and tunnels where the bundle projects general vectors;
0.5 and 0.8 where it does not.
"""

BLOCK = 16_384


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "cluster", "group alike strings", EXAMPLES, NOTES, __doc__ or "")
    parser.add_argument("input", metavar="FILE", help="strings or vectors; - for standard input")
    parser.add_argument(
        "--threshold", type=number(0, 1, above=True), default=None, metavar="COSINE",
        help="leader clustering: how alike members are (0.7; 0.4 for general vectors that the bundle projects)",
    )  # fmt: skip
    parser.add_argument("--count", type=number(1, whole=True), default=None, metavar="N", help="k-means with N clusters instead")
    parser.add_argument(
        "--members", type=number(0, whole=True), default=5, metavar="N", help="typical and odd members to name (default: 5)"
    )
    parser.add_argument(
        "--smallest", type=number(1, whole=True), default=2, metavar="N", help="tell clusters of at least N members (default: 2)"
    )
    parser.add_argument("-o", "--output", type=Path, default=None, metavar="FILE", help="every string's cluster: .parquet or .jsonl")
    parser.add_argument("--field", default=None, metavar="NAME", help="key or column that holds the string")
    parser.add_argument("--task", default=None, help="this specialist's view instead of the general vector")
    add_normalizer(parser, "for the general vector")
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Cluster and tell; 1 if some rows hold no string."""
    if args.output is not None and args.output.suffix not in (".parquet", ".jsonl"):
        raise InputError(f"{args.output}: the name must end in .parquet or .jsonl")
    with load_model(args) as model:
        texts, vectors, passport, failed = _read(args, model)
        clusters = (
            cluster.kmeans(vectors, args.count)
            if args.count is not None
            else cluster.leader(vectors, args.threshold or _least(model, passport))
        )
        names = cluster.names(texts, [cluster.words_of(pieces) for pieces in _pieces(model, texts)], clusters)
    write_lines(_describe(texts, clusters, names, args.members, args.smallest))
    sizes = np.bincount(clusters.number[clusters.number >= 0])
    print(f"edge-demist: {len(texts):,} strings, {len(sizes):,} clusters, {int((sizes == 1).sum()):,} of one string", file=sys.stderr)
    if args.output is not None:
        _write(args.output, texts, clusters, names, passport)
    return 1 if failed else 0


def _pieces(model: EdgeDemist, texts: list[str]) -> Iterator[list[str]]:
    """The tokenizer's pieces of each text: they find the words in names that are written without blanks."""
    for begin in range(0, len(texts), BLOCK):
        ids, offsets = model.tokenizer.encode_batch([to_bytes(text)[:2048] for text in texts[begin : begin + BLOCK]])
        for text, (first, last) in zip(texts[begin:], itertools.pairwise(offsets), strict=False):
            try:
                yield model.tokenizer.pieces(ids[first:last])
            except BundleError:  # a tokenizer without the pieces' text
                yield [text[:2048]]


def _least(model: EdgeDemist, passport: Passport) -> float:
    """The cosine that members of a cluster have at least, where none is given."""
    return 0.4 if passport.task is None and model.inference.projection is not None else 0.7


def _read(args: argparse.Namespace, model: EdgeDemist) -> tuple[list[str], NDArray[np.int8], Passport, int]:
    """Distinct strings and their vectors, the passport of the vectors, and how many rows have no string."""
    if args.input != "-" and Path(args.input).suffix in SUFFIXES:
        try:
            file = VectorFile(Path(args.input))
        except NoPassportError:
            pass  # strings, not vectors
        else:
            return _from_vectors(args, model, file)
    failed, texts = 0, dict[str, None]()
    for row in read_rows(args.input, args.field):
        failed += bool(row.error)
        if not row.error:
            texts[row.text] = None
    every = list(texts)
    vectors, progress = np.empty((len(every), model.dim), np.int8), Progress()
    for begin in range(0, len(every), BLOCK):
        some = every[begin : begin + BLOCK]
        vectors[begin : begin + len(some)] = to_int8(model.encode(some, task=args.task, normalizer=args.normalizer))
        progress.add(len(some))
    progress.close()
    if failed:
        print(f"edge-demist: {args.input}: {failed:,} rows have no string", file=sys.stderr)
    return every, vectors, passport_of(model, args.task, args.normalizer, "int8"), failed


def _from_vectors(args: argparse.Namespace, model: EdgeDemist, file: VectorFile) -> tuple[list[str], NDArray[np.int8], Passport, int]:
    """Rows of a file of vectors, which must be of the space that ``--task`` asks for, if it does."""
    if args.task is not None:
        require_same(file.passport, passport_of(model, args.task, args.normalizer, "int8"), args.input, f"--task {args.task}")
    vectors, texts = file.all()
    if texts is None:
        texts = [f"row {i}" for i in range(len(vectors))]
    return texts, vectors, file.passport, int((~vectors.any(1)).sum())


def _describe(texts: list[str], clusters: cluster.Clusters, names: list[str], members: int, smallest: int) -> list[str]:
    """A JSON line a cluster."""
    order = np.lexsort((-np.nan_to_num(clusters.cosine, nan=-2), clusters.number))
    order = order[clusters.number[order] >= 0]
    bounds = np.searchsorted(clusters.number[order], np.arange(len(names) + 1))
    lines = []
    for k, name in enumerate(names):
        rows = order[bounds[k] : bounds[k + 1]]
        if len(rows) >= smallest:
            odd = rows[::-1][: min(members, max(len(rows) - members, 0))]
            about = {"typical": [texts[i] for i in rows[:members]], "odd": [texts[i] for i in odd]}
            lines.append(dump({"cluster": k, "name": name, "size": len(rows), **about}))
    return lines


def _write(path: Path, texts: list[str], clusters: cluster.Clusters, names: list[str], passport: Passport) -> None:
    """Every string's cluster, in the order of the input."""
    names_of = [names[n] if n >= 0 else None for n in clusters.number]
    with Replacement(path) as file:
        if path.suffix == ".jsonl":
            rows = zip(texts, clusters.number.tolist(), names_of, clusters.cosine.tolist(), strict=True)
            for text, k, name, cosine in rows:
                known = {"cluster": k, "name": name, "cosine": round(cosine, 4)} if k >= 0 else {"cluster": None}
                file.stream.write((dump({"text": text, **known}) + "\n").encode())
        else:
            try:
                import pyarrow as pa
                import pyarrow.parquet as pq
            except ImportError:
                raise InputError("writing Parquet needs pyarrow: pip install 'edge-demist[parquet]'") from None
            columns = {
                "text": pa.array(map(spelled_out, texts)),
                "cluster": pa.array(clusters.number),
                "name": pa.array([name and spelled_out(name) for name in names_of], pa.string()),
                "cosine": pa.array(clusters.cosine),
            }
            pq.write_table(pa.table(columns).replace_schema_metadata({KEY: passport.to_json()}), file.stream, compression="zstd")
        file.commit()
