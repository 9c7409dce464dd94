"""Percentiles of timings, and whether a measurement can be trusted.

The checks follow pyperf (https://pyperf.readthedocs.io/en/latest/run_benchmark.html, "Reproducible benchmarks"): a
measurement taken in several slices is unstable when the slices disagree (spread), when they go one way (drift), or
when the machine gave the processor to others meanwhile (steal time, involuntary switches).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
MAX_SPREAD = 0.10
"""Largest accepted (highest − lowest slice median) / median."""
MAX_DRIFT = 0.05
"""Largest accepted change of the slice medians from the first half of the run to the second."""
MAX_STEAL = 0.01
"""Largest accepted share of processor time that the hypervisor gave to others."""
MAX_SWITCHES = 50.0
"""Largest accepted number of involuntary context switches a second."""


@dataclass(frozen=True)
class Summary:
    """Timings of one row, in seconds a call.

    Attributes:
        samples: number of calls timed.
        percentiles: ``p50`` … ``p99.9``; NaN where there are too few samples to tell (fewer than 10 beyond it).
        largest: the slowest call.
        spread: (highest − lowest slice median) / median.
        drift: relative change of the slice medians from the first half of the run to the second.
    """

    samples: int
    percentiles: dict[str, float]
    largest: float
    spread: float
    drift: float

    @property
    def median(self) -> float:
        """The median in seconds."""
        return self.percentiles["p50"]


def summarize(slices: Sequence[Sequence[float] | NDArray[np.float64]]) -> Summary:
    """Summarize timings in seconds, given in the order and the slices in which they were taken.

    Raises:
        ValueError: no timing at all.
    """
    parts = [np.asarray(part, np.float64) for part in slices if len(part)]
    if not parts:
        raise ValueError("no timings to summarize")
    values = np.sort(np.concatenate(parts))
    percentiles = {
        name: float(np.percentile(values, q)) if q <= 50 or len(values) * (100 - q) / 100 >= 10 - 1e-9 else math.nan
        for name, q in PERCENTILES.items()
    }
    medians = np.array([np.median(part) for part in parts])
    centre = float(np.median(medians))
    half = len(medians) // 2
    drift = float(np.median(medians[-half:]) / np.median(medians[:half]) - 1) if half else 0.0
    return Summary(len(values), percentiles, float(values[-1]), float(np.ptp(medians)) / centre, drift)


def doubts(summary: Summary) -> list[str]:
    """Reasons not to trust a row; empty for a stable one."""
    reasons = []
    if summary.spread > MAX_SPREAD:
        reasons.append(f"slices differ by {summary.spread:.0%} of the median")
    if abs(summary.drift) > MAX_DRIFT:
        reasons.append(f"drifted by {summary.drift:+.0%} from the first half to the second")
    return reasons


def machine_doubts(steal_share: float, switches_per_second: float, load_before: float, processors: int) -> list[str]:
    """Reasons not to trust a whole run: what the machine did meanwhile.

    Args:
        steal_share: steal time / all processor time during the run, 0 to 1.
        switches_per_second: involuntary context switches of this process.
        load_before: one-minute load average before the run.
        processors: processors that this process may use.
    """
    reasons = []
    if steal_share > MAX_STEAL:
        reasons.append(f"the hypervisor took {steal_share:.1%} of the processor time")
    if switches_per_second > MAX_SWITCHES:
        reasons.append(f"{switches_per_second:.0f} involuntary context switches a second: other programs ran on this processor")
    if load_before > 0.5 * processors:
        reasons.append(f"the load average was {load_before:.1f} on {processors} processors before the run")
    return reasons
