"""Lines of proxies, firewalls and DNS services whose values have no names: they are known by their places, or by what they look like.

Barracuda's firewall and web filter, Skyhigh (McAfee) Web Gateway, Cisco ASA, Suricata's http.log, MikroTik, uWSGI, Rails, request lines
alone (ModSecurity's serial audit log) or in quotes, rows of CSV without a header (Cisco Umbrella, Zscaler, Blocky).  Gives Elastic Common
Schema objects, as :mod:`edge_demist.sensor.sources.access` does.
"""

from __future__ import annotations

import re

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.sources.tables import split_loosely
from edge_demist.sensor.sources.timestamps import parse_time

MAX_ROW_BYTES = 1 << 15
_AGENT = r'"(?P<agent>[^"]{0,2048})"'
_LINES = tuple(
    (mark, re.compile(pattern))
    for mark, pattern in (
        (  # Barracuda Web Application Firewall, access: … TR server port client port … method version host … path query referrer "agent"
            b" TR ",
            r" TR \S+ \d+ (?P<client>\S+) \d+ \S+ \S+ (?P<method>[A-Z]{3,16}) \S+ (?P<vhost>\S+) HTTP/\S+ \d{3} .{0,400}? "
            rf"(?P<target>/\S*) (?P<query>\S+) \S+ {_AGENT}",
        ),
        (  # Barracuda Web Application Firewall, attacks: … WF severity attack client port … [details] method URL version "referrer" "agent"
            b" WF ",
            r" WF [A-Z]{3,5} \w+ (?P<client>\S+) \d+ .{0,1024}\] (?P<method>[A-Z]{3,16}) (?P<target>\S+) \S+ \"[^\"]{0,2048}\" " + _AGENT,
        ),
        (  # Barracuda Web Filter: http_scan[pid]: time n client server type source URL …
            b"http_scan[",
            r"http_scan\[\d+\]: (?P<time>\d{9,10}) \d+ (?P<client>\S+) \S+ \S+ \S+ (?P<target>https?://\S+)",
        ),
        (  # Skyhigh, McAfee Web Gateway: [time] "user" client server status "request" …
            b'] "',
            r"\[(?P<time>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] \"[^\"]{0,256}\" (?P<client>[0-9A-Fa-f.:]{2,45}) \S+ \d{3} "
            r"\"(?P<method>[A-Z]{3,16}) (?P<target>[^\"]{1,8192}?) HTTP/\d\.\d\"(?:.{0,2048}?\"(?P<agent>\w[\w.-]*/[\d.][^\"]{0,1024})\")?",
        ),
        (b" Accessed ", r"%\w+-\d-304001: (?P<client>[^\s@]+)(?:@\S+)? Accessed (?:JAVA )?URL [\w.:]+?:(?P<target>\S+)"),  # Cisco ASA
        (  # Suricata's http.log
            b" [**] ",
            r"\A(?P<time>\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\.\d{6}) (?P<vhost>\S+) ?\[\*\*\] ?(?P<target>.+?) ?\[\*\*\] "
            r"?(?P<agent>.*?) ?\[\*\*\] (?:.{0,256} )?(?P<client>[0-9A-Fa-f.:]+):\d+ -> ",
        ),
        (b" HTTP/", r"\A(?P<method>[A-Z]{3,16}) (?P<target>(?:/|https?://)\S*) HTTP/\d(?:\.\d)?\s*\Z"),  # a request line alone
        (  # E2guardian, DansGuardian: time user client URL …
            b" http",
            r"\A(?P<time>\d{4}\.\d{1,2}\.\d{1,2} \d{1,2}:\d\d:\d\d) \S+ (?P<client>[0-9A-Fa-f.:]{2,45}) (?P<target>https?://\S+) ",
        ),
        (b" Request: ", r"\A(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\S* [0-9a-f]+ Request: (?P<target>\S+)"),  # Privoxy
        (b"Request (file", r"Request \(file descriptor \d+\): (?P<method>[A-Z]{3,16}) (?P<target>\S+) HTTP/"),  # tinyproxy
        (  # Citrix ADC (NetScaler): application firewall, and requests over SSL VPN
            b" APPFW ",
            r"(?P<time>\d\d/\d\d/\d{4}:\d\d:\d\d:\d\d) .{0,200} APPFW \w+ \d+ \d+ : +(?P<client>\S+) .{0,300}?(?P<target>https?://\S+)",
        ),
        (
            b" HTTPREQUEST ",
            r"(?P<time>\d\d/\d\d/\d{4}:\d\d:\d\d:\d\d) .{0,200} SSLVPN HTTPREQUEST .{0,200}@"
            r"(?P<client>[0-9A-Fa-f.:]{2,45}) - SessionId: \S+ ?- ?(?P<vhost>\S+) User .{0,400} (?P<method>[A-Z]{3,16}) "
            r"(?P<target>/\S*)",
        ),
        (  # Cisco Meraki: … src=address:port … agent='…' request: method URL
            b" request: ",
            r"(?:(?P<time>\d{10}\.\d{1,9}) .{0,100})?\bsrc=(?P<client>[0-9A-Fa-f.]{2,45})(?::\d+)? .{0,200}?"
            r"(?:agent='(?P<agent>[^']{0,2048})' )?request: (?P<method>[A-Z]{3,16}) (?P<target>https?://\S+)",
        ),
        (b"web-proxy,", r"web-proxy,\S+ (?P<client>\S+) (?P<method>[A-Z]{3,16}) (?P<target>https?://\S+)"),  # MikroTik
        (
            b" => generated ",
            r"\] (?P<client>\S+) .{0,128}\[(?P<time>[^\]]{20,40})\] (?P<method>[A-Z]{3,16}) (?P<target>\S+) => generated ",
        ),  # uWSGI
        (
            b"Started ",
            r"Started (?P<method>[A-Z]{3,16}) \"(?P<target>/[^\"]{0,8192})\" for (?P<client>\S+) at (?P<time>\S+ \S+(?: [+-]\d{4})?)",
        ),  # Rails
    )
)
_QUOTED_REQUEST = re.compile(
    r'\A(?P<before>[^"]{0,512})"(?P<method>[A-Z]{3,16}) (?P<target>[^"]{1,8192}?) HTTP/\d(?:\.\d)?"'
    r'(?:[^"]{0,64}(?:"[^"]{0,2048}")?[^"]{0,8}"(?P<agent>[A-Za-z][\w.\-]{1,40}/\d[^"]{0,1024})")?'
)
_RECORD_TYPE = re.compile(r"(?:\d{1,5} \()?(?:A|AAAA|ANY|CNAME|HTTPS|MX|NAPTR|NS|NULL|PTR|SOA|SRV|SVCB|TXT)\)?\Z")
_NAME = re.compile(r"(?=.{4,255}\Z)(?!\d+\.\d+\.\d+\.\d+\Z)(?:[\w\-]{1,63}\.)+[A-Za-z][\w\-]{1,62}\.?\Z")
_URL = re.compile(r"https?://[^\s\"]+\Z", re.IGNORECASE)
_AGENT_CELL = re.compile(r"[A-Za-z][\w.\-]{1,40}/\d[\w.]{0,24}(?:[ ;(].*)?\Z", re.DOTALL)
_LEAST_CELLS = 5
_CLIENT = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4}:[0-9a-fA-F:.]{2,40})(?![\w/])")
_SURICATA_TIME = re.compile(r"\A(\d\d/\d\d/\d{4})-")
_MONTH_FIRST = re.compile(r"\A(\d\d)/(\d\d)/(\d{4}):")
_DOTTED_DATE = re.compile(r"\A(\d{4})\.(\d{1,2})\.(\d{1,2}) (\d{1,2})(?=:)")
_MOMENT = re.compile(r"\[(\d\d/\w{3}/\d{4})[: ](\d\d:\d\d:\d\d(?: [+-]\d{4})?)\]")
_ROW_BEGIN = re.compile(rb"(?:<\d{1,3}>.{0,128}?)?\"?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


def appliance_object(line: bytes) -> tuple[dict[str, object], str] | None:
    """What such a line asks for, and whether it is of a log of ``access`` or of ``queries``; None for any other line."""
    if (b'","' in line or line.count(b"\t") >= _LEAST_CELLS) and len(line) <= MAX_ROW_BYTES and _ROW_BEGIN.match(line) is not None:
        return _row(from_bytes(line))
    text = None
    for mark, pattern in _LINES:
        if mark in line:
            text = text or from_bytes(line[:MAX_ROW_BYTES])
            if match := pattern.search(text):
                return _request(match.groupdict()), "access"
    return None


def quoted_request(line: bytes) -> dict[str, object] | None:
    """The request in quotes of a line in a web server's own format; client and time are looked for before it."""
    match = _QUOTED_REQUEST.match(from_bytes(line[:MAX_ROW_BYTES])) if b" HTTP/" in line else None
    if match is None:
        return None
    client, moment = _CLIENT.search(match["before"]), _MOMENT.search(match["before"])
    time = f"{moment[1]}:{moment[2]}" if moment else None
    return _request({**match.groupdict(), "client": client[0] if client else None, "time": time})


def _request(parts: dict[str, str | None]) -> dict[str, object]:
    """The request with the names that access logs give it."""
    target, query = parts["target"] or "", parts.get("query") or "-"
    url: dict[str, object] = {"original": target if query in ("-", '"-"') else f"{target}?{query}"}
    if (parts.get("vhost") or "-") != "-":
        url["domain"] = parts["vhost"]
    found: dict[str, object] = {"url": url}
    if parts.get("client"):
        found["src_ip"] = parts["client"]
    if parts.get("method"):
        found["http"] = {"request": {"method": parts["method"]}}
    if (parts.get("agent") or "-") not in ("-", "<useragent unknown>"):
        found["user_agent"] = {"original": parts["agent"]}
    if parts.get("time"):
        dotted = _DOTTED_DATE.sub(lambda m: f"{m[1]}-{m[2]:0>2}-{m[3]:0>2} {m[4]:0>2}", parts["time"] or "")
        found["timestamp"] = _MONTH_FIRST.sub(r"\3-\1-\2 ", _SURICATA_TIME.sub(r"\1 ", dotted))
    return found


def _row(text: str) -> tuple[dict[str, object], str] | None:
    """A row whose first cell is a time: with a type of DNS records it is a question, with an address a request."""
    begin, delimiter = text.find('"'), "," if '","' in text else "\t"
    cells = split_loosely(text[begin:] if begin >= 0 and not text[:1].isdigit() else text, delimiter)
    if len(cells) < _LEAST_CELLS or parse_time(cells[0]) is None:
        return None
    found: dict[str, object] = {"timestamp": cells[0]}
    client = next((cell for cell in cells[1:] if re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}", cell)), "")
    if client:
        found["src_ip"] = client
    if any(_RECORD_TYPE.match(cell) for cell in cells) and (name := next((cell for cell in cells[1:] if _NAME.match(cell)), "")):
        return {**found, "dns": {"question": {"name": name}}}, "queries"
    if address := next((cell for cell in cells[1:] if _URL.match(cell)), ""):
        agent = next((cell for cell in cells[1:] if _AGENT_CELL.match(cell) and "://" not in cell[:12] and not _is_media_type(cell)), "")
        return {**found, "url": {"original": address}, **({"user_agent": {"original": agent}} if agent else {})}, "access"
    return None


def _is_media_type(cell: str) -> bool:
    return cell.split("/", 1)[0] in ("application", "audio", "font", "image", "message", "multipart", "text", "video")
