"""What an alarm budget tells in generated months: attacks at 0.1, 1, 10 and 40 times the budget beside ordinary traffic.

    python -m benchmarks.alarm_budget

Scores are drawn, no model runs: ordinary strings cross the calibrated threshold at the rate that it is calibrated for, attacks
score higher on the whole but overlap with them. Attacks come in bursts, by day more than by night; weekends are quiet in half of
the months. Each month is run with the budget's policy and with the plain one that tells whoever comes first.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import result_file
from benchmarks.markdown import table as markdown_table
from edge_demist.sensor.detect.alarms import AlarmPolicy
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.detect.score_histogram import DAY_US, score_of, severity

RESULT = result_file.RESULTS / "alarm-budget.json"
START = 1_700_006_400_000_000
DAYS, SEEDS = 28, 5
BUDGETS = (5, 20)
LOADS = (0.1, 1.0, 10.0, 40.0)
ORDINARY_PER_DAY = 400
"""Ordinary strings a day that reach half the score; one in twenty of them crosses the calibrated threshold."""
CALIBRATED = 0.99
Verdict = tuple[int, str, float, bool]


def month(rng: random.Random, per_day: float) -> list[Verdict]:
    """(time, string, alarm score, is an attack) in order of time."""
    quiet_weekends = rng.random() < 0.5
    found: list[Verdict] = []
    for day in range(DAYS):
        scale = 0.1 if quiet_weekends and day % 7 >= 5 else 1.0
        begin = START + day * DAY_US
        for i in range(round(ORDINARY_PER_DAY * scale)):
            found.append((begin + int(rng.betavariate(4, 4) * DAY_US), f"o{day}-{i}", score_of(0.31 + rng.expovariate(1.8)), False))
        attacks = round(per_day * scale * rng.uniform(0.5, 1.5)) if per_day >= 1 else int(rng.random() < per_day * scale)
        burst = begin + rng.randrange(DAY_US)
        for i in range(attacks):
            at = burst + int(rng.expovariate(12) * DAY_US) if rng.random() < 0.5 else begin + rng.randrange(DAY_US)
            found.append((at, f"a{day}-{i}", score_of(severity(CALIBRATED) + rng.gammavariate(2.0, 0.6)), True))
    return sorted(found)


def first_come(verdicts: list[Verdict], budget: int) -> list[Verdict]:
    """The plain policy: over the calibrated threshold, while fewer than the budget were told in 24 hours."""
    told: list[Verdict] = []
    for one in verdicts:
        if one[2] >= CALIBRATED and sum(one[0] - t[0] < DAY_US for t in told[-budget:]) < budget:
            told.append(one)
    return told


def budgeted(verdicts: list[Verdict], budget: int) -> list[Verdict]:
    """What the sensor tells."""
    policy = AlarmPolicy({"cmdline": CALIBRATED}, Budget.parse([f"cmdline={budget}"]))
    return [one for one in verdicts if policy.decide("cmdline", one[1], one[2], one[0]).alarm]


def measures(verdicts: list[Verdict], told: list[Verdict], budget: int) -> dict[str, float]:
    """Counts of one month, relative to the budget where they are counts of alarms."""
    times = [one[0] for one in told]
    most = max((sum(at <= other < at + DAY_US for other in times) for at in times), default=0)
    weeks = Counter((at - START) // (7 * DAY_US) for at in times)
    worst: dict[int, Verdict] = {}
    for one in verdicts:
        day = (one[0] - START) // DAY_US
        if one[3] and one[2] > worst.get(day, (0, "", 0.0, False))[2]:
            worst[day] = one
    names = {one[1] for one in told}
    attacks = [one for one in verdicts if one[3]]
    return {
        "told_per_day": len(told) / DAYS,
        "most_in_24_hours": most,
        "least_in_a_week": min(weeks.get(week, 0) for week in range(DAYS // 7)),
        "most_in_a_week": max(weeks.values(), default=0),
        "attacks": len(attacks),
        "attacks_told": sum(one[3] for one in told),
        "worst_of_the_day_told": sum(one[1] in names for one in worst.values()) / max(len(worst), 1),
        "told_that_are_attacks": sum(one[3] for one in told) / max(len(told), 1),
    }


def simulate() -> dict[str, Any]:
    """All months: means over the seeds, extremes for the bounds."""
    rows = []
    for budget in BUDGETS:
        for load in LOADS:
            for name, policy in (("slots", budgeted), ("first come", first_come)):
                months = []
                for seed in range(SEEDS):
                    verdicts = month(random.Random(f"{budget} {load} {seed}"), budget * load)
                    months.append(measures(verdicts, policy(verdicts, budget), budget))
                rows.append({"budget": budget, "load": load, "policy": name, **_over(months)})
    return {"days": DAYS, "months": SEEDS, "calibrated": CALIBRATED, "rows": rows}


def _over(months: list[dict[str, float]]) -> dict[str, float]:
    pick = {"most_in_24_hours": max, "most_in_a_week": max, "least_in_a_week": min}
    return {key: round(pick.get(key, lambda v: sum(v) / len(v))([m[key] for m in months]), 3) for key in months[0]}


def table(result: dict[str, Any]) -> str:
    """The months as a table."""
    head = ["budget", "attacks, times the budget", "policy", "told a day", "most in 24 h", "worst of each day told"]
    rows = [
        [
            r["budget"],
            f"{r['load']:g}",
            r["policy"],
            f"{r['told_per_day']:.1f}",
            f"{r['most_in_24_hours']:.0f}",
            f"{r['worst_of_the_day_told']:.0%}",
        ]
        for r in result["rows"]
        if r["budget"] == BUDGETS[0]
    ]
    return markdown_table(head, rows)


def main() -> int:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    args = parser.parse_args()
    result = simulate()
    result_file.write(args.output, result)
    print(table(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
