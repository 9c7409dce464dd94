"""JSON logs: Zeek's streaming form, Suricata's eve.json, and exported command-line events.

Only the shape is handled here: one object a line, its log type, strings under a dotted path. Formats: Zeek's JSON
writer (``_path`` is added by the json-streaming-logs package), Suricata user guide "EVE JSON Format".
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from typing import cast

from edge_demist.sensor.sources.timestamps import parse_time

_STEP = re.compile(r"([^\[\]]+?)(?:\[(?:([^=\]]+)=([^\]]*))?\])?\Z")
_TIME_FIELDS = ("ts", "timestamp", "@timestamp", "UtcTime", "EventTime", "time")
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
_HOST_KEYS = frozenset({"CommandLine", "command_line", "cmdline", "process", "EventData", "Event", "winlog", "EXECVE", "PROCTITLE"})
_Steps = tuple[tuple[str, str | None, str], ...]


def _int(text: str) -> int | float:
    return int(text) if len(text) <= _MAX_INT_DIGITS else float("inf")


_DECODER = json.JSONDecoder(parse_int=_int)


def parse_object(line: bytes) -> dict[str, object] | str:
    """The object on a line; a string is the reason why there is none."""
    if b"\0" in line:
        return "corrupt"
    try:
        # surrogateescape: a log with stray bytes is still a log, and the bytes reach the model unchanged
        value = _DECODER.decode(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return "bad-json"
    return value if isinstance(value, dict) else "not-an-object"


def compile_path(path: str) -> _Steps:
    """Split ``http.request_headers[name=:authority].value`` into steps.

    Raises:
        ValueError: a step has an unbalanced bracket.
    """
    steps: list[tuple[str, str | None, str]] = []
    for part in re.split(r"\.(?![^\[]*\])", path):
        match = _STEP.match(part)
        if match is None:
            raise ValueError(f"{path!r}: {part!r} is not a field name, name[] or name[key=value]")
        steps.append((match[1], match[2], match[3] or ""))
    return tuple(steps)


_PATHS: dict[str, _Steps] = {}


def lookup(data: Mapping[str, object], path: str) -> list[object]:
    """Every value under a dotted path; a flat key of that very name (``id.orig_h``) comes first."""
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
    found: list[object] = [data]
    for name, key, wanted in steps:
        found = [item for node in found if isinstance(node, dict) for item in _flatten(node.get(name))]
        if key is not None:
            found = [item for item in found if isinstance(item, dict) and str(item.get(key, "")).lower() == wanted]
    return found


def _flatten(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


class JsonRecord:
    """One object of a JSON log."""

    __slots__ = ("data", "log")

    def __init__(self, data: dict[str, object], log: str) -> None:
        """Keep the object."""
        self.data, self.log = data, log

    def values(self, name: str) -> list[str]:
        """The non-empty strings under a path."""
        return [value for value in lookup(self.data, name) if isinstance(value, str) and value]

    def scalar(self, name: str) -> str | int | None:
        """The first string or integer under a path."""
        for value in lookup(self.data, name):
            if isinstance(value, (str, int)) and not isinstance(value, bool):
                return value
        return None

    def has(self, name: str) -> bool:
        """Whether the path leads anywhere."""
        return bool(lookup(self.data, name))

    @property
    def time_us(self) -> int | None:
        """The event's time, under the first of the usual names."""
        for name in _TIME_FIELDS:
            if name in self.data:
                return parse_time(self.data[name])
        return None


def classify_object(data: dict[str, object], file_log: str) -> JsonRecord:
    """Name the log a JSON object belongs to.

    Args:
        data: the object.
        file_log: what the file name suggests (``zeek.dns``), or an empty string.
    """
    path = data.get("_path")
    if isinstance(path, str):
        return JsonRecord(data, f"zeek.{path}")
    event_type = data.get("event_type")
    if isinstance(event_type, str) and _HOST_KEYS.isdisjoint(data) and ("timestamp" in data or isinstance(data.get(event_type), dict)):
        return JsonRecord(data, f"eve.{event_type}")
    if "ts" in data and ("uid" in data or "fuid" in data or file_log or "id" in data):
        return JsonRecord(data, file_log or log_of_fields(data) or "zeek.unknown")
    signed = log_of_fields(data) if "ts" in data else ""
    return JsonRecord(data, signed or "host")


def log_of_fields(names: Container[str]) -> str:
    """What the names of its fields say about a Zeek log; unknown is empty."""
    return next((f"zeek.{log}" for log, wanted in _SIGNATURES if all(name in names for name in wanted)), "")


def as_mapping(value: object) -> Mapping[str, object]:
    """A JSON object as a mapping; anything else as an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
