"""Kills ``watch`` at hundreds of random points and at every write, fsync and rename, and counts what was lost.

    python -m tools.sensor.crash [--kills 300] [--threads N] [--json FILE]

Lost must be 0; repeats may happen, with the same event id and the same content. Logs are rotated and compressed all
the while. ``--json`` writes the counts.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from edge_demist.cli.watch import runner_class
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control
from edge_demist.sensor.detect.scoring import ModelLike
from edge_demist.sensor.retry import FIRST_DELAY_S, Stopped
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.storage import Disk
from tools import facts
from tools.sensor.fake_model import FakeModel
from tools.sensor.faults import FastDisk, FaultDisk, LogWorld, PowerCut, PowerDisk, ScriptedControl, kill_at, refuse

TASKS = ("dga", "hostname-category")


@dataclass
class Tally:
    """The outcome of many runs of one kind."""

    kind: str
    crashes: int = 0
    records: int = 0
    lost: int = 0
    repeats: int = 0
    conflicts: int = 0
    damaged_lines: int = 0
    waits: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing lost, no id with two meanings, no broken line."""
        return not (self.lost or self.conflicts or self.damaged_lines)


class Bench:
    """A folder with logs, output and state."""

    threads = 1
    """Worker processes of all runs."""

    def __init__(self, root: Path, seed: int, records: int, *, copytruncate: bool = False) -> None:
        """Make the folders and the world."""
        self.logs, self.own = root / "logs", root / "own"
        self.logs.mkdir(parents=True)
        self.own.mkdir()
        self.world = LogWorld(self.logs, seed, records, copytruncate=copytruncate)

    @property
    def output(self) -> Path:
        """The output file."""
        return self.own / "events.jsonl"

    def config(self, **changes: object) -> WatchConfig:
        """Settings that commit as often as possible."""
        options: dict[str, object] = {
            "paths": (self.logs,),
            "output": self.output,
            "state": self.own / "state",
            "batch_strings": 4,
            "max_latency_s": 0.0,
            "poll_s": 0.0,
            "scan_s": 0.0,
            "scan_share": 0.0,
            "commit_s": 0.0,
            "explain": False,
            "rotate_bytes": 6000,
            "threads": self.threads,
        }
        return WatchConfig(**(options | changes))  # type: ignore[arg-type]

    def run(self, disk: Disk, waits: int = 10_000, control: Control | None = None, **changes: object) -> Runner:
        """Run the runner until the world has nothing more, or a fault strikes."""
        control = control or ScriptedControl(self.world, strike_waits=waits)
        config = self.config(**changes)
        runner = None
        try:
            runner = runner_class(config)(config, lambda: cast(ModelLike, FakeModel(tasks=TASKS)), control=control, disk=disk)
            runner.run()
        finally:
            if runner is not None:
                runner.close()
        return runner

    def check(self, tally: Tally) -> None:
        """Compare the output with what was written to the logs."""
        seen: dict[str, tuple[str, str]] = {}
        found: Counter[str] = Counter()
        for path in sorted(self.own.glob("events.jsonl*")):
            for line in path.read_bytes().splitlines():
                try:
                    event = json.loads(line)
                except ValueError:
                    tally.damaged_lines += 1
                    continue
                meaning = (event["text"], event["task"])
                tally.repeats += event["event_id"] in seen
                tally.conflicts += seen.setdefault(event["event_id"], meaning) != meaning
                found[event["text"]] += event["event_id"] not in found
        complete = Counter(text for text, _task in seen.values())
        tally.records += len(self.world.written)
        tally.lost += sum(complete[query] < len(TASKS) for query in self.world.written)
        tally.conflicts += sum(complete[query] > len(TASKS) for query in self.world.written)


def count_operations(seed: int, records: int) -> int:
    """How many operations an undisturbed run makes."""
    with tempfile.TemporaryDirectory() as folder:
        disk = FastDisk()
        Bench(Path(folder), seed, records).run(disk)
        return disk.operations


def power_cuts(every: int = 1, seed: int = 1, records: int = 40) -> Tally:
    """Cut power at every n-th operation, once each, then restart and finish."""
    tally = Tally("power cut at every write, fsync and rename")
    for point in range(0, count_operations(seed, records), every):
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), seed, records, copytruncate=point % 2 == 1)
            disk = PowerDisk(bench.own, point, seed=point)
            try:
                bench.run(disk)
            except PowerCut:
                tally.crashes += 1
                disk.after_power_cut()
                bench.world.step()
            bench.run(FastDisk())
            bench.check(tally)
    return tally


