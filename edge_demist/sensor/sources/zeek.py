r"""Zeek's ASCII log format: header lines, escapes, sets and vectors.

Follows Zeek's own writer (``src/logging/writers/ascii/Ascii.cc`` and ``src/threading/formatters/Ascii.cc``): header
lines start with ``#``; ``#separator`` is followed by one blank, all others by the separator itself; bytes that would
be misread are written ``\xHH``, a backslash is doubled. Which string goes where is the mapping's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.sources.timestamps import parse_time

MAX_FIELDS = 4096
MAX_HEADER_BYTES = 1 << 16
FIELD_BYTES = 192
"""A longer header line is passed over."""
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|\\)")
_SEPARATOR_LINE = re.compile(rb"(#|[^\w\s\\{]{1,8})separator (\S{1,64})\Z")
_CONTAINERS = (b"set[", b"vector[", b"table[")
_W3C_FIELDS = b"#Fields:"
W3C = "w3c"
"""The log name of W3C's extended format (IIS, CloudFront): names on a line ``#Fields:``, columns with blanks or tabs between."""
_Take = Callable[[Sequence[Any]], tuple[Any, ...]]
_QUOTED_COLUMN = re.compile(rb'"[^"]*"|[^ ]+')
"""A column of a W3C log; in quotes where it holds blanks."""
_STATE_KEYS = (b"separator", b"set_separator", b"empty_field", b"unset_field", b"path", b"fields", b"types")


def unescape(raw: bytes) -> bytes:
    r"""Undo ``\xHH`` and ``\\``; every other backslash stands for itself."""
    if b"\\" not in raw:
        return raw
    return _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else b"\\", raw)


def is_header(line: bytes, prefix: bytes) -> bool:
    """Whether a line is a header line (also under another ``LogAscii::meta_prefix``)."""
    return line.startswith(prefix) or _SEPARATOR_LINE.match(line) is not None


@dataclass(frozen=True, slots=True)
class ZeekHeader:
    """What the header lines said."""

    prefix: bytes = b"#"
    separator: bytes = b"\t"
    set_separator: bytes = b","
    empty_field: bytes = b"(empty)"
    unset_field: bytes = b"-"
    path: str = ""
    fields: tuple[str, ...] = ()
    types: tuple[bytes, ...] = ()
    index: Mapping[str, int] = field(default_factory=dict)
    log: str = ""
    layouts: dict[tuple[str, ...], _Take | None] = field(default_factory=dict, compare=False, repr=False)
    """What takes fields that are read together out of a line, by their names; None where that is not just columns."""
    containers: frozenset[int] = field(init=False)
    """Columns that hold a set, a vector or a table."""
    no_text: frozenset[str] = field(init=False)
    """What stands for no value."""

    def __post_init__(self) -> None:
        """Find the containers."""
        object.__setattr__(self, "containers", frozenset(n for n, kind in enumerate(self.types) if kind.startswith(_CONTAINERS)))
        object.__setattr__(self, "no_text", frozenset(("", from_bytes(self.unset_field), from_bytes(self.empty_field))))

    def layout(self, names: tuple[str, ...]) -> _Take | None:
        """What takes these fields out of a line, where all are columns between tabs."""
        columns = [self.index.get(name, -1) for name in names]
        return itemgetter(*columns) if self.separator == b"\t" and len(columns) > 1 and -1 not in columns else None


class ZeekRecord:
    """One data line; values are unescaped when asked for."""

    __slots__ = ("columns", "header", "log")

    def __init__(self, header: ZeekHeader, columns: list[bytes], log: str) -> None:
        """Keep the raw columns."""
        self.header, self.columns, self.log = header, columns, log

    def values(self, name: str) -> list[str]:
        """Strings of a field: none if unset or empty, several for a set or vector."""
        name = name.removesuffix("[]")
        column = self.header.index.get(name)
        if column is None:
            return []
        raw, header = self.columns[column], self.header
        if not raw or raw in (header.unset_field, header.empty_field):
            return []
        if column not in header.containers or (header.set_separator not in raw and b"\\" not in raw):
            return [from_bytes(unescape(raw))]
        parts = raw.split(header.set_separator)
        return [from_bytes(unescape(part)) for part in parts if part not in (header.unset_field, header.empty_field, b"")]

    def scalar(self, name: str) -> str | int | None:
        """The first string of a field, or None."""
        header = self.header
        column = header.index.get(name)
        if column is None or column in header.containers:
            values = self.values(name)
            return values[0] if values else None
        raw = self.columns[column]
        if not raw or raw in (header.unset_field, header.empty_field):
            return None
        return from_bytes(unescape(raw))

    def row(self, names: tuple[str, ...]) -> list[str | int | None]:
        """The first string of each field, or None; for few sets of names, which are looked up once a header."""
        found = self.plain(names)
        return [self.scalar(name) for name in names] if found is None else [text or None for text in found]

    def plain(self, names: tuple[str, ...]) -> list[str] | None:
        """As :meth:`row`, empty for None, where that is all there is: None if a field may have several strings, or is written otherwise."""
        header = self.header
        if names not in header.layouts:
            header.layouts[names] = header.layout(names)
        take, none = header.layouts[names], header.no_text
        if take is None or b"\\" in (line := b"\t".join(take(self.columns))) or (header.containers and header.set_separator in line):
            return None
        return ["" if text in none else text for text in from_bytes(line).split("\t")]

    def has(self, name: str) -> bool:
        """Whether the log has such a field at all."""
        return name.removesuffix("[]") in self.header.index

    @property
    def time_us(self) -> int | None:
        """The record's ``ts``."""
        column = self.header.index.get("ts")
        if column is None:
            day, clock = self.scalar("date"), self.scalar("time")
            return parse_time(f"{day}T{clock}") if day and clock else None
        whole, _, fraction = self.columns[column].partition(b".")
        if len(whole) == 10 and 1 <= len(fraction) <= 6 and whole.isdigit() and fraction.isdigit():  # as Zeek writes it
            return int(whole) * 1_000_000 + int(fraction.ljust(6, b"0"))
        return parse_time(self.scalar("ts"))


