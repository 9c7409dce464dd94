"""``python -m tools.synth NAME --n 20 --seed 1`` prints generated rows, or augments standard input, as JSON lines.

An augmentation reads one JSON object with ``text`` and ``label`` a line.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence

from tools.synth import AUGMENTATIONS, GENERATORS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.synth", description="Print generated training rows as JSON lines.")
    parser.add_argument("name", choices=sorted({*GENERATORS, *(f"augment-{name}" for name in AUGMENTATIONS)}))
    parser.add_argument("--n", type=int, default=20, help="rows to generate (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default 0)")
    args = parser.parse_args(argv)
    rng = random.Random(args.seed)
    if args.name in GENERATORS:
        for text, label, family in GENERATORS[args.name](rng, args.n):
            sys.stdout.write(json.dumps({"text": text, "label": label, "family": family}, ensure_ascii=False) + "\n")
        return 0
    augment = AUGMENTATIONS[args.name.removeprefix("augment-")]
    for line in sys.stdin:
        row = json.loads(line)
        sys.stdout.write(json.dumps({**row, "text": augment(rng, row["text"], row["label"])}, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
