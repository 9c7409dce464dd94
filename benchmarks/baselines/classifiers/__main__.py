"""Command line of :mod:`benchmarks.baselines.classifiers`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import result_file
from benchmarks.baselines import classifiers
from benchmarks.scores import calibrated, scores
from tools.train.data import TASKS, read_table, sha256_file

RESULTS = result_file.RESULTS / "accuracy-peers.json"
# Short trainings first, so that a stopped run has the most rows.
ORDER = ("filename", "cmdline", "dga", "hostname-threat", "url-phishing", "uri-attack", "user-agent", "hostname-category", "dns-tunnel")


def tables(task: str, args: argparse.Namespace) -> tuple[Any, Any]:
    """Rows to train on and rows to score: the dev split, or the families that are held out of training."""
    train, dev = read_table(args.data, task, "train"), read_table(args.data, task, "dev")
    if args.hold_out:
        held = train["family"].isin(args.hold_out)
        train, dev = train[~held].reset_index(drop=True), train[held].reset_index(drop=True)
    if args.limit:
        train = train.sample(min(args.limit, len(train)), random_state=args.seed).reset_index(drop=True)
    return train, dev


def trained(task: str, target: Path, args: argparse.Namespace) -> None:
    """Train and keep the logits."""
    module = importlib.import_module(f"benchmarks.baselines.classifiers.{args.peer}")
    train, dev = tables(task, args)
    result = module.train(task, train, dev, args.seed)
    record = {"parameters": result.parameters, "seconds": round(result.seconds), "seed": args.seed, **result.settings}
    record["data_sha256"] = {s: sha256_file(args.data / "tasks" / task / f"{s}.parquet") for s in ("train", "dev")}
    args.work.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".tmp.npz")
    np.savez(temporary, logits=result.logits, labels=np.array(result.labels), record=json.dumps(record))
    temporary.replace(target)


def entry(task: str, path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Scores and training record of one finished task."""
    train, dev = tables(task, args)
    file = np.load(path)
    names, logits, truth = [str(n) for n in file["labels"]], file["logits"], dev["label"].to_numpy(str)
    record = json.loads(str(file["record"]))
    if args.hold_out:
        right = np.array(names)[logits.argmax(1)] == truth
        families = {str(f): round(float(right[(dev["family"] == f).to_numpy()].mean()), 4) for f in sorted(dev["family"].unique())}
        return {"families": families, "training": record}
    return {**scores(task, dev, train, calibrated(task, names, logits, truth)), "training": record}


def main(argv: Sequence[str] | None = None) -> int:
    """Train the peer on the tasks asked for and score it."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.baselines.classifiers", description=classifiers.__doc__, formatter_class=raw)
    p.add_argument("peer", choices=("minilm", "fasttext", "ngrams"))
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/")
    p.add_argument("--work", type=Path, required=True, help="folder that keeps logits")
    p.add_argument("--task", nargs="*", default=ORDER, choices=sorted(TASKS), help="tasks (default: all)")
    p.add_argument("--hold-out", nargs="*", default=[], help="families to leave out of training and to score instead of dev")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--limit", type=int, default=0, help="rows of the training table (small runs)")
    p.add_argument("--finished", action="store_true", help="train nothing: score the tasks that WORK has")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    for task in args.task:
        key = f"{args.peer}-held-out" if args.hold_out else args.peer
        logits = args.work / f"{key}-{task}.npz"
        if not logits.exists():
            if args.finished:
                continue
            trained(task, logits, args)
        made, results = entry(task, logits, args), result_file.read(args.out)
        results.setdefault(task, {})[key] = made
        result_file.write(args.out, results)
        print(task, made.get("accuracy", made.get("families")), file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
