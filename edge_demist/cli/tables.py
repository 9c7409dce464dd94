"""CSV and TSV in and out: one column holds the string, the others are carried through (RFC 4180)."""

from __future__ import annotations

import csv
import io
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
        self._column = 0
        self._delimiter = ","
        self._pending = ""

    def __call__(self, number: int, raw: bytes, cut: bool) -> Line | None:
        """The row that a line ends; None for the header and for lines inside a quoted value.

        Raises:
            InputError: the header lacks the column.
        """
        text = self._pending + from_bytes(raw)
        if text.count('"') % 2 and not cut and len(text) < MAX_LINE_BYTES:
            self._pending = text + "\n"
            return None
        self._pending = ""
        if self._header is None:
            self._delimiter = max(DELIMITERS, key=text.count)
            self._header = [name.strip() for name in self._cells(text)]
            self._column = _column(self._header, self._field)
            return None
        return self._row(number, self._cells(text), cut=cut)

    def _cells(self, text: str) -> list[str]:
        csv.field_size_limit(MAX_LINE_BYTES)
        return next(csv.reader([text.replace("\0", "\ufffd")], delimiter=self._delimiter), [])

    def _row(self, number: int, cells: list[str], *, cut: bool) -> Line:
        assert self._header is not None
        if len(cells) != len(self._header):
            return Line(number, "", {}, f"{len(cells)} values for {len(self._header)} columns")
        carried = {name: cell for i, (name, cell) in enumerate(zip(self._header, cells, strict=True)) if i != self._column}
        return Line(number, cells[self._column], carried, cut=cut)


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
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()[:-1]
