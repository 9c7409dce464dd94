"""Whether a specialist's scores still look as they did: the population stability index by week of log time.

Only counts are kept, no string: for each specialist and week how many answers fell into each of twelve bins of log odds. The
reference is the first whole week of the same bundle on this sensor, or a file that another sensor or a test bench wrote. Beside that
stands the comparison with the bundle's own reference (:mod:`edge_demist.sensor.drift_sample`).

PSI = Σ (p − q) · ln(p / q) over the bins, with half a count added to each (Siddiqi, Credit Risk Scorecards, 2006: under 0.1 no change
to speak of, above 0.25 a change to look into).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.io import read_bounded
from edge_demist.sensor.drift_sample import BINS, MAX_WEEKS, WEEK_US, Reference, Sample, histogram, psi, score_bin, week_of

MAX_BYTES = 1 << 20
FORMAT = 1
Counts = dict[int, list[int]]


class ScoreDrift:
    """Counts by specialist and week; the oldest weeks go, the first stays as reference."""

    def __init__(self, bundle_id: str, reference: Reference | None = None) -> None:
        """Start empty; with the bundle's own reference there is a sample too."""
        self.bundle_id = bundle_id
        self.sample = Sample(reference) if reference is not None else None
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
            _keep_few(weeks, week)
        bins[score_bin(score)] += 1

    def use(self, bundle_id: str, reference: Reference | None = None) -> None:
        """Go on with another model: its scores are not compared with the last one's."""
        if bundle_id != self.bundle_id:
            self.bundle_id, self.counts = bundle_id, {}
            self.sample = Sample(reference) if reference is not None else None

    def gauges(self) -> dict[str, float]:
        """The index of the latest week's scores against the first, by specialist."""
        found = {}
        for task, weeks in self.counts.items():
            known = telling(weeks)
            if len(known) > 1:
                found[task] = psi(weeks[known[0]], weeks[known[-1]])
        return found

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        counts = {t: {str(w): b for w, b in weeks.items()} for t, weeks in self.counts.items()}
        return {"bundle_id": self.bundle_id, "counts": counts, "sample": self.sample.state() if self.sample else {}}

    def restore(self, state: Mapping[str, object]) -> None:
        """From the checkpoint, if it is of the same bundle.

        Raises:
            ValueError: it is none.
        """
        try:
            if state.get("bundle_id") == self.bundle_id:
                self.counts = read_counts(state.get("counts", {}))
                if self.sample is not None:
                    self.sample.restore(state.get("sample", {}))  # type: ignore[arg-type]
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"drift state: {error}") from error


def telling(weeks: Counts) -> list[int]:
    """The weeks, in order, with at least a tenth of the answers that the fullest has: not those of a few stray times."""
    sums = {week: sum(bins) for week, bins in weeks.items()}
    return sorted(week for week, count in sums.items() if 10 * count >= max(sums.values()))


def _keep_few(weeks: Counts, now: int) -> None:
    """Drop what is more than ``MAX_WEEKS``: what tells nothing, then the oldest; not the reference, nor the week that is counted."""
    known = telling(weeks)
    others = [week for week in sorted(weeks, key=lambda week: (week in known, week)) if week != now and week not in known[:1]]
    for week in others[: max(0, len(weeks) - MAX_WEEKS)]:
        del weeks[week]


def read_counts(value: object) -> dict[str, Counts]:
    """Counts from JSON.

    Raises:
        ValueError: they are none.
        TypeError: the same.
    """
    found: dict[str, Counts] = {}
    for task, weeks in value.items():  # type: ignore[attr-defined]
        found[str(task)] = {week_of(week): histogram(bins) for week, bins in weeks.items()}
    return found


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
