"""CSV and TSV in and out: one column holds the string, the others are carried through (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edge_demist.cli.line import MAX_LINE_BYTES, Line, decoded
from edge_demist.errors import InputError
from edge_demist.normalizers import from_bytes

DELIMITERS = ",;\t|"
ANSWER = ("task", "label", "score", "alarm", "alarm_score", "threshold")


class CsvReader:
    """Turns lines into rows; a quoted value may go over several lines."""

    def __init__(self, field: str | None) -> None:
        """Take the name of the column that holds the string."""
        self._field = field
        self._header: list[str] | None = None
        self._names: list[str] = []
        self._column = 0
        self._delimiter = ","
        self._begun: list[str] = []
        self._begun_bytes = self._begun_at = 0

    def __call__(self, number: int, raw: bytes, cut: bool) -> Line | None:
        """The row that a line ends; None for the header and for lines inside a quoted value.

        Raises:
            InputError: the header lacks the column.
        """
        text = from_bytes(raw)
        if self._header is None and not self._begun:
            self._delimiter = max(DELIMITERS, key=text.count)
        if not cut and self._goes_on(text) and self._begun_bytes + len(raw) < MAX_LINE_BYTES:
            self._begun_at = self._begun_at if self._begun else number
            self._begun.append(text)
            self._begun_bytes += len(raw) + 1
            return None
        text = "\n".join((*self._begun, text))
        self._begun.clear()
        self._begun_bytes = 0
        if self._header is None:
            self._header = [name.strip() for name in self._cells(text)]
            self._column = _column(self._header, self._field)
            self._names = _distinct(self._header, self._column)
            return None
        return self._row(number, self._cells(text), cut=cut)

    def unfinished(self) -> Line | None:
        """At the end: the row whose value in quotes did not end."""
        return Line(self._begun_at, "", {}, "a value in quotes begins in this line and does not end") if self._begun else None

    def _goes_on(self, text: str) -> bool:
        """Whether a value in quotes is open behind a line; quotes inside a value without them are its own."""
        at, inside = 0, bool(self._begun)
        if not inside and '"' not in text:
            return False
        while True:
            if not inside and text.startswith('"', at):
                inside, at = True, at + 1
            while inside:
                at = text.find('"', at) + 1
                if not at:
                    return True
                inside = text.startswith('"', at)
                at += inside
            at = text.find(self._delimiter, at) + 1
            if not at:
                return False

    def _cells(self, text: str) -> list[str]:
        csv.field_size_limit(1 << 30)  # no value is longer than its lines
        try:
            return next(csv.reader([text], delimiter=self._delimiter), [])
        except csv.Error:  # a line's end outside of quotes, such as a lone carriage return
            return next(csv.reader([text.replace("\r", " ").replace("\n", " ")], delimiter=self._delimiter), [])

    def _row(self, number: int, cells: list[str], *, cut: bool) -> Line:
        assert self._header is not None
        if len(cells) != len(self._header):
            return Line(number, "", {}, f"{len(cells)} values for {len(self._header)} columns")
        carried = {name: cell for i, (name, cell) in enumerate(zip(self._names, cells, strict=True)) if i != self._column}
        return Line(number, cells[self._column], carried, cut=cut)


def _distinct(names: list[str], column: int) -> list[str]:
    """The names of columns, with a number behind those that another one before has; ``column``, of the string, is not among them."""
    found: list[str] = []
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    for i, name in enumerate(names):
        new = name
        while i != column and new in taken:
            numbers[name] += 1
            new = f"{name}_{numbers[name] + 1}"
        found.append(new)
        if i != column:
            taken.add(new)
    return found


def _column(header: list[str], field: str | None) -> int:
    wanted = field or ("text" if len(header) > 1 else header[0])
    if wanted not in header:
        raise InputError(f"the table has no column {wanted!r}; say --field with one of: {', '.join(header)[:400]}")
    return header.index(wanted)


class CsvWriter:
    """Answers as rows: the columns of the input and those of every answer; a row without an answer says why under ``error``."""

    def __init__(self) -> None:
        """Start without columns."""
        self._columns: list[str] = []

    def rows(self, answers: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """Lines without their ends, the header first."""
        for answer in answers:
            flat = {name: _cell(value) for name, value in answer.items() if name != "line"}
            if not self._columns:
                self._columns = list(dict.fromkeys([*(n for n in flat if n != "error"), *ANSWER, "error"]))
                yield _line(self._columns)
            yield _line([flat.get(name, "") for name in self._columns])


def _cell(value: Any) -> str:
    value = decoded(value)
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, (dict, list)):
        import json

        return json.dumps(value)
    text = str(value)
    try:
        text.encode("utf-8", "surrogateescape")  # bytes that are no UTF-8 are written as they came
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()[:-1]
