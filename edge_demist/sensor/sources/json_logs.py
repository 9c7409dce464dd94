"""JSON logs: Zeek's streaming form, Suricata's eve.json, and exported command-line events.

Only the shape is handled here: one object a line, its log type, strings under a dotted path. Formats: Zeek's JSON
writer (``_path`` is added by the json-streaming-logs package), Suricata user guide "EVE JSON Format".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterator, Mapping

from edge_demist.normalizers import from_bytes, to_bytes
from edge_demist.sensor.caching import cached
from edge_demist.sensor.sources.event_times import other_time_in, time_in

LAUREL = "laurel"

_STEP = re.compile(r"([^\[\]]+?)(?:\[(?:([^=\]]+)=([^\]]*))?\])?\Z")
_ESCAPED_BYTE = re.compile(rb"\\x([0-9a-fA-F]{2})")
_ESCAPED_HIGH_BYTE = re.compile(rb"\\x([89a-fA-F][0-9a-fA-F])")
_PERCENT = re.compile(rb"%([0-9a-fA-F]{2})")
_MAX_INT_DIGITS = 4000
# Tells a Zeek log that does not name itself by the fields that only it has; the first match counts.
_SIGNATURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("dns", ("trans_id", "qtype_name")),
    ("dns", ("query", "rcode")),
    ("dns", ("query", "qtype")),
    ("dns", ("query", "trans_id")),
    ("sip", ("call_id", "seq")),
    ("http", ("trans_depth", "request_body_len")),
    ("http", ("uri", "method")),
    ("http", ("user_agent", "host")),
    ("x509", ("certificate.subject",)),
    ("x509", ("certificate.serial",)),
    ("ssl", ("ssl_history",)),
    ("ssl", ("cipher", "established")),
    ("ssl", ("server_name", "established")),
    ("files", ("fuid", "analyzers")),
    ("files", ("fuid", "seen_bytes")),
    ("software", ("software_type",)),
    ("smtp", ("trans_depth", "helo")),
    ("quic", ("client_initial_dcid",)),
    ("conn", ("conn_state",)),
    # cut down to a few fields
    ("dns", ("query",)),
    ("http", ("uri",)),
    ("http", ("user_agent",)),
    ("ssl", ("server_name",)),
    ("x509", ("san.dns",)),
)
# Exports of host events may have an event_type too; Suricata has none of these at the top.
_HOST_KEYS = frozenset(
    ("CommandLine", "command_line", "cmdline", "process_cmdline", "process", "EventData", "Event", "winlog", "EXECVE", "PROCTITLE")
)
_ECS_ROOTS = frozenset(("dns", "url", "tls", "user_agent", "http"))
_ECS_KEYS = ("dns.question.", "url.", "tls.client.", "user_agent.")
_Steps = tuple[tuple[str, str | None, str], ...]
_FindTime = Callable[[Mapping[str, object]], "int | None"]


def _int(text: str) -> int | float:
    return int(text) if len(text) <= _MAX_INT_DIGITS else float("inf")


_NO_JSON_ESCAPE = re.compile(rb"((?<!\\)(?:\\\\)*)\\x([0-9a-fA-F]{2})")
"""``\\xHH``, as nginx writes it into JSON unless told otherwise (``escape=json``)."""
_BETWEEN = re.compile(r"[\s,\x1e]*")
_DECODER = json.JSONDecoder(parse_int=_int)
_SHORT = json.JSONDecoder()
"""For lines that are too short to hold an integer of too many digits."""


def parse_value(line: bytes) -> dict[str, object] | list[object] | str:
    """The object or list on a line; a string is the reason why there is none."""
    if b"\0" in line:
        return "corrupt"
    text = line.decode("utf-8", "surrogateescape")  # a log with stray bytes is still a log, and the bytes reach the model unchanged
    decoder = _SHORT if len(line) <= _MAX_INT_DIGITS else _DECODER
    try:
        value, end = decoder.raw_decode(text) if text.startswith("{") else (decoder.decode(text), len(text))
        if text[end:].strip(" \t\r\n"):
            value = decoder.decode(text)  # raises
    except (ValueError, RecursionError):
        mended = _NO_JSON_ESCAPE.sub(rb"\1\\u00\2", line) if b"\\x" in line else line
        return parse_value(mended) if mended != line else "bad-json"
    return value if isinstance(value, (dict, list)) else "not-an-object"


def parse_several(line: bytes, most: int) -> list[object]:
    """Objects one behind the other on a line, with or without commas between them; empty where there is anything else."""
    found: list[object] = []
    text, place = line.decode("utf-8", "surrogateescape"), 0
    try:
        while place < len(text) and len(found) < most:
            value, place = _DECODER.raw_decode(text, place)
            found.append(value)
            place = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]
    except (ValueError, RecursionError):
        return []
    return found if place == len(text) else []


def parse_object(line: bytes) -> dict[str, object] | str:
    """The object on a line; a string is the reason why there is none."""
    value = parse_value(line)
    return "not-an-object" if isinstance(value, list) else value


@cached(4096)
def compile_path(path: str) -> _Steps:
    """Split ``http.request_headers[name=:authority].value`` into steps; ``*`` stands for every value of an object.

    Raises:
        ValueError: a step has an unbalanced bracket.
    """
    steps: list[tuple[str, str | None, str]] = []
    for part in re.split(r"\.(?![^\[]*\])", path):
        match = _STEP.match(part)
        if match is None:
            raise ValueError(f"{path!r}: {part!r} is not a field name, name[] or name[key=value]")
        steps.append((match[1], match[2], (match[3] or "").lower()))
    return tuple(steps)


_PATHS: dict[str, _Steps] = {}


def lookup(data: Mapping[str, object], path: str) -> list[object]:
    """Every value under a dotted path; a flat key of that very name (``id.orig_h``) comes first.

    Where an object lacks a step, the steps from there on may be one key with dots in it (``output_fields`` → ``proc.cmdline``).
    """
    if path in data:
        return _flatten(data[path])
    bare = path.removesuffix("[]")
    if bare in data:
        return _flatten(data[bare])
    if "." not in path and "[" not in path:
        return []
    steps = _PATHS.get(path)
    if steps is None:
        steps = _PATHS.setdefault(path, compile_path(path))
    found: list[object] = []
    _descend(data, steps, 0, found)
    return found


def _descend(node: object, steps: _Steps, i: int, found: list[object]) -> None:
    if i == len(steps):
        found.append(node)
        return
    if not isinstance(node, dict):
        return
    name, key, wanted = steps[i]
    value = [node[k] for k in sorted(node, key=_natural)] if name == "*" else node.get(name)
    if value is None:
        for end in range(len(steps), i + 1, -1):
            joined = node.get(".".join(step[0] for step in steps[i:end]))
            if joined is not None and all(step[1] is None for step in steps[i:end]):
                i, value = end - 1, joined
                break
    for item in _flatten(value):
        if key is None or (isinstance(item, dict) and str(item.get(key, "")).lower() == wanted):
            _descend(item, steps, i + 1, found)


def _natural(name: str) -> tuple[int, str]:
    return len(name), name


def _flatten(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _undo(pattern: re.Pattern[bytes], mark: str, value: str) -> str:
    if mark not in value:
        return value
    return from_bytes(pattern.sub(lambda m: bytes([int(m[1], 16)]), to_bytes(value)))


class Envelope:
    """An object around records, which lends them its time and its strings; ``outer`` is what stands around it in turn.

    All records of a line share it: there may be ten thousand, and it may have as many fields. So what is found in it is kept:
    ``strings`` is for the mapping.
    """

    __slots__ = ("_times", "data", "outer", "strings")

    def __init__(self, data: dict[str, object]) -> None:
        """Keep the object."""
        self.data = data
        self.outer: Envelope | None = None
        self.strings: object = None
        self._times: dict[_FindTime, int | None] = {}

    def time(self, find: _FindTime) -> int | None:
        """Its time, looked for once."""
        if find not in self._times:
            self._times[find] = find(self.data)
        return self._times[find]


class JsonRecord:
    """One object of a JSON log; ``outer`` is what it was wrapped in, and lends its time."""

    __slots__ = ("data", "log", "outer", "parts")

    def __init__(self, data: dict[str, object], log: str, outer: Envelope | None = None) -> None:
        """Keep the object; ``parts`` are the records of an envelope that holds several."""
        self.data, self.log, self.outer = data, log, outer
        self.parts: tuple[JsonRecord, ...] = ()

    def put_within(self, envelope: Envelope) -> None:
        """Put another envelope around the outermost one."""
        last = self.outer
        if last is None:
            self.outer = envelope
            return
        while last.outer is not None:
            last = last.outer
        if last is not envelope:  # others of its list came before
            last.outer = envelope

    def envelopes(self) -> Iterator[Envelope]:
        """What it was wrapped in, from the inside out."""
        envelope = self.outer
        while envelope is not None:
            yield envelope
            envelope = envelope.outer

    def values(self, name: str) -> list[str]:
        """The non-empty strings under a path, with the escapes of the log's writer undone."""
        found = [value for value in lookup(self.data, name) if isinstance(value, str) and value]
        return [self._plain(value) if "\\x" in value or "%" in value else value for value in found]

    def _plain(self, value: str) -> str:
        r"""Undo what the writer does to bytes: Zeek ``\xHH``, Suricata the same from 0x80 on, laurel ``%XX``."""
        if self.log.startswith("zeek."):
            return _undo(_ESCAPED_BYTE, "\\x", value)
        if self.log.startswith("eve."):
            return _undo(_ESCAPED_HIGH_BYTE, "\\x", value)
        return _undo(_PERCENT, "%", value) if self.log == LAUREL else value

    def scalar(self, name: str) -> str | int | None:
        """The first string or integer under a path."""
        found = self.data.get(name)
        if type(found) is str:
            return found
        if found is None and "." not in name and "[" not in name:
            return None
        for value in lookup(self.data, name):
            if isinstance(value, (str, int)) and not isinstance(value, bool):
                return value
        return None

    def row(self, names: tuple[str, ...]) -> list[str | int | None]:
        """The first string or integer under each path."""
        return [self.scalar(name) for name in names]

    def has(self, name: str) -> bool:
        """Whether the path leads anywhere."""
        return bool(lookup(self.data, name))

    @property
    def time_us(self) -> int | None:
        """The event's time: the first of the usual fields that holds one, of the object or of what it was wrapped in, then of others."""
        for find in (_usual_time, other_time_in):
            if (us := find(self.data)) is not None:
                return us
            for envelope in self.envelopes():
                if (us := envelope.time(find)) is not None:
                    return us
        return None


