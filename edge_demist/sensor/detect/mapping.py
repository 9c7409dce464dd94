"""Which string of which log goes to which specialist; the defaults stand in ``mapping.toml`` beside this file."""

from __future__ import annotations

import fnmatch
import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge_demist import decoding
from edge_demist.errors import InputError
from edge_demist.sensor.detect.anywhere import Anywhere
from edge_demist.sensor.detect.columns import Column, Columns
from edge_demist.sensor.detect.web import full_url, request_target
from edge_demist.sensor.sources.audit import command_of_title
from edge_demist.sensor.sources.json_logs import JsonRecord, compile_path, lookup
from edge_demist.sensor.sources.parser import Record
from edge_demist.sensor.sources.timestamps import parse_time
from edge_demist.sensor.sources.windows import windows_message
from edge_demist.sensor.sources.zeek import ZeekHeader, ZeekRecord
from edge_demist.sensor.toml_files import read_toml

DEFAULT_MAPPING = Path(__file__).with_name("mapping.toml")
EMBEDDING = "embedding"
MAX_STRINGS_PER_RECORD = 1024
MAX_SHAPES, MAX_LOG_CHARS = 1024, 256
"""Logs, by name, and shapes of records, by their keys, of which the rules are remembered that can apply; longer names are not."""
HEADERS_JOIN = " | "
"""Between the lines of a block of headers, as http-header was trained."""
_AGENT = ("user-agent",)
_Rules = tuple[tuple["Rule", tuple[str, ...]], ...]
_KEYS = {"log", "field", "tasks", "with", "join", "strip", "only", "unless", "as", "method", "query", "format"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One field and the specialists that read it; the keys are explained in ``mapping.toml``."""

    logs: tuple[str, ...]
    field: str
    tasks: tuple[str, ...]
    prefix_fields: tuple[str, ...] = ()
    join: str | None = None
    strip: str = ""
    only_field: str = ""
    only_values: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    form: str = ""
    method_field: str = ""
    query_fields: tuple[str, ...] = ()
    format: str = ""
    root: str = ""
    second: str = ""
    is_plain: bool = False
    """Whether the rule takes a field as it stands, whatever the others hold."""

    def __post_init__(self) -> None:
        """Check that names and paths can be used."""
        if not self.logs or not self.field or not self.tasks:
            raise InputError(f"mapping rule for field {self.field!r}: log, field and tasks must not be empty")
        if self.form not in _FORMS:
            raise InputError(f"mapping rule for field {self.field!r}: as = {self.form!r} is none of {', '.join(_FORMS[1:])}")
        special = self.prefix_fields or self.join is not None or self.strip or self.only_field or self.unless or self.form
        object.__setattr__(self, "is_plain", not (special or self.query_fields))
        for path in (self.field, *self.prefix_fields, self.only_field, *self.unless, self.method_field, *self.query_fields):
            if path:
                try:
                    steps = compile_path(path)
                except ValueError as error:
                    raise InputError(f"mapping rule: {error}") from error
                if path == self.field:
                    object.__setattr__(self, "root", steps[0][0])
                    object.__setattr__(self, "second", steps[1][0] if len(steps) > 1 else "")

    def may_be_in(self, data: Mapping[str, object]) -> bool:
        """Whether the keys of an object, and those one level below, allow the field."""
        inner = data.get(self.root)
        if not isinstance(inner, dict) or self.second in ("", "*"):
            return True
        return self.second in inner or any("." in str(key) for key in (*data, *inner))

    def matches(self, log: str) -> bool:
        """Whether the rule is for this log."""
        return any(log == name or ("*" in name and fnmatch.fnmatchcase(log, name)) for name in self.logs)

    @property
    def name(self) -> str:
        """What events call the field."""
        return f"{self.prefix_fields[0]}+{self.field}" if self.prefix_fields else self.field

    def strings(self, record: Record) -> list[str]:
        """The rule's strings in a record."""
        values = record.values(self.field)
        if self.is_plain or not values:
            return values
        if self.only_field and not self._is_wanted(record):
            return []
        if self.unless and any(record.has(path) for path in self.unless):
            return []
        if self.join is not None:
            values = [self.join.join(values)]
        if self.prefix_fields or self.form:
            values = self._shaped(record, values)
        if self.strip:
            values = [value.removeprefix(self.strip) for value in values]
        return [value for value in values if value]

    def _is_wanted(self, record: Record) -> bool:
        """Whether a record has the field of ``only``, with one of its values where it names any."""
        return record.scalar(self.only_field) in self.only_values if self.only_values else record.has(self.only_field)

    def _shaped(self, record: Record, values: list[str]) -> list[str]:
        """The values as the rule's ``as`` wants them."""
        if self.form in _PLAIN_FORMS:
            return [_PLAIN_FORMS[self.form](value) for value in values]
        method = ""
        if self.method_field and not values[0].startswith("/"):  # of a path the method says nothing
            method = str(record.scalar(self.method_field) or "")
        if query := next((found[0] for path in self.query_fields if (found := record.values(path))), ""):
            values = [value if "?" in value else f"{value}?{query.removeprefix('?')}" for value in values]
        if self.form == "target":
            return [request_target(value, method) for value in values]
        if self.form == "headers":
            bodies = record.values(self.prefix_fields[0]) if self.prefix_fields else []
            named = [
                f"{name}: {body}" for name, body in zip(values, bodies, strict=False) if not name.startswith(":")
            ]  # HTTP/2's are no lines
            return [HEADERS_JOIN.join(named)] if len(bodies) == len(values) else []
        front = next((found[0] for path in self.prefix_fields if (found := record.values(path))), "")
        if self.form == "command":
            return [f"{front} {value}".strip() for value in values]
        if self.form == "certificate":
            return [f"subject={value} issuer={front}" if front else f"subject={value}" for value in values]
        return [full_url(front, value, method) for value in values]


def _agent(value: str) -> str:
    """A user agent as IIS (plus for blank) and CloudFront (percent-encoded) write it."""
    return decoding.percent(value if " " in value else value.replace("+", " "))


_DOUBLED = re.compile(r'(?:[^\\]|\\[\\"])*\Z')
_PAIR = re.compile(r'\\([\\"])')


def _unescaped(value: str) -> str:
    """A string in which the writer (Wazuh) doubled every backslash and put one before every quote."""
    return _PAIR.sub(r"\1", value) if "\\" in value and _DOUBLED.match(value) else value


_HOST_NAME = re.compile(r"[\w\-*]{1,63}(?:\.[\w\-]{1,63})+\.?\Z")


def _host_name(value: str) -> str:
    """A value that can be a host's full name; empty for others: fields called ``query`` or ``domain`` may hold anything."""
    return value if _HOST_NAME.match(value) else ""


_QUESTION = re.compile(r"(?:QUESTION SECTION:?\s*)?;?\s?(\S{1,1024}?)\.?\s+(?:IN|CH|HS)\s+[A-Z0-9]{1,10}\s*(?:\n|\Z)")


def _question(value: str) -> str:
    """The name that a DNS message asks for, as ``dig`` and dnstap print it (``;example.com. IN A``)."""
    at = max(value.find("QUESTION SECTION"), 0)
    match = _QUESTION.search(value, at) if at else _QUESTION.match(value)
    return match[1] if match else ""


def _executed(value: str) -> str:
    """What Docker's events say was run in a container (``exec_create: sh -c id``); empty for other events."""
    name, _, command = value.partition(": ")
    return command if name in ("exec_create", "exec_start") else ""


def _command_of(value: str) -> str:
    """The command in a JSON object that stands as text in a field (Defender's ``AdditionalFields``); empty for other texts."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return ""
    return command if isinstance(found, dict) and isinstance(command := found.get("Command"), str) else ""


def _of_message(value: str) -> str:
    """The script or command line in the text of a Windows event (PowerShell's 4104, 400, 4103); empty for other texts."""
    found = windows_message(value) if "Creating Scriptblock text" in value or "Application" in value else None
    data = found.get("EventData") if found else None
    return str(next(iter(data.values()), "")) if isinstance(data, dict) else ""


_PLAIN_FORMS: Mapping[str, Callable[[str], str]] = {
    "argv": command_of_title,
    "agent": _agent,
    "escaped": _unescaped,
    "name": _host_name,
    "question": _question,
    "exec": _executed,
    "message": _of_message,
    "command of JSON": _command_of,
}
_FORMS = ("", "url", "target", "command", "certificate", "headers", *_PLAIN_FORMS)


class MappedString(NamedTuple):
    """A string of a record with its specialists."""

    field: str
    number: int
    text: str
    tasks: tuple[str, ...]


class FieldMapping:
    """All rules, restricted to what the model has."""

    def __init__(self, rules: Iterable[Rule], available: Iterable[str], *, embeddings: bool = False, times: Iterable[str] = ()) -> None:
        """Keep the tasks that the model can answer; ``times`` are further fields that hold a record's time."""
        self.rules, self.times = tuple(rules), tuple(times)
        usable = set(available) | ({EMBEDDING} if embeddings else set())
        wanted = {task for rule in self.rules for task in rule.tasks}
        self.unavailable = tuple(sorted(wanted - usable - {EMBEDDING}))
        self.unmapped = tuple(sorted(usable - wanted - {EMBEDDING}))
        self.tasks = tuple(sorted((wanted & usable) - {EMBEDDING}))
        self._usable = usable
        self._columns = Columns()
        self._by_log: dict[str, _Rules] = {}
        self._by_shape: dict[int, _Rules] = {}
        self._anywhere: dict[str, Anywhere] = {}

    def for_log(self, log: str) -> _Rules:
        """The rules of a log, each with its usable tasks."""
        rules = self._by_log.get(log)
        if rules is None:
            rules = tuple((r, tuple(t for t in r.tasks if t in self._usable)) for r in self.rules if r.matches(log))
            if len(log) <= MAX_LOG_CHARS:
                if len(self._by_log) >= MAX_SHAPES:
                    self._by_log.clear()
                self._by_log[log] = rules
        return rules

    def only_column(self, header: ZeekHeader, log: str) -> Column | None:
        """The one column of a Zeek log that the rules read, as it stands; None where there is more to it."""
        return self._columns.column(header, log, self.for_log(log))

    def time_us(self, record: Record) -> int | None:
        """The record's own time, or what the mapping's ``times`` find."""
        us = record.time_us
        if us is None and self.times and isinstance(record, JsonRecord):
            found = (parse_time(value) for path in self.times for value in lookup(record.data, path))
            us = next((time for time in found if time is not None), None)
        return us

    def apply(self, record: Record) -> list[MappedString] | str:
        """The record's strings, or the reason why there are none: ``no-rule``, ``no-string`` and the like.

        A string that stands in two fields is one string to a specialist.
        """
        rules = self.for_log(record.log)
        if not rules:
            return "no-rule"
        if isinstance(record, ZeekRecord):
            short = self._columns.find(record, rules)
            if short is not None:
                column, text = short
                return [MappedString(column.name, 0, text, column.tasks)]
        found: list[MappedString] = []
        asked: dict[str, tuple[str, ...]] = {}
        unanswerable = ""
        rules = self._applicable(record, rules)
        for rule, tasks in rules:
            strings = rule.strings(record)
            if strings and not tasks:
                unanswerable = "embeddings-off" if set(rule.tasks) == {EMBEDDING} else "no-specialist"
            if len(strings) == 1 and len(rules) == 1 and tasks and tasks != _AGENT:  # most records: nothing can stand there twice
                return [MappedString(rule.name, 0, strings[0], tasks)]
            for i, text in enumerate(strings if tasks else ()):
                before = asked.get(text, ())
                fresh = tuple(task for task in tasks if task not in before) if before else tasks
                if fresh:
                    asked[text] = (*before, *fresh) if before else fresh
                    found.append(MappedString(rule.name, i, text, fresh))
        if len(found) > MAX_STRINGS_PER_RECORD:
            return "too-many-strings"
        if not unanswerable and all(item.tasks == _AGENT for item in found):  # an agent is seldom all that a request has
            found += [item for item in self._elsewhere(record) if not set(item.tasks) <= set(asked.get(item.text, ()))]
        return found or unanswerable or self._lent(record) or "no-string"

    def _lent(self, record: Record) -> list[MappedString]:
        """The strings of what the record was wrapped in, from the inside out: a rule may name a field of it."""
        for envelope in record.envelopes() if isinstance(record, JsonRecord) else ():
            if envelope.strings is None:
                envelope.strings = self.apply(JsonRecord(envelope.data, "host"))
            if isinstance(envelope.strings, list):
                return envelope.strings
        return []

    def _elsewhere(self, record: Record) -> list[MappedString]:
        """Strings under names that say what they are, where no rule names their place."""
        if not isinstance(record, JsonRecord) or record.log not in ("host", "ecs"):
            return []
        if "info" in record.data and record.scalar("info.event.name"):  # Kunai says the command with everything that it does
            return []
        anywhere = self._anywhere.get(record.log)
        if anywhere is None:
            anywhere = self._anywhere[record.log] = Anywhere(self.for_log(record.log))
        found = [MappedString(path, 0, text, tasks) for path, text, tasks in anywhere.strings(record.data)]
        return list({(item.text, item.tasks): item for item in reversed(found)}.values())[::-1][:MAX_STRINGS_PER_RECORD]

    def _applicable(self, record: Record, rules: _Rules) -> _Rules:
        """The rules whose field a record can have at all: by the header, or by an object's keys and those one level below."""
        if len(rules) < 3:
            return rules
        if isinstance(record, ZeekRecord):
            shape = hash((record.log, None, record.header.fields))  # None: no object has that shape
        elif isinstance(record, JsonRecord):
            shape = hash((record.log, *[(key, *value) if type(value) is dict else key for key, value in record.data.items()]))
        else:
            return rules
        found = self._by_shape.get(shape)
        if found is None:
            if len(self._by_shape) >= MAX_SHAPES:
                self._by_shape.clear()
            if isinstance(record, ZeekRecord):
                found = tuple(pair for pair in rules if pair[0].field.removesuffix("[]") in record.header.index)
            else:
                roots = {key.partition(".")[0] for key in record.data}
                found = tuple(pair for pair in rules if pair[0].root in roots and pair[0].may_be_in(record.data))
            self._by_shape[shape] = found
        return found


def load_rules(path: Path | None = None) -> tuple[Rule, ...]:
    """The rules of a mapping file; see :func:`read_mapping`."""
    return read_mapping(path)[0]


def read_mapping(path: Path | None = None) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """Read a mapping file: its rules, and the further fields that hold times.

    Raises:
        InputError: it cannot be read, is not TOML, or a rule is wrong.
    """
    path = path or DEFAULT_MAPPING
    try:
        data = read_toml(path)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"mapping {path}: {error}") from error
    rules = data.get("rule")
    if not isinstance(rules, list) or not rules or set(data) - {"rule", "times"}:
        raise InputError(f"mapping {path}: expected [[rule]] tables, optionally times = [fields], and nothing else")
    made = tuple(rule for table in rules for rule in _rules(path, table))
    return made, _texts(path, data.get("times", []))


def _rules(path: Path, table: Mapping[str, object]) -> Iterable[Rule]:
    """The rules of a table: one a field."""
    if not isinstance(table, dict):
        raise InputError(f"mapping {path}: a rule must be a table")
    unknown = set(table) - _KEYS
    if unknown:
        raise InputError(f"mapping {path}: unknown key {sorted(unknown)[0]!r}; known: {', '.join(sorted(_KEYS))}")
    only = table.get("only", {})
    if not isinstance(only, dict):
        raise InputError(f"mapping {path}: only must be a table with field and values")
    join = table.get("join")
    fields = _texts(path, table.get("field")) or ("",)
    make = functools.partial(
        Rule,
        logs=_texts(path, table.get("log")),
        tasks=_texts(path, table.get("tasks")),
        prefix_fields=_texts(path, table.get("with", [])),
        join=None if join is None else _text(path, join),
        strip=_text(path, table.get("strip", "")),
        only_field=_text(path, only.get("field", "")),
        only_values=_texts(path, only.get("values", [])),
        unless=_texts(path, table.get("unless", [])),
        form=_text(path, table.get("as", "url" if table.get("with") else "")),
        method_field=_text(path, table.get("method", "")),
        query_fields=_texts(path, table.get("query", [])),
        format=_text(path, table.get("format", "")),
    )
    return [make(field=name) for name in fields]


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
