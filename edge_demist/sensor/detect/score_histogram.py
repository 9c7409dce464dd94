"""A score histogram: how many distinct strings a day reach which alarm score, over the last days of log time.

A histogram of -log10(1 - score), in steps of 0.02, with counts that halve every three days. A few kilobytes,
whatever the traffic; the answer to "at which score would N a day remain" is exact to one step.
"""

from __future__ import annotations

import math

STEP = 0.02
MAX_X = 12.0
FLOOR = 0.5
HALF_LIFE_US = 3 * 86_400 * 1_000_000
DAY_US = 86_400 * 1_000_000
MAX_GAP_US = 6 * 3600 * 1_000_000
_MIN_COUNT = 1e-3


def score_to_bin(score: float) -> int:
    """The bin of a score in [0.5, 1]."""
    return int(severity(score) / STEP)


def severity(score: float) -> float:
    """-log10 of the probability that a string of this score is harmless: what scores are compared by."""
    return -math.log10(max(1.0 - score, 10.0**-MAX_X))


def score_of(severity: float) -> float:
    """The score of a severity."""
    return 1.0 - float(10.0**-severity)


def bin_to_score(index: int) -> float:
    """The lowest score of a bin."""
    return 1.0 - float(10.0 ** (-index * STEP))


MAX_COUNT = 1e15


class ScoreHistogram:
    """Decaying counts of the upper half of the scores, by log time."""

    def __init__(self) -> None:
        """Start empty."""
        self._counts: dict[int, float] = {}
        self._days = 0.0
        self._at_us = 0

    def advance(self, now_us: int) -> None:
        """Let log time pass; a clock that was set back starts the count of time anew."""
        elapsed = now_us - self._at_us if self._at_us else 0
        if elapsed <= 0:
            self._at_us = now_us
            return
        # A gap in the log (sensor off, a new capture) is no quiet traffic.
        elapsed = min(elapsed, MAX_GAP_US)
        keep = 0.5 ** (elapsed / HALF_LIFE_US)
        self._counts = {b: c * keep for b, c in self._counts.items() if c * keep > _MIN_COUNT}
        self._days = self._days * keep + elapsed / DAY_US
        self._at_us = now_us

    def add(self, score: float) -> None:
        """Count one string; scores under 0.5 never alarm and are not kept."""
        if score >= FLOOR:
            index = score_to_bin(score)
            self._counts[index] = self._counts.get(index, 0.0) + 1.0

    @property
    def days(self) -> float:
        """Days of log time seen, decayed like the counts."""
        return self._days

    def per_day(self) -> float:
        """Strings a day that reach ``FLOOR``. The first day counts as a whole one."""
        return sum(self._counts.values()) / max(self._days, 1.0)

    def threshold(self, per_day: float) -> float:
        """The lowest score that at most ``per_day`` strings a day reach. The first day counts as a whole one.

        Never above the bin of the strongest strings, however many there are: they are told as far as the budget goes.
        """
        allowed = per_day * max(self._days, 1.0)
        above = 0.0
        lowest = None
        for index in sorted(self._counts, reverse=True):
            above += self._counts[index]
            if above > allowed:
                return bin_to_score(index if lowest is None else lowest)
            lowest = index
        return FLOOR

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {"counts": {str(b): c for b, c in self._counts.items()}, "days": self._days, "at_us": self._at_us}

    def restore(self, state: dict[str, object]) -> None:
        """From the checkpoint.

        Raises:
            ValueError: the state is not one that :meth:`state` wrote.
        """
        counts = state.get("counts")
        found = {int(b): float(c) for b, c in counts.items()} if isinstance(counts, dict) else {}
        days, at_us = float(str(state.get("days", 0.0))), int(str(state.get("at_us", 0)))
        numbers = [*found.values(), days]
        if not all(0 <= b <= MAX_X / STEP + 1 for b in found) or not all(0.0 <= n < MAX_COUNT for n in numbers) or abs(at_us) > 1 << 60:
            raise ValueError("a histogram of scores holds what is no count")
        self._counts, self._days, self._at_us = found, days, at_us
