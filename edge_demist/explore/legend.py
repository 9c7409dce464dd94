"""Groups of points and their colours: by a label, or by a number cut into ranges that hold about as many points each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_demist.explore.page import MAX_GROUPS, Group
from edge_demist.sensor.sources.timestamps import format_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

PALETTE = (
    "#3b7dd8", "#e8812b", "#3fa34d", "#d64550", "#8a63c9", "#a0715e", "#e377c2", "#c3a51c", "#22a7b5", "#7f8b99",
    "#8fb8ee", "#f4b67d", "#92cf99", "#ef9a9f", "#bfa6e6", "#c9a898", "#f3b6de", "#e2d27a", "#86d3da", "#4d5866",
    "#1f4e94", "#a3541a", "#1e6e2c", "#8d1f2d", "#543490", "#63412f", "#9c3f80", "#7d6a00", "#0c6a75", "#b5bcc6",
)  # fmt: skip
"""Ten hues (after Tableau 10), as they are, lighter and darker."""

RAMP = ("#4a3b8f", "#3d61a6", "#2c86a8", "#27a58f", "#5bc06a", "#a8d143", "#f0d936")
"""From low to high (after viridis)."""

NOTHING = "#9aa3ae"
"""For points without a label or a number."""


def by_label(labels: Sequence[str], empty: str = "no label") -> tuple[NDArray[np.uint16], list[Group]]:
    """Group numbers uint16 [n] and the legend, most frequent first; what is beyond ``MAX_GROUPS`` shares one entry."""
    counts = Counter(labels)
    named = sorted((label for label in counts if label), key=lambda label: (-counts[label], label))
    kept, rest = named[: MAX_GROUPS - 2], named[MAX_GROUPS - 2 :]
    groups = [Group(shown(label), PALETTE[k % len(PALETTE)], counts[label]) for k, label in enumerate(kept)]
    number = {label: k for k, label in enumerate(kept)}
    if rest:
        number |= dict.fromkeys(rest, len(groups))
        groups.append(Group(f"{len(rest)} others", NOTHING, sum(counts[label] for label in rest)))
    if counts[""]:
        number[""] = len(groups)
        groups.append(Group(empty, NOTHING, counts[""]))
    return np.fromiter((number[label] for label in labels), np.uint16, len(labels)), groups


def by_number(values: NDArray[np.float64], kind: str = "number") -> tuple[NDArray[np.uint16], list[Group]]:
    """Group numbers and the legend of ranges, low to high; ``kind`` ``time`` writes the limits as dates. NaN has an entry of its own."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values), np.uint16), [Group("no value", NOTHING, len(values))]
    cuts = np.unique(np.quantile(values[known], np.linspace(0, 1, len(RAMP) + 1)))
    bins = np.clip(np.searchsorted(cuts, values, side="right") - 1, 0, max(len(cuts) - 2, 0))
    bins[~known] = max(len(cuts) - 1, 1)
    groups = []
    for k in range(max(len(cuts) - 1, 1)):
        low, high = cuts[k], cuts[min(k + 1, len(cuts) - 1)]
        colour = RAMP[round(k * (len(RAMP) - 1) / max(len(cuts) - 2, 1))]
        groups.append(Group(f"{_limit(low, kind)} to {_limit(high, kind)}", colour, int((bins == k).sum())))
    if not known.all():
        groups.append(Group("no value", NOTHING, int((~known).sum())))
    return bins.astype(np.uint16), groups


def shown(label: str) -> str:
    """A label as the legend writes it: at most 80 characters that can be printed."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in label[:80])


def _limit(value: float, kind: str) -> str:
    if kind == "time":
        return format_time(math.floor(value) * 1_000_000)[:16].replace("T", " ")
    return f"{value:.4g}"
