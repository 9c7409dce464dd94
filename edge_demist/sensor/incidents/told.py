"""Reading what ``watch --emit incidents`` wrote: lines of one incident become one object."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edge_demist.errors import InputError
from edge_demist.io import bounded_lines
from edge_demist.sensor.sources.timestamps import parse_time

MAX_LINE_BYTES = 4 << 20
MAX_INCIDENTS = 50_000
MAX_NUMBER = 1e300


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
        value = json.loads(line, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    body = value.get("ml", value) if isinstance(value, dict) else None  # the EVE form
    return body if isinstance(body, dict) else None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    """A number that can be written again; what is beyond all numbers makes the line none."""
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is beyond all numbers")
    return value


def merge(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One object an incident: its last line, with the highest score; by the time it was raised.

    Lines that are none are left out, and so is what exceeds 50,000 incidents.
    """
    merged: dict[str, dict[str, Any]] = {}
    for line in lines:
        identity = line.get("incident_id")
        if not isinstance(identity, str) or not _is_complete(line):
            continue
        held = merged.get(identity)
        if held is None and len(merged) >= MAX_INCIDENTS:
            continue
        top = max(line["score"], held["score"]) if held else line["score"]
        merged[identity] = {"kinds": [line["kind"]]} | line | {"score": top}
    return sorted(merged.values(), key=lambda incident: (parse_time(incident["raised"]) or 0, incident["incident_id"]))


def _is_complete(line: dict[str, Any]) -> bool:
    """Whether readers find what they need, of the kind they need."""
    texts = all(isinstance(line.get(name), str) for name in ("kind", "severity", "status", "sentence"))
    times = all(isinstance(line.get(name), str) and parse_time(line[name]) is not None for name in ("first", "last", "raised"))
    lists = all(_are(line.get(name), str) for name in ("clients", "entities", "next")) and _are(line.get("kinds", []), str)
    return (
        texts
        and times
        and lists
        and is_number(line.get("score"))
        and _are(line.get("evidence"), dict)
        and all(map(_is_sign, line["evidence"]))
    )


def _is_sign(entry: dict[str, Any]) -> bool:
    named = isinstance(entry.get("says"), str) and isinstance(entry.get("about"), str) and is_number(entry.get("adds"))
    examples = entry.get("examples", [])
    return named and _are(examples, dict) and all(isinstance(one.get("text"), str) for one in examples)


def _are(values: object, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def is_number(value: object) -> bool:
    """Whether a value of JSON is a number that a float can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MAX_NUMBER


def read_incidents(path: Path) -> list[dict[str, Any]]:
    """The incidents of a file.

    Raises:
        InputError: it cannot be read, or holds no incident.
    """
    found = merge(read_objects(path))
    if not found:
        raise InputError(f"{path}: no incident in it; it is made by edge-demist watch --emit incidents -o {path}")
    return found
