"""Open Cybersecurity Schema Framework 1.3: incidents, and alarms of single strings, as Detection Finding (class 2004)."""

from __future__ import annotations

from collections.abc import Mapping

from edge_demist import __version__
from edge_demist.sensor.events import Entry, Event, IncidentLine, text_fields
from edge_demist.sensor.incidents.observation import is_address
from edge_demist.sensor.sources.timestamps import parse_time

OCSF_VERSION = "1.3.0"
CATEGORY, CLASS = 2, 2004
ACTIVITIES = {"opened": (1, "Create"), "grown": (2, "Update"), "closed": (3, "Close")}
SEVERITIES = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
HOSTNAME, ADDRESS, OTHER = 1, 2, 99


def ocsf(entry: Entry) -> dict[str, object]:
    """The entry as one object."""
    return _incident(entry) if isinstance(entry, IncidentLine) else _event(entry)


def _frame(identity: str, time_us: int, status: str, severity: str, score: float) -> dict[str, object]:
    activity, name = ACTIVITIES[status]
    return {
        "metadata": {
            "version": OCSF_VERSION,
            "uid": identity,
            "product": {"name": "edge-demist", "vendor_name": "edge-demist", "version": __version__},
        },
        "time": time_us // 1000,
        "activity_id": activity,
        "activity_name": name,
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + activity,
        "type_name": f"Detection Finding: {name}",
        "severity_id": SEVERITIES[severity],
        "severity": severity.capitalize(),
        "confidence_score": round(100 * score),
    }


def _incident(line: IncidentLine) -> dict[str, object]:
    told = line.body
    body = _frame(line.event_id, line.time_us, str(told["status"]), line.severity, float(str(told["score"])))
    technique = told["technique"]
    assert isinstance(technique, Mapping)
    body["finding_info"] = {
        "uid": told["incident_id"],
        "title": f"{told['kind']} incident",
        "desc": told["sentence"],
        "types": told["kinds"],
        "first_seen_time": (parse_time(told["first"]) or 0) // 1000,
        "last_seen_time": (parse_time(told["last"]) or 0) // 1000,
        "created_time": (parse_time(told["raised"]) or 0) // 1000,
        "attacks": [
            {
                "version": "15.1",
                "technique": {"uid": technique["id"], "name": technique["name"]},
                "tactic": {"uid": technique["tactic"], "name": str(technique["tactic"])},
            }
        ],
    }
    body["message"] = told["sentence"]
    body["count"] = told["count"]
    body["observables"] = [_observable("client", c) for c in _texts(told["clients"])] + [
        _observable("entity", e) for e in _texts(told["entities"])
    ]
    body["evidences"] = [{"data": {"signs": told["evidence"]}}]
    body["unmapped"] = {"next": told["next"], "allow_rule": told["allow_rule"], "model": told["model"]}
    return body


def _event(event: Event) -> dict[str, object]:
    text = str(text_fields(event.text)["text"])
    severity, score = ("medium", event.alarm_score or 0.0) if event.alarm else ("informational", event.score or 0.0)
    body = _frame(event.event_id, event.origin.time_us or 0, "opened", severity, score)
    body["finding_info"] = {"uid": event.event_id, "title": f"{event.task}: {event.label}", "desc": text, "types": [event.task]}
    ends = event.origin.endpoints
    body["observables"] = [_observable(name, str(ends[name])) for name in ("src_ip", "dest_ip") if name in ends]
    place = {"file": event.origin.path, "offset": event.origin.offset, "log": event.origin.log, "field": event.field, "text": text}
    body["evidences"] = [{"data": place}]
    body["unmapped"] = {"model": event.model, "alarm": event.alarm, "threshold": event.threshold} | dict(event.seen)
    return body


def _observable(name: str, value: str) -> dict[str, object]:
    kind = ADDRESS if is_address(value) else HOSTNAME if "." in value else OTHER
    return {"name": name, "type_id": kind, "value": value}


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []
