"""``edge-demist install-service``: print or write the systemd unit."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.io import printable
from edge_demist.sensor.service import UnitOptions, install_unit, render_unit

_DEFAULT = UnitOptions()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "install-service",
        help="print or install the systemd unit",
        description="A unit without network, users or devices, with limits and a watchdog.",
        epilog="examples:\n  edge-demist install-service --print /var/log/zeek\n  edge-demist install-service --alarms-per-day 5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help=f"logs to watch (default {' '.join(_DEFAULT.paths)})")
    parser.add_argument("--print", action="store_true", dest="print_only", help="print the unit and write nothing")
    parser.add_argument("--folder", type=Path, default=Path("/etc/systemd/system"), help="where to write it")
    parser.add_argument("--executable", default="", metavar="FILE", help="the edge-demist to run (default: this one)")
    parser.add_argument("--group", action="append", metavar="NAME", help="group that may read the logs (default adm)")
    parser.add_argument("--memory-max", default=_DEFAULT.memory_max, metavar="SIZE", help="MemoryMax (default 256M)")
    parser.add_argument("--cpu-quota", type=int, default=_DEFAULT.cpu_quota, metavar="PERCENT", help="CPUQuota (default 50)")
    parser.add_argument("--alarms-per-day", type=int, default=20, metavar="N", help="budget of alarms (default 20)")
    parser.add_argument("--bundle", default="", metavar="DIR", help="model bundle (default: the one that is installed)")
    parser.add_argument("--require-signature", default="", metavar="KEY", help="refuse a bundle that this public key has not signed")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 1 if the unit cannot be written, 2 for wrong usage."""
    named = (("--bundle", args.bundle), ("--require-signature", args.require_signature))
    executable = args.executable or shutil.which("edge-demist") or _DEFAULT.executable
    for option, value in named:
        if value and not value.startswith("/"):
            sys.stderr.write(f"edge-demist install-service: {option} {printable(value)}: an absolute path is needed in a unit file\n")
            return 2
    try:
        options = UnitOptions(
            paths=tuple(args.paths) or _DEFAULT.paths,
            executable=executable,
            groups=tuple(args.group or _DEFAULT.groups),
            memory_max=args.memory_max,
            cpu_quota=args.cpu_quota,
            extra=("--emit", "alarms", "--alarms-per-day", str(args.alarms_per_day), *(x for pair in named if pair[1] for x in pair)),
        )
    except InputError as error:
        sys.stderr.write(f"edge-demist install-service: {printable(error)}\n")
        return 2
    if args.print_only:
        sys.stdout.write(render_unit(options))
        return 0
    try:
        path = install_unit(options, args.folder)
    except OSError as error:
        sys.stderr.write(f"edge-demist install-service: {printable(error.filename)}: {error.strerror}; run as root, or use --print\n")
        return 1
    sys.stdout.write(f"wrote {path}; now: systemctl daemon-reload && systemctl enable --now {path.name}\n")
    return 0
