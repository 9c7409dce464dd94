"""Which string of which log goes to which specialist; the defaults stand in ``mapping.toml`` beside this file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.sensor.sources.json_logs import compile_path
from edge_demist.sensor.sources.parser import Record

DEFAULT_MAPPING = Path(__file__).with_name("mapping.toml")
EMBEDDING = "embedding"
MAX_STRINGS_PER_RECORD = 1024
_ABSOLUTE_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]{0,20}://")
_KEYS = {"log", "field", "tasks", "with", "join", "strip", "only"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One field and the specialists that read it."""

    logs: tuple[str, ...]
    field: str
    tasks: tuple[str, ...]
    prefix_field: str = ""
    join: str | None = None
    strip: str = ""
    only_field: str = ""
    only_values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that names and paths can be used."""
        if not self.logs or not self.field or not self.tasks:
            raise InputError(f"mapping rule for field {self.field!r}: log, field and tasks must not be empty")
        for path in (self.field, self.prefix_field, self.only_field):
            if path:
                try:
                    compile_path(path)
                except ValueError as error:
                    raise InputError(f"mapping rule: {error}") from error

    def matches(self, log: str) -> bool:
        """Whether the rule is for this log."""
        return any(log == name or (name.endswith("*") and log.startswith(name[:-1])) for name in self.logs)

    @property
    def name(self) -> str:
        """What events call the field."""
        return f"{self.prefix_field}+{self.field}" if self.prefix_field else self.field

    def strings(self, record: Record) -> list[str]:
        """The rule's strings in a record."""
        if self.only_field and record.scalar(self.only_field) not in self.only_values:
            return []
        values = record.values(self.field)
        if self.join is not None and values:
            values = [self.join.join(values)]
        if self.prefix_field and values:
            values = [self._prefixed(record, value) for value in values]
        if self.strip:
            values = [value.removeprefix(self.strip) for value in values]
        return [value for value in values if value]

    def _prefixed(self, record: Record, value: str) -> str:
        prefix = record.values(self.prefix_field)
        return value if not prefix or _ABSOLUTE_URI.match(value) else prefix[0] + value


@dataclass(frozen=True, slots=True)
class MappedString:
    """A string of a record with its specialists."""

    field: str
    index: int
    text: str
    tasks: tuple[str, ...]


class FieldMapping:
    """All rules, restricted to what the model has."""

    def __init__(self, rules: Iterable[Rule], available: Iterable[str], *, embeddings: bool = False) -> None:
        """Keep the tasks that the model can answer."""
        self.rules = tuple(rules)
        usable = set(available) | ({EMBEDDING} if embeddings else set())
        wanted = {task for rule in self.rules for task in rule.tasks}
        self.unavailable = tuple(sorted(wanted - usable - {EMBEDDING}))
        self.tasks = tuple(sorted((wanted & usable) - {EMBEDDING}))
        self._usable = usable
        self._by_log: dict[str, tuple[tuple[Rule, tuple[str, ...]], ...]] = {}

    def for_log(self, log: str) -> tuple[tuple[Rule, tuple[str, ...]], ...]:
        """The rules of a log, each with its usable tasks."""
        rules = self._by_log.get(log)
        if rules is None:
            if len(self._by_log) > 1000:
                self._by_log.clear()
            rules = tuple((r, tuple(t for t in r.tasks if t in self._usable)) for r in self.rules if r.matches(log))
            self._by_log[log] = rules
        return rules

    def apply(self, record: Record) -> list[MappedString] | str:
        """The record's strings, or the reason why there are none: ``no-rule``, ``no-string`` and the like."""
        rules = self.for_log(record.log)
        if not rules:
            return "no-rule"
        found: list[MappedString] = []
        unanswerable = ""
        for rule, tasks in rules:
            strings = rule.strings(record)
            if strings and not tasks:
                unanswerable = "embeddings-off" if set(rule.tasks) == {EMBEDDING} else "no-specialist"
            if tasks:
                found.extend(MappedString(rule.name, i, text, tasks) for i, text in enumerate(strings))
        if len(found) > MAX_STRINGS_PER_RECORD:
            return "too-many-strings"
        return found or unanswerable or "no-string"


def load_rules(path: Path | None = None) -> tuple[Rule, ...]:
    """Read a mapping file.

    Raises:
        InputError: it cannot be read, is not TOML, or a rule is wrong.
    """
    path = path or DEFAULT_MAPPING
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"mapping {path}: {error}") from error
    rules = data.get("rule")
    if not isinstance(rules, list) or not rules or set(data) != {"rule"}:
        raise InputError(f"mapping {path}: expected [[rule]] tables and nothing else")
    return tuple(_rule(path, rule) for rule in rules)


def _rule(path: Path, table: Mapping[str, object]) -> Rule:
    if not isinstance(table, dict):
        raise InputError(f"mapping {path}: a rule must be a table")
    unknown = set(table) - _KEYS
    if unknown:
        raise InputError(f"mapping {path}: unknown key {sorted(unknown)[0]!r}; known: {', '.join(sorted(_KEYS))}")
    only = table.get("only", {})
    if not isinstance(only, dict):
        raise InputError(f"mapping {path}: only must be a table with field and values")
    join = table.get("join")
    return Rule(
        logs=_texts(path, table.get("log")),
        field=_text(path, table.get("field")),
        tasks=_texts(path, table.get("tasks")),
        prefix_field=_text(path, table.get("with", "")),
        join=None if join is None else _text(path, join),
        strip=_text(path, table.get("strip", "")),
        only_field=_text(path, only.get("field", "")),
        only_values=_texts(path, only.get("values", [])),
    )


def _text(path: Path, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"mapping {path}: expected a string, not {value!r}")
    return value


def _texts(path: Path, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise InputError(f"mapping {path}: expected a list of strings, not {value!r}")
    return tuple(_text(path, item) for item in value)
