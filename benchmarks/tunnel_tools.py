"""Tunnels of many tools that trained nothing: which share of their names dns-tunnel finds, tool by tool.

    python -m benchmarks.tunnel_tools --data DATA                      # the shipped bundle
    python -m benchmarks.tunnel_tools --data DATA --bundle DIR --name trial
    python -m benchmarks.tunnel_tools --render                         # the table, as Markdown

Names are written in the forms of public source code and reports (``tools.synth.tunnel_reported``), each tool's below zones of its own;
those of the part ``choose`` may choose between ways of training, those of ``judge`` choose nothing. Beside them stand the tunnels of the
shared sensor days, where DATA has them. A name is found where it lies above the score that really gives 1e-3 or 1e-4 of the curated
ordinary names of the parts ``calibrate`` and ``measure``, or alarms at a shipped threshold. Results go to
benchmarks/results/tunnel_tools.json.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import markdown, result_file
from edge_demist import EdgeDemist
from tools.synth import tunnel_reported
from tools.train import ordinary

RESULTS = result_file.RESULTS / "tunnel_tools.json"
TASK, NAMES, REAL, SHIPPED = "dns-tunnel", 100, (1e-3, 1e-4), (1e-3, 1e-4)
PARTS = ("choose", "judge")
TUNNELS = ("dnscat2", "iodine")
"""Tools of the sensor days' tunnels."""
OFTEN = 0.9
"""Tools of which fewer names are found at 1e-4 stand in the table; all of them are in the result file."""
Scores = NDArray[np.float64]


def made(part: str) -> dict[str, list[str]]:
    """Names of every tool of a part, each with its zone; always the same."""
    found = {}
    for tool in tunnel_reported.tools_of(part):
        rows = tunnel_reported.generate(random.Random(f"bench {tool}"), NAMES, tools=[tool], base_rate=1.0)
        found[tool] = list(dict.fromkeys(row[0] for row in rows))
    return found


def queries(log: Path) -> Iterator[str]:
    """Names asked for in a DNS log of Zeek (tab-separated, JSON) or in events of Suricata."""
    place = -1
    with gzip.open(log, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("#fields"):
                fields = line.rstrip("\n").split("\t")[1:]
                place = fields.index("query") if "query" in fields else -1
            elif line.startswith("{"):
                record = json.loads(line)
                asked = record.get("dns") or {}
                rows = [record.get("query"), asked.get("rrname"), *(row.get("rrname") for row in asked.get("queries", []))]
                yield from (str(name) for name in rows if name)
            elif place >= 0 and not line.startswith("#"):
                yield line.rstrip("\n").split("\t")[place]


def recorded(days: Path) -> dict[str, list[str]]:
    """Distinct names of each tunnel of the sensor days, by day and tool."""
    found: dict[str, list[str]] = {}
    for day in sorted(days.glob("day-*")):
        truth = [json.loads(line) for line in (day / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
        tunnels = [one for one in truth if one["tool"] in TUNNELS]
        logs = [log for log in sorted((day / "logs").iterdir()) if log.name.startswith(("dns", "eve"))] if tunnels else []
        names = {name for log in logs for name in queries(log)}
        for one in tunnels:
            ends = tuple(f".{domain.lower()}" for domain in one["domains"])
            found[f"{day.name} {one['tool']}, {one['kind']}"] = sorted(name for name in names if name.lower().rstrip(".").endswith(ends))
    return found


def found_of(scores: Scores, cuts: Mapping[str, float]) -> dict[str, Any]:
    """How many names, and which share of them lies above each cut."""
    return {"n": len(scores), **{name: round(float((scores > cut).mean()), 4) for name, cut in cuts.items()}}


def mean_of(tools: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Mean over tools, each of which counts the same."""
    keys = [key for key in next(iter(tools.values())) if key != "n"]
    return {key: round(float(np.mean([tool[key] for tool in tools.values()])), 4) for key in keys}


def measured(model: EdgeDemist, data: Path) -> dict[str, Any]:
    """Everything about one bundle."""

    def score(texts: Sequence[str]) -> Scores:
        return np.array([answer.alarm_score for answer in model.classify(list(texts), task=TASK)], np.float64)

    table = ordinary.read_ordinary(data, TASK)
    plain = np.sort(score(list(table.loc[(table["part"] != "train") & table["curated"], "text"].astype(str))))[::-1]
    cuts = {f"real {rate:g}": float(plain[int(rate * len(plain))]) for rate in REAL}
    fpr = model.specialist(TASK).thresholds["fpr"]
    shipped = {rate: next(value for level, value in fpr.items() if abs(float(level) - rate) < rate / 10) for rate in SHIPPED}
    cuts |= {f"shipped {rate:g}": np.nextafter(value, 0.0) for rate, value in shipped.items()}
    result: dict[str, Any] = {"ordinary": len(plain), "bundle": {"id": model.bundle_id, "version": model.bundle.version}}
    for part in PARTS:
        tools = {tool: found_of(score(texts), cuts) for tool, texts in made(part).items()}
        result[part] = {"tools": tools, "mean": mean_of(tools)}
    days = recorded(data / "sensor-days") if (data / "sensor-days").is_dir() else {}
    result["sensor days"] = {name: found_of(score(texts), cuts) for name, texts in days.items()}
    return result


def table(results: Mapping[str, Any]) -> str:
    """Percent found at real and at shipped rates, a pair of columns a bundle: means, sensor days, and tools that are missed often."""
    last = list(results.values())[-1]
    rows = [(f"mean of {len(last[part]['tools'])} tools, `{part}`", [one[part]["mean"] for one in results.values()]) for part in PARTS]
    rows += [(day, [one["sensor days"].get(day) for one in results.values()]) for day in last["sensor days"]]
    for part in PARTS:
        for tool, row in sorted(last[part]["tools"].items()):
            if row["real 0.0001"] < OFTEN:
                rows.append((f"{tool}, `{part}`", [one[part]["tools"].get(tool) for one in results.values()]))
    header = ["names found, %", *(f"{name}, {what} 1e-3 / 1e-4" for name in results for what in ("real", "shipped"))]
    return markdown.table(header, [[name, *(cell for row in found for cell in _cells(row))] for name, found in rows]) + "\n"


def _cells(row: Mapping[str, Any] | None) -> list[str]:
    if row is None:
        return ["–", "–"]
    return [f"{100 * row[f'{what} 0.001']:.1f} / {100 * row[f'{what} 0.0001']:.1f}" for what in ("real", "shipped")]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and update the result file, or print the table."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.tunnel_tools", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, help="folder with ordinary/, and sensor-days/ if there are any")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--name", default="shipped", help="under which name the results stand")
    p.add_argument("--render", action="store_true", help="print the table of the result file")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    if not args.render:
        if args.data is None:
            p.error("--data is needed")
        with EdgeDemist.load(args.bundle) as model:
            result_file.write(args.out, result_file.read(args.out) | {args.name: measured(model, args.data)})
    sys.stdout.write(table(result_file.read(args.out)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
