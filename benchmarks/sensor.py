"""The sensor's way: records a second, processor time a record and memory of ``watch --once``, in turns.

    python -m benchmarks.sensor --names names.txt --log ../shared/data/raw [--records 100000] [--rounds 3] [--growth 1000,10000]

As ``edge-demist bench --sensor`` measures it (:mod:`edge_demist.diagnostics.sensor`), and how it grows with the records.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import markdown, result_file
from edge_demist.diagnostics.sensor import VARIANTS, dns_log, logs, measure, row, watch
from edge_demist.format.bundle import Bundle
from tools import facts


def table(found: Mapping[str, Any]) -> str:
    """The rows as Markdown, for documents."""
    rows = []
    for name, one in found["rows"].items():
        log, _, variant = name.partition(", ")
        if variant not in VARIANTS:
            continue
        answered = f"{one['screened'] / one['predictions']:.1%}" if one["screened"] else "–"
        memory = f"{one['max_rss_bytes'] / 1e6:.0f}"
        rows.append((log, f"`--emit {variant}`", f"{one['cpu_us_per_record']:.0f}", f"{one['records_per_cpu_second']:,}", answered, memory))
    encode = found["rows"].get("new, encode")
    said = "" if encode is None else f"\n\nEmbedding the new names alone takes {encode['cpu_us_per_record']:.0f} µs each."
    header = ("log", "variant", "processor µs a record", "records a processor second", "answered by stage one", "MB")
    return markdown.table(header, rows) + said


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=Path, required=True, help="distinct host names, one a line")
    parser.add_argument("--log", type=Path, help="a real log, or a folder of logs")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", type=lambda text: [int(part) for part in text.split(",")], default=[])
    parser.add_argument("--bundle", default="")
    parser.add_argument("--output", type=Path, default=result_file.RESULTS / "sensor.json")
    args = parser.parse_args()
    names = list(dict.fromkeys(args.names.read_text(encoding="utf-8").split()))
    random.Random(0).shuffle(names)
    head = facts.head("benchmarks.sensor")
    say: Any = lambda case, done, total: sys.stderr.write(f"{done + 1} of {total}: {case}\n")  # noqa: E731
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = logs(folder, names[: args.records], args.log)
        result: dict[str, Any] = {"rows": measure(paths, args.rounds, args.bundle, folder, say), "growth": {}}
        for count in args.growth:
            log = dns_log(folder / "growth.log", (names * (count // len(names) + 1))[:count])
            run = watch(log, VARIANTS["alarms"], args.bundle, folder)
            result["growth"][str(count)] = row([run], result["rows"]["start"]["cpu_seconds"])
    bundle = Bundle.load(args.bundle or None)
    told: dict[str, Any] = {"bundle": {"id": bundle.id, "version": bundle.version}, "rounds": args.rounds}
    told |= {"names": args.names.name, "load_after": os.getloadavg()[0]}
    result_file.write(args.output, {**head, **result, **told})
    return 0


if __name__ == "__main__":
    sys.exit(main())
