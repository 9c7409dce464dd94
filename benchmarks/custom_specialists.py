"""What a specialist on somebody's own labels reaches, beside classifiers that start from nothing.

    python -m benchmarks.custom_specialists --data DATA --work WORK

Two tasks that the bundle was never trained on, made of columns that its training did not read: which family made a
generated domain (33 families), and which technique or list a hostile command line is from (23). Ours is
``edge-demist train`` with its defaults and ``edge-demist bundle add``, the int8 answers scored. The others: character
n-grams with a linear model (``benchmarks.baselines.classifiers``), and the usual recipe for few labels, logistic
regression on the vectors of all-MiniLM-L6-v2 (its penalty chosen on a tenth of the rows). The rows scored were in
nobody's training or calibration. Writes ``benchmarks/results/custom-specialists.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from benchmarks import result_file
from benchmarks.baselines.classifiers import ngrams
from benchmarks.embeddings import minilm_vectors
from edge_demist import EdgeDemist
from edge_demist.cli import main as edge_demist
from edge_demist.format.bundle import Bundle
from edge_demist.format.extend import add_specialists
from tools.train.data import read_table

RESULTS = result_file.RESULTS / "custom-specialists.json"
SIZES = (1000, 5000)
"""Rows to learn from, beside all."""
PENALTIES = (3.0, 30.0, 300.0)
"""Inverse penalties to choose from."""
FEWEST = {"dga-family": 300, "cmdline-technique": 40}
"""Rows that a label needs to take part."""


def families(data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Generated domains with their family; scored on the dev split."""
    parts = [read_table(data, "dga", split) for split in ("train", "dev")]
    train, test = (part.loc[part["label"] == "dga", ["text", "family"]].rename(columns={"family": "label"}) for part in parts)
    return _frequent(train, FEWEST["dga-family"]), test


def techniques(data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hostile command lines with their ATT&CK technique or list; a quarter is scored (the dev split holds other techniques)."""
    table = read_table(data, "cmdline", "train")
    table = table[(table["label"] == "malicious") & (table["technique"].fillna("") != "")].drop_duplicates("text")
    table = table.assign(label=table["technique"].str.split(".").str[0])[["text", "label"]]
    train, test = train_test_split(_frequent(table, FEWEST["cmdline-technique"]), test_size=0.25, random_state=0)
    return train, test


TABLES = {"dga-family": families, "cmdline-technique": techniques}
READ_AS = {"dga-family": ["--normalizer", "hostname", "--max-tokens", "64"], "cmdline-technique": []}


def _frequent(table: pd.DataFrame, fewest: int) -> pd.DataFrame:
    counts = table["label"].value_counts()
    return table[table["label"].isin(counts[counts >= fewest].index)]


def ours(task: str, train: pd.DataFrame, test: pd.DataFrame, work: Path) -> dict[str, Any]:
    """Train on ``train`` alone, add to the packaged bundle, score its int8 answers."""
    path, began = work / f"{task}-{len(train)}.csv", time.process_time()
    train.to_csv(path, index=False)
    arguments = ["train", "--labels", str(path), "--task", task, "--out", str(work / "new"), *READ_AS[task]]
    if edge_demist(arguments):
        raise SystemExit(f"{task}: training failed")
    spent = time.process_time() - began
    add_specialists(Bundle.load(), [work / "new" / f"{task}.safetensors"], work / "bundle", overwrite=True)
    with EdgeDemist.load(work / "bundle") as model:
        answers = [answer.label for answer in model.classify(list(test["text"]), task=task)]
    size = (work / "bundle" / "specialists" / f"{task}.safetensors").stat().st_size
    return {**scored(test["label"].to_numpy(str), np.array(answers)), "seconds": round(spent), "bytes": size}


def characters(task: str, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    """Hashed n-grams and a linear model."""
    found = ngrams.train(task, train.reset_index(drop=True), test.reset_index(drop=True), 1)
    answers = np.array(found.labels)[found.logits.argmax(1)]
    return {**scored(test["label"].to_numpy(str), answers), "seconds": round(found.seconds)}


def vectors(task: str, train: pd.DataFrame, test: pd.DataFrame, work: Path) -> dict[str, Any]:
    """Logistic regression on MiniLM's vectors."""
    began = time.process_time()
    x, scored_x = (minilm_vectors(list(t["text"]), work / f"minilm-{task}-{len(t)}.npy", "identity", 128) for t in (train, test))
    y = train["label"].to_numpy(str)
    part, kept = train_test_split(np.arange(len(y)), test_size=0.1, random_state=0, stratify=y)

    def fitted(penalty: float, rows: np.ndarray) -> LogisticRegression:
        return LogisticRegression(C=penalty, max_iter=300).fit(x[rows], y[rows])

    best = max(PENALTIES, key=lambda penalty: fitted(penalty, part).score(x[kept], y[kept]))
    answers = fitted(best, np.arange(len(y))).predict(scored_x)
    return {**scored(test["label"].to_numpy(str), answers), "seconds": round(time.process_time() - began)}


def scored(truth: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """Accuracy and macro-F1, in percent."""
    macro = f1_score(truth, answers, average="macro", zero_division=0.0)
    return {"accuracy": round(100 * float((truth == answers).mean()), 2), "macro_f1": round(100 * float(macro), 2)}


def main(argv: Sequence[str] | None = None) -> int:
    """Train and score every system on every task and size."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.custom_specialists", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/")
    p.add_argument("--work", type=Path, required=True, help="folder for what is trained")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    args.work.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"base_sha256": Bundle.load().base_sha256, "tasks": {}}
    for task, tables in TABLES.items():
        train, test = tables(args.data)
        test = test[test["label"].isin(set(train["label"]))]
        entry: dict[str, Any] = {"labels": int(train["label"].nunique()), "scored": len(test), "rows": {}}
        for size in (*(n for n in SIZES if n < len(train)), len(train)):
            some = train if size == len(train) else train_test_split(train, train_size=size, random_state=0, stratify=train["label"])[0]
            entry["rows"][str(size)] = {
                "edge-demist int8": ours(task, some, test, args.work),
                "n-grams + linear": characters(task, some, test),
                "MiniLM vectors + linear": vectors(task, some, test, args.work),
            }
            sys.stderr.write(f"{task}, {size} rows: {entry['rows'][str(size)]}\n")
        found["tasks"][task] = entry
    result_file.write(args.out, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
