"""Train a specialist on your own labels: on the base of the installed bundle, without its checkpoint or its training data.

    python -m tools.train.custom --labels rows.csv --task my-task --out ADAPTERS
    python -m quantize add ADAPTERS/my-task --out BUNDLE
    edge-demist classify --bundle BUNDLE --task my-task strings.txt

Rows come as CSV, TSV, JSON lines or Parquet with the columns text and label. Without --dev a tenth of them, drawn by label, is kept
apart to calibrate and score the specialist. The base stays as it is; an adapter, a head and a small table of n-grams are trained, which
together make the specialist's file of at most some 2 MB.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import peft
import torch
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

from edge_demist.errors import EdgeDemistError
from edge_demist.format.bundle import Bundle
from edge_demist.normalizers import NORMALIZERS
from quantize.adapters import MAX_LABELS, TASK_NAME
from tools.train import calibration
from tools.train.data import Rows, Task, normalized, pack, sha256_file
from tools.train.lora import cut_ranks, lora_config, start_at
from tools.train.network import Network
from tools.train.ngram_table import Settings, train_columns
from tools.train.ngrams import NgramTable
from tools.train.ood import binary, made_up, prose, told_apart
from tools.train.own_table import folded, shape
from tools.train.shipped import BundleTokenizer, encoder_of
from tools.train.specialist import START_ROWS, Floats, describe, drawn, features, train, write

STEPS = 600
"""Steps of training where ``--epochs`` does not say: small tables are read more often."""
FEWEST, MOST = 3, 40
"""Rounds over the table where ``--epochs`` does not say."""
FEWEST_ROWS = 5
"""Rows of a label without which no tenth is drawn."""
FOREIGN = 2_000
SMALL = 20_000
"""Rows up to which the n-grams are trained twice as long."""
READERS = {
    ".csv": lambda path: pd.read_csv(path, dtype=str, keep_default_na=False),
    ".tsv": lambda path: pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3),
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False),
    ".parquet": pd.read_parquet,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Train one specialist and write its folder; returns the exit status."""
    args = parse(argv)
    try:
        return run(args)
    except (EdgeDemistError, OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    p = argparse.ArgumentParser(
        prog="python -m tools.train.custom", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--labels", type=Path, required=True, metavar="FILE", help=f"rows to train on: {', '.join(READERS)} with text, label")
    p.add_argument("--dev", type=Path, metavar="FILE", help="rows to calibrate and score on (default: a tenth of --labels)")
    p.add_argument("--task", required=True, help="name of the task: a-z 0-9 . _ -")
    p.add_argument("--out", type=Path, required=True, help="folder of adapters; <task>/ is made in it")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to train on (default: the one in the package)")
    p.add_argument("--alarm", nargs="+", default=[], metavar="LABEL", help="labels that are alarms (none: categories)")
    p.add_argument("--normalizer", default="identity", choices=sorted(NORMALIZERS), help="how texts are prepared (default: %(default)s)")
    p.add_argument("--max-tokens", type=int, default=128, help="tokens read of a text (default: %(default)s)")
    p.add_argument("--foreign", type=Path, metavar="FILE", help="strings of other kinds, one a line, beside prose and noise")
    p.add_argument("--source", default="own labels", help="what the card says the rows are from")
    p.add_argument("--layers", type=int, default=3, help="upper layers that get an adapter; fewer are faster (default: %(default)s)")
    p.add_argument("--epochs", type=int, help=f"rounds over the rows (default: about {STEPS} steps, {FEWEST} to {MOST} rounds)")
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--energy", type=float, default=0.9, help="share of each adapter's squared norm that is kept")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--tokens", type=int, default=2048, help="tokens a batch")
    p.add_argument("--smoothing", type=float, default=0.05)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args(argv)
    if not TASK_NAME.fullmatch(args.task):
        p.error(f"--task has 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit, not {args.task!r}")
    for name, least in (("layers", 1), ("rank", 1), ("max_tokens", 4), ("tokens", 64), ("threads", 1), ("epochs", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            p.error(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
    if not 0 < args.energy <= 1:
        p.error(f"--energy is a share above 0 and up to 1, not {args.energy}")
    return args


def run(args: argparse.Namespace) -> int:
    """Read, train, calibrate, write."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    table, dev_table = read_rows(args.labels, args.dev, args.seed)
    labels = sorted(set(table["label"]))
    if unknown := sorted(set(args.alarm) - set(labels)):
        raise ValueError(f"--alarm {unknown[0]}: no row has that label; labels are {', '.join(labels[:20])}")
    if len(args.alarm) == len(labels):
        raise ValueError("--alarm names every label; at least one must be harmless")
    if args.alarm and dev_table["label"].isin(args.alarm).nunique() != 2:
        raise ValueError(f"{args.dev}: thresholds of alarms need rows to calibrate on with an alarm's label and with another")
    bundle = Bundle.load(args.bundle)
    tokenizer = BundleTokenizer(bundle)
    args.max_tokens = min(args.max_tokens, bundle.limits.max_tokens)
    task = Task(args.task, args.normalizer, "alarm" if args.alarm else "category", args.max_tokens, tuple(sorted(args.alarm)))

    def packed(texts: Sequence[str], names: Sequence[str] | None = None) -> Rows:
        y = None if names is None else np.array([labels.index(name) for name in names], np.int64)
        return pack(normalized(texts, args.normalizer), tokenizer, args.max_tokens, y)

    foreign = packed(told_apart(foreign_texts(args.foreign, random.Random(args.seed)), args.normalizer))
    rows, dev = packed(table["text"], table["label"]), packed(dev_table["text"], dev_table["label"])
    net = Network(encoder_of(bundle), {args.task: len(labels)})
    count = net.encoder.config.num_hidden_layers
    args.layers = min(args.layers, count)
    args.first_layer = count - args.layers
    args.epochs = args.epochs or rounds(rows, args.tokens)
    wrapped = peft.get_peft_model(net.encoder, lora_config(args.rank, args.first_layer, count))
    model, head = wrapped.base_model.model, net.heads[args.task]
    ngrams, ngram_head = own_table(rows, len(labels), args.seed)
    sample = drawn(rows, START_ROWS, args.seed)
    start_at(head, features(net, ngrams, model, sample, args.first_layer)[0], sample.y)
    seconds = train(net, model, head, itertools.repeat(rows), args, None)
    ranks = cut_ranks(model, args.energy)

    def features_of(given: Rows) -> tuple[Floats, Floats]:
        return features(net, ngrams, model, given, args.first_layer)

    pooled, dev_grams = features_of(dev)
    combined = calibration.combine(head.weight.detach().numpy(), head.bias.detach().numpy(), ngram_head, pooled, dev_grams, dev.y)
    domain = calibration.fit_domain(features_of(sample), features_of(foreign))
    logits = combined.logits(pooled, dev_grams)
    result = calibration.calibrate(task, labels, logits, dev.y, domain.probability(pooled, dev_grams))
    answers = logits.argmax(1)
    names = {"labels": range(len(labels)), "target_names": labels, "zero_division": 0.0}
    sys.stderr.write(classification_report(dev.y, answers, digits=3, **names))
    by_label = classification_report(dev.y, answers, output_dict=True, **names)
    result["classes"] = {name: {k: round(float(v), 4) for k, v in by_label[name].items()} for name in labels}
    result["ranks"] = sum(ranks.values())
    result["share"] = {"encoder": combined.encoder_factor, "ngrams": combined.ngram_factor}
    described = {
        "task": args.task, "labels": labels, **describe(task), "temperature": result["temperature"], "thresholds": result["thresholds"],
        "sources": [args.source],
    }  # fmt: skip
    record = {
        "command": {k: str(v) for k, v in vars(args).items() if k not in ("labels", "dev", "foreign", "out", "bundle")},
        "seconds": round(seconds), "base_sha256": bundle.base_sha256,
        "data_sha256": {k: sha256_file(getattr(args, k)) for k in ("labels", "dev", "foreign") if getattr(args, k)},
        "rows": {"train": len(table), "dev": len(dev_table)}, "dev": result,
    }  # fmt: skip
    write(args.out / args.task, wrapped, {**combined.tensors(), **domain.tensors()}, described, record, ngrams)
    shown = {k: result[k] for k in ("n", "accuracy", "accuracy_interval", "macro_f1", "ece")}
    print(json.dumps({"task": args.task, "rows": len(table), "labels": len(labels), "dev": shown, "folder": str(args.out / args.task)}))
    return 0


def rounds(rows: Rows, tokens: int) -> int:
    """Rounds over the rows that make about ``STEPS`` steps."""
    steps = max(1, int(rows.lengths.sum()) // tokens)
    return min(MOST, max(FEWEST, math.ceil(STEPS / steps)))


def read_rows(labels: Path, dev: Path | None, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to train on and rows to calibrate on, columns text and label; a text of dev is in no row to train on.

    Raises:
        ValueError: a column or a text is missing, a label is too rare, or dev has one that training lacks.
    """
    table = _read(labels)
    table = table.drop_duplicates(ignore_index=True)
    if twice := int(table["text"].duplicated().sum()):
        sys.stderr.write(f"{labels}: {twice} texts have more than one label; each of their rows is kept\n")
    if dev is None:
        counts = table["label"].value_counts()
        if rare := [str(name) for name, count in counts.items() if count < FEWEST_ROWS]:
            raise ValueError(f"{labels}: label {rare[0]!r} has {counts[rare[0]]} rows; give --dev, or at least {FEWEST_ROWS} of each label")
        table, held = train_test_split(table, test_size=max(len(table) // 10, len(counts)), random_state=seed, stratify=table["label"])
    else:
        held = _read(dev)
    names = set(table["label"])
    if not 2 <= len(names) <= MAX_LABELS:
        raise ValueError(f"{labels}: {len(names)} labels; a specialist has 2 to {MAX_LABELS}")
    if unknown := sorted(set(held["label"]) - names):
        raise ValueError(f"{dev or labels}: no row to train on has the label {unknown[0]!r}")
    if absent := sorted(names - set(held["label"])):
        sys.stderr.write(f"{dev or labels}: no row to calibrate on has the label {absent[0]!r}\n")
    shared = table["text"].isin(set(held["text"]))
    if shared.any():
        sys.stderr.write(f"{labels}: {int(shared.sum())} rows left out, their texts are in the rows to calibrate on\n")
        table = table[~shared]
        if missing := sorted(names - set(table["label"])):
            raise ValueError(f"{labels}: every text of label {missing[0]!r} is in the rows to calibrate on")
    return table.reset_index(drop=True), held.reset_index(drop=True)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix not in READERS:
        raise ValueError(f"{path}: files end in {', '.join(READERS)}")
    try:
        table = READERS[path.suffix](path)
    except ValueError as error:  # not UTF-8, cut off, not of the form that its name says
        raise ValueError(f"{path}: cannot be read as {path.suffix}: {error}") from error
    if missing := [name for name in ("text", "label") if name not in table]:
        raise ValueError(f"{path}: no column {missing[0]!r}; there are {', '.join(map(str, table.columns)) or 'none'}")
    if not len(table):
        raise ValueError(f"{path}: no rows")
    table = table.assign(label=[str(x) if isinstance(x, int | np.integer) else x for x in table["label"]])
    for name in ("text", "label"):
        bad = ~table[name].map(lambda value: isinstance(value, str) and value != "")
        if bad.any():
            raise ValueError(f"{path}: row {int(np.flatnonzero(bad)[0]) + 1} has no {name}")
    return table[["text", "label"]]


def own_table(rows: Rows, classes: int, seed: int) -> tuple[NgramTable, tuple[Floats, Floats]]:
    """An n-gram table of the task alone, trained as the shared one is; and the head on it, float32 [dim, C] and float32 [C]."""
    config = shape(classes)
    weight, bias = train_columns(rows, classes, config, Settings(epochs=24 if len(rows) < SMALL else 12), seed)
    return folded(weight, bias, classes, config)


def foreign_texts(path: Path | None, rng: random.Random) -> list[str]:
    """Strings that are not of the task's kind: prose, noise, what is made up, and the lines of a file."""
    lines: list[Any] = [] if path is None else [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line]
    return prose(rng, FOREIGN) + binary(rng, FOREIGN) + made_up(rng, 3 * FOREIGN) + lines


if __name__ == "__main__":
    raise SystemExit(main())
