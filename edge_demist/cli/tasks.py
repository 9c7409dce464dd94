"""``edge-demist tasks``: the specialists of a bundle."""

from __future__ import annotations

import argparse
import json
from typing import Any

from edge_demist.cli.options import Example, add_bundle, add_json, command
from edge_demist.format.bundle import Bundle
from edge_demist.format.specialist import load_specialist
from edge_demist.io import shown

EXAMPLES = (
    Example(
        "edge-demist tasks | head -n 3", "cmdline             alarm     benign, malicious\ndga                 alarm     dga, legit\n…"
    ),
    Example("edge-demist tasks --json | head -n 1", '{"task": "cmdline", "kind": "alarm", "labels": ["benign", "malicious"], …}'),
)


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    add_options(command(subparsers, "tasks", "list the specialists", EXAMPLES, description=__doc__ or ""))


def add_options(parser: Any) -> None:
    """Its options, which ``bundle list`` has as well."""
    add_json(parser, "one JSON object a line, with labels and thresholds")
    add_bundle(parser)


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
