"""``edge-demist doctor``: does it work here, and is every answer the one that was proven?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..bench import machine
from ..doctor import bits, system
from ..doctor.result import Check

EXAMPLES = """examples:
  edge-demist doctor
  edge-demist doctor --json | jq '.checks[] | select(.state != "ok")'

exit codes: 0 nothing failed (notes and warnings allowed), 1 a check failed
"""
MARKS = {"ok": "ok  ", "note": "note", "warn": "WARN", "fail": "FAIL"}


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this installation and machine",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--bundle", type=Path, default=None, metavar="DIR", help="bundle folder (default: the one in the package)")


def checks(path: Path | None) -> Iterator[Check]:
    """All checks, in order."""
    yield system.check_cpu()
    yield system.check_libraries()
    bundle, opened = system.open_bundle(path)
    yield opened
    yield system.check_engine(bundle)
    yield from bits.check_levels(bundle)
    yield system.check_permissions(system.package_folders(bundle))
    yield system.check_writing()
    yield system.check_clock(str(bundle.manifest.get("created", "")) if bundle else None)
    yield system.check_memory(bundle)


def run(args: argparse.Namespace) -> int:
    """Run all checks and print them; 1 if one failed."""
    found = []
    for check in checks(args.bundle):
        found.append(check)
        if not args.json:
            print(f"{MARKS[check.state]}  {check.name}: {check.text}", flush=True)
    failed = [check.name for check in found if check.state == "fail"]
    if args.json:
        facts = {"edge_demist": __version__, "failed": failed, "checks": [check.values() for check in found], "machine": machine.facts()}
        print(json.dumps(facts, indent=1))
    else:
        print(f"\n{len(failed)} of {len(found)} checks failed: {', '.join(failed)}" if failed else f"\nall {len(found)} checks passed")
    return 1 if failed else 0
