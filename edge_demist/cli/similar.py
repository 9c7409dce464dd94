"""``edge-demist similar``: the strings of a file, or of a sensor's memory, that are most like a given one."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist.cli.inputs import opened
from edge_demist.cli.line import MAX_LINE_BYTES
from edge_demist.cli.lines import dump, write_lines
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_model, command, number
from edge_demist.cli.strings import MEMORY, read_rows, seconds
from edge_demist.errors import InputError
from edge_demist.explore.passport import passport_of, require_same
from edge_demist.explore.quantize import to_int8
from edge_demist.explore.search import Best, cosines
from edge_demist.explore.vector_files import Block, VectorFile
from edge_demist.io import bounded_lines
from edge_demist.normalizers import from_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.model import EdgeDemist

EXAMPLES = (
    Example(
        "printf 'bet365.com\\nwww.mit.edu\\nkernel.org\\n' > names.txt\n"
        "edge-demist embed names.txt -o names.jsonl --dtype int8\n"
        "edge-demist similar stanford.edu --in names.jsonl -k 1",
        '{"query": "stanford.edu", "rank": 1, "text": "www.mit.edu", "cosine": …, "row": 1}',
    ),
)
NOTES = """
  edge-demist similar - --in names.parquet < suspects.txt
  edge-demist similar paypal-login.example --in /var/lib/edge-demist --since 7d

output: one line a neighbour, nearest first: {"query", "rank", "text", "cosine", "row"}. The search is exact.
--in takes .npy, .jsonl and .parquet as `embed` writes them (.npy has no strings: rows are numbered from 0) or a sensor's state folder.
"""

SPAN = re.compile(r"(\d{1,6})([smhdw])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
EMBEDDED = 16_384
SPARE = 16
"""Rows beyond k that are looked at again: int8 rows are of nearly, not exactly, one length."""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "similar", "most similar strings", EXAMPLES, NOTES, __doc__ or "")
    parser.add_argument("text", metavar="TEXT", help="what to look for; - reads one a line from standard input")
    parser.add_argument("--in", dest="file", type=Path, required=True, metavar="FILE", help="file of vectors, or a sensor's state folder")
    parser.add_argument("-k", type=number(1, 1000, whole=True), default=20, metavar="N", help="neighbours for each (default: %(default)s)")
    parser.add_argument("--task", default=None, help="refuse a file that does not hold this specialist's vectors")
    parser.add_argument(
        "--since", type=span, default=None, metavar="SPAN", help="only strings seen within 30m, 12h, 7d (needs a time in FILE)"
    )
    add_model(parser)


def span(text: str) -> int:
    """Seconds of ``7d``, ``12h``, ``30m``, ``45s``, ``2w``."""
    found = SPAN.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time such as 30m, 12h or 7d")
    return int(found[1]) * UNITS[found[2]]


def run(args: argparse.Namespace) -> int:
    """Search; 1 if a query cannot be embedded."""
    with load_model(args) as model:
        source = _Source(args, model)
        queries = [args.text] if args.text != "-" else _asked()
        good = [text for text in queries if text.strip()]
        vectors = to_int8(model.encode(good, task=source.task, normalizer=source.normalizer)) if good else None
        if vectors is not None:
            for line in _found(source, good, vectors, args.k):
                write_lines([line])
    if len(good) < len(queries):
        print(f"edge-demist: {len(queries) - len(good)} lines are empty", file=sys.stderr)
    return 1 if len(good) < len(queries) else 0


def _asked() -> list[str]:
    """Strings of standard input, one a line."""
    with opened("-") as stream:
        return [from_bytes(raw) for batch in bounded_lines(stream, MAX_LINE_BYTES) for raw, _ in batch]


class _Source:
    """Rows to search: a file of vectors, or the strings of a state folder, embedded as they come."""

    def __init__(self, args: argparse.Namespace, model: EdgeDemist) -> None:
        self.args, self.model = args, model
        self.task: str | None = None
        self.normalizer = "identity"
        self.file: VectorFile | None = None
        if args.file.is_dir() and (args.file / MEMORY).is_file():
            self.task = args.task
            return
        self.file = VectorFile(args.file)
        passport = self.file.passport
        if args.task is not None and args.task != passport.task:
            raise InputError(
                f"{args.file} holds another view ({passport.view}) than --task {args.task}; embed it again with --task {args.task}"
            )
        if passport.task is not None and passport.task not in model.tasks:
            raise InputError(f"{args.file} holds vectors of task {passport.task}, which this bundle does not have")
        require_same(passport, passport_of(model, passport.task, passport.normalizer, "float32"), str(args.file), "this bundle")
        self.task, self.normalizer = passport.task, passport.normalizer

    def blocks(self) -> Iterator[tuple[Block, NDArray[np.int64]]]:
        """Blocks, and the numbers of the rows of each that are recent enough."""
        oldest = None if self.args.since is None else time.time() - self.args.since
        for block in self.file.blocks() if self.file is not None else self._remembered():
            keep = np.arange(len(block.vectors))
            if oldest is not None:
                if block.times is None:
                    raise InputError(f"{self.args.file}: --since needs a column time, first_seen or last_seen")
                keep = np.array([i for i, t in enumerate(block.times) if (s := seconds(t)) is not None and s >= oldest], np.int64)
            yield block, keep

    def _remembered(self) -> Iterator[Block]:
        rows = read_rows(str(self.args.file))
        first = 0
        while some := [row for row, _ in zip(rows, range(EMBEDDED), strict=False)]:
            vectors = to_int8(self.model.encode([row.text for row in some], task=self.task, normalizer=self.normalizer))
            yield Block(first, vectors, [row.text for row in some], [row.last for row in some])
            first += len(some)


def _found(source: _Source, queries: list[str], vectors: NDArray[np.int8], k: int) -> Iterator[str]:
    """JSON lines, query by query."""
    best = Best(len(queries), k + SPARE)
    kept: dict[int, tuple[NDArray[np.int8], str | None]] = {}
    for block, keep in source.blocks():
        rows = block.vectors if len(keep) == len(block.vectors) else np.ascontiguousarray(block.vectors[keep])
        before = best.rows.copy()
        best.add(vectors, rows, block.first)
        for row in set(best.rows[best.rows != before].tolist()) - {-1}:
            at = row - block.first
            if 0 <= at < len(keep) and row not in kept:
                original = int(keep[at])
                kept[row] = rows[at], block.texts[original] if block.texts is not None else None
    for q, query in enumerate(queries):
        hits = [(int(r), kept[int(r)]) for r, s in zip(best.rows[q], best.scores[q], strict=True) if r >= 0 and kept[int(r)][0].any()]
        if not hits:
            continue
        found = np.stack([vector for _, (vector, _) in hits])[None]
        cosine = cosines(best.scores[q : q + 1, : len(hits)], vectors[q : q + 1], found)[0]
        for rank, i in enumerate(np.argsort(-cosine, kind="stable")[:k], 1):
            row, (_, text) = hits[i]
            shown = {} if text is None else {"text": text}
            yield dump({"query": query, "rank": rank, **shown, "cosine": round(float(cosine[i]), 4), "row": row})
