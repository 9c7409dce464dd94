"""``encode`` of an earlier revision and of this one, in turns: processor time a string, alone and in batches.

    python -m benchmarks.encode_before --revision 8177e0f --names names.txt [--rounds 15]

Each revision runs in a process of its own, from its own files and with its own bundle. All are asked about the same slice of strings
before the next one comes, in changing order; ``ratio`` is the median over the rounds of how many times as long this revision takes.
``without`` is this revision's ``encode(projected=False)``, which tells what the projection costs from what else changed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import markdown, result_file
from benchmarks.before import unpack
from edge_demist.diagnostics import samples
from tools import facts

STRINGS, SLICE, BATCHES = 1280, 320, (1, 32)
SIDES = ("before", "without", "now")
WORKER = """\
import json, sys, time
from edge_demist import EdgeDemist
model, more = EdgeDemist.load(), json.loads(sys.argv[1])
for line in sys.stdin:
    size, texts = json.loads(line)
    batches = texts if size == 1 else [texts[k : k + size] for k in range(0, len(texts), size)]
    began = time.process_time_ns()
    for batch in batches:
        model.encode(batch, **more)
    print(time.process_time_ns() - began, flush=True)
"""


def table(found: Mapping[str, Any]) -> str:
    """The cases as Markdown, for documents."""
    header = ("strings, in a call", "before, µs a string", "now without the projection", "now", "times as long")
    rows = [(name, *(f"{case[side]:.1f}" for side in SIDES), f"{case['ratio']:.3f}") for name, case in found["cases"].items()]
    return markdown.table(header, rows)


class Worker:
    """A process that encodes with one revision."""

    def __init__(self, package: Path, **more: bool) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(package)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(more)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=package,
            text=True,
        )

    def ask(self, size: int, texts: Sequence[str]) -> int:
        """Processor nanoseconds of ``encode`` in calls of ``size`` texts."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([size, texts]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)


def measure(workers: Mapping[str, Worker], strings: Mapping[str, Sequence[str]], rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds a string of every case by side, and how many times as long ``now`` takes as ``before``."""
    cases = {f"{name}, {size}": (size, texts) for name, texts in strings.items() for size in BATCHES}
    runs: dict[str, dict[str, list[float]]] = {name: {side: [] for side in SIDES} for name in cases}
    for number in range(-1, rounds):
        for name, (size, texts) in cases.items():
            spent = dict.fromkeys(SIDES, 0)
            for begin in range(0, len(texts), SLICE):
                for side in random.Random(f"{number} {begin}").sample(SIDES, len(SIDES)):
                    spent[side] += workers[side].ask(size, texts[begin : begin + SLICE])
            for side, took in spent.items() if number >= 0 else ():
                runs[name][side].append(took / 1000 / len(texts))
    return {name: _row(found) for name, found in runs.items()}


def _row(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    ratio = statistics.median(now / before for now, before in zip(found["now"], found["before"], strict=True))
    return {**{side: round(statistics.median(found[side]), 2) for side in SIDES}, "ratio": round(ratio, 3)}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--revision", required=True, help="the earlier commit")
    parser.add_argument("--names", type=Path, required=True, help="distinct host names, one a line")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=result_file.RESULTS / "encode-before.json")
    args = parser.parse_args()
    names = list(dict.fromkeys(args.names.read_text(encoding="utf-8").split()))
    random.Random(0).shuffle(names)
    head = facts.head("benchmarks.encode_before")
    with tempfile.TemporaryDirectory() as place:
        commit = unpack(args.revision, Path(place))
        workers = {"before": Worker(Path(place)), "without": Worker(facts.ROOT, projected=False), "now": Worker(facts.ROOT)}
        cases = measure(workers, {"host names": names[:STRINGS], "strings of all kinds": samples.shipped()}, args.rounds)
        for worker in workers.values():
            worker.close()
    told = {"revision": commit, "rounds": args.rounds, "load_after": os.getloadavg()[0]}
    result_file.write(args.output, {**head, **told, "cases": cases})
    return 0


if __name__ == "__main__":
    sys.exit(main())
