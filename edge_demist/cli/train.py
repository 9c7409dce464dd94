"""``edge-demist train``: a custom specialist, on the base of an installed bundle."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from edge_demist.cli.options import Example, add_bundle, add_normalizer, add_renamed, command, number
from edge_demist.errors import InputError
from edge_demist.format.bundle import Bundle
from edge_demist.format.extend import TASK_NAME
from edge_demist.train.table import SUFFIXES, Pairs, alarms_of, read_pairs, split

NEEDS = ("torch", "sklearn", "numba")
EXAMPLES = (
    Example(
        "python3 -c \"print('text,label'); [print(f'INC-{i},ticket\\nuser{i}@corp.example,mail') for i in range(100)]\" > rows.csv\n"
        "edge-demist train --labels rows.csv --task kinds --epochs 1 --layers 1 --out kinds\n"
        "edge-demist bundle add kinds --out bundle\n"
        "echo 'INC-1234' | edge-demist classify --bundle bundle --task kinds -",
        '{"task": "kinds", …}\nbundle: bundle …\n{"text": "INC-1234", "task": "kinds", "label": "ticket", …}',
    ),
)
NOTES = """
Rows come as CSV, TSV, JSON lines or Parquet. Without --dev a tenth of them, drawn by label, is kept apart to calibrate and score; with
--alarm, of the harmless ones 300 where that is no more than a third. From N of them no false-positive rate finer than about 3 / N is
claimed. Needs: pip install 'edge-demist[train]'
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "train", "train a custom specialist on labels that you bring", EXAMPLES, NOTES, __doc__ or "")
    add_table(parser, "rows to train on")
    parser.add_argument("--dev", type=Path, metavar="FILE", help="rows to calibrate and score on (default: a tenth of --labels)")
    parser.add_argument("--task", required=True, type=_task, help="name of the task: a-z 0-9 . _ -")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for TASK.safetensors and its record")
    add_bundle(parser)
    alarms = "labels that are alarms (none: categories)"
    parser.add_argument("--alarm", "--positive-labels", nargs="+", default=[], dest="alarm", metavar="LABEL", help=alarms)
    parser.add_argument("--all-but", nargs="+", default=[], metavar="LABEL", help="every other label is an alarm")
    add_normalizer(parser, "how texts are prepared")
    parser.add_argument("--max-tokens", type=number(4, whole=True), default=128, help="tokens read of a text (default: %(default)s)")
    text = "strings of other kinds, one a line, beside prose and noise"
    add_renamed(parser, "--ood-file", "--foreign", type=Path, metavar="FILE", help=text)
    parser.add_argument("--source", default="custom labels", help="what the card says the rows are from")
    some = number(1, whole=True)
    parser.add_argument("--layers", type=some, default=3, help="upper layers that get an adapter; fewer are faster (default: %(default)s)")
    parser.add_argument("--epochs", type=some, help="times that the rows are read (default: as many as make 600 steps, 3 to 40)")
    parser.add_argument("--rank", type=some, default=16, help="rank of the adapters before they are cut (default: %(default)s)")
    text = "share of each adapter's squared norm that is kept (default: %(default)s)"
    add_renamed(parser, "--svd-energy", "--energy", type=number(0, 1, above=True), default=0.9, help=text)
    parser.add_argument("--lr", type=number(0, above=True), default=1e-3, help="learning rate (default: %(default)s)")
    tokens = number(64, whole=True)
    add_renamed(parser, "--batch-tokens", "--tokens", type=tokens, default=2048, help="tokens a batch (default: %(default)s)")
    parser.add_argument("--smoothing", type=number(0, 1), default=0.05, help="label smoothing (default: %(default)s)")
    parser.add_argument("--seed", type=number(0, whole=True), default=1, help="(default: %(default)s)")
    parser.add_argument("--threads", type=some, default=1, help="(default: %(default)s)")


def add_table(parser: argparse.ArgumentParser, text: str) -> None:
    """A file of labelled rows."""
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help=f"{text}: {', '.join(SUFFIXES)}")
    parser.add_argument("--text-column", default="text", metavar="NAME", help="column of the strings (default: %(default)s)")
    parser.add_argument("--label-column", default="label", metavar="NAME", help="column of the labels (default: %(default)s)")


def _task(name: str) -> str:
    if not TASK_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(f"1 to 64 of a-z 0-9 . _ - beginning with a letter or digit are needed, not {name!r}")
    return name


def run(args: argparse.Namespace) -> int:
    """Train; everything that can be wrong with the arguments is found before torch is loaded."""
    bundle = Bundle.load(args.bundle)
    rows, dev, alarms = _rows(args)
    ood = _lines(args.ood_file)
    if args.out.exists() and not args.out.is_dir():
        raise InputError(f"{args.out}: is no folder")
    _need()
    from edge_demist.train.custom import Plan, say_levels, train_specialist

    labels = tuple(sorted({label for _, label in rows}))
    same = ("task", "normalizer", "max_tokens", "source", "layers", "epochs", "rank", "svd_energy", "batch_tokens", "smoothing", "seed")
    plan = Plan(labels=labels, alarms=alarms, rate=args.lr, threads=args.threads, **{name: getattr(args, name) for name in same})
    record = train_specialist(bundle, plan, rows, dev, ood, args.out)
    say_levels(record)
    shown = {name: record["dev"][name] for name in ("n", "accuracy", "accuracy_interval", "macro_f1", "ece")}
    path = args.out / f"{args.task}.safetensors"
    print(json.dumps({"task": args.task, "rows": len(rows), "labels": len(labels), "dev": shown, "file": str(path)}))
    return 0


def _rows(args: argparse.Namespace) -> tuple[Pairs, Pairs, tuple[str, ...]]:
    """Rows to train on, to calibrate on, and the labels that are alarms."""
    given = read_pairs(args.labels, args.text_column, args.label_column)
    alarms = alarms_of({label for _, label in given}, args.alarm, args.all_but)
    dev = None if args.dev is None else read_pairs(args.dev, args.text_column, args.label_column)
    rows, held = split(args.labels, given, args.dev, dev, args.seed, alarms)
    if alarms and len({label in alarms for _, label in held}) != 2:
        where = args.dev or args.labels
        raise InputError(f"{where}: thresholds of alarms need rows to calibrate on with an alarm's label and with another")
    return rows, held, alarms


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _need() -> None:
    """Refuse before anything is computed if the extra is not installed (InputError)."""
    import importlib.util

    if missing := [name for name in NEEDS if importlib.util.find_spec(name) is None]:
        raise InputError(f"training needs {' and '.join(missing)}, which {sys.executable} has not: pip install 'edge-demist[train]'")
