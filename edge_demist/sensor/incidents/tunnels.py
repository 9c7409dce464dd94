"""Tunnels: what one client puts into names below one zone, by the hour."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from edge_demist.sensor.incidents.case import DAY_US, HOUR_US, Case
from edge_demist.sensor.incidents.counters import Distinct
from edge_demist.sensor.incidents.lookups import Lookup, Row, Seen, lookup
from edge_demist.sensor.restoring import real, whole

ORDINARY_TYPES = frozenset(("", "A", "AAAA", "PTR", "HTTPS", "SOA", "NS"))
FULL_LENGTH = 24
USUAL_NAMES = 8
"""Fewer distinct names than this below one zone in an hour say nothing."""
MIN_LOGIT, MAX_LOGIT = -3.0, 4.0
LOOKS_LIKE_DATA = 0.5
"""What brings nothing back counts only if the specialist finds so: look-ups in block lists, suffixes that are tried, searches for hosts."""
MAX_VISITS = 255
"""More connections to hosts of the zone than this say no more for it."""
_COUNTED_THROUGH = re.compile(r"(?<=[a-z\-_])[0-9]+(?=[.\-_]|\Z)")


def _is_listing(seen: Seen | FirstName) -> bool:
    """Whether the answers are codes of a list of addresses or files: all of them in 127.0.0.0/8 (RFC 5782, section 2.3)."""
    answers = seen.answers
    return bool(answers) and answers[0].startswith("127.") and all(answer.startswith("127.") for answer in answers)


@dataclass(slots=True)
class _Hour:
    """Counts of one hour of log time; only names not seen before in it count.

    ``version_4`` and ``beside``: look-ups for A, and for AAAA or HTTPS. What opens connections asks for both; a tunnel asks once.
    """

    names: Distinct = field(default_factory=Distinct)
    verdicts: float = 0.0
    chars: int = 0
    rare_types: int = 0
    lookups: int = 0
    version_4: int = 0
    beside: int = 0
    judged: int = 0

    def features(self) -> dict[str, float]:
        count = self.names.count
        if count < 2:
            return {}
        judged = max(self.judged, 1)  # of many names a sketch takes only some
        return {
            "distinct_names": math.log2(max(count, USUAL_NAMES) / USUAL_NAMES),
            "verdict": max(MIN_LOGIT, min(MAX_LOGIT, self.verdicts / judged)) * min(1.0, count / USUAL_NAMES),
            "length": min(self.chars / judged, 120) / 40,
            "rare_types": self.rare_types / max(self.lookups, 1),
            "paired": min(self.version_4, self.beside, self.lookups - count, count) / count if self.lookups > count else 0.0,
        }

    def state(self) -> list[object]:
        counts = [self.chars, self.rare_types, self.lookups, self.version_4, self.beside, self.judged]
        return [self.names.state(), round(self.verdicts, 4), *counts]

    @classmethod
    def restored(cls, state: Sequence[object]) -> _Hour:
        names, verdicts, *counts = state
        return cls(Distinct.restored(names), real(verdicts), *(whole(count) for count in counts))


class FirstName(NamedTuple):
    """The only look-up so far that a client has made below a zone."""

    time_us: int
    name: str
    failed: bool
    query_type: str
    answers: tuple[str, ...]
    tunnel: float
    file: str
    offset: int

    @classmethod
    def of(cls, seen: Seen) -> FirstName | Row:
        """What a tunnel needs to know of it; what is small as it is stays."""
        if isinstance(seen, Lookup):
            return seen
        return cls(seen.time_us, seen.name, seen.failed or _is_listing(seen), seen.query_type, (), seen.tunnel, seen.file, seen.offset)


@dataclass(slots=True)
class Tunnel(Case):
    """Key: (client, zone). ``others`` are the further clients that the memory knows of the zone, ``visits`` connections to its hosts."""

    kind: ClassVar[str] = "tunnel"
    start_us: int = 0
    now: _Hour = field(default_factory=_Hour)
    before: _Hour | None = None
    bytes_in_names: int = 0
    others: int = 0
    visits: int = 0
    known: bool = False

    @classmethod
    def begun(cls, key: tuple[str, ...], held: FirstName | Row) -> Tunnel:
        """A zone's tunnel, with the first name of it."""
        case, first = cls(key), held if isinstance(held, FirstName) else lookup(held)
        case.add(first, first.name[: -len(key[1]) - 1], first.tunnel)
        return case

    def add(self, seen: Seen | FirstName, sub: str, probability: float) -> bool:
        """A look-up of a name ``sub`` + zone; True if the name is new in this hour and not the only one."""
        time_us, hour = seen.time_us, self.now
        self.touch(time_us)
        if time_us - self.start_us >= HOUR_US:
            if self.start_us:
                self.before = hour if time_us - self.start_us < 2 * HOUR_US else None
                self.now = hour = _Hour()
            self.start_us = time_us
        if probability <= LOOKS_LIKE_DATA and (seen.failed or _is_listing(seen)):
            return False
        hour.lookups += 1
        hour.version_4 += seen.query_type == "A"
        hour.beside += seen.query_type in ("AAAA", "HTTPS")
        if seen.query_type not in ORDINARY_TYPES:
            hour.rare_types += 1
        # what is only counted through (edge12, edge13) is one name, unless it looks like data
        if not hour.names.add(sub if probability > LOOKS_LIKE_DATA else _COUNTED_THROUGH.sub("0", sub)):
            return False
        length = len(sub)
        hour.chars += length
        hour.judged += 1
        self.bytes_in_names += length
        # A short label says little whatever the specialist answers; a long one can be judged.
        logit = MIN_LOGIT
        if probability:
            p = min(max(probability, 1e-4), 1 - 1e-4)
            logit = max(MIN_LOGIT, min(MAX_LOGIT, math.log(p / (1 - p))))
        hour.verdicts += min(1.0, length / FULL_LENGTH) * logit
        if probability > LOOKS_LIKE_DATA or hour.lookups > USUAL_NAMES:
            self.remember("verdict" if probability > LOOKS_LIKE_DATA else "distinct_names", seen.name, seen.file, seen.offset)
        return not hour.names.is_lone or self.before is not None

    def note_memory(self, first_us: int, others: int) -> None:
        """What the memory knows of the zone: when it was first asked for, and how many further clients do."""
        self.others, self.known = others, self.start_us - first_us >= DAY_US

    @property
    def distinct(self) -> int:
        """Distinct names of the busier of the last two hours."""
        return max(self.now.names.count, self.before.names.count if self.before else 0)

    def features(self) -> dict[str, float]:
        """Of the busier of this hour and the one before; that others ask below the zone, and that its hosts are visited, speaks for it."""
        hour = self.before if self.before and self.before.names.count > self.now.names.count else self.now
        return hour.features() | {
            "others": math.log2(1 + self.others),
            "visited": math.log2(1 + min(self.visits, MAX_VISITS)),
            "known": float(self.known),
        }

    def entities(self) -> list[str]:
        """The zone."""
        return [self.key[1]]

    def state(self) -> list[object]:
        """For the checkpoint."""
        return [
            self._shared_state(),
            self.start_us,
            self.now.state(),
            self.before.state() if self.before else None,
            self.bytes_in_names,
            self.others,
            self.visits,
            self.known,
        ]

    @classmethod
    def restored(cls, key: tuple[str, ...], state: Sequence[object]) -> Tunnel:
        """From the checkpoint."""
        case = cls(key)
        shared, start, now, before, total, others, visits, known = state
        case._restore_shared(shared)  # type: ignore[arg-type]
        case.start_us, case.bytes_in_names, case.others = whole(start), whole(total), whole(others)
        case.visits, case.known = whole(visits), bool(known)
        case.now = _Hour.restored(now)  # type: ignore[arg-type]
        case.before = None if before is None else _Hour.restored(before)  # type: ignore[arg-type]
        return case
