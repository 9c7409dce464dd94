"""JSON logs: types, paths, times, and everything that is not JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.sensor.sources.json_logs import JsonRecord, classify_object, compile_path, lookup, parse_object
from edge_demist.sensor.sources.parser import LineParser
from edge_demist.sensor.sources.timestamps import format_time, parse_time
from tests.support.sensor_fakes import RAW, needs_raw, read_log


def record(data: dict, name: str = "x.json") -> JsonRecord:
    parsed = LineParser(name).parse(json.dumps(data).encode())
    assert isinstance(parsed, JsonRecord)
    return parsed


@pytest.mark.parametrize(
    ("data", "name", "log"),
    [
        ({"_path": "dns", "ts": 1.0, "query": "a"}, "x.log", "zeek.dns"),
        ({"event_type": "tls", "timestamp": "2020-01-01T00:00:00Z"}, "eve.json", "eve.tls"),
        ({"ts": 1.0, "uid": "C", "query": "a"}, "dns.log", "zeek.dns"),
        ({"ts": 1.0, "uid": "C", "query": "a", "qtype": 1}, "x.log", "zeek.dns"),
        ({"ts": 1.0, "uid": "C", "method": "GET", "uri": "/"}, "stream.json", "zeek.http"),
        ({"ts": 1.0, "fuid": "F", "analyzers": [], "filename": "a"}, "x", "zeek.files"),
        ({"ts": 1.0, "host": "10.0.0.1", "software_type": "HTTP::SERVER"}, "x", "zeek.software"),
        ({"ts": 1.0, "uid": "C", "whatever": 1}, "x", "zeek.unknown"),
        ({"ts": 1.0, "uid": "C", "query": "a"}, "x", "zeek.dns"),
        ({"ts": 1.0, "uid": "C", "server_name": "a"}, "x", "zeek.ssl"),
        ({"ts": 1.0, "uid": "C", "uri": "/", "method": "INVITE", "call_id": "i", "seq": "1"}, "x", "zeek.sip"),
        ({"event_type": "dns", "dns": {"rrname": "a.example"}}, "x", "eve.dns"),
        ({"event_type": "dns"}, "x", "host"),
        ({"CommandLine": "cmd"}, "sysmon.json", "host"),
        ({"event_type": "process_creation", "timestamp": "2020-01-01T00:00:00Z", "CommandLine": "cmd"}, "edr.json", "host"),
        ({"event_type": "stats", "timestamp": "2020-01-01T00:00:00Z", "stats": {}}, "eve.json", "eve.stats"),
        ({"@timestamp": "2020-01-01T00:00:00Z", "process": {"command_line": "id"}}, "x", "host"),
    ],
)
def test_the_log_type_of_an_object(data: dict, name: str, log: str) -> None:
    assert record(data, name).log == log


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "bad-json"),
        (b'{"a":1', "bad-json"),
        (b'{"a":1}{"b":2}', "bad-json"),
        (b'{"a":\x00}', "corrupt"),
        (b"[1]", "not-an-object"),
        (b'"text"', "not-an-object"),
        (b"[" * 100_000, "bad-json"),
        (b'{"a":' * 100_000, "bad-json"),
        (b'{"a":' + b"9" * 100_000 + b"}", None),
        (b'{"a":"\xff\xfe"}', None),
    ],
)
def test_lines_that_are_not_objects(line: bytes, reason: str | None) -> None:
    parsed = parse_object(line)
    assert parsed == reason if reason else isinstance(parsed, dict)


def test_paths() -> None:
    data = {"a": {"b": [{"c": "x", "n": "1"}, {"c": "y", "n": "2"}, "z"]}, "a.b": "flat", "n": None, "list": ["p", 1, "", "q"]}
    rec = classify_object(data, "")
    assert rec.values("a.b") == ["flat"]
    assert rec.values("a.b[].c") == ["x", "y"]
    assert rec.values("a.b[n=2].c") == ["y"]
    assert rec.values("list[]") == rec.values("list") == ["p", "q"]
    assert rec.values("n") == rec.values("a.z.q") == rec.values("missing") == []
    assert rec.scalar("list") == "p" and not rec.has("n") and rec.has("a.b[].c")


def test_header_lists_of_http2() -> None:
    headers = [{"name": ":authority", "value": "h.example"}, {"name": "User-Agent", "value": "curl"}]
    rec = classify_object({"http": {"request_headers": headers}}, "")
    assert rec.values("http.request_headers[name=:authority].value") == ["h.example"]
    assert rec.values("http.request_headers[name=user-agent].value") == ["curl"]


@pytest.mark.parametrize("path", ["a[", "a]b", "[]", "a[b", "a[b=c"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(ValueError, match="field name"):
        compile_path(path)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@given(_json, st.sampled_from(["a", "a.b", "a[].b", "a[b=c].d", "dns.queries[].rrname", ""]))
def test_lookup_takes_any_object(value: object, path: str) -> None:
    data = {"a": value, "dns": value}
    found = lookup(data, path)
    assert isinstance(found, list) and None not in [v for v in found if path == "dns"]


@pytest.mark.parametrize(
    ("value", "us"),
    [
        ("1521911720.865716", 1521911720865716),
        (1521911720.865716, 1521911720865716),
        (1521911720865, 1521911720865000),
        (1521911720, 1521911720000000),
        ("2018-03-24T17:15:20.865716Z", 1521911720865716),
        ("2018-03-24T11:15:20.865716-0600", 1521911720865716),
        ("2018-03-24T17:15:20.865716", 1521911720865716),
        ("XXXXXXXXXX.XXXXXX", None),
        ("-", None),
        ("", None),
        (True, None),
        (None, None),
        (-5, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**30, None),
        ("9" * 5000, None),
        ("9999-99-99T00:00:00Z", None),
        ("\u0661\u0662.\u0663", None),
        ({}, None),
    ],
)
def test_times(value: object, us: int | None) -> None:
    assert parse_time(value) == us


@given(st.integers(min_value=0, max_value=253_402_300_799_000_000))
def test_times_go_round(us: int) -> None:
    assert parse_time(format_time(us)) == us
    assert parse_time(f"{us // 1_000_000}.{us % 1_000_000:06d}") == us


@given(st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC)))
def test_times_agree_with_datetime(moment: datetime) -> None:
    assert format_time(parse_time(moment.isoformat()) or 0)[:26] == moment.isoformat(timespec="microseconds")[:26]


@needs_raw
def test_eve_values_equal_those_of_pandas() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    raw = read_log(RAW / "suricata_eve.json.gz")
    frame = pandas.json_normalize([json.loads(line) for line in raw.splitlines()])
    ours = [LineParser("eve.json").parse(line) for line in raw.splitlines()]
    assert len(frame) == len(ours) == 205
    for name in ("http.url", "http.hostname", "http.http_user_agent", "tls.sni", "tls.subject", "alert.signature"):
        theirs = [[v] if isinstance(v, str) and v else [] for v in frame.get(name, [None] * len(ours))]
        assert [r.values(name) for r in ours if isinstance(r, JsonRecord)] == theirs


@needs_raw
def test_zeek_json_is_read_whole() -> None:
    raw = read_log(RAW / "zeek-json_dns.log.gz").splitlines()
    parsed = [LineParser("dns.log").parse(line) for line in raw]
    assert all(isinstance(r, JsonRecord) and r.log == "zeek.dns" and r.time_us for r in parsed) and len(parsed) == 9000
