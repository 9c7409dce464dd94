"""Look-ups that are read in columns decide what the same observations do, one by one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.sensor.detect.columns import read_table
from edge_demist.sensor.detect.scoring import Answer
from edge_demist.sensor.incidents.gather import Limits
from edge_demist.sensor.incidents.lookups import packed, to_observation, unpacked
from edge_demist.sensor.incidents.tracker import Tracker
from edge_demist.sensor.incidents.verdicts import Verdicts
from edge_demist.sensor.incidents.weights import load_weights
from edge_demist.sensor.sources.lines import LineSplitter
from edge_demist.sensor.sources.parser import LineParser
from tests.support.sensor_fakes import zeek_log

FIELDS = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p query qtype_name rcode_name answers"
T0_US = 1_700_000_000_000_000
THRESHOLDS = {task: {"fpr": {"0.01": 0.2, "0.001": 0.5, "0.0001": 0.9}} for task in ("dga", "hostname-threat")}
NAMES = st.sampled_from(
    [
        "a.example",
        "www.a.example",
        "b.www.a.example",
        "B.Example.",
        "myip.example",
        "host.lan",
        "com",
        ".",
        "x..example",
        "a.b.ck",
        "\u00fc.example",
    ]
)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 8_000),
        st.sampled_from(["10.0.0.1", "10.0.0.2", "-"]),
        st.one_of(NAMES, st.from_regex(r"[a-z0-9]{1,3}\.[bc]\.example", fullmatch=True)),
        st.sampled_from(["A", "A", "A", "AAAA", "TXT", "MX", "-"]),
        st.sampled_from(["NOERROR", "NOERROR", "NXDOMAIN", "-"]),
        st.sampled_from(["-", "192.0.2.1", "192.0.2.1,alias.example,-", "127.0.0.2", "2001:db8::1"]),
        st.sampled_from(["", "", "", "dga", "hostname-threat", "dns-tunnel"]),
        st.sampled_from([0.3, 0.95]),
    ),
    max_size=40,
)


def tracker() -> Tracker:
    return Tracker(load_weights(), "model", verdicts=Verdicts(THRESHOLDS), limits=Limits(3, 3, 3, 3, 3))


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, mark=st.integers(0, 9_000))
def test_rows_decide_what_observations_do(rows: list[tuple], mark: int) -> None:
    lines = [
        f"{1_700_000_000 + at} C {who} 5353 10.0.0.53 53 {name} {kind} {code} {answers}" for at, who, name, kind, code, answers, *_ in rows
    ]
    parser, data = LineParser("dns.log"), zeek_log(FIELDS, *(line.replace(" ", ".000000 ", 1) for line in lines)).encode()
    raw = [line for line in LineSplitter().feed(data) if line.data is not None and parser.parse(line.data) is not None]
    header = parser.header
    assert header is not None and len(raw) == len(rows)
    together, alone, away = tracker(), tracker(), tracker()
    table = read_table(raw, header)
    assert together.reads(header, parser.log) and (table is not None or not rows)
    found = together.see_table(table, header, "dns.log") if table is not None else []
    assert table is None or list(table.numbers) == list(range(len(raw)))
    for line, time_us, seen, (*_, task, score) in zip(raw, table.times if table else (), found, rows, strict=True):
        if seen is None:
            continue
        own = alone.see(parser.parse(line.data or b""), time_us, "dns.log", line.start)  # type: ignore[arg-type]
        if task:
            answer = Answer("x", score, score, truncated=False)
            together.note(seen, task, answer)
            alone.note(own, task, answer)
    assert together.state() == alone.state()
    for row in together.state()["waiting"]:  # type: ignore[attr-defined]
        away.add(unpacked(tuple(row)))
    until_us = T0_US + mark * 1_000_000
    told = [one.release(until_us) for one in (together, alone, away)]
    assert told[0] == told[1] == told[2] and together.state() == alone.state()
    assert together.finish() == alone.finish() and together.state() == alone.state()


def test_a_row_goes_through_a_pipe() -> None:
    parser = LineParser("dns.log")
    data = zeek_log(FIELDS, "1700000000.000000 C 10.0.0.1 5353 10.0.0.53 53 www.a.example A NOERROR 192.0.2.1").encode()
    raw = [line for line in LineSplitter().feed(data) if line.data is not None and parser.parse(line.data) is not None]
    assert parser.header is not None
    table = read_table(raw, parser.header)
    assert table is not None and list(table.times) == [T0_US]
    (seen,) = tracker().see_table(table, parser.header, "dns.log")
    assert seen is not None
    own = to_observation(seen)
    assert unpacked(packed(seen)) == seen and unpacked(packed(own)) == replace(own)
