"""Write the figures of docs/sensor.md from the result files of the crash test, the soak and the throughput measurement.

    python -m tools.sensor.figures [--check]

``--check`` changes nothing and fails if the page does not show what the files hold.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE, RESULTS = ROOT / "docs" / "sensor.md", ROOT / "benchmarks" / "results"
VARIANTS = {
    "cache": "with the cache",
    "no-cache": "without it (equal strings of a batch are still asked once)",
    "record-by-record": "without it, one record at a time",
}


def crash(result: dict[str, Any]) -> str:
    """A row a kind of crash."""
    head = "| disturbance | times | records | lost | repeats, same id | ids with two meanings | damaged lines |\n"
    head += "|---|---|---|---|---|---|---|\n"
    rows = [
        f"| {r['kind']} | {r['crashes']} | {r['records']:,} | {r['lost']} | {r['repeats']} | {r['conflicts']} | {r['damaged_lines']} |"
        for r in result["runs"]
    ]
    return head + "\n".join(rows)


def soak(result: dict[str, Any]) -> str:
    """One sentence."""
    run = result["soak"]
    rate = run["records_written"] / run["seconds"]
    return (
        f"{run['seconds'] / 60:.0f} minutes at {rate:.0f} records a second, with rotation and compression: "
        f"{run['records_read']:,} of {run['records_written']:,} records read; resident memory {run['rss_first_bytes'] / 1e6:.1f} MB after "
        f"warm-up, {run['rss_last_bytes'] / 1e6:.1f} MB at the end ({run['rss_growth_bytes'] / 1e6:+.1f} MB); never more than "
        f"{run['lag_max_s']:.1f} s of log behind (`soak.json`)."
    )


def throughput(result: dict[str, Any]) -> str:
    """A row a variant."""
    head = (
        f"`watch --once` over {next(iter(result['variants'].values()))['records']:,} records of a real dns.log, four specialists a record, "
        f"median of {result['rounds']} rounds in turns (`sensor-throughput.json`"
        + (f"; the machine was busy: {result['machine_doubts'][0]}" if result["machine_doubts"] else "")
        + "):\n\n| | records/s | processor s | largest memory MB | answered by cache / once a batch / model |\n|---|---|---|---|---|\n"
    )
    rows = []
    for name, title in VARIANTS.items():
        row = result["variants"][name]
        shares = " / ".join(f"{row[key]:.0%}" for key in ("answered_by_cache", "answered_once_in_batch", "answered_by_model"))
        cpu = sorted(row["cpu_seconds"])[len(row["cpu_seconds"]) // 2]
        rows.append(f"| {title} | {row['records_per_s']:,.0f} | {cpu:.1f} | {row['max_rss_bytes'] / 1e6:.0f} | {shares} |")
    return head + "\n".join(rows)


BLOCKS = {
    "crash": ("crash.json", crash),
    "soak": ("soak.json", soak),
    "throughput": ("sensor-throughput.json", throughput),
}


def rendered(page: str) -> str:
    """The page with its blocks (between ``<!-- NAME -->`` and ``<!-- end -->``) written anew."""
    for name, (file, render) in BLOCKS.items():
        path = RESULTS / file
        text = render(json.loads(path.read_text(encoding="ascii"))) if path.exists() else f"No `{file}` has been committed yet."
        page, count = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=text: f"{m[1]}{t}\n{m[2]}", page, flags=re.DOTALL)  # type: ignore[misc]
        if count != 1:
            raise SystemExit(f"{PAGE}: expected one block {name!r}, found {count}")
    return page


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    args = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    fresh = rendered(page)
    if args.check:
        return int(fresh != page)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
