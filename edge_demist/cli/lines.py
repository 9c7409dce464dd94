"""Reading strings from a file or a pipe, and writing one JSON line for each."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from edge_demist.cli.inputs import opened
from edge_demist.cli.line import MAX_LINE_BYTES, Line, RawJson, decoded, members
from edge_demist.cli.tables import CsvReader
from edge_demist.errors import InputError
from edge_demist.io import bounded_lines
from edge_demist.normalizers import from_bytes

ZEEK_BEGIN = b"#separator \\x09"
"""How Zeek's own logs begin; no list of strings does."""
ZEEK_REASONS = {
    "no-header": "no #fields header before this line; is it a Zeek log?",
    "corrupt": "the line holds a NUL byte",
    "field-count": "the number of columns differs from #fields",
}


def input_format(args: argparse.Namespace) -> str:
    """The form of the input: as asked for, else by the name's ending.

    Raises:
        InputError: the name says that it is Parquet.
    """
    name = Path(args.input.removesuffix(".gz").removesuffix(".zst"))
    suffix = name.suffix.lower()
    if args.input_format:
        return str(args.input_format)
    if suffix == ".parquet":
        raise InputError(f"{args.input}: {suffix} is no list of strings; write the column as CSV or JSON lines first")
    if suffix in (".csv", ".tsv"):
        return "csv"
    return "jsonl" if suffix in (".jsonl", ".ndjson") else "lines"


class Blanks:
    """Counts blank lines that were passed over, and says so at the end."""

    def __init__(self) -> None:
        self.count = 0

    def tell(self) -> None:
        """One line on standard error, where there were any."""
        if self.count:
            print(f"edge-demist: {self.count:,} blank line{'s' if self.count > 1 else ''} skipped", file=sys.stderr)


def read_batches(args: argparse.Namespace, blanks: Blanks | None = None) -> Iterator[list[Line]]:
    """Parse the input in the format asked for, in batches.

    Every input line gives exactly one ``Line``, but for headers and, where ``blanks`` counts them, blank lines.
    """
    number = 0
    form = input_format(args)
    parse = _parser(form, args.field)
    with opened(args.input) as stream:
        for batch in bounded_lines(stream, MAX_LINE_BYTES):
            if not number and form == "lines" and not args.input_format and batch and batch[0][0].startswith(ZEEK_BEGIN):
                parse = _parser("zeek", args.field)
            lines = []
            for raw, cut in batch:
                number += 1
                if blanks is not None and not raw.strip():
                    blanks.count += 1
                    continue
                found = parse(number, raw, cut)
                if found is not None:
                    lines.append(found)
            yield lines
    if isinstance(parse, CsvReader) and (unfinished := parse.unfinished()):
        yield [unfinished]


def _parser(form: str, field: str | None) -> Any:
    if form == "lines":
        return lambda number, raw, cut: Line(number, from_bytes(raw), {}, cut=cut)
    if form == "jsonl":
        key = field or "text"
        return lambda number, raw, cut: parse_json(number, raw, key, cut=cut)
    if form == "csv":
        return CsvReader(field)
    return _zeek_parser(field or "query")


def _zeek_parser(field: str) -> Callable[[int, bytes, bool], Line | None]:
    """One field of a Zeek log, TSV or JSON, as ``zeek-cut FIELD`` gives it; header lines give None."""
    from edge_demist.sensor.sources.zeek import ZeekParser

    zeek = ZeekParser()

    def parse(number: int, raw: bytes, cut: bool) -> Line | None:
        if raw.startswith(b"{"):
            return parse_json(number, raw, field, cut=cut)
        if zeek.is_meta(raw):
            zeek.feed_meta(raw)
            return None
        record = zeek.parse(raw, "zeek")
        if isinstance(record, str):
            return Line(number, "", {}, ZEEK_REASONS.get(record, record))
        if not record.has(field):
            return Line(number, "", {}, f"the log has no field {field!r}")
        values, uid = record.values(field), record.scalar("uid")
        carried = {"uid": uid} if uid is not None else {}
        if not values:
            return Line(number, "", carried, f"field {field!r} is unset or empty")
        return Line(number, ",".join(values), carried, cut=cut)

    return parse


def parse_json(number: int, raw: bytes, key: str, *, cut: bool) -> Line:
    """One JSON object a line; ``key`` holds the string, the others are carried through."""
    if cut:
        return Line(number, "", {}, f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        value = members(raw.decode("utf-8"))
        text = json.loads(value[key]) if value is not None and key in value else None
    except RecursionError:
        return Line(number, "", {}, "not readable: the JSON is nested too deeply")
    except ValueError as error:
        return Line(number, "", {}, f"not valid JSON: {str(error)[:200]}")
    if value is None:
        return Line(number, "", {}, "not a JSON object")
    carried = {name: member for name, member in value.items() if name != key}
    if not isinstance(text, str):
        return Line(number, "", carried, f"key {key!r} is missing or not a string")
    return Line(number, text, carried, written=value)


def merged(carried: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Carried keys, then the result's; a carried key that the result also has is kept as ``input_<key>``."""
    return {**{(f"input_{k}" if k in result else k): v for k, v in carried.items()}, **result}


SAME = ("text", "task")
"""Keys of an answer that are not said again where the input says the same under them."""


def said(line: Line, result: Mapping[str, Any]) -> str:
    """A result as one JSON line: behind what the input was, as it was written, or behind what is carried."""
    if line.written is None:
        return dump(merged(line.carried, result))
    own = line.written
    more = {name: value for name, value in result.items() if not (name in SAME and name in own and decoded(own[name]) == value)}
    return own.plus({name: json.dumps(value, allow_nan=False) for name, value in more.items()})


def dump(value: Mapping[str, Any]) -> str:
    """One JSON line. ASCII only: no control, bidi or escape character of an input reaches a terminal."""
    if not any(type(v) is RawJson for v in value.values()):
        return json.dumps(value, ensure_ascii=True, separators=(", ", ": "), allow_nan=False)
    parts = (f"{json.dumps(k)}: {v if type(v) is RawJson else json.dumps(v, allow_nan=False)}" for k, v in value.items())
    return "{" + ", ".join(parts) + "}"


class Progress:
    """A line count on stderr, only on a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty()
        self._began = time.monotonic()
        self._last = 0.0
        self._count = 0

    def add(self, count: int) -> None:
        """Count more lines."""
        self._count += count
        now = time.monotonic()
        if self._shown and now - self._last > 0.2:
            self._last = now
            rate = self._count / max(now - self._began, 1e-9)
            self._stream.write(f"\r{self._count:,} lines, {rate:,.0f} a second\x1b[K")
            self._stream.flush()

    def close(self) -> None:
        """Clear the line."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def write_lines(lines: Iterable[str]) -> None:
    """Write and flush a batch of output lines, as UTF-8 whatever the locale."""
    sys.stdout.flush()
    sys.stdout.buffer.write("".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
