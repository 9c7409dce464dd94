"""One client's records, and how a day of them is written: logs of Zeek (JSON) or Suricata, and the truth that ``score.py`` reads."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edge_demist.sensor.incidents.observation import DNS, FLOW, HTTP, TLS, Observation
from edge_demist.sensor.sources.timestamps import format_time

RESOLVER = "10.77.0.53"
_LOGS = {DNS: "dns", HTTP: "http", TLS: "ssl", FLOW: "conn"}


def address(rng: random.Random) -> str:
    """An address of no private network."""
    first = rng.choice((23, 37, 45, 62, 78, 91, 103, 141, 159, 185, 193, 212))
    return f"{first}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


@dataclass
class Track:
    """What one client does; times are seconds since 1970."""

    client: str
    seen: list[Observation] = field(default_factory=list)

    def _add(self, kind: str, time: float, server: str, port: int) -> Observation:
        one = Observation(kind, int(time * 1e6), self.client, server, port)
        self.seen.append(one)
        return one

    def lookup(self, time: float, name: str, kind: str = "A", answers: tuple[str, ...] = (), *, failed: bool = False) -> None:
        """A look-up at the network's resolver."""
        one = self._add(DNS, time, RESOLVER, 53)
        one.name, one.query_type, one.answers, one.failed = name, kind, answers, failed

    def connect(self, time: float, server: str, port: int, out: int = 800, back: int = 3000, lasts: float = 0.4) -> None:
        """A TCP connection; with ``back`` of nought it is refused."""
        one = self._add(FLOW, time, server, port)
        one.query_type, one.failed, one.bytes_out, one.bytes_in, one.duration = "tcp", not back, out * bool(back), back, lasts

    def tls(self, time: float, server: str, name: str = "", port: int = 443, out: int = 900, back: int = 4000) -> None:
        """A TLS handshake with its connection."""
        self._add(TLS, time, server, port).name = name
        self.connect(time, server, port, out, back)

    def request(
        self,
        time: float,
        server: str,
        uri: str,
        agent: str = "",
        *,
        host: str = "",
        method: str = "GET",
        status: int = 200,
        mime: str = "text/html",
        port: int = 80,
        out: int = 0,
        back: int = 2000,
    ) -> None:
        """A web request with its connection; without ``host`` to the address itself."""
        one = self._add(HTTP, time, server, port)
        one.name, one.uri, one.agent, one.method, one.status, one.service = host or server, uri, agent, method, status, mime
        one.bytes_out, one.bytes_in = out, back
        self.connect(time, server, port, out + 300, back + 200)

    def visit(self, time: float, name: str, server: str, agent: str, uri: str = "/", **more: object) -> None:
        """Look up a host, then ask it for a page."""
        self.lookup(time, name, answers=(server,))
        self.request(time + 0.1, server, uri, agent, host=name, **more)  # type: ignore[arg-type]


@dataclass
class Episode:
    """An intrusion: the records, and what of them is known to be malicious."""

    kind: str
    tool: str
    track: Track
    domains: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0

    def truth(self, name: str) -> dict[str, object]:
        """Its line in ``truth.jsonl``."""
        times = [one.time_us / 1e6 for one in self.track.seen]
        begin, end = self.first or min(times), self.last or max(times)
        known = {"domains": self.domains, "addresses": self.addresses, "urls": [], "targets": self.targets}
        head = {"episode": name, "family": self.tool, "tool": self.tool, "kind": self.kind, "clients": [self.track.client]}
        return head | known | {"first": begin, "last": end, "by_client": False, "evidence": "", "made": True}


def write_day(folder: Path, seen: Iterable[Observation], episodes: list[Episode], grey: Iterable[str] = (), *, eve: bool = False) -> int:
    """Logs by kind (``eve``: one of Suricata's events), truth and what counts neither way; the number of records."""
    (folder / "logs").mkdir(parents=True)
    lines: dict[str, list[str]] = {"eve.json": []} if eve else {f"{log}.log": [] for log in _LOGS.values()}
    records = sorted([*seen, *(one for episode in episodes for one in episode.track.seen)], key=lambda one: one.time_us)
    for number, one in enumerate(records):
        if eve:
            lines["eve.json"].append(json.dumps(_event(one, number)))
        else:
            lines[f"{_LOGS[one.kind]}.log"].append(json.dumps(_record(one, number)))
    for name, rows in lines.items():
        (folder / "logs" / name).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    truth = [json.dumps(episode.truth(f"{folder.name}/{i}-{episode.tool}")) for i, episode in enumerate(episodes)]
    (folder / "truth.jsonl").write_text("".join(f"{line}\n" for line in truth), encoding="utf-8")
    (folder / "grey.txt").write_text("".join(f"{name}\n" for name in sorted(grey)), encoding="utf-8")
    return len(records)


def _record(one: Observation, number: int) -> dict[str, object]:
    head = {"ts": one.time_us / 1e6, "uid": f"C{number}", "id.orig_h": one.client, "id.orig_p": 40000 + number % 20000}
    head |= {"id.resp_h": one.server, "id.resp_p": one.port}
    if one.kind == DNS:
        rest: dict[str, object] = {"query": one.name, "qtype_name": one.query_type, "rcode_name": "NXDOMAIN" if one.failed else "NOERROR"}
        return head | rest | ({"answers": list(one.answers)} if one.answers else {})
    if one.kind == HTTP:
        rest = {"host": one.name, "uri": one.uri, "method": one.method, "status_code": one.status}
        rest |= {"request_body_len": one.bytes_out, "response_body_len": one.bytes_in}
        return head | rest | ({"user_agent": one.agent} if one.agent else {}) | ({"resp_mime_types": [one.service]} if one.service else {})
    if one.kind == TLS:
        return head | ({"server_name": one.name} if one.name else {})
    rest = {"proto": one.query_type or "tcp", "conn_state": "S0" if one.failed else "SF", "orig_bytes": one.bytes_out}
    return head | rest | {"resp_bytes": one.bytes_in, "duration": one.duration} | ({"service": one.service} if one.service else {})


def _event(one: Observation, number: int) -> dict[str, object]:
    """A record as Suricata writes it."""
    kind, code = {FLOW: "flow"}.get(one.kind, one.kind), "NXDOMAIN" if one.failed else "NOERROR"
    head: dict[str, object] = {"timestamp": format_time(one.time_us), "flow_id": number, "event_type": kind, "src_ip": one.client}
    head |= {"src_port": 40000 + number % 20000, "dest_ip": one.server, "dest_port": one.port, "proto": "UDP" if kind == DNS else "TCP"}
    if one.kind == DNS:
        answers = [{"rrname": one.name, "rrtype": one.query_type, "ttl": 60, "rdata": answer} for answer in one.answers]
        rest: dict[str, object] = {"type": "answer", "rrname": one.name, "rrtype": one.query_type, "rcode": code, "answers": answers}
    elif one.kind == HTTP:
        rest = {"hostname": one.name, "url": one.uri, "http_method": one.method, "status": one.status, "length": one.bytes_in}
        rest |= {"http_content_type": one.service} | ({"http_user_agent": one.agent} if one.agent else {})
    elif one.kind == TLS:
        rest = {"sni": one.name} if one.name else {}
    else:
        rest = {"bytes_toserver": one.bytes_out, "bytes_toclient": one.bytes_in, "age": int(one.duration)}
        rest["state"] = "new" if one.failed else "closed"
    return head | {kind: rest}
