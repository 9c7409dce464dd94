"""Do cases that look alike come from one tool? Tunnels and scans of known episodes, compared by the general vector of their examples.

    python -m benchmarks.incident_looks ../shared/data/sensor-days --made-up DIR -o benchmarks/results/incident-looks.json

For each least cosine: pairs of cases that would join, how many of these are of one tool (purity), and how many pairs of one tool join.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import markdown
from edge_demist import EdgeDemist
from edge_demist.sensor.incidents.looks import LEAST, look
from edge_demist.sensor.incidents.weights import load_weights
from tools.sensor.fit_incidents import day_folders, gather, observations, truth_tool

COSINES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def cases(folder: Path, cache: Path | None, rules: Path, model: EdgeDemist) -> Iterator[tuple[str, str, np.ndarray]]:
    """Kind, tool and look of every case of an episode that opens an incident."""
    score, weights = truth_tool(rules), load_weights()
    days = {path.name: score.Day(str(path)) for path in day_folders(folder)}
    for row in gather(observations(day_folders(folder), None, cache), weights):
        case = row.case  # type: ignore[attr-defined]
        if row.kind not in LEAST or case.log_odds(weights.signs[row.kind]) < 0:
            continue
        told = {"first": case.first_us / 1e6, "last": case.last_us / 1e6, "clients": [case.key[0]], "entities": case.entities()}
        tools = [t["tool"] for t in days[row.day].truth if t["episode"] in days[row.day].judge(told)[1]]
        own = look(case, model.encode) if tools else None
        if own is not None:
            yield row.kind, re.split(r" \d+ bytes", tools[0])[0], own


def table(found: dict[str, Any]) -> str:
    """The figures as a table."""
    rows = [
        [kind, least, one["joined"], one["of_one_tool"], one["of_all_of_one_tool"]]
        for kind, known in found.items()
        for least, one in known["by_least_cosine"].items()
        if least in ("0.5", "0.6", "0.7", "0.8")
    ]
    return markdown.table(["kind", "least cosine", "pairs that would join", "of one tool", "all pairs of one tool"], rows)


def main() -> None:
    """Compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("days", type=Path, help="the shared days")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--made-up", type=Path, help="folder that tools.days made")
    parser.add_argument("--made-up-cache", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    result: dict[str, dict[str, Any]] = {}
    with EdgeDemist.load() as model:
        found = list(cases(args.days, args.cache, args.days, model))
        found += list(cases(args.made_up, args.made_up_cache, args.days, model)) if args.made_up else []
    for kind in LEAST:
        mine = [(tool, own) for name, tool, own in found if name == kind]
        looks = np.stack([own for _, own in mine]).astype(np.float64)
        near = looks @ looks.T / np.linalg.norm(looks, axis=1)[:, None] / np.linalg.norm(looks, axis=1)
        same, pairs = np.array([[a == b for b, _ in mine] for a, _ in mine]), np.triu_indices(len(mine), 1)
        rows = {}
        for least in COSINES:
            joined = near[pairs] >= least
            of_one = int((same[pairs] & joined).sum())
            rows[str(least)] = {"joined": int(joined.sum()), "of_one_tool": of_one, "of_all_of_one_tool": int(same[pairs].sum())}
        result[kind] = {"cases": len(mine), "pairs": len(pairs[0]), "by_least_cosine": rows}
    print(json.dumps(result, indent=1))
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
