"""The sensor's way: records a second, processor time a record and memory of ``watch --once``, every case in turns.

Processor time is that of the whole process less that of a run over an empty log, so that the machine's load matters less to it
than to ``seconds``.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_demist.errors import InputError

FORMAT = 1
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "all": ("--emit", "all"),
    "alarms": ("--emit", "alarms"),
    "alarms --no-screen": ("--emit", "alarms", "--no-screen"),
}
HEADER = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\ttrans_id\tquery\tqclass\tqtype\tqtype_name\trcode\trcode_name\tanswers\n"
    "#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tcount\tstring\tcount\tcount\tstring\tcount\tstring\tvector[string]\n"
)
WATCH = """
import sys
from edge_demist.cli import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
sys.exit(code)
"""
"""What the kernel reports about a child that has ended counts what its parent held at the fork as well."""
ENCODE = """
import json, sys, time
from edge_demist import EdgeDemist
names = [line.split("\\t")[8] for line in open(sys.argv[1]) if line[0] != "#"]
model = EdgeDemist.load(sys.argv[2] or None)
model.encode(names[:64])
began = time.process_time()
model.encode(names)
print(json.dumps({"records": len(names), "cpu_seconds": time.process_time() - began}))
"""


def dns_log(path: Path, names: Sequence[str]) -> Path:
    """A Zeek dns.log with a record a name."""
    with path.open("w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(HEADER)
        for i, name in enumerate(names):
            ends = f"10.0.{i % 200}.{i % 250}\t{1024 + i % 60000}\t10.0.0.1\t53\tudp\t{i % 65536}"
            stream.write(f"{1700000000 + i / 10:.6f}\tC{i:016x}\t{ends}\t{name}\t1\t1\tA\t0\tNOERROR\t192.0.2.1\n")
    return path


def child(command: Sequence[str]) -> tuple[str, float]:
    """Run Python with arguments on one thread: what it printed, and its processor seconds.

    Raises:
        InputError: it failed.
    """
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise InputError(f"{' '.join(command)}: exit code {process.returncode}")
    return printed, usage.ru_utime + usage.ru_stime


def watch(log: Path, options: Sequence[str], bundle: str, folder: Path) -> dict[str, Any]:
    """One run of ``watch --once``; its events are in ``folder / "events"``."""
    summary = folder / "summary.json"
    model = ["--bundle", bundle] if bundle else []
    files = ["-o", str(folder / "events"), "--summary", str(summary), "--log", "off"]
    printed, seconds = child(["-c", WATCH, "watch", str(log), "--once", *files, *model, *options])
    told = json.loads(summary.read_text(encoding="utf-8"))
    used = {"cpu_seconds": seconds, "max_rss_bytes": 1024 * int(printed)}
    return used | {name: told[name] for name in ("records", "predictions", "screened", "alarms", "errors", "seconds")}


def row(runs: Sequence[Mapping[str, Any]], empty: float) -> dict[str, Any]:
    """Medians over the rounds; ``empty``: processor seconds of a run over nothing."""
    last, cpu = runs[-1], statistics.median(run["cpu_seconds"] for run in runs)
    records = max(last["records"], 1)
    found = {name: last[name] for name in ("records", "predictions", "screened", "alarms", "errors") if name in last}
    found |= {"cpu_seconds": round(cpu, 3), "cpu_us_per_record": round(max(cpu - empty, 0.0) * 1e6 / records, 2)}
    found["records_per_cpu_second"] = round(records / max(cpu - empty, 1e-9))
    if "seconds" in last:
        found["records_per_second"] = round(statistics.median(records / max(run["seconds"], 1e-9) for run in runs))
        found["max_rss_bytes"] = int(max(run["max_rss_bytes"] for run in runs))
    return found


def logs(folder: Path, names: Sequence[str], real: Path | None) -> dict[str, Path]:
    """``new`` has every name once, ``repeated`` a hundredth of them over and over, ``real`` is a log of one's own, or a folder of such."""
    few = names[: max(len(names) // 100, 1)]
    made = {
        "new": dns_log(folder / "new.log", names),
        "repeated": dns_log(folder / "repeated.log", [few[i % len(few)] for i in range(len(names))]),
    }
    return made | ({"real": real.resolve()} if real is not None else {})


def measure(paths: Mapping[str, Path], rounds: int, bundle: str, folder: Path, say: Callable[[str, int, int], object]) -> dict[str, Any]:
    """Rows of every log under every variant, of ``encode`` on the new names in one process, and of the start, in turns."""
    cases = [(log, variant) for log in paths for variant in VARIANTS] + [("new", "encode"), ("empty", "alarms")]
    paths = {**paths, "empty": dns_log(folder / "empty.log", [])}
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {case: [] for case in cases}
    for number in range(rounds):
        random.Random(number).shuffle(cases)
        for done, (log, variant) in enumerate(cases):
            say(f"{log}, {variant}", number * len(cases) + done, rounds * len(cases))
            if variant == "encode":
                runs[log, variant].append(json.loads(child(["-c", ENCODE, str(paths[log]), bundle])[0]))
            else:
                runs[log, variant].append(watch(paths[log], VARIANTS[variant], bundle, folder))
    nothing = runs.pop(("empty", "alarms"))
    empty = statistics.median(run["cpu_seconds"] for run in nothing)
    rows = {f"{log}, {variant}": row(found, 0.0 if variant == "encode" else empty) for (log, variant), found in runs.items()}
    rows["start"] = {"cpu_seconds": round(empty, 3), "max_rss_bytes": int(max(run["max_rss_bytes"] for run in nothing))}
    return rows


def lines(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The rows as text for a terminal."""
    header = f"{'log':<10}{'emit':<20}{'records':>10}{'records/s':>11}{'CPU us each':>13}{'screened':>10}{'MB':>6}"
    found = [header]
    for name, one in rows.items():
        log, _, variant = name.partition(", ")
        if variant not in VARIANTS:
            continue
        share = f"{one['screened'] / max(one['predictions'], 1):.1%}"
        speed = f"{one['records']:>10,}{one['records_per_second']:>11,}{one['cpu_us_per_record']:>13.1f}"
        found.append(f"{log:<10}{variant:<20}{speed}{share:>10}{one['max_rss_bytes'] / 1e6:>6.0f}")
    start, encode = rows["start"], rows["new, encode"]
    found.append(f"start: {start['cpu_seconds']:.3f} CPU s, {start['max_rss_bytes'] / 1e6:.0f} MB")
    return [*found, f"encode on the new names: {encode['cpu_us_per_record']:.1f} CPU us each"]
