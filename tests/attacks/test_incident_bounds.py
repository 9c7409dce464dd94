"""What records can make incidents hold: keys, texts that wait, numbers beyond all numbers."""

from __future__ import annotations

import hashlib
import json

import pytest

from edge_demist import EdgeDemist
from edge_demist.errors import IntegrityError
from edge_demist.sensor.incidents import book, gather, tracker
from edge_demist.sensor.incidents.observation import Observation, observe
from edge_demist.sensor.incidents.stage import bundle_weights
from edge_demist.sensor.incidents.tracker import Tracker
from edge_demist.sensor.incidents.weights import DEFAULT
from edge_demist.sensor.sources.parser import LineParser
from tests.support.tiny_bundle import write_tiny_bundle

T0_US = 1_700_000_000_000_000
NUMBERS = ("1" + "0" * 400, "1e400", "-1e400", '"1e999"', '"nan"', "true", "[1]", '"' + "9" * 5000 + '"', "null")


@pytest.mark.parametrize("name", ["duration", "orig_bytes", "resp_bytes", "id.resp_p"])
@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_beyond_all_numbers_are_none(name, number):
    usual = {"_path": "conn", "ts": 1700000000.0, "id.orig_h": "10.0.0.1", "id.resp_h": "1.2.3.4", "proto": "tcp"}
    line = json.dumps(usual)[:-1] + f', "{name}": {number}}}'
    record = LineParser("conn.log").parse(line.encode())
    assert record is not None and not isinstance(record, str)
    seen = observe(record, record.time_us)
    assert seen is not None
    again = json.loads(json.dumps(seen.state(), allow_nan=False))
    assert Observation.restored(again) == seen


def test_one_client_of_very_many_hosts_takes_bounded_memory(monkeypatch):
    monkeypatch.setattr(book, "MAX_KEYS", 64)
    one = Tracker(bundle_weights(None), "model")
    for number in range(1000):
        host = f"h{number}.evil{number}.info"
        seen = Observation("http", (1_700_000_000 + number) * 1_000_000, "10.0.0.1", f"93.184.{number // 250}.{number % 250}", 80, host)
        seen.uri, seen.method, seen.status = "/a.exe", "POST", 200
        seen.levels = {"hostname-threat": 3, "dga": 3, "url-phishing": 3}
        one.add(seen)
    lines = one.release(None)
    state = json.dumps(one.state()["book"])
    assert next(line["status"] for line in lines) == "opened"
    assert len(one.book) == 1 and 0 < state.count(r"host\u0000") <= 64


def test_what_waits_for_older_records_is_bounded_by_characters(monkeypatch):
    monkeypatch.setattr(tracker, "MAX_WAITING_CHARS", 100_000)
    many = Tracker(bundle_weights(None), "model")
    decided: list[int] = []
    many.on_observation = lambda seen: decided.append(seen.time_us)
    for number in range(200):
        seen = Observation("http", T0_US + number, "10.0.0.1", "93.184.0.1", 80, "a.example", uri="/" + "x" * 2000, answers=("y" * 500,))
        many.add(seen)
        many.release(T0_US - 1)  # another file is behind
    assert decided == sorted(decided) and 140 < len(decided) < 200
    assert len(json.dumps(many.state()["waiting"])) < 200_000
    again = Tracker(bundle_weights(None), "model")
    again.restore(json.loads(json.dumps(many.state())))
    many.release(None)
    assert len(decided) == 200
    assert again.state()["waiting"] != [] and len(again.release(None)) == 0


def test_very_many_clients_that_ask_for_mail_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(gather, "MAX_MAIL", 50)
    many = Tracker(bundle_weights(None), "model")
    for number in range(400):
        client = f"10.0.0.{number % 20}"
        many.add(Observation("dns", T0_US + number, client, "10.0.0.53", 53, f"d{number}.com", query_type="MX"))
    many.release(None)
    held = [names.mail for _, names in many.gatherer.names.items()]
    assert sum(map(len, held)) == 50 and all("d399.com" not in mail or len(mail) > 1 for mail in held)
    again = Tracker(bundle_weights(None), "model")
    again.restore(json.loads(json.dumps(many.state())))
    again.add(Observation("dns", T0_US + 999, "10.0.0.1", "10.0.0.53", 53, "last.com", query_type="TXT"))
    again.release(None)
    held = [names.mail for _, names in again.gatherer.names.items()]
    assert sum(map(len, held)) == 50 and not any("d350.com" in mail for mail in held)


def test_weights_that_no_manifest_lists_are_not_read(tmp_path):
    folder = tmp_path / "bundle"
    write_tiny_bundle(folder)
    weights = json.loads(DEFAULT.read_text())
    own = json.dumps(weights | {"version": "planted", "open": 50.0}).encode()
    (folder / "incidents.json").write_bytes(own)
    with EdgeDemist.load(folder) as model:
        assert bundle_weights(model.bundle) == bundle_weights(None)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["incidents.json"] = {"bytes": len(own), "sha256": hashlib.sha256(own).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with EdgeDemist.load(folder) as model:
        assert bundle_weights(model.bundle).version == "planted"
        (folder / "incidents.json").write_bytes(own.replace(b"planted", b"swapped"))
        with pytest.raises(IntegrityError):
            bundle_weights(model.bundle)
