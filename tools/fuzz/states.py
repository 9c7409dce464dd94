"""State folders that somebody else wrote, with checksums that fit: the sensor starts, says what is wrong, and works.

Three kinds of state take turns: of alarms, of incidents, and of what was told before (``--nearest``), each with its databases.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from edge_demist.sensor import runner as sensor
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.sources.checkpoint import _encoded
from tools.fuzz.values import nasty, spoil, spoil_bytes
from tools.sensor.fake_model import FakeModel

BODIES = ("checkpoint.json", "checkpoint.json", "checkpoint.json", "finished.json")
KINDS: dict[str, dict[str, Any]] = {
    "alarms": {"budget": Budget({"*": 5, "dga": 3}), "alarm_when": "first-seen"},
    "incidents": {"emit": "incidents", "incidents_per_day": 2, "explain": False},
    "nearest": {"nearest": True, "explain": False},
}
VIEWS = (
    "CREATE VIEW {0} AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {1} FROM n WHERE i < 0",
    "CREATE VIEW {0} AS SELECT {1}",
    "CREATE TABLE {0} ({2})",
    "CREATE TABLE {0} (other)",
)


def row(number: int) -> str:
    """A record: a look-up or a request, every third of something that alarms."""
    name = f"{'evil' if number % 3 == 0 else 'good'}{number}.example"
    ends = {"ts": 1700000000 + number, "id.orig_h": f"10.0.0.{number % 2}", "id.resp_h": f"93.184.216.{number}", "id.resp_p": 80}
    if number % 4 < 2:
        return json.dumps({"_path": "dns", **ends, "query": f"{'x' * 30}{number}.{name}", "rcode_name": "NXDOMAIN"})
    return json.dumps({"_path": "http", **ends, "host": name, "uri": f"/evil{number}.exe", "method": "POST", "status_code": 200})


class Target:
    """A case is a checkpoint or a database that was spoiled, and two starts from it."""

    weight = 1

    def __init__(self, folder: Path) -> None:
        """Make states that are whole."""
        self.folder = folder
        sensor.read_mapping = functools.cache(sensor.read_mapping)  # type: ignore[attr-defined]  # half the time of a start
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        self.log = folder / "logs" / "dns.log"
        self.files: dict[str, dict[str, bytes]] = {}
        for kind in KINDS:
            self._write(40)
            self._start(kind, kind)
            self.files[kind] = {path.name: path.read_bytes() for path in (folder / kind).iterdir()}

    def _write(self, rows: int) -> None:
        self.log.write_text("".join(row(number) + "\n" for number in range(rows)), encoding="ascii")

    def _start(self, kind: str, state: str) -> list[str]:
        told: list[str] = []
        settings = {"paths": (self.folder / "logs",), "once": True, "output": self.folder / "out", "state": self.folder / state}
        runner = Runner(WatchConfig(**settings, **KINDS[kind]), FakeModel, log=lambda event, _: told.append(event))  # type: ignore[arg-type]
        try:
            runner.run()
        finally:
            runner.close()
        return told

    def run(self, seed: int) -> str:
        """Spoil a file, start, and start again."""
        chance, state = random.Random(seed), self.folder / "spoiled"
        kind = chance.choice(list(KINDS))
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir()
        for name, raw in self.files[kind].items():
            (state / name).write_bytes(raw)
        spoil_file(state, chance)
        (self.folder / "out").unlink(missing_ok=True)
        self._write(60)
        told = self._start(kind, "spoiled")
        self._write(70)
        told += self._start(kind, "spoiled")
        for line in (self.folder / "out").read_bytes().splitlines():
            json.loads(line, parse_constant=_no_constant)
        return f"{kind}: said to be damaged" if "state-damaged" in told else f"{kind}: taken"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} in the output")


def spoil_file(state: Path, chance: random.Random) -> None:
    """Spoil one file of a state folder: a checkpoint value by value, a database cell by cell or in its tables, or any byte by byte."""
    databases = sorted(path for path in state.glob("*.sqlite"))
    roll = chance.random()
    if roll < 0.15:
        path = chance.choice(sorted(path for path in state.iterdir() if path.name != "lock"))
        path.write_bytes(spoil_bytes(path.read_bytes(), chance, 60_000))
    elif roll < 0.5 and databases:
        spoil_database(chance.choice(databases), chance)
    else:
        path = state / chance.choice(BODIES)
        body = json.loads(path.read_bytes())["body"]
        part = chance.choice([name for name in body if isinstance(body[name], dict) and body[name]] or [""])
        spoil(body[part] if part else body, chance)
        path.write_bytes(b"".join(_encoded(body)))


def spoil_database(path: Path, chance: random.Random) -> None:
    """Put hostile values into cells, or something else in the place of a table."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
        table = chance.choice(tables)
        columns = [column[1] for column in store.execute(f"PRAGMA table_info({table})").fetchall()]
        if chance.random() < 0.3:
            store.execute(f"DROP TABLE {table}")
            store.execute(chance.choice(VIEWS).format(table, ", ".join(f"1 AS {c}" for c in columns), ", ".join(columns)))
            return
        store.create_function("roll", 0, lambda: chance.randrange(3))  # SQLite's own random numbers differ at every run
        for _ in range(chance.choice((1, 2, 30))):
            value = nasty(chance)
            if isinstance(value, (list, dict)) or (isinstance(value, int) and abs(value) >= 1 << 63) or value == "\ud800":
                value = json.dumps(value)
            if chance.random() < 0.2:
                value = chance.randbytes(chance.choice((0, 1, 9, 5000)))
            with contextlib.suppress(sqlite3.Error):  # a key that is there already
                store.execute(f"UPDATE OR IGNORE {table} SET {chance.choice(columns)} = ? WHERE roll() = 0", (value,))
