"""What incidents find on made-up days with other tools and families than the shared days have, and what they tell for nothing.

    python -m benchmarks.incident_days --background ../shared/data/sensor-days -o benchmarks/results/incident-days.json

The days are :mod:`tools.days`; each is read as ``watch --emit incidents`` does, with the weights of the package. ``--background`` mixes
ordinary clients of the shared days in and gives the rules of judging (their ``score.py``).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from edge_demist.sensor.incidents.weights import load_weights
from tools.days.__main__ import borrowed, make_days
from tools.sensor.fit_incidents import day_folders, incidents, observations, score_lines, truth_tool


def measure(out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Make the days, read them, judge."""
    tracks, grey = borrowed(observations(day_folders(args.background), args.bundle, args.cache), args.background)
    records = make_days(out, args.days, args.seed, tracks, sorted(grey))
    score = truth_tool(args.background)
    lines = dict(incidents(observations(day_folders(out), args.bundle, None), load_weights(args.weights)))
    found = score_lines(lines, out, score)
    truth = {one["episode"]: one["kind"] for day in day_folders(out) for one in score.Day(str(day)).truth}
    hit = Counter(truth[name] for name in found["found"])  # type: ignore[attr-defined]
    delays = sorted(found["delay_min"].values())  # type: ignore[attr-defined]
    quiet = [day.name for day in day_folders(out) if not (day / "truth.jsonl").read_text(encoding="utf-8")]
    false = Counter(day for day, _, _ in found["false"])  # type: ignore[attr-defined]
    return {
        "days": args.days,
        "seed": args.seed,
        "records": records,
        "kinds": {kind: {"episodes": number, "found": hit[kind]} for kind, number in sorted(Counter(truth.values()).items())},
        "episodes": len(truth),
        "found": sum(hit.values()),
        "false": sum(false.values()),
        "false_a_day": round(sum(false.values()) / args.days, 2),
        "days_without_intrusion": len(quiet),
        "most_on_a_day_without_intrusion": max((false[day] for day in quiet), default=0),
        "true_an_episode": round(int(str(found["true"])) / max(1, sum(hit.values())), 2),
        "median_delay_min": delays[len(delays) // 2] if delays else None,
        "missed": found["missed"],
    }


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--background", type=Path, required=True, help="the shared days")
    parser.add_argument("--cache", type=Path, help="keep the answers about the shared days here")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--days", type=int, default=24)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="days-") as folder:
        result = measure(Path(folder), args)
    print(json.dumps(result, indent=1))
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
