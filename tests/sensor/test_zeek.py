"""Zeek's ASCII format, against its documentation and an independent writer; ``test_sensor_fields`` has independent readers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.normalizers import to_bytes
from edge_demist.sensor.sources.json_logs import JsonRecord
from edge_demist.sensor.sources.parser import LineParser, log_of_name
from edge_demist.sensor.sources.zeek import ZeekParser, ZeekRecord, unescape
from tests.support.sensor_fakes import RAW, needs_raw, read_log, zeek_log


def records(text: str | bytes, name: str = "x.log") -> list[ZeekRecord | JsonRecord | str]:
    parser = LineParser(name)
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return [r for line in raw.split(b"\n") if (r := parser.parse(line)) is not None]


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        (b"plain", b"plain"),
        (rb"a\x09b", b"a\tb"),
        (rb"\x0A\x0d", b"\n\r"),
        (rb"VMware\\, Inc", rb"VMware\, Inc"),
        (rb"\\x09", rb"\x09"),
        (rb"\\\x41", b"\\A"),
        (rb"\x4", rb"\x4"),
        (rb"\xzz\n", rb"\xzz\n"),
        (b"tail\\", b"tail\\"),
        (rb"\xc3\xa9", "é".encode()),
    ],
)
def test_unescape(raw: bytes, plain: bytes) -> None:
    assert unescape(raw) == plain


def escape_like_zeek(value: bytes, separators: tuple[bytes, ...]) -> bytes:
    """Zeek's ODesc with escaping on: bytes that are not printable ASCII, backslash doubled, separators in hex."""
    out = b""
    for i in range(len(value)):
        byte = value[i : i + 1]
        if byte == b"\\":
            out += b"\\\\"
        elif not 32 <= byte[0] < 127 or any(byte in s for s in separators):
            out += b"\\x%02x" % byte[0]
        else:
            out += byte
    return b"\\x%02x" % value[0] + out[len(out) - len(out[1:]) :] if value in (b"-", b"(empty)") else out


@given(
    values=st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5),
    separator=st.sampled_from([b"\t", b"|", b",", b"^A", b"\x01", b";;"]),
)
def test_any_bytes_survive_a_round_trip_under_any_separator(values: list[bytes], separator: bytes) -> None:
    columns = [f"c{i}" for i in range(len(values))]
    shown = b"".join(b"\\x%02x" % b for b in separator)
    header = b"#separator " + shown + b"\n#set_separator" + separator + b"\\x07" + b"\n#empty_field" + separator + b"(empty)\n"
    header += b"#unset_field" + separator + b"-\n#fields" + separator + separator.join(c.encode() for c in columns) + b"\n"
    line = separator.join(escape_like_zeek(v, (separator, b"#")) for v in values)
    (record,) = records(header + line)
    assert isinstance(record, ZeekRecord)
    assert [to_bytes(record.values(c)[0]) for c in columns] == values
    assert record.row(tuple(columns)) == [record.scalar(c) for c in columns]


@given(st.lists(st.sampled_from([b"-", b"(empty)", b"", b"x", b"\xff\xc3", b"\\x41", b"a\\\\b"]), min_size=3, max_size=3))
def test_fields_read_together_are_what_each_is_alone(values: list[bytes]) -> None:
    log = b"#fields\ta\tb\tlist\n#types\tstring\tstring\tset[string]\n" + b"\t".join(values)
    for record in records(log):
        assert isinstance(record, ZeekRecord)
        for names in (("a", "b"), ("b", "a"), ("a", "list"), ("b", "none"), ("a",)):
            assert record.row(names) == [record.scalar(name) for name in names] == record.row(names)


@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=6))
def test_elements_of_a_set_survive_a_round_trip(elements: list[bytes]) -> None:
    joined = b",".join(escape_like_zeek(e, (b"\t", b",", b"#")) for e in elements)
    header = b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#fields\tv\n#types\tvector[string]\n"
    (record,) = records(header + joined)
    assert isinstance(record, ZeekRecord)
    assert [to_bytes(v) for v in record.values("v")] == elements


def test_unset_and_empty_have_no_strings() -> None:
    log = zeek_log("a b c d e", "- (empty) x,-,(empty),y - (empty)", types="string string set[string] vector[string] set[string]")
    (record,) = records(log)
    assert isinstance(record, ZeekRecord)
    assert [record.values(name) for name in "abcde"] == [[], [], ["x", "y"], [], []]
    assert record.values("unknown") == [] and not record.has("unknown") and record.has("a")


def test_an_escaped_dash_is_a_dash() -> None:
    (record,) = records(zeek_log("query", "\\x2d"))
    assert isinstance(record, ZeekRecord) and record.values("query") == ["-"]


def test_custom_markers_and_separators() -> None:
    log = "#separator \\x2c\n#set_separator,|\n#empty_field,EMPTY\n#unset_field,NIL\n#path,dns\n"
    log += "#fields,ts,query,answers\n#types,time,string,vector[string]\n1.5,a.example,x|y|NIL\n2.5,NIL,EMPTY\n"
    first, second = records(log)
    assert isinstance(first, ZeekRecord) and isinstance(second, ZeekRecord)
    assert first.values("answers") == ["x", "y"] and first.time_us == 1_500_000 and first.log == "zeek.dns"
    assert second.values("query") == [] and second.values("answers") == []


