"""Generated names: how many distinct registrable domains, looked up by one client within an hour, do not exist or look generated."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge_demist.sensor.incidents.case import HOUR_US, Case
from edge_demist.sensor.incidents.lookups import Seen
from edge_demist.sensor.incidents.observation import MAIL_TYPES
from edge_demist.sensor.restoring import whole

MAX_DOMAINS = 128
COUNTED = 40
ONE_HOST = 2048
"""Look-ups an hour that one host may make; an address with more stands for many (a resolver, NAT), whose chance finds add up."""
CHANCE = {"missing_generated": 1 / 4096, "missing": 1 / 128, "generated": 1 / 256, "strong": 1 / 2048}
"""What ordinary look-ups beyond those bring by chance, of each sign: mistyped and dead names, and the specialist's own rate."""


class Outage:
    """Whether nearly nothing resolves, for several clients: then names that do not exist speak against nobody."""

    LOOKUPS, FAILED, CLIENTS = 48, 36, 3

    def __init__(self) -> None:
        """Start with a resolver that works."""
        self.answers: deque[tuple[str, bool]] = deque(maxlen=self.LOOKUPS)
        """The last ones to look-ups of ordinary names: who asked, and whether there was no such name."""

    @property
    def is_on(self) -> bool:
        """By the last 48 answers."""
        failing = [client for client, failed in self.answers if failed]
        return len(failing) >= self.FAILED and len(set(failing)) >= self.CLIENTS

    def state(self) -> list[list[object]]:
        """For the checkpoint."""
        return [[client, failed] for client, failed in self.answers]

    def load(self, state: Iterable[Sequence[object]]) -> None:
        """From the checkpoint."""
        self.answers.extend((str(client), bool(failed)) for client, failed in state)


@dataclass(slots=True)
class GeneratedNames(Case):
    """Key: (client,). A domain counts once an hour: by the specialist's level, and by whether it exists."""

    kind: ClassVar[str] = "dga"
    domains: OrderedDict[str, tuple[int, int, bool]] = field(default_factory=OrderedDict)
    mail: OrderedDict[str, int] = field(default_factory=OrderedDict)
    asked: int = 0
    asked_before: int = 0
    hour_us: int = 0
    due_us: int = 0
    """Until when, from ``hour_us`` on, there is nothing to forget."""
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    """Of the domains: that are missing, look generated, both, and generated at the next stricter level."""

    def add(self, seen: Seen, domain: str, level: int, *, missing: bool) -> bool:
        """A look-up; True if it changes the case.

        ``level``: 0 to 3, how strict a false-positive rate the dga score passes; ``missing``: that it does not exist says something.
        """
        self.forget(seen.time_us)
        if seen.query_type in MAIL_TYPES:
            self.mail[domain] = seen.time_us
            self.mail.move_to_end(domain)
            if len(self.mail) > MAX_DOMAINS:
                self.mail.popitem(last=False)
            self._drop(domain)
            self._note_due()
            return False
        if domain in self.mail:
            return False
        before = self.domains.get(domain)
        missing = missing and seen.failed
        if not missing and not level and before is None:
            return False
        self.touch(seen.time_us)
        level, failed = max(level, before[1] if before else 0), missing or (before is not None and before[2])
        self._drop(domain)
        self._hold(domain, max(seen.time_us, before[0] if before else 0), level, failed=failed)
        if len(self.domains) > MAX_DOMAINS:
            self._drop(next(iter(self.domains)))
        self._note_due()
        if before is not None and before[1:] == (level, failed):
            return False
        sign = "missing_generated" if failed and level else "missing" if failed else "generated"
        self.remember(sign, seen.name, seen.file, seen.offset)
        return True

    def forget(self, now_us: int) -> None:
        """What was looked up over an hour ago counts no more; ``asked`` are the look-ups since ``hour_us``."""
        if self.hour_us <= now_us < self.due_us:
            self.asked += 1
            return
        past = now_us - self.hour_us
        if not 0 <= past < HOUR_US:
            self.asked_before = self.asked * HOUR_US // past if past > 0 else 0
            self.asked, self.hour_us = 0, now_us
        self.asked += 1
        domains = self.domains
        while domains and now_us - domains[domain := next(iter(domains))][0] >= HOUR_US:
            self._drop(domain)
        self._note_due()

    def _hold(self, domain: str, time_us: int, level: int, *, failed: bool) -> None:
        self.domains[domain] = time_us, level, failed
        self._count(level, failed, 1)

    def _drop(self, domain: str) -> None:
        _, level, failed = self.domains.pop(domain, (0, 0, False))
        self._count(level, failed, -1)

    def _count(self, level: int, failed: bool, step: int) -> None:
        counts = self.counts
        if failed:
            counts[0] += step
        if level > 0:
            counts[1] += step
            counts[2] += step * failed
        if level > 1:
            counts[3] += step

    def _note_due(self) -> None:
        first = next(iter(self.domains.values()))[0] if self.domains else self.hour_us
        self.due_us = min(self.hour_us, first) + HOUR_US

    def excuse(self, domain: str) -> None:
        """Others miss this domain too: that it does not exist speaks against nobody."""
        held = self.domains.get(domain)
        if held is not None and not held[1]:
            self._drop(domain)
            self._note_due()

    def features(self) -> dict[str, float]:
        """Distinct domains: missing ones, generated ones, and those that are both; ``strong``: generated at the next stricter level."""
        missing, generated, both, strong = self.counts
        found = {"missing_generated": both, "missing": missing - both, "generated": generated - both, "strong": strong}
        many = max(0, self.asked + self.asked_before - ONE_HOST)
        return {sign: min(max(count - int(many * CHANCE[sign]), 0), COUNTED) for sign, count in found.items()}

    def entities(self) -> list[str]:
        """The domains, those that look most generated first."""
        return [d for d, _ in sorted(self.domains.items(), key=lambda item: (-item[1][1], -item[1][2], item[0]))]

    def state(self) -> list[object]:
        """For the checkpoint."""
        domains = [[d, *v] for d, v in self.domains.items()]
        return [self._shared_state(), domains, list(self.mail.items()), self.asked, self.asked_before, self.hour_us]

    @classmethod
    def restored(cls, key: tuple[str, ...], state: Sequence[object]) -> GeneratedNames:
        """From the checkpoint."""
        case = cls(key)
        case._restore_shared(state[0])  # type: ignore[arg-type]
        for domain, time_us, level, failed in state[1]:  # type: ignore[attr-defined]
            case._drop(str(domain))
            case._hold(str(domain), whole(time_us), whole(level), failed=bool(failed))
        case.asked, case.asked_before, case.hour_us = (whole(number) for number in state[3:6])
        case._note_due()
        case.mail = OrderedDict((str(domain), whole(time_us)) for domain, time_us in state[2])  # type: ignore[attr-defined]
        return case
