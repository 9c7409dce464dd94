"""The short way over a portion of Zeek lines gives what the long way gives."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.detect.columns import Table, read_columns, read_table
from edge_demist.sensor.detect.mapping import FieldMapping, load_rules
from edge_demist.sensor.incidents.lookups import lookup, observe_lookups, reads_lookups
from edge_demist.sensor.incidents.observation import observe
from edge_demist.sensor.sources.lines import RawLine
from edge_demist.sensor.sources.parser import LineParser
from edge_demist.sensor.sources.zeek import ZeekRecord
from tests.sensor.test_screening import screened, watch

HEADER = "#separator \\x09\n#path\tdns\n#fields\tts\tuid\tquery\tanswers\n#types\ttime\tstring\tstring\tvector[string]\n"
MAPPING = FieldMapping(load_rules(), ["dga"])
TIMES = st.one_of(
    st.sampled_from(
        ["1700000000.123456", "0000000000.000000", "1700000000.12345", "17000000001.12345", "1700000000,123456", "-", "", "1.5e9"]
    ),
    st.integers(0, 10**10 - 1).map(lambda n: f"{n:010}.{n % 10**6:06}"),
)
NAMES = st.one_of(
    st.sampled_from(["example.com", "-", "(empty)", "", "a\\x09b", "a\\\\b", "b\u00fccher.example", "nul\0", "x" * 9000]),
    st.text("ab.-\\\u00fc\udc80 ", max_size=12),
)
LINES = st.one_of(
    st.builds("{}\tC1\t{}\t{}".format, TIMES, NAMES, st.sampled_from(["-", "192.0.2.1", "a\r", ""])),
    st.builds("{}\t{}".format, TIMES, NAMES),
    st.builds("{}\tC1\t{}\t-\t-".format, TIMES, NAMES),
    st.text(" \t\r#1a{}", max_size=6),
)


def raw_lines(texts: list[str]) -> list[RawLine]:
    """Lines as a file would hand them out."""
    found, start = [], 0
    for text in texts:
        data = text.encode("utf-8", "surrogateescape")
        found.append(RawLine(start, start + len(data) + 1, data))
        start += len(data) + 1
    return found


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(LINES, max_size=8))
def test_what_is_read_in_columns_is_what_the_parser_reads(texts: list[str]) -> None:
    parser, mapping = LineParser("dns.log"), MAPPING
    for line in HEADER.splitlines():
        parser.parse(line.encode())
    assert parser.header is not None
    column = mapping.only_column(parser.header, parser.log)
    assert column is not None and column.name == "query"
    lines = raw_lines(texts)
    found = read_columns(lines, parser.header, column.number)
    assert len(found) == len(lines)
    for line, one in zip(lines, found, strict=True):
        if one is not None:
            record = parser.parse(line.data or b"")
            assert isinstance(record, ZeekRecord) and record.log == parser.log
            strings = mapping.apply(record)
            assert not isinstance(strings, str)
            assert (mapping.time_us(record), [string.text for string in strings]) == (one[0], [one[1]])


LOOKUP_HEADER = (
    "#separator \\x09\n#set_separator\t,\n#path\tdns\n"
    "#fields\tts\tid.orig_h\tid.resp_h\tid.resp_p\tquery\tqtype_name\trcode_name\tanswers\n"
    "#types\ttime\taddr\taddr\tport\tstring\tstring\tstring\tvector[string]\n"
)
LOOKUPS = st.builds(
    "\t".join,
    st.tuples(
        TIMES,
        st.sampled_from(["10.0.0.1", "fe80::1", "-", "", "x" * 600]),
        st.sampled_from(["10.0.0.53", "-"]),
        st.sampled_from(["53", "5353", "-", "many", "9" * 30]),
        st.one_of(NAMES, st.sampled_from(["Example.COM.", "[::1]", "host:8080", "."])),
        st.sampled_from(["A", "-", "T" * 40]),
        st.sampled_from(["NOERROR", "NXDOMAIN", "-"]),
        st.sampled_from(["-", "192.0.2.1", "192.0.2.1,a.example,-,,(empty)", ",".join(["1.2.3.4"] * 20), "TXT 3 a\\x2cb", "", "a\r"]),
    ),
)


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(LOOKUPS, max_size=8))
def test_what_lines_say_together_is_what_each_says(texts: list[str]) -> None:
    parser = LineParser("dns.log")
    for line in LOOKUP_HEADER.splitlines():
        parser.parse(line.encode())
    header, lines = parser.header, raw_lines(texts)
    assert header is not None
    assert reads_lookups(header, parser.log)
    table = read_table(lines, header) or Table((), (), (), [], len(header.fields), 0)
    found = observe_lookups(table, header, "dns.log") if table.numbers else []
    times = dict(enumerate(one and one[0] for one in read_columns(lines, header, 4)))
    for n, time_us, text, seen in zip(table.numbers, table.times, table.column(4), found, strict=True):
        line = lines[n]
        assert seen is None or (times[n], from_bytes((line.data or b"").split(b"\t")[4])) == (time_us, text)
        if seen is not None:
            record = parser.parse(line.data or b"")
            assert isinstance(record, ZeekRecord)
            alone = observe(record, time_us)
            assert alone is not None
            alone.file, alone.offset = "dns.log", line.start
            assert lookup(seen).whole() == alone
            assert (lookup(seen).domain, lookup(seen).chars) == (alone.domain, alone.chars)


def test_an_ordinary_line_is_read_in_columns() -> None:
    parser = LineParser("dns.log")
    for line in HEADER.splitlines():
        parser.parse(line.encode())
    assert parser.header is not None
    lines = raw_lines(
        ["1700000000.123456\tC1\texample.com\t-", "1700000000.123456\tC1\t-\t-", "1700000001.000001\tC2\tb\u00fc.example\ta\r"]
    )
    assert read_columns(lines, parser.header, 2) == [
        (1_700_000_000_123_456, "example.com"),
        None,
        (1_700_000_001_000_001, "b\u00fc.example"),
    ]


@functools.cache
def between() -> float:
    """A cut that dga's first score of made names passes and that of ordinary ones does not, whatever the head's scale."""
    names = ["xjwqpvkzhq.info", "qzvkxwjhtp.biz", "kqxzvwpjtr.info", "mail3.example.org", "www.shop.5.example.org", "cdn7.example.org"]
    first = screened(0.0).first_scores(names, ["dga"])[:, 0]
    assert first[:3].min() > first[3:].max()
    return float(first[:3].min() + first[3:].max()) / 2


@pytest.mark.parametrize("budget", [(), ("3",)])
def test_a_log_gives_the_same_events_and_counts_either_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: tuple[str, ...]
) -> None:
    names = [f"{word}{n}.example.org" for n in range(60) for word in ("mail", "WWW.shop.", "b\u00fccher")]
    names[40::20] = ["-", "(empty)", "a\\x09b.example", "xjwqpvkzhq.info", "qzvkxwjhtp.biz", "kqxzvwpjtr.info", "www.wvjxqkzpht.info"]
    lines = [f"{1700000000 + 700 * n}.{n:06}\tC{n}\t{name}\t-" for n, name in enumerate(names)]
    lines[90:90] = ["#fields\tts\tuid\tanswers\tquery", "1700063000.000001\tC9\t-\tzkqvxjwpth.info", "broken", *HEADER.splitlines()]
    lines[30:30] = ["1600000000.000000\tCold\told.example\t-", "1900000000.000000\tCfar\tfar.example\t-", "#close\tnever"]
    log = tmp_path / "dns.log"
    log.write_text(HEADER + "\n".join(lines), encoding="utf-8")
    options = {"budget": Budget.parse(budget), "batch_strings": 32}
    quick = watch(tmp_path / "a", log, cut=between(), **options)
    monkeypatch.setattr(FieldMapping, "only_column", lambda *_: None)
    slow = watch(tmp_path / "a", log, cut=between(), **options)
    for _, summary in (quick, slow):
        for changing in ("seconds", "cache", "started", "duration_s", "latency"):
            summary.pop(changing, None)
    assert quick[0] and quick[0] == slow[0]
    assert json.dumps(quick[1], sort_keys=True) == json.dumps(slow[1], sort_keys=True)


@pytest.mark.parametrize("state", [False, True])
def test_a_log_gives_the_same_incidents_either_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: bool) -> None:
    names = [f"{word}{n}.example.org" for n in range(60) for word in ("mail", "www.shop.", "cdn")]
    names[20::4] = [f"{'qxzvkjwp'[n % 8]}{'hfwjqzxk'[n // 8]}zkqvxjwpth{n}.info" for n in range(len(names[20::4]))]
    rows = [f"10.0.0.{1 + n % 2}\t10.0.0.53\t53\t{name}\tA\t{'NXDOMAIN' if n % 2 else 'NOERROR'}" for n, name in enumerate(names)]
    lines = [f"{1700000000 + 7 * n}.{n:06}\t{row}\t{'192.0.2.1,192.0.2.2' if n % 5 else '-'}" for n, row in enumerate(rows)]
    lines[90:90] = ["broken", "1700000300.5\t10.0.0.1\t10.0.0.53\t53\ta\\x09b.example\tA\tNXDOMAIN\t-"]
    log = tmp_path / "dns.log"
    log.write_text(LOOKUP_HEADER + "\n".join(lines), encoding="utf-8")
    more = {"emit": "incidents", "batch_strings": 32}
    quick = watch(tmp_path / "a", log, cut=between(), state=tmp_path / "quick" if state else None, **more)
    monkeypatch.setattr(FieldMapping, "only_column", lambda *_: None)
    slow = watch(tmp_path / "b", log, cut=between(), state=tmp_path / "slow" if state else None, **more)
    for _, summary in (quick, slow):
        for changing in ("seconds", "cache", "started", "duration_s", "latency"):
            summary.pop(changing, None)
    assert quick[0] and quick[0] == slow[0]
    assert json.dumps(quick[1], sort_keys=True) == json.dumps(slow[1], sort_keys=True)


def test_a_table_ends_where_another_header_begins() -> None:
    parser = LineParser("dns.log")
    for line in HEADER.splitlines():
        parser.parse(line.encode())
    assert parser.header is not None
    plain, odd = "1700000000.500000\tC1\ta.example\t-", "1700000000.500000\tC1\ta\\x09b\t-"
    table = read_table(raw_lines([plain, odd, plain, "#close\t2023", plain]), parser.header)
    assert table is not None and list(table.numbers) == [0, 2] and table.column(2) == ["a.example", "a.example"]
    assert read_table(raw_lines(["#separator \\x09", plain]), parser.header) is None
