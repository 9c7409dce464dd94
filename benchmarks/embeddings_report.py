"""``docs/embeddings.md`` and its map, from ``benchmarks/results/embeddings.json`` and ``embeddings-map.csv`` alone."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from benchmarks import result_file
from benchmarks.accuracy_report import DOCS, percent, ranged, table

VIEWS = {"general": "edge-demist, general", "specialist": "edge-demist, hostname-category", "minilm": "all-MiniLM-L6-v2, stock"}


def draw(points: list[dict[str, str]], path: Path) -> None:
    """One panel a view; host names coloured by category, well-known ones named."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    categories = sorted({p["category"] for p in points if not p["name"]})
    figure, grid = plt.subplots(1, len(VIEWS), figsize=(21, 7.6))
    for axes, (view, title) in zip(grid, VIEWS.items(), strict=True):
        for number, category in enumerate(categories):
            some = [p for p in points if p["category"] == category and not p["name"]]
            x, y = ([float(p[f"{view}_{c}"]) for p in some] for c in "xy")
            axes.scatter(x, y, s=9, color=plt.cm.tab10(number), label=category, alpha=0.75, linewidths=0)
        for p in points:
            if p["name"]:
                at = float(p[f"{view}_x"]), float(p[f"{view}_y"])
                axes.plot(*at, "k*", ms=6)
                axes.annotate(p["name"], at, fontsize=8, xytext=(4, 2), textcoords="offset points")
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.legend(*grid[0].get_legend_handles_labels(), loc="lower center", ncols=len(categories), markerscale=3, frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def figures(views: dict[str, Any]) -> list[str]:
    """The table of figures."""
    rows = []
    for view, title in VIEWS.items():
        entry = views[view]
        near = [ranged(entry["knn"][k], "accuracy") for k in ("10", "20")]
        known = [percent(entry["known"][key]) for key in ("same_kind", "same_kind_unlisted")]
        rows.append([title, *near, percent(entry["clusters"]["purity"]), f"{entry['clusters']['nmi']:.3f}", *known])
    header = [
        "vectors",
        "10 nearest, accuracy (95 % interval)",
        "20 nearest",
        "cluster purity",
        "NMI",
        "known names: nearest of the same kind",
        "those not on our list",
    ]
    return table(header, rows)


def main() -> None:
    """Write ``embeddings.md`` and ``embeddings.png``."""
    result = result_file.read(result_file.RESULTS / "embeddings.json")
    with (result_file.RESULTS / "embeddings-map.csv").open(encoding="utf-8", newline="") as file:
        draw(list(csv.DictReader(file)), DOCS / "embeddings.png")
    views, bundle = result["views"], result["bundle"]
    asked = views["general"]["known"]["asked"]
    lines = [
        "# Embeddings",
        "",
        f"Bundle {bundle['name']} version {bundle['version']} (id `{bundle['id'][:16]}…`). Written by",
        "`python -m benchmarks.embeddings --render` from `benchmarks/results/embeddings.json` and `embeddings-map.csv`; made by",
        "`python -m benchmarks.embeddings --data DATA --work WORK`.",
        "",
        "`encode(text)` gives the general vector, `encode(text, task=…)` the specialist's view. Both have length one: a dot product is a",
        "cosine.",
        "",
        *figures(views),
        f"Accuracy: each of the {result['questions']:,} dev names of hostname-category gets the most frequent of 26 categories among its",
        f"nearest {result['index']:,} train names (cosine). Clusters: k-means, 26 clusters, {result['cluster_rows']:,} dev names, mean of",
        f"three seeds. Known names: share of {result['names']} well-known names whose nearest other one is of the same kind;",
        f"last, of the {result['unlisted_names']} that are not on the list of services whose categories training used.",
        "",
        "**What to make of it.** Our base and specialist were trained with these categories, on names of the same table; stock MiniLM",
        "never saw them, but it has read about famous brands, which the columns on known names measure: ours were mostly told them, so",
        "only the last one compares. The first line is what a search over your own logs gets without training anything. A name that says",
        "nothing about its kind lands near names spelled like it.",
        "",
        "![host names on a map](embeddings.png)",
        "",
        "Each point is a dev name of ten of the categories (t-SNE on cosine distances: neighbourhoods mean something, distances between",
        "groups and axes do not). Stars are well-known names.",
        "",
        "## Nearest well-known names",
        "",
        f"Out of a list of {result['names']}, the three nearest:",
        "",
        *table(["name", *VIEWS.values()], [[name, *(", ".join(views[v]["known"]["asked"][name]) for v in VIEWS)] for name in asked]),
    ]
    (DOCS / "embeddings.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
