"""``edge-demist status``: how far ``watch`` has come."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edge_demist.errors import EdgeDemistError
from edge_demist.io import printable
from edge_demist.sensor.status import read_status, render_status


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "status",
        help="show how far watch has come",
        description="Read a checkpoint, print the lag.",
        epilog="examples:\n  edge-demist status --state /var/lib/edge-demist\n  edge-demist status --state state --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the folder given to watch --state")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 1 if the checkpoint is damaged, 2 if there is none."""
    try:
        status = read_status(args.state)
    except (OSError, EdgeDemistError) as error:
        sys.stderr.write(f"edge-demist status: {printable(error)}\n")
        return 2
    sys.stdout.write(json.dumps(status, indent=2) + "\n" if args.json else render_status(status))
    return 1 if status["problems"] else 0
