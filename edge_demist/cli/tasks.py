"""``edge-demist tasks``: the specialists of a bundle."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edge_demist.format.bundle import Bundle
from edge_demist.format.specialist import load_specialist
from edge_demist.io import shown


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "tasks",
        help="list the specialists",
        description=__doc__,
        epilog="examples:\n  edge-demist tasks\n  edge-demist tasks --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with labels and thresholds")
    parser.add_argument("--bundle", type=Path, default=None, metavar="DIR", help="bundle folder (default: the one in the package)")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    bundle = Bundle.load(args.bundle)
    for task in bundle.tasks:
        s = load_specialist(bundle, task)
        if args.json:
            thresholds = {k: dict(v) for k, v in s.thresholds.items()}
            record = {"task": task, "kind": s.kind, "labels": s.labels, "positive_labels": s.positive_labels, "normalizer": s.normalizer}
            print(json.dumps({**record, "max_tokens": s.max_tokens, "thresholds": thresholds}))
        else:
            names = ", ".join(shown(label, 60) for label in s.labels[:6]) + (f", … ({len(s.labels)} labels)" if len(s.labels) > 6 else "")
            print(f"{task:<20}{s.kind:<10}{names}")
    return 0
