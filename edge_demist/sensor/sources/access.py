"""Lines of web servers' access logs (common and combined form, NCSA and Apache httpd), as Elastic Common Schema objects."""

from __future__ import annotations

import re

from edge_demist.normalizers import from_bytes

_LINE = re.compile(
    rb"(?:(?P<vhost>[\w.\-]+(?::\d{1,5})?) )?(?P<client>[0-9A-Fa-f.:]{2,45}|[\w.\-]+) \S+ (?P<user>\S+|\"[^\"]*\") "
    rb"\[(?P<time>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    rb'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?:\d+|-)(?: "(?:[^"\\]|\\.)*" "(?P<agent>(?:[^"\\]|\\.)*)")?'
)
_REQUEST = re.compile(rb"([A-Z]{3,16}) (.*?)(?: HTTP/\d(?:\.\d)?)?\Z", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([\"\\]))")


def access_object(line: bytes) -> dict[str, object] | None:
    """The request of an access-log line; None for any other line."""
    match = _LINE.match(line)
    if match is None:
        return None
    found: dict[str, object] = {"timestamp": match["time"].decode("ascii"), "src_ip": from_bytes(match["client"])}
    request = _REQUEST.match(_plain(match["request"]))
    if request:
        found["http"] = {"request": {"method": from_bytes(request[1])}}
        found["url"] = {"original": from_bytes(request[2])}
    if match["vhost"]:
        found["url"] = {**dict(found.get("url") or {}), "domain": from_bytes(match["vhost"])}  # type: ignore[call-overload]
    if match["agent"] and match["agent"] != b"-":
        found["user_agent"] = {"original": from_bytes(_plain(match["agent"]))}
    return found


def _plain(raw: bytes) -> bytes:
    return _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else m[2], raw) if b"\\" in raw else raw
