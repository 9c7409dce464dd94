"""The sensor's way: records a second, processor time a record and memory of ``watch --once``, in turns.

    python -m benchmarks.sensor --names names.txt --log ../shared/data/raw [--records 100000] [--rounds 3] [--growth 1000,10000]

Logs: ``new`` has every name once, ``repeated`` a hundredth of the names over and over, ``real`` is what ``--log`` names.
Variants: ``all`` writes every verdict, ``alarms`` screens, ``alarms --no-screen`` does not.  ``encode`` embeds the same new
names in one process.  Every round runs every case, in changing order; one thread.  Processor time is that of the whole
process less that of a run over an empty log, so that the machine's load matters less to it than to ``seconds``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import markdown, result_file
from edge_demist.format.bundle import Bundle
from tools import facts

ROOT = Path(__file__).resolve().parent.parent
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
    with path.open("w", encoding="utf-8") as stream:
        stream.write(HEADER)
        for i, name in enumerate(names):
            ends = f"10.0.{i % 200}.{i % 250}\t{1024 + i % 60000}\t10.0.0.1\t53\tudp\t{i % 65536}"
            stream.write(f"{1700000000 + i / 10:.6f}\tC{i:016x}\t{ends}\t{name}\t1\t1\tA\t0\tNOERROR\t192.0.2.1\n")
    return path


def child(command: Sequence[str]) -> tuple[str, dict[str, float]]:
    """Run a command on one thread: what it printed; processor seconds and largest memory of it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return printed, {"cpu_seconds": usage.ru_utime + usage.ru_stime, "max_rss_bytes": float(usage.ru_maxrss * 1024)}


def watch(log: Path, options: Sequence[str], bundle: str, folder: Path) -> dict[str, Any]:
    """One run of ``watch --once``."""
    summary = folder / "summary.json"
    model = ["--bundle", bundle] if bundle else []
    files = ["-o", str(folder / "events"), "--summary", str(summary), "--log", "off"]
    _, used = child(["-m", "edge_demist", "watch", str(log), "--once", *files, *model, *options])
    told = json.loads(summary.read_text(encoding="utf-8"))
    return used | {name: told[name] for name in ("records", "predictions", "screened", "alarms", "errors", "seconds")}


def row(runs: Sequence[Mapping[str, Any]], empty: float) -> dict[str, Any]:
    """Medians over the rounds."""
    last, cpu = runs[-1], statistics.median(run["cpu_seconds"] for run in runs)
    records = last["records"]
    found = {name: last[name] for name in ("records", "predictions", "screened", "alarms", "errors") if name in last}
    found |= {"cpu_seconds": round(cpu, 3), "cpu_us_per_record": round(max(cpu - empty, 0.0) * 1e6 / records, 2)}
    found["records_per_cpu_second"] = round(records / max(cpu - empty, 1e-9))
    if "seconds" in last:
        found["records_per_second"] = round(statistics.median(records / run["seconds"] for run in runs))
        found["max_rss_bytes"] = int(max(run["max_rss_bytes"] for run in runs))
    return found


def measure(logs: Mapping[str, Path], rounds: int, bundle: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Every log under every variant, and the encoder on the new names."""
    cases = [(log, variant) for log in logs for variant in VARIANTS] + [("new", "encode"), ("empty", "alarms")]
    paths = {**logs, "empty": dns_log(folder / "empty.log", [])}
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {case: [] for case in cases}
    for number in range(rounds):
        random.Random(number).shuffle(cases)
        for log, variant in cases:
            if variant == "encode":
                printed, _ = child(["-c", ENCODE, str(paths[log]), bundle])
                runs[log, variant].append(json.loads(printed))
            else:
                runs[log, variant].append(watch(paths[log], VARIANTS[variant], bundle, folder))
            sys.stderr.write(f"round {number + 1} of {rounds}: {log}, {variant}\n")
    empty = statistics.median(run["cpu_seconds"] for run in runs.pop(("empty", "alarms")))
    rows = {f"{log}, {variant}": row(found, 0.0 if variant == "encode" else empty) for (log, variant), found in runs.items()}
    rows["start"] = {"cpu_seconds": round(empty, 3)}
    return rows


def table(found: Mapping[str, Any]) -> str:
    """The rows as Markdown, for documents."""
    rows = []
    for name, one in found["rows"].items():
        log, _, variant = name.partition(", ")
        if variant not in VARIANTS:
            continue
        answered = f"{one['screened'] / one['predictions']:.1%}" if one["screened"] else "–"
        memory = f"{one['max_rss_bytes'] / 1e6:.0f}"
        rows.append((log, f"`--emit {variant}`", f"{one['cpu_us_per_record']:.0f}", f"{one['records_per_cpu_second']:,}", answered, memory))
    encode = found["rows"].get("new, encode")
    said = "" if encode is None else f"\n\nEmbedding the new names alone takes {encode['cpu_us_per_record']:.0f} µs each."
    header = ("log", "variant", "processor µs a record", "records a processor second", "answered by stage one", "MB")
    return markdown.table(header, rows) + said


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=Path, required=True, help="distinct host names, one a line")
    parser.add_argument("--log", type=Path, help="a real log, or a folder of logs")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", type=lambda text: [int(part) for part in text.split(",")], default=[])
    parser.add_argument("--bundle", default="")
    parser.add_argument("--output", type=Path, default=result_file.RESULTS / "sensor.json")
    args = parser.parse_args()
    names = list(dict.fromkeys(args.names.read_text(encoding="utf-8").split()))
    random.Random(0).shuffle(names)
    few = names[: max(args.records // 100, 1)]
    head = facts.head("benchmarks.sensor")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        logs = {
            "new": dns_log(folder / "new.log", names[: args.records]),
            "repeated": dns_log(folder / "repeated.log", [few[i % len(few)] for i in range(args.records)]),
        }
        if args.log is not None:
            logs["real"] = args.log.resolve()
        result: dict[str, Any] = {"rows": measure(logs, args.rounds, args.bundle, folder), "growth": {}}
        for count in args.growth:
            log = dns_log(folder / "growth.log", (names * (count // len(names) + 1))[:count])
            run = watch(log, VARIANTS["alarms"], args.bundle, folder)
            result["growth"][str(count)] = row([run], result["rows"]["start"]["cpu_seconds"])
    bundle = Bundle.load(args.bundle or None)
    told: dict[str, Any] = {"bundle": {"id": bundle.id, "version": bundle.version}, "rounds": args.rounds}
    told |= {"names": args.names.name, "load_after": os.getloadavg()[0]}
    result_file.write(args.output, {**head, **result, **told})
    return 0


if __name__ == "__main__":
    sys.exit(main())
