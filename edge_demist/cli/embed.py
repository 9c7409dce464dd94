"""``edge-demist embed``: a vector for each string, as NumPy, JSON Lines or Parquet."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_demist.cli.lines import Line, Progress, dump, merged, read_batches, write_lines
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_input, add_model, add_normalizer, command
from edge_demist.errors import InputError
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
    Example("printf 'kernel.org\\n' | edge-demist embed --task hostname-category -", '{"text": "kernel.org", "vector": […]}'),
)
NOTES = """
output: .npy float32 [lines, dim]; .jsonl {"text", "vector"}; .parquet columns text, vector (needs edge-demist[parquet]).
A line that cannot be processed becomes a row of NaN in .npy and .parquet, {"line", "error"} in JSON Lines.
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
    add_model(parser)


class Sink(Protocol):
    """Takes vectors batch by batch; ``commit`` makes the file appear."""

    def write(self, lines: list[Line], vectors: Floats) -> None:
        """Add a batch."""

    def commit(self) -> None:
        """Finish."""


class _Replacement:
    """A temporary file beside the target that replaces it on ``commit`` and vanishes otherwise."""

    def __init__(self, target: Path) -> None:
        self.target, self.path = target, target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            self.stream = self.path.open("wb")
        except OSError as error:
            raise InputError(f"{target}: cannot be written ({error.strerror})") from None

    def __enter__(self) -> _Replacement:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stream.close()
        self.path.unlink(missing_ok=True)

    def commit(self) -> None:
        """Make the file durable, then visible."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.path.replace(self.target)


class _NpySink:
    """A .npy file whose header is filled in at the end, when the number of rows is known (NumPy format 1.0)."""

    HEADER_BYTES = 128

    def __init__(self, file: _Replacement, dim: int) -> None:
        self._file, self._dim, self._rows = file, dim, 0
        file.stream.write(b"\0" * self.HEADER_BYTES)

    def write(self, lines: list[Line], vectors: Floats) -> None:
        self._file.stream.write(vectors.astype("<f4", copy=False).tobytes())
        self._rows += len(vectors)

    def commit(self) -> None:
        described = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({self._rows}, {self._dim}), }}"
        room = self.HEADER_BYTES - 10
        header = described.ljust(room - 1) + "\n"
        self._file.stream.seek(0)
        self._file.stream.write(b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + header.encode("ascii"))
        self._file.commit()


class _JsonSink:
    """JSON Lines, to a file or to stdout."""

    def __init__(self, file: _Replacement | None) -> None:
        self._file = file

    def write(self, lines: list[Line], vectors: Floats) -> None:
        out = [dump(_record(line, vector)) for line, vector in zip(lines, vectors, strict=True)]
        if self._file is None:
            write_lines(out)
        else:
            self._file.stream.write("".join(line + "\n" for line in out).encode("ascii"))

    def commit(self) -> None:
        if self._file is not None:
            self._file.commit()


class _ParquetSink:
    """Parquet through pyarrow, a row group a batch."""

    def __init__(self, file: _Replacement, dim: int) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise InputError("writing Parquet needs pyarrow: pip install 'edge-demist[parquet]'") from None
        self._arrow, self._file, self._dim = pyarrow, file, dim
        self._schema = pyarrow.schema([("text", pyarrow.string()), ("vector", pyarrow.list_(pyarrow.float32(), dim))])
        self._writer = pyarrow.parquet.ParquetWriter(file.stream, self._schema, compression="zstd")

    def write(self, lines: list[Line], vectors: Floats) -> None:
        texts = self._arrow.array([line.text.encode("utf-8", "replace").decode("utf-8") for line in lines])
        flat = self._arrow.array(vectors.reshape(-1))
        column = self._arrow.FixedSizeListArray.from_arrays(flat, self._dim)
        self._writer.write_table(self._arrow.Table.from_arrays([texts, column], schema=self._schema))

    def commit(self) -> None:
        self._writer.close()
        self._file.commit()


def _record(line: Line, vector: Floats) -> dict[str, Any]:
    if line.error:
        return {"line": line.number, "error": line.error}
    return merged(line.carried, {"text": line.text, "vector": [round(float(v), 7) for v in vector]})


def run(args: argparse.Namespace) -> int:
    """Embed; 1 if some lines failed."""
    with load_model(args) as model:
        if args.output == "-":
            return _run(args, model, _JsonSink(None))
        target = Path(args.output)
        if target.suffix not in (".npy", ".jsonl", ".parquet"):
            raise InputError(f"{target}: the name must end in .npy, .jsonl or .parquet")
        if args.task is not None:
            model.specialist(args.task)
        with _Replacement(target) as file:
            return _run(args, model, _file_sink(target.suffix, file, model.dim))


def _file_sink(suffix: str, file: _Replacement, dim: int) -> Sink:
    if suffix == ".npy":
        return _NpySink(file, dim)
    return _JsonSink(file) if suffix == ".jsonl" else _ParquetSink(file, dim)


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
