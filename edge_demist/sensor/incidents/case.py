"""A case: what is held against one client, zone, pair or source, as features that weights turn into log odds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from edge_demist.sensor.events import printable
from edge_demist.sensor.restoring import whole

MAX_EXAMPLES = 8
MAX_EXAMPLE_CHARS = 200
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


class Example(NamedTuple):
    """A log line that shows a sign: which sign, the string, where the line is."""

    sign: str
    text: str
    file: str
    offset: int


class Evidence(NamedTuple):
    """One sign of a case: its name, how much, what it adds to the log odds."""

    sign: str
    value: float
    adds: float


@dataclass(slots=True)
class Case:
    """What all cases share. ``key`` names the client or source first; times are microseconds of log time."""

    kind: ClassVar[str] = ""

    key: tuple[str, ...]
    first_us: int = 0
    last_us: int = 0
    examples: list[Example] = field(default_factory=list)

    def touch(self, time_us: int) -> None:
        """A record of the case."""
        if not self.first_us or time_us < self.first_us:
            self.first_us = time_us
        self.last_us = max(self.last_us, time_us)

    def remember(self, sign: str, text: str, file: str, offset: int) -> None:
        """Keep an example: at most two of a sign, eight in all."""
        if not self.examples or (len(self.examples) < MAX_EXAMPLES and sum([example.sign == sign for example in self.examples]) < 2):
            self.examples.append(Example(sign, printable(text[:MAX_EXAMPLE_CHARS]), file, offset))

    def features(self) -> dict[str, float]:
        """The signs that are there, by name."""
        raise NotImplementedError

    def entities(self) -> list[str]:
        """Domains, addresses and servers the case is about."""
        raise NotImplementedError

    def state(self) -> list[object]:
        """For the checkpoint."""
        raise NotImplementedError

    def evidence(self, weights: Mapping[str, float]) -> list[Evidence]:
        """Each sign with what it adds, the heaviest first."""
        found = [Evidence(name, value, adds) for name, value in self.features().items() if (adds := value * weights.get(name, 0.0))]
        return sorted(found, key=lambda e: -abs(e.adds))

    def log_odds(self, weights: Mapping[str, float]) -> float:
        """The sum over all signs, from the kind's ``bias`` on."""
        return weights["bias"] + sum([value * weights.get(name, 0.0) for name, value in self.features().items()])

    def _shared_state(self) -> list[object]:
        return [list(self.key), self.first_us, self.last_us, [[e.sign, e.text, e.file, e.offset] for e in self.examples]]

    def _restore_shared(self, state: Sequence[object]) -> None:
        _, first, last, examples = state
        self.first_us, self.last_us = whole(first), whole(last)
        self.examples = [Example(str(a), str(b), str(c), whole(d)) for a, b, c, d in examples][:MAX_EXAMPLES]  # type: ignore[attr-defined]
