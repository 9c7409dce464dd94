"""Elastic Common Schema (8.17): events and incidents under the field names that Elastic's prebuilt rules read.

``ml_is_dga.*`` and ``problemchild.*`` are what the packages "DGA" and "Living off the land" write; the rules that come with them
fire on ``ml_is_dga.malicious_prediction: 1`` and on ``problemchild.prediction: 1``.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_demist import __version__
from edge_demist.sensor.detect.allow import host_of
from edge_demist.sensor.events import Entry, Event, IncidentLine, printable, text_fields
from edge_demist.sensor.incidents.observation import is_address
from edge_demist.sensor.public_suffix import registrable_domain
from edge_demist.sensor.sources.timestamps import format_time

ECS_VERSION = "8.17.0"
SEVERITIES = {"low": 21, "medium": 47, "high": 73, "critical": 99}
"""Risk scores as Elastic's rules give them."""


def ecs(entry: Entry) -> dict[str, object]:
    """The entry as one object."""
    return _incident(entry) if isinstance(entry, IncidentLine) else _event(entry)


def _frame(identity: str, time: str | None, dataset: str, *, alert: bool) -> dict[str, object]:
    return {
        "@timestamp": time,
        "ecs": {"version": ECS_VERSION},
        "observer": {"vendor": "edge-demist", "product": "edge-demist", "type": "sensor", "version": __version__},
        "event": {
            "id": identity,
            "kind": "alert" if alert else "event",
            "category": ["network"],
            "type": ["info"],
            "module": "edge_demist",
            "dataset": f"edge_demist.{dataset}",
        },
    }


def _event(event: Event) -> dict[str, object]:
    origin, ends = event.origin, event.origin.endpoints
    text = str(text_fields(event.text)["text"])
    body = _frame(event.event_id, None if origin.time_us is None else format_time(origin.time_us), "verdict", alert=event.alarm)
    body["log"] = {"file": {"path": origin.path}, "offset": origin.offset}
    for side, address, port in (("source", "src_ip", "src_port"), ("destination", "dest_ip", "dest_port")):
        found = {name: ends[key] for name, key in (("ip", address), ("port", port)) if key in ends}
        if found:
            body[side] = found
    body |= _subject(event, text) | _model_fields(event)
    if event.alarm:
        body["rule"] = {"name": f"edge-demist {event.task}: {event.label}", "id": event.task}
        body["message"] = f"{event.task}: {event.label}: {text}"
    hosts = [host_of(text)] if event.task.startswith(("dga", "dns-tunnel", "hostname", "url-")) else []
    body["related"] = _related([str(ends[k]) for k in ("src_ip", "dest_ip") if k in ends], hosts)
    own = {"task": event.task, "label": event.label, "score": event.score, "alarm_score": event.alarm_score, "field": event.field}
    own |= {"threshold": event.threshold, "alarm": event.alarm, "model": event.model, "suppressed": printable(event.suppressed) or None}
    body["edge_demist"] = {k: v for k, v in own.items() if v is not None} | dict(event.seen) | dict(origin.ids)
    if event.error:
        body["error"] = {"message": printable(event.error)}
    return body


def _subject(event: Event, text: str) -> dict[str, object]:
    """Where the string itself belongs."""
    if event.task.startswith("url-"):
        host, _, path = text.partition("/")
        return {"url": {"full": text, "domain": host_of(host), "path": "/" + path}}
    if event.task == "uri-attack":
        return {"url": {"original": text, "path": text.split("?", 1)[0]}}
    if event.task == "user-agent":
        return {"user_agent": {"original": text}}
    if event.task == "cmdline":
        return {"process": {"command_line": text}}
    if event.task == "filename":
        return {"file": {"name": text}}
    if "dns" in event.origin.log or "rrname" in event.field:
        return {"dns": {"question": {"name": text, "registered_domain": registrable_domain(text) or None}}}
    if "tls" in event.origin.log or "ssl" in event.origin.log:
        return {"tls": {"client": {"server_name": text}}}
    return {"destination": {"domain": text, **dict(_destination(event))}}


def _destination(event: Event) -> Mapping[str, object]:
    ends = event.origin.endpoints
    return {name: ends[key] for name, key in (("ip", "dest_ip"), ("port", "dest_port")) if key in ends}


def _model_fields(event: Event) -> dict[str, object]:
    """What Elastic's own models write, for the specialists that do the same work."""
    if event.alarm_score is None:
        return {}
    if event.task == "dga":
        return {"ml_is_dga": {"malicious_prediction": int(event.alarm), "malicious_probability": round(event.alarm_score, 6)}}
    if event.task == "cmdline":
        return {"problemchild": {"prediction": int(event.alarm), "prediction_probability": round(event.alarm_score, 6)}}
    return {}


def _incident(line: IncidentLine) -> dict[str, object]:
    told = line.body
    body = _frame(line.event_id, format_time(line.time_us), "incident", alert=True)
    entities, clients = _texts(told["entities"]), _texts(told["clients"])
    event = body["event"]
    assert isinstance(event, dict)
    event |= {"action": told["status"], "start": told["first"], "end": told["last"], "risk_score": SEVERITIES[line.severity]}
    event |= {"severity": SEVERITIES[line.severity]}
    body["message"] = told["sentence"]
    body["rule"] = {"name": f"edge-demist incident: {told['kind']}", "id": told["incident_id"], "description": told["sentence"]}
    technique = told["technique"]
    assert isinstance(technique, Mapping)
    body["threat"] = {
        "framework": "MITRE ATT&CK",
        "technique": {"id": [technique["id"]], "name": [technique["name"]]},
        "tactic": {"id": [technique["tactic"]]},
    }
    if clients and is_address(clients[0]):
        body["source"] = {"ip": clients[0]}
    if entities:
        key = "ip" if is_address(entities[0]) else "domain"
        body["destination"] = {key: entities[0]}
    if told["kind"] == "dga":
        body["dns"] = {"question": {"name": entities[0]}}
        body["ml_is_dga"] = {"malicious_prediction": 1, "malicious_probability": told["score"]}
    addresses = [e for e in (*clients, *entities) if is_address(e)]
    body["related"] = _related(addresses, [e for e in entities if not is_address(e)])
    body["edge_demist"] = {
        k: told[k] for k in ("incident_id", "kind", "kinds", "score", "count", "evidence", "next", "allow_rule", "model")
    }
    return body


def _related(addresses: list[str], hosts: list[str]) -> dict[str, object]:
    return {"ip": list(dict.fromkeys(addresses)), "hosts": list(dict.fromkeys(host for host in hosts if host))}


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []
