"""Strings, lines, files and folders made to cost much more than they weigh: work grows with the bytes, and is done in parts.

What was quadratic would take hours with these inputs, so a test that hangs is a test that fails: ``no_hang`` ends it.
"""

from __future__ import annotations

import gzip
import json
import re
import resource
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.anonymize import Anonymizer
from edge_demist.errors import InputError
from edge_demist.normalizers import NORMALIZERS
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control
from edge_demist.sensor.counters import Counters
from edge_demist.sensor.detect import explain, scoring
from edge_demist.sensor.detect.allow import AllowRule, suggest
from edge_demist.sensor.detect.linear_regex import LinearRegex, NotRegularError
from edge_demist.sensor.detect.scoring import Scorer
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.sources import log_file, scan
from edge_demist.sensor.sources.checkpoint import FileState
from edge_demist.sensor.sources.lines import ByteStream, LineSplitter
from edge_demist.sensor.sources.log_file import LogFile, read_fingerprint
from edge_demist.sensor.sources.tail import Tailer
from edge_demist.sensor.sources.zeek import ZeekParser
from tests.support.sensor_fakes import balanced, read_events, watch_once, zeek_log
from tools.sensor.fake_model import FakeModel


@pytest.fixture(autouse=True)
def no_hang():
    def late(_number, _frame):
        raise AssertionError("hangs: work must grow with the bytes")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# ---- one string -----------------------------------------------------------------------------------------------

SHAPES = [
    "a",
    ",1",
    "a\u0300",
    "\u0300",
    "\ufdfa",
    "www.",
    "www1",
    "api.co.",
    "m1",
    ".",
    "\u3002",
    "\u0130",
    "/",
    "http://",
    "\udc80",
    ":1",
    " ",
]


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
def test_normalizers(name):
    for shape in SHAPES:
        for before in ("", "\u00e9"):
            text = before + (shape * (1 << 17))[: 1 << 17]
            assert isinstance(NORMALIZERS[name](text), str)


def test_an_overlong_name_is_no_host_name():
    assert NORMALIZERS["strip_www"]("\u00fc" * 253 + ".example") == "\u00fc" * 253 + ".example"
    assert NORMALIZERS["strip_www"]("\u00fc.example") == "xn--tda.example"


@given(st.binary(max_size=300))
def test_pieces_cover_a_string(raw):
    spans = explain.pieces(raw)
    assert len(spans) <= explain.MAX_PIECES and b"".join(raw[a:b] for a, b in spans) == raw
    assert all(a < b for a, b in spans)


@pytest.mark.parametrize("raw", [b",1" * (1 << 20), b"a" * (1 << 21), b"a," + b"b" * (1 << 21), b",".join(b"x" * i for i in range(1500))])
def test_pieces_of_a_long_string(raw):
    spans = explain.pieces(raw)
    assert 1 < len(spans) <= explain.MAX_PIECES and spans[0][0] == 0 and spans[-1][1] == len(raw)


def test_explanations_have_a_budget():
    asked = []

    def ask(pairs):
        asked.extend(pairs)
        return [0.1] * len(pairs)

    alarms = [("/i?id=1" + ",1" * 4000, "uri-attack", 0.9)] * 64 + [("short.example", "dga", 0.9)] * 3
    reasons = explain.explain(alarms, ask)
    assert len(reasons) == len(alarms) and reasons[0] and not reasons[40]
    assert sum(len(text) for text, _ in asked) <= explain.MAX_ASKED_BYTES


@given(st.lists(st.tuples(st.text(max_size=20) | st.just("x" * 9000), st.sampled_from("ab")), max_size=40))
def test_parts_of_a_batch(pairs):
    parts = list(scoring.parts(pairs))
    assert [pair for part in parts for pair in part] == pairs
    for part in parts:
        size = sum(min(len(text), scoring.MAX_MODEL_BYTES) for text, _ in part)
        assert len(part) == 1 or (size <= scoring.PART_BYTES and len(part) <= scoring.PART_ROWS)


CATASTROPHES = [r"([a-z0-9-]+[.]?)+[.]corp[.]example", r"(a|a)*b", r"(a*)*b", r".*.*.*.*.*.*x", r"(a?){90}a{90}b", r"((a+)+)+$x"]


