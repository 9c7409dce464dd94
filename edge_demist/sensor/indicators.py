"""What incidents found, back into the sensor: a Suricata dataset (its file and its socket) and a Zeek intelligence file.

Only what stands for itself is given: domains that one owner holds, public addresses, and the sources of scans. An indicator
expires some days after its incident was last seen; files are written anew without the expired ones.

Formats: Suricata user guide, "Datasets" (strings in base64) and "Interacting via Unix Socket"; Zeek manual, "Intelligence Framework".
"""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_demist.errors import EdgeDemistError
from edge_demist.io import shown
from edge_demist.sensor.incidents.observation import is_address, is_internal
from edge_demist.sensor.public_suffix import is_shared, registrable_domain
from edge_demist.sensor.sources.timestamps import format_time, parse_time

DAY_US = 86_400_000_000
MAX_ANSWER_BYTES = 1 << 20
PROTOCOL = "0.2"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


class SocketError(EdgeDemistError):
    """Suricata's socket cannot be used."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """A domain or an address, with the incident it comes from."""

    value: str
    is_address: bool
    incident: str
    kind: str
    score: float
    expires_us: int


def indicators(incidents: Iterable[Mapping[str, Any]], *, days: float, now_us: int, min_score: float) -> list[Indicator]:
    """The indicators of incidents of at least ``min_score`` that have not expired; of each value the one that lasts longest."""
    found: dict[str, Indicator] = {}
    for incident in incidents:
        expires = (parse_time(incident["last"]) or 0) + int(days * DAY_US)
        if incident["score"] < min_score or expires <= now_us:
            continue
        for value in incident["clients"] if incident["kind"] == "scan" else incident["entities"]:
            address = is_address(value)
            if not (not is_internal(value) if address else _owned(value)):
                continue
            held = found.get(value)
            if held is None or held.expires_us < expires:
                found[value] = Indicator(value, address, incident["incident_id"], incident["kind"], incident["score"], expires)
    return [found[value] for value in sorted(found)]


def _owned(name: str) -> bool:
    """Whether a name has one owner and may be written into a file that is read line by line."""
    return _NAME.fullmatch(name) is not None and bool(registrable_domain(name)) and not is_shared(name)


def suricata_dataset(items: Iterable[Indicator]) -> str:
    """The file of a dataset of type ``string``: names alone, in base64."""
    return "".join(base64.b64encode(item.value.encode()).decode() + "\n" for item in items if not item.is_address)


def zeek_intel(items: Iterable[Indicator]) -> str:
    """A file for ``Intel::read_files``."""
    lines = ["#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc"]
    for item in items:
        kind = "Intel::ADDR" if item.is_address else "Intel::DOMAIN"
        about = f"{item.kind} incident {item.incident}, score {item.score:.2f}, until {format_time(item.expires_us)}"
        lines.append(f"{item.value}\t{kind}\tedge-demist\t{shown(about)}")
    return "\n".join(lines) + "\n"


def _object(raw: bytes) -> dict[str, Any] | None:
    """An answer, if it is there as a whole."""
    if not raw.rstrip().endswith(b"}"):  # what comes byte by byte is not read as often
        return None
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


class SuricataSocket:
    """Suricata's command socket; JSON messages over a local stream."""

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        """Connect and shake hands.

        Raises:
            SocketError: nobody answers there.
        """
        self._path, self._buffer, self._timeout_s = path, b"", timeout_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
            answer = self._ask({"version": PROTOCOL})
        except OSError as error:
            self._socket.close()
            raise SocketError(f"{path}: {error.strerror or error}") from error
        if answer.get("return") != "OK":
            self._socket.close()
            raise SocketError(f"{path}: Suricata refuses protocol {PROTOCOL}: {answer}")

    def _ask(self, message: Mapping[str, object]) -> dict[str, Any]:
        self._socket.settimeout(self._timeout_s)
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        until = time.monotonic() + self._timeout_s
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            answer = _object(line if newline else self._buffer)
            if answer is not None:  # older versions end a message without a newline
                self._buffer = rest if newline else b""
                return answer
            left = until - time.monotonic()
            if newline or left <= 0:
                raise OSError(f"{self._path}: {'what came is no answer' if newline else 'the answer takes too long'}")
            self._socket.settimeout(left)
            block = self._socket.recv(1 << 16)
            if not block or len(self._buffer) > MAX_ANSWER_BYTES:
                raise OSError(f"{self._path}: the answer ends early")
            self._buffer += block

    def add(self, item: Indicator, dataset: str) -> bool:
        """Add a name to a dataset, with its verdict where Suricata takes one; False if it is there already or refused.

        Raises:
            SocketError: the connection broke.
        """
        base = {"setname": dataset, "settype": "string", "datavalue": base64.b64encode(item.value.encode()).decode()}
        verdict = json.dumps({"incident": item.incident, "kind": item.kind, "score": round(item.score, 4)})
        try:
            answer = self._ask({"command": "dataset-add-json", "arguments": base | {"datajson": verdict}})
            if answer.get("return") != "OK":
                answer = self._ask({"command": "dataset-add", "arguments": base})
        except OSError as error:
            raise SocketError(f"{self._path}: {error.strerror or error}") from error
        return answer.get("return") == "OK"

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
