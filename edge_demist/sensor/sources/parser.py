"""From one line of any log to a record, a header, or a reason for skipping it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from edge_demist.sensor.sources.json_logs import JsonRecord, classify_object, log_of_fields, parse_object
from edge_demist.sensor.sources.zeek import ZeekParser, ZeekRecord

_BOM = b"\xef\xbb\xbf"
_BARE_NAMES = re.compile(rb"ts\t[\w.\t]+\Z")
_ZEEK_LOGS = frozenset(
    re.findall(
        r"\w+",
        """
        analyzer broker capture_loss conn dhcp dnp3 dns dpd files ftp http intel irc kerberos known_certs
        known_hosts known_services ldap ldap_search modbus mqtt_connect mqtt_publish mqtt_subscribe mysql notice
        ntlm ntp ocsp pe postgresql quic radius rdp reporter rfb sip smb_files smb_mapping smtp snmp socks
        software ssh ssl stats syslog traceroute tunnel weird websocket x509
        """,
    )
)


class Record(Protocol):
    """A parsed record of any format."""

    log: str

    def values(self, name: str) -> list[str]:
        """The strings of a field."""

    def scalar(self, name: str) -> str | int | None:
        """The first value of a field."""

    def has(self, name: str) -> bool:
        """Whether the field is there."""

    @property
    def time_us(self) -> int | None:
        """Microseconds since the epoch."""


def log_of_name(filename: str) -> str:
    """What a file name says about its log: ``dns.2024-01-01.log.gz`` is ``zeek.dns``; unknown is empty."""
    stem = filename.split(".", 1)[0].lower()
    for word in (stem, *re.split(r"[^a-z0-9_]+", filename.lower()), *re.split(r"[^a-z0-9]+", filename.lower())):
        if word in _ZEEK_LOGS:
            return f"zeek.{word}"
    return ""


class LineParser:
    """Parses the lines of one file, in order; its state goes into the checkpoint."""

    def __init__(self, filename: str) -> None:
        """Take the file's name as a hint for logs that do not name themselves."""
        self._zeek = ZeekParser()
        self.file_log = log_of_name(filename)

    def parse(self, line: bytes) -> ZeekRecord | JsonRecord | str | None:
        """A record, or the reason for skipping the line, or None for header and blank lines."""
        line = line.removesuffix(b"\r").removeprefix(_BOM)
        if not line.strip():
            return None
        if line.startswith(b"{"):
            return self._parse_json(line)
        if self._zeek.is_meta(line):
            self._zeek.feed_meta(line)
            return None
        if self._zeek.header is None and _BARE_NAMES.match(line):
            self._zeek.feed_bare_names(line)
            return None
        if self._zeek.header is None and line.lstrip().startswith((b"{", b"[")):
            return self._parse_json(line)
        record = self._zeek.parse(line, self.file_log)
        if isinstance(record, ZeekRecord) and not record.log:
            record.log = log_of_fields(record.header.index) or "zeek.unknown"
        return record

    def _parse_json(self, line: bytes) -> ZeekRecord | JsonRecord | str:
        if self._zeek.header is not None:
            as_columns = self._zeek.parse(line, self.file_log)
            if isinstance(as_columns, ZeekRecord):
                return as_columns
        data = parse_object(line)
        return data if isinstance(data, str) else classify_object(data, self.file_log)

    def state(self) -> dict[str, str]:
        """The header state."""
        return self._zeek.state()

    def restore(self, state: Mapping[str, str]) -> None:
        """Set the header state."""
        self._zeek.restore(state)