def kills_in_process(kills: int, seed: int = 5) -> Tally:
    """End at the n-th operation, for n in turn, over and over in one world; what the kernel has been given stays."""
    tally = Tally("killed at every operation, in process")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), seed, 10**9)
        for number in range(kills):
            for _ in range(8):
                bench.world.step()
            disk = PowerDisk(bench.own, number % 60, seed=0)
            try:
                bench.run(disk)
            except PowerCut:
                tally.crashes += 1
        bench.world.finish()
        bench.run(FastDisk())
        bench.check(tally)
    return tally


def disk_troubles(every: int = 3, seed: int = 2, records: int = 30) -> Tally:
    """Refuse operations for a while (disk full, read-only, failing) at every n-th one, without a restart."""
    tally = Tally("disk full, read-only or failing for a while")
    for number, point in enumerate(range(4, count_operations(seed, records), every)):
        code = (errno.ENOSPC, errno.EROFS, errno.EIO)[number % 3]
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), seed, records)
            runner = bench.run(FastDisk(refuse(point, 1 + number % 7, code)))
            tally.crashes += 1
            tally.waits += runner.gauges().disk_trouble
            bench.run(FastDisk())  # the waits used up the script's retry: what came last is read now
            bench.check(tally)
    return tally


def stopped_while_full(points: int = 20, seed: int = 3, records: int = 30) -> Tally:
    """The disk stays full until a stop is asked for; a later run with room must find everything."""
    tally = Tally("disk full until stopped, then restarted")
    total = count_operations(seed, records)
    for point in range(4, total, max(1, total // points)):
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), seed, records)
            try:
                bench.run(FastDisk(refuse(point, 10**9)), waits=60)
            except Stopped:
                tally.crashes += 1
            bench.run(FastDisk())
            bench.check(tally)
    return tally


def really_full(records: int = 400) -> Tally:
    """A file system of 64 KiB fills up and is enlarged after a while; needs root, otherwise notes that it did not run."""
    tally = Tally("a small file system that is really full")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), 6, records)
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(bench.own)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            tally.notes.append("not run: mount was refused")
            return tally
        try:
            runner = bench.run(Disk(), control=_Enlarge(bench.world, bench.own), rotate_bytes=0)
            tally.crashes, tally.waits = 1, runner.gauges().disk_trouble
            bench.run(Disk(), rotate_bytes=0)
            bench.check(tally)
        finally:
            subprocess.run(["umount", str(bench.own)], check=True)
    return tally


class _Enlarge(ScriptedControl):
    """Makes the file system larger once it has been waited for three times in a row."""

    def __init__(self, world: LogWorld, folder: Path) -> None:
        super().__init__(world)
        self._folder, self._full = folder, 0

    def wait(self, seconds: float, also: Sequence[int] = ()) -> None:
        """Count waits of the kind that disk trouble makes."""
        self._full = self._full + 1 if seconds >= FIRST_DELAY_S else 0
        if self._full == 3:
            subprocess.run(["mount", "-o", "remount,size=64m", str(self._folder)], check=True)
        super().wait(seconds)


def really_read_only(records: int = 60) -> Tally:
    """An ext4 volume fails and becomes read-only under the sensor, which is stopped; after a repair, another finishes.

    Needs root, a loop device and ext4's error trigger; otherwise notes that it did not run.
    """
    tally = Tally("a real file system that became read-only, stopped, repaired, restarted")
    for wait in (2, 5, 11, 23):
        with tempfile.TemporaryDirectory() as folder:
            bench, image = Bench(Path(folder), 7, records), Path(folder, "image")
            with image.open("wb") as file:
                file.truncate(16 << 20)
            mount = ["mount", "-o", "loop,errors=remount-ro", str(image), str(bench.own)]
            if not (_succeeds("mkfs.ext4", "-q", "-F", str(image)) and _succeeds(*mount)):
                tally.notes.append("not run: mkfs.ext4 or mounting a loop device was refused")
                return tally
            try:
                control = _Fail(bench.world, bench.own, wait)
                try:
                    bench.run(Disk(), control=control)
                except Stopped:
                    tally.crashes += 1
                tally.waits += control.waits_read_only
                subprocess.run(["umount", str(bench.own)], check=True)
                subprocess.run(["fsck.ext4", "-fy", str(image)], capture_output=True, check=False)
                subprocess.run(mount, check=True)
                bench.run(Disk())
                bench.check(tally)
            finally:
                subprocess.run(["umount", str(bench.own)], check=True)
    return tally


