"""The scoreboard: the shipped int8 model through its public API, fp32 and simple peers, on the same dev splits.

    python -m benchmarks.accuracy --data DATA                     # int8, every task of the bundle
    python -m benchmarks.accuracy --data DATA --split-file F.parquet --task dga   # any labelled file
    python -m benchmarks.accuracy --data DATA --checkpoint CHECKPOINT             # also fp32, from the checkpoint
    python -m benchmarks.accuracy --data DATA --peers ngrams                      # also character n-grams + linear
    python -m benchmarks.accuracy --render                                        # docs/accuracy.md and its chart

Each run updates its entries in benchmarks/results/accuracy.json; text and chart are views of that file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from benchmarks import accuracy_report
from edge_demist import EdgeDemist, Prediction
from edge_demist.bundle import Bundle

RESULTS = Path(__file__).parent / "results" / "accuracy.json"
RATES = (0.01, 0.001, 0.0001)
BINS = 15


def interval(hits: int, n: int) -> list[float]:
    """Clopper-Pearson 95 % interval of a proportion."""
    from scipy import stats

    low = float(stats.beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return [round(low, 5), round(high, 5)]


def coverage(confidence: NDArray[np.float64], right: NDArray[np.bool_], target: float) -> float:
    """Largest share of texts that can be answered, most confident first, with at least ``target`` of the answers right."""
    order = np.argsort(-confidence, kind="stable")
    running = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.nonzero(running >= target)[0]
    return float(good[-1] + 1) / len(order) if len(good) else 0.0


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error, 15 equal-width bins."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(sum(abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)))


def site(text: str) -> str:
    """A URL's site, roughly: its last two labels, or three below a short second level such as co.uk."""
    host = text.rsplit("://", maxsplit=1)[-1].split("/", maxsplit=1)[0].split("?", maxsplit=1)[0].split(":", maxsplit=1)[0].lower()
    labels = host.split(".")
    return ".".join(labels[-3:] if len(labels) > 2 and len(labels[-2]) <= 3 and len(labels[-1]) == 2 else labels[-2:])


def subsets(task: str, table: pd.DataFrame, train: pd.DataFrame | None) -> dict[str, NDArray[np.bool_]]:
    """Named parts of a split that are reported apart."""
    parts: dict[str, NDArray[np.bool_]] = {}
    for column in ("platform", "dataset", "split_kind"):
        if column in table:
            parts |= {f"{column}={v}": (table[column] == v).to_numpy() for v in sorted(table[column].dropna().unique())}
    if task == "url-phishing" and train is not None:
        known = set(map(site, train["text"]))
        parts["sites unseen in training"] = np.array([site(t) not in known for t in table["text"]])
    return parts


def leakage(table: pd.DataFrame, train: pd.DataFrame) -> dict[str, float]:
    """Share of a split's texts, and of their sites, that the training split has too."""
    texts, sites = set(train["text"]), set(map(site, train["text"]))
    return {
        "same_text": round(float(table["text"].isin(texts).mean()), 4),
        "same_site": round(float(np.mean([site(t) in sites for t in table["text"]])), 4),
    }


def scores(task: str, table: pd.DataFrame, labels: NDArray[np.str_], confidence: NDArray[np.float64]) -> dict[str, Any]:
    """Accuracy with interval, macro-F1, F1 by class, coverage at 94 % and calibration error."""
    truth = table["label"].to_numpy(str)
    right = labels == truth
    names = sorted(set(truth))
    by_class = f1_score(truth, labels, average=None, labels=names)
    return {
        "n": len(truth),
        "accuracy": round(float(accuracy_score(truth, labels)), 4),
        "accuracy_interval": interval(int(right.sum()), len(right)),
        "macro_f1": round(float(f1_score(truth, labels, average="macro", labels=names)), 4),
        "f1": {n: round(float(v), 4) for n, v in zip(names, by_class, strict=True)},
        "coverage_at_94": round(coverage(confidence, right, 0.94), 4),
        "ece": round(calibration_error(confidence, right), 4),
    }


