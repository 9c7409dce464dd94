"""Several specialists of the same names in one call, against one, in turns.

    python -m benchmarks.several --names names.txt [--rounds 7] [--bundle DIR]

Timed in processor time, so that the machine's load matters little. Every batch of names visits all cases, in changing order, so that
what slows the machine for a while slows all of them; how many times as long the four take is the median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import markdown, result_file
from edge_demist import EdgeDemist
from tools import facts

TASKS = ("dga", "hostname-threat", "dns-tunnel", "hostname-category")
BATCH, NAMES = 32, 1280
ALL = "the four at once"


def table(found: Mapping[str, Any]) -> str:
    """What is asked, and how long it takes, as Markdown."""
    rows = [(name, f"{one['us_per_name']:.0f}", f"{one['all_times']:.2f}") for name, one in found["classify"].items()]
    return markdown.table(("asked", "µs a name", "the four, times that"), rows)


def several(model: EdgeDemist, names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Processor microseconds a name of each specialist, of all one after the other and of all at once, in batches of ``BATCH``."""
    batches = [names[k : k + BATCH] for k in range(0, len(names), BATCH)]
    cases: dict[str, Callable[[Sequence[str]], object]] = {task: lambda batch, task=task: model.classify(batch, task) for task in TASKS}  # type: ignore[misc]
    cases[ALL] = lambda batch: model.classify(batch, tasks=TASKS)
    runs: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(-1, rounds):
        spent = dict.fromkeys(cases, 0)
        for n, batch in enumerate(batches):
            for name in random.Random(f"{number} {n}").sample(sorted(cases), len(cases)):
                began = time.process_time_ns()
                cases[name](batch)
                spent[name] += time.process_time_ns() - began
        for name, took in spent.items() if number >= 0 else ():
            runs[name].append(took / 1000 / len(names))
    runs["the four, one after the other"] = [sum(each) for each in zip(*(runs[task] for task in TASKS), strict=True)]
    return {
        name: {
            "us_per_name": round(statistics.median(took), 2),
            "all_times": round(statistics.median(both / one for both, one in zip(runs[ALL], took, strict=True)), 3),
        }
        for name, took in sorted(runs.items(), key=lambda pair: pair[0] == ALL)
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=Path, required=True, help="distinct host names, one a line")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bundle", default="")
    parser.add_argument("--output", type=Path, default=result_file.RESULTS / "several.json")
    args = parser.parse_args()
    names = list(dict.fromkeys(args.names.read_text(encoding="utf-8").split()))
    random.Random(0).shuffle(names)
    head = facts.head("benchmarks.several")
    model = EdgeDemist.load(args.bundle or None)
    result: dict[str, Any] = {"classify": several(model, names[:NAMES], args.rounds)}
    told = {"bundle": {"id": model.bundle_id, "version": model.bundle.version}, "rounds": args.rounds, "load_after": os.getloadavg()[0]}
    result_file.write(args.output, {**head, **told, **result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
