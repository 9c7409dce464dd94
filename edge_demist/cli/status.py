"""``edge-demist status``: how far ``watch`` has come."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edge_demist.cli.options import Example, add_json, command, need_linux
from edge_demist.errors import EdgeDemistError
from edge_demist.io import printable
from edge_demist.sensor.service import installed_state
from edge_demist.sensor.status import read_status, render_status

EXAMPLES = (
    Example(
        'printf \'{"_path": "dns", "ts": 1.5, "query": "kernel.org"}\\n\' > dns.log\n'
        "edge-demist watch --once --log off --state state -o events.jsonl dns.log\n"
        "edge-demist status --state state",
        "checkpoint  …\nlag         0 bytes in all; …",
    ),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = command(subparsers, "status", "show how far watch has come", EXAMPLES, description="Read a checkpoint, print the lag.")
    parser.add_argument("--state", type=Path, metavar="DIR", help="the folder given to watch --state (default: the service's)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 1 if the checkpoint is damaged, 2 if there is none."""
    need_linux("status")
    state = args.state or installed_state()
    if state is None:
        sys.stderr.write("edge-demist status: no service is installed here; give --state DIR\n")
        return 2
    try:
        status = read_status(state)
    except (OSError, EdgeDemistError) as error:
        sys.stderr.write(f"edge-demist status: {printable(error)}\n")
        return 2
    sys.stdout.write(json.dumps(status, indent=2) + "\n" if args.json else render_status(status))
    return 1 if status["problems"] else 0
