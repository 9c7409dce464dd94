"""Starts the scripts in docs/how-to/scripts, and finds and kills their workers."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

from tools.spread.names import ROOT

ENGINES = {"daft": "daft", "duckdb": "duckdb", "polars": "polars", "ray": "ray", "spark": "pyspark"}
"""Names of engines, and the package that each needs."""
SCRIPTS = ROOT / "docs" / "how-to" / "scripts"
MARK = "EDGE_DEMIST_SPREAD"


def missing(engine: str) -> str:
    """Why an engine cannot run here; empty if it can."""
    package = ENGINES[engine]
    return "" if importlib.util.find_spec(package) and importlib.util.find_spec("pyarrow") else f"{package} is not installed"


class Job:
    """A running script; its processes are known by a mark in their environment."""

    def __init__(self, engine: str, source: Path, target: Path, workers: int, log: Path) -> None:
        """Start it."""
        self.token = secrets.token_hex(8)
        environment = {
            **os.environ, MARK: self.token, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "OMP_NUM_THREADS": "1",
            "RAY_USAGE_STATS_ENABLED": "0", "PYSPARK_DRIVER_PYTHON": sys.executable,
        }  # fmt: skip
        words = [sys.executable, str(SCRIPTS / f"spread_with_{engine}.py"), str(source), str(target), "name", str(workers)]
        with log.open("ab") as stream:
            self.process = subprocess.Popen(words, stdout=stream, stderr=stream, env=environment, start_new_session=True)

    def members(self) -> list[int]:
        """Process ids of the job that still run."""
        wanted, found = f"{MARK}={self.token}".encode(), []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def workers(self) -> list[int]:
        """Those that have loaded the model."""
        found = []
        for pid in self.members():
            try:
                if b"weights.safetensors" in Path(f"/proc/{pid}/maps").read_bytes():
                    found.append(pid)
            except OSError:
                continue
        return found

    def kill_worker(self, seconds: float) -> bool:
        """SIGKILL to one worker, once it has the model and has worked for a moment; False if none came up in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if workers := self.workers():
                time.sleep(1.0)
                os.kill(workers[-1], signal.SIGKILL)
                return True
            time.sleep(0.05)
        return False

    def kill(self) -> None:
        """SIGKILL to all of it, the driver first."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pid in self.members():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def wait(self, seconds: float) -> int:
        """The exit code; 124 if it took too long. Nothing of it runs afterwards."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = 124
        self.kill()
        return code
