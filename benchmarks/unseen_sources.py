"""How well the specialists without an adapter do on sources that they were not trained on.

    python -m benchmarks.unseen_sources --data DATA                      # all three tasks; about two minutes each
    python -m benchmarks.unseen_sources --data DATA --without-made       # without the rows of tools.synth

The sources of train and dev together are dealt into folds by hash; each fold's rows are answered by a model that saw none of its
sources, and all answers are scored together. Generated and composed rows only train. Beside each stands a linear model on character
1- to 5-grams of the same rows. ``tools.train.plain`` trains the models; results go to benchmarks/results/unseen-sources.json.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import f1_score

from benchmarks import result_file
from edge_demist import EdgeDemist
from edge_demist.format.adapter import Adapter
from edge_demist.normalizers import to_bytes
from edge_demist.train.columns import Settings
from tools.train import warm
from tools.train.data import normalized, read_table
from tools.train.plain import MADE, NGRAM_SHARES, PLAIN, UNKNOWN, Plain, Rowset, prior
from tools.train.refit import fit_head, joined, labels_of, train_table
from tools.train.shipped import BundleTokenizer

RESULTS = result_file.RESULTS / "unseen-sources.json"
FOLDS = 5


def fold_of(source: str) -> int:
    """Fold of a source, by hash."""
    return hashlib.sha256(f"unseen {source}".encode()).digest()[0] % FOLDS


def read(data: Path, plain: Plain, made: bool) -> pd.DataFrame:
    """Rows of both splits with columns text, label, fold; -1 for rows that only train."""
    both = pd.concat([read_table(data, plain.task.name, part) for part in ("train", "dev")]).drop_duplicates("text")
    both = plain.usable(both).copy()
    both["fold"] = [-1 if origin in MADE else fold_of(source) for origin, source in zip(both["origin"], both["source"], strict=True)]
    if made and plain.made:
        known = {*both["text"]}
        rows = [row for row in plain.made(random.Random(f"1 {plain.task.name}"), plain.made_rows) if row[0] not in known]
        both = pd.concat([both, pd.DataFrame(rows, columns=["text", "label", "source"]).assign(fold=-1, origin="made")])
    return both.reset_index(drop=True)


def linear(texts: Sequence[str], y: NDArray[np.int64], held: Sequence[str], task: str) -> NDArray[np.int64]:
    """Answers of a linear model on character n-grams to the texts held out."""
    grams = HashingVectorizer(analyzer="char", ngram_range=(1, 5), n_features=2**20, alternate_sign=False, lowercase=False)
    both = normalized([*texts, *held], PLAIN[task].task.normalizer)
    x = grams.transform([f"^{to_bytes(text).decode('utf-8', 'replace')}$" for text in both])
    model = SGDClassifier(loss="log_loss", alpha=2e-6, max_iter=20, random_state=1).fit(x[: len(texts)], y)
    found: NDArray[np.int64] = model.predict(x[len(texts) :])
    return found


def measured(args: argparse.Namespace, task: str) -> dict[str, Any]:
    """Macro-F1 over all rows whose source was left out, by model and share of the n-grams."""
    plain = PLAIN[task]
    table = read(args.data, plain, not args.without_made)
    columns = plain.columns(table)
    labels, owners = columns.labels, np.array(columns.owners)
    y = table["label"].map(lambda name: labels.index(plain.label(name))).to_numpy(np.int64)
    fold = table["fold"].to_numpy(np.int64)
    with EdgeDemist.load(args.bundle) as model:
        pack = Rowset(plain, columns, BundleTokenizer(model.bundle))
    encoder = warm.Served(args.bundle, Adapter(name=task, layers={}))
    rows = pack(list(table["text"]), list(table["label"]))
    pooled = encoder.pooled(rows)
    answers = {key: np.full(len(y), -1, np.int64) for key in ("encoder", "n-gram table", "linear", *map(str, args.shares))}
    for number in range(FOLDS):
        rest = fold != number
        place = np.flatnonzero(~rest)
        train, held = (rows.take(np.flatnonzero(mask)) for mask in (rest, ~rest))
        real = fold[rest] >= 0
        vectors, texts = pooled[rest], list(table.loc[rest, "text"])
        if plain.twins and not args.without_made:
            more = plain.twin_table(random.Random(f"1 {task} {number}"), table[rest])
            packed = pack(list(more["text"]), list(more["label"]))
            train = joined([train, packed])
            real = np.concatenate([real, np.zeros(len(more), bool)])
            vectors, texts = np.concatenate([vectors, encoder.pooled(packed)]), texts + list(more["text"])
        known = owners[labels_of(train)]
        settings = Settings(epochs=args.epochs, drop=plain.drop)
        grams, (select, add) = train_table([train], len(owners), settings, 1, **plain.shaped)
        weight, bias = fit_head(vectors, labels_of(train), len(owners))
        bias = bias + prior(task, known, real, len(labels))[owners]
        ours, theirs = pooled[place] @ weight.T + bias, grams.vectors(held) @ select + add
        answers["encoder"][place], answers["n-gram table"][place] = (columns.grouped(side).argmax(1) for side in (ours, theirs))
        for share in args.shares:
            answers[str(share)][place] = columns.grouped(ours + np.float32(share) * theirs).argmax(1)
        answers["linear"][place] = linear(texts, known, list(table.loc[~rest, "text"]), task)
        sys.stderr.write(f"{task} fold {number}: {len(place)} rows\n")
    scored = fold >= 0
    present = [i for i in np.unique(y[scored]) if labels[i] != UNKNOWN]
    truth = y[scored]

    def macro(found: NDArray[np.int64]) -> float:
        return round(float(f1_score(truth, found[scored], labels=present, average="macro", zero_division=0.0)), 4)

    shipped = answers[str(NGRAM_SHARES[task])] if NGRAM_SHARES[task] in args.shares else answers["encoder"]
    by_label = f1_score(truth, shipped[scored], labels=present, average=None, zero_division=0.0)
    return {
        "rows": int(scored.sum()), "sources": int(table.loc[scored, "source"].nunique()), "made": not args.without_made,
        "shipped_share": NGRAM_SHARES[task],
        "macro_f1": {key: macro(found) for key, found in answers.items()}, "accuracy": round(float((shipped[scored] == truth).mean()), 4),
        "labels": {labels[i]: {"f1": round(float(f), 3), "rows": int((truth == i).sum())} for i, f in zip(present, by_label, strict=True)},
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and update the result file."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.unseen_sources", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle with the base (default: the packaged one)")
    p.add_argument("--task", nargs="*", default=sorted(PLAIN), choices=sorted(PLAIN))
    p.add_argument("--without-made", action="store_true", help="train without the rows of tools.synth")
    p.add_argument(
        "--shares", type=float, nargs="*", default=sorted({0.3, 0.6, 1.0, 2.0, 3.0}), help="weights of the n-grams beside the encoder"
    )
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    for task in args.task:
        entry = measured(args, task)
        results = result_file.read(args.out)
        results.setdefault(task, {})["tables alone" if args.without_made else "as shipped"] = entry
        result_file.write(args.out, results)
        sys.stderr.write(f"{task}: {entry['macro_f1']}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