@pytest.mark.parametrize("pattern", CATASTROPHES)
def test_expressions_that_back_tracking_never_ends(pattern):
    rule = AllowRule("regex", pattern, "why")
    assert not rule.matches("a" * 2048, "dga") and not rule.matches("a-" * 1000, "dga")


@pytest.mark.parametrize("pattern", [r"(a)\1", r"a(?=b)", r"(?<!a)b", r"\bword\b", r"(?>a)", r"a++", r"(a{1,900}){1,900}", r"a{2000}"])
def test_expressions_that_are_not_regular_are_refused_with_a_reason(pattern):
    with pytest.raises(InputError, match=r"not regular|states|count"):
        AllowRule("regex", pattern, "why")


def test_an_expression_nested_too_deeply_is_refused():
    with pytest.raises(InputError):
        AllowRule("regex", "(" * 5000 + "a" + ")" * 5000, "why")


ATOMS = ["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "(ab)", "(?:a|b)", "[a-c]", r"\.", "x*", "b{1,3}", "(a|bc)*", "^", "a?", "", "|"]
COUNTS = ["", "*", "+", "?", "{2}", "{0,2}", "*?"]


@given(st.lists(st.tuples(st.sampled_from(ATOMS), st.sampled_from(COUNTS)), max_size=5), st.text("abc.1 A", max_size=7))
def test_expressions_mean_what_they_mean_to_python(parts, text):
    pattern = "".join(a + b for a, b in parts)
    try:
        expected = re.compile(pattern)
        ours = LinearRegex(pattern)
    except (re.error, NotRegularError):
        return
    assert ours.fullmatch(text) == (expected.fullmatch(text) is not None)


def test_a_suggested_rule_is_short():
    for text in ("a." * 60_000 + "example", "a" * 100_000, "http://" + "b" * 100_000 + "/x"):
        assert len(suggest(text, "dga")["value"]) <= 2048


@pytest.mark.parametrize("shape", ["a", "a:", "a:b ", "'a:b", "a:b| ", "ab.", "-", "1:", "=", "%41", "%", "%3A", "<USER>", "A1b2"])
def test_the_anonymizer(shape):
    clean = Anonymizer()
    for _ in range(2):
        clean((shape * 4096)[:4096] + "x")
    assert "hunter2" not in clean("echo 'root:hunter2' | chpasswd")


# ---- one line -------------------------------------------------------------------------------------------------


def test_header_lines_do_not_build_the_header_anew():
    parser = ZeekParser()
    names = b"\t".join(b"f%d" % i for i in range(4000))
    parser.feed_meta(b"#separator \\x09")
    parser.feed_meta(b"#fields\t" + names)
    for i in range(20_000):
        parser.feed_meta(b"#path\tdns%d" % (i % 7))
        parser.parse(b"x", "dns")
    assert parser.header is not None and len(parser.header.fields) == 4000


def test_an_endless_header_line_is_passed_over_and_not_kept():
    parser = ZeekParser()
    parser.feed_meta(b"#fields\t" + b"a\t" * 400_000)
    parser.feed_meta(b"#path\t" + b"x" * 1_000_000)
    parser.feed_bare_names(b"ts\t" + b"a\t" * 400_000)
    assert parser.header is None or not parser.header.fields
    assert sum(map(len, parser.state().values())) < 1000


def test_newlines_are_counted_not_collected():
    splitter, lines = LineSplitter(), []
    for _ in range(64):
        lines += splitter.feed(b"\n" * (1 << 18))
    assert sum(line.lines for line in lines) == 64 << 18 and len(lines) < 200
    assert lines[-1].end == 64 << 18


@given(st.lists(st.sampled_from([b"\n", b"a", b"\r\n", b"bc\n"]), max_size=60), st.integers(1, 9))
def test_lines_are_the_same_however_they_come(parts, size):
    raw = b"".join(parts)
    splitter, lines = LineSplitter(), []
    for i in range(0, len(raw), size):
        lines += splitter.feed(raw[i : i + size])
    lines += [line] if (line := splitter.finish()) else []
    expected = raw.split(b"\n")
    assert [part for line in lines for part in [line.data] * line.lines] == expected[: None if expected[-1] else -1]
    assert all(raw[line.start : line.end].count(b"\n") in (line.lines, 0) for line in lines)


# ---- one file -------------------------------------------------------------------------------------------------


def opened(path: Path, offset: int = 0) -> LogFile:
    head = read_fingerprint(path)
    info = path.stat()
    return LogFile(FileState(str(path), info.st_dev, info.st_ino, head.fingerprint, head.size, offset=offset), Counters().open("x"))


def zeros(megabytes: int) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(pack.compress(bytes(1 << 20)) for _ in range(megabytes)) + pack.flush()


def test_a_gzip_bomb_is_read_in_portions(tmp_path):
    path = tmp_path / "dns.log.gz"
    path.write_bytes(gzip.compress(b'{"ts":1.5,"query":"a.example"}\n') + zeros(64) + gzip.compress(b'\n{"ts":1.5,"query":"b.example"}\n'))
    source, turns, lines = opened(path), 0, []
    while not source.drained:
        lines += source.read_lines(100)
        turns += 1
    assert turns >= (64 << 20) // log_file.MAX_READ_BYTES
    assert [line.data for line in lines if line.data] == [b'{"ts":1.5,"query":"a.example"}', b'{"ts":1.5,"query":"b.example"}']
    assert [line for line in lines if line.data is None]
    source.close()


def test_on_the_way_to_a_place_in_a_gzip_others_have_their_turn(tmp_path):
    path = tmp_path / "dns.log.gz"
    path.write_bytes(gzip.compress(b'{"ts":1.5,"query":"a.example"}\n') + zeros(64) + gzip.compress(b'\n{"ts":1.5,"query":"b.example"}\n'))
    source, quiet = opened(path, offset=31 + (64 << 20) + 1), 0
    while not (lines := source.read_lines(100)):
        assert not source.drained
        quiet += 1
    assert quiet >= 4 and lines[0].data == b'{"ts":1.5,"query":"b.example"}'
    source.close()


def test_empty_gzip_members(tmp_path):
    path = tmp_path / "dns.log.gz"
    path.write_bytes(gzip.compress(b"", mtime=0) * 100_000 + gzip.compress(b'{"ts":1.5,"query":"b.example"}\n'))
    assert read_fingerprint(path).complete
    source, turns, lines = opened(path), 0, []
    while not source.drained:
        lines += source.read_lines(100)
        turns += 1
    assert turns > 1 and [line.data for line in lines] == [b'{"ts":1.5,"query":"b.example"}']
    source.close()


@pytest.mark.parametrize("size", [900_000, 200_000, 1000])
def test_portions_are_bounded_by_bytes(tmp_path, size):
    path = tmp_path / "http.log"
    path.write_bytes(b"".join(b'{"ts":1.5,"uri":"/' + b"a" * size + b'"}\n' for _ in range(60)))
    source, most = opened(path), 0
    while not source.drained:
        most = max(most, sum(len(line.data or b"") for line in source.read_lines(256)))
    assert most <= log_file.PORTION_BYTES + size + 100
    source.close()


MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def test_sixty_lines_of_900_kilobytes_stay_below_the_limit_of_the_unit(tmp_path):
    rows = [f"{1700000000 + i}.0 C{i} /{i}?q={'a' * 900_000}" for i in range(60)]
    attack = "1700000100.0 D1 /index.php?id=1'+UNION+SELECT+1,2,user()--"
    (tmp_path / "http.log").write_text(zeek_log("ts uid uri", *rows, attack, path="http"))
    command = [sys.executable, "-m", "edge_demist", "watch", str(tmp_path / "http.log")]
    command += ["--once", "-o", str(tmp_path / "o"), "--log", "off"]
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 256 << 10
    assert any(event["uid"] == "D1" for event in read_events(tmp_path / "o"))


# ---- many files -----------------------------------------------------------------------------------------------


def few(monkeypatch, most):
    monkeypatch.setattr(scan, "MAX_OPEN", most)


def many(folder: Path, count: int) -> None:
    folder.mkdir()
    for i in range(count):
        (folder / f"dns.{i}.log").write_text(f'{{"ts":{1700000000 + i}.0,"uid":"C{i}","query":"q{i}.example"}}\n')


def test_more_files_than_may_be_open(tmp_path, monkeypatch):
    few(monkeypatch, 20)
    many(tmp_path / "logs", 400)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = max(int(path.name) for path in Path("/proc/self/fd").iterdir())  # tests before this one may have left some open
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(100, held + 60), before[1]))
    try:
        events, summary = watch_once(tmp_path, tmp_path / "logs")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert summary["errors"] == 0 and summary["records"] == 400 and balanced(summary)
    assert len({event["uid"] for event in events}) == 400


