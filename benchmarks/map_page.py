"""Size of the map's page and processor time of ``edge-demist map``, beside ``edge-demist embed`` of the same names.

    python -m benchmarks.map_page --data DATA [--names 100000 1000000]    # writes benchmarks/results/map-page.json

Processor time (user and system) of whole commands, since the wall clock of a busy machine says little; names of the corpus.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import result_file

RESULTS = result_file.RESULTS / "map-page.json"


def processor_seconds(arguments: Sequence[str]) -> float:
    """Run ``edge-demist`` and give its user and system time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "edge_demist", *arguments], check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)


def measure(names: list[str], folder: Path) -> dict[str, Any]:
    """One number of names: twice the map, and embed between."""
    listed, page, again = folder / "names.txt", folder / "map.html", folder / "again.html"
    listed.write_text("\n".join(names) + "\n", encoding="utf-8")
    first = processor_seconds(["map", str(listed), "-o", str(page)])
    embed = processor_seconds(["embed", str(listed), "-o", str(folder / "v.npy")])
    entry = {"map_seconds": first, "embed_seconds": embed, "ratio": round(first / embed, 3), "bytes": page.stat().st_size}
    if len(names) <= 200_000:
        processor_seconds(["map", str(listed), "-o", str(again), "--title", "names.txt"])
        entry["same_bytes"] = hashlib.sha256(page.read_bytes()).digest() == hashlib.sha256(again.read_bytes()).digest()
    return entry


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.map_page", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with corpus/")
    p.add_argument("--names", type=int, nargs="+", default=[100_000, 1_000_000])
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    names = pd.read_parquet(args.data / "corpus" / "hostname.parquet")["text"].head(max(args.names)).tolist()
    result: dict[str, Any] = {"load_average": round(os.getloadavg()[0], 1), "names": {}}
    for count in args.names:
        with tempfile.TemporaryDirectory() as folder:
            result["names"][str(count)] = measure(names[:count], Path(folder))
        print(count, result["names"][str(count)], file=sys.stderr, flush=True)
        result_file.write(args.out, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