def alarm_scores(model: EdgeDemist, task: str, table: pd.DataFrame, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Recall and false-positive rate at the shipped thresholds, with intervals."""
    specialist = model.specialist(task)
    score = np.array([p.alarm_score for p in predictions])
    positive = table["label"].isin(specialist.positive_labels).to_numpy()
    result = {}
    for rate in RATES:
        alarms = score >= specialist.threshold("fpr", rate)
        hits, false = int((alarms & positive).sum()), int((alarms & ~positive).sum())
        result[str(rate)] = {
            "recall": round(hits / positive.sum(), 4), "recall_interval": interval(hits, int(positive.sum())),
            "fpr": round(false / (~positive).sum(), 6), "fpr_interval": interval(false, int((~positive).sum())),
        }  # fmt: skip
    return result


def score_int8(model: EdgeDemist, task: str, table: pd.DataFrame, train: pd.DataFrame | None) -> dict[str, Any]:
    """The shipped model through ``classify``."""
    texts = list(table["text"].astype(str))
    model.classify(texts[:64], task=task)
    began = time.perf_counter()
    predictions = model.classify(texts, task=task)
    seconds = time.perf_counter() - began
    labels = np.array([p.label for p in predictions])
    confidence = np.array([p.score for p in predictions])
    result = scores(task, table, labels, confidence)
    result["microseconds_per_string"] = round(1e6 * seconds / len(texts), 1)
    if model.specialist(task).kind == "alarm":
        result["alarms"] = alarm_scores(model, task, table, predictions)
    truth = table["label"].to_numpy(str)
    result["parts"] = {
        name: {"n": int(mask.sum()), "accuracy": round(float((labels[mask] == truth[mask]).mean()), 4)}
        for name, mask in subsets(task, table, train).items()
        if mask.any()
    }
    return result


def score_fp32(bundle: Bundle, checkpoint: Path, task: str, table: pd.DataFrame) -> dict[str, Any]:
    """The float32 checkpoint with the same adapter and head, in plain numpy."""
    from edge_demist.specialists import load_specialist
    from quantize.convert import read_inputs
    from quantize.evaluate import ngram_vectors, tokenize
    from quantize.reference import encode

    specialist = load_specialist(bundle, task)
    inputs = read_inputs(checkpoint)
    weight = inputs.ngrams.weight if inputs.ngrams is not None else None
    texts = list(table["text"].astype(str))
    parts = []
    for begin in range(0, len(texts), 512):
        some = texts[begin : begin + 512]
        rows = tokenize(bundle, some, specialist.normalizer, specialist.max_tokens)
        pooled = encode(inputs.encoder, rows, lora=dict(specialist.adapter.layers))
        parts.append(specialist.probabilities(pooled, ngram_vectors(bundle, specialist, some, weight)))
    probabilities = np.concatenate(parts)
    labels = np.array(specialist.labels)[probabilities.argmax(1)]
    return scores(task, table, labels, probabilities.max(1).astype(np.float64))


def score_ngrams(task: str, table: pd.DataFrame, train: pd.DataFrame) -> dict[str, Any]:
    """Character 1- to 5-grams hashed to 2^20 columns and logistic regression by stochastic gradient descent."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    from edge_demist.normalizers import NORMALIZERS
    from tools.train.data import TASKS

    normalize = NORMALIZERS[TASKS[task].normalizer]
    vectorizer = HashingVectorizer(
        analyzer="char", ngram_range=(1, 5), n_features=2**20, alternate_sign=False, preprocessor=lambda t: f"^{normalize(t)}$"
    )
    model = SGDClassifier(loss="log_loss", alpha=2e-6, max_iter=12, random_state=0).fit(vectorizer.transform(train["text"]), train["label"])
    probabilities = model.predict_proba(vectorizer.transform(table["text"]))
    result = scores(task, table, model.classes_[probabilities.argmax(1)], probabilities.max(1))
    result["parameters"] = int(model.coef_.size)
    return result


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, help="folder with tasks/")
    p.add_argument("--split", default="dev", help="split to score (default: dev)")
    p.add_argument("--split-file", type=Path, help="a parquet file with text and label instead of a split; needs --task")
    p.add_argument("--task", nargs="*", help="tasks (default: all of the bundle)")
    p.add_argument("--bundle", type=Path, help="bundle (default: the shipped one)")
    p.add_argument("--checkpoint", type=Path, help="float32 checkpoint the bundle was made from")
    p.add_argument("--peers", nargs="*", default=[], choices=["ngrams"], help="peers to train and score")
    p.add_argument("--out", type=Path, default=RESULTS)
    p.add_argument("--render", action="store_true", help="only write docs/accuracy.md and its chart from the results")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Score and write."""
    args = parse(argv)
    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {"tasks": {}}
    if not args.render:
        if args.data is None and args.split_file is None:
            print("give --data DIR or --split-file FILE", file=sys.stderr)
            return 2
        run(args, results)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        temporary = args.out.with_suffix(".tmp")
        temporary.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        temporary.replace(args.out)
    else:
        accuracy_report.render(results, Path("docs"))
    return 0


def run(args: argparse.Namespace, results: dict[str, Any]) -> None:
    """Score the tasks asked for and put the entries into ``results``."""
    with EdgeDemist.load(args.bundle) as model:
        results["bundle"] = {"id": model.bundle_id, "name": model.bundle.name, "version": model.bundle.version, "engine": model.engine.name}
        results["bundle"]["bytes"] = sum(e.bytes for e in model.bundle.files.values())
        for task in args.task or model.tasks:
            folder = args.data / "tasks" / task if args.data else None
            table = pd.read_parquet(args.split_file or folder / f"{args.split}.parquet")
            train = pd.read_parquet(folder / "train.parquet") if folder else None
            entry = results["tasks"].setdefault(task, {})
            entry["int8"] = score_int8(model, task, table, train)
            if train is not None:
                entry["leak"] = leakage(table, train)
            if args.checkpoint:
                entry["fp32"] = score_fp32(model.bundle, args.checkpoint, task, table)
            if "ngrams" in args.peers and train is not None:
                entry["ngrams"] = score_ngrams(task, table, train)
            shown = {k: v["accuracy"] for k, v in entry.items() if isinstance(v, dict) and "accuracy" in v}
            print(task, shown, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
