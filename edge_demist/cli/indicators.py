"""``edge-demist indicators``: what incidents found, for Suricata and Zeek."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from edge_demist.cli.options import Example, command, number
from edge_demist.errors import InputError
from edge_demist.io import replace_file
from edge_demist.sensor.incidents.told import read_incidents
from edge_demist.sensor.indicators import SuricataSocket, indicators, suricata_dataset, zeek_intel
from edge_demist.sensor.sources.timestamps import parse_time

EXAMPLES = (
    Example(
        "now=$(date +%s)\n"
        'for i in 1 2 3 4 5 6; do printf \'%s%d%s%d%s\\n\' \'{"_path":"dns","id.orig_h":"10.0.0.7","ts":\' $now \\\n'
        '  \',"rcode_name":"NXDOMAIN","query":"xjwqpvk\' $i \'zq.info"}\'; done > dns.log\n'
        "edge-demist watch --once --emit incidents --log off -o incidents.jsonl dns.log\n"
        "edge-demist indicators incidents.jsonl --zeek-intel edge-demist.intel --suricata-dataset edge-demist.lst",
        "6 indicators\n",
    ),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    about = "Write domains and addresses of incidents for Suricata and Zeek; expired ones are left out. Run it by a timer."
    parser = command(subparsers, "indicators", "give what incidents found to Suricata and Zeek", EXAMPLES, description=about)
    parser.add_argument("incidents", type=Path, metavar="FILE", help="what watch --emit incidents wrote")
    parser.add_argument("--suricata-dataset", type=Path, metavar="OUT", help="file of a dataset of type string")
    parser.add_argument("--suricata-socket", type=Path, metavar="SOCKET", help="add the names to a running Suricata as well")
    parser.add_argument("--dataset", default="edge-demist", help="name of the dataset there (default: %(default)s)")
    parser.add_argument("--zeek-intel", type=Path, metavar="OUT", help="file for Intel::read_files")
    parser.add_argument("--expire-days", type=number(0), default=7.0, metavar="N", help="days after an incident's last sign (default: 7)")
    parser.add_argument("--min-score", type=number(0, 1), default=0.7, metavar="P", help="least score of an incident (default: 0.7)")
    parser.add_argument("--now", default="", metavar="TIME", help="time to expire by (default: the clock)")


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 1 if Suricata refused a name, 2 for wrong usage."""
    if not (args.suricata_dataset or args.suricata_socket or args.zeek_intel):
        raise InputError("indicators needs --suricata-dataset, --suricata-socket or --zeek-intel")
    now_us = parse_time(args.now) if args.now else time.time_ns() // 1000
    if now_us is None:
        raise InputError(f"--now {args.now!r} is not a time")
    items = indicators(read_incidents(args.incidents), days=args.expire_days, now_us=now_us, min_score=args.min_score)
    if args.suricata_dataset:
        replace_file(args.suricata_dataset, suricata_dataset(items).encode(), mode=0o640)
    if args.zeek_intel:
        replace_file(args.zeek_intel, zeek_intel(items).encode(), mode=0o640)
    refused = 0
    if args.suricata_socket:
        channel = SuricataSocket(args.suricata_socket)
        try:
            refused = sum(not channel.add(item, args.dataset) for item in items if not item.is_address)
        finally:
            channel.close()
    sys.stdout.write(f"{len(items)} indicators\n")
    if refused:
        sys.stderr.write(f"edge-demist indicators: Suricata did not take {refused} of them (there already, or no such dataset)\n")
    return 1 if refused else 0
