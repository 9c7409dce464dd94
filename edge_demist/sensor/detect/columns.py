"""The short way over a Zeek line: where one plain column is all that the mapping asks of a log, it is looked up once a header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.sources.zeek import ZeekHeader, ZeekRecord, unescape

if TYPE_CHECKING:
    from edge_demist.sensor.detect.mapping import Rule

MAX_HEADERS = 64
MAX_FIELDS = 1024
"""A header of more fields goes the long way: what is remembered holds on to it."""


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

    def find(self, record: ZeekRecord, rules: Sequence[tuple[Rule, tuple[str, ...]]]) -> tuple[Column, str] | None:
        """The column and its string; None where the long way must be gone: another shape of rules, or an unset value."""
        header = record.header
        if len(header.fields) > MAX_FIELDS:
            return None
        known = self._known.get((id(header), record.log))
        if known is None:
            if len(self._known) >= MAX_HEADERS:
                self._known.clear()
            known = self._known[id(header), record.log] = header, _only_column(header, rules)
        column = known[1]
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
