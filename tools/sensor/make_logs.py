"""Write the sample logs of tests/data/logs that are made up: Zeek TSV and JSON, Suricata transactions, Sysmon events.

    python -m tools.sensor.make_logs

The strings are those of edge_demist/assets/strings.jsonl (CC0), the addresses those set aside for documentation (RFC 5737, RFC
3849). Every form that the sensor reads occurs: escapes, unset and empty fields, vectors, gzip after a rotation, a header in
mid-file, the three shapes of Suricata's dns events. ``eve.json`` (real alerts, MIT) is left alone.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "data" / "logs"
STRINGS = ROOT / "edge_demist" / "assets" / "strings.jsonl"
START = 1_709_285_400  # 2024-03-01T09:30:00Z
CONN = {"ts": "time", "uid": "string", "id.orig_h": "addr", "id.orig_p": "port", "id.resp_h": "addr", "id.resp_p": "port"}
DNS = CONN | {
    "proto": "enum", "trans_id": "count", "rtt": "interval", "query": "string", "qclass": "count", "qclass_name": "string",
    "qtype": "count", "qtype_name": "string", "rcode": "count", "rcode_name": "string", "AA": "bool", "TC": "bool", "RD": "bool",
    "RA": "bool", "Z": "count", "answers": "vector[string]", "TTLs": "vector[interval]", "rejected": "bool",
}  # fmt: skip
HTTP = CONN | {
    "trans_depth": "count", "method": "string", "host": "string", "uri": "string", "referrer": "string", "version": "string",
    "user_agent": "string", "request_body_len": "count", "response_body_len": "count", "status_code": "count",
    "status_msg": "string", "tags": "set[enum]", "orig_filenames": "vector[string]", "resp_fuids": "vector[string]",
    "resp_filenames": "vector[string]", "resp_mime_types": "vector[string]",
}  # fmt: skip
SSL = CONN | {
    "version": "string", "cipher": "string", "curve": "string", "server_name": "string", "resumed": "bool",
    "next_protocol": "string", "established": "bool", "cert_chain_fps": "vector[string]", "sni_matches_cert": "bool",
}  # fmt: skip
X509 = {
    "ts": "time", "fingerprint": "string", "certificate.version": "count", "certificate.serial": "string",
    "certificate.subject": "string", "certificate.issuer": "string", "san.dns": "vector[string]", "basic_constraints.ca": "bool",
}  # fmt: skip
Row = Mapping[str, object]


class Maker:
    """Draws strings, addresses and ids; time goes on with every record."""

    def __init__(self, seed: int = 6) -> None:
        """Read the strings."""
        self.random, self.clock = random.Random(seed), START * 10**6
        self._strings: dict[str, list[str]] = defaultdict(list)
        for line in STRINGS.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            self._strings[row["kind"]].append(row["text"])

    def some(self, kind: str, count: int) -> list[str]:
        """Strings of a kind, spread over all of it."""
        rows = self._strings[kind]
        return [rows[i * len(rows) // count] for i in range(count)]

    def now(self) -> str:
        """Later than before, as Zeek writes times."""
        self.clock += self.random.randrange(10**5, 10**7)
        return f"{self.clock // 10**6}.{self.clock % 10**6:06d}"

    def stamp(self) -> str:
        """Later than before, as Suricata writes times."""
        seconds, _, micros = self.now().partition(".")
        minute, second = divmod(int(seconds) - START, 60)
        return f"2024-03-01T{9 + (30 + minute) // 60:02d}:{(30 + minute) % 60:02d}:{second:02d}.{micros}+0000"

    def uid(self, letter: str = "C") -> str:
        """A Zeek id."""
        return letter + "".join(self.random.choices("abcdefghkmnpqrstuvwxyzABCDEFGH23456789", k=17))

    def conn(self, port: int) -> dict[str, object]:
        """What most Zeek logs begin with."""
        wide = self.random.random() < 0.2
        ours = f"2001:db8::{self.random.randrange(1, 9999):x}" if wide else f"192.0.2.{self.random.randrange(1, 255)}"
        theirs = "2001:db8:53::1" if wide else f"198.51.100.{self.random.randrange(1, 255)}"
        ends = {"id.orig_h": ours, "id.orig_p": self.random.randrange(1024, 65536), "id.resp_h": theirs, "id.resp_p": port}
        return {"ts": self.now(), "uid": self.uid(), **ends}

    def eve(self, kind: str, port: int, **parts: object) -> dict[str, object]:
        """A Suricata event."""
        conn = self.conn(port)
        ends = {"src_ip": conn["id.orig_h"], "src_port": conn["id.orig_p"], "dest_ip": conn["id.resp_h"], "dest_port": port}
        head = {"timestamp": self.stamp(), "flow_id": self.random.randrange(1 << 50), "event_type": kind}
        return head | ends | {"proto": "UDP" if port == 53 else "TCP"} | parts


def escaped(text: str, extra: str = "") -> str:
    """A string as Zeek's ASCII writer escapes it; valid UTF-8 stays as it is."""
    if text in ("-", "(empty)"):
        return f"\\x{ord(text[0]):02x}{text[1:]}"
    shown = text.replace("\\", "\\\\")
    return "".join(f"\\x{ord(c):02x}" if ord(c) < 32 or ord(c) == 127 or c in extra else c for c in shown)


