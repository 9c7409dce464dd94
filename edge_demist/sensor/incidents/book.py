"""The open incidents: which case opens one, which joins one, when something is told."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from edge_demist.sensor.detect.allow import AllowList
from edge_demist.sensor.incidents.budget import IncidentBudget
from edge_demist.sensor.incidents.case import HOUR_US, Case
from edge_demist.sensor.incidents.generated import GeneratedNames
from edge_demist.sensor.incidents.incident import Incident, new_identity
from edge_demist.sensor.incidents.looks import Embed, Looks
from edge_demist.sensor.incidents.weights import Weights
from edge_demist.sensor.restoring import whole

MAX_OPEN = 256
MAX_KEYS = 8192
"""Hosts, zones, clients and sources by which cases join open incidents; beyond that the oldest joins none."""
MAX_NAMES = 16
"""Generated names of a case by which another joins it."""
IDLE_US = 8 * HOUR_US
"""Silence after which an incident closes; what comes later opens another."""


_TASKS = {
    "dga": (),
    "tunnel": ("dns-tunnel",),
    "contact": ("hostname-threat", "url-phishing", "dga"),
    "scan": ("uri-attack", "user-agent"),
}
"""The specialists whose allow rules silence a kind of case; of generated names each is left out before it is counted."""


class IncidentBook:
    """Takes cases as they change; gives back the lines to write."""

    def __init__(self, weights: Weights, model: str, budget: IncidentBudget | None = None, embed: Embed | None = None) -> None:
        """Start without incidents."""
        self.looks = Looks(embed)
        self._weights, self.model, self.budget = weights, model, budget
        self.allow = AllowList()
        self._open: OrderedDict[str, Incident] = OrderedDict()
        self._by_key: OrderedDict[str, str] = OrderedDict()
        self.held_back = 0

    def take(self, case: Case, now_us: int) -> list[dict[str, object]]:
        """A case has changed."""
        table = self._weights.signs[case.kind]
        log_odds = case.log_odds(table)
        if log_odds < self._weights.join or self._is_allowed(case):
            return []
        keys = list(_keys(case))
        found = next((index for index, key in enumerate(keys) if key in self._by_key), None)
        if found is None:
            if log_odds < self._weights.open:
                return []
            incident = self._begin_or_follow(case, log_odds, now_us)
        else:
            incident = self._open[self._by_key[keys[found]]]
            keys = keys[: found + 1]  # what joins by its host does not bring its client's other hosts along
        before = incident.log_odds if incident.parts else None
        incident.take(case, table, log_odds)
        for key in keys:
            self._by_key.setdefault(key, incident.identity)
            self._by_key.move_to_end(key)
        while len(self._by_key) > MAX_KEYS:
            self._by_key.popitem(last=False)
        self._open.move_to_end(incident.identity)
        if incident.told:
            if self.budget is not None:
                self.budget.grown(incident.identity, incident.log_odds)
            return [incident.tell("grown", self.model)] if incident.has_grown else []
        return [*self._open_within_budget(incident, before, now_us), *self._trim()]

    def _open_within_budget(self, incident: Incident, before: float | None, now_us: int) -> list[dict[str, object]]:
        """Tell about an incident for the first time, if the budget lets it; it may come again when it has grown worse."""
        if self.budget is not None:
            self.budget.note(incident.log_odds, before, now_us)
            if not self.budget.allows(incident.log_odds, now_us):
                self.held_back += before is None
                return []
            self.budget.take(incident.identity, incident.log_odds, now_us)
        incident.raised_us = now_us
        return [incident.tell("opened", self.model)]

    def _is_allowed(self, case: Case) -> bool:
        """Whether an allow rule silences what the case is about."""
        if not self.allow.rules:
            return False
        entities = case.key if case.kind == "scan" else case.entities()[:1]  # a scan: its source, or its server
        return any(self.allow.find(entity, task) for entity in entities for task in _TASKS[case.kind])

    def _begin_or_follow(self, case: Case, log_odds: float, now_us: int) -> Incident:
        """The incident that a case looks like, else a new one; where too many are open, the last of its kind that is no less likely."""
        leader, own = self.looks.leader(case)
        if leader is None and len(self._open) >= MAX_OPEN:
            leader = self._of_an_outbreak(case.kind, log_odds)
        if leader is not None:
            self._open[leader].followers += 1
            return self._open[leader]
        incident = self._begin(case, now_us)
        self.looks.hold(incident.identity, case, own)
        return incident

    def _of_an_outbreak(self, kind: str, log_odds: float) -> str | None:
        """Hundreds of clients that do the same at once are one incident: opened and closed in turn each would be told with every record."""
        for identity, incident in reversed(self._open.items()):
            if any(name.startswith(f"{kind}\0") for name in incident.parts) and incident.log_odds >= log_odds:
                return identity
        return None

    def _begin(self, case: Case, now_us: int) -> Incident:
        identity = new_identity(case.kind, *case.key, str(now_us))
        incident = self._open[identity] = Incident(identity, now_us, case.first_us, case.last_us)
        return incident

    def _trim(self) -> list[dict[str, object]]:
        return self._close(next(iter(self._open))) if len(self._open) > MAX_OPEN else []

    def close_idle(self, now_us: int) -> list[dict[str, object]]:
        """Close what has been silent for eight hours."""
        idle = [identity for identity, incident in self._open.items() if now_us - incident.last_us >= IDLE_US]
        return [line for identity in idle for line in self._close(identity)]

    def close_all(self) -> list[dict[str, object]]:
        """The logs end here: everything is told as closed; what goes on within eight hours keeps its id."""
        return [incident.tell("closed", self.model) for incident in self._open.values() if incident.told and incident.is_open]

    def _close(self, identity: str) -> list[dict[str, object]]:
        incident = self._open.pop(identity)
        self.looks.drop(identity)
        for key in [key for key, held in self._by_key.items() if held == identity]:
            del self._by_key[key]
        return [incident.tell("closed", self.model)] if incident.told and incident.is_open else []

    def __len__(self) -> int:
        """Open incidents."""
        return len(self._open)

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {
            "open": [incident.state() for incident in self._open.values()],
            "keys": list(self._by_key.items()),
            "looks": self.looks.state(),
            "budget": self.budget.state() if self.budget else {},
            "held_back": self.held_back,
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """From the checkpoint."""
        for item in state.get("open", ()):  # type: ignore[attr-defined]
            incident = Incident.restored(item)
            self._open[incident.identity] = incident
        keys = list(state.get("keys", ()))[-MAX_KEYS:]  # type: ignore[call-overload]
        self._by_key = OrderedDict((str(key), str(held)) for key, held in keys if held in self._open)
        self.looks.load(state.get("looks", ()), self._open)  # type: ignore[arg-type]
        self.held_back = whole(state.get("held_back", 0))
        if self.budget is not None:
            self.budget.restore(state.get("budget", {}))  # type: ignore[arg-type]


def _keys(case: Case) -> Iterator[str]:
    """What a case may be joined by, the closest first: the host or zone, then the client (or the scanning source)."""
    if case.kind in ("contact", "tunnel"):
        yield f"host\0{case.key[1]}"
    if case.kind != "tunnel":  # two tunnels of one resolver are two incidents
        yield f"{'source' if case.kind == 'scan' else 'client'}\0{case.key[0]}"
    if isinstance(case, GeneratedNames):  # clients with the same generated names have the same program, or are one host
        missing = (f"name\0{domain}" for domain, (_, level, failed) in case.domains.items() if level and failed)
        yield from itertools.islice(missing, MAX_NAMES)
