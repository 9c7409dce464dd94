"""A bench result as text, and two results side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Key = tuple[str, str, int, int]


def key(row: Mapping[str, Any]) -> Key:
    """What identifies a row: measure, engine, threads, batch."""
    return str(row["measure"]), str(row["engine"]), int(row["threads"]), int(row["batch"])


def number(value: float | None) -> str:
    """Three significant digits, grouped; a dash where there is nothing."""
    if value is None or math.isnan(value):
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def table(result: Mapping[str, Any]) -> str:
    """The whole result as readable text."""
    return "\n".join([*_heading(result), "", *_latency(result), "", *_throughput(result), "", *_cold(result), *_trust(result)])


def _heading(result: Mapping[str, Any]) -> list[str]:
    machine, cpu, bundle, strings = result["machine"], result["machine"]["cpu"], result["bundle"], result["strings"]
    versions = machine["versions"]
    kernels = ", ".join(dict.fromkeys(f"{r['engine']} {r['kernel'] or ''}".strip() for r in result["rows"]))
    governor = f", governor {cpu['governor']}" if cpu["governor"] else ""
    return [
        f"edge-demist {versions['edge_demist']}, Python {versions['python']}, numpy {versions['numpy']}; engine {kernels}",
        f"{cpu['model']}, {cpu['usable_processors']} processors{governor}, {machine['machine']}{', virtual' if cpu['hypervisor'] else ''}",
        f"bundle {bundle['name']} version {bundle['version']}, id {bundle['id'][:16]}",
        f"{strings['count']} strings ({strings['source']}), mean {strings['mean_tokens']:.1f} tokens",
    ]


def _name(row: Mapping[str, Any]) -> str:
    threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
    return f"{row['measure']} · {row['engine']} · {threads}" + (" *" if row["unstable"] else "")


def _latency(result: Mapping[str, Any]) -> list[str]:
    names = ("p50", "p90", "p99", "p99.9", "max")
    lines = [f"{'latency, one string a call, µs':<46}" + "".join(f"{name:>10}" for name in names)]
    lines += [f"  {_name(r):<44}" + "".join(f"{number(r['call_us'][n]):>10}" for n in names) for r in result["rows"] if r["batch"] == 1]
    return lines


def _throughput(result: Mapping[str, Any]) -> list[str]:
    energy = any(r["strings_per_joule"] for r in result["rows"])
    lines = [f"{'throughput':<46}{'batch':>10}{'strings/s':>14}{'µs/string':>12}" + (f"{'strings/J':>12}" if energy else "")]
    for r in result["rows"]:
        if r["batch"] > 1:
            rate = r["strings_per_second"]
            line = f"  {_name(r):<44}{r['batch']:>10}{number(rate):>14}{number(1e6 / rate):>12}"
            lines.append(line + (f"{number(r['strings_per_joule']):>12}" if energy else ""))
    if not energy:
        lines.append("  (energy: no readable RAPL counter here)")
    return lines


def _cold(result: Mapping[str, Any]) -> list[str]:
    lines = []
    for start in result["cold_start"]:
        if "error" in start:
            lines.append(f"cold start · {start['engine']}: {start['error']}")
            continue
        ours = f"{start['median_seconds'] * 1e3:.0f} ms to the first vector, {start['rss_bytes'] / 1e6:.0f} MB"
        lines.append(
            f"cold start · {start['engine']}: {ours} "
            f"(numpy alone {start['numpy_median_seconds'] * 1e3:.0f} ms, {start['numpy_rss_bytes'] / 1e6:.0f} MB)"
        )
    return lines


def _trust(result: Mapping[str, Any]) -> list[str]:
    shaky = [f"  {_name(r)} batch {r['batch']}: {'; '.join(r['unstable'])}" for r in result["rows"] if r["unstable"]]
    whole = [f"  {reason}" for reason in result["unstable"]]
    left = [f"left out: {line}" for line in result["left_out"]]
    if not shaky and not whole:
        return [*left, "measurement: stable"]
    return [*left, "measurement: UNSTABLE, do not compare these figures; rows marked * :", *whole, *shaky]


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], float]:
    """Ratios new / old of the median time a call, row by row.

    Returns:
        Lines of text, and the largest ratio (1.0 if no row is in both).
    """
    lines = []
    for name, path in (("processor", ("machine", "cpu", "model")), ("bundle", ("bundle", "id"))):
        before, after = (_get(result, path) for result in (old, new))
        if before != after:
            lines.append(f"note: another {name}: {before} then, {after} now")
    known = {key(row): row for row in old.get("rows", [])}
    lines.append(f"{'new / old, median time (above 1: slower)':<46}{'batch':>10}{'old µs':>12}{'new µs':>12}{'ratio':>9}")
    worst = 1.0
    shared = [(row, known[key(row)]) for row in new["rows"] if key(row) in known]
    for row, before in shared:
        ratio = row["call_us"]["p50"] / before["call_us"]["p50"]
        worst = max(worst, ratio)
        doubt = " *" if before["unstable"] and not row["unstable"] else ""
        times = f"{number(before['call_us']['p50']):>12}{number(row['call_us']['p50']):>12}"
        lines.append(f"  {_name(row) + doubt:<44}{row['batch']:>10}{times}{ratio:>9.2f}")
    if not shared:
        lines.append("  no row is in both")
    return lines, worst


def _get(result: Mapping[str, Any], path: tuple[str, ...]) -> object:
    value: Any = result
    for name in path:
        value = value.get(name, {}) if isinstance(value, Mapping) else {}
    return value or "unknown"
