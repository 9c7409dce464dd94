"""State folders that somebody else wrote, with checksums that fit: the sensor starts, says what is wrong, and works."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.sources.checkpoint import _encode
from tests.support.sensor_fakes import zeek_log
from tools.fuzz.values import spoil, spoil_bytes
from tools.sensor.fake_model import FakeModel

ROWS = [f"{1700000000 + i}.0 C{i} {'evil' if i % 9 == 0 else 'good'}{i}.example" for i in range(30)]


class Target:
    """A case is a checkpoint that was spoiled, and a start from it."""

    weight = 1

    def __init__(self, folder: Path) -> None:
        """Make a state that is whole."""
        self.folder = folder
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        (folder / "logs" / "dns.log").write_text(zeek_log("ts uid query", *ROWS[:20]))
        self._start("state")
        (folder / "logs" / "dns.log").write_text(zeek_log("ts uid query", *ROWS))
        self.files = {path.name: path.read_bytes() for path in (folder / "state").iterdir()}
        self.bodies = {name: json.loads(self.files[name])["body"] for name in ("checkpoint.json", "finished.json")}

    def _start(self, state: str) -> list[str]:
        told: list[str] = []
        budget = Budget({"*": 5, "dga": 3})
        settings = {
            "paths": (self.folder / "logs",),
            "once": True,
            "output": self.folder / "out",
            "state": self.folder / state,
            "budget": budget,
        }
        runner = Runner(WatchConfig(**settings), FakeModel, log=lambda event, _: told.append(event))  # type: ignore[arg-type]
        try:
            runner.run()
        finally:
            runner.close()
        return told

    def run(self, seed: int) -> str:
        """Spoil a file, and start."""
        chance, state = random.Random(seed), self.folder / "spoiled"
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir()
        for name, raw in self.files.items():
            (state / name).write_bytes(raw)
        name = chance.choice(("checkpoint.json", "checkpoint.json", "finished.json", "in-flight"))
        if name == "in-flight" or chance.random() < 0.1:
            (state / name).write_bytes(spoil_bytes(self.files.get(name, b"{}"), chance))
        else:
            body = json.loads(json.dumps(self.bodies[name]))
            spoil(body, chance)
            (state / name).write_bytes(_encode(body))
        (self.folder / "out").unlink(missing_ok=True)
        return "said to be damaged" if "state-damaged" in self._start("spoiled") else "taken"
