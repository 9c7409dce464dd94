"""Hostile logs: nothing in a log line can crash the parsers, grow memory, or write anything but its own escaped text."""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_demist.normalizers import from_bytes, to_bytes
from edge_demist.sensor.detect.alarms import AlarmPolicy
from edge_demist.sensor.detect.mapping import FieldMapping, load_rules
from edge_demist.sensor.events import Event, Origin, origin_of, text_fields
from edge_demist.sensor.sinks.file import _identity
from edge_demist.sensor.sinks.formats import FORMATS, ZEEK_FIELDS, lines, syslog
from edge_demist.sensor.sources.json_logs import JsonRecord
from edge_demist.sensor.sources.parser import LineParser
from tests.support.sensor_fakes import DATA, balanced, read_log, watch_once, zeek_log
from tools.sensor.fake_model import ALARM_TASKS, CATEGORY_TASKS

MAPPING = FieldMapping(load_rules(), ALARM_TASKS + CATEGORY_TASKS, embeddings=True)
SEEDS = [line for path in sorted((DATA / "logs").glob("*[gn]")) for line in read_log(path).split(b"\n") if line]
NASTY = [b"\x1b[31m", b"\r\n", b"\t", b"\0", b"\\x0a", b"\\", b'"', b"\xff\xfe", "\u202e".encode(), b"\x9b2J", b"#fields\t", b"\\u0000"]


def take(parser: LineParser, line: bytes) -> str:
    """What the sensor does with a line, up to the model; tells what became of it."""
    record = parser.parse(line)
    if record is None:
        return "header"
    if isinstance(record, str):
        assert re.fullmatch(r"[a-z-]{3,20}", record)
        return record
    found = MAPPING.apply(record)
    origin_of(record, "dns.log", 0)
    if not isinstance(found, str):
        for mapped in found:
            assert isinstance(to_bytes(mapped.text), bytes)
    return "record"


def mutate(line: bytes, chance: random.Random) -> bytes:
    """A line with a few things wrong."""
    raw = bytearray(line)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(raw))
        roll = chance.random()
        if roll < 0.3:
            raw[at:at] = chance.choice(NASTY)
        elif roll < 0.5:
            del raw[at : at + chance.randint(1, 20)]
        elif roll < 0.7 and raw:
            raw[at % len(raw)] = chance.randrange(256)
        elif roll < 0.85:
            raw[at:at] = bytes(raw[: chance.randint(0, 60)])
        else:
            raw[at:at] = chance.choice([b"[", b"{", b'"', b":", b","]) * chance.randint(1, 3000)
    return bytes(raw).replace(b"\n", b" ")


def test_a_hundred_thousand_damaged_lines() -> None:
    chance, outcomes = random.Random(11), Counter[str]()
    for number in range(100_000):
        if number % 1000 == 0:
            parsers = [LineParser("dns.log"), LineParser("eve.json")]
        outcomes[take(parsers[number % 2], mutate(chance.choice(SEEDS), chance))] += 1
    assert sum(outcomes.values()) == 100_000
    assert min(outcomes[kind] for kind in ("header", "record", "bad-json", "field-count", "corrupt")) > 500, outcomes


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=120) | st.sampled_from(SEEDS), max_size=8))
def test_any_bytes_are_lines(parts: list[bytes]) -> None:
    parser = LineParser("x.log")
    for line in b"".join(parts).split(b"\n"):
        take(parser, line)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_separator_line_is_a_header_or_data(tail: bytes) -> None:
    parser = LineParser("x.log")
    for line in (b"#separator " + tail, b"#fields" + tail, b"#types" + tail, tail, b"#set_separator" + tail, tail):
        take(parser, line.replace(b"\n", b""))