def shown(value: object) -> str:
    """A value in a column."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, list):
        return ",".join(escaped(str(v), ",") for v in value) or "(empty)"
    return escaped(value) if isinstance(value, str) and value else "(empty)" if value == "" else str(value)


def zeek(path: str, types: Mapping[str, str], rows: Iterable[Row]) -> str:
    """A whole log."""
    head = f"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t{path}\n#open\t2024-03-01-09-30-00\n"
    head += "#fields\t" + "\t".join(types) + "\n#types\t" + "\t".join(types.values()) + "\n"
    return head + "".join("\t".join(shown(row.get(name)) for name in types) + "\n" for row in rows) + "#close\t2024-03-01-10-30-00\n"


def objects(rows: Iterable[Row]) -> str:
    """A log of JSON objects; Zeek's numbers are numbers there."""
    return "".join(json.dumps({k: float(str(v)) if k == "ts" else v for k, v in row.items()}, ensure_ascii=False) + "\n" for row in rows)


def dns_rows(make: Maker) -> list[Row]:
    """Ordinary names, generated ones, tunnels, and queries that need escapes."""
    names = make.some("hostname", 24) + make.some("dga", 8) + make.some("dns-query", 12)
    names += ["tab\there.example.com", "bücher.example", "back\\slash.example", "-", "(empty)"]
    make.random.shuffle(names)
    fixed = {"proto": "udp", "qclass": 1, "qclass_name": "C_INTERNET", "qtype": 1, "qtype_name": "A", "TC": False, "RD": True, "Z": 0}
    rows: list[Row] = []
    for name in [*names, None, ""]:
        found = make.random.random() < 0.7
        answer = {"rcode": 0, "rcode_name": "NOERROR", "answers": ["203.0.113.7", "alias, of.example"], "TTLs": ["60.000000", "5.000000"]}
        none = {"rcode": 3, "rcode_name": "NXDOMAIN"}
        row = make.conn(53) | fixed | (answer if found else none) | {"trans_id": make.random.randrange(1 << 16), "rtt": "0.012345"}
        rows.append(row | {"query": name, "AA": False, "RA": found, "rejected": False})
    return rows


def http_rows(make: Maker, count: int) -> list[Row]:
    """Requests with paths, attacks, agents and file names."""
    parts = zip(
        make.some("hostname", count), make.some("uri", count), make.some("user-agent", count), make.some("filename", count), strict=True
    )
    rows: list[Row] = []
    for number, (host, uri, agent, file) in enumerate(parts):
        body: dict[str, object] = {"trans_depth": 1, "method": "GET", "version": "1.1", "request_body_len": 0, "status_code": 200}
        body |= {"status_msg": "OK", "response_body_len": make.random.randrange(9999), "tags": [], "host": host, "user_agent": agent}
        body["uri"] = f"http://{host}/absolute?{number}" if number % 9 == 4 else uri if uri.startswith("/") else f"/search?q={uri}"
        if number % 4 == 1:
            body |= {"resp_fuids": [make.uid("F")], "resp_filenames": [file], "resp_mime_types": ["application/octet-stream"]}
        if number % 7 == 3:
            body |= {"host": None, "user_agent": "", "orig_filenames": [file, "a, b.txt"]}
        rows.append(make.conn(80) | body)
    return rows


def ssl_rows(make: Maker) -> list[Row]:
    """Handshakes, some without a server name."""
    fixed = {"version": "TLSv13", "cipher": "TLS_AES_256_GCM_SHA384", "curve": "x25519", "resumed": False, "established": True}
    names = [None if i % 5 == 4 else name for i, name in enumerate(make.some("hostname", 20))]
    return [make.conn(443) | fixed | {"server_name": name, "next_protocol": "h2", "cert_chain_fps": []} for name in names]


