"""Files of what was told (incidents, alarms, verdicts), and the commands that read or write beside them."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.cli import main
from edge_demist.errors import InputError
from edge_demist.explore.vector_files import Replacement
from edge_demist.sensor.feedback import append, labels
from edge_demist.sensor.incidents.observation import is_address
from edge_demist.sensor.incidents.told import merge, read_objects
from edge_demist.sensor.indicators import indicators, suricata_dataset, zeek_intel
from edge_demist.sensor.report.page import build_report
from edge_demist.sensor.sinks.parquet import ParquetSink
from edge_demist.sensor.sources.timestamps import parse_time
from edge_demist.sensor.status import _is_gzip

GOOD = {
    **{"incident_id": "a" * 32, "kind": "dga", "kinds": ["dga"], "score": 0.9, "severity": "high", "status": "opened", "sentence": "s"},
    **dict.fromkeys(("first", "last", "raised"), "2026-01-01T00:00:00Z"),
    **{"clients": ["10.0.0.1"], "entities": ["a.example"], "next": ["look"], "count": 1},
    "evidence": [{"says": "s", "about": "a", "adds": 1.0, "examples": [{"text": "t", "file": "f", "offset": 1}]}],
}
BAD = {
    "kinds": ("dga", [1], [None], [["dga"]]),
    "clients": ([1], {"a": 1}, [{}]),
    "entities": ([None], "a.example"),
    "next": ([1], 1),
    "evidence": ([1], [{}], [{"says": "s", "about": "a", "adds": "x"}], [{"says": "s", "about": "a", "adds": 1, "examples": [1]}], {}),
    "score": (None, "0.9", True, 10**400),
    "first": (None, 5, "tomorrow", "\0"),
    "raised": ({}, "", "99999-01-01"),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_line_with_a_value_of_another_kind_is_no_incident(name, value):
    assert merge([GOOD]) and not merge([GOOD | {name: value}])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e400"])
def test_numbers_that_no_json_has_never_reach_a_page(tmp_path, number):
    path = tmp_path / "incidents.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | {"incident_id": "b"}).replace("0.9", number) + "\n")
    found = merge(read_objects(path))
    assert [one["incident_id"] for one in found] == [GOOD["incident_id"]]
    page = build_report(found, [{"time": "2026-01-01T00:00:00Z", "alarm": True, "src_ip": "10.0.0.1", "text": 5}], title="x")
    assert b"NaN" not in page and b'"events":[]' in page


def test_times_reach_the_page_in_one_form():
    page = build_report(merge([GOOD | {"first": "1767225600", "last": "2026-01-01T01:00:00+01:00"}]), title="x").decode()
    assert page.count("2026-01-01T00:00:00.000000Z") == 3


@pytest.mark.parametrize("what", ["pipe", "link"])
def test_a_verdict_follows_no_link_and_waits_for_no_pipe(tmp_path, what):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    path = tmp_path / "feedback.jsonl"
    {"pipe": os.mkfifo, "link": lambda p: p.symlink_to(victim)}[what](path)
    with pytest.raises(OSError):
        append(tmp_path, {"verdict": "fp"})
    assert victim.read_text() == "untouched"
    if what == "pipe":
        with pytest.raises(InputError):
            list(labels(tmp_path, "dga", "bad", "good"))


def test_what_a_verdict_shows_is_escaped(tmp_path, capsys):
    alarm = {"task": "dga", "text": "evil.example", "label": "dga", "alarm": True, "time": "2026-01-01T00:00:00Z"}
    lines = [
        {"event_id": "aaaa1", **alarm},
        {"event_id": "bbbb\x1b[2J", **alarm},
        GOOD | {"incident_id": "c", "kind": "\x1b[2J", "entities": ["evil.example"]},
    ]
    (tmp_path / "told.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = [
        "feedback",
        "aaaa1",
        "--state",
        str(tmp_path / "state"),
        "--from",
        str(tmp_path / "told.jsonl"),
        "--verdict",
        "fp",
        "--reason",
        "r",
    ]
    assert main(arguments) == 0
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown and "\\x1b" in shown


def test_a_parquet_file_replaces_no_pipe_and_follows_no_planted_name(tmp_path):
    pytest.importorskip("pyarrow")
    victim, log, out = tmp_path / "victim", tmp_path / "dns.log", tmp_path / "events.parquet"
    victim.write_text("untouched")
    (tmp_path / ".events.parquet.tmp").symlink_to(victim)
    log.write_text('{"_path": "dns", "ts": 1700000000.5, "query": "kernel.org"}\n')
    command = ["watch", "--once", "--log", "off", "--output-format", "parquet", "-o"]
    assert main([*command, str(out), str(log)]) == 0
    assert victim.read_text() == "untouched" and out.read_bytes().startswith(b"PAR1") and not out.is_symlink()
    link, pipe = tmp_path / "link.parquet", tmp_path / "pipe.parquet"
    link.symlink_to(victim)
    assert main([*command, str(link), str(log)]) == 0
    assert link.is_symlink() and victim.read_bytes().startswith(b"PAR1")
    os.mkfifo(pipe)
    assert main([*command, str(pipe), str(log)]) == 2 and pipe.is_fifo()
    sink = ParquetSink(out)
    sink.abandon()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")) == [".events.parquet.tmp"]


HOSTILE_LINES = ({"evidence": 5, "kind": "scan"}, {"entities": 5}, {"clients": {"a": 1}, "kind": "scan"}, {"evidence": [5, {"sign": []}]})


def test_lines_of_other_kinds_stand_in_no_verdicts_way(tmp_path, capsys):
    told, state = tmp_path / "incidents.jsonl", tmp_path / "state"
    lines = [GOOD | {"incident_id": f"{n:08d}", **other} for n, other in enumerate(({}, *HOSTILE_LINES))]
    told.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for n in range(len(lines)):
        command = ["feedback", f"{n:08d}", "--state", str(state), "--from", str(told), "--verdict", "fp", "--reason", "r"]
        assert main(command) == 0, capsys.readouterr().err
    (state / "feedback.jsonl").write_text('{"verdict": "tp", "texts": 5}\n{"verdict": "tp", "texts": [5, {"task": "dga", "text": "x"}]}\n')
    assert list(labels(state, "dga", "bad", "good")) == [{"text": "x", "label": "bad"}]


FORGED = "2606:4700::1%x\tIntel::ADDR\ty\nbank.example\tIntel::DOMAIN\tforged\tforged"


@pytest.mark.parametrize("text", [FORGED, "x\ny\tz", "bank.example,1", "a.example\0", "1.2.3.4\n", "\u2028.example", "\ud800.example"])
def test_no_value_of_an_incident_becomes_a_line_of_its_own(text):
    base = GOOD | {"score": 0.9, "entities": ["b.example", text], "clients": [text], "first": "2026-01-01T00:00:00Z"}
    lines = [base | {"incident_id": text, "kind": text}, base | {"incident_id": "s", "kind": "scan"}]
    found = indicators(lines, days=7, now_us=parse_time("2026-01-02T00:00:00Z"), min_score=0.5)
    rows = [line.split("\t") for line in zeek_intel(found).split("\n")]
    assert rows.pop() == [""] and all(len(row) == (5 if row[0] == "#fields" else 4) for row in rows)
    assert [row[0] for row in rows[1:]] == ["b.example"]
    assert suricata_dataset(found) == "Yi5leGFtcGxl\n"


@given(st.text(st.sampled_from("0123456789abcdef:.%eth \t\n"), max_size=80))
def test_an_address_is_one_word(text):
    assert not is_address(text) or (len(text) <= 64 and text.isascii() and text.isprintable() and " " not in text)


def test_a_log_that_has_become_a_pipe_does_not_stop_the_status(tmp_path):
    os.mkfifo(tmp_path / "dns.log")
    assert not _is_gzip(tmp_path / "dns.log")


def test_pages_and_vectors_replace_no_link_no_pipe_and_follow_no_planted_name(tmp_path):
    victim, page = tmp_path / "victim", tmp_path / "map.html"
    victim.write_text("untouched")
    for number in range(os.getpid() - 2, os.getpid() + 3):
        (tmp_path / f".map.html.{number}.tmp").symlink_to(victim)
    with Replacement(page) as file:
        file.stream.write(b"page")
        file.commit()
    assert page.read_text() == "page" and victim.read_text() == "untouched"
    link, pipe = tmp_path / "link.html", tmp_path / "pipe.html"
    link.symlink_to(page)
    with Replacement(link) as file:
        file.stream.write(b"new")
        file.commit()
    assert link.is_symlink() and page.read_text() == "new"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="no regular file"):
        Replacement(pipe)
    assert not list(tmp_path.glob(".pipe*"))
