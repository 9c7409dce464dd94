"""Runs hostile cases in processes of their own, with limits, and counts what became of them.

    python -m tools.fuzz bundles --count 2000
    python -m tools.fuzz strings --seconds 600 --on --json benchmarks/results/fuzz.json
    FUZZ_BUNDLE=shipped python -m tools.fuzz strings --seconds 600   # instead of its miniature
    FUZZ_TASKS=all python -m tools.fuzz strings --count 100          # each string through every specialist
    FUZZ_GUARD=end EDGE_DEMIST_KERNEL=x86_64_avx2 python -m tools.fuzz strings --count 50

A case that fails is printed with its number: ``--first NUMBER --count 1`` does it again, ``--here`` without a process of its own.
What was found so far stands in ``corpus.json`` and is tried by the tests. Exit codes: 0 nothing found, 1 something, 2 usage.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

TARGETS = ("bundles", "logs", "times", "states", "kits", "strings", "pieces")
MEMORY = 3 << 30
CASE_CPU_S, CASE_S = 60, 300
"""A case that takes longer has failed: processor seconds, and seconds, which also pass while a busy machine runs something else."""
LIMITS = ((signal.ITIMER_PROF, CASE_CPU_S), (signal.ITIMER_REAL, CASE_S))
CORPUS = Path(__file__).with_name("corpus.json")


def make(name: str, folder: Path) -> object:
    """The target of that name."""
    return importlib.import_module(f"tools.fuzz.{name}").Target(folder)


def outcome(target: object, seed: int) -> str:
    """What became of one case."""
    try:
        return str(target.run(seed))  # type: ignore[attr-defined]
    except MemoryError:
        return "BAD MemoryError"
    except Exception as error:  # whatever it is, it should have been an error of ours
        return f"BAD {type(error).__name__}: {str(error)[:120]}"


def work(name: str, first: int, last: int, pipe: int, until: float) -> None:
    """Do cases until the last, in this process; each is announced and then told."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder, os.fdopen(pipe, "w", buffering=1) as told:
        target = make(name, Path(folder))
        for seed in range(first, last):
            if time.monotonic() > until:
                break
            told.write(f"{seed}\n")
            for timer, most in LIMITS:
                signal.setitimer(timer, most)
            result = outcome(target, seed)
            for timer, _ in LIMITS:
                signal.setitimer(timer, 0)
            told.write(f"{seed} {json.dumps(result)}\n")


def run(name: str, first: int, count: int, seconds: float) -> tuple[Counter[str], dict[str, int], int]:
    """All cases; a process that dies costs one. Returns counts, an example of each bad outcome, and how many were done."""
    counts: Counter[str] = Counter()
    examples: dict[str, int] = {}
    at, last, until, done = first, first + count, time.monotonic() + seconds, 0
    while at < last and time.monotonic() < until:
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(out)
            try:
                work(name, at, last, into, until)
            except BaseException as error:
                os.write(2, f"worker: {error!r}\n".encode())
                os._exit(3)
            os._exit(0)
        os.close(into)
        open_seed = -1
        with os.fdopen(out) as told:
            for line in told:
                seed, _, result = line.rstrip("\n").partition(" ")
                open_seed = int(seed) if not result else -1
                if result:
                    done += 1
                    counts[json.loads(result)] += 1
                    examples.setdefault(json.loads(result), int(seed))
                at = int(seed) + 1
        _, status = os.waitpid(child, 0)
        if status == 0:
            break
        if open_seed < 0:
            raise SystemExit(f"the worker ended with {status} outside of a case")
        how = f"BAD signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"BAD exit {os.WEXITSTATUS(status)}"
        done += 1
        counts[how] += 1
        examples.setdefault(how, open_seed)
    return counts, {what: seed for what, seed in examples.items() if what.startswith("BAD")}, done


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first case")
    parser.add_argument("--on", action="store_true", help="go on after the last case of the result file")
    parser.add_argument("--count", type=int, default=1 << 60, metavar="N", help="how many (default: as many as there is time for)")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="stop after so long (default 60)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the counts to this result file")
    parser.add_argument("--here", action="store_true", help="in this process, with tracebacks")
    args = parser.parse_args()
    if args.here:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(f"{make(args.target, Path(folder)).run(args.first)}\n")  # type: ignore[attr-defined]
        return 0
    side, level = os.environ.get("FUZZ_GUARD", ""), os.environ.get("EDGE_DEMIST_KERNEL", "")
    chosen = (os.environ.get(name, "") for name in ("FUZZ_BUNDLE", "FUZZ_TASKS"))
    what = "-".join(filter(None, (args.target, *chosen, side and f"guard-{side}", level)))
    first, began = last_case(args.json, what) if args.on else args.first, time.monotonic()
    counts, bad, done = run(args.target, first, args.count, args.seconds)
    weight = importlib.import_module(f"tools.fuzz.{args.target}").Target.weight
    facts = {
        "cases": done,
        "items": done * weight,
        "seconds": round(time.monotonic() - began),
        "outcomes": dict(counts.most_common()),
        "bad": bad,
    }
    sys.stdout.write(json.dumps({what: facts}, indent=1) + "\n")
    if args.json:
        save(args.json, what, first, facts)
    return 1 if bad else 0


def known_runs(path: Path | None) -> dict[str, Any]:
    """The result file so far."""
    return json.loads(path.read_text()) if path and path.exists() else {"machine": platform.machine(), "runs": []}


def last_case(path: Path | None, what: str) -> int:
    """The first case of this kind that was not tried."""
    return max((entry["first"] + entry["cases"] for entry in known_runs(path)["runs"] if entry["what"] == what), default=0)


def save(path: Path, what: str, first: int, facts: dict) -> None:
    """Add a run to the result file: runs of other cases are added up, each run is kept."""
    known = known_runs(path)
    known["runs"].append({"what": what, "first": first, **facts})
    totals: dict[str, dict[str, int]] = {}
    for entry in known["runs"]:
        total = totals.setdefault(entry["what"], {"cases": 0, "items": 0, "bad": 0})
        for key in ("cases", "items"):
            total[key] += entry[key]
        total["bad"] += sum(entry["outcomes"][name] for name in entry["bad"])
    known["totals"] = totals
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    raise SystemExit(main())
