"""The short way over Zeek lines: where one plain column is all that the mapping asks of a log, it is looked up once a header.

Lines of one portion are read together, in columns: no record is made of what nobody will ask about.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.sources.zeek import W3C, ZeekHeader, ZeekRecord, is_header, unescape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.sensor.detect.mapping import Rule
    from edge_demist.sensor.sources.lines import RawLine

MAX_HEADERS = 64
MAX_FIELDS = 1024
"""A header of more fields goes the long way: what is remembered holds on to it."""
MAX_SPLIT = 64
"""Fields of a header whose lines are taken apart whole, a portion at once."""
MAX_PLAIN_BYTES = 8192
"""A longer line goes the long way: the places of its columns take eight times its memory."""
_LEAST_CHARS, _TIME_CHARS = 12, 17
_DOT = 10
"""``1700000000.123456``: Zeek's times as it writes them, or with fewer digits behind the dot."""
_DIGITS = np.array([n for n in range(_TIME_CHARS) if n != _DOT])
_WEIGHTS = 10 ** np.arange(len(_DIGITS) - 1, -1, -1, dtype=np.int64)


class Column(NamedTuple):
    """The one column of a log that holds a string: its number, what events call it, who reads it."""

    number: int
    name: str
    tasks: tuple[str, ...]


class Columns:
    """The columns of the headers seen last."""

    def __init__(self) -> None:
        """Start empty."""
        self._known: dict[tuple[int, str], tuple[ZeekHeader, Column | None]] = {}

    def column(self, header: ZeekHeader, log: str, rules: Sequence[tuple[Rule, tuple[str, ...]]]) -> Column | None:
        """The column that matters under a header; None where the long way must be gone."""
        if len(header.fields) > MAX_FIELDS:
            return None
        known = self._known.get((id(header), log))
        if known is None:
            if len(self._known) >= MAX_HEADERS:
                self._known.clear()
            known = self._known[id(header), log] = header, _only_column(header, rules)
        return known[1]

    def find(self, record: ZeekRecord, rules: Sequence[tuple[Rule, tuple[str, ...]]]) -> tuple[Column, str] | None:
        """The column and its string; None where the long way must be gone: another shape of rules, or an unset value."""
        header = record.header
        column = self.column(header, record.log, rules)
        if column is None:
            return None
        raw = record.columns[column.number]
        if not raw or raw in (header.unset_field, header.empty_field):
            return None
        return column, from_bytes(unescape(raw) if b"\\" in raw else raw)


def _only_column(header: ZeekHeader, rules: Sequence[tuple[Rule, tuple[str, ...]]]) -> Column | None:
    """The column of the only rule that can find a string, if it takes it as it stands."""
    able = [(rule, tasks) for rule, tasks in rules if tasks and rule.field.removesuffix("[]") in header.index]
    if len(able) != 1 or not able[0][0].is_plain:
        return None
    rule, tasks = able[0]
    number = header.index[rule.field.removesuffix("[]")]
    return None if number in header.containers else Column(number, rule.name, tasks)


class Table(NamedTuple):
    """The plain lines of a portion, whole: of each its number there, where it begins in its file, its time in microseconds, its cells."""

    numbers: Sequence[int]
    offsets: Sequence[int]
    times: Sequence[int]
    cells: list[str]
    """One after the other, ``width`` of each line."""
    width: int
    longest: int
    """Bytes of the longest line."""

    def column(self, number: int) -> list[str]:
        """A column's cells."""
        return self.cells[number :: self.width]

    def apart(self, number: int, seen: Sequence[object], count: int) -> tuple[list[tuple[int, str] | None], Sequence[object]]:
        """Of each of a portion's ``count`` lines time and cell of a column, and what was seen in it; None where nothing was."""
        found = zip(self.times, self.column(number), strict=True)
        if len(seen) == count and None not in seen:
            return list(found), seen
        at = {n: (one, that) for n, one, that in zip(self.numbers, found, seen, strict=True) if that is not None}
        both = [at.get(n, (None, None)) for n in range(count)]
        return [one for one, _ in both], [that for _, that in both]


class _Places(NamedTuple):
    """Where the columns of a portion's lines are: ``lines`` with as many as the header has, and a time as Zeek writes it in the first."""

    raw: bytes
    tabs: NDArray[np.int64]
    lines: NDArray[np.int64]
    first: NDArray[np.int64]
    """Of each line the number of its first tab."""
    times: list[int]


