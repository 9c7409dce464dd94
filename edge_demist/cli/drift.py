"""``edge-demist drift``: whether the specialists' scores still look as they did."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edge_demist.cli.options import Example, add_json, command
from edge_demist.errors import InputError
from edge_demist.io import replace_file
from edge_demist.sensor.drift import read_counts, read_reference, reference_file, telling
from edge_demist.sensor.drift_sample import WEEK_US, psi, read_distances
from edge_demist.sensor.sources.checkpoint import CheckpointStore
from edge_demist.sensor.sources.timestamps import format_time

EXAMPLES = (
    Example(
        'printf \'{"_path": "dns", "ts": 1700000000.5, "query": "kernel.org"}\\n\' > dns.log\n'
        "edge-demist watch --once --log off --state state -o events.jsonl dns.log\n"
        "edge-demist drift --state state",
        "task …\ndga …2023-11-09 …1  reference\n…",
    ),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    about = (
        "Compare each specialist's scores by week with the first week, or with a reference file; and a sample of strings, by scores, "
        "vectors and unknown tokens, with the ordinary strings that the bundle was measured on. Counts only: no string is kept for it."
    )
    parser = command(subparsers, "drift", "show whether scores have drifted", EXAMPLES, description=about)
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the folder given to watch --state")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="compare with this instead of the first week")
    parser.add_argument("--write-reference", type=Path, metavar="OUT", help="write all weeks together as a reference file")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 2 if there is nothing to compare."""
    if not (args.state / "checkpoint.json").is_file():
        raise InputError(f"{args.state}: no checkpoint in it; it is made by edge-demist watch --state {args.state}")
    checkpoint, _ = CheckpointStore(args.state, read_only=True).load()
    try:
        counts = read_counts(checkpoint.drift.get("counts", {}))
        sample = read_distances(checkpoint.drift.get("sample", {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{args.state}: the counts of scores are damaged: {error}") from error
    if args.write_reference:
        replace_file(args.write_reference, reference_file(counts, str(checkpoint.drift.get("bundle_id", ""))).encode(), mode=0o640)
    reference = read_reference(args.reference) if args.reference else {}
    rows: list[dict[str, object]] = []
    for task, weeks in sorted(counts.items()):
        first = next(iter(telling(weeks)), 0)
        for week, bins in sorted(weeks.items()):
            base = reference.get(task) or (weeks[first] if week != first else None)
            distance = round(psi(base, bins), 4) if base else None
            rows.append({"task": task, "week": format_time(week * WEEK_US)[:10], "answers": sum(bins), "psi": distance})
    rows += [
        {"task": name, "week": format_time(week * WEEK_US)[:10], "of": "sample", "psi" if name != "unknown_tokens" else "ratio": value}
        for week, found in sorted(sample.items())
        for name, value in sorted(found.items())
    ]
    if args.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return 0
    sys.stdout.write(f"{'task':18} {'week of':10} {'answers':>9}  PSI\n")
    for row in rows:
        value = row.get("psi", row.get("ratio"))
        shown = "reference" if value is None else f"{value:.3f}"
        beside = "" if "answers" in row else "  share" if "ratio" in row else "  against the bundle's reference"
        sys.stdout.write(f"{row['task']!s:18} {row['week']!s:10} {row.get('answers', 'sample')!s:>9}  {shown}{beside}\n")
    return 0