def x509_rows(make: Maker) -> list[Row]:
    """Certificates with names, wildcards and commas."""
    rows: list[Row] = []
    for number, name in enumerate(make.some("hostname", 14)):
        subject = f"CN={name},O=Example\\, Ltd.,C=GB"
        row = {"ts": make.now(), "fingerprint": f"{number:064x}", "certificate.version": 3, "certificate.serial": f"{number:032X}"}
        names = None if number % 6 == 5 else [name, f"*.{name}"]
        rows.append(row | {"certificate.subject": subject, "certificate.issuer": "CN=Example CA,C=GB", "san.dns": names})
    return rows


def files_rows(make: Maker) -> list[Row]:
    """Zeek's JSON form without ``_path``."""
    rows: list[Row] = []
    for number, name in enumerate(make.some("filename", 12)):
        row: dict[str, object] = {"ts": make.now(), "fuid": make.uid("F"), "source": "HTTP", "analyzers": ["SHA1"], "seen_bytes": number}
        rows.append(row | ({} if number % 4 == 3 else {"filename": name}))
    return rows


def eve_rows(make: Maker) -> list[Row]:
    """Transactions: dns of versions 1, 2 and 3, http, tls, fileinfo, an alert; between them events without a string."""
    strings = zip(*(make.some(kind, 21) for kind in ("hostname", "uri", "user-agent", "filename")), strict=True)
    rows: list[Row] = []
    for number, (name, uri, agent, file) in enumerate(strings):
        http = {"hostname": name, "url": f"/find?q={uri}", "http_user_agent": agent, "http_method": "GET", "protocol": "HTTP/1.1"}
        answers = [{"rrname": name, "rrtype": "A", "ttl": 60, "rdata": "203.0.113.7"}]
        certificate = {"sni": name, "subject": f"CN={name}", "issuerdn": "CN=Example CA", "subjectaltname": [name, f"*.{name}"]}
        shapes: list[tuple[str, int, dict[str, object]]] = [
            ("dns", 53, {"dns": {"type": "query", "id": number, "rrname": name, "rrtype": "A"}}),
            ("dns", 53, {"dns": {"version": 2, "type": "answer", "rrname": name, "rcode": "NOERROR", "answers": answers}}),
            ("dns", 53, {"dns": {"version": 3, "type": "request", "queries": [{"rrname": name, "rrtype": "A"}, {"rrname": f"b.{name}"}]}}),
            ("http", 80, {"http": http}),
            ("tls", 443, {"tls": certificate | {"version": "TLS 1.3"}}),
            ("fileinfo", 80, {"http": http, "fileinfo": {"filename": file, "size": 7, "state": "CLOSED"}}),
            ("alert", 53, {"alert": {"signature": "made up"}, "dns": {"query": [{"type": "query", "rrname": name}]}}),
        ]
        kind, port, parts = shapes[number % len(shapes)]
        rows.append(make.eve(kind, port, **parts))
        rows.append(make.eve("flow", 80, flow={"pkts_toserver": 3}) if number % 2 else make.eve("stats", 0, stats={"uptime": 9}))
    return rows


def sysmon_rows(make: Maker) -> list[Row]:
    """Process creations as Sysmon's events are exported."""
    rows: list[Row] = []
    for number, line in enumerate(make.some("cmdline", 12)):
        rows.append({"EventID": 1, "UtcTime": make.stamp(), "ProcessGuid": f"{{{number:08x}}}", "CommandLine": line})
    return rows


def logs() -> dict[str, bytes]:
    """Every file's name and content."""
    make = Maker()
    ssl = ssl_rows(make)
    late = {name: SSL[name] for name in ("ts", "server_name", "uid", "id.orig_h")}  # other fields after a restart of Zeek
    texts = {
        "dns.log": zeek("dns", DNS, dns_rows(make)),
        "http.log": zeek("http", HTTP, http_rows(make, 30)),
        "ssl.log": zeek("ssl", SSL, ssl[:12]) + zeek("ssl", late, ssl[12:]),
        "x509.log": zeek("x509", X509, x509_rows(make)),
        "files.log": objects(files_rows(make)),
        "eve-transactions.json": objects(eve_rows(make)),
        "sysmon.json": objects(sysmon_rows(make)),
    }
    older = zeek("http", HTTP, http_rows(make, 10))
    data = {name: text.encode("utf-8") for name, text in texts.items()}
    return data | {"http.2024-03-01-09-00-00.log.gz": gzip.compress(older.encode("utf-8"), mtime=0)}


def main() -> None:
    """Write the files."""
    for name, data in logs().items():
        (OUT / name).write_bytes(data)


if __name__ == "__main__":
    main()
