"""Scans: attack values, tools' user agents, and the many missing pages and closed ports that one source meets at one server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge_demist.sensor.incidents.case import Case
from edge_demist.sensor.incidents.contacts import BROWSERS
from edge_demist.sensor.incidents.counters import Distinct
from edge_demist.sensor.incidents.observation import Observation
from edge_demist.sensor.restoring import real, whole

COUNTED = 5
USUAL_MISSING, USUAL_PORTS, USUAL_HOSTS = 16, 8, 32


@dataclass(slots=True)
class Scan(Case):
    """Key: (source, server). ``inbound``: from outside to this network; ``by_program``: an attack value came from no browser."""

    kind: ClassVar[str] = "scan"
    attacks: Distinct = field(default_factory=Distinct)
    strong: Distinct = field(default_factory=Distinct)
    labels: list[str] = field(default_factory=list)
    tool: float = 0.0
    missing: Distinct = field(default_factory=Distinct)
    ports: Distinct = field(default_factory=Distinct)
    requests: int = 0
    inbound: bool = False
    outbound: bool = False
    by_program: bool = False

    def add_request(self, seen: Observation) -> bool:
        """A request; True if it changes the case."""
        level, label, tool = seen.levels.get("uri-attack", 0), seen.attack, seen.tool
        self.touch(seen.time_us)
        self.requests += 1
        changed = False
        if level >= 1 and self.attacks.add(seen.uri):
            changed = True
            self.remember("strong_attacks" if level >= 2 else "attacks", seen.uri, seen.file, seen.offset)
            self.by_program |= seen.agent_kind not in BROWSERS
        if level >= 2:
            changed |= self.strong.add(seen.uri)
            if label and label not in self.labels and len(self.labels) < 8:
                self.labels.append(label)
        if tool > self.tool:
            self.tool, changed = tool, True
            if tool > 0.9:
                self.remember("tool", seen.agent, seen.file, seen.offset)
        if seen.status in (403, 404) and self.missing.add(seen.uri) and self.missing.count > USUAL_MISSING:
            changed = True
            self.remember("missing_pages", seen.uri, seen.file, seen.offset)
        return changed

    def add_closed_port(self, seen: Observation) -> bool:
        """A connection that did not come about; True if it changes the case."""
        self.touch(seen.time_us)
        if not self.ports.add(str(seen.port)):
            return False
        self.remember("closed_ports", f"{seen.server}:{seen.port}", seen.file, seen.offset)
        return self.ports.count > USUAL_PORTS

    def features(self) -> dict[str, float]:
        """Numbers of distinct values, capped or by powers of two above the usual."""
        return {
            "attacks": min(self.attacks.count, COUNTED),
            "strong_attacks": min(self.strong.count, COUNTED),
            "attack_kinds": max(0, min(len(self.labels), 3) - 1),
            "tool": max(0.0, self.tool - 0.9) * 10,
            "missing_pages": math.log2(max(self.missing.count, USUAL_MISSING) / USUAL_MISSING),
            "closed_ports": math.log2(max(self.ports.count, USUAL_PORTS) / USUAL_PORTS),
            "reads_pages": float(self.outbound and self.attacks.count > 0 and not self.by_program),
            "inbound": float(self.inbound and (self.attacks.count > 0 or self.tool > 0.9)),
        }

    def entities(self) -> list[str]:
        """The server."""
        return [self.key[1]]

    def state(self) -> list[object]:
        """For the checkpoint."""
        counters = [c.state() for c in (self.attacks, self.strong, self.missing, self.ports)]
        return [self._shared_state(), counters, self.labels, self.tool, self.requests, self.inbound, self.outbound, self.by_program]

    @classmethod
    def restored(cls, key: tuple[str, ...], state: Sequence[object]) -> Scan:
        """From the checkpoint."""
        case = cls(key)
        shared, counters, labels, tool, requests, *flags = state
        case._restore_shared(shared)  # type: ignore[arg-type]
        case.attacks, case.strong, case.missing, case.ports = (Distinct.restored(c) for c in counters)  # type: ignore[attr-defined]
        case.labels = [str(label) for label in labels]  # type: ignore[attr-defined]
        case.tool, case.requests = real(tool), whole(requests)
        case.inbound, case.outbound, case.by_program = (bool(flag) for flag in flags)
        return case
