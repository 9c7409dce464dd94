"""The limits of the unit without systemd: a control group (v1 or v2) where we may make one, else stop and go and a look at memory.

Half a core, 256 MB and a socket that hears what the sensor tells the service manager.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
STOP_AND_GO_S = 0.05
MOST_FOR_ORPHANS_S = 2.0


class ControlGroup:
    """Folders of control groups with a limit on memory and on processor time; deleted at the end."""

    def __init__(self, memory: int, cores: float) -> None:
        """Make them.

        Raises:
            OSError: they cannot be made here.
        """
        name = f"edge-demist-{os.getpid()}"
        self._unified = (GROUPS / "cgroup.controllers").exists()
        self.folders = [GROUPS / name] if self._unified else [GROUPS / "memory" / name, GROUPS / "cpu" / name]
        for folder in self.folders:
            folder.mkdir()
        try:
            self._limit(memory, cores)
        except OSError:
            self.remove()
            raise

    def _limit(self, memory: int, cores: float) -> None:
        if self._unified:
            (self.folders[0] / "memory.max").write_text(str(memory))
            (self.folders[0] / "cpu.max").write_text(f"{int(cores * PERIOD_US)} {PERIOD_US}")
            return
        (self.folders[0] / "memory.limit_in_bytes").write_text(str(memory))
        (self.folders[1] / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (self.folders[1] / "cpu.cfs_quota_us").write_text(str(int(cores * PERIOD_US)))

    def take(self, pid: int) -> None:
        """Put a process into it."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """How often the kernel ended a process for its memory."""
        text = (self.folders[0] / ("memory.events" if self._unified else "memory.oom_control")).read_text()
        found = re.search(r"^oom_kill (\d+)", text, re.M)
        return int(found.group(1)) if found else 0

    def remove(self) -> None:
        """Delete the folders; the process must have ended."""
        for folder in self.folders:
            for _ in range(50):
                try:
                    folder.rmdir()
                    break
                except OSError:
                    time.sleep(0.1)


class StopAndGo:
    """The same by signals and by looking: the process is stopped for its share of the time and killed above its memory."""

    def __init__(self, memory: int, cores: float) -> None:
        """Note the limits."""
        self._memory, self._cores, self._kills, self._over = memory, cores, 0, threading.Event()

    def take(self, pid: int) -> None:
        """Begin."""
        threading.Thread(target=self._watch, args=(pid,), daemon=True).start()

    def _watch(self, pid: int) -> None:
        try:
            while not self._over.wait(STOP_AND_GO_S * self._cores / 0.5):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(STOP_AND_GO_S * (1 - self._cores) / 0.5)
                os.kill(pid, signal.SIGCONT)
                if memory_of(pid)[0] > self._memory:
                    self._kills += 1
                    os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def kills(self) -> int:
        """How often it was killed for its memory."""
        return self._kills

    def remove(self) -> None:
        """End."""
        self._over.set()


def memory_of(pid: int) -> tuple[int, int]:
    """Resident bytes now and at most, of a process; zeros when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0, 0
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", text, re.M))
    return int(found.get("VmRSS", 0)) << 10, int(found.get("VmHWM", 0)) << 10


def children(pid: int) -> list[int]:
    """Its child processes; none when it is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


class Session:
    """One life of the sensor under the limits."""

    def __init__(self, command: Sequence[str], folder: Path, *, memory: int, cores: float, watchdog_s: float) -> None:
        """Start it."""
        address = folder / "notify"
        address.unlink(missing_ok=True)
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(str(address))
        self._heard.settimeout(0.2)
        try:
            self._limits: ControlGroup | StopAndGo = ControlGroup(memory, cores)
        except OSError:
            self._limits = StopAndGo(memory, cores)
        self.by = type(self._limits).__name__
        environment = {**os.environ, "NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": str(int(watchdog_s * 1e6)), "OMP_NUM_THREADS": "1"}
        with (folder / "stderr").open("ab") as told:
            self.child = subprocess.Popen(command, stderr=told, stdin=subprocess.DEVNULL, env=environment)
        self._limits.take(self.child.pid)
        self.began = self._last = time.monotonic()
        self.ready_s: float | None = None
        self.silence_s = 0.0
        self.peak = 0

    @property
    def lasts_s(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self.began

    def listen(self, seconds: float) -> bool:
        """Hear it for a while; False once it has ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.child.poll() is None:
            self.peak = max(self.peak, memory_of(self.child.pid)[1])
            try:
                said = self._heard.recv(4096)
            except TimeoutError:
                continue
            now = time.monotonic()
            if b"READY=1" in said and self.ready_s is None:
                self.ready_s, self._last = now - self.began, now
            if b"WATCHDOG=1" in said:
                self.silence_s, self._last = max(self.silence_s, now - self._last), now
        return self.child.poll() is None

    def end(self, patience_s: float = 60.0) -> dict[str, object]:
        """Ask it to end, and say how it went."""
        if self.ready_s is not None:
            self.silence_s = max(self.silence_s, time.monotonic() - self._last)
        alone, workers = self.child.poll() is not None, children(self.child.pid)
        asked = time.monotonic()
        if not alone:
            self.child.terminate()
        try:
            self.child.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        took = time.monotonic() - asked
        until = time.monotonic() + MOST_FOR_ORPHANS_S
        while (left := sum(Path(f"/proc/{pid}").exists() for pid in workers)) and time.monotonic() < until:
            time.sleep(0.05)
        kills = self._limits.kills()
        self._limits.remove()
        self._heard.close()
        return {
            "ready_s": self.ready_s and round(self.ready_s, 1),
            "longest_silence_s": round(self.silence_s, 1),
            "ended_after_s": None if alone else round(took, 1),
            "exit_code": self.child.returncode,
            "peak_rss_mb": self.peak >> 20,
            "killed_for_memory": kills,
            "left_behind": left,
            "seconds": round(asked - self.began, 1),
        }
