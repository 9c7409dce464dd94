"""``edge-demist report``: incidents as one HTML file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_demist.cli.options import Example, command
from edge_demist.io import printable, replace_file
from edge_demist.sensor.incidents.told import read_incidents, read_objects
from edge_demist.sensor.report.page import build_report

EXAMPLES = (
    Example(
        'for i in 1 2 3 4 5 6; do printf \'%s%d%s%d%s\\n\' \'{"_path":"dns","id.orig_h":"10.0.0.7","ts":1700000000.\' $i \\\n'
        '  \',"rcode_name":"NXDOMAIN","query":"xjwqpvk\' $i \'zq.info"}\'; done > dns.log\n'
        "edge-demist watch --once --emit incidents --log off -o incidents.jsonl dns.log\n"
        "edge-demist report incidents.jsonl -o report.html",
        "report.html: 1 incident, … bytes",
    ),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    about = "Make one HTML file of incidents: time line, tables, evidence. It needs no network and sends nothing."
    parser = command(subparsers, "report", "show incidents as one HTML file", EXAMPLES, description=about)
    parser.add_argument("incidents", type=Path, metavar="FILE", help="what watch --emit incidents wrote")
    parser.add_argument("--events", type=Path, metavar="FILE", help="what watch --emit alarms wrote of the same logs")
    parser.add_argument("--title", default="Incidents", help="stands above it (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the HTML file to write")


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 2 if a file cannot be used."""
    incidents = read_incidents(args.incidents)
    page = build_report(incidents, read_objects(args.events) if args.events else (), title=args.title)
    replace_file(args.output, page, mode=0o640)
    many = f"{len(incidents)} incident{'s' if len(incidents) != 1 else ''}"
    sys.stdout.write(f"{printable(args.output)}: {many}, {len(page):,} bytes\n")
    return 0
