"""``edge-demist ask``: the strings whose labels would help most."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edge_demist.cli.options import Example, add_bundle, command, number
from edge_demist.model import EdgeDemist
from edge_demist.sensor.asking import choose, label_studio
from edge_demist.sensor.incidents.told import read_objects

EXAMPLES = (
    Example(
        'printf \'%s\\n\' \'{"_path": "dns", "ts": 1.5, "query": "kernel.org"}\' \\\n'
        '  \'{"_path": "dns", "ts": 2.5, "query": "xjwqpvkz.info"}\' > dns.log\n'
        "edge-demist watch --once --log off -o events.jsonl dns.log\n"
        "edge-demist ask --n 1 --task dga events.jsonl",
        '{"text": "…", "task": "dga", "label": null, …}',
    ),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    about = "Choose strings that a specialist is unsure of, few of a kind; label them and train with them."
    parser = command(subparsers, "ask", "choose the strings whose labels would help most", EXAMPLES, description=about)
    parser.add_argument("events", type=Path, metavar="FILE", help="what watch --emit all wrote")
    parser.add_argument("--n", type=number(1, whole=True), default=50, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--task", default="", metavar="TASK", help="of this specialist only")
    parser.add_argument("--label-studio", action="store_true", help="write tasks for Label Studio instead of JSONL")
    add_bundle(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 2 if the file cannot be read."""
    rows = choose(read_objects(args.events), args.n, args.task)
    if args.label_studio:
        with EdgeDemist.load(args.bundle) as model:
            known = {task: tuple(model.specialist(task).labels) for task in model.tasks}
        sys.stdout.write(json.dumps(label_studio(rows, known), indent=1) + "\n")
        return 0
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")
    return 0