def test_more_files_than_may_be_open_while_following(tmp_path, monkeypatch):
    few(monkeypatch, 20)
    many(tmp_path / "logs", 100)
    tailer = Tailer([tmp_path / "logs"], Counters())
    seen = []
    for _ in range(2):
        tailer.scan()
        while (portion := tailer.next_lines(100)) is not None:
            seen += [line.data for line in portion[1]]
            assert sum(source.is_open for source in tailer.sources.values()) <= 21
    with (tmp_path / "logs" / "dns.7.log").open("a") as stream:
        stream.write('{"ts":1800000000.0,"uid":"N","query":"new.example"}\n')
    tailer.scan()
    while (portion := tailer.next_lines(100)) is not None:
        seen += [line.data for line in portion[1]]
    assert len(seen) == 101 and b"new.example" in seen[-1]
    tailer.close()


def test_files_are_not_looked_through_for_each_other(tmp_path, monkeypatch):
    """Each file is asked about a bounded number of times, not once for every other file."""
    many(tmp_path / "logs", 300)
    asked = 0
    drained = LogFile.drained.fget

    def counted(self):
        nonlocal asked
        asked += 1
        return drained(self)

    monkeypatch.setattr(LogFile, "drained", property(counted))
    _, summary = watch_once(tmp_path, tmp_path / "logs", summary=tmp_path / "summary.json")
    assert summary["records"] == 300 and asked < 300 * 60


