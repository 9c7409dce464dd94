"""The scoreboard: the shipped int8 model through its public API, and its float32 checkpoint, on the dev splits.

    python -m benchmarks.accuracy --data DATA                     # int8, every task of the bundle
    python -m benchmarks.accuracy --data DATA --split-file F.parquet --task dga   # any labelled file
    python -m benchmarks.accuracy --data DATA --checkpoint CHECKPOINT             # also fp32, from the checkpoint

Each run updates its entries in benchmarks/results/accuracy.json; text and charts are views of that file, of accuracy-peers.json
(``benchmarks.baselines.classifiers``) and of task-times.json (``benchmarks.task_speed``).
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
from numpy.typing import NDArray

from benchmarks import result_file
from benchmarks.scores import Answers, leakage, scores
from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.train.calibration import FALSE_POSITIVE_RATES, interval
from tools.train.plain import PLAIN

RESULTS = result_file.RESULTS / "accuracy.json"


def shipped_alarms(model: EdgeDemist, task: str, table: pd.DataFrame, alarm: NDArray[np.float64]) -> dict[str, Any]:
    """Recall and false-positive rate at the shipped thresholds, with intervals."""
    specialist = model.specialist(task)
    positive = table["label"].isin(specialist.positive_labels).to_numpy()
    result = {}
    for rate in FALSE_POSITIVE_RATES:
        alarms = alarm >= specialist.threshold("fpr", rate)
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
    began = time.process_time()
    predictions = model.classify(texts, task=task)
    seconds = time.process_time() - began
    is_alarm = model.specialist(task).kind == "alarm"
    alarm = np.array([p.alarm_score for p in predictions], np.float64) if is_alarm else None
    answers = Answers(np.array([p.label for p in predictions]), np.array([p.score for p in predictions], np.float64), alarm)
    result = scores(task, table, train, answers)
    result["microseconds_per_string"] = round(1e6 * seconds / len(texts), 1)
    if alarm is not None:
        result["shipped_alarms"] = shipped_alarms(model, task, table, alarm)
    return result


def score_fp32(bundle: Bundle, checkpoint: Path, task: str, table: pd.DataFrame) -> dict[str, Any]:
    """The float32 checkpoint with the same adapter and head, in plain numpy."""
    from edge_demist.format.specialist import load_specialist
    from quantize.convert import read_inputs
    from quantize.evaluate import ngram_vectors, tokenize
    from quantize.reference import encode

    specialist = load_specialist(bundle, task)
    inputs = read_inputs(checkpoint)
    weight = inputs.ngrams.weight if inputs.ngrams is not None and specialist.ngrams is None else None
    texts = list(table["text"].astype(str))
    parts = []
    for begin in range(0, len(texts), 512):
        some = texts[begin : begin + 512]
        rows = tokenize(bundle, some, specialist.normalizer, specialist.max_tokens)
        pooled = encode(inputs.encoder, rows, lora=dict(specialist.adapter.layers))
        parts.append(specialist.probabilities(pooled, ngram_vectors(bundle, specialist, some, weight)))
    probabilities = np.concatenate(parts)
    labels = np.array(specialist.labels)[probabilities.argmax(1)]
    return scores(task, table, None, Answers(labels, probabilities.max(1).astype(np.float64)))


def facts(model: EdgeDemist) -> dict[str, Any]:
    """Which bundle, its size, and how many weights the base, its n-gram table and one specialist have (scales left out)."""
    bundle = model.bundle
    count = {"encoder": 0, "ngrams": 0, "specialist": 0}
    for name, tensor in bundle.tensors.items():
        if name.endswith((".weight", ".bias")):
            count["ngrams" if name.startswith("ngrams.") else "encoder"] += tensor.size
    sizes = [sum(t.size for t in safetensors.read(bundle.path / f"specialists/{task}.safetensors")[1].values()) for task in model.tasks]
    count["specialist"] = int(np.mean(sizes)) if sizes else 0
    size = sum(e.bytes for e in bundle.files.values())
    return {
        "id": model.bundle_id, "name": bundle.name, "version": bundle.version, "engine": model.engine.name, "bytes": size,
        "parameters": count,
    }  # fmt: skip


def kept_fp32(model: EdgeDemist, results: dict[str, Any]) -> dict[str, Any]:
    """The float32 accuracies of the bundle that this one extends; which label is first does not depend on an OOD detector.

    Raises:
        SystemExit: the results are of another bundle.
    """
    before = results.get("bundle", {}).get("id")
    if not before or model.bundle.manifest.get("extends", {}).get("bundle") != before:
        raise SystemExit(f"--keep-fp32: the results are of bundle {str(before)[:12]}…, which this one does not extend")
    fields = ("n", "accuracy", "accuracy_interval", "macro_f1", "macro_f1_interval")
    return {
        task: {"fp32": {k: entry["fp32"][k] for k in fields if k in entry["fp32"]} | {"measured_on": before}}
        for task, entry in results["tasks"].items()
        if "fp32" in entry
    }


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
    p.add_argument(
        "--keep-fp32", action="store_true", help="keep float32 accuracies of the bundle before: only OOD detectors are new since"
    )
    p.add_argument("--out", type=Path, default=RESULTS)
    return p.parse_args(argv)


def run(args: argparse.Namespace, results: dict[str, Any]) -> None:
    """Score the tasks asked for and put the entries into ``results``."""
    with EdgeDemist.load(args.bundle) as model:
        if results.get("bundle", {}).get("id") != model.bundle_id:
            results["tasks"] = kept_fp32(model, results) if args.keep_fp32 else {}
        results["bundle"] = facts(model)
        for task in args.task or model.tasks:
            folder = args.data / "tasks" / task if args.data else None
            table = pd.read_parquet(args.split_file or args.data / "tasks" / task / f"{args.split}.parquet")
            train = pd.read_parquet(folder / "train.parquet") if folder else None
            if task in PLAIN:  # classes that only made rows have are answered "unknown"
                table["label"] = table["label"].map(PLAIN[task].label)
            entry = results["tasks"].setdefault(task, {})
            entry["int8"] = score_int8(model, task, table, train)
            if train is not None:
                entry["leak"] = leakage(task, table, train)
            if args.checkpoint:
                entry["fp32"] = score_fp32(model.bundle, args.checkpoint, task, table)
            result_file.write(args.out, results)
            shown = {k: v["accuracy"] for k, v in entry.items() if "accuracy" in v}
            print(task, shown, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Score and write."""
    args = parse(argv)
    if args.data is None and args.split_file is None:
        print("give --data DIR or --split-file FILE", file=sys.stderr)
        return 2
    run(args, {"tasks": {}} | result_file.read(args.out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
