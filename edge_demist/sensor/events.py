"""The event: one string, one specialist, one verdict, with everything needed to find the log line again."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from edge_demist.normalizers import to_bytes
from edge_demist.sensor.sources.parser import Record
from edge_demist.sensor.sources.timestamps import format_time
from edge_demist.text.windows import Window

MAX_TEXT_BYTES = 8192
MAX_ID_CHARS = 256
_JOIN_FIELDS = ("uid", "flow_id", "tx_id", "community_id", "fuid", "fingerprint", "ProcessGuid", "record_id")
_ENDPOINTS = (
    ("src_ip", ("src_ip", "id.orig_h")),
    ("src_port", ("src_port", "id.orig_p")),
    ("dest_ip", ("dest_ip", "id.resp_h")),
    ("dest_port", ("dest_port", "id.resp_p")),
)
_ORIGIN_FIELDS = (*_JOIN_FIELDS, *(field for _, fields in _ENDPOINTS for field in fields), "proto")
MAX_PORT = 65_535


class Hash(Protocol):
    """A running hash."""

    def copy(self) -> Hash:
        """A second one that starts here."""

    def update(self, data: bytes, /) -> None:
        """Take more."""

    def hexdigest(self) -> str:
        """The digest so far."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A word of the string; ``drop`` is how much the alarm score falls when it is taken out, ``logits`` the same in logits."""

    start: int
    end: int
    drop: float
    logits: float = 0.0
    word: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """What all events of one record share; ``arrived``: the time is that of the reading, for the record has none."""

    time_us: int | None
    path: str
    offset: int
    log: str
    ids: Mapping[str, str | int]
    endpoints: Mapping[str, str | int]
    arrived: bool = False


@dataclass(slots=True)
class Event:
    """A verdict. ``score`` is the probability of ``label``; ``alarm_score`` that of the positive labels together.

    Nobody changes one; it is not frozen because making a frozen one takes three times as long, and ``--emit all`` makes one a verdict.
    """

    origin: Origin
    event_id: str
    field: str
    text: str
    task: str
    model: str
    label: str | None = None
    score: float | None = None
    alarm_score: float | None = None
    threshold: float | None = None
    alarm: bool = False
    suppressed: str = ""
    why: Sequence[ByteRange] = ()
    why_text: str = ""
    allow_rule: Mapping[str, str] = dataclasses.field(default_factory=dict)
    embedding: Mapping[str, object] = dataclasses.field(default_factory=dict)
    truncated: bool = False
    error: str = ""
    window: Window | None = None
    screened: bool = False
    seen: Mapping[str, object] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IncidentLine:
    """A line about an incident: ``body`` is the object as it is written."""

    event_id: str
    time_us: int
    severity: str
    body: Mapping[str, object]


Entry: TypeAlias = "Event | IncidentLine"
"""What sinks take."""


def event_id(file_key: str, offset: int, line: bytes) -> Hash:
    """The hash that the ids of a record's events start from: which file (by content), where, what."""
    return hashlib.blake2b(b"%s:%d:%s" % (file_key.encode(), offset, line), digest_size=16)


def finish_id(state: Hash, field_name: str, index: int, task: str) -> str:
    """The id of one event: 32 hexadecimal digits, the same at every reading of the same line."""
    own = state.copy()
    own.update(f"\0{field_name}\0{index}\0{task}".encode("utf-8", "surrogatepass"))
    return own.hexdigest()


def origin_of(record: Record, path: str, offset: int, time_us: int | None = None, *, arrived: bool = False) -> Origin:
    """Collect times and join ids; values of the wrong kind are left out, so that a log cannot forge them."""
    found = record.row(_ORIGIN_FIELDS)
    ids = {name: good for name, value in zip(_JOIN_FIELDS, found, strict=False) if (good := _identifier(value)) is not None}
    ends: dict[str, str | int] = {}
    pairs = found[len(_JOIN_FIELDS) : -1]
    for (name, _), first, second in zip(_ENDPOINTS, pairs[::2], pairs[1::2], strict=True):
        value = second if first is None else first
        good = _port(value) if name.endswith("port") else _address(value)
        if good is not None:
            ends[name] = good
    proto = found[-1]
    if isinstance(proto, str) and proto.isascii() and proto.replace("-", "").isalnum() and len(proto) <= 16:
        ends["proto"] = proto
    return Origin(
        record.time_us if time_us is None else time_us, printable(path), offset, printable(record.log)[:MAX_ID_CHARS], ids, ends, arrived
    )