def test_a_look_at_many_files_can_be_ended(tmp_path):
    many(tmp_path / "logs", 50)

    class Enough(Exception):
        pass

    calls = 0

    def breathe():
        nonlocal calls
        calls += 1
        if calls > 60:
            raise Enough

    tailer = Tailer([tmp_path / "logs"], Counters(), breathe=breathe)
    with pytest.raises(Enough):
        tailer.scan()


# ---- the loop -------------------------------------------------------------------------------------------------


class Pinged(FakeModel):
    """Notes how often it was asked, and may stop the sensor while it is."""

    def __init__(self, during=lambda: None):
        super().__init__()
        self.turns, self.during = 0, during

    def classify(self, texts, task):
        self.turns += 1
        self.during()
        return super().classify(texts, task)


def test_the_watchdog_is_pinged_between_the_parts_of_a_batch(tmp_path, monkeypatch):
    rows = [f"{1700000000 + i}.0 C{i} /{i}?q={'a,' * 4000}" for i in range(40)]
    (tmp_path / "http.log").write_text(zeek_log("ts uid uri", *rows, path="http"))
    model, pings = Pinged(), 0

    def ping(_self):
        nonlocal pings
        pings += 1

    monkeypatch.setattr("edge_demist.sensor.control.ServiceManager.ping", ping)
    watch_once(tmp_path, tmp_path / "http.log", model=model)
    assert model.turns > 8 and pings >= model.turns


def test_a_stop_in_the_middle_of_a_batch_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_demist.sensor.runner.STOP_WITHIN_S", -1.0)
    rows = [f"{1700000000 + i}.0 C{i} /{i}?q={'a,' * 4000}" for i in range(40)]
    (tmp_path / "http.log").write_text(zeek_log("ts uid uri", *rows, path="http"))
    control, told = Control(), []
    model = Pinged(lambda: setattr(control, "stop", model.turns == 3 or control.stop))
    settings = {"paths": [tmp_path / "http.log"], "output": tmp_path / "o", "state": tmp_path / "state", "once": True}
    runner = Runner(WatchConfig(**settings), lambda: model, control=control, log=lambda event, _: told.append(event))
    runner.run()
    runner.close()
    assert "stopped-early" in told and model.turns == 3
    runner = Runner(WatchConfig(**settings), FakeModel)
    runner.run()
    runner.close()
    events = read_events(tmp_path / "o")
    assert {event["uid"] for event in events} == {f"C{i}" for i in range(40)}
    assert len({event["event_id"] for event in events}) == len(events)


