"""A sensor under the unit's limits while its logs are hostile: does it ping, end when asked, stay small, and judge what stands behind?

    python -m tools.sensor.siege [SCENARIO …] [--json benchmarks/results/siege.json] [--scale 1]

Each scenario starts ``watch`` twice on the same logs and the same state: the first is told to end in the middle of its work, the second
goes on until everything it owes is judged. Half a core, 256 MB, a watchdog of 120 s (``tools.sensor.limits``). A scenario holds if
the longest silence is at most ten seconds, both end within five of SIGTERM with exit code 0, neither is killed, and every record that
stands behind the attack has its event. Exit code 1 if one does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import facts
from tools.sensor import attacks, worker_attacks  # noqa: F401 - its cases are in the same list
from tools.sensor.limits import Session

ROOT = Path(__file__).parents[2]
CORES, WATCHDOG_S = 0.5, 120.0
MOST_SILENCE_S, MOST_ENDING_S = 10.0, 5.0
STOP_AT_S, GIVE_UP_S = 8.0, 500.0
UID = re.compile(rb'"uid": ?"([A-Z]+\d*)"')


@dataclass(frozen=True)
class Outcome:
    """What became of a scenario."""

    sessions: list[dict[str, object]]
    owed: int
    missing: list[str]
    workers_may_die: bool = False

    def holds(self) -> bool:
        """Whether all of it is as it should be."""
        return not self.missing and all(
            session["exit_code"] == 0
            and (self.workers_may_die or not session["killed_for_memory"])
            and not session.get("left_behind")
            and float(str(session["longest_silence_s"])) <= MOST_SILENCE_S
            and session["ended_after_s"] is not None
            and float(str(session["ended_after_s"])) <= MOST_ENDING_S
            for session in self.sessions
        )


def judged(output: Path) -> set[str]:
    """The uids that have events."""
    try:
        return {uid.decode() for uid in UID.findall(output.read_bytes())}
    except OSError:
        return set()


def besiege(name: str, scale: float, stop_at_s: float = STOP_AT_S) -> Outcome:
    """One scenario."""
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        (folder / "logs").mkdir()
        made = attacks.SCENARIOS[name](folder / "logs", scale)
        events = folder / "disk" / "events"
        events.parent.mkdir()
        if made.disk:
            stack.enter_context(mounted(events.parent, made.disk))
        over = threading.Event()
        actor = threading.Thread(target=made.act or (lambda _: None), args=(over,), daemon=True)
        files = ["-o", str(events), "--state", f"{folder}/state", "--summary", f"{folder}/summary"]
        command = [*made.prefix, sys.executable, "-m", "edge_demist", "watch", f"{folder}/logs", *files, "--emit", "all", "--log", "json"]
        sessions: list[dict[str, object]] = []
        missing = set(made.owed)
        actor.start()
        for last in (False, True):
            session = Session([*command, *made.arguments], folder, memory=made.memory, cores=CORES, watchdog_s=WATCHDOG_S)
            with harmed(made, session.child.pid):
                if not last:
                    while session.listen(0.5) and (
                        session.ready_s is None or time.monotonic() - session.began < session.ready_s + stop_at_s
                    ):
                        pass
                else:
                    while session.listen(3.0) and session.lasts_s < GIVE_UP_S:
                        missing -= judged(events)
                        if not missing and not actor.is_alive():
                            break
                sessions.append(session.end() | {"limits": session.by})
        over.set()
        actor.join()
        missing -= judged(events)
        if missing:
            sys.stderr.write((folder / "stderr").read_text(errors="replace")[-3000:])
        return Outcome(sessions, len(made.owed), sorted(missing)[:5], made.workers_may_die)


@contextlib.contextmanager
def harmed(made: attacks.Attack, pid: int) -> Iterator[None]:
    """Meanwhile things are done to a process."""
    over = threading.Event()
    actor = threading.Thread(target=made.harm or (lambda _pid, _over: None), args=(pid, over), daemon=True)
    actor.start()
    try:
        yield
    finally:
        over.set()
        actor.join()


@contextlib.contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """A small disk, which only root can have."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def main() -> int:
    """Run the scenarios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(attacks.SCENARIOS)} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="sizes and counts of the attacks, times X")
    parser.add_argument("--json", type=Path, metavar="FILE", help="put the outcomes into this result file")
    args = parser.parse_args()
    if unknown := set(args.scenarios) - set(attacks.SCENARIOS):
        parser.error(f"no scenario {sorted(unknown)[0]!r}")
    os.environ["PYTHONPATH"] = str(ROOT)
    failed = False
    for name in args.scenarios or attacks.SCENARIOS:
        outcome = besiege(name, args.scale)
        failed |= not outcome.holds()
        entry = {"holds": outcome.holds(), "owed": outcome.owed, "missing": outcome.missing, "sessions": outcome.sessions}
        sys.stdout.write(json.dumps({name: entry}) + "\n")
        sys.stdout.flush()
        if args.json:
            save(args.json, name, {"what": attacks.told(name), "scale": args.scale, **entry})
    return int(failed)


def save(path: Path, name: str, entry: dict[str, object]) -> None:
    """Put one scenario into the result file."""
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    known |= facts.head("tools.sensor.siege") | {
        "limits": {"memory_bytes": attacks.Attack.memory, "cores": CORES, "watchdog_s": WATCHDOG_S}
    }
    known.setdefault("scenarios", {})[name] = entry
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    raise SystemExit(main())
