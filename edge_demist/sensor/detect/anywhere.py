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
    _Telling = tuple[tuple[str, tuple[_Found, ...]], ...]

ANYWHERE = "**."
"""What the field of such a rule begins with; ``**.*command line`` is every name that ends so."""
_OTHERS = re.compile("parent|initiating|creator|actor|causality|previous|original|source|old|removed|length|hash|entropy|count")
"""Words in longer names that say it is another's, or no text."""
MAX_DEPTH, MAX_FIELDS, MAX_NAMES = 6, 512, 4096
MAX_SHAPES, MAX_TELLING = 1024, 8
"""Objects, by their names, of which the telling ones are remembered, and so many of them at most."""
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
        self._shapes: dict[int, _Telling] = {}

    def strings(self, data: Mapping[str, object]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Path, string and tasks of every field whose name a rule has."""
        left = MAX_FIELDS if self._whole or self._ends else 0
        levels: list[tuple[str, Mapping[str, object]]] = [("", data)]
        for _ in range(MAX_DEPTH):
            below: list[tuple[str, Mapping[str, object]]] = []
            for path, node in levels:
                if (left := left - len(node)) < 0:
                    return
                shape = hash((path, *node))
                telling = self._shapes.get(shape)
                for name, known in self._telling(path, node, shape) if telling is None else telling:
                    value = node[name]
                    if isinstance(value, str) or (isinstance(value, list) and not _holds_objects(value)):
                        yield from _strings(path + name, value, known)
                for name, value in node.items():
                    if type(value) is dict:
                        if name not in _COMPANY:
                            below.append((f"{path}{name}.", value))
                    elif type(value) is list and value and type(value[0]) is dict:
                        below += [(f"{path}{name}.", one) for one in value[:MAX_FIELDS] if isinstance(one, dict)]
            levels = below

    def _telling(self, path: str, node: Mapping[str, object], shape: int) -> _Telling:
        """The fields of an object whose names a rule has, with these rules; the same for all objects of the same names."""
        pairs = ((name, self._of(name) or (self._of(path + name) if path else ())) for name in node)
        found = tuple(pair for pair in pairs if pair[1])
        if len(found) <= MAX_TELLING:
            if len(self._shapes) >= MAX_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = found
        return found

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


def _holds_objects(value: list[object]) -> bool:
    return bool(value) and isinstance(value[0], dict)


def _strings(path: str, value: object, known: Iterable[_Found]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    record = JsonRecord({_VALUE: value}, "host")
    for rule, tasks in known:
        for text in rule.strings(record):
            yield path, text, tasks
