"""How many incidents a day are told: about N over a week, at most 2 N in any 24 hours, and always the worst.

The bar is the score that N incidents a day would pass, by a decaying histogram of the strongest scores of all candidates (a
candidate counts once, and again with what it grows by). So a quiet week does not lower it under the weights' own opening
point, and a flood raises it step by step instead of silencing what follows. Whatever is worse than all that was told in the
last 24 hours is told, whatever the count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from edge_demist.sensor.incidents.case import DAY_US
from edge_demist.sensor.restoring import real, whole

BINS = 48
TOP = 12.0
WEEK_DAYS = 7.0


class IncidentBudget:
    """Decides about candidates in log order."""

    def __init__(self, per_day: int) -> None:
        """Tell about ``per_day`` incidents a day."""
        self.per_day = per_day
        self._told: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._counts = [0.0] * (BINS + 1)
        self._day = 0
        self._days = 0.0

    def note(self, log_odds: float, before: float | None, now_us: int) -> None:
        """A candidate has reached a score; ``before``: the one it was counted with."""
        self._decay(now_us)
        self._counts[_bin(log_odds)] += 1.0
        if before is not None:
            old = _bin(before)
            self._counts[old] = max(0.0, self._counts[old] - 1.0)

    def allows(self, log_odds: float, now_us: int) -> bool:
        """Whether a candidate may be told now."""
        while self._told and abs(now_us - next(iter(self._told.values()))[0]) >= DAY_US:
            self._told.popitem(last=False)
        if not self._told or log_odds > max(score for _, score in self._told.values()):
            return True
        return len(self._told) < 2 * self.per_day and log_odds >= self.bar

    @property
    def bar(self) -> float:
        """The log odds that about N candidates a day pass; minus infinity while fewer come."""
        wanted = self.per_day * max(self._days, 1.0)
        passing = 0.0
        for index in range(BINS, -1, -1):
            passing += self._counts[index]
            if passing > wanted:
                return (index + 1) * TOP / BINS
        return float("-inf")

    def take(self, identity: str, log_odds: float, now_us: int) -> None:
        """A candidate is told."""
        self._told[identity] = (now_us, log_odds)
        while len(self._told) > 64 * self.per_day:  # worse and worse ones may exceed the count, not the memory
            self._told.popitem(last=False)

    def grown(self, identity: str, log_odds: float) -> None:
        """What was told has become worse: the next one is compared with that."""
        held = self._told.get(identity)
        if held is not None and log_odds > held[1]:
            self._told[identity] = (held[0], log_odds)

    def _decay(self, now_us: int) -> None:
        day = now_us // DAY_US
        if not self._day:
            self._day = day
        steps = min(max(day - self._day, 0), 60)
        if steps:
            keep = (1.0 - 1.0 / WEEK_DAYS) ** steps
            self._counts = [count * keep for count in self._counts]
            self._days = (self._days + 1.0) * keep if steps == 1 else (self._days + steps) * keep
            self._day = day

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {
            "told": [[identity, *told] for identity, told in self._told.items()],
            "counts": self._counts,
            "day": [self._day, self._days],
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """From the checkpoint."""
        self._told = OrderedDict((str(i), (whole(t), real(s))) for i, t, s in state.get("told", ()))  # type: ignore[attr-defined]
        counts = [real(c) for c in state.get("counts", ())]  # type: ignore[attr-defined]
        if len(counts) == BINS + 1:
            self._counts = counts
        passed = [real(value) for value in state.get("day", (0, 0.0))]  # type: ignore[attr-defined]
        self._day, self._days = int(passed[0]), passed[1]


def _bin(log_odds: float) -> int:
    return max(0, min(BINS, int(log_odds * BINS / TOP)))
