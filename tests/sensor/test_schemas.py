"""Events and incidents in the forms that others read: Elastic Common Schema, OCSF."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_demist import EdgeDemist
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.runner import Runner
from tests.sensor.test_incidents import dns_log, generated, ordinary
from tests.support.sensor_fakes import read_events, watch_once, zeek_log
from tools.sensor.fake_model import FakeModel

SAMPLES = Path(__file__).parents[1] / "data" / "logs"
HTTP = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p method host uri user_agent status_code"


def lookup(body: dict, path: str) -> object:
    for name in path.split("."):
        body = body[name]
    return body


def incidents(folder: Path, form: str) -> list[dict]:
    return watch_once(folder, dns_log(folder, *generated(), *ordinary(20)), emit="incidents", form=form)[0]


def test_ecs_names_what_the_prebuilt_rules_read(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(
        zeek_log("ts uid id.orig_h id.orig_p id.resp_h id.resp_p query", "1.5 C 10.0.0.1 5 10.0.0.53 53 evil.example")
    )
    (tmp_path / "http.log").write_text(zeek_log(HTTP, "2 H 10.0.0.1 5 203.0.113.5 80 GET evil.example /evil?x=1 evil 200", path="http"))
    (tmp_path / "host.json").write_text('{"timestamp":"1970-01-01T00:00:03Z","CommandLine":"evil -x"}\n')
    events, _ = watch_once(tmp_path, *(tmp_path / n for n in ("dns.log", "http.log", "host.json")), form="ecs")
    by_task = {e["edge_demist"]["task"]: e for e in events if e["edge_demist"].get("alarm")}
    dga = by_task["dga"]
    assert dga["ml_is_dga"]["malicious_prediction"] == 1 and dga["ml_is_dga"]["malicious_probability"] > 0.99
    assert lookup(dga, "dns.question.name") == "evil.example" and dga["source"] == {"ip": "10.0.0.1", "port": 5}
    assert dga["@timestamp"] == "1970-01-01T00:00:01.500000Z" and dga["event"]["kind"] == "alert" and dga["rule"]["name"]
    assert dga["related"] == {"ip": ["10.0.0.1", "10.0.0.53"], "hosts": ["evil.example"]}
    assert by_task["cmdline"]["problemchild"] == {"prediction": 1, "prediction_probability": 0.9999}
    assert by_task["cmdline"]["process"]["command_line"] == "evil -x"
    assert lookup(by_task["uri-attack"], "url.path") == "/evil" and lookup(by_task["url-phishing"], "url.domain") == "evil.example"
    agents = [e for e in events if e["edge_demist"]["task"] == "user-agent"]
    assert agents and agents[0]["user_agent"]["original"] == "evil" and agents[0]["event"]["kind"] == "event"
    assert len({e["event"]["id"] for e in events}) == len(events)


def test_a_rule_on_the_dga_field_fires_on_incidents(tmp_path: Path) -> None:
    lines = incidents(tmp_path, "ecs")
    assert [line["event"]["action"] for line in lines] == ["opened", "grown", "closed"]
    assert all(line["ml_is_dga"]["malicious_prediction"] == 1 for line in lines)
    last = lines[-1]
    assert lookup(last, "threat.technique.id") == ["T1568.002"] and last["source"] == {"ip": "10.0.0.7"}
    assert last["rule"]["id"] == last["edge_demist"]["incident_id"] and "10.0.0.7" in last["related"]["ip"]
    assert len(last["related"]["hosts"]) == 12


def test_an_elastic_rule_fires_on_the_sample_logs(tmp_path: Path) -> None:
    """The prebuilt rule "Machine Learning Detected a DNS Request Predicted to be a DGA Domain", in EQL, by Elastic's own engine."""
    from eql import Event, PythonEngine, parse_query

    rule = 'any where ml_is_dga.malicious_prediction == 1 and not wildcard(dns.question.name, "*ubuntu.com")'
    config = WatchConfig(paths=(SAMPLES,), once=True, emit="all", form="ecs", output=tmp_path / "o.jsonl")
    runner = Runner(config, EdgeDemist.load)
    try:
        runner.run()
    finally:
        runner.close()
    events, hits, engine = read_events(tmp_path / "o.jsonl"), [], PythonEngine()
    engine.add_query(parse_query(rule, implied_any=True))
    engine.add_output_hook(lambda output: hits.extend(event.data["event"]["id"] for event in output.events))
    engine.stream_events([Event("any", number, event) for number, event in enumerate(events)])
    alarmed = [e["event"]["id"] for e in events if e["edge_demist"]["task"] == "dga" and e["edge_demist"].get("alarm")]
    assert hits == alarmed and 0 < len(hits) < len(events)


def test_ocsf_is_a_detection_finding_by_its_models(tmp_path: Path) -> None:
    from py_ocsf_models.events.findings.detection_finding import DetectionFinding as finding

    lines = incidents(tmp_path, "ocsf")
    assert [line["type_uid"] for line in lines] == [200401, 200402, 200403]
    watch_once(tmp_path, dns_log(tmp_path, *generated(count=1)), emit="alarms", form="ocsf", output=tmp_path / "a.jsonl")
    for line in [*lines, *read_events(tmp_path / "a.jsonl")]:
        finding(**line)
        assert line["class_uid"] == 2004 and line["category_uid"] == 2 and line["time"] > 1_000_000_000_000
    assert {o["value"] for o in lines[-1]["observables"]} >= {"10.0.0.7", "evil7x0.example"}


@pytest.mark.parametrize("form", ["ecs", "ocsf", "eve"])
def test_a_restart_knows_its_lines_in_every_form(tmp_path: Path, form: str) -> None:
    logs = dns_log(tmp_path, *generated())
    config = WatchConfig(paths=(logs,), once=True, emit="incidents", form=form, output=tmp_path / "o.jsonl", state=tmp_path / "state")
    for attempt in range(2):
        runner = Runner(config, FakeModel)
        try:
            runner.run()
        finally:
            runner.close()
        if attempt == 0:
            (tmp_path / "state" / "checkpoint.json").unlink()
            (tmp_path / "state" / "finished.json").unlink()
            (tmp_path / "state" / "memory.sqlite").unlink()
            first = read_events(tmp_path / "o.jsonl")
    assert read_events(tmp_path / "o.jsonl") == first and len(first) == 3


def test_every_form_is_ascii_json(tmp_path: Path) -> None:
    rows = [json.dumps({"ts": 1.5, "id.orig_h": "10.0.0.1", "query": "evil</script>\x1b\u00fc.example", "qtype": 1, "rcode": 0})]
    (tmp_path / "dns.log").write_text("\n".join(rows) + "\n")
    for form in ("ecs", "ocsf"):
        watch_once(tmp_path, tmp_path / "dns.log", form=form, output=tmp_path / form)
        raw = (tmp_path / form).read_bytes()
        assert raw.isascii() and b"\x1b" not in raw and len(read_events(tmp_path / form)) > 2
