"""Memory of one process that holds the model and every table of the sensor as full as hostile logs can make it.

    python -m tools.sensor.full_tables [--json benchmarks/results/full-tables.json]

Tables are filled through their own doors, with the longest keys that they take and others at every turn; then their state is written,
and another process starts on it. Exit code 1 if the most that was resident in either is not below the unit's 256 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sized
from pathlib import Path

from edge_demist import EdgeDemist
from edge_demist.sensor.detect.scoring import Answer, Scorer
from edge_demist.sensor.incidents import gather, tracker
from edge_demist.sensor.incidents.generated import MAX_DOMAINS
from edge_demist.sensor.incidents.observation import Observation
from edge_demist.sensor.incidents.stage import bundle_weights
from edge_demist.sensor.incidents.tracker import Tracker
from edge_demist.sensor.memory import MAX_HELD, Memory
from edge_demist.sensor.neighbours import MAX_ENTRIES, MAX_WAITING, Neighbours
from edge_demist.sensor.sources.checkpoint import Checkpoint, CheckpointStore
from edge_demist.sensor.stages import MAX_UNWRITTEN
from tools import facts

ROOT = Path(__file__).parents[2]
MOST_MB = 256
T0_US = 1_700_000_000_000_000
RESOLVER, LETTERS = "10.0.0.53", "abcdefghijklmnopqrstuvwxyz0123456789"


def resident_mb(name: str = "VmRSS") -> int:
    """What is resident now, in MB; ``VmHWM`` is the most that was, of this program alone."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) // 1024


