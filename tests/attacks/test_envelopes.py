"""Lines of JSON in which many records stand in a wide envelope: memory and work follow the bytes, not records times fields."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from edge_demist.sensor.detect.mapping import FieldMapping, load_rules
from edge_demist.sensor.sources.event_times import other_time_in
from edge_demist.sensor.sources.parser import LineParser

MANY = 1500
WIDE = {f"k{i}": 1 for i in range(MANY)} | {"time": "2026-01-02T03:04:05Z"}
BARE = {"CommandLine": "id"}
SHAPES = {
    "a list": {"records": [BARE] * MANY},
    "lists in a list": {"records": [{"records": [BARE]}] * MANY},
    "envelopes in a list": {"records": [{"n": 1, "event": {"m": 2, **BARE}}] * MANY},
    "objects of any name": {"records": [{"x": {"y": BARE}}] * MANY},
    "a text": {"message": json.dumps({"message": json.dumps({"records": [BARE] * MANY})})},
    "a stream": {"stream": {}, "values": [["1767323045000000000", json.dumps(BARE)]] * MANY},
}


def read(body: dict[str, object]) -> object:
    return LineParser("x.log").parse(json.dumps(WIDE | body, separators=(",", ":")).encode())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_many_records_share_a_wide_envelope(shape):
    tracemalloc.start()
    try:
        record = read(shape)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 16 << 20  # a copy of the envelope for each record took 150 MB
    assert len(record.parts) == MANY and {part.time_us for part in record.parts[::100]} == {1767323045_000_000}
    assert record.parts[0].values("CommandLine") == ["id"]


def test_an_envelope_is_looked_through_once(monkeypatch):
    record = read({"records": [{"event": {"m": 2}}] * MANY})
    mapping, looked = FieldMapping(load_rules(), ["cmdline"]), []
    monkeypatch.setattr(mapping, "_elsewhere", lambda record: looked.append(id(record.data)) or [])
    for part in record.parts:
        assert mapping.apply(part) == "no-string"
    assert looked.count(id(record.data)) <= 1


def test_the_nearest_envelope_lends_first():
    inner = {"time": "2026-01-01T00:00:00Z", "data": [BARE, BARE | {"ts": 1.5e9}]}
    body = {"records": [inner, {"data": [BARE]}], "time": "2026-03-03T00:00:00Z"}
    record = LineParser("x.log").parse(json.dumps(body).encode())
    assert [part.time_us for part in record.parts] == [1767225600_000_000, 1500000000_000_000, 1772496000_000_000]


def test_few_fields_are_looked_at_for_a_time_that_nobody_named():
    assert other_time_in({f"k{i}": 1 for i in range(64)} | {"sent_at": "2026-01-02T03:04:05Z"}) is None
