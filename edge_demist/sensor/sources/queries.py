"""Lines of resolvers' query logs: BIND, Unbound, dnsmasq and Pi-hole, PowerDNS, CoreDNS, the debug log of Windows DNS."""

from __future__ import annotations

import re

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.sources.timestamps import syslog_time

_NAME = rb"(?P<name>\S{1,1024}?)"
_CLIENT = rb"(?P<client>[0-9A-Fa-f.:%]{2,60})"
_QUERIES = tuple(
    (mark, re.compile(pattern))
    for mark, pattern in (
        (
            b": query: ",
            rb"client (?:@0x[0-9a-f]+ )?"
            + _CLIENT
            + rb"#\d+(?: \([^)]*\))?: (?:(?:UDP|TCP): )?(?:view \S+: )?query: "
            + _NAME
            + rb" [A-Z]+ ",
        ),  # BIND
        (  # rewrites by response policy zones: BIND, Infoblox
            b" rewrite ",
            rb"(?:client (?:@0x[0-9a-f]+ )?" + _CLIENT + rb"#\d+.{0,400}?)?rpz:? (?:QNAME|CLIENT-IP|IP|NSDNAME|NSIP) [\w-]+ rewrite "
            rb"(?P<name>[^\s/]{1,1024})(?:/[A-Z0-9]+/[A-Z]+| \[[A-Z0-9]+\])? via ",
        ),
        (b" query[", rb": (?:\d+ \S+ )?query\[[\w=]+\] " + _NAME + rb" from (?P<client>\S+)"),  # dnsmasq, Pi-hole
        (
            b" CQ ",
            rb" CQ " + _CLIENT + rb"(?: -> \S+)? (?:UDP|TCP|DOT|DOH|DOQ) \d+b \"?(?P<name>[^\s\"/]{1,1024})\"?[/ ]IN[/ ]",
        ),  # dnstap-read, dnstap
        (b" CLIENT_QUERY ", rb" CLIENT_QUERY \S+ " + _CLIENT + rb" \S+ \S+ [A-Z]+ \S+ " + _NAME + rb" [A-Z0-9]{1,10} "),  # DNS-collector
        (b" IN ", rb"\A\s{0,16}- (?P<name>\S{1,1024})\. IN [A-Z0-9]{1,10}\s*\Z"),  # dnstap-read -y, a question
        (b";", rb"\A\s{0,16};(?P<name>[^\s;]{1,1024})\.\s+IN\s+[A-Z0-9]{1,10}\s*\Z"),  # a DNS message that is written out
        (b"unbound", rb"\[\d+:\d+\] (?:info|query|reply): " + _CLIENT + rb" " + _NAME + rb" [A-Z0-9]+ [A-Z]+(?: [A-Z]+ .{1,64})?\s*\Z"),
        (b"question for '", rb"question for '(?P<name>[^'|]{1,1024})\|\w+' from " + _CLIENT),  # PowerDNS Recursor
        (b"\t", rb"\]\t" + _CLIENT + rb"\t" + _NAME + rb"\t[A-Z0-9]{1,10}\t[A-Z_]{2,24}\t"),  # dnscrypt-proxy
        (b"||IN||", rb"\d\|\|" + _CLIENT + rb"\|\|[^|]{2,60}\|\|IN\|\|(?P<name>[^|]{1,1024})\|\|"),  # PassiveDNS
        (b"Packet from ", rb"Packet from " + _CLIENT + rb":\d+ for " + _NAME + rb" [A-Z0-9]{1,10} with id "),  # dnsdist
        (b"query from ", rb"query from " + _CLIENT + rb": #\d+ " + _NAME + rb" [A-Z0-9]{1,10}\s*\Z"),  # MikroTik
        (b" wants '", rb"Remote " + _CLIENT + rb" wants '(?P<name>[^'|]{1,1024})\|"),  # PowerDNS
        (
            b" IN ",
            rb"(?<!\S)" + _CLIENT + rb":\d+ - \d+ \"?[A-Z0-9]+ [A-Z]+ " + _NAME + rb" (?:udp|tcp|https|tls) ",
        ),  # CoreDNS, Azure Firewall
        (
            b" PACKET ",
            rb" PACKET  ?[0-9A-F]+ (?:UDP|TCP) Rcv " + _CLIENT + rb" +[0-9a-f]{4}   Q \[.{4,40}?\] \w+ +(?P<labels>(?:\(\d+\)[^(\s]*)+)",
        ),
    )
)
_LINE_TIME = re.compile(
    r"(?:<\d{1,3}>|\[(?=\d{4}-))?(?:(?P<full>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\s\]]{0,16}|\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d(?:\.\d{1,6})?|"
    r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d:\d\d [AP]M)|\[(?P<epoch>\d{9,10})\]|(?P<short>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d))"
)
_DECIMAL = re.compile(rb"\\(\d{3})")
"""A byte of a name in presentation form (RFC 1035, section 5.1)."""
_LABEL = re.compile(rb"\(\d+\)")


def query_object(line: bytes) -> dict[str, object] | None:
    """The question of a line of a resolver's query log; None for any other line, answers among them."""
    match = next((hit for mark, pattern in _QUERIES if mark in line and (hit := pattern.search(line))), None)
    if match is None:
        return None
    parts = match.groupdict()
    name = parts.get("name") or _LABEL.sub(b".", parts.get("labels") or b"").strip(b".")
    name = _DECIMAL.sub(lambda m: bytes([int(m[1])]) if int(m[1]) < 256 else m[0], name) if b"\\" in name else name
    found: dict[str, object] = {
        "dns": {"question": {"name": from_bytes(name)}},
        **({"src_ip": from_bytes(parts["client"])} if parts.get("client") else {}),
    }
    begin = _LINE_TIME.match(from_bytes(line[:64]))
    if begin:
        found["timestamp"] = begin["full"] or begin["epoch"] or syslog_time(begin["short"])
    return found
