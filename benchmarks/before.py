"""``watch --once`` of an earlier revision and of this one, in turns: processor time a record, memory, start.

    python -m benchmarks.before --revision 8177e0f --log ../shared/data/raw/*.gz --names names.txt [--rounds 3]

The earlier revision runs from its own files with its own bundle, so what is compared is what a user of either has. Every log
is repeated to ``RECORDS`` records (to ``MANY_RECORDS`` where a record costs little), so that the two ways of a record are seen
beside the model's answers, most of which both remember; the made log of new names is what the encoder costs. ``ratio`` is the
median over the rounds of how many times as fast this revision is; processor time is that of the whole process less that of a
run over an empty log.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import markdown, result_file
from edge_demist.diagnostics.sensor import WATCH, dns_log
from tools import facts

RECORDS, MANY_RECORDS = 8_000, 80_000
NEW_NAMES = 8_000
SIDES = ("before", "now")
LITTLE = ("testsuite", "rdp", "smtp", "software")
"""Logs that are short, or hold few strings: documents give them in one sentence."""


def table(found: Mapping[str, Any]) -> str:
    """The cases as Markdown, for documents."""
    rows = []
    others = []
    for name, case in found["cases"].items():
        if any(word in name for word in LITTLE):
            others.append(case["ratio"])
            continue
        cells = (f"{case[side]['cpu_us_per_record']:.1f}" for side in SIDES)
        rows.append((name, *cells, f"{case['ratio']:.2f}", f"{case['now']['max_rss_bytes'] / 1e6:.0f}"))
    start = found["start"]
    seconds, memory = ([start[side][name] for side in SIDES] for name in ("cpu_seconds", "max_rss_bytes"))
    said = f"A start takes {seconds[0]:.2f} s of processor time and {memory[0] / 1e6:.0f} MB before, {seconds[1]:.2f} s and "
    header = ("log, written", "before, µs a record", "now", "times as fast", "MB now")
    rounds = found["rounds"]
    rest = f" The {len(others)} logs with few strings go {min(others):.2f} to {max(others):.2f} times as fast." if others else ""
    rest += f" Median of {rounds} rounds." if rounds > 1 else " One round of each."
    return f"{markdown.table(header, rows)}\n\n{said}{memory[1] / 1e6:.0f} MB now.{rest}"


def unpack(revision: str, folder: Path) -> str:
    """The package of a revision into a folder; its commit."""
    commit = subprocess.run(["git", "rev-parse", revision], cwd=facts.ROOT, capture_output=True, text=True, check=True).stdout.strip()
    packed = subprocess.run(["git", "archive", commit, "edge_demist"], cwd=facts.ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    return commit


def repeated(path: Path, folder: Path) -> tuple[Path, int]:
    """A log with its lines over and over, header lines once; how many records."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = data.splitlines(keepends=True)
    head = [line for line in lines if line.startswith(b"#") and not line.startswith(b"#close")]
    body = [line for line in lines if not line.startswith(b"#")]
    wanted = MANY_RECORDS if any(word in path.name for word in LITTLE) else RECORDS
    times = -(-wanted // max(len(body), 1))
    target = folder / path.name.removesuffix(".gz")
    target.write_bytes(b"".join(head + body * times))
    return target, times * len(body)


def watch(package: Path, log: Path, emit: str, folder: Path) -> tuple[float, int]:
    """Processor seconds and largest memory of one run."""
    command = [sys.executable, "-c", WATCH, "watch", str(log), "--once", "-o", str(folder / "events"), "--log", "off", "--emit", emit]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(package)}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")  # an installed package is compiled
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=package, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{package}: watch {log} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, 1024 * int(printed.split()[-1])


def measure(packages: Mapping[str, Path], logs: Mapping[str, tuple[Path, int, str]], rounds: int, folder: Path) -> Iterator[dict[str, Any]]:
    """All cases on both sides in turns, after each round; ``logs``: file, records and what to emit, by the case's name."""
    runs: dict[str, dict[str, list[tuple[float, int]]]] = {name: {side: [] for side in SIDES} for name in logs}
    for side in SIDES:
        watch(packages[side], *logs["start"][::2], folder)
    for number in range(rounds):
        for name, (log, _, emit) in logs.items():
            sys.stderr.write(f"round {number + 1} of {rounds}: {name}\n")
            for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                runs[name][side].append(watch(packages[side], log, emit, folder))
        yield {"rounds": number + 1, **_rows(runs, {name: records for name, (_, records, _) in logs.items()})}


def _rows(runs: Mapping[str, Mapping[str, list[tuple[float, int]]]], records: Mapping[str, int]) -> dict[str, Any]:
    """Medians of the rounds so far."""
    empty = {side: statistics.median(seconds for seconds, _ in runs["start"][side]) for side in SIDES}
    cases = {}
    for name in runs.keys() - {"start"}:
        net = {side: [seconds - empty[side] for seconds, _ in runs[name][side]] for side in SIDES}
        ratio = statistics.median([a / b for a, b in zip(net["before"], net["now"], strict=True)])
        sides = {side: _row(runs[name][side], net[side], records[name]) for side in SIDES}
        cases[name] = {**sides, "records": records[name], "ratio": round(ratio, 3)}
    return {"start": {side: _row(runs["start"][side], [0.0], 1) for side in SIDES}, "cases": cases}


def _row(runs: Sequence[tuple[float, int]], net: Sequence[float], records: int) -> dict[str, Any]:
    return {
        "cpu_seconds": round(statistics.median(seconds for seconds, _ in runs), 3),
        "cpu_us_per_record": round(statistics.median(net) * 1e6 / records, 2),
        "max_rss_bytes": max(memory for _, memory in runs),
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--revision", required=True, help="the earlier commit")
    parser.add_argument("--log", type=Path, required=True, nargs="+", help="logs, each measured by itself")
    parser.add_argument("--names", type=Path, help="distinct host names, one a line: a made dns.log")
    parser.add_argument("--emit", default="all", help="what is written, with commas between")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=result_file.RESULTS / "before.json")
    args = parser.parse_args()
    head = facts.head("benchmarks.before")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "before").mkdir()
        commit = unpack(args.revision, folder / "before")
        logs: dict[str, tuple[Path, int, str]] = {"start": (dns_log(folder / "empty.log", []), 0, "all")}
        made = {path.name.removesuffix(".gz"): repeated(path, folder) for path in args.log}
        if args.names is not None:
            names = list(dict.fromkeys(args.names.read_text(encoding="utf-8").split()))
            random.Random(0).shuffle(names)
            made["new names"] = dns_log(folder / "new.log", names[:NEW_NAMES]), min(NEW_NAMES, len(names))
        for emit in args.emit.split(","):
            logs |= {f"{name}, {emit}": (*found, emit) for name, found in made.items()}
        for result in measure({"before": folder / "before", "now": facts.ROOT}, logs, args.rounds, folder):
            result_file.write(args.output, {**head, "revision": commit, "load_after": os.getloadavg()[0], **result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
