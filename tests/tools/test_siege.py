"""The siege: its limits hold a process, what it says of a sensor is what it saw, and the committed outcomes all hold."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tools.sensor import attacks, limits, siege

ROOT = Path(__file__).parents[2]
SENSOR = """
import os, signal, socket, time
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
tell = lambda word: channel.sendto(word, os.environ["NOTIFY_SOCKET"])
signal.signal(signal.SIGTERM, lambda *_: exit(0))
tell(b"READY=1"); tell(b"WATCHDOG=1"); time.sleep(0.6); tell(b"WATCHDOG=1"); time.sleep(60)
"""
GREEDY = "import time; held = bytearray(b'a' * (80 << 20)); time.sleep(60)"
GOOD = {"exit_code": 0, "killed_for_memory": 0, "longest_silence_s": 5.0, "ended_after_s": 0.2}


@pytest.fixture
def by_signals(monkeypatch):
    monkeypatch.setattr(limits, "GROUPS", Path("/nowhere"))


def session(folder: Path, code: str, memory: int) -> limits.Session:
    return limits.Session([sys.executable, "-c", code], folder, memory=memory, cores=0.5, watchdog_s=120.0)


def test_silence_and_the_end_are_measured(tmp_path, by_signals):
    under = session(tmp_path, SENSOR, 200 << 20)
    while under.silence_s < 0.3 and under.listen(0.1):
        pass
    found = under.end()
    assert under.by == "StopAndGo" and found["exit_code"] == 0 and found["killed_for_memory"] == 0
    assert float(str(found["longest_silence_s"])) >= 0.4 and float(str(found["ended_after_s"])) < 5


def test_memory_above_the_limit_ends_the_process(tmp_path, by_signals):
    under = session(tmp_path, GREEDY, 40 << 20)
    while under.listen(0.1):
        pass
    found = under.end()
    assert found["exit_code"] == -signal.SIGKILL and found["killed_for_memory"] == 1 and found["ended_after_s"] is None


@pytest.mark.parametrize(
    "odd",
    [{"exit_code": 1}, {"killed_for_memory": 1}, {"longest_silence_s": 10.5}, {"ended_after_s": 6.0}, {"ended_after_s": None}],
)
def test_a_scenario_holds_only_if_all_of_it_does(odd):
    assert siege.Outcome([GOOD, GOOD], 1, []).holds()
    assert not siege.Outcome([GOOD, GOOD | odd], 1, []).holds() and not siege.Outcome([GOOD, GOOD], 1, ["LAST"]).holds()


def test_the_committed_outcomes_hold_for_every_scenario():
    found = json.loads((ROOT / "benchmarks" / "results" / "siege.json").read_text())
    assert set(found["scenarios"]) == set(attacks.SCENARIOS)
    for name, entry in found["scenarios"].items():
        assert entry["holds"] and entry["scale"] == 1.0 and entry["what"] == attacks.told(name)
