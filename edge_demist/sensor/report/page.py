"""The report as one HTML file: no request, no framework, the data inside it.

Whatever a log held stays text: it travels as JSON in ASCII with ``<`` escaped, and reaches the page through ``textContent``
alone. The Content-Security-Policy lets only the script and the style run whose hashes it names (CSP level 2, section 4.2.5).
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edge_demist.sensor.incidents.told import is_number
from edge_demist.sensor.sources.timestamps import format_time, parse_time

WEB = Path(__file__).parent / "web"
MAX_SHOWN = 2000
MAX_EVENTS = 20
MAX_LIST = 64
_KEPT = (
    *("incident_id", "status", "kind", "kinds", "score", "severity", "first", "last", "raised", "clients", "entities", "count"),
    *("sentence", "evidence", "next", "allow_rule", "technique"),
)
_EVENT_KEPT = ("time", "task", "label", "alarm_score", "text", "file", "offset", "why")


def build_report(incidents: Sequence[dict[str, Any]], events: Iterable[dict[str, Any]] = (), *, title: str) -> bytes:
    """The page; the same bytes for the same incidents. Beyond 2000 incidents those with the highest score are shown."""
    shown = sorted(incidents, key=lambda i: (-float(i["score"]), i["incident_id"]))[:MAX_SHOWN]
    kept = [_kept(incident) for incident in sorted(shown, key=lambda i: (str(i["raised"]), i["incident_id"]))]
    _attach(kept, events)
    script, style = ((WEB / name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    policy = f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; base-uri 'none'; form-action 'none'"
    data = json.dumps({"title": title, "all": len(incidents), "incidents": kept}, separators=(",", ":")).replace("<", "\\u003c")
    page = string.Template((WEB / "report.html").read_text(encoding="utf-8")).substitute(
        policy=policy, title=html.escape(title), style=style, script=script, data=data
    )
    return page.encode("utf-8")


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _kept(incident: dict[str, Any]) -> dict[str, Any]:
    kept = {name: incident[name] for name in _KEPT if name in incident}
    for name in ("clients", "entities", "evidence", "next"):
        kept[name] = kept[name][:MAX_LIST]
    for name in ("first", "last", "raised"):
        kept[name] = format_time(parse_time(kept[name]) or 0)
    return kept | {"events": []}


def _attach(incidents: list[dict[str, Any]], events: Iterable[dict[str, Any]]) -> None:
    """Put alarms of the same client and time beside the incidents, at most twenty each."""
    by_client: dict[str, list[tuple[int, int, dict[str, Any]]]] = {}
    for incident in incidents:
        first, last = parse_time(incident["first"]) or 0, parse_time(incident["last"]) or 0
        for client in incident["clients"]:
            by_client.setdefault(str(client), []).append((first, last, incident))
    for event in events:
        time_us = parse_time(event.get("time"))
        if time_us is None or not event.get("alarm") or not _is_event(event):
            continue
        for side in ("src_ip", "dest_ip"):
            for first, last, incident in by_client.get(str(event.get(side)), ()):
                if first <= time_us <= last and len(incident["events"]) < MAX_EVENTS:
                    kept = {name: event[name] for name in _EVENT_KEPT if name in event}
                    incident["events"].append(kept | {"time": format_time(time_us)})


def _is_event(event: dict[str, Any]) -> bool:
    """Whether the page finds texts and numbers where it looks for them."""
    why = event.get("why", [])
    words = isinstance(why, list) and all(isinstance(one, dict) for one in why)
    return words and isinstance(event.get("text", ""), str) and is_number(event.get("alarm_score", 0))
