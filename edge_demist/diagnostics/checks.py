"""Checks of the installation and the machine: libraries, engine, bundle, permissions, clock, memory."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from edge_demist import engines
from edge_demist.diagnostics import machine
from edge_demist.diagnostics.result import Check
from edge_demist.errors import EdgeDemistError
from edge_demist.format import signing, verified
from edge_demist.format.bundle import Bundle, default_path
from edge_demist.native import library as native

PACKAGE = Path(__file__).resolve().parent.parent
BUILT_AFTER = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
"""No clock that is right shows an earlier time, in seconds since the epoch."""
WORKING_BYTES = 60_000_000
"""Memory of the interpreter, numpy and scratch, beside the bundle."""
STATE_FOLDER = Path("/var/lib/edge-demist")


def check_cpu() -> Check:
    """CPU features and the levels they allow."""
    facts = machine.cpu()
    flags = native.cpu_flags()
    levels = native.LEVELS.get(native.machine(), ())
    runs = [level for level in levels if native.supports(level)]
    missing = {level: sorted(native.NEEDED_FLAGS[level] - flags) for level in levels if level not in runs}
    values: dict[str, object] = {"model": facts["model"], "flags": facts["flags"], "levels": runs, "missing": missing}
    text = f"{facts['model']}, {facts['usable_processors']} processors; runs {', '.join(runs) or 'no compiled level'}"
    if not levels:
        return Check(
            "cpu", "warn", f"{native.machine()} has no compiled kernels; install edge-demist[jit] or edge-demist[onnxruntime]", values
        )
    return Check("cpu", "ok" if runs else "warn", text, values)


def check_libraries(folder: Path = Path(native.FOLDER)) -> Check:
    """Each library of this machine exists, has the hash of its build and loads."""
    if not folder.is_dir():
        return Check("libraries", "note", f"none: {native.ANY_PLATFORM}")
    try:
        built = json.loads((folder / "BUILD.json").read_text(encoding="utf-8"))["libraries"]
    except (OSError, ValueError, KeyError):
        return Check("libraries", "fail", f"{folder}/BUILD.json is missing or unreadable; reinstall edge-demist")
    problems, found = [], {}
    for level in native.LEVELS.get(native.machine(), ()):
        path = Path(native.library_path(level, folder))
        try:
            raw = path.read_bytes()
        except OSError as error:
            problems.append(f"{path.name}: {error.strerror}")
            continue
        if hashlib.sha256(raw).hexdigest() != built.get(path.name, {}).get("sha256"):
            problems.append(f"{path.name}: not the file that was built")
            continue
        found[level] = "not for this CPU"
        if native.supports(level):
            try:
                native.load(level, folder)
                found[level] = "loads"
            except EdgeDemistError as error:
                problems.append(str(error))
    text = "; ".join(problems) + ". Reinstall edge-demist" if problems else ", ".join(f"{level} {state}" for level, state in found.items())
    return Check("libraries", "fail" if problems else "ok", text or "none for this machine", {"libraries": found})


def check_engine(bundle: Bundle | None) -> Check:
    """The engine that ``auto`` chooses, and why; engines other than native are looked up, never imported."""
    present = {name: importlib.util.find_spec(package) is not None for name, package in (("jit", "numba"), ("onnxruntime", "onnxruntime"))}
    others = ", ".join(f"{name} {'is' if there else 'is not'} installed" for name, there in present.items())
    forced = {name: os.environ[name] for name in (engines.ENGINE_VARIABLE, native.KERNEL_VARIABLE) if os.environ.get(name)}
    values: dict[str, object] = {"installed": present, "environment": forced}
    asked = os.environ.get(engines.ENGINE_VARIABLE) or "auto"
    if asked in present:
        there = present[asked]
        text = f"{asked} is asked for by {engines.ENGINE_VARIABLE}; it {'is' if there else 'is not'} installed and was not tried"
        return Check("engine", "note" if there else "fail", text, values)
    try:
        level = native.load().level
        if bundle is not None:
            engines.create(bundle, "native")
    except EdgeDemistError as error:
        fallback = next((name for name, there in present.items() if there), None)
        way_out = f"auto would try {fallback} next" if fallback and asked == "auto" else others
        return Check("engine", "warn" if fallback and asked == "auto" else "fail", f"{error}; {way_out}", values)
    values |= {"name": "native", "kernel": level}
    why = "the best compiled level that this CPU and its kernel run"
    if forced:
        why = "asked for by " + ", ".join(f"{k}={v}" for k, v in forced.items())
    return Check("engine", "ok", f"native {level}: {why}; {others}", values)


def open_bundle(path: Path | None) -> tuple[Bundle | None, Check]:
    """The bundle with every file's hash checked."""
    folder = path if path is not None else default_path()
    try:
        bundle = Bundle.load(folder, hash_all=True)
    except EdgeDemistError as error:
        return None, Check("bundle", "fail", str(error))
    signed = "signed" if (folder / signing.SIGNATURE_NAME).is_file() else "not signed"
    size = sum(entry.bytes for entry in bundle.files.values())
    values: dict[str, object] = {
        "path": str(folder),
        "id": bundle.id,
        "files": len(bundle.files),
        "bytes": size,
        "tasks": list(bundle.tasks),
    }
    content = f"{len(bundle.files)} files, {size / 1e6:.1f} MB, hashes agree; {signed}"
    text = f"{bundle.name} version {bundle.version}, id {bundle.id[:16]}: {content}"
    return bundle, Check("bundle", "ok", text, values)


