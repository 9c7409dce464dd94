"""What windows over long strings cost: time of ``classify`` by the length of a request target and of a command line, against a short one.

    python -m benchmarks.windows --out benchmarks/results/windows.json

Processor time of one thread, so that other work on the machine does not count; the lengths take turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import result_file
from edge_demist import EdgeDemist

LENGTHS = (40, 120, 250, 500, 1000, 2000, 4000, 8000)
"""Bytes."""


def strings() -> dict[str, list[str]]:
    """Strings of each length by task."""
    target = "/search?" + "&".join(f"name{i}=value{i * 7}" for i in range(900))
    line = "program " + " ".join(f"--option-{i} file{i * 7}.txt" for i in range(600))
    return {task: [text[:length] for length in LENGTHS] for task, text in (("uri-attack", target), ("cmdline", line))}


def measure(model: EdgeDemist, rounds: int) -> dict[str, Any]:
    """Milliseconds of processor time of one text, by task and length: the median of ``rounds`` interleaved calls."""
    times: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds + 2):
        for task, texts in strings().items():
            for text in texts:
                began = time.process_time()
                model.classify(text, task=task)
                if number >= 2:  # the first two warm up
                    times.setdefault((task, len(text)), []).append(1e3 * (time.process_time() - began))
    rows = {task: {length: statistics.median(times[task, length]) for length in LENGTHS} for task in strings()}
    return {
        "bundle": model.bundle_id,
        "rounds": rounds,
        "milliseconds": {task: {str(k): round(v, 3) for k, v in row.items()} for task, row in rows.items()},
        "ratio": {task: {str(k): round(v / row[LENGTHS[0]], 1) for k, v in row.items()} for task, row in rows.items()},
    }


def table(result: dict[str, Any]) -> str:
    """Markdown: a row a task, a column a length."""
    lines = ["| bytes | " + " | ".join(map(str, LENGTHS)) + " |", "|---|" + "---|" * len(LENGTHS)]
    for task, row in result["ratio"].items():
        lines.append(f"| {task}, time against {LENGTHS[0]} bytes | " + " | ".join(str(row[str(length)]) for length in LENGTHS) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result file."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.windows", description=__doc__, formatter_class=raw)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--out", type=Path, default=result_file.RESULTS / "windows.json", metavar="FILE")
    p.add_argument("--rounds", type=int, default=15)
    args = p.parse_args(argv)
    with EdgeDemist.load(args.bundle) as model:
        result = measure(model, args.rounds)
    result_file.write(args.out, result)
    sys.stdout.write(table(result) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
