"""An incident: cases that belong together, told when it opens, when it grows by an order or a kind, and when it closes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from edge_demist.sensor.detect.allow import suggest
from edge_demist.sensor.events import printable
from edge_demist.sensor.incidents.case import Case, Evidence, Example
from edge_demist.sensor.incidents.contacts import Contact
from edge_demist.sensor.incidents.tunnels import Tunnel
from edge_demist.sensor.incidents.wording import SIGNS, TECHNIQUES, next_steps, sentence
from edge_demist.sensor.restoring import real, whole
from edge_demist.sensor.sources.timestamps import format_time

MAX_CLIENTS, MAX_ENTITIES, MAX_PARTS = 32, 64, 16
MAX_LOG_ODDS = 12.0
TEMPERATURE = 2.0
"""Sums of dependent signs are too sure of themselves: log odds are divided by this for the probability."""
SEVERITIES = ((0.98, "critical"), (0.9, "high"), (0.7, "medium"), (0.0, "low"))


@dataclass(slots=True)
class Part:
    """What an incident keeps of a case: its strongest state so far."""

    kind: str
    log_odds: float
    evidence: list[Evidence]
    examples: list[Example]
    entities: list[str]
    count: int


def kind_of(case: Case) -> str:
    """What a case shows: its own kind, or for a contact what its heaviest signs say."""
    if not isinstance(case, Contact):
        return case.kind
    signs = case.signs
    if {"mail_port", "transfer_port", "big_upload"} & set(signs):
        return "exfiltration"
    if "program" in signs:
        return "download"
    phishing = signs.get("phishing_3", 0.0) + signs.get("phishing_2", 0.0)
    if phishing and not {"no_agent", "program_agent", "bare_address", "odd_port", "odd_port_unnamed"} & set(signs):
        return "phishing"
    return "c2"


def size_of(case: Case) -> int:
    """How much of it there is: names, requests or contacts."""
    if isinstance(case, Tunnel):
        return case.distinct
    return len(getattr(case, "domains", ())) or int(getattr(case, "requests", 0) or getattr(case, "contacts", 0))


@dataclass(slots=True)
class Incident:
    """``identity`` is the same at every reading of the same logs; ``told`` counts the lines written about it."""

    identity: str
    raised_us: int
    first_us: int
    last_us: int
    clients: list[str] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)
    told: int = 0
    told_order: int = 0
    told_kinds: list[str] = field(default_factory=list)
    told_last_us: int = -1
    followers: int = 0

    def take(self, case: Case, weights: Mapping[str, float], log_odds: float) -> None:
        """Take a case, or its newer state; the strongest state is kept."""
        self.first_us, self.last_us = min(self.first_us, case.first_us), max(self.last_us, case.last_us)
        if case.key[0] not in self.clients and len(self.clients) < MAX_CLIENTS:
            self.clients.append(case.key[0])
        name = "\0".join((case.kind, *case.key))
        held = self.parts.get(name)
        if held is None and len(self.parts) >= MAX_PARTS:
            return
        if held is None or log_odds >= held.log_odds:
            new = case.entities()[:MAX_ENTITIES]
            old = [entity for entity in (held.entities if held else ()) if entity not in new]
            count = max(size_of(case), held.count if held else 0)
            entities = (new + old)[:MAX_ENTITIES]
            self.parts[name] = Part(kind_of(case), log_odds, case.evidence(weights), list(case.examples), entities, count)
        else:
            held.count = max(held.count, size_of(case))

    @property
    def log_odds(self) -> float:
        """That at least one part is what it looks like: the logarithm of the summed odds, capped."""
        odds = [part.log_odds for part in self.parts.values()]
        top = max(odds)
        return min(top + math.log(sum([math.exp(max(one - top, -50.0)) for one in odds])), MAX_LOG_ODDS)

    @property
    def score(self) -> float:
        """The probability that the incident is one."""
        return 1.0 / (1.0 + math.exp(-self.log_odds / TEMPERATURE))

    @property
    def severity(self) -> str:
        """In words."""
        score = self.score
        return next(word for least, word in SEVERITIES if score >= least)

    @property
    def strongest(self) -> Part:
        """The part that says most."""
        return max(self.parts.values(), key=attrgetter("log_odds"))

    @property
    def count(self) -> int:
        """Names, requests and contacts of all parts."""
        return sum([part.count for part in self.parts.values()])

    @property
    def order(self) -> int:
        """The power of ten of :attr:`count`."""
        return int(math.log10(max(self.count, 1)))

    @property
    def kinds(self) -> list[str]:
        """Kinds of its parts, in order of appearance."""
        return list(dict.fromkeys(part.kind for part in self.parts.values()))

    @property
    def has_grown(self) -> bool:
        """By an order or a kind since it was last told."""
        return self.order > self.told_order or not set(self.kinds) <= set(self.told_kinds)

    @property
    def is_open(self) -> bool:
        """Whether there is anything since it was told as closed."""
        return self.last_us > self.told_last_us

    def entities(self) -> list[str]:
        """Of the parts that would open an incident themselves, the strongest first; each once."""
        parts = sorted(self.parts.values(), key=lambda part: -part.log_odds)
        parts = parts[:1] + [part for part in parts[1:] if part.log_odds >= 0.0]
        return list(dict.fromkeys(entity for part in parts for entity in part.entities))[:MAX_ENTITIES]

    def tell(self, status: str, model: str) -> dict[str, object]:
        """The line about it; from now on it has been told."""
        self.told += 1
        self.told_order, self.told_kinds = self.order, self.kinds
        self.told_last_us = self.last_us if status == "closed" else -1
        main = self.strongest
        entities = [printable(entity) for entity in self.entities()]
        examples = [example for part in self.parts.values() for example in part.examples]
        technique, technique_name, tactic = TECHNIQUES[main.kind]
        signs = [e.sign for e in main.evidence if e.adds > 0]
        return {
            "event_id": _hash(self.identity, str(self.told)),
            "incident_id": self.identity,
            "status": status,
            "kind": main.kind,
            "kinds": self.kinds,
            "score": round(self.score, 6),
            "log_odds": round(self.log_odds, 3),
            "severity": self.severity,
            "first": format_time(self.first_us),
            "last": format_time(self.last_us),
            "raised": format_time(self.raised_us),
            "clients": [printable(client) for client in self.clients],
            "entities": entities,
            "count": self.count,
            "followers": self.followers,
            "sentence": sentence(main.kind, [printable(c) for c in self.clients], [printable(e) for e in main.entities], main.count, signs),
            "evidence": [entry for part in self.parts.values() for entry in _evidence(part)],
            "next": next_steps(main.kind, [(printable(e.file), e.offset) for e in examples]),
            "allow_rule": _allow_rule(next(name.split("\0")[1] for name, part in self.parts.items() if part is main), main),
            "technique": {"id": technique, "name": technique_name, "tactic": tactic},
            "model": model,
        }

    def state(self) -> list[object]:
        """For the checkpoint."""
        parts = [
            [
                name,
                p.kind,
                p.log_odds,
                [[e.sign, e.value, e.adds] for e in p.evidence],
                [[e.sign, e.text, e.file, e.offset] for e in p.examples],
                p.entities,
                p.count,
            ]
            for name, p in self.parts.items()
        ]
        times = [self.raised_us, self.first_us, self.last_us]
        return [self.identity, times, self.clients, parts, self.told, self.told_order, self.told_kinds, self.told_last_us, self.followers]

    @classmethod
    def restored(cls, state: Sequence[object]) -> Incident:
        """From the checkpoint."""
        identity, times, clients, parts, told, order, kinds, told_last, followers = state
        raised, first, last = (whole(t) for t in times)  # type: ignore[attr-defined]
        incident = cls(str(identity), raised, first, last, [str(c) for c in clients])  # type: ignore[attr-defined]
        for name, kind, log_odds, evidence, examples, entities, count in parts:  # type: ignore[attr-defined]
            if kind not in TECHNIQUES or "\0" not in str(name):
                raise ValueError(f"unknown kind {kind!r}, or no name of a part"[:100])
            signs = [Evidence(str(sign), whole(value) if type(value) is int else real(value), real(adds)) for sign, value, adds in evidence]
            seen = [Example(str(sign), str(text), str(file), whole(offset)) for sign, text, file, offset in examples]
            incident.parts[str(name)] = Part(kind, real(log_odds), signs, seen, [str(e) for e in entities], whole(count))
        if not incident.parts:
            raise ValueError("an incident without parts")
        incident.told, incident.told_order, incident.told_last_us = whole(told), whole(order), whole(told_last)
        incident.followers = whole(followers)
        incident.told_kinds = [str(k) for k in kinds]  # type: ignore[attr-defined]
        return incident


def _evidence(part: Part) -> list[dict[str, object]]:
    subject = printable(part.entities[0]) if part.entities else ""
    shown: dict[str, list[dict[str, object]]] = {}
    for x in part.examples:
        shown.setdefault(x.sign, []).append({"text": printable(x.text), "file": printable(x.file), "offset": x.offset})
    return [
        {
            "kind": part.kind,
            "about": subject,
            "sign": e.sign,
            "says": SIGNS.get(e.sign, e.sign),
            "value": round(e.value, 3),
            "adds": round(e.adds, 3),
            "examples": shown.get(e.sign, []),
        }
        for e in part.evidence
    ]


def _allow_rule(source: str, part: Part) -> dict[str, str]:
    """The rule that would silence the incident: the source of a scan, else the address or domain it is about."""
    if part.kind == "scan":
        return suggest(source, "uri-attack")
    if not part.entities:
        return {}
    return suggest(part.entities[0], {"tunnel": "dns-tunnel", "dga": "dga"}.get(part.kind, "hostname-threat"))


def new_identity(*parts: str) -> str:
    """The id of an incident: who and what it began with, and when."""
    return _hash("incident", *parts)


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
