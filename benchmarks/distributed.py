"""Strings a second on other people's engines: ``python -m benchmarks.distributed [ENGINE …]``.

Writes ``benchmarks/results/distributed.json``. Each script in docs/how-to/scripts embeds the same Parquet file with one and with
two workers, beside a plain process that reads, encodes and writes the same. The difference between two sizes gives the pace
without the start: an engine takes seconds to come up, once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import markdown, result_file
from edge_demist import EdgeDemist
from edge_demist.diagnostics import machine
from tools.spread import names
from tools.spread.engines import ENGINES, Job, missing

RESULT = result_file.RESULTS / "distributed.json"
PLAIN = """
import sys
import pyarrow as pa, pyarrow.parquet as pq
from edge_demist.integrations.arrow import Embed
source, target = sys.argv[1:3]
embed, file = Embed("name"), pq.ParquetFile(source)
with pq.ParquetWriter(target, embed(file.schema_arrow.empty_table()).schema) as writer:
    for batch in file.iter_batches(8192):
        writer.write_batch(embed(batch))
"""
DAY_S, BILLION = 86_400, 1_000_000_000


def seconds(engine: str, source: Path, target: Path, workers: int) -> float:
    """One run, from the start of the process to its end."""
    start = time.perf_counter()
    if engine == "plain":
        subprocess.run([sys.executable, "-c", PLAIN, str(source / "part-0.parquet"), str(target)], check=True)
    elif code := Job(engine, source, target, workers, Path(f"{target}.log")).wait(300):
        raise SystemExit(f"{engine}: exit code {code}: {Path(f'{target}.log').read_text(errors='replace')[-800:]}")
    return time.perf_counter() - start


def measure(engine: str, workers: int, folder: Path, small: int, large: int) -> dict[str, Any]:
    """Pace and start of an engine, from a small and a large file."""
    took = []
    for rows in (small, large):
        source = folder / f"names-{rows}"
        if not source.exists():
            names.write(source, rows, 1)
        took.append(seconds(engine, source, folder / f"{engine}-{workers}-{rows}", workers))
    each = (took[1] - took[0]) / (large - small)
    return {
        "engine": engine, "workers": workers, "rows": [small, large], "seconds": [round(t, 2) for t in took],
        "rows_per_second": round(1 / each), "start_seconds": round(took[0] - small * each, 1),
    }  # fmt: skip


def table(content: dict[str, Any]) -> str:
    """Engines as rows."""
    rows = [(r["engine"], r["workers"], f"{r['rows_per_second']:,}", f"{max(r['start_seconds'], 0):.1f}") for r in content["runs"]]
    return markdown.table(("engine", "workers", "strings a second", "start, s"), rows)


def billion(content: dict[str, Any]) -> str:
    """What a billion strings a day would take, from the measured pace of the plain process."""
    plain = next(run for run in content["runs"] if run["engine"] == "plain")["rows_per_second"]
    needed = BILLION / DAY_S
    cores = -(-BILLION // (DAY_S * plain))
    return (
        f"A billion strings a day are {needed:,.0f} a second, all day. The plain process embedded {plain:,} a second on one core here, "
        f"so {BILLION / plain / 3600:,.0f} core hours, or {cores} cores without a break; with half of them to spare for peaks and lost "
        f"workers, {-(-3 * cores // 2)}. The vectors are {BILLION * 384 * 4 / 1e12:.2f} TB a day as float32 and "
        f"{BILLION * 384 / 1e12:.2f} TB as int8, before compression."
    )


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*")
    parser.add_argument("--rows", type=int, default=40_000)
    args = parser.parse_args()
    content = result_file.read(RESULT)
    runs = {(run["engine"], run["workers"]): run for run in content.get("runs", [])}
    with tempfile.TemporaryDirectory() as folder:
        for engine in args.engines or ["plain", *(engine for engine in ENGINES if not missing(engine))]:
            for workers in (1,) if engine == "plain" else (1, 2):
                runs[engine, workers] = measure(engine, workers, Path(folder), args.rows // 8, args.rows)
                print(runs[engine, workers], flush=True)
    order = ["plain", *ENGINES]
    content["runs"] = sorted(runs.values(), key=lambda run: (order.index(run["engine"]), run["workers"]))
    result_file.write(RESULT, content | {"machine": machine.facts(), "bundle": EdgeDemist.load().bundle_id})
    return 0


if __name__ == "__main__":
    sys.exit(main())
