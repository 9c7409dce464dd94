"""Made-up days read with the shipped bundle: ordinary networks of several kinds, and intrusions of several kinds."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from edge_demist.sensor.incidents.stage import bundle_weights
from tools.days.__main__ import SERVER, T0, make_day
from tools.days.intrusions import INTRUSIONS
from tools.days.track import Track, write_day
from tools.sensor.fit_incidents import incidents, read_day

NETWORKS = {
    "office": ("mail clients", "probes", "updates", "antivirus"),
    "servers": ("monitoring", "backups", "own server", "mail server"),
    "home": ("things", "peers", "content networks"),
    "trouble": ("broken resolver", "search suffix"),
}


def opened(folder: Path) -> list[dict]:
    """What is told about a day, once an incident."""
    lines = next(lines for _, lines in incidents({folder.name: read_day(folder, None)}, bundle_weights(None)))
    return [line for line in lines if line["status"] == "opened"]


@pytest.mark.parametrize(("network", "seed"), [(network, seed) for seed, network in enumerate(NETWORKS)])
def test_a_day_without_an_intrusion_gives_at_most_one_incident(tmp_path: Path, network: str, seed: int) -> None:
    seen, episodes = make_day(random.Random(seed), T0, (), NETWORKS[network])
    assert write_day(tmp_path / "day", seen[::2] if len(seen) > 9000 else seen, episodes) > 1000
    assert len(opened(tmp_path / "day")) <= 1


def test_most_intrusions_are_found_and_each_is_one_incident(tmp_path: Path) -> None:
    rng = random.Random(7)
    episodes = [
        INTRUSIONS[kind][0](rng, SERVER if kind == "scan" else f"10.77.3.{number + 1}", T0 + 40_000 + 900 * number)
        for number, kind in enumerate(("dga", "tunnel", "exfiltration", "download", "scan"))
    ]
    write_day(tmp_path / "day", [], episodes)
    told = opened(tmp_path / "day")
    found = {client for line in told for client in line["clients"]}
    assert len({episode.track.client for episode in episodes} & found) >= 4 and len(told) <= 6


def test_a_day_as_written_is_read_back_record_for_record(tmp_path: Path) -> None:
    track = Track("10.77.1.2")
    track.lookup(T0 + 1, "a.example.com", "TXT", ("x",))
    track.lookup(T0 + 2, "gone.example.net", failed=True)
    track.request(T0 + 3, "203.0.113.5", "/a?b=c", "curl/8", host="a.example.com", method="POST", out=12)
    track.tls(T0 + 4, "203.0.113.6", "b.example.org")
    track.connect(T0 + 5, "203.0.113.7", 4444, 0, 0)
    assert write_day(tmp_path / "day", track.seen, []) == len(track.seen)
    back = read_day(tmp_path / "day", None)
    names = ("kind", "time_us", "client", "server", "port", "name", "failed", "uri", "agent")
    facts, kept = ([[getattr(one, name) for name in names] for one in seen] for seen in (back, track.seen))
    assert sorted(facts) == sorted(kept)
    assert json.loads((tmp_path / "day" / "logs" / "dns.log").read_text().splitlines()[1])["rcode_name"] == "NXDOMAIN"
