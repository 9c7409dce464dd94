"""A disk that fails on demand, and a world of logs that grows and rotates on demand. For the crash tests.

``FaultDisk`` counts every open, write, fsync, truncate and rename of the sensor and strikes at a chosen one. ``PowerDisk``
also remembers what was fsynced and, when power is cut, puts the folder back to what a real disk may then hold.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_demist.sensor.control import Control
from edge_demist.sensor.storage import Disk

ZEEK_HEADER = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n#open\t{open}\n"
    "#fields\tts\tuid\tquery\n#types\ttime\tstring\tstring\n"
)


class PowerCut(BaseException):
    """The machine is off. No handler for ordinary errors may catch it."""


class FaultDisk(Disk):
    """Counts operations; ``strike`` is called with the number and name of each before it is carried out."""

    def __init__(self, strike: Callable[[int, str], None] = lambda _n, _name: None) -> None:
        """Count from zero."""
        self.operations = 0
        self.names: list[str] = []
        self._strike = strike

    def _count(self, name: str) -> None:
        self.operations += 1
        self.names.append(name)
        self._strike(self.operations - 1, name)

    def open_append(self, path: Path) -> int:
        """Count."""
        self._count("open")
        return super().open_append(path)

    def open_new(self, path: Path) -> int:
        """Count."""
        self._count("open")
        return super().open_new(path)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write half first, so that a strike leaves a torn line."""
        self._count("write")
        half = super().write(fd, data[: max(1, len(data) // 2)])
        self._count("write-rest")
        return half + (super().write(fd, data[half:]) if len(data) > half else 0)

    def fsync(self, fd: int) -> None:
        """Count before and after."""
        self._count("fsync")
        super().fsync(fd)
        self._count("fsynced")

    def truncate(self, fd: int, length: int) -> None:
        """Count."""
        self._count("truncate")
        super().truncate(fd, length)

    def rename(self, old: Path, new: Path) -> None:
        """Count before and after."""
        self._count("rename")
        super().rename(old, new)
        self._count("renamed")


class FastDisk(FaultDisk):
    """Counts like :class:`FaultDisk`; does not wait for the real device, which the model of a power cut replaces."""

    def fsync(self, fd: int) -> None:
        """Only count."""
        del fd
        self._count("fsync")
        self._count("fsynced")


def kill_at(number: int) -> Callable[[int, str], None]:
    """SIGKILL to this process at one operation."""

    def strike(count: int, _name: str) -> None:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return strike


def refuse(first: int, count: int, code: int = errno.ENOSPC) -> Callable[[int, str], None]:
    """Operations ``first`` to ``first + count - 1`` fail with an error number."""

    def strike(number: int, _name: str) -> None:
        if first <= number < first + count:
            raise OSError(code, os.strerror(code))

    return strike


class PowerDisk(FastDisk):
    """Knows what is durable below a folder: content since its last fsync, names since the folder's last fsync."""

    def __init__(self, root: Path, cut_at: int, seed: int) -> None:
        """Cut power at operation ``cut_at``; ``seed`` decides what of the unsynced data survives."""
        super().__init__(self._maybe_cut)
        self._root, self._cut_at, self._random = root, cut_at, random.Random(seed)
        self._durable: dict[int, bytes] = {}
        self._paths: dict[int, Path] = {}
        self._names: dict[Path, int] = {}
        self._steps: list[tuple[str, Path, Path | None, int]] = []
        for path in sorted(root.rglob("*")):
            if path.is_file():
                inode = path.stat().st_ino
                self._names[path], self._durable[inode] = inode, path.read_bytes()

    def _maybe_cut(self, number: int, _name: str) -> None:
        if number == self._cut_at:
            raise PowerCut

    def open_append(self, path: Path) -> int:
        """A new file's name is not durable yet."""
        fresh = not path.exists()
        fd = super().open_append(path)
        return self._opened(fd, path, fresh)

    def open_new(self, path: Path) -> int:
        """A truncated or new file."""
        if path.exists():
            path.unlink()
        return self._opened(super().open_new(path), path, fresh=True)

    def _opened(self, fd: int, path: Path, fresh: bool) -> int:
        inode = os.fstat(fd).st_ino
        self._paths[fd] = path
        if fresh:
            self._durable[inode] = b""
            self._steps.append(("make", path, None, inode))
        return fd

    def fsync(self, fd: int) -> None:
        """What the file holds now is durable; for a folder, its names."""
        super().fsync(fd)
        inode = os.fstat(fd).st_ino
        if inode in self._durable:
            self._durable[inode] = Path(f"/proc/self/fd/{fd}").read_bytes()

    def fsync_dir(self, folder: Path) -> None:
        """The folder's names are durable."""
        super().fsync_dir(folder)
        for step in [s for s in self._steps if s[1].parent == folder]:
            self._apply(step)
            self._steps.remove(step)

    def rename(self, old: Path, new: Path) -> None:
        """A rename that may get lost."""
        super().rename(old, new)
        self._steps.append(("rename", old, new, 0))

    def _apply(self, step: tuple[str, Path, Path | None, int]) -> None:
        kind, path, target, inode = step
        if kind == "make":
            self._names[path] = inode
        elif target is not None and path in self._names:
            self._names[target] = self._names.pop(path)

    def after_power_cut(self) -> None:
        """Put the folder back to a state that the disk may hold."""
        for step in self._steps[: self._random.randint(0, len(self._steps))]:
            self._apply(step)
        content = {path: self._surviving(inode, path) for path, inode in self._names.items()}
        for path in list(self._root.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path, data in content.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def _surviving(self, inode: int, path: Path) -> bytes:
        durable = self._durable.get(inode, b"")
        now = path.read_bytes() if path.exists() and path.stat().st_ino == inode else durable
        fate = self._random.random()
        if fate < 0.5 or not now.startswith(durable) or now == durable:
            return durable
        tail = now[len(durable) :]
        kept = tail[: self._random.randint(0, len(tail))]
        return durable + (bytes(len(kept)) if fate < 0.6 else kept)


class LogWorld:
    """A folder of dns.log and eve.json that grow; now and then one is rotated, rotated files are compressed later."""

    def __init__(self, folder: Path, seed: int, records: int, *, copytruncate: bool = False) -> None:
        """Plan ``records`` records."""
        self._folder, self._random, self._total = folder, random.Random(seed), records
        self._copytruncate = copytruncate
        self.written: list[str] = []
        self._rotations = 0
        self._start("dns.log")
        (folder / "eve.json").touch()

    @property
    def done(self) -> bool:
        """Whether everything is written."""
        return len(self.written) >= self._total

    def finish(self) -> None:
        """Nothing more will come."""
        self._total = len(self.written)

    def _start(self, name: str) -> None:
        (self._folder / name).write_text(ZEEK_HEADER.format(open=self._rotations), encoding="ascii")

    def step(self) -> None:
        """One thing happens."""
        if self.done:
            return
        roll = self._random.random()
        if roll < 0.08:
            self._rotate_zeek()
        elif roll < 0.14:
            self._rotate_eve()
        elif roll < 0.22:
            self._compress()
        else:
            for _ in range(self._random.randint(1, 6)):
                self.append()

    def append(self) -> None:
        """Write one record, sometimes in two parts."""
        number = len(self.written)
        query = f"n{number:06d}.example.com"
        time = 1_700_000_000 + number
        if self._random.random() < 0.5:
            line, name = f"{time}.000000\tC{number}\t{query}\n", "dns.log"
        else:
            event = {"timestamp": f"2023-11-15T00:{number // 60 % 60:02d}:{number % 60:02d}.000000+0000", "flow_id": number}
            line, name = json.dumps({**event, "event_type": "dns", "dns": {"type": "query", "rrname": query}}) + "\n", "eve.json"
        with (self._folder / name).open("a", encoding="ascii", buffering=1) as log:
            cut = self._random.randint(0, len(line))
            log.write(line[:cut])
            log.flush()
            log.write(line[cut:])
        self.written.append(query)

    def _rotate_zeek(self) -> None:
        self._rotations += 1
        (self._folder / "dns.log").rename(self._folder / f"dns.{self._rotations:05d}.log")
        self._start("dns.log")

    def _rotate_eve(self) -> None:
        self._rotations += 1
        current, old = self._folder / "eve.json", self._folder / f"eve.json.{self._rotations:05d}"
        if self._copytruncate:
            shutil.copyfile(current, old)
            os.truncate(current, 0)
        else:
            current.rename(old)
            current.touch()

    def _compress(self) -> None:
        plain = sorted([*self._folder.glob("dns.0*.log"), *self._folder.glob("eve.json.0????")])
        if plain:
            path = self._random.choice(plain)
            with gzip.open(path.with_name(path.name + ".gz"), "wb") as target:
                target.write(path.read_bytes())
            path.unlink()


class ScriptedControl(Control):
    """Steps the world whenever the runner waits; asks for a stop when nothing is left to come."""

    def __init__(self, world: LogWorld, retry: int = 3, strike_waits: int = 10_000) -> None:
        """Stop after ``retry`` idle waits, or after ``strike_waits`` waits in all."""
        super().__init__()
        self._world, self._idle, self._retry, self._left = world, 0, retry, strike_waits

    def pause(self, seconds: float) -> None:
        """No time passes."""

    def wait(self, seconds: float, also: Sequence[int] = ()) -> None:
        """No time passes; the world goes on."""
        self._left -= 1
        if self._world.done:
            self._idle += 1
        else:
            self._world.step()
        self.stop = self.stop or self._idle >= self._retry or self._left <= 0
