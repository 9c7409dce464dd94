"""Reading what ``watch --emit incidents`` wrote: lines of one incident become one object."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edge_demist.errors import InputError
from edge_demist.io import bounded_lines
from edge_demist.sensor.sources.timestamps import parse_time

MAX_LINE_BYTES = 4 << 20
MAX_INCIDENTS = 50_000


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one a line; other lines are left out.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            for lines in bounded_lines(stream, MAX_LINE_BYTES):
                for line, cut in lines:
                    value = None if cut else _object(line)
                    if value is not None:
                        yield value
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    body = value.get("ml", value) if isinstance(value, dict) else None  # the EVE form
    return body if isinstance(body, dict) else None


def merge(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One object an incident: its last line, with the highest score; by the time it was raised.

    Lines that are none are left out, and so is what exceeds 50,000 incidents.
    """
    merged: dict[str, dict[str, Any]] = {}
    for line in lines:
        identity = line.get("incident_id")
        if not isinstance(identity, str) or parse_time(line.get("raised")) is None or not _is_complete(line):
            continue
        held = merged.get(identity)
        if held is None and len(merged) >= MAX_INCIDENTS:
            continue
        top = max(line["score"], held["score"]) if held else line["score"]
        merged[identity] = line | {"score": top}
    return sorted(merged.values(), key=lambda incident: (parse_time(incident["raised"]) or 0, incident["incident_id"]))


def _is_complete(line: dict[str, Any]) -> bool:
    texts = all(isinstance(line.get(name), str) for name in ("kind", "first", "last", "severity", "status", "sentence"))
    lists = all(isinstance(line.get(name), list) for name in ("clients", "entities", "evidence", "next"))
    return texts and lists and isinstance(line.get("score"), (int, float)) and not isinstance(line.get("score"), bool)


def read_incidents(path: Path) -> list[dict[str, Any]]:
    """The incidents of a file.

    Raises:
        InputError: it cannot be read, or holds no incident.
    """
    found = merge(read_objects(path))
    if not found:
        raise InputError(f"{path}: no incident in it; it is made by edge-demist watch --emit incidents -o {path}")
    return found
