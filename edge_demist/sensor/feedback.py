"""What people say about alarms and incidents: a log, the rule that follows from a false alarm, and labels to train with.

A verdict is one line of ``feedback.jsonl`` in the state folder, appended and synced. ``fp``: a false alarm; ``tp``: a true one;
``benign-tp``: rightly told, and allowed here.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from edge_demist.errors import InputError
from edge_demist.io import is_special
from edge_demist.sensor.detect.allow import AllowRule, suggest
from edge_demist.sensor.incidents.told import read_objects
from edge_demist.sensor.sources.timestamps import parse_time
from edge_demist.sensor.storage import Disk

FILE = "feedback.jsonl"
VERDICTS = ("fp", "tp", "benign-tp")
MAX_SILENCED = 20
MAX_TEXTS = 64
_DAY_US = 86_400_000_000
_TASKS = {"dga": "dga", "tunnel": "dns-tunnel", "scan": "uri-attack"}


@dataclass(frozen=True, slots=True)
class Told:
    """What a verdict is about: an alarm or an incident, with its strings and the specialists they were asked of."""

    identity: str
    kind: str
    texts: tuple[tuple[str, str], ...]
    label: str
    raw: Mapping[str, Any]


def find(identity: str, files: Iterable[Path]) -> Told:
    """The alarm or incident with an id, or with the only id that begins so.

    Raises:
        InputError: none, or more than one.
    """
    found: dict[str, Told] = {}
    for path in files:
        for line in read_objects(path):
            for name in ("incident_id", "event_id"):
                own = line.get(name)
                if isinstance(own, str) and own.startswith(identity) and len(identity) >= 4 and (name == "incident_id" or "task" in line):
                    found[own] = _told(own, line)
    if len(found) != 1:
        many = f"{len(found)} begin so: {', '.join(sorted(found)[:4])}" if found else "no line has it"
        raise InputError(f"id {identity!r}: {many}")
    return next(iter(found.values()))


def _told(identity: str, line: Mapping[str, Any]) -> Told:
    if "incident_id" in line:
        kind = str(line.get("kind", ""))
        task = _TASKS.get(kind, "hostname-threat")
        texts = [(text, task) for text in (_attacks(line) if kind == "scan" else _list(line, "entities")) if isinstance(text, str)]
        return Told(identity, f"incident: {kind}", tuple(texts[:MAX_TEXTS]), kind, line)
    return Told(identity, "alarm", ((str(line.get("text", "")), str(line.get("task", ""))),), str(line.get("label", "")), line)


def _list(line: Mapping[str, Any], name: str) -> list[Any]:
    """A list of a line that others may have written; empty where something else stands there."""
    value = line.get(name)
    return value if isinstance(value, list) else []


def _attacks(line: Mapping[str, Any]) -> Iterator[object]:
    """The request values that a scan is told for, of which the specialist was asked; its server and source are no such strings."""
    for sign in _list(line, "evidence"):
        if isinstance(sign, dict) and sign.get("sign") in ("attacks", "strong_attacks") and isinstance(sign.get("examples"), list):
            yield from (example.get("text") for example in sign["examples"] if isinstance(example, dict))


def _subject(told: Told) -> tuple[tuple[str, str], ...]:
    """What rules are asked about: all strings of alarms, what an incident is about, or a scan's source."""
    if told.kind == "incident: scan":
        return tuple((str(client), _TASKS["scan"]) for client in _list(told.raw, "clients")[:1])
    return told.texts[:1] if told.kind.startswith("incident") else told.texts


