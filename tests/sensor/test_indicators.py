"""What incidents found, for Suricata and Zeek: only what stands for itself, with an end."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from edge_demist.cli import main
from edge_demist.sensor.indicators import SocketError, SuricataSocket, indicators, suricata_dataset, zeek_intel
from edge_demist.sensor.sources.timestamps import parse_time

DAY = 86_400_000_000
NOW = parse_time("2026-03-10T00:00:00Z") or 0


def incident(*entities: str, kind: str = "c2", last: str = "2026-03-09T00:00:00Z", score: float = 0.9, client: str = "10.0.0.7") -> dict:
    body = {"incident_id": "ab" * 16, "kind": kind, "entities": list(entities), "clients": [client], "last": last, "score": score}
    return body | {"first": last, "raised": last, "severity": "high", "status": "closed", "sentence": "", "evidence": [], "next": []}


def test_only_what_one_owner_holds_and_what_has_not_expired() -> None:
    found = indicators(
        [
            incident("a.evil.example", "duckdns.org", "x.duckdns.org", "10.0.0.9", "203.0.113.5", "bad name.example", "tab\t.example"),
            incident("10.0.0.80", kind="scan", client="198.51.100.9"),
            incident("old.example", last="2026-03-01T00:00:00Z"),
            incident("unsure.example", score=0.4),
            incident("a.evil.example", last="2026-03-08T00:00:00Z"),
        ],
        days=7,
        now_us=NOW,
        min_score=0.7,
    )
    assert [item.value for item in found] == ["198.51.100.9", "203.0.113.5", "a.evil.example", "x.duckdns.org"]
    assert found[2].expires_us == NOW + 6 * DAY
    assert [base64.b64decode(line).decode() for line in suricata_dataset(found).splitlines()] == ["a.evil.example", "x.duckdns.org"]
    rows = [line.split("\t") for line in zeek_intel(found).splitlines()]
    assert rows[0] == ["#fields", "indicator", "indicator_type", "meta.source", "meta.desc"] and all(len(row) == 4 for row in rows[1:])
    assert rows[1][:2] == ["198.51.100.9", "Intel::ADDR"] and rows[3][:2] == ["a.evil.example", "Intel::DOMAIN"]


class FakeSuricata(threading.Thread):
    """Answers as Suricata does; ``knows_json``: as version 8 does."""

    def __init__(self, path: Path, *, knows_json: bool, newline: bool) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.knows_json, self.end, self.heard = knows_json, b"\n" if newline else b"", []

    def run(self) -> None:
        channel, _ = self.listener.accept()
        with channel, channel.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                self.heard.append(message)
                unknown = message.get("command") == "dataset-add-json" and not self.knows_json
                answer = {"return": "NOK", "message": "Unknown command"} if unknown else {"return": "OK"}
                channel.sendall(json.dumps(answer).encode() + self.end)
        self.listener.close()


@pytest.mark.parametrize(("knows_json", "newline"), [(True, True), (False, False)])
def test_names_reach_suricatas_socket(tmp_path: Path, *, knows_json: bool, newline: bool) -> None:
    server = FakeSuricata(tmp_path / "s", knows_json=knows_json, newline=newline)
    server.start()
    (tmp_path / "i.jsonl").write_text(json.dumps(incident("a.evil.example", "203.0.113.5")) + "\n")
    code = main(["indicators", str(tmp_path / "i.jsonl"), "--suricata-socket", str(tmp_path / "s"), "--now", "2026-03-10T00:00:00Z"])
    server.join(5)
    assert code == 0 and server.heard[0] == {"version": "0.2"}
    added = server.heard[-1]["arguments"]
    assert base64.b64decode(added["datavalue"]) == b"a.evil.example" and added["setname"] == "edge-demist"
    assert [m["command"] for m in server.heard[1:]] == (["dataset-add-json"] if knows_json else ["dataset-add-json", "dataset-add"])
    assert not knows_json or json.loads(added["datajson"])["kind"] == "c2"


def test_nobody_at_the_socket_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SocketError, match="No such file"):
        SuricataSocket(tmp_path / "none")
    (tmp_path / "i.jsonl").write_text(json.dumps(incident("a.evil.example")) + "\n")
    assert main(["indicators", str(tmp_path / "i.jsonl")]) == 2 and "needs" in capsys.readouterr().err
    assert main(["indicators", str(tmp_path / "i.jsonl"), "--zeek-intel", str(tmp_path / "z"), "--now", "soon"]) == 2


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed")
def test_a_suricata_rule_on_the_dataset_fires(tmp_path: Path) -> None:
    capture = _dns_capture(tmp_path / "look-up.pcap", "a.evil.example")
    (tmp_path / "i.jsonl").write_text(json.dumps(incident("a.evil.example")) + "\n")
    dataset = tmp_path / "names.lst"
    now = ["--now", "2026-03-10T00:00:00Z"]
    assert main(["indicators", str(tmp_path / "i.jsonl"), "--suricata-dataset", str(dataset), *now]) == 0
    (tmp_path / "r.rules").write_text(
        f'alert dns any any -> any any (msg:"edge-demist"; dns.query; dataset:isset,edge-demist,type string,load {dataset}; sid:1;)\n'
    )
    command = ["suricata", "-r", str(capture), "-S", str(tmp_path / "r.rules"), "-l", str(tmp_path), "-k", "none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    events = [json.loads(line) for line in (tmp_path / "eve.json").read_text().splitlines()]
    assert [e["alert"]["signature"] for e in events if e["event_type"] == "alert"] == ["edge-demist"], done.stderr


def _dns_capture(path: Path, name: str) -> Path:
    """A capture (libpcap format) of one look-up over IPv4 and UDP."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0\0\1\0\1"
    dns = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question
    udp = (40000).to_bytes(2, "big") + (53).to_bytes(2, "big") + (8 + len(dns)).to_bytes(2, "big") + b"\0\0" + dns
    ip = b"\x45\0" + (20 + len(udp)).to_bytes(2, "big") + b"\0\1\0\0\x40\x11\0\0\x0a\0\0\x07\x0a\0\0\x35" + udp
    frame = b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip
    header = b"\xd4\xc3\xb2\xa1\2\0\4\0\0\0\0\0\0\0\0\0\xff\xff\0\0\1\0\0\0"
    record = b"".join(n.to_bytes(4, "little") for n in (1_770_000_000, 0, len(frame), len(frame)))
    path.write_bytes(header + record + frame)
    return path
