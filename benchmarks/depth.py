"""Depth and width against time: bases of several shapes, each trained on the same number of tokens, scored and timed.

    python -m benchmarks.depth --data DATA --tokenizer spm.model --work WORK --steps 4000     # hours a shape on a CPU core
    python -m benchmarks.depth --render                                                      # only docs/depth.md and its picture

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
from benchmarks.accuracy_report import DOCS, percent, table
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


def draw(shapes: dict[str, Any], path: Path) -> None:
    """Mean accuracy against time a string at batch 1 and 32."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axes, size in zip(grid, ("batch-1", "batch-32"), strict=True):
        for shape, entry in shapes.items():
            color = "#c8553d" if entry["from_scratch"] == "True" else "#1b6ca8"
            at = entry["microseconds"][size], 100 * (1 - entry["mean_accuracy"])
            axes.plot(*at, "o", color=color)
            axes.annotate(shape, at, xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        axes.set_xlabel(f"µs a string, {size.replace('-', ' ')}")
    grid[0].set_ylabel("errors, % (mean of the tasks)")
    figure.suptitle("blue: starts from MiniLM's layers; red: from random weights", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def render() -> None:
    """Write ``docs/depth.md`` and ``docs/depth.png``."""
    result = result_file.read(RESULTS)
    shapes = dict(sorted(result["shapes"].items(), key=lambda item: item[1]["microseconds"]["batch-1"]))
    draw(shapes, DOCS / "depth.png")
    rows = []
    for shape, e in shapes.items():
        times = [f"{e['microseconds'][b]:,.0f}" for b in ("batch-1", "batch-32")]
        start = "random" if e["from_scratch"] == "True" else "MiniLM"
        rows.append(
            [shape, start, f"{e['layers_bytes'] / 1e6:.1f}", *times, percent(e["mean_accuracy"]), *map(percent, e["accuracy"].values())]
        )
    tasks = list(next(iter(shapes.values()))["accuracy"])
    header = ["layers × hidden", "start", "MB of layers, int8", "µs, batch 1", "µs, batch 32", "mean accuracy", *tasks]
    lines = [
        "# Depth and width",
        "",
        f"Every shape was trained for {result['steps']:,} steps of three batches of {result['tokens']:,} tokens (padding included), seed",
        f"{result['seed']}. Accuracy: task heads of the base in float32, before any specialist, on the training's dev sample; time: int8",
        "engine, one thread, processor time, strings of all tasks, the shapes in turns. Written by `python -m benchmarks.depth --render`.",
        "",
        "![errors against time](depth.png)",
        "",
        *table(header, rows),
    ]
    (DOCS / "depth.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


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
    p.add_argument("--render", action="store_true")
    args = p.parse_args(argv)
    if args.render:
        render()
        return 0
    if None in (args.data, args.tokenizer, args.work):
        p.error("give --data, --tokenizer and --work, or --render")
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
