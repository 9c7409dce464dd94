"""What specialists say to strings that are none of theirs: prose of several languages, code, records, markup, log lines, noise.

    python -m benchmarks.ood                      # the shipped bundle
    python -m benchmarks.ood --bundle OLD_BUNDLE  # another version beside it

``benchmarks/data/ood.jsonl`` was written before ``tools.synth.ood``, which makes what OOD detectors are trained on, and shares
no sentence with it (but its lines of code, which were drawn from this repository later). One author wrote both, so kinds and forms are
alike, and the counts were seen while the heads' settings were chosen: no blind score. ``ood_later.jsonl`` was written when version 9
was done, other kinds and sentences of other languages, and counted once: that is one. Counted: answers with a score of one half or
more, and alarms at a false-positive rate of 1e-3. Base64 and identifiers may be a label, a file's name or an agent, so they are foreign
to few. Adds to ``benchmarks/results/ood.json``, one entry a bundle version; ``benchmarks.accuracy --render`` shows it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import result_file
from edge_demist import EdgeDemist

RESULTS = result_file.RESULTS / "ood.json"
STRINGS = Path(__file__).parent / "data" / "ood.jsonl"
LATER = STRINGS.with_name("ood_later.jsonl")
SURE = 0.5
RATE = 1e-3


def strings(path: Path = STRINGS) -> dict[str, list[str]]:
    """Texts by kind."""
    found: dict[str, list[str]] = {}
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        found.setdefault(row["kind"], []).append(row["text"])
    return found


def measure(model: EdgeDemist, kinds: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """By kind, how many strings there are; by task and kind, how many are answered with confidence, and how many alarm."""
    tasks: dict[str, dict[str, dict[str, int]]] = {}
    for task in model.tasks:
        alarm = model.specialist(task).kind == "alarm"
        tasks[task] = {}
        for kind, texts in kinds.items():
            sure = sum(answer.score >= SURE for answer in model.classify(texts, task=task))
            tasks[task][kind] = {"sure": sure}
            if alarm:
                raised = model.classify(texts, task=task, fpr=RATE)
                tasks[task][kind]["alarms"] = sum(answer.label in model.specialist(task).positive_labels for answer in raised)
    return {"strings": {kind: len(texts) for kind, texts in kinds.items()}, "tasks": tasks}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one bundle."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.ood", description=__doc__, formatter_class=raw)
    p.add_argument("--bundle", type=Path, default=None, help="bundle folder (default: the shipped one)")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    with EdgeDemist.load(args.bundle) as model:
        counted = {"bundle_id": model.bundle_id, **measure(model, strings()), "later": measure(model, strings(LATER))}
        found = result_file.read(args.out) | {str(model.bundle.version): counted}
    result_file.write(args.out, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
