"""Records a second of ``watch --once`` on a real dns.log, with the cache and without, in turns.

    python -m tools.sensor.throughput --dns dns.log.gz [--rounds 5] [-o benchmarks/results/sensor-throughput.json]

Every round runs all variants, in changing order. ``seconds`` counts from reading to synced output, without the start of the
process; ``cpu_seconds`` and ``max_rss_bytes`` are those of the whole process. Without the cache, equal strings of one batch
are still asked once; the variant ``record-by-record`` has batches of one record, so nothing is asked once for several.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_demist.diagnostics.statistics import doubts, machine_doubts, summarize
from edge_demist.sensor.storage import Disk
from tools import facts
from tools.sensor.soak import ROOT, SAMPLE, watch_command

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "cache": (),
    "no-cache": ("--cache-entries", "0"),
    "record-by-record": ("--cache-entries", "0", "--batch-size", "1"),
}


def run(log: Path, options: tuple[str, ...], model: str = "") -> dict[str, Any]:
    """One pass over the log in a process of its own: its summary, processor time and largest memory."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder, "summary.json")
        command = watch_command(model, str(log), "--once", "-o", str(Path(folder, "events")), "--summary", str(summary), "--log", "off")
        child = subprocess.Popen([*command, *options], cwd=ROOT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{' '.join(command)}: exit code {child.returncode}")
        result: dict[str, Any] = json.loads(summary.read_text(encoding="ascii"))
    return result | {"cpu_seconds": usage.ru_utime + usage.ru_stime, "max_rss_bytes": usage.ru_maxrss * 1024}


def row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A variant's figures: medians over the rounds, and every round's."""
    last, seconds = runs[-1], [r["seconds"] for r in runs]
    cache, asked = last["cache"], last["predictions"]
    return {
        "records": last["records"],
        "predictions": asked,
        "records_per_s": round(statistics.median(last["records"] / s for s in seconds), 1),
        "predictions_per_s": round(statistics.median(asked / s for s in seconds), 1),
        "seconds": seconds,
        "cpu_seconds": [round(r["cpu_seconds"], 3) for r in runs],
        "max_rss_bytes": max(r["max_rss_bytes"] for r in runs),
        "answered_by_cache": round(cache["hits"] / asked, 4),
        "answered_once_in_batch": round(cache["duplicates_in_batch"] / asked, 4),
        "answered_by_model": round(cache["misses"] / asked, 4),
        "unstable": doubts(summarize([[s] for s in seconds])),
    }


def measure(log: Path, rounds: int, model: str = "") -> dict[str, Any]:
    """All variants in turns."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    names = list(VARIANTS)
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            runs[name].append(run(log, VARIANTS[name], model))
    rows = {name: row(found) for name, found in runs.items()}
    base = rows["cache"]["seconds"]
    for found in rows.values():
        found["times_as_long_as_with_cache"] = round(statistics.median(a / b for a, b in zip(found["seconds"], base, strict=True)), 3)
    return {"log": log.name, "bundle_id": runs["cache"][0]["bundle_id"], "rounds": rounds, "variants": rows}


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dns", type=Path, default=SAMPLE, help="a Zeek dns.log")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bundle", default="", help="a bundle other than the default one")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    head = facts.head("tools.sensor.throughput")
    result = head | measure(args.dns.resolve(), args.rounds, args.bundle)
    result["machine_doubts"] = machine_doubts(0.0, 0.0, float(str(head["load_before"])), os.cpu_count() or 1)
    text = json.dumps(result, indent=1) + "\n"
    if args.output:
        Disk().replace_file(args.output, text.encode("ascii"))
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
