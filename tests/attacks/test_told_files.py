"""Files of what was told (incidents, alarms, verdicts), and the commands that read or write beside them."""

from __future__ import annotations

import json
import os

import pytest

from edge_demist.cli import main
from edge_demist.errors import InputError
from edge_demist.explore.vector_files import Replacement
from edge_demist.sensor.feedback import append, labels
from edge_demist.sensor.incidents.told import merge, read_objects
from edge_demist.sensor.report.page import build_report
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
