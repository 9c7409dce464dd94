"""Files of vectors with a passport: ``.npy``, ``.jsonl`` and ``.parquet``, written whole or not at all, read block by block.

Where the passport lies: in ``<name>.npy.json`` beside the array (the format has no room for it), in the key ``passport`` of the first
JSON line (every line has its ``space``), in a Parquet file's metadata under ``edge_demist``. dtype ``float32`` (NaN for a
line that could not be embedded), ``int8`` [n, dim] (zeros) or ``binary`` uint8 [n, dim / 8] (zeros).
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edge_demist.errors import InputError
from edge_demist.explore.passport import KEY, MAX_BYTES, Passport, parse_passport
from edge_demist.explore.quantize import from_bits, scale_of, to_bits, to_int8
from edge_demist.io import create_beside, is_special, read_bounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 65_536
MAX_LINE_BYTES = 1 << 20
SUFFIXES = (".npy", ".jsonl", ".parquet")


class Replacement:
    """A new file beside the target that replaces it on ``commit`` and vanishes otherwise; of a link what it leads to is replaced."""

    def __init__(self, target: Path) -> None:
        """Open the temporary file, by a name that nobody can foresee.

        Raises:
            InputError: the folder cannot be written, or the target is a pipe or a device.
        """
        if is_special(target):
            raise InputError(f"{target}: is no regular file")
        self.target = Path(os.path.realpath(target))
        try:
            name, handle = create_beside(self.target, 0o666 & ~_umask())
        except OSError as error:
            raise InputError(f"{target}: cannot be written ({error.strerror})") from None
        self.path, self.stream = Path(name), os.fdopen(handle, "wb")

    def __enter__(self) -> Replacement:
        """Use in a ``with`` block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Leave no unfinished file behind."""
        self.stream.close()
        self.path.unlink(missing_ok=True)

    def commit(self) -> None:
        """Make the file durable, then visible."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.path.replace(self.target)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def stored(vectors: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Unit vectors float32 [n, dim] as a file of ``dtype`` holds them."""
    if dtype == "int8":
        return to_int8(vectors)
    return to_bits(vectors) if dtype == "binary" else vectors


def sidecar(path: Path) -> Path:
    """Where the passport of an ``.npy`` file lies."""
    return path.with_name(path.name + ".json")


def write_sidecar(path: Path, passport: Passport, rows: int) -> None:
    """Write the passport of an ``.npy`` file, with the number of its rows."""
    with Replacement(sidecar(path)) as file:
        file.stream.write((json.dumps({**dataclasses.asdict(passport), "rows": rows}, sort_keys=True, indent=1) + "\n").encode())
        file.commit()


class Block(NamedTuple):
    """Rows that follow each other, as int8 [n, dim], and their texts where the file has them."""

    first: int
    vectors: NDArray[np.int8]
    texts: Sequence[str] | None
    times: Sequence[Any] | None = None