def entry(told: Told, verdict: str, reason: str, owner: str = "", expires: str = "") -> dict[str, object]:
    """The line of the log.

    Raises:
        InputError: an unknown verdict, no reason, or no date.
    """
    if verdict not in VERDICTS:
        raise InputError(f"--verdict {verdict!r} is none of {', '.join(VERDICTS)}")
    if not reason.strip():
        raise InputError("--reason must not be empty")
    if expires:
        try:
            date.fromisoformat(expires)
        except ValueError as error:
            raise InputError(f"--expires {expires!r} is not a date such as 2026-12-31") from error
    texts = [{"text": text, "task": task} for text, task in told.texts]
    body: dict[str, object] = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "id": told.identity, "kind": told.kind}
    body |= {"verdict": verdict, "label": told.label, "reason": reason, "owner": owner, "expires": expires, "texts": texts}
    return body


def append(state: Path, line: Mapping[str, object]) -> None:
    """Write a line at the end of the log, durably.

    Raises:
        OSError: the disk would not take it, or the name stands for a link or for no regular file.
    """
    disk, path = Disk(), state / FILE
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a link", str(path))
    fd = disk.open_append(path)
    try:
        disk.write_all(fd, json.dumps(line).encode("ascii") + b"\n")
        disk.fsync(fd)
    finally:
        disk.close(fd)


def proposed_rules(told: Told, reason: str, expires: str = "") -> list[AllowRule]:
    """The narrowest rules that would have silenced it; none opens a domain that many share."""
    about = told.texts if told.label == "dga" else _subject(told)  # of generated names each has a rule of its own
    rules = [suggest(text, task) for text, task in about if text]
    distinct = {(rule["kind"], rule["value"], rule["task"]): None for rule in rules}
    return [AllowRule(kind, value, reason, task, expires) for kind, value, task in distinct]


def toml(rules: Iterable[AllowRule]) -> str:
    """Rules as an allow-list file."""
    tables = []
    for rule in rules:
        keys = {"kind": rule.kind, "value": rule.value, "task": rule.task, "reason": rule.reason, "expires": rule.expires}
        # JSON's strings in ASCII are TOML's basic strings, but for the escapes of characters beyond the first plane
        lines = [f"{name} = {_quoted(value)}" for name, value in keys.items() if value]
        tables.append("[[allow]]\n" + "\n".join(lines) + "\n")
    return "\n".join(tables)


def _quoted(text: str) -> str:
    shown = "".join(c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{shown}"'


def silenced(rules: Iterable[AllowRule], told: Told, files: Iterable[Path], days: float) -> list[dict[str, object]]:
    """What else the rules would have silenced in the last ``days`` of the logs: at most twenty, the newest first."""
    rules = list(rules)
    hits: list[tuple[int, dict[str, object]]] = []
    lines = [line for path in files for line in read_objects(path)]
    times = [parse_time(line.get("last") or line.get("time")) or 0 for line in lines]
    since = max(times, default=0) - days * _DAY_US
    for time_us, line in zip(times, lines, strict=True):
        own = _told(str(line.get("incident_id") or line.get("event_id")), line)
        told_once = line.get("alarm") or line.get("status") == "opened"
        if time_us < since or own.identity == told.identity or not told_once:
            continue
        texts = _subject(own)
        if any(rule.matches(text, task) for rule in rules for text, task in texts):
            hits.append((time_us, {"id": own.identity, "kind": own.kind, "text": texts[0][0]}))
    return [hit for _, hit in sorted(hits, key=lambda pair: -pair[0])[:MAX_SILENCED]]


def labels(state: Path, task: str, positive: str, negative: str) -> Iterator[dict[str, str]]:
    """Rows to train a specialist with: the strings of the log's verdicts, the last verdict about each.

    Raises:
        InputError: there is no log.
    """
    rows: dict[str, str] = {}
    if is_special(state / FILE):
        raise InputError(f"{state / FILE}: is no regular file")
    for line in read_objects(state / FILE):
        label = {"tp": positive, "fp": negative, "benign-tp": negative}.get(str(line.get("verdict")))
        for item in _list(line, "texts"):
            if label and isinstance(item, dict) and item.get("task") == task and item.get("text"):
                rows[str(item["text"])] = label
    yield from ({"text": text, "label": label} for text, label in rows.items())
