"""From one line of any log to a record, a header, or a reason for skipping it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.sources.envelopes import MAX_PARTS, together, unwrap, within
from edge_demist.sensor.sources.json_logs import Envelope, JsonRecord, log_of_fields, named_record, parse_object, parse_several, parse_value
from edge_demist.sensor.sources.tables import TableParser
from edge_demist.sensor.sources.timestamps import parse_time, syslog_time
from edge_demist.sensor.sources.windows import HOST, HOST_SPACED, SCRIPT, windows_events, windows_message
from edge_demist.sensor.sources.zeek import ZeekHeader, ZeekParser, ZeekRecord

MAX_PREFIX_BYTES = 1024
LAST_COMMANDS = 16
"""Audit events whose titles may still come: records of several events stand among each other on a busy host."""
_BOM = b"\xef\xbb\xbf"
_BARE_NAMES = re.compile(rb"ts\t[\w.\t]+\Z")
_PREFIX_TIME = re.compile(
    r"(?:<\d{1,3}>\d? ?)?(?:"
    r"(\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d\S{0,16}|\d\d/\d\d/\d{4} \d\d:\d\d:\d\d [AP]M|"
    r"\d{4}:\d\d:\d\d-\d\d:\d\d:\d\d|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,6})? \d{4}\])(?=\s)|"
    r"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) )"
)
_LIST = re.compile(rb"\[\s*(?:[{\[\"\]]|true|false|null|\Z|-?\d[-+\d.eE,\s]*\]\s*\Z)")
_OBJECT_END = re.compile(rb"\}(?:\s|#01[25])*\Z")
"""The end of an object, with what rsyslog makes of a carriage return or a newline."""
_BULK_ACTIONS = frozenset(("index", "create", "update", "delete"))
ZEEK_LOGS = frozenset(
    re.findall(
        r"\w+",
        """
        analyzer analyzer_debug audit auth barnyard2 broker capture_loss cluster config conn conn_summary dce_rpc dhcp dnp3 dns dpd
        files ftp http intel irc kerberos known_certs known_hosts known_modbus known_services ldap ldap_search loaded_scripts
        modbus modbus_register_change mqtt_connect mqtt_publish mqtt_subscribe mysql netcontrol notice notice_alarm ntlm ntp ocsp
        openflow packet_filter pe postgresql print prof quic radius rdp redis reporter rfb signatures sip smb_cmd smb_files
        smb_mapping smtp snmp socks software ssh ssl stats stderr stdout syslog telemetry telemetry_histogram traceroute tunnel
        weird weird_stats websocket x509
        """,
    )
)
_VARIANTS = re.compile(r"(?:open_)?(\w+?)(?:_red|_long|_agg|_summary)?\Z")


_Form: TypeAlias = Callable[[bytes], "dict[str, object] | None"]


class Record(Protocol):
    """A parsed record of any format."""

    log: str

    def values(self, name: str) -> list[str]:
        """The strings of a field."""

    def scalar(self, name: str) -> str | int | None:
        """The first value of a field."""

    def row(self, names: tuple[str, ...]) -> list[str | int | None]:
        """The first value of each field."""

    def has(self, name: str) -> bool:
        """Whether the field is there."""

    @property
    def time_us(self) -> int | None:
        """Microseconds since the epoch."""


def is_zeek_log(name: str) -> bool:
    """Whether a name is that of a Zeek log, also ``open_http`` and ``dns_red``."""
    match = _VARIANTS.match(name)
    return name in ZEEK_LOGS or (match is not None and match[1] in ZEEK_LOGS)


def log_of_name(filename: str) -> str:
    """What a file name says about its log: ``dns.2024-01-01.log.gz`` is ``zeek.dns``; unknown is empty."""
    stem = filename.split(".", 1)[0].lower()
    for word in (stem, *re.split(r"[^a-z0-9_]+", filename.lower()), *re.split(r"[^a-z0-9]+", filename.lower())):
        if word in ZEEK_LOGS or (word.startswith("open_") and is_zeek_log(word)) or (word.endswith("_red") and is_zeek_log(word)):
            return f"zeek.{word}"
    return ""


class LineParser:
    """Parses the lines of one file, in order; its state goes into the checkpoint."""

    def __init__(self, filename: str) -> None:
        """Take the file's name as a hint for logs that do not name themselves."""
        self._zeek = ZeekParser()
        self.file_log = log_of_name(filename)
        self._last_commands: list[str] = []
        self._table = TableParser()
        self.is_first = True
        """Whether no record has come yet: the next line may be the names of a table."""

    def parse(self, line: bytes) -> ZeekRecord | JsonRecord | str | None:
        """A record, or the reason for skipping the line, or None for header and blank lines."""
        line = line.removesuffix(b"\r")
        if self._zeek.header is not None and line[:1].isdigit():  # no header line, no JSON, not blank
            return self._columns(line)
        line = line.removeprefix(_BOM)
        if line.startswith(b"{"):
            self.is_first = False
            return self._parse_json(line)
        if self._table.has_names:
            return self._row(line)
        if not line.strip():
            return None
        if self._zeek.is_meta(line):
            self._zeek.feed_meta(line)
            return None
        if self._zeek.header is None:
            stripped = line.lstrip()
            if stripped.startswith((b"{", b"[")) and self._looks_like_json(stripped):
                return self._parse_json(stripped)
            if _BARE_NAMES.match(line):
                self._zeek.feed_bare_names(line)
                return None
            is_first, self.is_first = self.is_first, False
            found = self._read_line(line, 0)
            if found is not None:
                return self._checked(found)
            if is_first and self._table.feed_names(line):
                return None
        return self._columns(line)

    def _row(self, line: bytes) -> JsonRecord | str | None:
        """A row of a table, or a line of another kind among them."""
        row = self._table.parse(line)
        if row == "field-count" and (found := self._read_line(line, 0)) is not None:
            return self._checked(found)
        if isinstance(row, list):  # a quote that opened nothing: its rows were held, and are read now
            records = [record for one in row if isinstance(record := self._opened(one), JsonRecord)]
            return together(records, {}) if records else "no-command"
        return self._opened(row) if isinstance(row, dict) else row

    @property
    def header(self) -> ZeekHeader | None:
        """The Zeek header in force."""
        return self._zeek.header

    @property
    def log(self) -> str:
        """What lines of columns are logged as: by their header, the file's name, or their fields."""
        header = self._zeek.header
        if header is None:
            return self.file_log
        return header.log or self.file_log or log_of_fields(header.index) or "zeek.unknown"

    def _columns(self, line: bytes) -> ZeekRecord | str:
        """A data line of a Zeek log."""
        record = self._zeek.parse(line, self.file_log)
        if isinstance(record, ZeekRecord) and not record.log:
            record.log = self.log
        return record

    @staticmethod
    def _looks_like_json(line: bytes) -> bool:
        """Whether a line is JSON rather than text behind ``[a time]``."""
        return line.startswith(b"{") or _LIST.match(line) is not None

    def _parse_json(self, line: bytes) -> ZeekRecord | JsonRecord | str | None:
        if self._zeek.header is not None:
            as_columns = self._zeek.parse(line, self.file_log)
            if isinstance(as_columns, ZeekRecord):
                return as_columns
        data = parse_value(line)
        if data == "bad-json":
            data = parse_several(line, MAX_PARTS) or data
        if isinstance(data, list):
            data = {"records": data} if data and all(isinstance(item, dict) for item in data) else "not-an-object"
        if isinstance(data, str):
            return data
        if _is_bulk_action(data):
            return None
        return self._opened(data)

    def _opened(self, data: dict[str, object]) -> JsonRecord | str:
        """The record that an object is, or holds."""
        return named_record(data, self.file_log) or self._checked(unwrap(data, self.file_log, is_zeek_log, self._read_text))

    def _read_text(self, text: str, depth: int) -> JsonRecord | None:
        return self._read_line(text.encode("utf-8", "surrogateescape"), depth)

    def _read_line(self, line: bytes, depth: int) -> JsonRecord | None:
        """A line of text that is a record in one of the forms that need no header."""
        if (SCRIPT in line or HOST in line or HOST_SPACED in line) and (windows := _windows_record(from_bytes(line))) is not None:
            return windows
        begin = line.find(b"{", 0, MAX_PREFIX_BYTES)
        if begin >= 0 and (whole := _OBJECT_END.sub(b"}", line[begin:])).endswith(b"}"):
            data = parse_object(whole)
            if isinstance(data, dict):
                record = unwrap(data, self.file_log, is_zeek_log, self._read_text, depth)
                return _dated(record, from_bytes(line[:begin]))
        audit_object, access_object, query_object, appliance_object, text_object, quoted_request = _forms()
        if b"audit(" in line:
            audited = audit_object(line)
            return None if audited is None else JsonRecord(audited, "audit")
        if (request := access_object(line)) is not None:
            return JsonRecord(request, "access")
        if (question := query_object(line)) is not None:
            return JsonRecord(question, "queries")
        if (placed := appliance_object(line)) is not None:
            return _dated(JsonRecord(*placed), from_bytes(line[:MAX_PREFIX_BYTES]))
        if (b"<Event" in line[:MAX_PREFIX_BYTES] or b"ommand" in line or b"QueryName" in line) and (
            windows := _windows_record(from_bytes(line))
        ) is not None:
            return _dated(windows, from_bytes(line[:MAX_PREFIX_BYTES]))
        if (named := text_object(line)) is not None:
            return _dated(JsonRecord(named, "host"), from_bytes(line[:MAX_PREFIX_BYTES]))
        if (request := quoted_request(line)) is not None:
            return _dated(JsonRecord(request, "access"), from_bytes(line[:MAX_PREFIX_BYTES]))
        return None

    def _checked(self, record: JsonRecord) -> JsonRecord | str:
        """``same-command`` for the shortened copy that PROCTITLE gives of an EXECVE line before it."""
        if record.log != "audit":
            return record
        if "EXECVE" in record.data:
            self._last_commands = [*self._last_commands, str(record.data["ID"])][-LAST_COMMANDS:]
        elif "PROCTITLE" not in record.data and "USER_CMD" not in record.data:
            return "no-command"
        elif record.data["ID"] in self._last_commands:
            return "same-command"
        return record

    @property
    def is_within_row(self) -> bool:
        """Whether a row of a table was begun whose value in quotes has not ended."""
        return self._table.is_within_row

    @property
    def held_bytes(self) -> int:
        """About how much memory the header takes."""
        return self._zeek.held_bytes + self._table.held_bytes

    def state(self) -> dict[str, str]:
        """The header state."""
        state = self._zeek.state() | self._table.state()
        return state | {"last_command": "\t".join(self._last_commands)} if self._last_commands else state

    def restore(self, state: Mapping[str, str]) -> None:
        """Set the header state."""
        self._last_commands = state.get("last_command", "").split("\t")[-LAST_COMMANDS:] if state.get("last_command") else []
        self._table.restore(state)
        self._zeek.restore({key: value for key, value in state.items() if key not in ("last_command", "names", "row")})


