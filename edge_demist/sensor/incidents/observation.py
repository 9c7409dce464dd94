"""What one log record says about who talked to whom: the part of it that evidence is made from.

Zeek (``dns``, ``http``, ``ssl``, ``quic``, ``conn``), Suricata (``dns``, ``http``, ``tls``, ``quic``, ``flow``), Elastic Common Schema,
access logs, W3C's extended logs and resolvers' query logs. Anything else gives no observation. Values of the wrong kind are left out;
strings are cut, so that a record costs bounded memory.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_demist.sensor.caching import cached
from edge_demist.sensor.public_suffix import registrable_domain
from edge_demist.sensor.restoring import MAX_WHOLE
from edge_demist.sensor.sources.parser import Record

MAX_NAME_CHARS = 512
MAX_URI_CHARS = 2048
MAX_TYPE_CHARS = 16
MAX_SECONDS = 1e12
_SERVER_PORTS = frozenset({53, 80, 443, 853, 5353, 8080, 8443})
_VERSION_4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.|\Z)){4}", re.ASCII)
_ZONE = re.compile(r"[0-9a-fA-F:.]+%[\w.\-]{1,16}", re.ASCII)
"""An address with its zone (RFC 4007): ``ipaddress`` takes whatever stands behind the sign, tabs and line ends too."""
_PRIVATE = tuple(
    ipaddress.ip_network(net)
    for net in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"),
        *("0.0.0.0/8", "fc00::/7", "fe80::/10", "::/127", "ff00::/8"),
    )
)

DNS, HTTP, TLS, FLOW = "dns", "http", "tls", "flow"
_ENDS = ("id.orig_h", "id.resp_h", "id.resp_p")
MAIL_TYPES = frozenset(("MX", "TXT", "SPF"))
"""Who asks for these of a domain itself checks where mail comes from; names that a bot tries have no mail."""
LOCAL = (".arpa", ".local", ".lan", ".home", ".internal", ".localdomain")
LOOKUP_FIELDS = (*_ENDS, "query", "qtype_name", "rcode_name", "answers")


@dataclass(slots=True)
class Observation:
    """One contact. ``name`` is the host name asked for (lower case); ``failed``: it does not exist, or no connection came about.

    The last five are the specialists': per alarm specialist how strict a calibrated false-positive rate its score passes (0 to 3),
    the probability of a tunnel and of an attack tool's user agent, the labels of request value and user agent.
    """

    kind: str
    time_us: int
    client: str
    server: str
    port: int
    name: str = ""
    failed: bool = False
    query_type: str = ""
    answers: tuple[str, ...] = ()
    uri: str = ""
    method: str = ""
    agent: str = ""
    status: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    duration: float = 0.0
    service: str = ""
    file: str = ""
    offset: int = 0
    levels: dict[str, int] = field(default_factory=dict)
    tunnel: float = 0.0
    tool: float = 0.0
    attack: str = ""
    agent_kind: str = ""

    @property
    def chars(self) -> int:
        """Characters of its long parts."""
        own = len(self.name) + len(self.uri) + len(self.agent)
        return own + sum(map(len, self.answers)) if self.answers else own

    @property
    def domain(self) -> str:
        """The registrable domain of its name; empty for a local one."""
        return domain_of(self.name)

    def whole(self) -> Observation:
        """Itself."""
        return self

    def state(self) -> list[object]:
        """For the checkpoint."""
        return [getattr(self, name) for name in self.__slots__]

    @classmethod
    def restored(cls, state: Sequence[object]) -> Observation:
        """From the checkpoint.

        Raises:
            TypeError: a value is not of its kind.
        """
        fresh = cls("", 0, "", "", 0)
        for name, value in zip(cls.__slots__, state, strict=True):
            kind = type(getattr(fresh, name))
            found = tuple(value) if kind is tuple and isinstance(value, list) else value
            same = type(found) is kind or (kind is float and type(found) is int)
            if not same or (isinstance(found, int | float) and not abs(found) < MAX_WHOLE):
                raise TypeError(f"{name} is {value!r}"[:200])
            setattr(fresh, name, found)
        if not all(isinstance(a, str) for a in fresh.answers) or not all(
            type(v) is int and abs(v) < MAX_WHOLE for v in fresh.levels.values()
        ):
            raise TypeError("answers or levels are of another kind")
        return fresh


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    if ":" in text:
        return len(text) <= 64 and _is_version_6(text)
    return text[-1:].isdigit() and _VERSION_4.fullmatch(text) is not None


@cached(4096)
def _is_version_6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text or _ZONE.fullmatch(text) is not None


@cached(16_384)
def is_internal(address: str) -> bool:
    """Whether an address belongs to no one in particular: private, loopback, link-local, shared, multicast; also what is none."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return True
    return any(ip in net for net in _PRIVATE if net.version == ip.version)


