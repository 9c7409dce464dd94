"""Depth and width against time: bases of several shapes, each trained on the same number of tokens, scored and timed.

    python -m benchmarks.depth --data DATA --tokenizer spm.model --work WORK --steps 4000     # hours a shape on a CPU core

A shape is LAYERSxHIDDEN; with ``-scratch`` it starts from random weights instead of MiniLM's first layers, as other widths
must. Every base gets ``--steps`` steps of three batches of ``--tokens`` tokens from tools.train.base, seed and data alike;
scored are its own task heads in float32 on the dev sample that the training takes. Time: the int8 engine on the bundle
made of it (``encode``, dev strings of all tasks, batch 1 and 32), the shapes in turns. Weights in int8 tell which caches a shape fits.
Resumable: WORK keeps every run. Writes benchmarks/results/depth.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import result_file
from edge_demist import EdgeDemist
from edge_demist.diagnostics import machine
from tools.train.data import TASKS

RESULTS = result_file.RESULTS / "depth.json"
SHAPES = ("1x384", "2x384", "3x384", "3x384-scratch", "4x384", "6x384", "4x256-scratch", "6x192-scratch")
SCRATCH = "-scratch"
STRINGS = 32


def train(shape: str, args: argparse.Namespace) -> Path:
    """Checkpoint folder of a shape; trains or goes on training where it is not finished."""
    layers, width = map(int, shape.removesuffix(SCRATCH).split("x"))
    out: Path = args.work / shape
    if not (out / "checkpoint" / "training.json").exists():
        command = [
            sys.executable,
            "-m",
            "tools.train.base",
            "--data",
            str(args.data),
            "--tokenizer",
            str(args.tokenizer),
            "--out",
            str(out),
        ]
        command += ["--layers", str(layers), "--steps", str(args.steps), "--tokens", str(args.tokens), "--minutes", "1000000"]
        command += ["--seed", str(args.seed), "--limit", str(args.limit), "--dev-rows", str(args.dev_rows)]
        command += ["--hidden-size", str(width)]
        if shape.endswith(SCRATCH):
            command += ["--from-scratch"]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return out / "checkpoint"


def strings(data: Path) -> list[str]:
    """Dev strings of all tasks, equally many of each."""
    return [t for task in TASKS for t in pd.read_parquet(data / "tasks" / task / "dev.parquet")["text"].sample(STRINGS, random_state=0)]


def side_by_side(bundles: dict[str, Path], texts: list[str], size: int, rounds: int = 9) -> dict[str, float]:
    """Microseconds of processor time a string, median over rounds in which the shapes take turns."""
    ordered = sorted(texts, key=len)
    batches = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    spent: dict[str, list[float]] = {shape: [] for shape in bundles}
    with contextlib.ExitStack() as stack:
        models = {shape: stack.enter_context(EdgeDemist.load(bundle)) for shape, bundle in bundles.items()}
        for turn in range(rounds + 1):
            for shape, model in models.items():
                before = time.process_time()
                for batch in batches:
                    model.encode(batch)
                if turn:
                    spent[shape].append(1e6 * (time.process_time() - before) / len(texts))
    return {shape: round(statistics.median(values), 1) for shape, values in spent.items()}


def facts(shape: str, checkpoint: Path, bundle: Path) -> dict[str, Any]:
    """Size and scores of a trained shape; makes its bundle."""
    from quantize.convert import convert_checkpoint

    record = json.loads((checkpoint / "training.json").read_text())
    if not bundle.exists():
        convert_checkpoint(checkpoint, bundle, name=shape)
    with EdgeDemist.load(bundle) as model:
        layers = sum(t.size for n, t in model.bundle.tensors.items() if n.startswith("layers.") and t.dtype == np.int8)
    scores = record["scores_dev_sample"]
    return {
        "layers_bytes": int(layers), "accuracy": scores, "mean_accuracy": round(float(np.mean(list(scores.values()))), 4),
        "steps": record["steps"], "training_seconds": record["seconds"], "from_scratch": record["command"]["from_scratch"],
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Train, score, time, write."""
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.depth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--data", type=Path, help="folder with corpus/ and tasks/")
    p.add_argument("--tokenizer", type=Path, help="SentencePiece model")
    p.add_argument("--work", type=Path, help="folder that keeps the runs")
    p.add_argument("--shapes", nargs="*", default=list(SHAPES), metavar="LAYERSxHIDDEN")
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument("--tokens", type=int, default=2048, help="tokens a batch; three batches make a step")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--limit", type=int, default=0, help="rows of every table (small runs)")
    p.add_argument("--dev-rows", type=int, default=3000, help="dev rows a task")
    p.add_argument("--out", type=Path, default=RESULTS)
    p.add_argument("--train-only", dest="measure", action="store_false", help="train the shapes; time them later, on a quiet machine")
    args = p.parse_args(argv)
    if None in (args.data, args.tokenizer, args.work):
        p.error("give --data, --tokenizer and --work")
    checkpoints = {shape: train(shape, args) for shape in args.shapes}
    if not args.measure:
        return 0
    bundles = {shape: args.work / shape / "bundle" for shape in args.shapes}
    shapes = {shape: facts(shape, checkpoints[shape], bundles[shape]) for shape in args.shapes}
    texts = strings(args.data)
    times = {f"batch-{size}": side_by_side(bundles, texts, size) for size in (1, 32)}
    for shape, entry in shapes.items():
        entry["microseconds"] = {batch: found[shape] for batch, found in times.items()}
        print(shape, entry, flush=True)
    result = {"steps": args.steps, "tokens": args.tokens, "seed": args.seed, "machine": machine.facts(), "shapes": shapes}
    result_file.write(args.out, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
