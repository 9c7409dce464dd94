"""Strings with what stands beside them (label, score, time), from text, JSON Lines, events of ``watch``, Zeek and EVE logs, or Parquet.

The format is seen from the content; compressed files are read as they are. Every line gives a row or is counted as failed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from edge_demist.cli.inputs import opened
from edge_demist.cli.line import MAX_LINE_BYTES
from edge_demist.errors import InputError
from edge_demist.io import bounded_lines
from edge_demist.normalizers import from_bytes
from edge_demist.sensor.sources.parser import LineParser
from edge_demist.sensor.sources.timestamps import parse_time

FIELDS = ("text", "query", "dns.rrname", "dns.queries[].rrname", "server_name", "tls.sni", "host", "http.hostname", "user_agent", "uri")
"""Where the string is looked for when nobody says: the first of these that a record has."""

PARQUET_ROWS = 65_536
Batches: TypeAlias = Iterator[list[tuple[bytes, bool]]]
MEMORY = "memory.sqlite"
"""A sensor's memory, in its state folder."""


@dataclass(frozen=True, slots=True)
class Row:
    """One string. ``time`` is in seconds since the epoch; ``column`` the value of the column that was asked for."""

    text: str
    label: str = ""
    score: float | None = None
    time: float | None = None
    column: str | float | None = None
    error: str = ""
    last: float | None = None


def read_rows(name: str, field: str | None = None, column: str | None = None) -> Iterator[Row]:
    """All rows of a file, or of standard input for ``-``.

    Args:
        name: the file; ``.parquet`` needs pyarrow.
        field: key or column that holds the string; None for the first of ``FIELDS``.
        column: another key or column to read.

    Raises:
        InputError: the file cannot be read, or is a Parquet file without the field.
    """
    if name != "-" and Path(name).is_dir() and (Path(name) / MEMORY).is_file():
        yield from _memory_rows(Path(name) / MEMORY, column)
        return
    if name.endswith(".parquet"):
        yield from _parquet_rows(name, field, column)
        return
    with opened(name) as stream:
        batches = bounded_lines(stream, MAX_LINE_BYTES)
        table = Path(name.removesuffix(".gz").removesuffix(".zst")).suffix.lower() in (".csv", ".tsv")
        yield from _table_rows(batches, field, column) if table else _line_rows(name, batches, field, column)


def _table_rows(batches: Batches, field: str | None, column: str | None) -> Iterator[Row]:
    """Rows of CSV or TSV with a header; a cell that is a number counts as one."""
    from edge_demist.cli.tables import CsvReader

    read = CsvReader(field)
    lines = (read(number, raw, cut) for number, (raw, cut) in enumerate(itertools.chain.from_iterable(batches), 1))
    for line in itertools.chain(lines, (read.unfinished() for _ in range(1))):
        if line is not None and (line.error or not line.text):
            yield Row("", error=line.error or "the cell is empty")
        elif line is not None:
            cells: dict[str, Any] = {key: _cell(value) for key, value in line.carried.items()}
            yield _from_entry({**cells, "text": line.text, "label": line.carried.get("label")}, "text", column)


def _cell(value: str) -> str | float:
    try:
        return float(value)
    except ValueError:
        return value


def _line_rows(name: str, batches: Batches, field: str | None, column: str | None) -> Iterator[Row]:
    """Rows of a stream of lines: logs where its first line with content says so, else a string a line."""
    head = next(batches, [])
    first = next((line for line, _ in head if line.strip()), b"").lstrip(b"\xef\xbb\xbf")
    lines = itertools.chain(head, itertools.chain.from_iterable(batches))
    if not first.startswith((b"{", b"#separator", b"#fields")):
        for raw, _ in lines:
            if raw.strip():
                yield Row(from_bytes(raw))
        return
    fields = FIELDS if field is None else (field,)
    parser = LineParser(Path(name).name)
    for raw, cut in lines:
        if cut:
            yield Row("", error="the line is too long")
        elif raw.lstrip().startswith(b"{"):
            yield _from_json(raw, parser, fields, column)
        else:
            record = parser.parse(raw)
            if record is not None:
                yield Row("", error=record) if isinstance(record, str) else _from_record(record, fields, column)