def _identifier(value: str | int | None) -> str | int | None:
    if isinstance(value, int):
        return value if abs(value) < 1 << 64 else None
    return printable(value)[:MAX_ID_CHARS] if value else None


def _port(value: str | int | None) -> int | None:
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= 5 else None
    return value if value is not None and 0 <= value <= MAX_PORT else None


def _address(value: str | int | None) -> str | None:
    return _known_address(value) if isinstance(value, str) and len(value) <= 64 and "%" not in value else None


@functools.lru_cache(maxsize=4096)
def _known_address(value: str) -> str | None:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        return None


def printable(text: str) -> str:
    r"""Valid Unicode: bytes that were not UTF-8 appear as ``\xHH``."""
    if text.isascii():
        return text
    return to_bytes(text).decode("utf-8", "backslashreplace")


def text_fields(text: str) -> dict[str, object]:
    """The string as events carry it: at most 8192 bytes; base64 beside it where it was not valid UTF-8."""
    if len(text) <= MAX_TEXT_BYTES and text.isascii():
        return {"text": text}
    raw = to_bytes(text)
    fields: dict[str, object] = {}
    cut = raw[:MAX_TEXT_BYTES]
    if len(raw) > MAX_TEXT_BYTES:
        fields["text_bytes"] = len(raw)
        cut = cut.decode("utf-8", "ignore").encode() if _is_utf8(raw) else cut
    fields["text"] = cut.decode("utf-8", "backslashreplace")
    if not _is_utf8(cut):
        fields["text_base64"] = base64.b64encode(cut).decode("ascii")
    return fields


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def verdict(event: Event) -> dict[str, object]:
    """The part of an event that the model gave, in the order it is written."""
    body: dict[str, object] = {"event_id": event.event_id, "log": event.origin.log, "field": event.field}
    body |= text_fields(event.text)
    body["task"] = event.task
    if event.error:
        body["error"] = printable(event.error)
    elif event.embedding:
        body["embedding"] = dict(event.embedding)
    else:
        body |= {"label": event.label, "score": _rounded(event.score)}
    if event.alarm_score is not None:
        body |= {"alarm_score": _rounded(event.alarm_score), "threshold": _rounded(event.threshold), "alarm": event.alarm}
    if event.window is not None:
        body["window"] = event.window.shown()
    if event.suppressed:
        body["suppressed"] = printable(event.suppressed)
    if event.alarm:
        body["why"] = [
            {"start": r.start, "end": r.end, "word": r.word, "logits": round(r.logits, 2), "drop": _rounded(r.drop)} for r in event.why
        ]
        if event.why_text:
            body["why_text"] = printable(event.why_text)
        body["allow_rule"] = dict(event.allow_rule)
    if event.truncated:
        body["truncated"] = True
    if event.screened:
        body["screened"] = True
    body |= event.seen
    body["model"] = event.model
    return body


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def head(origin: Origin) -> dict[str, object]:
    """How the object of an event begins: when, and where it was read."""
    return {
        "time": None if origin.time_us is None else format_time(origin.time_us),
        **({"time_source": "arrival"} if origin.arrived else {}),
        "file": origin.path,
        "offset": origin.offset,
    }


def to_json(event: Entry) -> dict[str, object]:
    """The event, or the line about an incident, as a JSON object."""
    if isinstance(event, IncidentLine):
        return dict(event.body)
    origin = event.origin
    return head(origin) | verdict(event) | dict(origin.ids) | dict(origin.endpoints)
