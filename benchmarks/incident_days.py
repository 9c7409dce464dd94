"""What incidents find on made-up days with other tools and families than the shared days have, and what they tell for nothing.

    python -m tools.days DIR --days 24 --seed 2 --background ../shared/data/sensor-days
    python -m benchmarks.incident_days DIR --rules ../shared/data/sensor-days -o benchmarks/results/incident-days.json

Each day is read as ``watch --emit incidents`` does, with the weights of the package, and judged by the ``score.py`` of the shared days.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import markdown
from edge_demist.sensor.incidents.weights import load_weights
from tools.sensor.fit_incidents import day_folders, incidents, observations, score_lines, truth_tool


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Read the days, judge."""
    score, days = truth_tool(args.rules), day_folders(args.days)
    lines = dict(incidents(observations(days, args.bundle, args.cache), load_weights(args.weights)))
    found = score_lines(lines, args.days, score)
    truth = {one["episode"]: one["kind"] for day in days for one in score.Day(str(day)).truth}
    hit = Counter(truth[name] for name in found["found"])  # type: ignore[attr-defined]
    delays = sorted(found["delay_min"].values())  # type: ignore[attr-defined]
    quiet = [day.name for day in days if not (day / "truth.jsonl").read_text(encoding="utf-8")]
    false = Counter(day for day, _, _ in found["false"])  # type: ignore[attr-defined]
    return {
        **json.loads((args.days / "made.json").read_text(encoding="utf-8")),
        "kinds": {kind: {"episodes": number, "found": hit[kind]} for kind, number in sorted(Counter(truth.values()).items())},
        "episodes": len(truth),
        "found": sum(hit.values()),
        "false": sum(false.values()),
        "false_a_day": round(sum(false.values()) / len(days), 2),
        "days_without_intrusion": len(quiet),
        "most_on_a_day_without_intrusion": max((false[day] for day in quiet), default=0),
        "true_an_episode": round(int(str(found["true"])) / max(1, sum(hit.values())), 2),
        "median_delay_min": delays[len(delays) // 2] if delays else None,
        "missed": found["missed"],
    }


def table(found: dict[str, Any]) -> str:
    """The figures as a table."""
    kinds = ", ".join(f"{kind} {one['found']} of {one['episodes']}" for kind, one in found["kinds"].items())
    rows = [
        ["days, records", f"{found['days']}, {found['records']:,}"],
        ["episodes found", f"{found['found']} of {found['episodes']}"],
        ["by kind", kinds],
        ["false incidents", f"{found['false']} ({found['false_a_day']} a day)"],
        ["most on one of the days without an intrusion", f"{found['most_on_a_day_without_intrusion']}"],
        ["incidents an episode found", f"{found['true_an_episode']}"],
        ["median delay, minutes", f"{found['median_delay_min']}"],
    ]
    return markdown.table(["made-up days", ""], rows)


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("days", type=Path, help="folder that tools.days made")
    parser.add_argument("--rules", type=Path, required=True, help="the shared days, for their score.py")
    parser.add_argument("--cache", type=Path, help="keep the answers here")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    result = measure(args)
    print(json.dumps(result, indent=1))
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