class VectorFile:
    """A file of vectors opened for reading."""

    def __init__(self, path: Path) -> None:
        """Read the passport.

        Raises:
            InputError: no such file, another kind of file, no passport, or a malformed one.
        """
        self.path = path
        if path.suffix not in SUFFIXES:
            raise InputError(f"{path}: is no file of vectors (.npy, .jsonl or .parquet as edge-demist embed writes them)")
        if not path.is_file():
            raise InputError(f"{path}: {'is a directory' if path.is_dir() else 'no such file'}")
        self.passport = {".npy": _npy_passport, ".jsonl": _json_passport, ".parquet": _parquet_passport}[path.suffix](path)

    def blocks(self) -> Iterator[Block]:
        """All rows in order.

        Raises:
            InputError: the content is not what the passport says.
        """
        read = {".npy": self._npy_blocks, ".jsonl": self._json_blocks, ".parquet": self._parquet_blocks}[self.path.suffix]
        return read()

    def all(self) -> tuple[NDArray[np.int8], list[str] | None]:
        """Every row in memory: int8 [n, dim], and the texts where the file has them."""
        blocks = list(self.blocks())
        vectors = np.concatenate([block.vectors for block in blocks]) if blocks else np.empty((0, self.passport.dim), np.int8)
        if not blocks or blocks[0].texts is None:
            return vectors, None
        return vectors, [text for block in blocks for text in block.texts or ()]

    def _int8(self, raw: NDArray[Any]) -> NDArray[np.int8]:
        """Rows as stored to int8 with the one scale."""
        passport = self.passport
        kind = {"float32": ("f", passport.dim), "int8": ("i", passport.dim), "binary": ("u", passport.dim // 8)}[passport.dtype]
        if raw.ndim != 2 or raw.dtype.kind != kind[0] or raw.shape[1] != kind[1] or (passport.dtype != "float32" and raw.itemsize != 1):
            raise InputError(
                f"{self.path}: holds {raw.dtype} {list(raw.shape)}, its passport says {passport.dtype} of {passport.dim} numbers"
            )
        if passport.dtype == "float32":
            return to_int8(np.asarray(raw, np.float32))
        if passport.dtype == "binary":
            return from_bits(np.ascontiguousarray(raw))
        if abs(passport.scale - scale_of(passport.dim)) > 1e-6 * passport.scale:
            raise InputError(f"{self.path}: its int8 scale is {passport.scale}, this version's {scale_of(passport.dim)}; embed again")
        return np.ascontiguousarray(raw)

    def _npy_blocks(self) -> Iterator[Block]:
        try:
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be read as .npy ({str(error)[:200]})") from None
        step = len(array) if self.passport.dtype == "int8" else BLOCK  # int8 is searched where it lies
        for first in range(0, len(array), max(step, 1)):
            yield Block(first, self._int8(array[first : first + step]), None)

    def _json_blocks(self) -> Iterator[Block]:
        first, texts, rows = 0, list[str](), list[Any]()
        for number, value in _json_lines(self.path):
            if "vector" not in value:
                continue  # a line that could not be embedded
            if value.get("space") != self.passport.space:
                raise InputError(f"{self.path}: line {number} is in another space than the first line; embed all of it again")
            texts.append(str(value.get("text", "")))
            rows.append(value["vector"])
            if len(rows) == BLOCK:
                yield self._json_block(first, rows, texts)
                first, texts, rows = first + len(rows), [], []
        if rows:
            yield self._json_block(first, rows, texts)

    def _json_block(self, first: int, rows: list[Any], texts: list[str]) -> Block:
        dtype = {"float32": np.float32, "int8": np.int8, "binary": np.uint8}[self.passport.dtype]
        try:
            raw = np.array(rows, dtype)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{self.path}: a vector is malformed ({str(error)[:200]})") from None
        return Block(first, self._int8(raw), texts)

    def _parquet_blocks(self) -> Iterator[Block]:
        arrow = _pyarrow()
        with arrow.ParquetFile(self.path) as file:
            have = set(file.schema_arrow.names)
            time = next((c for c in ("last_seen", "time", "first_seen") if c in have), None)
            first = 0
            for batch in file.iter_batches(BLOCK, columns=[c for c in ("text", "vector", time) if c in have]):
                flat = _flat(batch.column("vector"))
                if flat is None:
                    raise InputError(f"{self.path}: vectors have gaps or differ in length; embed again")
                texts = batch.column("text").to_pylist() if "text" in have else None
                times = batch.column(time).to_pylist() if time else None
                yield Block(first, self._int8(flat), texts, times)
                first += len(batch)


def _flat(column: Any) -> NDArray[Any] | None:
    """A list column as an array [n, width]; None where a list is missing, or as long as no other."""
    import pyarrow.compute
    from pyarrow import types

    if not (types.is_list(column.type) or types.is_fixed_size_list(column.type)) or column.null_count:
        return None
    lengths = pyarrow.compute.list_value_length(column).unique().to_pylist()
    values = column.flatten()
    if len(lengths) > 1 or values.null_count or not types.is_primitive(values.type):
        return None
    flat: NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return flat


class NoPassportError(InputError):
    """A file without a passport: it may hold no vectors at all."""


def read_passport(path: Path) -> Passport | None:
    """The passport of a file of vectors, or of a Parquet file made from them (clusters, places); None where there is none.

    Raises:
        InputError: it is malformed.
    """
    if path.suffix not in SUFFIXES or not path.is_file():
        return None
    if path.suffix == ".parquet":
        raw = _schema(path).metadata or {}
        return parse_passport(raw[KEY.encode()], str(path)) if KEY.encode() in raw else None
    try:
        return VectorFile(path).passport
    except NoPassportError:
        return None
    except InputError:
        if path.suffix == ".jsonl":  # lines that are no JSON are told with their number later
            return None
        raise


def _no_passport(path: Path) -> NoPassportError:
    return NoPassportError(
        f"{path}: has no passport, so nobody knows what its vectors mean; make it again: edge-demist embed … -o {path.name}"
    )


def _npy_passport(path: Path) -> Passport:
    beside = sidecar(path)
    try:
        raw = read_bounded(beside, MAX_BYTES)
    except OSError:
        raw = None
    if raw is None:
        raise _no_passport(path)
    try:
        rows = json.loads(raw).pop("rows")
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, KeyError, AttributeError, OSError, RecursionError):
        raise InputError(f"{path}: the array or {beside.name} is malformed; make both again with edge-demist embed") from None
    if not shape or shape[0] != rows:
        raise InputError(
            f"{path}: has {shape[0] if shape else 0} rows, {beside.name} says {rows}: they do not belong together; embed again"
        )
    fields = {k: v for k, v in json.loads(raw).items() if k != "rows"}
    return parse_passport(json.dumps(fields), str(beside))


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            try:
                value = json.loads(line) if len(line) <= MAX_LINE_BYTES else None
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):
                raise InputError(f"{path}: line {number} is no JSON object of at most {MAX_LINE_BYTES} bytes")
            yield number, value


def _json_passport(path: Path) -> Passport:
    for _, value in _json_lines(path):
        if "vector" in value:
            if not isinstance(value.get("passport"), dict):
                raise _no_passport(path)
            return parse_passport(json.dumps(value["passport"]), str(path))
    raise NoPassportError(f"{path}: holds no vector of edge-demist embed")


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError("reading Parquet needs pyarrow: pip install 'edge-demist[parquet]'") from None
    return pyarrow.parquet


def _schema(path: Path) -> Any:
    try:
        return _pyarrow().read_schema(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise InputError(f"{path}: cannot be read as Parquet ({str(error)[:200]})") from None


def _parquet_passport(path: Path) -> Passport:
    schema = _schema(path)
    raw = (schema.metadata or {}).get(KEY.encode())
    if raw is None or "vector" not in schema.names:
        raise _no_passport(path)
    return parse_passport(raw, str(path))
