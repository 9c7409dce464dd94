"""Workers that measure in turns: every case visits all variants, slice by slice, in changing order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.baselines.engines import REGISTRY
from edge_demist.diagnostics.statistics import doubts, summarize

ROOT = Path(__file__).resolve().parent.parent


class Peer:
    """A worker process."""

    def __init__(self, name: str, models: Path, cases: Path, pythons: Mapping[str, str], cpu: int | None, log: Path) -> None:
        """Start the worker and wait until it has computed one batch; ``start_seconds`` is the time this took."""
        variant = REGISTRY[name]
        python = sys.executable if variant.venv == "main" else pythons[variant.venv]
        command = [python, "-m", "benchmarks.baselines.engines.worker", name, "--models", str(models), "--cases", str(cases)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        environment = {**os.environ, **threads, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **variant.environment}
        began = time.perf_counter()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command + ([] if cpu is None else ["--cpu", str(cpu)]),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=ROOT, text=True,
            )  # fmt: skip
        self.name = name
        self.facts = self._answer()["facts"]
        self.start_seconds = time.perf_counter() - began
        self.start_memory = self.ask(do="memory")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the worker ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **request: object) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the worker."""
        self._process.communicate(timeout=60)


def open_peers(
    names: Iterable[str], models: Path, cases: Path, pythons: Mapping[str, str], cpu: int | None, log: Path
) -> tuple[list[Peer], list[str]]:
    """Start workers one after the other; returns those that came up, and what is left out."""
    peers, missing = [], []
    for name in names:
        variant = REGISTRY[name]
        if variant.venv != "main" and variant.venv not in pythons:
            missing.append(f"{variant.title}: no interpreter given (--python {variant.venv}=PATH)")
            continue
        try:
            peers.append(Peer(name, models, cases, pythons, cpu, log))
        except RuntimeError as error:
            missing.append(f"{variant.title}: {error}")
    return peers, missing


def measure(peers: Sequence[Peer], case: str, strings: int, rounds: int, seconds: float, clock: str = "wall") -> dict[str, dict[str, Any]]:
    """One case on all peers in turns; the first of the round moves on by one each time.

    Returns:
        By variant: microseconds a string (median, and of every slice), percentiles of a call, stability.
    """
    slices: dict[str, list[list[float]]] = {peer.name: [] for peer in peers}
    for number in range(rounds):
        first = number % len(peers)
        for peer in (*peers[first:], *peers[:first]):
            slices[peer.name].append(peer.ask(do="slice", case=case, seconds=seconds, clock=clock)["timings"])
    return {name: row(parts, strings) for name, parts in slices.items()}


def row(parts: Sequence[Sequence[float]], strings: int) -> dict[str, Any]:
    """A result row from slices of timings in seconds."""
    summary = summarize(parts)
    micro = 1e6 / strings
    return {
        "us_per_string": summary.median * micro,
        "slices_us_per_string": [sorted(part)[len(part) // 2] * micro for part in parts],
        "call_us": {name: value * 1e6 for name, value in summary.percentiles.items()} | {"max": summary.largest * 1e6},
        "calls": summary.samples,
        "spread": summary.spread,
        "drift": summary.drift,
        "unstable": doubts(summary),
    }