def read_columns(lines: Sequence[RawLine], header: ZeekHeader, number: int) -> list[tuple[int, str] | None]:
    """Time in microseconds and string of each line; None for lines that are anything but plain.

    Plain is a line with as many columns as the header has, a time as Zeek writes it in the first one, and in column ``number`` a
    string without escapes that is set.
    """
    found: list[tuple[int, str] | None] = [None] * len(lines)
    places = _places(lines, header) if 0 < number < len(header.fields) - 1 else None
    if places is None:
        return found
    begins, stops = places.tabs[places.first + number - 1] + 1, places.tabs[places.first + number]
    refused = ("", from_bytes(header.unset_field), from_bytes(header.empty_field))
    plain = places.raw.decode("ascii") if places.raw.isascii() else places.raw
    for n, time_us, begin, stop in zip(places.lines.tolist(), places.times, begins.tolist(), stops.tolist(), strict=True):
        piece = plain[begin:stop]
        text = piece if isinstance(piece, str) else from_bytes(piece)
        if time_us and text not in refused and "\\" not in text:
            found[n] = time_us, text
    return found


def read_table(lines: Sequence[RawLine], header: ZeekHeader) -> Table | None:
    """The lines that are plain and without any escape, taken apart all at once, for who wants many columns; None for none.

    What stands behind a header line is left out: its columns may be others.
    """
    places = _places(lines, header) if len(header.fields) <= MAX_SPLIT else None
    if places is None:
        return None
    numbers, times, raw = places.lines.tolist(), places.times, places.raw
    if len(numbers) < len(lines) or b"\\" in raw or 0 in times:
        end = next((n for n, line in enumerate(lines) if is_header(line.data or b"", header.prefix)), len(lines))
        pairs = itertools.takewhile(lambda pair: pair[0] < end, zip(numbers, times, strict=True))
        kept = [(n, time_us) for n, time_us in pairs if time_us and b"\\" not in (lines[n].data or b"")]
        numbers, times = [n for n, _ in kept], [time_us for _, time_us in kept]
        raw = b"\n".join([lines[n].data or b"" for n in numbers])
    if not numbers:
        return None
    text = from_bytes(raw)
    if "\r" in text:
        text = text.replace("\r\n", "\n").removesuffix("\r")
    offsets, longest = [lines[n].start for n in numbers], max([len(lines[n].data or b"") for n in numbers])
    return Table(numbers, offsets, times, text.replace("\n", "\t").split("\t"), len(header.fields), longest)


def _places(lines: Sequence[RawLine], header: ZeekHeader) -> _Places | None:
    """Where columns are; None under a header of another kind."""
    datas = [line.data if line.data is not None and len(line.data) <= MAX_PLAIN_BYTES else b"" for line in lines]
    raw = b"\n".join(datas)
    if header.separator != b"\t" or header.log == W3C or header.index.get("ts") != 0 or b"\0" in raw:
        return None
    sizes = np.array([len(data) for data in datas], np.int64)
    starts = np.cumsum(sizes + 1) - sizes - 1
    codes = np.frombuffer(raw, np.uint8)
    tabs = np.flatnonzero(codes == ord("\t"))
    first = np.searchsorted(tabs, starts)
    usable = np.flatnonzero(np.diff(first, append=len(tabs)) == len(header.fields) - 1)
    usable, times = _times(codes, starts[usable], tabs[first[usable]], usable)
    return _Places(raw, tabs, usable, first[usable], times)


def _times(
    raw: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], lines: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[int]]:
    """Those of ``lines`` whose first column, from ``starts`` to ``ends``, is a time as Zeek writes it, and their times."""
    size = ends - starts
    whole = (size >= _LEAST_CHARS) & (size <= _TIME_CHARS)
    lines, places = lines[whole], starts[whole, None] + np.arange(_TIME_CHARS)
    chars = np.where(places < ends[whole, None], raw[np.minimum(places, len(raw) - 1)], np.uint8(ord("0")))
    digits = chars[:, _DIGITS] - np.uint8(ord("0"))
    good = (digits <= 9).all(axis=1) & (chars[:, _DOT] == ord("."))
    return lines[good], (digits[good].astype(np.int64) @ _WEIGHTS).tolist()
