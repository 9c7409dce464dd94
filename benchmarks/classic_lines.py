"""Classic command lines by technique: how many alarm, of techniques that train and of those held out, and the ordinary lines beside them.

    python -m benchmarks.classic_lines                         # the installed bundle
    python -m benchmarks.classic_lines --bundle DIR --text     # and the groups

Lines of ``tools.synth.cmdline_classic``, drawn with a seed of their own; groups held out train nothing. Alarms at the shipped threshold
for 1e-3. Other word lists hold lines of the same techniques in other words; ``benchmarks.ordinary`` counts on real script lines.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import result_file
from edge_demist import EdgeDemist
from tools.synth import cmdline_classic

RESULTS = result_file.RESULTS / "classic-lines.json"
RATE = 1e-3


def measure(model: EdgeDemist, n: int, seed: int) -> dict[str, Any]:
    """Lines and alarms by file, part and group."""
    found: dict[str, Any] = {"bundle_id": model.bundle_id, "version": str(model.bundle.version), "seed": seed, "rate": RATE}
    for name, file in (("attack", cmdline_classic.ATTACK), ("ordinary", cmdline_classic.ADMIN)):
        for part, held in (("trained", False), ("held out", True)):
            rows = list(dict.fromkeys(cmdline_classic.lines(random.Random(f"classic {seed} {part}"), n, file, held)))
            answers = model.classify([text for text, *_ in rows], task="cmdline", fpr=RATE)
            groups: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
            for (_, _, group), answer in zip(rows, answers, strict=True):
                groups[group][0] += bool(answer.alarm)
                groups[group][1] += 1
            alarms = sum(count for count, _ in groups.values())
            found.setdefault(name, {})[part] = {"lines": len(rows), "alarms": alarms, "groups": dict(sorted(groups.items()))}
    return found


def table(result: dict[str, Any]) -> str:
    """A row a group: alarms of lines."""
    lines = []
    for name in ("attack", "ordinary"):
        for part, counted in result[name].items():
            lines.append(f"{name}, {part}: {counted['alarms']} of {counted['lines']}")
            lines += [f"  {group}: {alarms} of {count}" for group, (alarms, count) in counted["groups"].items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result file."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.classic_lines", description=__doc__, formatter_class=raw)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--out", type=Path, default=RESULTS, metavar="FILE", help="result file")
    p.add_argument("--lines", type=int, default=1500, help="lines to draw of each file and part")
    p.add_argument("--seed", type=int, default=29)
    p.add_argument("--text", action="store_true", help="print the groups")
    args = p.parse_args(argv)
    with EdgeDemist.load(args.bundle) as model:
        result = measure(model, args.lines, args.seed)
    result_file.write(args.out, result)
    if args.text:
        sys.stdout.write(table(result) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
