"""Verdicts: kept in a log, turned into narrow rules and labels; strings worth a label."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_demist.cli import main
from edge_demist.errors import InputError
from edge_demist.sensor.asking import choose, label_studio
from edge_demist.sensor.detect.allow import AllowRule, load_allow_lists
from edge_demist.sensor.feedback import find, toml
from tests.sensor.test_incidents import dns_log, dns_row, generated
from tests.support.sensor_fakes import read_events, watch_once, zeek_log


def alarms(folder: Path) -> tuple[Path, dict[str, str]]:
    names = ["evil.example", "a.evil-b.example", "b.evil-b.example", "evil-x.duckdns.org"]
    rows = [f"{100 + i}.5 C{i} 10.0.0.{i} {name}" for i, name in enumerate(names)]
    (folder / "dns.log").write_text(zeek_log("ts uid id.orig_h query", *rows))
    events, _ = watch_once(folder, folder / "dns.log", emit="alarms", output=folder / "alarms.jsonl")
    events = read_events(folder / "alarms.jsonl")
    return folder / "alarms.jsonl", {e["text"]: e["event_id"] for e in events if e["task"] == "dga"}


def said(folder: Path, source: Path, identity: str, *more: str) -> int:
    return main(["feedback", identity, "--state", str(folder / "state"), "--from", str(source), *more])


def test_a_false_alarm_gives_the_rule_that_silences_it_and_tells_what_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, ids = alarms(tmp_path)
    assert said(tmp_path, source, ids["a.evil-b.example"], "--verdict", "fp", "--reason", 'ours "test"\n') == 0
    out = capsys.readouterr()
    (tmp_path / "allow.toml").write_text(out.out)
    table = tomllib.loads(out.out)["allow"]
    assert table == [{"kind": "suffix", "value": "evil-b.example", "task": "dga", "reason": 'ours "test"\n'}]
    assert ids["b.evil-b.example"] in out.err and ids["evil.example"] not in out.err
    events, _ = watch_once(tmp_path, tmp_path / "dns.log", emit="alarms", allow=(tmp_path / "allow.toml",))
    assert {e["text"] for e in events if e["task"] == "dga"} == {"evil.example", "evil-x.duckdns.org"}
    log = read_events(tmp_path / "state" / "feedback.jsonl")
    assert log[0]["verdict"] == "fp" and log[0]["texts"] == [{"text": "a.evil-b.example", "task": "dga"}]


def test_a_rule_never_opens_a_domain_that_many_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, ids = alarms(tmp_path)
    assert said(tmp_path, source, ids["evil-x.duckdns.org"], "--verdict", "benign-tp", "--reason", "our camera") == 0
    assert tomllib.loads(capsys.readouterr().out)["allow"][0]["value"] == "evil-x.duckdns.org"


def test_a_rule_expires(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, ids = alarms(tmp_path)
    today = datetime.now(UTC).date()
    for days, silent in ((1, True), (0, True), (-1, False)):
        day = (today + timedelta(days=days)).isoformat()
        assert said(tmp_path, source, ids["evil.example"], "--verdict", "fp", "--reason", "r", "--expires", day) == 0
        (tmp_path / "allow.toml").write_text(capsys.readouterr().out)
        found = load_allow_lists([tmp_path / "allow.toml"]).find("evil.example", "dga")
        assert (found is not None) is silent
    (tmp_path / "allow.toml").write_text('[[allow]]\nkind = "exact"\nvalue = "x"\nreason = "r"\nexpires = 2020-01-01\n')
    assert not load_allow_lists([tmp_path / "allow.toml"]).rules
    with pytest.raises(InputError, match="date"):
        AllowRule("exact", "x", "r", expires="soon")


def test_an_incident_can_be_judged_and_its_names_become_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch_once(tmp_path, dns_log(tmp_path, *generated()), emit="incidents", output=tmp_path / "i.jsonl")
    identity = read_events(tmp_path / "i.jsonl")[0]["incident_id"]
    assert said(tmp_path, tmp_path / "i.jsonl", identity[:8], "--verdict", "tp", "--reason", "infected", "--owner", "me") == 0
    assert capsys.readouterr().out == ""
    assert main(["feedback", "--state", str(tmp_path / "state"), "--labels", "dga", "--positive", "dga"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"text": "evil7x0.example", "label": "dga"} in rows and len(rows) == 12


def test_a_rule_for_a_tunnel_incident_silences_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = dns_log(tmp_path, *[dns_row(i, "10.0.0.7", f"evil{i:030x}.zone.example", kind="TXT") for i in range(150)])
    watch_once(tmp_path, logs, emit="incidents", output=tmp_path / "i.jsonl")
    identity = read_events(tmp_path / "i.jsonl")[0]["incident_id"]
    assert said(tmp_path, tmp_path / "i.jsonl", identity, "--verdict", "fp", "--reason", "antivirus") == 0
    (tmp_path / "allow.toml").write_text(capsys.readouterr().out)
    lines, _ = watch_once(tmp_path, logs, emit="incidents", allow=(tmp_path / "allow.toml",))
    assert not lines


def test_a_scan_gives_a_rule_for_its_source_and_its_values_as_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p method host uri user_agent status_code"
    rows = [f"{1_700_000_000 + i} A{i} 10.0.0.9 4000 10.0.0.80 80 GET 10.0.0.80 /?id=evil{i} Mozilla/5.0 200" for i in range(8)]
    (tmp_path / "http.log").write_text(zeek_log(fields, *rows, path="http"))
    watch_once(tmp_path, tmp_path / "http.log", emit="incidents", output=tmp_path / "i.jsonl")
    identity = read_events(tmp_path / "i.jsonl")[0]["incident_id"]
    assert said(tmp_path, tmp_path / "i.jsonl", identity, "--verdict", "benign-tp", "--reason", "our own test") == 0
    assert said(tmp_path, tmp_path / "i.jsonl", identity, "--verdict", "fp", "--reason", "our own test") == 0
    assert tomllib.loads(capsys.readouterr().out)["allow"][0]["value"] == "10.0.0.9"
    assert main(["feedback", "--state", str(tmp_path / "state"), "--labels", "uri-attack", "--positive", "attack"]) == 0
    rows = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert rows and all(text.startswith("/?id=evil") for text in rows)


@pytest.mark.parametrize("more", [["--verdict", "fp", "--reason", " "], ["--verdict", "fp", "--reason", "r", "--expires", "soon"], []])
def test_wrong_usage_writes_nothing(tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    source, ids = alarms(tmp_path)
    assert said(tmp_path, source, ids["evil.example"], *more) == 2
    assert not (tmp_path / "state" / "feedback.jsonl").exists() and capsys.readouterr().err


def test_an_id_that_is_not_there_or_not_the_only_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({"event_id": f"abcd{i}", "task": "dga", "text": "x"}) + "\n" for i in range(3)))
    with pytest.raises(InputError, match="3 begin so"):
        find("abcd", [tmp_path / "x.jsonl"])
    with pytest.raises(InputError, match="no line"):
        find("ffff", [tmp_path / "x.jsonl"])
    assert find("abcd1", [tmp_path / "x.jsonl"]).identity == "abcd1"


def test_any_reason_and_value_survive_toml() -> None:
    rule = AllowRule("exact", 'a"\\\u202e\U0001f600\x1b\n', "tab\there", "dga")
    assert tomllib.loads(toml([rule]))["allow"][0] == {"kind": "exact", "value": rule.value, "task": "dga", "reason": rule.reason}


def test_what_is_asked_is_what_the_specialist_is_unsure_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def event(text: str, score: float) -> dict:
        return {"text": text, "task": "dga", "alarm_score": score, "threshold": 0.9, "label": "dga", "extra": 1}

    events = [event(f"sure{i}.example", 0.001) for i in range(50)] + [event(f"x{i}.near.example", 0.89) for i in range(9)]
    events += [event("other.example", 0.88)] * 5 + [{"text": 5}, {"task": "dga", "text": "no score"}]
    rows = choose(events, 6)
    assert [row["text"].split(".", 1)[1] for row in rows[:4]].count("near.example") == 3
    assert next(row for row in rows if row["text"] == "other.example")["seen"] == 5
    studio = label_studio(rows, {"dga": ("dga", "legit")})
    assert studio[0]["data"]["choices"] == ["dga", "legit"] and studio[0]["predictions"][0]["result"][0]["value"] == {"choices": ["dga"]}
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    assert main(["ask", str(tmp_path / "events.jsonl"), "--n", "2", "--task", "dga"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
