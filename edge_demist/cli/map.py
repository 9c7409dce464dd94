"""``edge-demist map``: strings as points of the world map, in one HTML file that needs no network."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist.cli.lines import Progress
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_model, add_normalizer, command, number
from edge_demist.cli.strings import Row, read_rows
from edge_demist.errors import InputError
from edge_demist.io import spelled_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.explore.page import Group, Points
    from edge_demist.explore.places import Atlas, Located
    from edge_demist.model import EdgeDemist

EXAMPLES = (
    Example(
        "printf 'bet365.com\\nwww.mit.edu\\nkernel.org\\n' > today.txt\n"
        "printf 'www.mit.edu\\n' > yesterday.txt\n"
        "edge-demist map today.txt --compare yesterday.txt -o map.html\n"
        "ls map.html",
        "map.html",
    ),
)
NOTES = """
  edge-demist map dns.log.gz -o map.html --color first-seen
  edge-demist map verdicts.jsonl -o map.html --color score --parquet places.parquet

input: a string a line, JSON Lines or CSV (text, and label, score, time if there), events of watch, Zeek or EVE logs, Parquet, a sensor's
state folder; compressed files as they are. The page shows distinct strings and needs no network. A string always has the same place, so
maps of different days and sensors can be compared.
"""

MAX_NAMES = 2_000_000
BLOCK = 16_384


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "map", "draw strings as a map, one HTML file", EXAMPLES, NOTES, __doc__ or "")
    parser.add_argument("input", nargs="+", metavar="FILE", help="what to show; - for standard input")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.html", help="the page")
    parser.add_argument("--field", default=None, metavar="NAME", help="key or column that holds the string (default: text, query, host, …)")
    parser.add_argument(
        "--color", default="auto", metavar="WHAT", help="label, score, first-seen, kind or a column (default: label if there)"
    )
    parser.add_argument("--task", default=None, help="label and score from this specialist")
    parser.add_argument("--compare", default=None, metavar="OLDER", help="mark what is new since this file, and what is gone")
    parser.add_argument("--continent", default=None, metavar="NAME", help="put everything on this continent (host, request, agent, …)")
    parser.add_argument("--parquet", type=Path, default=None, metavar="FILE", help="also write places and columns as Parquet")
    parser.add_argument("--title", default=None, help="stands above the map (default: the file's name)")
    add_normalizer(parser, "applied before embedding")
    most = number(1, whole=True)
    parser.add_argument("--max-names", type=most, default=MAX_NAMES, metavar="N", help="distinct strings at most (default: %(default)s)")
    add_model(parser)


@dataclass
class Names:
    """Distinct strings and what was found beside them."""

    number: dict[str, int] = field(default_factory=dict)
    label: list[str] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    column: list[str | float | None] = field(default_factory=list)
    failed: int = 0
    beyond: int = 0

    def add(self, row: Row, most: int) -> None:
        """Count a row: the earliest time is kept, and the label with the largest score."""
        k = self.number.get(row.text)
        score = np.nan if row.score is None else row.score
        seen = np.nan if row.time is None else row.time
        if k is None:
            if len(self.number) >= most:
                self.beyond += 1
                return
            self.number[row.text] = len(self.number)
            self.label.append(row.label)
            self.score.append(score)
            self.first.append(seen)
            self.times.append(1)
            self.column.append(row.column)
            return
        self.times[k] += 1
        self.first[k] = float(np.fmin(self.first[k], seen))
        if not self.score[k] >= score and row.score is not None:
            self.score[k], self.label[k] = score, row.label or self.label[k]
        elif not self.label[k]:
            self.label[k] = row.label


def run(args: argparse.Namespace) -> int:
    """Read, embed, place, write; 1 if some lines failed."""
    if args.output.suffix not in (".html", ".htm"):
        raise InputError(f"{args.output}: the page's name must end in .html")
    column = None if args.color in ("auto", "label", "score", "first-seen", "kind") else args.color
    with load_model(args) as model:
        atlas = model.atlas
        if args.task is not None:
            model.specialist(args.task)
        for file in [*args.input, *([args.compare] if args.compare else [])]:
            _check_space(file, model, args.normalizer)
        names = _read(args.input, args.field, column, args.max_names)
        older = _read([args.compare], args.field, None, args.max_names) if args.compare is not None else None
        _write(args, model, atlas, names, older)
    for source in filter(None, (names, older)):
        if source.beyond:
            print(
                f"edge-demist: {source.beyond:,} lines hold strings beyond the first {args.max_names:,}; see --max-names", file=sys.stderr
            )
    failed = names.failed + (older.failed if older else 0)
    return 1 if failed else 0


def _check_space(file: str, model: EdgeDemist, normalizer: str) -> None:
    """Refuse vectors or places of another space, whose user would take this map for theirs; files without a passport hold strings.

    Raises:
        InputError: says how to embed again.
    """
    from edge_demist.explore.passport import passport_of, require_same
    from edge_demist.explore.vector_files import read_passport

    passport = read_passport(Path(file)) if file != "-" else None
    if passport is not None:
        require_same(passport, passport_of(model, None, normalizer, "float32"), file, "the map")


def _read(files: list[str], key: str | None, column: str | None, most: int) -> Names:
    """Distinct strings of files."""
    names = Names()
    progress = Progress()
    for file in files:
        before = names.failed
        for count, row in enumerate(read_rows(file, key, column), 1):
            if row.error:
                names.failed += 1
                if names.failed - before <= 3:
                    print(f"edge-demist: {file}: row {count}: {row.error}", file=sys.stderr)
            else:
                names.add(row, most)
            if count % BLOCK == 0:
                progress.add(BLOCK)
        if names.failed - before > 3:
            print(f"edge-demist: {file}: {names.failed - before:,} rows in all have no string", file=sys.stderr)
    progress.close()
    return names


def _write(args: argparse.Namespace, model: EdgeDemist, atlas: Atlas, names: Names, older: Names | None) -> None:
    """Everything after reading: place, colour, write."""
    from edge_demist.explore.page import build_page
    from edge_demist.explore.vector_files import Replacement

    gone = [text for text in older.number if text not in names.number] if older else []
    texts = sorted([*names.number, *gone])
    table = _columns(texts, names, older)
    located = _place(args, model, atlas, texts, table)
    points, groups, legend = _coloured(args, atlas, texts, table, located)
    title = args.title or ", ".join(Path(name).name for name in args.input)
    about = f"{len(texts):,} names. {model.bundle.name} version {model.bundle.version}, normalizer {args.normalizer}."
    page = build_page(points, groups, atlas, title=title, legend=legend, about=about)
    with Replacement(args.output) as file:
        file.stream.write(page)
        file.commit()
    if args.parquet is not None:
        _write_parquet(args, model, atlas, texts, table, located)
    print(f"edge-demist: {len(texts):,} names, {args.output} has {len(page):,} bytes", file=sys.stderr)


@dataclass
class Table:
    """Columns in the order of the texts; ``status``: 0 in both or no comparison, 1 new, 2 gone."""

    label: list[str]
    score: NDArray[np.float64]
    first: NDArray[np.float64]
    times: NDArray[np.int64]
    column: list[str | float | None]
    status: NDArray[np.uint8]


def _columns(texts: list[str], names: Names, older: Names | None) -> Table:
    """Gather what was read, in the order of the texts."""
    other = older or Names()
    where = [(names, names.number[t], False) if t in names.number else (other, other.number[t], True) for t in texts]
    status = np.zeros(len(texts), np.uint8)
    if older is not None:
        status[:] = [2 if gone else int(t not in other.number) for t, (_, _, gone) in zip(texts, where, strict=True)]
    return Table(
        [source.label[k] for source, k, _ in where],
        np.array([source.score[k] for source, k, _ in where], np.float64),
        np.array([source.first[k] for source, k, _ in where], np.float64),
        np.array([source.times[k] for source, k, _ in where], np.int64),
        [source.column[k] for source, k, _ in where],
        status,
    )  # fmt: skip


def _place(args: argparse.Namespace, model: EdgeDemist, atlas: Atlas, texts: list[str], table: Table) -> Located:
    """Places of all texts, block by block; with ``--task`` labels and scores too."""
    from edge_demist.explore.places import Located

    places, land = np.empty((len(texts), 2), np.float32), np.empty(len(texts), np.uint8)
    progress, began = Progress(), time.monotonic()
    for begin in range(0, len(texts), BLOCK):
        some = texts[begin : begin + BLOCK]
        block = atlas.locate(model.encode(some, normalizer=args.normalizer, projected=False), args.continent)
        places[begin : begin + BLOCK], land[begin : begin + BLOCK] = block
        if args.task is not None:
            for k, answer in enumerate(model.classify(some, task=args.task), begin):
                table.label[k], table.score[k] = answer.label, np.nan if answer.error else answer.score
        progress.add(len(some))
    progress.close()
    if len(texts) > BLOCK:
        print(f"edge-demist: placed {len(texts):,} names in {time.monotonic() - began:.1f} s", file=sys.stderr)
    return Located(places, land)


def _coloured(args: argparse.Namespace, atlas: Atlas, texts: list[str], table: Table, located: Located) -> tuple[Points, list[Group], str]:
    """Points, legend and its title, by what ``--color`` asks for."""
    from edge_demist.explore.legend import by_label, by_number
    from edge_demist.explore.page import Points

    wanted = args.color
    if wanted == "auto":
        wanted = "label" if any(table.label) else "kind"
    numbers, kind = {"score": (table.score, "number"), "first-seen": (table.first, "time")}.get(wanted, (None, ""))
    if wanted not in ("label", "kind", "score", "first-seen"):
        if all(isinstance(v, (int, float)) or v is None for v in table.column):
            numbers, kind = np.array([np.nan if v is None else v for v in table.column], np.float64), "number"
        else:
            table.label = ["" if v is None else str(v) for v in table.column]
    if numbers is not None:
        group, groups = by_number(numbers, kind)
        value, value_kind = numbers, kind
    else:
        labels = [atlas.continents[c] for c in located.continent] if wanted == "kind" else table.label
        group, groups = by_label(labels)
        has_score = wanted == "label" and bool(np.isfinite(table.score).any())
        value, value_kind = (table.score, "number") if has_score else (None, "")  # type: ignore[assignment]
    return Points(texts, located.places, group, table.times, table.status, value, value_kind), groups, wanted


def _write_parquet(args: argparse.Namespace, model: EdgeDemist, atlas: Atlas, texts: list[str], table: Table, located: Located) -> None:
    """Places beside the columns; the passport goes into the file's metadata."""
    from edge_demist.explore.passport import KEY, passport_of
    from edge_demist.explore.vector_files import Replacement

    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError("writing Parquet needs pyarrow: pip install 'edge-demist[parquet]'") from None
    columns = {
        "text": pa.array(map(spelled_out, texts)),
        "x": pa.array(located.places[:, 0]),
        "y": pa.array(located.places[:, 1]),
        "continent": pa.array([atlas.continents[c] for c in located.continent]),
        "label": pa.array([spelled_out(label) or None for label in table.label], pa.string()),
        "score": pa.array(table.score, from_pandas=True),
        "first_seen": pa.array(table.first, from_pandas=True),
        "times": pa.array(table.times),
        "status": pa.array([("", "new", "gone")[s] for s in table.status]),
    }
    passport = passport_of(model, None, args.normalizer, "float32")
    made = pa.table(columns).replace_schema_metadata({KEY: passport.to_json()})
    with Replacement(args.parquet) as file:
        pq.write_table(made, file.stream, compression="zstd")
        file.commit()