class Full:
    """A sensor's parts, filled one after the other."""

    def __init__(self, folder: Path) -> None:
        """Load the model, open the databases."""
        self.folder, self.chance, self.now_us = folder, random.Random(1), T0_US
        self.model = EdgeDemist.load()
        self.scorer = Scorer(self.model)
        self.memory = Memory(folder)
        self.neighbours = Neighbours(folder, "space", self.model.dim)
        self.tracker = Tracker(bundle_weights(self.model.bundle), "model", self.memory, embed=self.scorer.embed)

    def word(self, length: int) -> str:
        """Letters that were not there before."""
        return "".join(self.chance.choices(LETTERS, k=length))

    def answers(self) -> None:
        """The model has been asked about all kinds of strings; the cache of answers is full."""
        texts = [self.word(60) + ".info" for _ in range(200)] + ["/x?" + "&a=1' or 1=1--" * 500] * 2
        self.scorer.answer([(text, task) for text in texts for task in self.model.tasks])
        for _ in range(self.scorer.cache_entries):
            text = self.word(2000)
            self.scorer.cache.put(text, "uri-attack", Answer("sqli", 0.9, 0.9, truncated=False, text=text))

    def memories(self) -> None:
        """As many strings as are held, as many others that no checkpoint holds yet."""
        for _ in range(2 * MAX_HELD):
            self.memory.touch(self.word(190), self.word(8), self.now_us, "s")
            self.commit_memory()

    def commit_memory(self) -> None:
        """As the runner does."""
        if self.memory.unwritten >= MAX_UNWRITTEN:
            self.memory.committed(json.loads(json.dumps(self.memory.state())))

    def looks(self) -> None:
        """The ring of vectors, and what waits for it."""
        vectors = self.scorer.embed([self.word(40) for _ in range(64)])
        for number in range(MAX_ENTRIES // 8 + MAX_WAITING):
            self.neighbours.ask(self.word(512), {"dga": "dga"}, vectors[number % 64], self.now_us)

    def addresses(self) -> Iterator[Observation]:
        """Names of addresses, and look-ups for mail."""
        for number in range(gather.Limits().addresses):
            answer = f"93.{number >> 8}.{number & 255}.1"
            yield Observation("dns", self._tick(), f"10.9.{number % 200}.1", RESOLVER, 53, self.word(500) + ".com", answers=(answer,))
        for number in range(gather.MAX_MAIL):
            yield Observation("dns", self._tick(), f"10.3.{number % 200}.1", RESOLVER, 53, self.word(60) + ".com", query_type="MX")

    def names(self) -> Iterator[Observation]:
        """Generated names: clients that are remarkable have 256 each."""
        for client in range(gather.Limits().clients // 4):
            for _ in range(MAX_DOMAINS):
                seen = Observation("dns", self._tick(), f"10.1.{client >> 8}.{client & 255}", RESOLVER, 53, self.word(60) + ".info")
                seen.failed, seen.levels = True, {"dga": 3}
                yield seen

    def zones(self) -> Iterator[Observation]:
        """Tunnels."""
        for zone in range(gather.Limits().zones * 5 // 4):
            for _ in range(24):
                name = f"{self.word(60)}.{self.word(60)}.{self.word(60)}.z{zone}.com"
                yield Observation("dns", self._tick(), f"10.2.0.{zone % 9}", RESOLVER, 53, name, query_type="TXT", tunnel=0.99)

    def contacts(self) -> Iterator[Observation]:
        """Contacts with hosts of several long names, by addresses of several long paths."""
        for number in range(gather.Limits().contacts * 5 // 4):
            for _ in range(6):
                host = f"{self.word(60)}.{self.word(60)}.h{number}.info"
                seen = Observation("http", self._tick(), f"10.4.0.{number % 99}", f"94.1.{number >> 8}.{number & 255}", 80, host)
                seen.uri, seen.method, seen.status = f"/{self.word(1900)}.exe", "POST", 200
                seen.levels = {"hostname-threat": 3, "dga": 3, "url-phishing": 3}
                yield seen

    def scans(self) -> Iterator[Observation]:
        """Scans with long requests."""
        for source in range(gather.Limits().scans * 5 // 4):
            for _ in range(12):
                seen = Observation("http", self._tick(), f"95.2.{source >> 8}.{source & 255}", "10.5.0.1", 80, "a.example")
                seen.uri, seen.status, seen.attack, seen.tool, seen.agent = "/" + self.word(1900), 404, "sqli", 0.99, self.word(500)
                seen.levels = {"uri-attack": 3}
                yield seen

    def _tick(self) -> int:
        self.now_us += 5_000
        return self.now_us

    def gathered(self, kind: Callable[[], Iterator[Observation]]) -> None:
        """Cases of a kind; some of them are told as incidents."""
        kept = []
        for number, seen in enumerate(kind()):
            self.tracker.gatherer.add(seen)
            self.commit_memory()
            if number % 40 == 0:
                kept.append(seen)
        for seen in kept:
            self.tracker.add(seen)
        self.tracker.release(None)

    def waiting(self) -> None:
        """What waits for older records."""
        for number in range(tracker.MAX_WAITING):
            client = f"10.6.{number % 250}.1"
            self.tracker.add(Observation("dns", self._tick(), client, RESOLVER, 53, self.word(100) + ".com", answers=(self.word(24),)))
        self.tracker.release(T0_US)

    def checkpoint(self) -> None:
        """The state is written."""
        state = Checkpoint(memory=self.memory.state(), neighbours=self.neighbours.state(), incidents=self.tracker.state())
        with contextlib.closing(CheckpointStore(self.folder / "state")) as store:
            store.commit(state)
        self.state_mb = (self.folder / "state" / "checkpoint.json").stat().st_size >> 20
        self.memory.committed(state.memory)
        self.neighbours.committed(state.neighbours)

    def counts(self) -> dict[str, int]:
        """How full the tables are."""
        held, book = self.tracker.gatherer, self.tracker.book
        tables: dict[str, Sized] = {
            "clients": held.names,
            "zones": held.tunnels,
            "contacts": held.contacts,
            "scans": held.scans,
            "open incidents": book,
        }
        found = {name: len(table) for name, table in tables.items()}
        found |= {"generated names": sum(len(names.domains) for _, names in held.names.items()), "answers": len(self.scorer.cache)}
        return found | {"memory waiting": self.memory.unwritten, "state_mb": self.state_mb}


def start_on(folder: Path) -> int:
    """The most that was resident of a process that loads the model and goes on from a state."""
    model = EdgeDemist.load()
    memory = Memory(folder)
    fresh = Tracker(bundle_weights(model.bundle), "model", memory, embed=Scorer(model).embed)
    with contextlib.closing(CheckpointStore(folder / "state")) as store:
        found, problems = store.load()
    if problems:
        raise SystemExit(str(problems))
    memory.restore(found.memory)
    fresh.restore(found.incidents)
    return resident_mb("VmHWM")


def main() -> int:
    """Fill and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    parser.add_argument("--start", type=Path, metavar="DIR", help="instead: start on this state, and say what that took")
    args = parser.parse_args()
    if args.start:
        print(start_on(args.start))
        return 0
    with tempfile.TemporaryDirectory() as place:
        full = Full(Path(place))
        resident = {"model": resident_mb()}
        kinds = (full.addresses, full.names, full.zones, full.contacts, full.scans)
        cases = {kind.__name__: functools.partial(full.gathered, kind) for kind in kinds}
        steps: dict[str, Callable[[], None]] = {"answers": full.answers, "memories": full.memories, "looks": full.looks, **cases}
        steps |= {"waiting": full.waiting, "checkpoint": full.checkpoint}
        for name, step in steps.items():
            step()
            resident[name] = resident_mb()
            sys.stderr.write(f"{name}: {resident[name]} MB, at most {resident_mb('VmHWM')} so far\n")
        start = subprocess.run(
            [sys.executable, "-m", "tools.sensor.full_tables", "--start", place], check=True, capture_output=True, cwd=ROOT
        )
    most = {"full": resident_mb("VmHWM"), "start": int(start.stdout)}
    found = facts.head("tools.sensor.full_tables") | {"resident_mb": resident, "most_mb": most, "limit_mb": MOST_MB, "held": full.counts()}
    sys.stdout.write(json.dumps({name: found[name] for name in ("resident_mb", "most_mb", "held")}) + "\n")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="ascii")
    return int(max(most.values()) >= MOST_MB)


if __name__ == "__main__":
    raise SystemExit(main())
