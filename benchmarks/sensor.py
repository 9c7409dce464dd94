"""The sensor's way: records a second, processor time a record and memory of ``watch --once``, in turns.

    python -m benchmarks.sensor --names names.txt --log ../shared/data/raw [--records 100000] [--rounds 3] [--growth 1000,10000]
    python -m benchmarks.sensor --names names.txt --threads 1,2 [--records 100000] [--rounds 5]

As ``edge-demist bench --sensor`` measures it (:mod:`edge_demist.diagnostics.sensor`), and how it grows with the records. ``--threads``
measures only that, by the clock, and puts it into the result file: it needs idle cores, and ``load_before`` says whether they were.
``--emit all`` takes a fifth of the records. Events must be the same bytes on any number.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import markdown, result_file
from edge_demist.diagnostics.sensor import VARIANTS, dns_log, logs, measure, row, watch
from edge_demist.format.bundle import Bundle
from tools import facts


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


def threads_table(found: Mapping[str, Any]) -> str:
    """What more processes give, as Markdown."""
    rows = []
    for emit, runs in found.get("threads", {}).get("rows", {}).items():
        for count, one in runs.items():
            taken = f"{one['rss_bytes'] / 1e6:.0f} ({one['pss_bytes'] / 1e6:.0f})"
            separate = f"{one['ratio_of_separate_runs']:.2f}" if "ratio_of_separate_runs" in one else ""
            rows.append((f"`--emit {emit}`", count, f"{one['records_per_second']:,}", f"{one['ratio']:.2f}", separate, taken))
    header = ("variant", "`--threads`", "records a second", "times one", "separate runs at once", "largest process, MB (all)")
    return markdown.table(header, rows) if rows else "Not measured yet."


def memory(log: Path, options: Sequence[str], bundle: str, folder: Path) -> tuple[int, int]:
    """Bytes that the largest process of a run has resident, and that all of them have, with what they share counted once."""
    model = ["--bundle", bundle] if bundle else []
    files = ["-o", str(folder / "more"), "--log", "off"]
    command = [sys.executable, "-m", "edge_demist", "watch", str(log), "--once", *files, *model, *options]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    largest = total = 0
    while process.poll() is None:
        with contextlib.suppress(OSError):  # a process that has just ended
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
            found = [_sizes(number) for number in (str(process.pid), *children)]
            largest, total = max(largest, *(one for one, _ in found)), max(total, sum(one for _, one in found))
        time.sleep(0.05)
    return largest, total


def _sizes(number: str) -> tuple[int, int]:
    """Resident and proportional bytes of a process."""
    lines = Path(f"/proc/{number}/smaps_rollup").read_text(encoding="ascii").splitlines()
    sizes = {line.split()[0]: 1024 * int(line.split()[1]) for line in lines[1:]}
    return sizes["Rss:"], sizes["Pss:"]


def apart(log: Path, options: Sequence[str], bundle: str, count: int, folder: Path) -> float:
    """Records a second of so many runs with one process at the same time: what the machine gives those that have nothing in common."""
    folders = [folder / str(number) for number in range(count)]
    for one in folders:
        one.mkdir(exist_ok=True)
    with ThreadPoolExecutor(count) as pool:
        runs = list(pool.map(lambda one: watch(log, options, bundle, one), folders))
    return sum(run["records"] for run in runs) / max(run["seconds"] for run in runs)


def threads(names: Sequence[str], bundle: str, rounds: int, counts: Sequence[int], folder: Path) -> dict[str, Any]:
    """Records a second by the clock with one process and with others, in turns; start and end are part of it."""
    found: dict[str, Any] = {}
    for emit, share in (("all", 5), ("alarms", 1)):
        log = dns_log(folder / "dns.log", names[: len(names) // share])
        runs: dict[int, list[float]] = {count: [] for count in counts}
        side_by_side: list[float] = []
        events: set[bytes] = set()
        for number in range(rounds):
            for count in counts if number % 2 == 0 else reversed(counts):
                (folder / "events").unlink(missing_ok=True)
                run = watch(log, (*VARIANTS[emit], "--threads", str(count)), bundle, folder)
                runs[count].append(run["records"] / run["seconds"])
                events.add(hashlib.sha256((folder / "events").read_bytes()).digest())
            side_by_side.append(apart(log, VARIANTS[emit], bundle, counts[-1], folder) / runs[counts[0]][-1])
        if len(events) != 1:
            raise SystemExit(f"--emit {emit}: other bytes with more processes")
        found[emit] = {}
        for count in counts:
            ratio = statistics.median(several / single for several, single in zip(runs[count], runs[counts[0]], strict=True))
            rss, pss = memory(log, (*VARIANTS[emit], "--threads", str(count)), bundle, folder)
            sizes = {"rss_bytes": rss, "pss_bytes": pss}
            found[emit][str(count)] = {"records_per_second": round(statistics.median(runs[count])), "ratio": round(ratio, 3), **sizes}
        found[emit][str(counts[-1])]["ratio_of_separate_runs"] = round(statistics.median(side_by_side), 3)
    return found


def put_threads(args: argparse.Namespace, names: Sequence[str], head: Mapping[str, Any]) -> None:
    """Measure that alone, and leave the rest of the result file as it is."""
    with tempfile.TemporaryDirectory() as place:
        rows = threads(names[: args.records], args.bundle, args.rounds, args.threads, Path(place))
    told = {"date": head["date"], "load_before": head["load_before"], "load_after": os.getloadavg()[0]}
    told |= {"bundle": Bundle.load(args.bundle or None).id, "rounds": args.rounds, "records": args.records}
    result_file.write(args.output, {**result_file.read(args.output), "threads": {**told, "rows": rows}})


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=Path, required=True, help="distinct host names, one a line")
    parser.add_argument("--log", type=Path, help="a real log, or a folder of logs")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", type=lambda text: [int(part) for part in text.split(",")], default=[])
    parser.add_argument("--threads", type=lambda text: [int(part) for part in text.split(",")], default=[], help="measure only these")
    parser.add_argument("--bundle", default="")
    parser.add_argument("--output", type=Path, default=result_file.RESULTS / "sensor.json")
    args = parser.parse_args()
    names = list(dict.fromkeys(args.names.read_text(encoding="utf-8").split()))
    random.Random(0).shuffle(names)
    head = facts.head("benchmarks.sensor")
    if args.threads:
        put_threads(args, names, head)
        return 0
    say: Any = lambda case, done, total: sys.stderr.write(f"{done + 1} of {total}: {case}\n")  # noqa: E731
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = logs(folder, names[: args.records], args.log)
        result: dict[str, Any] = {"rows": measure(paths, args.rounds, args.bundle, folder, say), "growth": {}}
        for count in args.growth:
            log = dns_log(folder / "growth.log", (names * (count // len(names) + 1))[:count])
            run = watch(log, VARIANTS["alarms"], args.bundle, folder)
            result["growth"][str(count)] = row([run], result["rows"]["start"]["cpu_seconds"])
    bundle = Bundle.load(args.bundle or None)
    told: dict[str, Any] = {"bundle": {"id": bundle.id, "version": bundle.version}, "rounds": args.rounds}
    told |= {"names": args.names.name, "load_after": os.getloadavg()[0]}
    kept = {name: value for name, value in result_file.read(args.output).items() if name == "threads"}
    result_file.write(args.output, {**head, **result, **told, **kept})
    return 0


if __name__ == "__main__":
    sys.exit(main())
