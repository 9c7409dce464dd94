"""``edge-demist feedback``: say what an alarm or incident was; get the allow rule that follows from it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edge_demist.cli.options import Example, command, number
from edge_demist.errors import InputError
from edge_demist.io import printable
from edge_demist.sensor.feedback import VERDICTS, append, entry, find, labels, proposed_rules, silenced, toml

EXAMPLES = (
    Example(
        'printf \'{"_path": "dns", "ts": 1700000000.5, "query": "xjwqpvkz.info"}\\n\' > dns.log\n'
        "edge-demist watch --once --emit alarms --log off --state state -o alarms.jsonl dns.log\n"
        'id=$(sed -n \'/"task":"dga"/s/.*"event_id":"\\([0-9a-f]*\\)".*/\\1/p\' alarms.jsonl)\n'
        'edge-demist feedback "$id" --state state --from alarms.jsonl --verdict fp --reason "our test name"',
        '[[allow]]\nkind = "suffix"\nvalue = "xjwqpvkz.info"\n…reason = "our test name"\n…',
    ),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    about = "Note a verdict about an alarm or incident; a false alarm gives the narrowest allow rule that would have silenced it."
    parser = command(subparsers, "feedback", "say what an alarm or incident was", EXAMPLES, description=about)
    parser.add_argument("id", nargs="?", metavar="ID", help="event_id or incident_id, or its beginning (four digits or more)")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where the log of verdicts is kept (feedback.jsonl)")
    parser.add_argument(
        "--from", dest="files", type=Path, action="append", default=[], metavar="FILE", help="what watch wrote; may be repeated"
    )
    parser.add_argument("--verdict", choices=VERDICTS, help="fp: false, tp: true, benign-tp: true and allowed here")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; it becomes the reason of the rule")
    parser.add_argument("--owner", default="", metavar="WHO", help="who said so")
    parser.add_argument("--expires", default="", metavar="DATE", help="last day of the rule, such as 2026-12-31")
    parser.add_argument("--days", type=number(0), default=7.0, metavar="N", help="look this far back for what else it would silence")
    parser.add_argument("--labels", metavar="TASK", help="instead: write the log's strings of this specialist as rows for train, JSONL")
    parser.add_argument("--positive", default="malicious", help="label of true alarms in those rows (default: %(default)s)")
    parser.add_argument("--negative", default="legit", help="label of false ones (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 2 for wrong usage."""
    if args.labels:
        for row in labels(args.state, args.labels, args.positive, args.negative):
            sys.stdout.write(json.dumps(row) + "\n")
        return 0
    if not args.id or not args.verdict or not args.files:
        raise InputError("feedback needs an ID, --verdict and --from FILE (or --labels TASK)")
    told = find(args.id, args.files)
    line = entry(told, args.verdict, args.reason, args.owner, args.expires)
    args.state.mkdir(parents=True, exist_ok=True)
    append(args.state, line)
    if args.verdict == "tp":
        return 0
    rules = proposed_rules(told, args.reason, args.expires)
    sys.stdout.write(toml(rules))
    hits = silenced(rules, told, args.files, args.days)
    sys.stderr.write(f"edge-demist feedback: in the last {args.days:g} days of these files this would also have silenced {len(hits)}\n")
    for hit in hits:
        sys.stderr.write(f"  {printable(hit['id'])} {printable(hit['kind'])} {printable(hit['text'])}\n")
    return 0
