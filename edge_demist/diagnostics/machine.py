"""Facts about the machine that a measurement belongs to, and what it did meanwhile. Linux; elsewhere most facts are None."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_demist import __version__
from edge_demist.native import library as native

RAPL = Path("/sys/class/powercap")
CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")


def read(path: Path | str) -> str | None:
    """Text of a small system file, stripped; None where it cannot be read."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip("\0 \n")
    except OSError:
        return None


def usage(whose: str) -> Any:
    """``getrusage`` of ``RUSAGE_SELF`` or ``RUSAGE_CHILDREN``; None on systems without it (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(getattr(resource, whose))


def address_space() -> str | None:
    """The limit of this process's address space in bytes, as text; None on systems without one."""
    try:
        import resource
    except ImportError:
        return None
    return str(resource.getrlimit(resource.RLIMIT_AS)[0])


def processors() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _field(text: str | None, *names: str) -> str | None:
    for name in names:
        found = re.search(rf"^{re.escape(name)}\s*:\s*(.+)$", text or "", re.MULTILINE)
        if found:
            return found.group(1).strip()
    return None


def cpu() -> dict[str, object]:
    """Model, features that the kernels can use, cores, frequency and governor of the processor."""
    info = read("/proc/cpuinfo")
    useful = set().union(*native.NEEDED_FLAGS.values()) | {"i8mm", "avx512_bf16", "amx_bf16"}
    caches = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    return {
        "model": _field(info, "model name", "Model") or read("/proc/device-tree/model") or _field(info, "CPU part") or platform.processor(),
        "family": _field(info, "cpu family"),
        "model_number": _field(info, "model"),
        "stepping": _field(info, "stepping"),
        "board": read("/proc/device-tree/model"),
        "flags": sorted(native.cpu_flags() & useful),
        "processors": os.cpu_count(),
        "usable_processors": processors(),
        "quota": read("/sys/fs/cgroup/cpu.max"),
        "governor": read(CPUFREQ / "scaling_governor"),
        "max_khz": read(CPUFREQ / "cpuinfo_max_freq"),
        "mhz_now": _field(info, "cpu MHz"),
        "turbo_off": read("/sys/devices/system/cpu/intel_pstate/no_turbo"),
        "caches": {f"L{read(c / 'level')} {read(c / 'type')}": read(c / "size") for c in caches},
        "hypervisor": "hypervisor" in native.cpu_flags(),
        "throttled": read("/sys/devices/platform/soc/soc:firmware/get_throttled"),
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that can take part; packages are looked up, not imported."""
    found: dict[str, str | None] = {"edge_demist": __version__, "python": platform.python_version(), "numpy": np.__version__}
    for package in ("numba", "onnxruntime"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def commit() -> str | None:
    """Commit of the checkout that the package runs from; None for an installed package."""
    for folder in Path(__file__).resolve().parents[2:4]:
        head = read(folder / ".git" / "HEAD")
        if head is None:
            continue
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        packed = re.search(rf"^([0-9a-f]{{40}}) {re.escape(name)}$", read(folder / ".git" / "packed-refs") or "", re.MULTILINE)
        return read(folder / ".git" / name) or (packed.group(1) if packed else None)
    return None


def memory_bytes() -> int | None:
    """Installed memory in bytes."""
    found = _field(read("/proc/meminfo"), "MemTotal")
    return int(found.split()[0]) * 1024 if found else None


def facts() -> dict[str, object]:
    """All facts, as JSON values. Holds no host name and no user name."""
    return {
        "cpu": cpu(),
        "memory_bytes": memory_bytes(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": native.machine(),
        "libc": " ".join(platform.libc_ver()),
        "versions": versions(),
        "commit": commit(),
    }


@dataclass(frozen=True)
class Moment:
    """Counters at one moment; the difference of two tells what happened between.

    Attributes:
        seconds: monotonic clock.
        steal, total: processor time in clock ticks, all processors.
        switches: involuntary context switches of this process.
        joules: package energy counters by name; empty where RAPL cannot be read.
    """

    seconds: float
    steal: int
    total: int
    switches: int
    joules: dict[str, float]

    @staticmethod
    def now() -> Moment:
        """Read the counters."""
        first = (read("/proc/stat") or "cpu").split("\n", 1)[0].split()[1:]
        ticks = [int(n) for n in first[:8]]
        steal = ticks[7] if len(ticks) == 8 else 0
        used = usage("RUSAGE_SELF")
        return Moment(time.monotonic(), steal, sum(ticks), used.ru_nivcsw if used else 0, energy())


def energy() -> dict[str, float]:
    """Joules counted so far by each RAPL package zone (Linux powercap); empty where they cannot be read."""
    found = {}
    for zone in sorted(RAPL.glob("intel-rapl:[0-9]*")):
        value = read(zone / "energy_uj")
        if zone.name.count(":") == 1 and value is not None and value.isdigit():
            found[zone.name] = int(value) / 1e6
    return found


def energy_between(before: Moment, after: Moment) -> float | None:
    """Joules that all packages used; None where they cannot be read."""
    if not before.joules or set(before.joules) != set(after.joules):
        return None
    total = 0.0
    for name, start in before.joules.items():
        wrap = int(read(RAPL / name / "max_energy_range_uj") or 0) / 1e6
        used = after.joules[name] - start
        total += used + wrap if used < 0 else used
    return total


def steal_share(before: Moment, after: Moment) -> float:
    """Steal time as a share of all processor time between two moments."""
    return (after.steal - before.steal) / max(after.total - before.total, 1)


def switch_rate(before: Moment, after: Moment) -> float:
    """Involuntary context switches a second between two moments."""
    return (after.switches - before.switches) / max(after.seconds - before.seconds, 1e-9)


def load_average() -> float:
    """One-minute load average; 0 where there is none."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return 0.0
