"""Tables whose first line names the columns: CSV and the like, as Splunk, Kibana, Defender, Excel and PowerShell export them (RFC 4180).

A row may take several lines, where a value in quotes holds line ends.  What a row means is for those who read objects.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.sources.event_times import means_a_time
from edge_demist.sensor.sources.field_names import is_name, is_telling

MAX_COLUMNS = 1024
MAX_NAMES_BYTES = 1 << 15
MAX_ROW_BYTES = 1 << 17
MAX_VALUE = 1 << 30
"""Longer than any line: Python's own limit for a value is 131,072 characters."""
MAX_TRIES = 16
"""A row over several lines is given up where it is longer, or so often went on when it seemed to be whole."""
UNNAMED = "message"
"""What a column behind those that have names is called: Windows' Event Viewer exports the text of an event so."""
_DELIMITERS = ",\t;|"
_EMPTY = frozenset(("", "-", "(null)", "N/A", "null"))
_OPEN_QUOTE = "unexpected end of data"


class TableParser:
    """The names of a table's columns, and the beginning of a row that goes on."""

    def __init__(self) -> None:
        """Start without names."""
        self._names_line = ""
        self._names: list[str] = []
        self._delimiter = ""
        self._begun: list[str] = []
        self._begun_bytes = self._tries = 0

    @property
    def has_names(self) -> bool:
        """Whether a line of names was taken."""
        return bool(self._names)

    def feed_names(self, line: bytes) -> bool:
        """Take a line as the names of columns, if it looks like that."""
        text = from_bytes(line)
        if len(line) > MAX_NAMES_BYTES or "=" in text:
            return False
        for delimiter in _DELIMITERS:
            if delimiter in text and self._are_names(names := _split(text, delimiter) or []):
                self._names_line, self._names, self._delimiter = text, [name.strip() for name in names], delimiter
                return True
        return False

    @staticmethod
    def _are_names(names: list[str]) -> bool:
        bare = [name.strip() for name in names]
        while bare and not bare[-1]:
            del bare[-1]
        return (
            1 < len(bare) <= MAX_COLUMNS
            and all(map(is_name, bare))
            and len(set(bare)) == len(bare)
            and (any(map(is_telling, bare)) or (len(bare) > 2 and any(map(means_a_time, bare))))
        )

    def parse(self, line: bytes) -> dict[str, object] | list[dict[str, object]] | str | None:
        """The row that ends with this line, by names; the reason why there is none; None where it goes on.

        A row that does not end was none: a program that quotes nothing wrote a quote. Its lines are rows of their own then, in a list.
        """
        text = from_bytes(line)
        if self._begun:
            self._begun.append(text)
            self._begun_bytes += len(line)
            if self._begun_bytes > MAX_ROW_BYTES or self._tries > MAX_TRIES:
                lines, self._begun, self._tries = self._begun, [], 0
                rows = [self._named(split_loosely(one, self._delimiter)) for one in lines]
                return [row for row in rows if isinstance(row, dict)] or "field-count"
            if text.count('"') % 2 == 0:  # the value in quotes goes on, or another one begins
                return None
            text = "\n".join(self._begun)
            self._begun.clear()
        if text == self._names_line:
            return None
        row = _split(text, self._delimiter)
        if row is None:
            self._begun, self._begun_bytes = [text], len(text)
            self._tries += 1
            return None
        self._tries = 0
        return self._named(row)

    def _named(self, row: list[str]) -> dict[str, object] | str:
        """The values of a row by names, or the reason why there are none."""
        while len(row) > len(self._names) and not row[-1]:
            del row[-1]
        if not 1 < len(row) <= len(self._names) + 1:
            return "field-count"
        names = (*self._names, UNNAMED)
        return {name: value for name, value in zip(names, row, strict=False) if value not in _EMPTY}

    @property
    def is_within_row(self) -> bool:
        """Whether a row was begun and has not ended."""
        return bool(self._begun)

    @property
    def held_bytes(self) -> int:
        """About how much memory names and an unfinished row take."""
        return 2 * len(self._names_line) + (self._begun_bytes if self._begun else 0)

    def state(self) -> dict[str, str]:
        """Names and unfinished row, for the checkpoint."""
        found = {"names": self._names_line, "row": "\n".join(self._begun)}
        return {key: value.encode("utf-8", "surrogateescape").decode("latin-1") for key, value in found.items() if value}

    def restore(self, state: Mapping[str, str]) -> None:
        """Continue under the names of a checkpoint."""
        plain = {key: value.encode("latin-1") for key, value in state.items() if key in ("names", "row")}
        if "names" in plain and self.feed_names(plain["names"]) and (row := plain.get("row")):
            self._begun, self._begun_bytes = from_bytes(row).split("\n"), len(row)


def _split(text: str, delimiter: str) -> list[str] | None:
    """The values of a row; None where a value in quotes does not end."""
    import csv  # few logs are tables

    csv.field_size_limit(MAX_VALUE)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        if str(error) == _OPEN_QUOTE:
            return None
    return split_loosely(text, delimiter)


def split_loosely(text: str, delimiter: str) -> list[str]:
    """The values of a line with quotes inside a value, as careless programs leave them; carriage returns among them are blanks."""
    import csv

    csv.field_size_limit(MAX_VALUE)
    return next(csv.reader([text.replace("\r", " ").replace("\n", " ")], delimiter=delimiter), [])
