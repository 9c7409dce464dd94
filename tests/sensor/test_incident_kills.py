"""Incidents after SIGKILL of a real process at random points: the same lines under the same ids."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sensor.test_incidents import dns_log, generated, ordinary
from tests.support.sensor_fakes import read_events

PROGRAM = """
import sys, time
from pathlib import Path
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.runner import Runner
from tools.sensor.fake_model import FakeModel

class Slow(FakeModel):
    def classify(self, *args, **kwargs):
        time.sleep(0.002)
        return super().classify(*args, **kwargs)

logs, out, state = map(Path, sys.argv[1:])
runner = Runner(WatchConfig(paths=(logs,), once=True, emit="incidents", output=out, state=state, batch_strings=2, commit_s=0.0), Slow)
runner.run()
runner.close()
"""


def start(logs: Path, folder: Path) -> subprocess.Popen[bytes]:
    """One run in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, str(logs), str(folder / "out.jsonl"), str(folder / "state")]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."})


@pytest.mark.parametrize("seed", [1, 2])
def test_sigkill_at_random_points_changes_no_incident(tmp_path: Path, seed: int) -> None:
    logs, whole, killed = tmp_path / "logs", tmp_path / "whole", tmp_path / "killed"
    for folder in (logs, whole, killed):
        folder.mkdir()
    rows = sorted(generated() + generated("10.0.0.8", 3) + ordinary(400), key=lambda row: float(row.split(" ")[0]))
    dns_log(logs, *rows[::2])
    dns_log(logs, *rows[1::2], name="dns_b.log")
    assert start(logs, whole).wait(60) == 0
    expected = read_events(whole / "out.jsonl")
    assert len({line["incident_id"] for line in expected}) == 2

    chance, kills = random.Random(seed), 0
    for _ in range(40):
        process = start(logs, killed)
        deadline = time.monotonic() + 30
        while not (killed / "out.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        try:
            process.wait(chance.uniform(0.0, 0.25) if kills < 5 else 60)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            assert process.wait(10) == -signal.SIGKILL
            kills += 1
    assert process.returncode == 0 and kills >= 1
    found = read_events(killed / "out.jsonl")
    assert {line["event_id"]: line for line in found} == {line["event_id"]: line for line in expected}
    assert len(found) == len(expected)  # none twice either
