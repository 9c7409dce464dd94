"""What records can make incidents hold: keys, texts that wait, numbers beyond all numbers."""

from __future__ import annotations

import json

import pytest

from edge_demist.sensor.incidents import book
from edge_demist.sensor.incidents.observation import Observation, observe
from edge_demist.sensor.incidents.stage import bundle_weights
from edge_demist.sensor.incidents.tracker import Tracker
from edge_demist.sensor.sources.parser import LineParser

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
    tracker = Tracker(bundle_weights(None), "model")
    for number in range(1000):
        host = f"h{number}.evil{number}.info"
        seen = Observation("http", (1_700_000_000 + number) * 1_000_000, "10.0.0.1", f"93.184.{number // 250}.{number % 250}", 80, host)
        seen.uri, seen.method, seen.status = "/a.exe", "POST", 200
        seen.levels = {"hostname-threat": 3, "dga": 3, "url-phishing": 3}
        tracker.add(seen)
    lines = tracker.release(None)
    state = json.dumps(tracker.state()["book"])
    assert next(line["status"] for line in lines) == "opened"
    assert len(tracker.book) == 1 and 0 < state.count(r"host\u0000") <= 64