@functools.cache
def _forms() -> tuple[_Form, _Form, _Form, Callable[[bytes], tuple[dict[str, object], str] | None], _Form, _Form]:
    """Readers of audit events, access logs, query logs, appliances and texts with names: their expressions are compiled when needed."""
    from edge_demist.sensor.sources.access import access_object
    from edge_demist.sensor.sources.appliances import appliance_object, quoted_request
    from edge_demist.sensor.sources.audit import audit_object
    from edge_demist.sensor.sources.queries import query_object
    from edge_demist.sensor.sources.texts import text_object

    return audit_object, access_object, query_object, appliance_object, text_object, quoted_request


def _windows_record(text: str) -> JsonRecord | None:
    """Windows events in XML, one or several, or as message texts."""
    events = windows_events(text, MAX_PARTS)
    if events:
        records = [JsonRecord(event, "host") for event in events]
        return records[0] if len(records) == 1 else together(records, {})
    found = windows_message(text)
    return None if found is None else JsonRecord(found, "host")


def _is_bulk_action(data: Mapping[str, object]) -> bool:
    """Whether an object is the action line before a document in Elasticsearch's bulk format."""
    return len(data) == 1 and not _BULK_ACTIONS.isdisjoint(data) and isinstance(next(iter(data.values())), dict)


def _dated(record: JsonRecord, prefix: str) -> JsonRecord:
    """Lend the prefix's time to a record that has none."""
    match = _PREFIX_TIME.search(prefix) if prefix else None
    us = (parse_time(match[1]) if match[1] else syslog_time(match[2])) if match else None
    return record if us is None else within(record, Envelope({"EventReceivedTime": us}))
