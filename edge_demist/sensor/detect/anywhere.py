"""Fields of records that no rule foresees, by their names alone: at any depth, however the name is spelled.

The last resort for objects, tables and key=value lines in which the other rules of the mapping find nothing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from edge_demist.sensor.sources.field_names import plain_name
from edge_demist.sensor.sources.json_logs import JsonRecord

if TYPE_CHECKING:
    from edge_demist.sensor.detect.mapping import Rule

    _Found = tuple[Rule, tuple[str, ...]]

ANYWHERE = "**."
"""What the field of such a rule begins with; ``**.*command line`` is every name that ends so."""
_OTHERS = re.compile("parent|initiating|creator|actor|causality|previous|original|source|old|removed|length|hash|entropy|count")
"""Words in longer names that say it is another's, or no text."""
MAX_DEPTH, MAX_FIELDS, MAX_NAMES = 6, 512, 4096
_COMPANY = frozenset(
    ("parent", "parentProcess", "parent_process", "actor", "agent", "rule", "related", "labels", "principal", "src", "removed", "initiator")
)
"""Objects beside an event: what they hold is not what happened."""
_VALUE = "value"


class Anywhere:
    """The rules of one log that take a field wherever it stands."""

    def __init__(self, rules: Iterable[_Found]) -> None:
        """Keep the rules that begin with ``**.``, each with its usable tasks."""
        self._whole: dict[str, tuple[_Found, ...]] = {}
        self._ends: dict[str, tuple[_Found, ...]] = {}
        for rule, tasks in rules:
            if rule.field.startswith(ANYWHERE) and tasks:
                name = rule.field.removeprefix(ANYWHERE)
                table = self._ends if name.startswith("*") else self._whole
                table[plain_name(name)] = (*table.get(plain_name(name), ()), (dataclasses.replace(rule, field=_VALUE), tasks))
        self._known: dict[str, tuple[_Found, ...]] = {}

    def strings(self, data: Mapping[str, object]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Path, string and tasks of every field whose name a rule has."""
        left = MAX_FIELDS if self._whole or self._ends else 0
        levels: list[tuple[str, Mapping[str, object]]] = [("", data)]
        for _ in range(MAX_DEPTH):
            below: list[tuple[str, Mapping[str, object]]] = []
            for path, node in levels:
                if (left := left - len(node)) < 0:
                    return
                for name, value in node.items():
                    kind = type(value)
                    if kind is dict:
                        if name not in _COMPANY:
                            below.append((f"{path}{name}.", value))  # type: ignore[arg-type]
                    elif kind is list and isinstance(value[0] if value else None, dict):  # type: ignore[index]
                        below += [(f"{path}{name}.", one) for one in value[:MAX_FIELDS] if isinstance(one, dict)]  # type: ignore[index]
                    elif (kind is str or kind is list) and (known := self._of(name) or (path and self._of(path + name))):
                        yield from _strings(path + name, value, known)
            levels = below

    def _of(self, name: str) -> tuple[_Found, ...]:
        """The rules for a name."""
        known = self._known.get(name)
        if known is None:
            plain = plain_name(name)
            known = self._whole.get(plain, ())
            if not known and not _OTHERS.search(plain):
                known = next((rules for end, rules in self._ends.items() if plain.endswith(end)), ())
            if len(self._known) >= MAX_NAMES:
                self._known.clear()
            self._known[name[:256]] = known
        return known


def _strings(path: str, value: object, known: Iterable[_Found]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    record = JsonRecord({_VALUE: value}, "host")
    for rule, tasks in known:
        for text in rule.strings(record):
            yield path, text, tasks
