"""``edge-demist doctor``: does it work here, and is every answer the one that was proven?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_demist import __version__
from edge_demist.cli.options import Example, add_bundle, add_json, command
from edge_demist.diagnostics import bit_exactness, checks, machine
from edge_demist.diagnostics.result import Check

EXAMPLES = (Example("edge-demist doctor", "ok    …\n\nall … checks passed"),)
NOTES = "exit codes: 0 nothing failed (notes and warnings allowed), 1 a check failed"
MARKS = {"ok": "ok  ", "note": "note", "warn": "WARN", "fail": "FAIL"}


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "doctor", "check this installation and machine", EXAMPLES, NOTES, __doc__ or "")
    add_json(parser)
    add_bundle(parser)


def all_checks(path: Path | None) -> Iterator[Check]:
    """All checks, in order."""
    yield checks.check_cpu()
    yield checks.check_libraries()
    bundle, opened = checks.open_bundle(path)
    yield opened
    yield checks.check_engine(bundle)
    yield from bit_exactness.check_levels(bundle)
    yield checks.check_permissions(checks.package_folders(bundle))
    yield checks.check_writing()
    yield checks.check_clock(str(bundle.manifest.get("created", "")) if bundle else None)
    yield checks.check_memory(bundle)


def run(args: argparse.Namespace) -> int:
    """Run all checks and print them; 1 if one failed."""
    found = []
    for check in all_checks(args.bundle):
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
