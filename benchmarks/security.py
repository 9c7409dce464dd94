"""Tables of the page on security: what was found and the tests that hold it, the siege, the counts of the fuzzers.

Read from ``tests/attacks/findings.toml``, ``results/siege.json`` (``python -m tools.sensor.siege``) and ``results/fuzz.json``
(``python -m tools.fuzz``).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from benchmarks.markdown import table

TESTS = Path(__file__).resolve().parent.parent / "tests"
TARGETS = {
    "bundles": "mutants of a bundle, loaded and used",
    "strings": "strings (unless said, each through one specialist and three in a hundred through all)",
    "logs": "folders of hostile logs",
    "times": "logs and states with times of any kind",
    "states": "state folders",
    "kits": "offline kits",
    "pieces": "strings of up to 256 kB tokenized beside SentencePiece",
}
VARIANTS = {
    "shipped": "the shipped bundle itself",
    "all": "each through every specialist",
    "guard-end": "a page behind each buffer that may not be touched",
    "guard-begin": "such a page before it",
}


def findings() -> str:
    """Every finding, what holds now, and its tests."""
    rows = []
    for entry in tomllib.loads((TESTS / "attacks" / "findings.toml").read_text(encoding="utf-8"))["finding"]:
        links = [f"[{name.removeprefix('test_').replace('_', ' ')}](../../tests/{file})" for file, _, name in _split(entry["tests"])]
        rows.append([entry["number"], entry["what"], entry["now"], ", ".join(links)])
    return table(["", "found", "now", "held by"], rows)


def _split(tests: list[str]) -> list[tuple[str, str, str]]:
    return [test.partition("::") for test in tests]


def siege(found: dict[str, Any]) -> str:
    """Each scenario under the unit's limits."""
    rows = []
    for entry in found["scenarios"].values():
        both = entry["sessions"]
        silence, ended, peak = (max(one[key] or 0 for one in both) for key in ("longest_silence_s", "ended_after_s", "peak_rss_mb"))
        judged = f"{entry['owed']:,}" if entry["holds"] else "does not hold"
        rows.append([entry["what"].rstrip("."), f"{silence:.1f} s", f"{ended:.1f} s", f"{peak} MB", judged])
    return table(["attack", "longest silence", "ended after SIGTERM", "most memory", "records owed, all judged"], rows)


def fuzz(found: dict[str, Any]) -> str:
    """Cases of every fuzzer so far."""
    rows = []
    for name, total in found["totals"].items():
        target, _, rest = name.partition("-")
        variant, _, level = rest.partition("-x86_64_")
        how = ", ".join(filter(None, (VARIANTS.get(variant, variant), level)))
        rows.append([TARGETS[target], how or "–", f"{total['items']:,}", f"{total['bad']:,}"])
    return table(["what", "how", "tried", "wrong"], rows)


STEPS = {
    "model": "the model",
    "answers": "asked once about everything; the cache of answers is full",
    "memories": "strings and hosts",
    "looks": "vectors of earlier events",
    "addresses": "names of addresses, look-ups for mail",
    "names": "generated names",
    "zones": "tunnels",
    "contacts": "contacts",
    "scans": "scans",
    "waiting": "records that wait for older ones",
    "checkpoint": "the state has been written",
}


def full_tables(found: dict[str, Any]) -> str:
    """What is resident of one process as its tables are filled one after the other."""
    rows = [[STEPS[step], f"{size} MB"] for step, size in found["resident_mb"].items()]
    most = found["most_mb"]
    rows += [["the most, while the state is written", f"{most['full']} MB"], ["the most of a start on that state", f"{most['start']} MB"]]
    return table(["one process, table after table", "resident"], rows)
