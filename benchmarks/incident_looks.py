"""Does what looks alike by the pooled vector belong together? Strings in groups of a leader and its followers, and cases of episodes.

    python -m benchmarks.incident_looks DATA/sensor-days --tables DATA --made-up DIR -o benchmarks/results/incident-looks.json

Strings: attack values, user agents and tunnels' names of the held-out tables, grouped at each least cosine as incidents join. Purity is the
share of strings that are of the kind (of attack, agent) or tool (of tunnel) that is most frequent in their group; of all, and of those in
groups of several. Cases: pairs of tunnels and scans that would join by their looks alone, how many of these are of one tool, and how many
pairs of one tool join; on the sensor they must share the client or the server too.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import markdown
from edge_demist import EdgeDemist
from edge_demist.explore.cluster import leader
from edge_demist.explore.quantize import to_int8
from edge_demist.sensor.incidents.looks import LEAST, look
from edge_demist.sensor.incidents.weights import load_weights
from tools.sensor.fit_incidents import day_folders, gather, observations, truth_tool

COSINES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MOST_STRINGS = 1500
STRINGS = {
    "attack values": ("tasks/uri-attack/dev.parquet", "label", "normal"),
    "attack values of other sources": ("threats/attacks.parquet", "kind", "no-visible-payload"),
    "user agents": ("tasks/user-agent/dev.parquet", "label", ""),
    "tunnels' names": ("tasks/dns-tunnel/dev.parquet", "family", "legit"),
    "tunnels' names of other sources": ("threats/tunnels.parquet", "tool", ""),
}
"""By name the table, the column that says what a string is, and the value or label that is left out."""


def strings(tables: Path, name: str) -> list[tuple[str, str]]:
    """Up to 1,500 strings of a table, drawn at random, each with what it is."""
    import pandas as pd

    file, column, without = STRINGS[name]
    rows = pd.read_parquet(tables / file)
    kept = rows[(rows[column] != without) & (rows.get("label", rows[column]) != without)]
    kept = kept.sample(min(len(kept), MOST_STRINGS), random_state=1)
    return list(zip(kept["text"], kept[column], strict=True))


def purity(rows: list[tuple[str, str]], model: EdgeDemist) -> dict[str, Any]:
    """At each least cosine: groups, and how pure they are."""
    vectors, found = to_int8(np.asarray(model.encode([text for text, _ in rows], projected=False), np.float32)), {}
    for least in COSINES:
        groups: dict[int, list[str]] = {}
        for number, (_, what) in zip(leader(vectors, least).number.tolist(), rows, strict=True):
            groups.setdefault(number, []).append(what)
        shared = [group for group in groups.values() if len(group) > 1]
        found[str(least)] = {
            "groups": len(groups),
            "purity": _purity(list(groups.values())),
            "in_groups_of_several": sum(map(len, shared)),
            "purity_of_these": _purity(shared),
        }
    return {"strings": len(rows), "kinds": dict(Counter(what for _, what in rows).most_common()), "by_least_cosine": found}


def _purity(groups: list[list[str]]) -> float:
    return round(sum(Counter(group).most_common(1)[0][1] for group in groups) / max(sum(map(len, groups)), 1), 3)


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
        own = look(case, partial(model.encode, projected=False)) if tools else None
        if own is not None:
            yield row.kind, re.split(r" \d+ bytes", tools[0])[0], own


def pairs(mine: list[tuple[str, np.ndarray]]) -> dict[str, Any]:
    """At each least cosine: pairs of cases that would join, and how many of them are of one tool."""
    looks = np.stack([own for _, own in mine]).astype(np.float64)
    near = looks @ looks.T / np.linalg.norm(looks, axis=1)[:, None] / np.linalg.norm(looks, axis=1)
    same, each = np.array([[a == b for b, _ in mine] for a, _ in mine]), np.triu_indices(len(mine), 1)
    rows = {}
    for least in COSINES:
        joined = near[each] >= least
        of_one = int((same[each] & joined).sum())
        rows[str(least)] = {"joined": int(joined.sum()), "of_one_tool": of_one, "of_all_of_one_tool": int(same[each].sum())}
    return {"cases": len(mine), "pairs": len(each[0]), "by_least_cosine": rows}


def table(found: dict[str, Any]) -> str:
    """The purity of single strings as a table, at the cosines that incidents join by."""
    rows = []
    for name, known in found["strings"].items():
        least = str(LEAST["tunnel" if "tunnel" in name else "scan"])
        one = known["by_least_cosine"][least]
        rows.append([name, f"{known['strings']:,}", least, one["groups"], one["purity"], one["purity_of_these"]])
    return markdown.table(["strings", "count", "least cosine", "groups", "purity", "purity in groups of several"], rows)


def main() -> None:
    """Compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("days", type=Path, nargs="?", help="the shared days; without them only strings are measured")
    parser.add_argument("--tables", type=Path, required=True, help="folder of the tables of strings")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--made-up", type=Path, help="folder that tools.days made")
    parser.add_argument("--made-up-cache", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    result = json.loads(args.output.read_text(encoding="utf-8")) if args.output.exists() else {}
    with EdgeDemist.load() as model:
        result["strings"] = {name: purity(strings(args.tables, name), model) for name in STRINGS}
        if args.days:
            found = list(cases(args.days, args.cache, args.days, model))
            found += list(cases(args.made_up, args.made_up_cache, args.days, model)) if args.made_up else []
            result |= {kind: pairs([(tool, own) for name, tool, own in found if name == kind]) for kind in LEAST}
    print(json.dumps(result, indent=1))
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