def test_another_meta_prefix() -> None:
    log = "%%separator \\x09\n%%unset_field\t-\n%%path\tdns\n%%fields\tts\tquery\n#1.0\ta.example\n%%close\t2020\n"
    (record,) = records(log)
    assert isinstance(record, ZeekRecord) and record.values("query") == ["a.example"] and record.values("ts") == ["#1.0"]


def test_header_changes_in_mid_file() -> None:
    text = zeek_log("ts query", "1.0 a.example") + zeek_log("ts uid query", "2.0 C1 b.example") + "#close\t2020\n"
    text += "#fields\tquery\nc.example\n"
    assert [r.values("query") for r in records(text) if not isinstance(r, str)] == [["a.example"], ["b.example"], ["c.example"]]


def test_a_new_separator_line_forgets_the_old_header() -> None:
    text = zeek_log("ts query", "1.0 a.example") + "#separator |\n#fields|query|ts\nb.example|3.0\n"
    last = records(text)[-1]
    assert isinstance(last, ZeekRecord) and last.values("query") == ["b.example"] and last.time_us == 3_000_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [("1.0", "field-count"), ("1.0\ta\tb", "field-count"), ("1.0\ta\0b", "corrupt"), ("\0\0\0\0", "corrupt")],
)
def test_damaged_lines_are_named(line: str, reason: str) -> None:
    assert records(zeek_log("ts query") + line) == [reason]


def test_lines_without_header() -> None:
    assert records("1.0\ta.example\n") == ["no-header"]


def test_windows_newlines_and_a_byte_order_mark() -> None:
    text = "\ufeff" + zeek_log("ts query", "1.0 a.example").replace("\n", "\r\n")
    (record,) = records(text)
    assert isinstance(record, ZeekRecord) and record.values("query") == ["a.example"]


def test_the_bare_form_of_the_writer() -> None:
    (record,) = records("ts\tuid\tquery\n1.0\tC1\ta.example\n", "dns.log")
    assert isinstance(record, ZeekRecord) and record.values("query") == ["a.example"] and record.log == "zeek.dns"


@pytest.mark.parametrize(("fields", "log"), [("ts uid query", "zeek.dns"), ("ts uid host uri", "zeek.http"), ("ts odd", "zeek.unknown")])
def test_without_path_and_a_telling_name_the_fields_tell_the_log(fields: str, log: str) -> None:
    text = zeek_log(fields, *[" ".join("v" for _ in fields.split())]).replace("#path\tdns\n", "")
    (record,) = records(text, "export.log")
    assert not isinstance(record, str) and record.log == log


def test_json_after_a_tsv_header_is_still_json() -> None:
    last = records(zeek_log("ts query") + '{"_path":"dns","query":"a.example"}')[-1]
    assert isinstance(last, JsonRecord) and last.values("query") == ["a.example"]


def test_state_goes_through_a_checkpoint() -> None:
    parser, again = ZeekParser(), ZeekParser()
    for line in zeek_log("ts query\\x2d").splitlines():
        parser.feed_meta(line.encode())
    again.restore(parser.state())
    assert again.header == parser.header and again.header is not None and again.header.fields == ("ts", "query-")
    fresh = ZeekParser()
    fresh.restore({})
    assert fresh.header is None


@pytest.mark.parametrize(
    ("name", "log"),
    [
        ("dns.log", "zeek.dns"),
        ("dns.2024-01-01-00-00-00.log.gz", "zeek.dns"),
        ("http-20240101.log", "zeek.http"),
        ("smb_files.log", "zeek.smb_files"),
        ("zeek-json_http.log.gz", "zeek.http"),
        ("eve.json", ""),
        ("", ""),
    ],
)
def test_log_of_name(name: str, log: str) -> None:
    assert log_of_name(name) == log


@needs_raw
@pytest.mark.parametrize("kind", ["dns", "ssl", "x509", "rdp", "smtp", "software"])
def test_tsv_and_json_of_the_same_traffic_give_the_same_values(kind: str) -> None:
    tsv = [r for r in records(read_log(RAW / f"zeek-tsv_{kind}.log.gz")) if isinstance(r, ZeekRecord)]
    jsn = [r for r in records(read_log(RAW / f"zeek-json_{kind}.log.gz")) if isinstance(r, JsonRecord)]
    header = tsv[0].header
    names = [n for i, n in enumerate(header.fields) if header.types[i] in (b"string", b"vector[string]", b"set[string]")]
    assert len(tsv) == len(jsn) > 0
    for ours, other in zip(tsv, jsn, strict=True):
        assert ours.log == other.log
        assert abs((ours.time_us or 0) - (other.time_us or 0)) <= 1
        for name in names:
            assert ours.values(name) == other.values(name), name