def test_tables_of_very_many_fields_and_elements_stay_bounded() -> None:
    parser = LineParser("x.log")
    tracemalloc.start()
    take(parser, b"#fields\t" + b"\t".join(b"f%d" % i for i in range(50_000)))
    take(parser, b"\t".join(b"v" for _ in range(50_000)))
    take(parser, b"#fields\tquery")
    take(parser, b"#types\tset[string]")
    take(parser, b",".join(b"v%d" % i for i in range(100_000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


# --- injection ------------------------------------------------------------------------------------------------------

ORIGIN = Origin(1_500_000, "dns.log", 7, "zeek.dns", {"uid": "C1"}, {"src_ip": "10.0.0.1"})


def event_of(text: str) -> Event:
    return Event(ORIGIN, "0" * 32, "query", text, "dga", "fake", "good", 0.9, 0.1, 0.9)


CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f-\xff]")


TEXTS = st.text(max_size=80) | st.binary(max_size=80).map(from_bytes)


@given(TEXTS | st.lists(st.sampled_from(NASTY)).map(lambda parts: from_bytes(b"".join(parts))))
@example("#\u00e9")  # the first character is escaped apart from the rest
@example("#\udcff\ud800")
def test_no_string_can_forge_a_field_a_line_or_an_escape(text: str) -> None:
    event = event_of(text)
    for name in FORMATS:
        ((identity, line),) = lines([event], name)
        assert line.endswith(b"\n") and line.count(b"\n") == 1 and identity == "0" * 32
        assert not CONTROL.search(line.replace(b"\t", b"")) and (name == "zeek" or b"\t" not in line)
        assert _identity(line[:-1], name) == "0" * 32
    plain = json.loads(lines([event], "jsonl")[0][1])
    assert set(plain) - {"text_base64"} == set(json.loads(lines([event_of("x")], "jsonl")[0][1]))
    assert plain["label"] == "good" and plain["task"] == "dga"
    assert len(lines([event], "zeek")[0][1].split(b"\t")) == len(ZEEK_FIELDS)
    assert not CONTROL.search(syslog(event)) and b"\n" not in syslog(event)


@given(st.binary(max_size=60))
def test_the_exact_bytes_can_be_had_from_an_event(raw: bytes) -> None:
    import base64

    fields = text_fields(from_bytes(raw))
    shown = base64.b64decode(str(fields["text_base64"])) if "text_base64" in fields else str(fields["text"]).encode()
    assert shown == raw


def test_long_strings_are_cut_in_events() -> None:
    for text in ("é" * 100_000, from_bytes(b"\xff" * 100_000)):
        fields = text_fields(text)
        assert len(json.dumps(fields)) < 90_000 and fields["text_bytes"] == len(to_bytes(text))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uid", 'C1","alarm":true,"x":"'),
        ("uid", ["C1"]),
        ("uid", {"a": 1}),
        ("flow_id", 10**40),
        ("flow_id", float("inf")),
        ("src_ip", "10.0.0.1\x1b[2J"),
        ("src_ip", "evil.example"),
        ("src_ip", "fe80::1%eth0\n"),
        ("src_port", 99999999),
        ("src_port", "\u0661"),
        ("src_port", True),
        ("proto", "TCP\n"),
        ("event_id", "forged"),
        ("alarm", True),
        ("timestamp", "2020-01-01T00:00:00Z\n"),
    ],
)
def test_join_fields_of_the_wrong_kind_are_left_out_or_escaped(name: str, value: object) -> None:
    record = JsonRecord({"event_type": "dns", name: value}, "eve.dns")
    origin = origin_of(record, "eve\x1b.json", 1)
    event = Event(origin, "0" * 32, "f", "t", "dga", "fake", "good", 0.9, 0.1, 0.9)
    for form in FORMATS:
        ((_, line),) = lines([event], form)
        assert line.count(b"\n") == 1 and not CONTROL.search(line.replace(b"\t", b""))
    flat = json.loads(lines([event], "jsonl")[0][1])
    assert flat["event_id"] == "0" * 32 and flat["alarm"] is False
    assert not isinstance(flat.get(name), (list, dict, float)) or name == "time"
    if name in ("src_ip", "src_port", "proto", "timestamp"):
        assert name not in flat and flat["time"] is None