class Failing(FakeModel):
    """Cannot stand one string."""

    def classify(self, texts, task):
        if any("poison" in text for text in texts):
            raise RecursionError("too deep")
        return super().classify(texts, task)


def test_a_string_that_the_model_cannot_stand_costs_its_own_answer_alone(tmp_path):
    (tmp_path / "dns.log").write_text(zeek_log("ts uid query", "1.5 C1 a.example", "2.5 C2 poison.example", "3.5 C3 evil.example"))
    events, summary = watch_once(tmp_path, tmp_path / "dns.log", model=Failing())
    assert {event["uid"] for event in events if "label" in event} == {"C1", "C3"}
    assert {event["error"] for event in events if event["uid"] == "C2"} == {"RecursionError: too deep"} and summary["errors"] > 0


@pytest.mark.parametrize("depth", [100, 500, 900, 985, 5000])
def test_nested_values_in_any_place(tmp_path, depth):
    nested = "[" * depth + "]" * depth
    lines = [
        '{"timestamp":"2026-01-01T00:00:00+0000","event_type":"http","http":{"hostname":"a.example","url":"/a"}}',
        '{"timestamp":"2026-01-01T00:00:01+0000","event_type":"http","http":{"request_headers":[{"name":%s,"value":"x"}]}}',
        '{"timestamp":%s,"event_type":"http","http":{"hostname":"b.example","url":"/b"}}',
        '{"timestamp":"2026-01-01T00:00:01+0000","event_type":%s,"http":{"hostname":"b.example","url":"/b"}}',
        '{"timestamp":"2026-01-01T00:00:01+0000","event_type":"http","http":{"hostname":%s,"url":"/b"},"flow_id":%s}',
        '{"timestamp":"2026-01-01T00:00:02+0000","event_type":"http","http":{"hostname":"c.example","url":"/c"}}',
    ]
    (tmp_path / "eve.json").write_text("\n".join(line.replace("%s", nested) for line in lines) + "\n")
    events, summary = watch_once(tmp_path, tmp_path / "eve.json")
    assert balanced(summary) and summary["records"] == len(lines)
    assert {"a.example", "c.example"} <= {event["text"] for event in events}


def test_a_record_that_breaks_a_parser_is_counted_and_the_next_is_read(tmp_path, monkeypatch):
    from edge_demist.sensor.detect.mapping import FieldMapping

    apply = FieldMapping.apply

    def fails(self, record):
        if record.scalar("uid") == "C2":
            raise KeyError("odd")
        return apply(self, record)

    monkeypatch.setattr(FieldMapping, "apply", fails)
    (tmp_path / "dns.log").write_text(zeek_log("ts uid query", "1.5 C1 a.example", "2.5 C2 b.example", "3.5 C3 c.example"))
    events, summary = watch_once(tmp_path, tmp_path / "dns.log")
    assert {event["uid"] for event in events} == {"C1", "C3"}
    assert balanced(summary) and summary["skipped"]["failed"] == 1 and "odd" in json.dumps(summary["messages"])


def test_a_key_is_made_of_what_the_model_reads():
    seen = []

    class Wide(FakeModel):
        def classify(self, texts, task):
            seen.extend(texts)
            return super().classify(texts, task)

    scorer = Scorer(Wide())
    long = "a" * (1 << 20)
    answers = scorer.answer([(long, "dga"), (long, "dga")])
    assert len(answers[0].text) <= scoring.MAX_NORMALIZED_CHARS and len(seen) == 1


def test_a_stream_of_bytes_that_never_ends_is_no_file(tmp_path):
    (tmp_path / "x.log").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="no regular file"):
        ByteStream(tmp_path / "x.log")
