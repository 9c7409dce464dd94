"""Lines of web servers' and proxies' access logs, as Elastic Common Schema objects.

Knows the common and combined form (NCSA, Apache httpd, nginx; also behind a syslog header), HAProxy's HTTP log, Squid's native
log, AWS load balancers and S3, Envoy, lighttpd.
"""

from __future__ import annotations

import re

from edge_demist.normalizers import from_bytes

_QUOTED = rb'(?:[^"\\]|\\.)*+'
_REQUEST_TEXT = rb'"(?P<request>' + _QUOTED + rb')"'
_SYSLOG = (
    rb"(?:(?:<\d{1,3}>)?(?:1 )?(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S{8,24}) [\w.\-:]{1,255} "
    rb"(?:[\w.\-/()]{1,64}(?:\[\d{1,10}\])?: |\S{1,48} \S{1,64} \S{1,32} - ))?"
)
_LINES = tuple(
    (mark, re.compile(_SYSLOG + pattern))
    for mark, pattern in (
        (
            b'] "',
            rb"(?:(?P<vhost>[\w.\-]+(?::\d{1,5})?) )?(?P<client>[0-9A-Fa-f.:]{2,45}|(?!- )[\w.\-]+) (?P<ident>\S+) "
            rb"(?P<user>\S+|\"[^\"]*\") "
            rb"\[(?P<time>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
            + _REQUEST_TEXT
            + rb' (?P<status>\d{3}) (?:\d+|-)(?: "(?:[^"\\]|\\.)*" "(?P<agent>(?:[^"\\]|\\.)*)")?',
        ),
        (  # HAProxy: client [accept date] frontend backend/server timers status bytes - - ---- counters queues {headers} "request"
            b"] ",
            rb"(?P<client>[0-9A-Fa-f.:]{2,45}):\d{1,5} \[(?P<time>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d(?:\.\d{3})?)\] \S+ \S+/\S+ "
            rb"[+\-\d/]+ (?P<status>\d{3}|-1) \+?\d+ .{0,512}?" + _REQUEST_TEXT.replace(b"*+", b"{0,8192}+"),
        ),
        (  # Envoy: [start] "request" status …
            b'] "',
            rb"\[(?P<time>\d{4}-\d\d-\d\dT[\d:.]{8,18}Z)\] " + _REQUEST_TEXT + rb" (?P<status>\d{1,3}) "
            rb'(?:[^"]{0,256}"[^"]{0,256}" ){0,2}(?:[\w,\-]+ ){4,5}"(?P<client>[0-9A-Fa-f.:]{2,45})?[^"]{0,256}" '
            rb'"(?P<agent>' + _QUOTED + rb')" "[^"]{0,128}" "(?P<vhost>[^"]{0,255})"',
        ),
        (  # AWS load balancers: type time lb client:port target:port … "request" "agent"
            b" app/",
            rb"(?:https?|h2|wss?|grpcs?) (?P<time>\d{4}-\d\d-\d\dT[\d:.]{8,18}Z) \S+ (?P<client>[0-9A-Fa-f.:]{2,45}):\d{1,5} "
            rb"(?:\S+ ){4}(?P<status>\S+) (?:\S+ ){3}" + _REQUEST_TEXT + rb' "(?P<agent>' + _QUOTED + rb')"',
        ),
        (  # AWS classic load balancers: time lb client:port target:port three times, two statuses, two sizes "request" "agent"
            b'" ',
            rb"(?P<time>\d{4}-\d\d-\d\dT[\d:.]{8,18}Z) \S+ (?P<client>[0-9A-Fa-f.:]{2,45}):\d{1,5} \S+ (?:-?[\d.]+ ){3}"
            rb"(?P<status>\S+) \S+ \d+ \d+ " + _REQUEST_TEXT + rb' "(?P<agent>' + _QUOTED + rb')"',
        ),
        (  # AWS S3: owner bucket [time] client requester id operation key "request" status
            b"] ",
            rb"\S{1,128} \S{1,128} \[(?P<time>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] (?P<client>\S+) \S+ \S+ [A-Z]+\.\S+ \S+ "
            + _REQUEST_TEXT
            + rb' (?P<status>\d{3}|-) (?:\S+ ){5}"(?:[^"\\]|\\.)*" "(?P<agent>(?:[^"\\]|\\.)*)"',
        ),
        (  # Squid: time elapsed client result/status bytes method URL user …
            b"/",
            rb"(?P<time>\d{9,10}\.\d{3})\s+\d+\s(?P<client>\S+)\s[A-Z_]+/(?P<status>\d{3})\s\d+\s(?P<request>[A-Z_]{3,16}\s\S+)\s",
        ),
    )
)
_HOST = re.compile(rb"(?:[\w\-]{1,63}\.)+[A-Za-z][\w\-]{1,62}(?::\d{1,5})?")
_REQUEST = re.compile(rb"([A-Z]{3,16})\s(.*?)(?: HTTP/\d(?:\.\d)?)?\Z", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([\"\\])|([bnrtv]))")
_C_STYLE = {b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def access_object(line: bytes) -> dict[str, object] | None:
    """The request of an access-log line; None for any other line."""
    match = next((hit for mark, pattern in _LINES if mark in line and (hit := pattern.match(line))), None)
    if match is None:
        return None
    parts = match.groupdict()
    found: dict[str, object] = {"timestamp": parts["time"].decode("ascii")}
    if parts["client"]:
        found["src_ip"] = from_bytes(parts["client"])
    request = _REQUEST.match(_plain(parts["request"]))
    if request:
        found["http"] = {"request": {"method": from_bytes(request[1])}}
        found["url"] = {"original": from_bytes(request[2])}
    vhost = parts.get("vhost") or (ident if _HOST.fullmatch(ident := parts.get("ident") or b"-") else None)  # lighttpd
    if vhost and vhost != b"-":
        found["url"] = {**dict(found.get("url") or {}), "domain": from_bytes(vhost)}  # type: ignore[call-overload]
    agent = parts.get("agent")
    if agent and agent != b"-":
        found["user_agent"] = {"original": from_bytes(_plain(agent))}
    return found


def _plain(raw: bytes) -> bytes:
    return _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else m[2] or _C_STYLE[m[3]], raw) if b"\\" in raw else raw
