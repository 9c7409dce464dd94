"""Whether a specialist's scores still look as they did: the population stability index by week of log time.

Only counts are kept, no string: for each specialist and week how many answers fell into each of twelve bins of log odds. The
reference is the first whole week of the same bundle on this sensor, or a file that another sensor or a test bench wrote.

PSI = Σ (p − q) · ln(p / q) over the bins, with half a count added to each (Siddiqi, Credit Risk Scorecards, 2006: under 0.1 no change
to speak of, above 0.25 a change to look into).
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.io import read_bounded

WEEK_US = 7 * 86_400_000_000
BINS = 12
LEAST, MOST = -9.0, 9.0
MAX_WEEKS = 16
MAX_BYTES = 1 << 20
FORMAT = 1
Counts = dict[int, list[int]]
_EDGES = [1 / (1 + math.exp(-(LEAST + i * (MOST - LEAST) / BINS))) for i in range(1, BINS)]


class ScoreDrift:
    """Counts by specialist and week; the oldest weeks go, the first stays as reference."""

    def __init__(self, bundle_id: str) -> None:
        """Start empty."""
        self.bundle_id = bundle_id
        self.counts: dict[str, Counts] = {}

    def note(self, task: str, score: float, time_us: int | None) -> None:
        """An answer of an alarm specialist."""
        if time_us is None:
            return
        weeks = self.counts.setdefault(task, {})
        week = time_us // WEEK_US
        bins = weeks.get(week)
        if bins is None:
            bins = weeks[week] = [0] * BINS
            for old in sorted(weeks)[1 : max(1, 1 + len(weeks) - MAX_WEEKS)]:
                del weeks[old]
        bins[bisect_right(_EDGES, score)] += 1

    def use(self, bundle_id: str) -> None:
        """Go on with another model: its scores are not compared with the last one's."""
        if bundle_id != self.bundle_id:
            self.bundle_id, self.counts = bundle_id, {}

    def gauges(self) -> dict[str, float]:
        """The index of the latest week against the first, by specialist."""
        found = {}
        for task, weeks in self.counts.items():
            known = sorted(weeks)
            if len(known) > 1:
                found[task] = psi(weeks[known[0]], weeks[known[-1]])
        return found

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {"bundle_id": self.bundle_id, "counts": {t: {str(w): b for w, b in weeks.items()} for t, weeks in self.counts.items()}}

    def restore(self, state: Mapping[str, object]) -> None:
        """From the checkpoint, if it is of the same bundle.

        Raises:
            ValueError: it is none.
        """
        try:
            if state.get("bundle_id") == self.bundle_id:
                self.counts = read_counts(state.get("counts", {}))
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"drift state: {error}") from error


def read_counts(value: object) -> dict[str, Counts]:
    """Counts from JSON.

    Raises:
        ValueError: they are none.
        TypeError: the same.
    """
    found: dict[str, Counts] = {}
    for task, weeks in value.items():  # type: ignore[attr-defined]
        table = {int(week): [int(n) for n in bins] for week, bins in weeks.items()}
        if any(len(bins) != BINS or min(bins) < 0 for bins in table.values()):
            raise ValueError("a week has the wrong bins")
        found[str(task)] = table
    return found


def psi(reference: list[int], now: list[int]) -> float:
    """The population stability index of two histograms."""
    before, after = sum(reference) + BINS / 2, sum(now) + BINS / 2
    shares = [((q + 0.5) / before, (p + 0.5) / after) for q, p in zip(reference, now, strict=True)]
    return sum((p - q) * math.log(p / q) for q, p in shares)


def read_reference(path: Path) -> dict[str, list[int]]:
    """A reference file: a histogram by specialist.

    Raises:
        InputError: it is none.
    """
    raw = read_bounded(path, MAX_BYTES)
    try:
        value = json.loads(raw or b"")
        if value["format"] != FORMAT:
            raise ValueError(f"format {value['format']}, not {FORMAT}")
        return {task: weeks[0] for task, weeks in read_counts({t: {"0": b} for t, b in value["counts"].items()}).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: no reference for drift: {error}") from error


def reference_file(counts: Mapping[str, Counts], bundle_id: str) -> str:
    """All weeks together as a reference file."""
    total = {task: [sum(column) for column in zip(*weeks.values(), strict=True)] for task, weeks in counts.items() if weeks}
    return json.dumps({"format": FORMAT, "bundle_id": bundle_id, "counts": total}, indent=1) + "\n"
