"""``edge-demist embed``: a vector for each string, as NumPy, JSON Lines or Parquet."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_demist.cli.line import Line
from edge_demist.cli.lines import Progress, dump, read_batches, said, write_lines
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_input, add_model, add_normalizer, command
from edge_demist.errors import InputError
from edge_demist.explore.passport import DTYPES, KEY, Passport, passport_of
from edge_demist.explore.vector_files import SUFFIXES, Replacement, stored, write_sidecar
from edge_demist.io import printable
from edge_demist.model import EdgeDemist

Floats = NDArray[np.float32]

EXAMPLES = (
    Example(
        "printf 'kernel.org\\ngnu.org\\n' > names.txt\n"
        "edge-demist embed --normalizer hostname names.txt -o vectors.npy\n"
        "python3 -c \"import numpy; print(numpy.load('vectors.npy').shape)\"",
        "(2, 384)",
    ),
    Example("printf 'kernel.org\\n' | edge-demist embed --task hostname-category -", '{"text": "kernel.org", "vector": […], "space": …}'),
)
NOTES = """
output: .npy [lines, dim]; .jsonl {"text", "vector", "space"}; .parquet columns text, vector (needs edge-demist[parquet]).
Each says which bundle, task and normalizer made it (.npy in a file beside it, FILE.npy.json), so that similar, compare, map and
cluster mix nothing. --dtype int8 takes a quarter of the room, binary a 32nd ([lines, dim / 8] bytes).
A line that cannot be processed becomes a row of NaN (int8 and binary: zeros) in .npy and .parquet, {"line", "error"} in JSON Lines.
Files are written whole or not at all.
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "embed", "embed strings", EXAMPLES, NOTES, __doc__ or "")
    add_input(parser)
    form = ".npy, .jsonl or .parquet; - for JSON Lines on stdout (default)"
    parser.add_argument("-o", "--output", default="-", metavar="OUT", help=form)
    parser.add_argument("--task", help="this specialist's view instead of the general vector")
    add_normalizer(parser, "for the general vector")
    parser.add_argument("--dtype", default="float32", choices=DTYPES, help="how numbers are stored (default: %(default)s)")
    add_model(parser)


class Sink(Protocol):
    """Takes vectors batch by batch; ``commit`` makes the file appear."""

    def write(self, lines: list[Line], vectors: Floats) -> None:
        """Add a batch."""

    def commit(self) -> None:
        """Finish."""


class _NpySink:
    """A .npy file whose header is filled in at the end, when the number of rows is known (NumPy format 1.0)."""

    HEADER_BYTES = 128

    def __init__(self, file: Replacement, passport: Passport) -> None:
        self._file, self._passport, self._rows = file, passport, 0
        file.stream.write(b"\0" * self.HEADER_BYTES)

    def write(self, lines: list[Line], vectors: Floats) -> None:
        self._file.stream.write(np.ascontiguousarray(stored(vectors, self._passport.dtype)).tobytes())
        self._rows += len(vectors)

    def commit(self) -> None:
        kind, width = {"float32": ("<f4", 1), "int8": ("|i1", 1), "binary": ("|u1", 8)}[self._passport.dtype]
        described = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({self._rows}, {self._passport.dim // width}), }}"
        room = self.HEADER_BYTES - 10
        header = described.ljust(room - 1) + "\n"
        self._file.stream.seek(0)
        self._file.stream.write(b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + header.encode("ascii"))
        write_sidecar(self._file.target, self._passport, self._rows)
        self._file.commit()


class _JsonSink:
    """JSON Lines, to a file or to stdout."""

    def __init__(self, file: Replacement | None, passport: Passport) -> None:
        self._file, self._passport, self._told = file, passport, False

    def write(self, lines: list[Line], vectors: Floats) -> None:
        rows = stored(vectors, self._passport.dtype)
        out = [self._record(line, row) for line, row in zip(lines, rows, strict=True)]
        if self._file is None:
            write_lines(out)
        else:
            self._file.stream.write("".join(line + "\n" for line in out).encode("utf-8"))

    def _record(self, line: Line, row: NDArray[Any]) -> str:
        if line.error:
            return dump({"line": line.number, "error": line.error})
        numbers = [round(float(v), 7) for v in row] if self._passport.dtype == "float32" else row.tolist()
        result: dict[str, Any] = {"text": line.text, "vector": numbers, "space": self._passport.space}
        if not self._told:
            self._told, result["passport"] = True, dataclasses.asdict(self._passport)
        return said(line, result)

    def commit(self) -> None:
        if self._file is not None:
            self._file.commit()


class _ParquetSink:
    """Parquet through pyarrow, a row group a batch."""

    def __init__(self, file: Replacement, passport: Passport) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise InputError("writing Parquet needs pyarrow: pip install 'edge-demist[parquet]'") from None
        self._arrow, self._file, self._dtype = pyarrow, file, passport.dtype
        kind, width = {"float32": (pyarrow.float32(), 1), "int8": (pyarrow.int8(), 1), "binary": (pyarrow.uint8(), 8)}[passport.dtype]
        self._width = passport.dim // width
        columns = [("text", pyarrow.string()), ("vector", pyarrow.list_(kind, self._width))]
        self._schema = pyarrow.schema(columns, metadata={KEY: passport.to_json()})
        self._writer = pyarrow.parquet.ParquetWriter(file.stream, self._schema, compression="zstd")

    def write(self, lines: list[Line], vectors: Floats) -> None:
        texts = self._arrow.array([line.text.encode("utf-8", "replace").decode("utf-8") for line in lines])
        flat = self._arrow.array(np.ascontiguousarray(stored(vectors, self._dtype)).reshape(-1))
        column = self._arrow.FixedSizeListArray.from_arrays(flat, self._width)
        self._writer.write_table(self._arrow.Table.from_arrays([texts, column], schema=self._schema))

    def commit(self) -> None:
        self._writer.close()
        self._file.commit()


def run(args: argparse.Namespace) -> int:
    """Embed; 1 if some lines failed."""
    with load_model(args) as model:
        passport = passport_of(model, args.task, args.normalizer, args.dtype)
        if args.output == "-":
            return _run(args, model, _JsonSink(None, passport))
        target = Path(args.output)
        if target.suffix not in SUFFIXES:
            raise InputError(f"{target}: the name must end in .npy, .jsonl or .parquet")
        with Replacement(target) as file:
            kind: Any = {".npy": _NpySink, ".jsonl": _JsonSink, ".parquet": _ParquetSink}[target.suffix]
            return _run(args, model, kind(file, passport))


def _run(args: argparse.Namespace, model: EdgeDemist, sink: Sink) -> int:
    """Stream the input through the model into a sink."""
    failed = 0
    progress = Progress()
    for lines in _nonempty(read_batches(args)):
        good = [i for i, line in enumerate(lines) if not line.error]
        vectors = np.full((len(lines), model.dim), np.nan, np.float32)
        if good:
            vectors[good] = model.encode([lines[i].text for i in good], task=args.task, normalizer=args.normalizer)
        for line in lines:
            if line.error:
                failed += 1
                print(f"edge-demist: line {line.number}: {printable(line.error)}", file=sys.stderr)
        sink.write(lines, vectors)
        progress.add(len(lines))
    sink.commit()
    progress.close()
    return 1 if failed else 0


def _nonempty(batches: Iterator[list[Line]]) -> Iterator[list[Line]]:
    return (batch for batch in batches if batch)
