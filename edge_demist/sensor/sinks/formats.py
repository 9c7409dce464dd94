r"""How events are written: JSON lines, EVE JSON, Zeek's ASCII format, RFC 5424.

Log content is attacker-chosen. JSON is written in ASCII only, so no control character, escape sequence or newline
reaches a line or a terminal; the Zeek form escapes as Zeek does (``\xHH``); syslog carries the JSON as its message.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

from edge_demist.sensor.events import MAX_TEXT_BYTES, Entry, Event, IncidentLine, Origin, head, text_fields, to_json, verdict
from edge_demist.sensor.sources.timestamps import format_time

_JSON = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_quoted = json.encoder.encode_basestring_ascii
_HEX = [f"\\x{i:02x}" if i < 0x20 or i == 0x7F else chr(i) for i in range(128)]
_HEX[ord("\\")] = "\\\\"
_ESCAPES = {i: text for i, text in enumerate(_HEX) if text != chr(i)}
ZEEK_FIELDS: tuple[tuple[str, str], ...] = (
    ("ts", "time"),
    ("event_id", "string"),
    ("uid", "string"),
    ("flow_id", "count"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "string"),
    ("source_log", "string"),
    ("source_file", "string"),
    ("source_offset", "count"),
    ("field", "string"),
    ("text", "string"),
    ("task", "string"),
    ("label", "string"),
    ("score", "double"),
    ("alarm_score", "double"),
    ("alarm", "bool"),
    ("suppressed", "string"),
    ("model", "string"),
)
FACILITY_LOCAL0 = 16
SEVERITY_WARNING, SEVERITY_INFO = 4, 6
MAX_SYSLOG_BYTES = 8192


def encode(value: object) -> str:
    """JSON in ASCII, without blanks and without NaN."""
    return _JSON.encode(value)


def jsonl(event: Entry) -> str:
    """One object."""
    return encode(to_json(event))


def json_lines(events: Sequence[Entry]) -> list[str]:
    """:func:`jsonl` of each; what all events of a record share is written once."""
    found: list[str] = []
    origin: Origin | None = None
    begin = end = ""
    for event in events:
        if isinstance(event, IncidentLine) or not _is_plain(event):
            found.append(jsonl(event))
            continue
        if event.origin is not origin:
            origin = event.origin
            begin, end = encode(head(origin))[:-1], encode({**origin.ids, **origin.endpoints})[1:]
            end = end if end == "}" else f",{end}"
        found.append(f"{begin},{_verdict(event)}{end}")
    return found


def _is_plain(event: Event) -> bool:
    """Whether an event is a verdict and nothing more, as most are."""
    more = event.alarm or event.suppressed or event.error or event.embedding or event.truncated or event.screened or event.seen
    return not (more or event.window is not None or len(event.text) > MAX_TEXT_BYTES) and event.text.isascii()


def _verdict(event: Event) -> str:
    """What :func:`encode` makes of a plain event's verdict."""
    names = f'"field":{_quoted(event.field)},"text":{_quoted(event.text)},"task":{_quoted(event.task)},"label":{encode(event.label)}'
    scores = f'"score":{_number(event.score)}'
    if event.alarm_score is not None:
        scores += f',"alarm_score":{_number(event.alarm_score)},"threshold":{_number(event.threshold)},"alarm":false'
    return f'"event_id":"{event.event_id}","log":{_quoted(event.origin.log)},{names},{scores},"model":{_quoted(event.model)}'


def _number(value: float | None) -> str:
    return "null" if value is None else repr(round(float(value), 6))


def _ecs(entry: Entry) -> str:
    from edge_demist.sensor.sinks.ecs import ecs  # brings the words of incidents along

    return encode(ecs(entry))


def _ocsf(entry: Entry) -> str:
    from edge_demist.sensor.sinks.ocsf import ocsf

    return encode(ocsf(entry))


def eve(event: Entry) -> str:
    """An object as Suricata writes them, ``event_type`` "ml" (Suricata user guide, EVE JSON Format)."""
    if isinstance(event, IncidentLine):
        return encode({"timestamp": format_time(event.time_us)[:-1] + "+0000", "event_type": "ml", "ml": event.body})
    origin = event.origin
    head: dict[str, object] = {
        "timestamp": None if origin.time_us is None else format_time(origin.time_us)[:-1] + "+0000",
        **{k: v for k, v in origin.ids.items() if k in ("flow_id", "tx_id", "community_id")},
        "event_type": "ml",
        **origin.endpoints,
    }
    others = {k: v for k, v in origin.ids.items() if k not in head}
    head["ml"] = {"file": origin.path, "offset": origin.offset, **verdict(event), **others}
    return encode(head)


def zeek_header() -> str:
    """The header lines of our Zeek-style log."""
    names = "\t".join(name for name, _ in ZEEK_FIELDS)
    types = "\t".join(kind for _, kind in ZEEK_FIELDS)
    first = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tedge_demist\n"
    return f"{first}#fields\t{names}\n#types\t{types}"


