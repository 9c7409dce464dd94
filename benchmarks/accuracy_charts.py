"""Charts of the scoreboard: errors against parameters and against time, one panel a task, every error axis from zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COLORS = {
    "edge-demist int8": "#1b6ca8", "fine-tuned MiniLM": "#c8553d", "fastText": "#6a994e", "n-grams + linear": "#8d8d8d",
    "DomURLs_BERT, published": "#7b2d8b",
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One system on one task.

    Attributes:
        system: a key of ``COLORS``.
        x: parameters, or microseconds a string.
        error: percent of the split.
        low, high: 95 % interval of ``error``.
        hollow: drawn as a ring: not measured by us, or not in this form.
    """

    system: str
    x: float
    error: float
    low: float
    high: float
    hollow: bool = False


def panels(points: Mapping[str, Sequence[Point]], label: str, path: Path) -> None:
    """One panel a task: ``label`` on a logarithmic axis, errors on a linear axis from zero, with intervals."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    every = [p.x for some in points.values() for p in some] or [1.0]
    widest = 10 ** np.floor(np.log10(min(every) / 1.5)), 10 ** np.ceil(np.log10(max(every) * 1.5))
    rows = -(-len(points) // 3)
    figure, grid = plt.subplots(rows, 3, figsize=(11, 3.1 * rows), squeeze=False)
    shown = {}
    for axes in grid.flat[len(points) :]:
        axes.axis("off")
    for axes, (task, some) in zip(grid.flat, sorted(points.items()), strict=False):
        for p in some:
            color = COLORS[p.system]
            spread = [[max(p.error - p.low, 0)], [max(p.high - p.error, 0)]]
            axes.errorbar([p.x], [p.error], yerr=spread, color=color, fmt="o", ms=7, mfc="none" if p.hollow else color, capsize=2)
            shown.setdefault(p.system, plt.Line2D([], [], color=color, marker="o", ls="", label=p.system))
        axes.set_xscale("log")
        axes.set_xlim(widest)
        axes.set_ylim(0, max((p.high for p in some), default=1) * 1.12)
        axes.set_title(task, fontsize=10)
        axes.grid(alpha=0.25)
        axes.tick_params(labelsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("errors, %", fontsize=9)
    figure.supxlabel(label, fontsize=9)
    figure.legend(handles=[shown[n] for n in COLORS if n in shown], loc="upper center", ncols=5, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