def _from_json(raw: bytes, parser: LineParser, fields: tuple[str, ...], column: str | None) -> Row:
    """A JSON object: its own keys first, then as the log record that it may be."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return Row("", error=f"not valid JSON: {str(error)[:100]}")
    text = next((value[key] for key in fields if isinstance(value.get(key), str)), None)
    if text is None:
        record = parser.parse(raw)
        if record is None or isinstance(record, str):
            return Row("", error=f"no string under {' or '.join(fields)}")
        return _from_record(record, fields, column)
    score = value.get("alarm_score", value.get("score"))
    time = next((found for key in ("first_seen", "time", "timestamp", "ts") if (found := seconds(value.get(key))) is not None), None)
    label = value.get("label")
    return Row(text, label if isinstance(label, str) else "", _number(score), time, _plain(value.get(column)) if column else None)


def _from_record(record: Any, fields: tuple[str, ...], column: str | None) -> Row:
    text = next((found[0] for key in fields if (found := record.values(key))), None)
    if text is None:
        return Row("", error=f"no string in {' or '.join(fields)}")
    micros = record.time_us
    return Row(text, time=None if micros is None else micros / 1e6, column=_plain(record.scalar(column)) if column else None)


def _memory_rows(path: Path, column: str | None) -> Iterator[Row]:
    """Strings that a sensor has seen; ``count`` and ``clients`` are its columns. A string too long for a key is not there."""
    from edge_demist.sensor.memory import strings

    for text, seen in strings(path.parent):
        value = {"count": seen.count, "clients": seen.clients}.get(column or "")
        yield Row(text, time=seen.first_us / 1e6, last=seen.last_us / 1e6, column=value)


def _parquet_rows(name: str, field: str | None, column: str | None) -> Iterator[Row]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError("reading Parquet needs pyarrow: pip install 'edge-demist[parquet]'") from None
    try:
        file = pyarrow.parquet.ParquetFile(name)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{name}: cannot be read as Parquet ({str(error)[:200]})") from None
    with file:
        have = set(file.schema_arrow.names)
        key = next((f for f in (FIELDS if field is None else (field,)) if f in have), None)
        if key is None:
            raise InputError(f"{name}: has no column {field or 'text'!r}; it has {', '.join(sorted(have)[:20])}; choose one with --field")
        if column is not None and column not in have:
            raise InputError(f"{name}: has no column {column!r}; it has {', '.join(sorted(have)[:20])}")
        wanted = [c for c in (key, "label", "alarm_score", "score", "first_seen", "time", column) if c in have]
        for batch in file.iter_batches(PARQUET_ROWS, columns=list(dict.fromkeys(wanted))):
            for entry in batch.to_pylist():
                yield _from_entry(entry, key, column)


def _from_entry(entry: dict[str, Any], key: str, column: str | None) -> Row:
    text, label = entry.get(key), entry.get("label")
    if not isinstance(text, str) or not text:
        return Row("", error=f"{key} is empty")
    score = entry.get("alarm_score") if entry.get("alarm_score") is not None else entry.get("score")
    time = seconds(entry.get("first_seen")) if entry.get("first_seen") is not None else seconds(entry.get("time"))
    return Row(text, label if isinstance(label, str) else "", _number(score), time, _plain(entry.get(column)) if column else None)


def _number(value: object) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        return None
    return float(value)


def _plain(value: object) -> str | float | None:
    """What can colour a map: a number or a string."""
    return str(value) if isinstance(value, (str, bool)) else _number(value)


def seconds(value: object) -> float | None:
    """Seconds since the epoch of a number, an ISO 8601 string or a datetime."""
    if isinstance(value, (int, float, str)):
        micros = parse_time(value)
        return None if micros is None else micros / 1e6
    stamp = getattr(value, "timestamp", None)
    return float(stamp()) if callable(stamp) else None