def observe(record: Record, time_us: int | None) -> Observation | None:
    """The observation of a record; None where it says nothing about a contact, or has no time."""
    reader = _READERS.get(record.log) or _reader(record.log)
    if reader is None or time_us is None:
        return None
    return reader(record, time_us)


def is_dns(log: str) -> bool:
    """Whether a log is Zeek's of look-ups."""
    return (_READERS.get(log) or _reader(log)) is _zeek_dns


@cached(256)
def _reader(log: str) -> Callable[[Record, int], Observation | None] | None:
    """The reader of a log; Zeek's may carry more words in their names (``dns_red``, ``open_conn``)."""
    if log.startswith("zeek.") and log not in _READERS:
        log = next((name for word in log.removeprefix("zeek.").split("_") if (name := f"zeek.{word}") in _READERS), log)
    return _READERS.get(log)


def _text(record: Record, name: str, limit: int = MAX_NAME_CHARS) -> str:
    return _cut(record.scalar(name), limit)


def _cut(value: str | int | None, limit: int = MAX_NAME_CHARS) -> str:
    return (value if len(value) <= limit else value[:limit]) if isinstance(value, str) else ""


def _number(record: Record, name: str) -> int:
    return whole_number(record.scalar(name))


def whole_number(value: str | int | None) -> int:
    """A number of a log, 0 for what is none or beyond 62 bits."""
    if isinstance(value, int):
        return value if 0 <= value < 1 << 62 else 0
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) <= 18 else 0


def _zeek(record: Record, kind: str, time_us: int) -> Observation:
    client, server, port = record.row(_ENDS)
    return Observation(kind, time_us, _cut(client), _cut(server), whole_number(port))


def _zeek_dns(record: Record, time_us: int) -> Observation | None:
    source, target, port_text, question, sort, outcome, _ = record.row(LOOKUP_FIELDS)
    name, client = host_name(_cut(question)), _cut(source)
    answers = tuple(a[:MAX_NAME_CHARS] for a in record.values("answers")[:16])
    failed, kind = outcome == "NXDOMAIN", _cut(sort, MAX_TYPE_CHARS)
    return (
        Observation(DNS, time_us, client, _cut(target), whole_number(port_text), name, failed, kind, answers) if name and client else None
    )


def _zeek_http(record: Record, time_us: int) -> Observation | None:
    seen = _zeek(record, HTTP, time_us)
    seen.name = host_name(_text(record, "host"))
    seen.uri, seen.method = _text(record, "uri", MAX_URI_CHARS), _text(record, "method", 16)
    seen.agent, seen.status = _text(record, "user_agent"), _number(record, "status_code")
    seen.bytes_out, seen.bytes_in = _number(record, "request_body_len"), _number(record, "response_body_len")
    seen.service = _text(record, "resp_mime_types", 64)
    return seen if seen.client else None


def _zeek_tls(record: Record, time_us: int) -> Observation | None:
    seen = _zeek(record, TLS, time_us)
    seen.name = host_name(_text(record, "server_name"))
    return seen if seen.client else None


def _zeek_conn(record: Record, time_us: int) -> Observation | None:
    seen = _zeek(record, FLOW, time_us)
    seen.query_type, seen.service = _text(record, "proto", 8), _text(record, "service", 32)
    seen.bytes_out, seen.bytes_in = _number(record, "orig_bytes"), _number(record, "resp_bytes")
    seen.failed = _text(record, "conn_state", 8) in ("S0", "REJ", "RSTOS0", "RSTRH", "SH", "SHR")
    seen.duration = _seconds(record.scalar("duration"))
    return seen if seen.client else None


def _seconds(value: str | int | None) -> float:
    try:
        found = float(value or 0.0)
    except (ValueError, OverflowError):
        return 0.0
    return found if 0.0 <= found < MAX_SECONDS else 0.0


def _eve(record: Record, kind: str, time_us: int) -> Observation:
    """The asking side first: events about answers carry the server as their source."""
    source, target = _text(record, "src_ip"), _text(record, "dest_ip")
    source_port, target_port = _number(record, "src_port"), _number(record, "dest_port")
    if source_port in _SERVER_PORTS and target_port > 1023 and target_port not in _SERVER_PORTS:
        source, target, target_port = target, source, source_port
    return Observation(kind, time_us, source, target, target_port)


def _eve_dns(record: Record, time_us: int) -> Observation | None:
    seen = _eve(record, DNS, time_us)
    for path in ("dns.rrname", "dns.queries[].rrname", "dns.query[].rrname"):
        seen.name = seen.name or host_name(_text(record, path))
    for path in ("dns.rrtype", "dns.queries[].rrtype", "dns.query[].rrtype"):
        seen.query_type = seen.query_type or _text(record, path, 16)
    seen.failed = _text(record, "dns.rcode", 16) == "NXDOMAIN"
    seen.answers = tuple(a[:MAX_NAME_CHARS] for a in record.values("dns.answers[].rdata")[:16])
    seen.service = _text(record, "dns.type", 16)
    return seen if seen.name and seen.client else None