def _usual_time(data: Mapping[str, object]) -> int | None:
    return time_in(data, lookup)


def classify_object(data: dict[str, object], file_log: str) -> JsonRecord:
    """Name the log a JSON object belongs to.

    Args:
        data: the object.
        file_log: what the file name suggests (``zeek.dns``), or an empty string.
    """
    named = named_record(data, file_log)
    if named is not None:
        return named
    if "ID" in data and ("EXECVE" in data or "PROCTITLE" in data or "SYSCALL" in data):
        return JsonRecord(data, LAUREL)
    return JsonRecord(data, "ecs" if _is_ecs(data) else "host")


def named_record(data: dict[str, object], file_log: str) -> JsonRecord | None:
    """The record of an object that is a Zeek or Suricata one; None for all others."""
    path = data.get("_path")
    if isinstance(path, str):
        return JsonRecord(data, f"zeek.{path}")
    event_type = data.get("event_type")
    if isinstance(event_type, str) and _HOST_KEYS.isdisjoint(data) and ("timestamp" in data or isinstance(data.get(event_type), dict)):
        return JsonRecord(data, f"eve.{event_type}")
    if "ts" in data:
        if "uid" in data or "fuid" in data or file_log or "id" in data:
            return JsonRecord(data, file_log or log_of_fields(data) or "zeek.unknown")
        if signed := log_of_fields(data):
            return JsonRecord(data, signed)
    if (
        "uid" in data and ("qtype_name" in data or "trans_depth" in data) and (signed := log_of_fields(data))
    ):  # a shipper took the time away
        return JsonRecord(data, signed)
    return None


def _is_ecs(data: Mapping[str, object]) -> bool:
    """Whether an object has network fields of the Elastic Common Schema, nested or with dots in the keys."""
    if "@timestamp" not in data and "ecs" not in data and "ecs.version" not in data:
        return False
    if not _ECS_ROOTS.isdisjoint(data) and any(isinstance(data.get(name), dict) for name in _ECS_ROOTS):
        return True
    return "." in "".join(data) and any(key.startswith(_ECS_KEYS) for key in data)


def log_of_fields(names: Container[str]) -> str:
    """What the names of its fields say about a Zeek log; unknown is empty."""
    return next((f"zeek.{log}" for log, wanted in _SIGNATURES if all(name in names for name in wanted)), "")