def test_injected_header_lines_in_values_do_not_reach_the_header(tmp_path: Path) -> None:
    rows = ["1.5 \\x0a#fields\\x09ts\\x09query\\x0a2.5\\x09forged.example", "2.5 real.example"]
    (tmp_path / "dns.log").write_text(zeek_log("ts query", *rows))
    events, summary = watch_once(tmp_path, tmp_path / "dns.log")
    assert summary["records"] == 2 and balanced(summary)
    assert {e["text"] for e in events} == {"\n#fields\tts\tquery\n2.5\tforged.example", "real.example"}


def test_a_zip_bomb_of_one_line_and_of_many(tmp_path: Path) -> None:
    (tmp_path / "one.log.gz").write_bytes(gzip.compress(b"x" * (24 << 20), 9))
    (tmp_path / "many.log.gz").write_bytes(gzip.compress(b"y\n" * (1 << 14), 9))
    tracemalloc.start()
    _, summary = watch_once(tmp_path, tmp_path / "one.log.gz", tmp_path / "many.log.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary["skipped"] == {"line-too-long": 1, "no-header": 1 << 14} and peak < 20 << 20


def test_names_of_files_cannot_forge_events_either(tmp_path: Path) -> None:
    log = tmp_path / 'a"\x1b[31m\n{"event_id":"f"}.log'
    log.write_text(zeek_log("ts query", "1.5 a.example"))
    events, summary = watch_once(tmp_path, log)
    raw = (tmp_path / "events.jsonl").read_bytes()
    assert len(events) == 4 and raw.count(b"\n") == 4 and b"\x1b" not in raw and balanced(summary)


def test_a_flood_of_alarms_cannot_grow_the_state() -> None:
    policy = AlarmPolicy({"dga": 0.9})
    chance = random.Random(1)
    for number in range(20_000):
        policy.decide("dga", f"{number}" * 50, chance.random(), 1_700_000_000_000_000 + number)
    assert len(json.dumps(policy.state())) < 200_000


def test_atheris_finds_nothing_in_a_short_run() -> None:
    pytest.importorskip("atheris", reason="atheris is not installed")
    import subprocess

    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tools.sensor.fuzz_logs", "-runs=20000", "-seed=1", "-max_len=400", "-timeout=5", "-rss_limit_mb=1500"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Done 20000 runs" in done.stderr


HOSTILE_LINES = {
    "messages in messages": b'{"message":"' + b'{\\"message\\":\\"' * 20_000 + b'"}',
    "half an access log": b"1.2.3.4 - - [" + b"x" * 500_000 + b'] "',
    "names before an access log": b"a" * 500_000 + b'] "',
    "arguments": b"type=EXECVE msg=audit(1700000000.100:1): " + b'a0="' * 100_000,
    "hexadecimal that is none": b"type=PROCTITLE msg=audit(1700000000.100:1): proctitle=" + b"f" * 500_000 + b"g",
    "open elements": b"<Event>" + b'<Data Name="a">' * 30_000 + b"</Event>",
    "tabs before a command": b"CommandLine:" + b"\t" * 500_000,
    "commands": b"CommandLine: " * 40_000,
    "records in records": b'{"records":[' + b'{"data":{"records":[{}]}},' * 10_000 + b"{}]}",
    "brackets": b"} " * 250_000 + b"{",
    "a deep object": b'{"data":' * 20_000 + b"}" * 20_000,
}


@pytest.mark.parametrize("name", HOSTILE_LINES)
def test_lines_made_to_take_long_take_no_time(name: str) -> None:
    record = LineParser("x.json").parse(HOSTILE_LINES[name])
    for part in getattr(record, "parts", ()) or ((record,) if record is not None and not isinstance(record, str) else ()):
        found = FieldMapping(load_rules(), ALARM_TASKS).apply(part) if name != "records in records" else []
        assert isinstance(found, (list, str))
    assert record is None or isinstance(record, str) or record.log
