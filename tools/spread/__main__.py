"""Are vectors from other engines those of ``encode``, and does a killed worker, or a killed job, change nothing?

python -m tools.spread [ENGINE …] [--rows 100000]      # writes benchmarks/results/spread.json
For each engine: two files of host names; while the first is worked on, a worker gets SIGKILL (where the engine has one beside
the script, the job goes on by itself, or else it is started again); then the whole job gets SIGKILL in the second file and is
started again. At the end every row must be there once, bit for bit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import result_file
from edge_demist import EdgeDemist
from edge_demist.diagnostics import machine
from tools.spread import names
from tools.spread.engines import ENGINES, Job, missing

LIMIT_S = 240.0


def main() -> int:
    """Check; 1 if a row is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", choices=[*ENGINES, []], help="default: all that are installed")
    parser.add_argument("--rows", type=int, default=100_000)
    args = parser.parse_args()
    path = result_file.RESULTS / "spread.json"
    content = result_file.read(path)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "names")
        names.write(source, args.rows, 2)
        expected = names.vectors(source)
        for engine in args.engines or [engine for engine in ENGINES if not missing(engine)]:
            found = check(engine, source, Path(folder, engine), expected)
            print(engine, found, flush=True)
            failed |= bool(found["difference"])
            content.setdefault("engines", {})[engine] = found
    content |= {"machine": machine.facts(), "bundle": EdgeDemist.load().bundle_id}
    result_file.write(path, content)
    return int(failed)


def check(engine: str, source: Path, target: Path, expected: np.ndarray) -> dict[str, Any]:
    """One engine, disturbed twice."""
    log, starts = Path(f"{target}.log"), 1
    job = Job(engine, source, target, 2, log)
    worker = job.kill_worker(LIMIT_S)
    alone = worker and gone(job)  # the script was the worker
    went_on = first_is_there(job, target)
    if not went_on:
        job.kill()
        starts, job = starts + 1, Job(engine, source, target, 2, log)
        first_is_there(job, target)
    time.sleep(1.0)
    in_the_middle = job.process.poll() is None and not (target / "part-1").exists()
    job.kill()
    starts, job = starts + 1, Job(engine, source, target, 2, log)
    code = job.wait(LIMIT_S)
    wrong = names.difference(source, target, expected) if code == 0 else f"exit code {code}: {log.read_text(errors='replace')[-800:]}"
    if not (worker and in_the_middle):
        wrong = wrong or "it ended before it could be disturbed; give more --rows"
    kind = "the script" if alone else "a worker beside the script" if went_on else "a worker beside the script, which then ended"
    return {"rows": len(expected), "killed_worker": kind, "starts": starts, "difference": wrong}


def first_is_there(job: Job, target: Path) -> bool:
    """Waits for the first file's rows; False if the script ended before."""
    end = time.monotonic() + LIMIT_S
    while not (found := (target / "part-0").exists()) and job.process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    return found


def gone(job: Job) -> bool:
    """Whether the script itself ended."""
    time.sleep(0.5)
    return job.process.poll() is not None


if __name__ == "__main__":
    sys.exit(main())
