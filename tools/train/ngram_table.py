"""Train the shared n-gram table: each task's own linear model on hashed character n-grams, side by side in its columns.

    python -m tools.train.ngram_table --data DATA --checkpoint RUN/checkpoint

A task with C labels takes C columns (one where C = 2): its logistic regression on n-gram counts / sqrt(total), trained alone, so
that it errs independently of the encoder; a specialist's head adds it with one weight. Writes ``ngrams.safetensors`` into the
checkpoint and ``ngram_columns.json`` (which columns are whose) beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from edge_demist.train.columns import Settings, columns_of, train_columns
from edge_demist.train.ngrams import NgramConfig, NgramTable
from tools.train import mixtures
from tools.train.data import TASKS, Rows, Tokenizes, load_tokenizer, read_labels

Floats = NDArray[np.float32]


SETTINGS = {
    "hostname-category": Settings(epochs=4, extra_rows=120_000, services=2),
    "dga": Settings(rate=3.0, generated=0),
    "url-phishing": Settings(epochs=10, rate=3.0),
    "dns-tunnel": Settings(epochs=12, rate=3.0, generated=6000),
    "user-agent": Settings(epochs=24, generated=12_000),
    "cmdline": Settings(epochs=30, rate=3.0, drop=0.7, generated=12_000),
    "filename": Settings(epochs=24, generated=2000),
}


def logits_of(table: torch.Tensor, bias: torch.Tensor, rows: Rows, config: NgramConfig) -> Floats:
    """Linear scores [n, columns] of all rows."""
    ngrams = NgramTable(config, table)
    parts = [ngrams.vectors(rows, np.arange(begin, min(begin + 4096, len(rows)))) + bias for begin in range(0, len(rows), 4096)]
    result: Floats = torch.cat(parts).numpy()
    return result


def extra_rows(table: pd.DataFrame, labels: Sequence[str], count: int, seed: int) -> list[tuple[str, str, str]]:
    """Up to ``count`` more names of each label that carry it alone: rows ``(text, label, family)``."""
    table = table[table["labels"].isin(labels)].sample(frac=1, random_state=seed)
    drawn = table.groupby("labels").head(count)
    return [(text, label, "hostname-labels") for text, label in zip(drawn["text"], drawn["labels"], strict=True)]


def prior_shift(y: NDArray[np.int64], served: NDArray[np.int64], classes: int) -> torch.Tensor:
    """What to add to the biases of a model trained on labels ``y`` where labels come as in ``served`` (Saerens et al. 2002)."""
    ratio = (np.bincount(served, minlength=classes) + 1) / (np.bincount(y, minlength=classes) + 1)
    shift = np.log(ratio)
    return torch.from_numpy((shift - shift.mean()).astype(np.float32))


def task_columns(
    args: argparse.Namespace, task: str, labels: list[str], tokenizer: Tokenizes, config: NgramConfig, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor, mixtures.Mixture]:
    """Train one task's columns on its rows: table [buckets, columns], bias [columns]; and the rows' mixture."""
    given = argparse.Namespace(**{**vars(args), "generated": settings.generated})
    mixture = mixtures.Mixture(args.data, task, labels, tokenizer, given)
    if settings.extra_rows:
        more = extra_rows(read_labels(args.data, args.exclude_source), labels, settings.extra_rows, args.seed)
        texts, names = mixture.add(*mixture.real(), more)
        known = mixture.services(random.Random(args.seed), settings.services)
        rows = mixture.pack(texts + [row[0] for row in known], names + [row[1] for row in known])
    else:
        rows = mixture.round(0)
    columns, bias = train_columns(rows, len(labels), config, settings, args.seed)
    if settings.extra_rows:
        bias += prior_shift(rows.labels, mixture.train_y, len(labels))
    return columns, bias, mixture


def main(argv: Sequence[str] | None = None) -> int:
    """Train every task's columns and replace the table."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.ngram_table", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/")
    p.add_argument("--checkpoint", type=Path, required=True, help="folder written by tools.train.base")
    p.add_argument("--epochs", type=int, help="instead of each task's own number")
    p.add_argument("--lr", type=float, help="step size, instead of each task's own")
    p.add_argument("--drop", type=float, help="share of n-grams left out at random, instead of each task's own")
    p.add_argument("--buckets", type=int, default=262144, help="rows of the table, a power of two")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--limit", type=int, default=0, help="rows of every table (small runs)")
    p.add_argument("--task", nargs="*", default=list(TASKS), help="tasks to train; the columns of the others stay")
    p.add_argument(
        "--extra-data", "--more", dest="more", type=Path, help="Parquet file of more rows (text, label, source) of the one --task given"
    )
    p.add_argument("--extra-rows", "--more-rows", dest="more_rows", type=int, default=1_000_000, help="at most so many of them")
    p.add_argument("--dry-run", action="store_true", help="print dev scores, write nothing")
    p.add_argument("--hold-out", nargs="*", default=[], help="families left out of training (dga, dns-tunnel)")
    p.add_argument("--exclude-source", nargs="*", default=[], help="sources of task rows to leave out")
    args = p.parse_args(argv)
    if args.more and len(args.task) != 1:
        p.error("--more needs one --task")
    torch.set_num_threads(args.threads)
    tokenizer = load_tokenizer(args.checkpoint / "spm.model")
    from safetensors import safe_open

    with safe_open(args.checkpoint / "heads.safetensors", "pt") as file:
        labels = json.loads(file.metadata()["labels"])
    config = NgramConfig(buckets=args.buckets)
    path, index = args.checkpoint / "ngrams.safetensors", args.checkpoint / "ngram_columns.json"
    table, places = torch.zeros(config.buckets, config.dim), {}
    if path.exists() and index.exists() and (old := NgramTable.read(path)).config == config:
        table, places = old.weight.clone(), json.loads(index.read_text())
    ends = list(itertools.accumulate(columns_of(labels[t]) for t in TASKS))
    if ends[-1] > config.dim:
        raise SystemExit(f"the tasks need {ends[-1]} columns, more than {config.dim}")
    for task in args.task:
        started = time.monotonic()
        given = {"epochs": args.epochs, "rate": args.lr, "drop": args.drop}
        settings = dataclasses.replace(SETTINGS.get(task, Settings()), **{k: v for k, v in given.items() if v is not None})
        columns, bias, mixture = task_columns(args, task, labels[task], tokenizer, config, settings)
        dev = mixture.dev()
        scores = logits_of(columns, bias, dev, config)
        answer = scores.argmax(1) if len(labels[task]) > 2 else (scores[:, 0] > 0).astype(np.int64)
        end = ends[list(TASKS).index(task)]
        begin = end - columns.shape[1]
        table[:, begin:end] = columns
        places[task] = {"begin": begin, "end": end, "bias": bias.tolist()}
        spent = time.monotonic() - started
        print(f"{task} n-grams alone: dev accuracy {np.mean(answer == dev.y):.4f}, {spent:.0f} s", file=sys.stderr, flush=True)
        if not args.dry_run:
            NgramTable(config, table).write(path)
            index.write_text(json.dumps(places, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
