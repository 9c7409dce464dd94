"""Cold start: a fresh interpreter until its first vector, and the memory it then holds."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from edge_demist.diagnostics import machine
from edge_demist.errors import EdgeDemistError

PROGRAM = """
import sys
from edge_demist import EdgeDemist
path, engine, threads, text = sys.argv[1:5]
model = EdgeDemist.load(path or None, engine=engine, threads=int(threads))
vector = model.encode([text])
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.readline()
"""
NUMPY_PROGRAM = """
import sys
import numpy
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.readline()
"""
TIMEOUT = 120.0
"""Seconds after which a child that gave no vector is given up."""


@dataclass(frozen=True)
class Start:
    """One start: seconds from before the process was made until the vector was there; memory in bytes.

    Attributes:
        seconds: wall time.
        rss_bytes: resident set after the first vector (maps of the weights included).
        peak_bytes: largest resident set until then.
        cpu_seconds: processor time of the whole process, its end included.
    """

    seconds: float
    rss_bytes: int
    peak_bytes: int
    cpu_seconds: float = 0.0


def start(program: str = PROGRAM, arguments: tuple[str, ...] = (), bytecode: str | None = None) -> Start:
    """Start one child and wait for its first vector.

    Args:
        program: Python source; writes ``ready`` when it is.
        arguments: what the program finds in ``sys.argv``.
        bytecode: folder that keeps compiled modules between starts (pip compiles them when it installs a wheel); None:
            nothing is kept, and a source tree that was never compiled is compiled each time.

    Raises:
        EdgeDemistError: the child failed; carries its last line.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONDONTWRITEBYTECODE": "1"}
    if bytecode is not None:
        environment |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode}
    used = _children_seconds()
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        seconds = time.perf_counter() - began
        if line != "ready\n":
            _, problem = child.communicate(timeout=TIMEOUT)
            raise EdgeDemistError(f"cold start failed: {problem.strip().splitlines()[-1] if problem.strip() else 'no output'}")
        rss, peak = memory(child.pid)
        child.communicate("\n", timeout=TIMEOUT)
    return Start(seconds, rss, peak, _children_seconds() - used)


def _children_seconds() -> float:
    """Processor time of children that have ended; nan where the system does not say."""
    used = machine.usage("RUSAGE_CHILDREN")
    return math.nan if used is None else float(used.ru_utime + used.ru_stime)


def memory(pid: int | str = "self") -> tuple[int, int]:
    """Resident set now and at its largest, in bytes; zeros where /proc has no such process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0, 0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return tuple(int(fields.get(name, "0").split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def measure(path: str, engine: str, threads: int, text: str, repeats: int) -> dict[str, object]:
    """Medians over ``repeats`` starts, of the model and, in turns with it, of numpy alone.

    Modules are compiled by a first start that does not count, as pip compiles them at installation.

    Returns:
        ``seconds`` (all of them, sorted), ``median_seconds``, ``rss_bytes``, ``peak_bytes``, ``numpy_median_seconds``, ``numpy_rss_bytes``.
    """
    ours, bare, arguments = [], [], (path, engine, str(threads), text)
    with tempfile.TemporaryDirectory() as bytecode:
        start(PROGRAM, arguments, bytecode)
        for _ in range(repeats):
            bare.append(start(NUMPY_PROGRAM, (), bytecode))
            ours.append(start(PROGRAM, arguments, bytecode))
    seconds = sorted(s.seconds for s in ours)
    return {
        "seconds": seconds,
        "median_seconds": seconds[len(seconds) // 2],
        "median_cpu_seconds": sorted(s.cpu_seconds for s in ours)[len(ours) // 2],
        "rss_bytes": sorted(s.rss_bytes for s in ours)[len(ours) // 2],
        "peak_bytes": sorted(s.peak_bytes for s in ours)[len(ours) // 2],
        "numpy_median_seconds": sorted(s.seconds for s in bare)[len(bare) // 2],
        "numpy_median_cpu_seconds": sorted(s.cpu_seconds for s in bare)[len(bare) // 2],
        "numpy_rss_bytes": sorted(s.rss_bytes for s in bare)[len(bare) // 2],
    }


def dumps(value: object) -> str:
    """JSON text with a newline at the end; NaN becomes null."""
    return json.dumps(_finite(value), indent=1, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