def check_permissions(folders: Iterable[Path]) -> Check:
    """Nobody but the owner and the group may change code, libraries or the bundle."""
    loose = []
    for folder in folders:
        for path in (folder, *folder.iterdir()) if folder.is_dir() else ():
            mode = path.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                loose.append(str(path))
    if loose:
        return Check("permissions", "warn", f"writable by everybody: {', '.join(loose[:5])}; chmod o-w", {"writable_by_all": loose})
    return Check("permissions", "ok", "code, libraries and bundle are not writable by everybody")


def writable(folder: Path) -> bool:
    """Whether a file can be made in ``folder``, or in the nearest folder above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_writing() -> Check:
    """Folders that commands write to: temporary files, the state of ``watch``, the cache."""
    kept = verified.folder()
    places = {"temporary files": Path(tempfile.gettempdir()), "state of watch": STATE_FOLDER}
    if kept is not None:
        places["cache"] = Path(kept)
    values = {name: {"path": str(path), "writable": writable(path)} for name, path in places.items()}
    text = ", ".join(f"{name}: {place['path']} {'writable' if place['writable'] else 'NOT writable'}" for name, place in values.items())
    slow = importlib.util.find_spec("numba") is not None and not values.get("cache", {}).get("writable")
    advice = f"; set {verified.CACHE_VARIABLE}, or the jit engine compiles at every start" if slow else ""
    return Check("write access", "note" if not all(place["writable"] for place in values.values()) else "ok", text + advice, dict(values))


def check_clock(created: str | None = None) -> Check:
    """The clock shows a plausible time, does not stand still, and is synchronized as far as one can tell."""
    now = time.time()
    shown = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    began = time.monotonic()
    time.sleep(0.01)
    if time.monotonic() <= began:
        return Check("clock", "fail", "the monotonic clock stands still")
    earliest = max(BUILT_AFTER, _timestamp(created))
    if now < earliest:
        return Check(
            "clock", "fail", f"it shows {shown}, earlier than the bundle was made: log times and checkpoints would be wrong; set the clock"
        )
    synchronized = any(
        Path(path).exists() for path in ("/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid", "/run/chronyd.pid")
    )
    resolution = time.get_clock_info("perf_counter").resolution
    text = f"{shown}, {'synchronized' if synchronized else 'no sign of time synchronization'}, resolution {resolution * 1e9:.0f} ns"
    return Check("clock", "ok", text, {"time": shown, "synchronized": synchronized, "resolution_seconds": resolution})


def _timestamp(created: str | None) -> float:
    try:
        return datetime.fromisoformat(created or "").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def check_memory(bundle: Bundle | None) -> Check:
    """Memory left, against what the bundle and the interpreter take."""
    found = machine.read("/proc/meminfo") or ""
    fields = dict(line.split(":", 1) for line in found.splitlines() if ":" in line)
    available = int(fields.get("MemAvailable", "0").split()[0]) * 1024
    limits = [limit for limit in (machine.read("/sys/fs/cgroup/memory.max"), machine.address_space()) if limit and limit.isdigit()]
    room = min([available, *map(int, limits)]) if available else 0
    need = WORKING_BYTES + (sum(entry.bytes for entry in bundle.files.values()) if bundle else 0)
    values: dict[str, object] = {"available_bytes": available, "limit_bytes": min(map(int, limits), default=None), "need_bytes": need}
    text = f"{room / 1e6:,.0f} MB available, about {need / 1e6:.0f} MB needed"
    if not available:
        return Check("memory", "note", "cannot be told here (no /proc/meminfo)", values)
    return Check("memory", "ok" if room > need else "warn", text, values)


def package_folders(bundle: Bundle | None) -> list[Path]:
    """Folders whose files are trusted."""
    return [PACKAGE, Path(native.FOLDER), PACKAGE / "assets", *([bundle.path] if bundle else [])]