def _succeeds(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


class _Fail(ScriptedControl):
    """Makes ext4 meet an error at the n-th wait, upon which it goes read-only; a stop is asked for 20 waits later."""

    def __init__(self, world: LogWorld, folder: Path, at_wait: int) -> None:
        super().__init__(world, strike_waits=at_wait + 20)
        self._folder, self._at_wait = folder, at_wait
        self.waits_read_only = 0

    def wait(self, seconds: float, also: Sequence[int] = ()) -> None:
        """Fail once, then count."""
        self._at_wait -= 1
        if self._at_wait == 0:
            device = next(row.split()[0] for row in Path("/proc/mounts").read_text().splitlines() if row.split()[1] == str(self._folder))
            Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("1")
        self.waits_read_only += seconds >= FIRST_DELAY_S and self._at_wait < 0
        super().wait(seconds)


def _child(folder: Path, seconds: float, kill_operation: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tools.sensor.crash", "--child", str(folder), "--seconds", str(seconds)]
    more = ["--kill-at", str(kill_operation), "--threads", str(Bench.threads)]
    return subprocess.Popen([*command, *more], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)


def run_child(folder: Path, seconds: float, kill_operation: int) -> None:
    """Follow a folder that another process writes to, until told to stop or killed."""
    bench_folder = Bench.__new__(Bench)
    bench_folder.logs, bench_folder.own = folder / "logs", folder / "own"
    disk = FaultDisk(kill_at(kill_operation)) if kill_operation >= 0 else Disk()
    config = bench_folder.config(poll_s=0.002, scan_s=0.01, commit_s=0.02, batch_strings=16)
    runner = runner_class(config)(config, lambda: cast(ModelLike, FakeModel(tasks=TASKS)), disk=disk)
    runner.control.install()
    os.write(1, b"r")
    signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    runner.run()
    runner.close()


def sigkills(kills: int, seed: int = 4, *, at_operations: bool = False) -> Tally:
    """SIGKILL a real process ``kills`` times, at random moments or at its n-th disk operation, while logs rotate."""
    tally = Tally("SIGKILL at every disk operation in turn" if at_operations else "SIGKILL at random moments")
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), seed, 10**9)
        for number in range(kills):
            child = _child(Path(folder), 30.0, number % 60 if at_operations else -1)
            if number % 2 and child.stdout:
                child.stdout.read(1)  # every other one is killed at work, however slowly it starts here
            until = time.monotonic() + chance.uniform(0.0, 1.0)
            while child.poll() is None and (at_operations or time.monotonic() < until):
                bench.world.step()
                time.sleep(0.02)
            child.kill()
            child.communicate()
            tally.crashes += child.returncode == -signal.SIGKILL
        bench.world.finish()
        bench.run(FastDisk(), batch_strings=64)  # ends when nothing is left to read, however slow the machine
        bench.check(tally)
    return tally


def report(tallies: list[Tally], path: Path | None = None, head: dict[str, object] | None = None) -> bool:
    """Print the counts; write them as JSON, behind ``head``, if asked. True if all is well."""
    for tally in tallies:
        sys.stdout.write(
            f"{tally.kind}: {tally.crashes} crashes, {tally.records} records, {tally.lost} lost, {tally.repeats} repeats "
            f"(same id), {tally.conflicts} ids with two meanings, {tally.damaged_lines} damaged lines, {tally.waits} waits\n"
        )
    if path is not None:
        Disk().replace_file(path, json.dumps({**(head or {}), "runs": [asdict(t) for t in tallies]}, indent=1).encode() + b"\n")
    return all(tally.ok for tally in tallies)


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="SIGKILLs of each kind")
    parser.add_argument("--threads", type=int, default=1, help="worker processes of the sensor")
    parser.add_argument("--json", type=Path, help="write the counts here")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=1.0, help=argparse.SUPPRESS)
    parser.add_argument("--kill-at", type=int, default=-1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    Bench.threads = args.threads
    if args.child:
        run_child(args.child, args.seconds, args.kill_at)
        return 0
    runs: list[Callable[[], Tally]] = [
        power_cuts,
        lambda: kills_in_process(args.kills),
        disk_troubles,
        stopped_while_full,
        really_full,
        really_read_only,
        lambda: sigkills(args.kills),
        lambda: sigkills(args.kills, at_operations=True),
    ]
    head, tallies = facts.head("tools.sensor.crash"), []
    for run in runs:
        tallies.append(run())
        report(tallies[-1:])
        sys.stdout.flush()
    return 0 if report(tallies, args.json, head) else 1


if __name__ == "__main__":
    raise SystemExit(main())