def _eve_http(record: Record, time_us: int) -> Observation | None:
    seen = _eve(record, HTTP, time_us)
    seen.name = host_name(_text(record, "http.hostname"))
    seen.uri, seen.method = _text(record, "http.url", MAX_URI_CHARS), _text(record, "http.http_method", 16)
    seen.agent, seen.status = _text(record, "http.http_user_agent"), _number(record, "http.status")
    seen.bytes_in = _number(record, "http.length")
    seen.service = _text(record, "http.http_content_type", 64)
    return seen if seen.client else None


def _eve_tls(record: Record, time_us: int) -> Observation | None:
    seen = _eve(record, TLS, time_us)
    seen.name = host_name(_text(record, "tls.sni") or _text(record, "quic.sni"))
    return seen if seen.client else None


def _eve_flow(record: Record, time_us: int) -> Observation | None:
    seen = _eve(record, FLOW, time_us)
    seen.query_type, seen.service = _text(record, "proto", 8).lower(), _text(record, "app_proto", 32)
    seen.service = "" if seen.service == "failed" else seen.service
    seen.bytes_out, seen.bytes_in = _number(record, "flow.bytes_toserver"), _number(record, "flow.bytes_toclient")
    seen.failed = seen.bytes_in == 0 and _text(record, "flow.state", 16) == "new"
    seen.duration = float(_number(record, "flow.age"))
    return seen if seen.client else None


def _ecs(record: Record, time_us: int) -> Observation | None:
    """Elastic Common Schema, and lines of access logs in its form: a look-up, a request or a handshake, by what is there."""
    source = _text(record, "source.ip") or _text(record, "client.ip") or _text(record, "src_ip")
    server = _text(record, "destination.ip") or _text(record, "server.ip")
    seen = Observation(HTTP, time_us, source, server, _number(record, "destination.port"))
    if name := _text(record, "dns.question.name"):
        seen.kind, seen.name, seen.query_type = DNS, host_name(name), _text(record, "dns.question.type", 16)
        seen.failed = _text(record, "dns.response_code", 16) == "NXDOMAIN"
        seen.answers = tuple(a[:MAX_NAME_CHARS] for a in record.values("dns.resolved_ip[]")[:16])
        seen.service = "query" if record.log == "queries" else _text(record, "dns.type", 16)
    elif name := _text(record, "tls.client.server_name"):
        seen.kind, seen.name = TLS, host_name(name)
    elif uri := _text(record, "url.original", MAX_URI_CHARS) or _text(record, "url.path", MAX_URI_CHARS):
        seen.uri, seen.name = uri, host_name(_text(record, "url.domain"))
        seen.method, seen.agent = _text(record, "http.request.method", 16), _text(record, "user_agent.original")
        seen.status = _number(record, "http.response.status_code")
        seen.server = seen.server or seen.name or "web server"
    else:
        return None
    return seen if seen.client else None


def _w3c(record: Record, time_us: int) -> Observation | None:
    """A request in a log of IIS or CloudFront."""
    server, host = _text(record, "s-ip"), host_name(_text(record, "cs-host") or _text(record, "cs(Host)"))
    port = _number(record, "s-port")
    seen = Observation(HTTP, time_us, _text(record, "c-ip"), server or host or "web server", port, host)
    query = _text(record, "cs-uri-query", MAX_URI_CHARS)
    seen.uri = (_text(record, "cs-uri-stem", MAX_URI_CHARS) + (f"?{query}" if query else ""))[:MAX_URI_CHARS]
    seen.method, seen.agent = _text(record, "cs-method", 16), _text(record, "cs(User-Agent)")
    seen.status = _number(record, "sc-status")
    return seen if seen.client and seen.uri else None


def domain_of(name: str) -> str:
    """The registrable domain of a host name; empty for a local one."""
    return "" if name.endswith(LOCAL) else registrable_domain(name)


def host_name(text: str) -> str:
    """A host name without port, brackets and the last dot."""
    name = text.strip().lower()
    if name.startswith("["):
        return name[1:].split("]", 1)[0]
    if ":" in name and not is_address(name):
        name = name.rsplit(":", 1)[0]
    return name.rstrip(".")


_READERS: dict[str, Callable[[Record, int], Observation | None]] = {
    "zeek.dns": _zeek_dns,
    "zeek.http": _zeek_http,
    "zeek.ssl": _zeek_tls,
    "zeek.quic": _zeek_tls,
    "zeek.conn": _zeek_conn,
    "eve.dns": _eve_dns,
    "eve.http": _eve_http,
    "eve.tls": _eve_tls,
    "eve.quic": _eve_tls,
    "eve.flow": _eve_flow,
    "ecs": _ecs,
    "access": _ecs,
    "queries": _ecs,
    "w3c": _w3c,
}
