"""The table of benchmarks/results/ordinary.json, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RATES = ("0.001", "0.0001")


def _percent(entry: Mapping[str, Any] | None, rate: str) -> str:
    found = (entry or {}).get("recall_at", {}).get(rate)
    return "–" if found is None else f"{100 * found['recall']:.1f}"


def _shipped(entry: Mapping[str, Any]) -> str:
    found = entry.get("shipped", {})
    return " / ".join(f"{found[rate]['per_million']:,}" for rate in ("0.01", "0.001", "0.0001") if rate in found) or "–"


def table(results: Mapping[str, Any], columns: tuple[str, ...] = ("shipped", "version-9", "ngrams")) -> str:
    """Threats found, in percent, at real false-alarm rates of 1e-3 / 1e-4, and false alarms per million at the shipped thresholds."""
    lines = [
        "| task, ordinary strings | strings / threats | " + " | ".join(columns) + " | false alarms per million at 1e-2 / 1e-3 / 1e-4 |"
    ]
    lines.append("|---" * (len(columns) + 3) + "|")
    for task, entries in results.items():
        first = next((entries[c] for c in columns if c in entries), None)
        if first is None:
            continue
        for name in ("curated", "hand-picked"):
            if name not in first["ordinary"]:
                continue
            part = first["ordinary"][name]
            cells = [" / ".join(_percent(entries.get(c, {}).get("ordinary", {}).get(name), r) for r in RATES) for c in columns]
            lines.append(f"| {task}, {name} | {part['n']:,} / {first['threats']:,} | " + " | ".join(cells) + f" | {_shipped(part)} |")
    return "\n".join(lines) + "\n"


def worst(results: Mapping[str, Any], column: str = "shipped", rate: str = "0.001", count: int = 12, least: int = 100) -> str:
    """The kinds of ordinary strings with the most false alarms per million at one shipped threshold."""
    rows = []
    for task, entries in results.items():
        for kind, found in entries.get(column, {}).get("kinds", {}).items():
            if found["n"] >= least and rate in found:
                rows.append((found[rate]["per_million"], task, kind, found["n"]))
    lines = [f"| task | kind | strings | false alarms per million at {rate} |", "|---|---|---|---|"]
    lines += [f"| {task} | {kind} | {n:,} | {count_:,} |" for count_, task, kind, n in sorted(rows, reverse=True)[:count]]
    return "\n".join(lines) + "\n"