class ZeekParser:
    """Keeps the header while lines go by; a new header in mid-file replaces the old one."""

    def __init__(self) -> None:
        """Start without a header."""
        self._meta: dict[bytes, bytes] = {}
        self.header: ZeekHeader | None = None
        self._names: tuple[tuple[bytes, bytes], tuple[str, ...], Mapping[str, int]] = ((b"", b""), (), {})
        self._types: tuple[tuple[bytes, bytes], tuple[bytes, ...]] = ((b"", b""), ())

    def is_meta(self, line: bytes) -> bool:
        """Whether the line is a header line."""
        return is_header(line, self.header.prefix if self.header else b"#")

    def feed_meta(self, line: bytes) -> None:
        """Take one header line."""
        match = _SEPARATOR_LINE.match(line)
        if len(line) > MAX_HEADER_BYTES:
            return
        if line.startswith(_W3C_FIELDS):
            self._meta = {b"fields": b" ".join(line[len(_W3C_FIELDS) :].split()), b"path": W3C.encode(), b"separator": b" "}
        elif match:
            self._meta = {b"prefix": match[1], b"separator": match[2]}
        else:
            prefix = self._meta.get(b"prefix", b"#")
            separator = unescape(self._meta.get(b"separator", b"\t"))
            name, _, value = line.removeprefix(prefix).partition(separator)
            if name not in _STATE_KEYS[1:] or self._meta.get(name) == value:
                return
            if name == b"fields":
                self._meta.pop(b"types", None)
            self._meta[name] = value
        self._build()

    def feed_bare_names(self, line: bytes) -> None:
        """Take the one line of names that the writer gives under its ``tsv`` option."""
        if len(line) > MAX_HEADER_BYTES:
            return
        self._meta = {b"fields": line}
        self._build()

    def _build(self) -> None:
        meta, plain = self._meta, ZeekHeader()
        separator = unescape(meta.get(b"separator", b"")) or plain.separator
        names, index = self._fields(separator, meta[b"fields"]) if b"fields" in meta else ((), {})
        path = from_bytes(unescape(meta.get(b"path", b"")))
        self.header = ZeekHeader(
            prefix=meta.get(b"prefix", b"#"),
            separator=separator,
            set_separator=unescape(meta.get(b"set_separator", b"")) or plain.set_separator,
            empty_field=unescape(meta.get(b"empty_field", plain.empty_field)),
            unset_field=unescape(meta.get(b"unset_field", plain.unset_field)),
            path=path,
            log=W3C if path == W3C else f"zeek.{path}" if path else "",
            fields=names,
            types=self._kinds(separator, meta[b"types"]) if b"types" in meta else (),
            index=index,
        )

    def _fields(self, separator: bytes, line: bytes) -> tuple[tuple[str, ...], Mapping[str, int]]:
        """The names of a ``#fields`` line and their places; the last one's is kept, for other header lines may follow each other."""
        if self._names[0] != (separator, line):
            names = tuple(from_bytes(unescape(n)) for n in line.split(separator, MAX_FIELDS)[:MAX_FIELDS])
            self._names = (separator, line), names, {name: i for i, name in reversed(list(enumerate(names)))}
        return self._names[1:]

    def _kinds(self, separator: bytes, line: bytes) -> tuple[bytes, ...]:
        if self._types[0] != (separator, line):
            self._types = (separator, line), tuple(line.split(separator, MAX_FIELDS)[:MAX_FIELDS])
        return self._types[1]

    def parse(self, line: bytes, log: str) -> ZeekRecord | str:
        """Read a data line; a string is the reason why it cannot be read."""
        header = self.header
        if header is None or not header.fields:
            return "no-header"
        if b"\0" in line:
            return "corrupt"
        separator = b"\t" if header.log == W3C and b"\t" in line else header.separator
        columns = line.split(separator, len(header.fields))
        if header.log == W3C and b'"' in line and separator == b" ":
            columns = [column.strip(b'"') for column in _QUOTED_COLUMN.findall(line)]
        if len(columns) != len(header.fields):
            return "field-count"
        return ZeekRecord(header, columns, header.log or log)

    @property
    def held_bytes(self) -> int:
        """About how much memory the header takes: its lines, and for each field a name, a kind and a place."""
        columns = len(self.header.fields) + len(self.header.types) if self.header else 0
        return FIELD_BYTES * columns + sum(map(len, self._meta.values()))

    def state(self) -> dict[str, str]:
        """The header lines, for the checkpoint."""
        return {key.decode("ascii"): value.decode("latin-1") for key, value in self._meta.items()}

    def restore(self, state: Mapping[str, str]) -> None:
        """Continue under the header of a checkpoint."""
        self._meta = {key.encode("ascii"): value.encode("latin-1") for key, value in state.items()}
        if self._meta:
            self._build()
