"""Strings that people know by heart, and what the model makes of them: what anybody tries first on a new classifier.

    python -m benchmarks.sanity --data DATA                     # the shipped bundle
    python -m benchmarks.sanity --data DATA --bundle OLD_BUNDLE # another version beside it

``benchmarks/data/sanity/<task>.jsonl`` was written from general knowledge, everyday strings and classic hostile ones, without a look at
tables, lists or errors of this project. The numbers are worth something only while nobody trains on these strings or looks at those that
a model gets wrong: only counts by label are kept. Tunnels and most DGA names come from a script that imitates known tools; labels
are one author's judgement. DATA says how many of them the training tables hold all the same. Adds to
``benchmarks/results/sanity.json``, one entry a bundle version; ``benchmarks.accuracy --render`` shows it.
"""

from __future__ import annotations

import argparse
import collections
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks import result_file
from edge_demist import EdgeDemist
from tools.train.data import read_table

RESULTS = result_file.RESULTS / "sanity.json"
STRINGS = Path(__file__).parent / "data" / "sanity"


def strings(task: str) -> list[tuple[str, str]]:
    """Texts and labels of a task."""
    rows = [json.loads(line) for line in (STRINGS / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(row["text"], row["label"]) for row in rows]


def tasks() -> list[str]:
    """Tasks that have a file."""
    return sorted(path.stem for path in STRINGS.glob("*.jsonl"))


def measure(model: EdgeDemist, data: Path) -> dict[str, object]:
    """Right answers and strings by task and label, and how many strings the task's training table holds."""
    found: dict[str, object] = {"bundle_id": model.bundle_id}
    for task in tasks():
        rows = strings(task)
        right: collections.Counter[str] = collections.Counter()
        for (_, label), answer in zip(rows, model.classify([text for text, _ in rows], task=task), strict=True):
            right[label] += answer.label == label
        held = set(read_table(data, task, "train")["text"])
        found[task] = {
            "labels": {label: [right[label], n] for label, n in sorted(collections.Counter(label for _, label in rows).items())},
            "in_train": sum(text in held for text, _ in rows),
        }
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one bundle."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.sanity", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/")
    p.add_argument("--bundle", type=Path, default=None, help="bundle folder (default: the shipped one)")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    with EdgeDemist.load(args.bundle) as model:
        found = result_file.read(args.out) | {str(model.bundle.version): measure(model, args.data)}
    result_file.write(args.out, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
