"""One variant in one process, driven over standard input and output by ``benchmarks.interleaved``.

Requests and answers are JSON lines:

``{"do": "slice", "case": NAME, "seconds": S, "clock": "wall"}`` → ``{"timings": [seconds of each call]}``; clock ``cpu``: processor time
``{"do": "vectors", "case": NAME, "to": FILE}``  → ``{"rows": N}``; FILE is a .npy of the case's vectors in order
``{"do": "memory"}``                             → ``{"rss_bytes": …, "peak_bytes": …}``

The first line the worker writes, after one batch, is ``{"ready": true, "facts": {…}}``.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines.engines import REGISTRY

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
"""``cpu`` counts all threads of the process, and leaves out the time that other programs took the processor away."""


def read_cases(path: Path, takes: str) -> dict[str, list[Any]]:
    """Batches by case name: (token_ids, offsets) pairs, or lists of texts."""
    if takes == "texts":
        found: dict[str, list[Any]] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return found
    data = np.load(path)
    ids, offsets, cases = data["token_ids"], data["offsets"], json.loads(str(data["cases"]))
    return {name: [_batch(ids, offsets, rows) for rows in batches] for name, batches in cases.items()}


def _batch(ids: np.ndarray, offsets: np.ndarray, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    parts = [ids[offsets[r] : offsets[r + 1]] for r in rows]
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)]).astype(np.int32)


class Worker:
    """Holds the loaded peer and its prepared batches."""

    def __init__(self, name: str, models: Path, cases: Path, settings: dict[str, object]) -> None:
        variant = REGISTRY[name]
        module = importlib.import_module(f"benchmarks.baselines.engines.{variant.module}")
        self._peer = module.load(models, **{**variant.settings, **settings})
        self._raw = read_cases(cases, variant.takes)
        self._prepared: dict[str, list[Any]] = {}
        self._at: dict[str, int] = {}
        self._peer.encode(self._batches(next(iter(self._raw)))[0])
        self.facts = self._peer.facts

    def _batches(self, case: str) -> list[Any]:
        if case not in self._prepared:
            batches = self._raw[case]
            texts = isinstance(batches[0], list)
            self._prepared[case] = [self._peer.prepare(b) if texts else self._peer.prepare(*b) for b in batches]
        return self._prepared[case]

    def slice(self, case: str, seconds: float, clock: Clock) -> list[float]:
        """Timings of calls for ``seconds``, at least three, after one that does not count."""
        batches, at = self._batches(case), self._at.get(case, 0)
        self._peer.encode(batches[at % len(batches)])
        timings: list[float] = []
        gc.collect()
        gc.disable()
        stop = clock() + seconds
        now = clock()
        while now < stop or len(timings) < 3:
            batch = batches[at % len(batches)]
            began = clock()
            self._peer.encode(batch)
            now = clock()
            timings.append(now - began)
            at += 1
        gc.enable()
        self._at[case] = at
        return timings

    def vectors(self, case: str, to: str) -> int:
        """Save the vectors of a case."""
        rows = np.concatenate([np.array(self._peer.encode(batch), np.float32) for batch in self._batches(case)])
        np.save(to, rows)
        return len(rows)


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=sorted(REGISTRY))
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--cpu", type=int, default=None)
    args = parser.parse_args()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not disturb the answers
    worker = Worker(args.name, args.models, args.cases, args.settings)

    def answer(value: object) -> None:
        out.write(json.dumps(value) + "\n")
        out.flush()

    answer({"ready": True, "facts": worker.facts})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "slice":
            answer({"timings": worker.slice(request["case"], request["seconds"], CLOCKS[request["clock"]])})
        elif request["do"] == "vectors":
            answer({"rows": worker.vectors(request["case"], request["to"])})
        else:
            status = dict(part.split(":", 1) for part in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
            answer({f"{key}_bytes": int(status[name].split()[0]) * 1024 for key, name in (("rss", "VmRSS"), ("peak", "VmHWM"))})


if __name__ == "__main__":
    main()