def zeek(event: Entry) -> str:
    """One line of Zeek's ASCII format; for events only.

    Raises:
        TypeError: a line about an incident, which has no such form.
    """
    if isinstance(event, IncidentLine):
        raise TypeError("incidents have no Zeek form")
    origin, ends = event.origin, event.origin.endpoints
    values: tuple[object, ...] = (
        None if origin.time_us is None else f"{origin.time_us // 1_000_000}.{origin.time_us % 1_000_000:06d}",
        event.event_id,
        origin.ids.get("uid"),
        origin.ids.get("flow_id"),
        ends.get("src_ip"),
        ends.get("src_port"),
        ends.get("dest_ip"),
        ends.get("dest_port"),
        ends.get("proto"),
        origin.log,
        origin.path,
        origin.offset,
        event.field,
        text_fields(event.text)["text"],
        event.task,
        event.label,
        event.score,
        event.alarm_score,
        None if event.alarm_score is None else event.alarm,
        event.suppressed or event.error or None,
        event.model,
    )
    return "\t".join(_zeek_value(value) for value in values)


def _zeek_value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if not text:
        return "(empty)"
    shown = text.translate(_ESCAPES)
    if text in ("-", "(empty)") or text.startswith("#"):
        shown = f"\\x{ord(text[0]):02x}" + text[1:].translate(_ESCAPES)
    return shown if shown.isascii() else shown.encode("ascii", "zeekhex").decode("ascii")


def _zeek_hex(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    raw = error.object[error.start : error.end].encode("utf-8", "backslashreplace")
    return "".join(f"\\x{byte:02x}" for byte in raw), error.end


def syslog(event: Entry) -> bytes:
    """An RFC 5424 message: local0, warning for alarms, the event as structured data and as JSON in the message."""
    if isinstance(event, IncidentLine):
        severity, kind, time = SEVERITY_WARNING, "incident", format_time(event.time_us)
        data = {"id": event.event_id, "kind": str(event.body["kind"]), "severity": event.severity, "score": str(event.body["score"])}
    else:
        severity, kind = (SEVERITY_WARNING, "alarm") if event.alarm else (SEVERITY_INFO, "verdict")
        time = "-" if event.origin.time_us is None else format_time(event.origin.time_us)
        data = {"id": event.event_id, "task": event.task, "label": event.label or "-", "score": f"{event.score or 0:.6f}"}
    elements = " ".join(f'{name}="{_parameter(value)}"' for name, value in data.items())
    header = f"<{FACILITY_LOCAL0 * 8 + severity}>1 {time} {_host()} edge-demist {os.getpid()} {kind}"
    return f"{header} [ml@32473 {elements}] {_fitting(event, MAX_SYSLOG_BYTES - len(header) - len(elements) - 14)}".encode("ascii")


def _fitting(event: Entry, room: int) -> str:
    """The entry as JSON that fits: its text or its lists are shortened, and said to be; the message is never cut."""
    whole = jsonl(event)
    if isinstance(event, IncidentLine):
        body = dict(event.body)
        for name in ("evidence", "entities", "clients", "next", "sentence"):
            if len(whole) > room:
                body.pop(name, None)
                whole = encode(body | {"truncated": True})
        return whole if len(whole) <= room else encode({"event_id": event.event_id, "truncated": True})
    for keep in (4096, 2048, 1024, 256, 32, 0):
        if len(whole) <= room:
            return whole
        event = replace(event, text=event.text[:keep], truncated=True)
        if keep <= 1024:
            event = replace(event, window=None, allow_rule={}, why=(), why_text="", embedding={})
        whole = jsonl(event)
    return whole if len(whole) <= room else json.dumps({"event_id": event.event_id, "task": event.task, "truncated": True})


def _parameter(value: str) -> str:
    """RFC 5424, section 6.3.3: backslash, quote and bracket are escaped; the rest is kept to printable ASCII."""
    ascii_text = value.encode("ascii", "backslashreplace").decode("ascii")
    shown = "".join(c if c.isprintable() else "?" for c in ascii_text)
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _host() -> str:
    name = socket.gethostname().encode("ascii", "ignore").decode("ascii")
    return "".join(c for c in name if c.isprintable() and c != " ")[:255] or "-"


FORMATS: dict[str, Callable[[Entry], str]] = {
    "jsonl": jsonl,
    "eve": eve,
    "zeek": zeek,
    "ecs": _ecs,
    "ocsf": _ocsf,
}


def lines(events: Sequence[Entry], name: str) -> list[tuple[str, bytes]]:
    """Events as (id, line with newline)."""
    if name == "jsonl":
        return [(event.event_id, line.encode("ascii") + b"\n") for event, line in zip(events, json_lines(events), strict=True)]
    form = FORMATS[name]
    return [(event.event_id, form(event).encode("ascii") + b"\n") for event in events]


def _register() -> None:
    import codecs

    codecs.register_error("zeekhex", _zeek_hex)


_register()
