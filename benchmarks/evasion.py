"""Evasion: how many true alarms survive one simple change that keeps the attack working, and how many harmless strings become alarms.

    python -m benchmarks.evasion --out benchmarks/results/evasion.json        # the installed bundle
    python -m benchmarks.evasion --bundle DIR --out FILE --text               # and the table

Attacks and harmless strings are of our own making (``data/evasion``), in no training; the changes are those of ``tools.synth.evasion``,
of which training makes one part as well, on other strings and from other seeds, and the other part nowhere.  Only attacks that alarm
untouched at the shipped threshold for 1e-3 count.  Leaves to the documents how the result is shown, but for ``table``.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import result_file
from edge_demist import EdgeDemist
from tools.synth import evasion

DATA = Path(__file__).resolve().parent / "data" / "evasion"
FLOOR, MEAN_FLOOR = 0.90, 0.95
"""Share of alarms that every change must leave, and that they leave on average."""


def strings(task: str, *, harmless: bool = False) -> list[str]:
    """The attacks of a task, or its harmless strings."""
    return (DATA / f"{task}{'.harmless' if harmless else ''}.txt").read_text(encoding="utf-8").splitlines()


def untouched(task: str, text: str) -> str:
    """A string as it stands before any change: values of uri-attack behind a parameter."""
    return f"/item?id={evasion.escaped(text)}" if task == "uri-attack" else text


def alarms(model: EdgeDemist, task: str, texts: Sequence[str]) -> list[bool]:
    """Whether each text alarms at the shipped threshold for 1e-3."""
    return [bool(answer.alarm) for answer in model.classify(list(texts), task=task)] if texts else []


def count(model: EdgeDemist, task: str, seed: int) -> dict[str, Any]:
    """Alarms of a task, untouched and under each change."""
    attacks, harmless = strings(task), strings(task, harmless=True)
    plain = alarms(model, task, [untouched(task, text) for text in attacks])
    found = [text for text, alarm in zip(attacks, plain, strict=True) if alarm]
    changes = {}
    for name, change in {**evasion.CHANGES[task], **evasion.FURTHER[task]}.items():
        cells = []
        for texts in (found, harmless):
            rng = random.Random(f"{seed} {name}")
            changed = [new for text in texts if (new := change(rng, text)) is not None]
            cells += [len(changed), sum(alarms(model, task, changed))]
        changes[name] = dict(zip(("attacks", "alarms", "harmless", "false_alarms"), cells, strict=True))
    return {
        "attacks": len(attacks),
        "alarms": len(found),
        "missed": [text for text, alarm in zip(attacks, plain, strict=True) if not alarm],
        "harmless": len(harmless),
        "false_alarms": sum(alarms(model, task, [untouched(task, text) for text in harmless])),
        "changes": changes,
    }


def measure(model: EdgeDemist, tasks: Sequence[str] = tuple(evasion.CHANGES), seed: int = 20) -> dict[str, Any]:
    """The counts of all tasks."""
    return {
        "bundle": model.bundle_id,
        "version": model.bundle.version,
        "seed": seed,
        "floor": FLOOR,
        "mean_floor": MEAN_FLOOR,
        "tasks": {task: count(model, task, seed) for task in tasks},
    }


def shares(counted: dict[str, Any]) -> dict[str, float]:
    """Share of attacks that still alarm, by change that applies to any."""
    return {name: cell["alarms"] / cell["attacks"] for name, cell in counted["changes"].items() if cell["attacks"]}


def table(result: dict[str, Any]) -> str:
    """Markdown: a row a task, then the changes that leave less than the mean's floor."""
    lines = [
        "| task | attacks that alarm untouched | changes | still alarm, mean | worst change | harmless alarms untouched / changed |",
        "|---|---|---|---|---|---|",
    ]
    weak = []
    for task, counted in result["tasks"].items():
        found = shares(counted)
        worst = min(found, key=found.__getitem__)
        cells = counted["changes"].values()
        before = f"{counted['false_alarms']} of {counted['harmless']}"
        after = f"{sum(c['false_alarms'] for c in cells)} of {sum(c['harmless'] for c in cells)}"
        lines.append(
            f"| {task} | {counted['alarms']} of {counted['attacks']} | {len(found)} | {sum(found.values()) / len(found):.1%} "
            f"| {worst}: {found[worst]:.0%} | {before} / {after} |"
        )
        weak += [f"{task}, {name}: {share:.0%}" for name, share in sorted(found.items(), key=lambda x: x[1]) if share < MEAN_FLOOR]
    lines += ["", f"Changes that leave less than {MEAN_FLOOR:.0%}: {'; '.join(weak) or 'none'}."]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result file."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.evasion", description=__doc__, formatter_class=raw)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--task", nargs="*", default=list(evasion.CHANGES), choices=list(evasion.CHANGES), help="tasks (default: all)")
    p.add_argument("--out", type=Path, default=result_file.RESULTS / "evasion.json", metavar="FILE", help="result file")
    p.add_argument("--seed", type=int, default=20)
    p.add_argument("--text", action="store_true", help="print the table")
    args = p.parse_args(argv)
    with EdgeDemist.load(args.bundle) as model:
        result = measure(model, args.task, args.seed)
    result_file.write(args.out, result)
    if args.text:
        sys.stdout.write(table(result) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
