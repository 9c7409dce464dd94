"""Sample logs whose records have times of any kind, through all that counts by time: memory, budgets, drift, incidents, nearest strings."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from edge_demist.sensor import drift_sample, stages
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.runner import Runner
from tools.fuzz import logs
from tools.sensor.fake_model import FakeModel

TIME = re.compile(rb"\b1[5-7]\d{8}(?:\.\d{1,6})?\b|\b20[12]\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?")
EDGES = (0, 1, 10**9, 2**31 - 1, 2**32, 10**10, 10**11 - 1, 10**11, 253_402_300_799, 999_999_999_999, 10**12, 10**18, 2**63 - 1, 2**64)
WRITTEN = ("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999", "1969-12-31 23:59:59", "2024-02-30T00:00:00", "2026-11-29T24:00:00", "")
DAY, NOW = 86_400, 1_700_000_000
FORMS = ("jsonl", "eve", "ecs", "ocsf")


class Target(logs.Target):
    """A case is a state folder that goes on with other times in two runs, in which every string is sampled."""

    def __init__(self, folder: Path) -> None:
        """As for logs; the fake model has a reference of scores."""
        super().__init__(folder)
        axes, edges = (
            np.eye(drift_sample.AXES, 16, dtype=np.int8),
            np.tile(np.linspace(-1, 1, drift_sample.BINS - 1), (drift_sample.AXES, 1)),
        )
        self.reference = drift_sample.Reference({"dga": [5] * drift_sample.BINS}, 0.1, axes, edges)

    def shift(self, chance: random.Random) -> None:
        """Give records other times: some gone by, some at an edge, most of them steps of some size ahead or back."""
        share, step = chance.choice((0.05, 0.5, 1.0)), chance.choice((1, 3600, DAY, 7 * DAY, 400 * DAY))
        at, has_edges = NOW, chance.random() < 0.5

        def other(match: re.Match[bytes]) -> bytes:
            nonlocal at
            if chance.random() > share:
                return match[0]
            roll = chance.random() if has_edges else chance.uniform(0.15, 0.9)
            if roll < 0.1:
                return str(chance.choice(EDGES)).encode()
            if roll < 0.15:
                return chance.choice(WRITTEN).encode()
            at += step if roll < 0.85 else -step
            return str(at if roll < 0.95 else -at).encode() + b"." + str(chance.randrange(10**6)).encode()

        for path in (self.folder / "logs").iterdir():
            path.write_bytes(TIME.sub(other, path.read_bytes()))

    def run(self, seed: int) -> str:
        """Watch, change the times, and go on; every string is in the sample."""
        with mock.patch.object(drift_sample, "RATE", 1), mock.patch.object(stages, "reference_of", lambda _bundle: self.reference):
            return self._watch(seed)

    def _watch(self, seed: int) -> str:
        chance, state = random.Random(seed), self.folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        settings: dict[str, Any] = {"paths": (self.folder / "logs",), "once": True, "output": self.folder / "out", "state": state}
        settings |= {"form": chance.choice(FORMS), "summary": self.folder / "summary.json", "metrics": self.folder / "metrics"}
        settings |= {"emit": chance.choice(("all", "alarms", "incidents")), "alarm_when": chance.choice(("always", "new", "rare"))}
        settings |= {
            "nearest": settings["emit"] != "incidents" and chance.random() < 0.3,
            "budget": Budget({"*": 5}) if chance.random() < 0.3 else Budget(),
        }
        self.folder.joinpath("out").unlink(missing_ok=True)
        for turn in range(2):
            self.write(seed + turn * 10**12)
            self.shift(chance)
            told: list[str] = []
            runner = Runner(WatchConfig(**settings), FakeModel, log=lambda event, _, told=told: told.append(event))  # type: ignore[misc, arg-type]
            try:
                runner.run()
            finally:
                runner.close()
            if "state-damaged" in told:
                return "BAD what was written is not read"
        for line in (self.folder / "out").read_bytes().splitlines():
            json.loads(line)
        return "read"
