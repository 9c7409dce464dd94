"""Text to label on strings of every task: ours and MiniLM in ONNX Runtime, fp32 and int8, in turns on one core.

    python -m benchmarks.task_speed --data DATA --models /tmp/minilm

MODELS is made by ``benchmarks.models`` (from all-MiniLM-L6-v2) where it is not there. Processor time of the process, so that a busy
machine disturbs less. MiniLM gets a linear head with random weights and its fast tokenizer: only its time counts here. Writes
benchmarks/results/task-times.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd

from benchmarks import models, result_file
from benchmarks.baselines.engines.padded import weights_folder
from edge_demist import EdgeDemist
from edge_demist.diagnostics import machine
from edge_demist.normalizers import NORMALIZERS
from tools.train.data import TASKS

RESULTS = result_file.RESULTS / "task-times.json"
GRAPHS = {"minilm-fp32": "fp32", "minilm-int8": "best"}
Classify = Callable[[list[str]], object]


def minilm(folder: Path, graph: str, task: str, classes: int) -> Classify:
    """Tokenizer, graph, linear head."""
    from tokenizers import Tokenizer

    from benchmarks.baselines.engines.ort import OnnxRuntime

    tokenizer = Tokenizer.from_file(str(weights_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TASKS[task].max_tokens)
    model, head = OnnxRuntime(folder, graph), np.random.default_rng(0).standard_normal((384, classes)).astype(np.float32)
    normalize = NORMALIZERS[TASKS[task].normalizer]

    def classify(texts: list[str]) -> object:
        rows = [e.ids for e in tokenizer.encode_batch([normalize(t) for t in texts])]
        ids = np.fromiter((i for row in rows for i in row), np.int32)
        offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
        return (model.encode(model.prepare(ids, offsets)) @ head).argmax(1)

    return classify


def measure(systems: dict[str, Classify], texts: Sequence[str], size: int, rounds: int) -> dict[str, float]:
    """Median over rounds of the microseconds a string; a round runs all batches, the systems taking turns batch by batch."""
    ordered = sorted(texts, key=len)
    batches = [list(ordered[i : i + size]) for i in range(0, len(ordered) - size + 1, size)]
    spent: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(rounds + 1):
        total = dict.fromkeys(systems, 0.0)
        for batch in batches:
            for name, classify in systems.items():
                before = time.process_time()
                classify(batch)
                total[name] += time.process_time() - before
        if turn:
            for name, seconds in total.items():
                spent[name].append(1e6 * seconds / (size * len(batches)))
    return {name: round(statistics.median(values), 1) for name, values in spent.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every task of the bundle."""
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.task_speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/")
    p.add_argument("--models", type=Path, required=True, help="working folder for MiniLM's ONNX forms")
    p.add_argument("--bundle", type=Path, help="bundle (default: the shipped one)")
    p.add_argument("--strings", type=int, default=128, help="of each task's dev split")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    if not all((args.models / f"{graph}.onnx").exists() for graph in GRAPHS.values()):
        models.prepare("minilm", args.models, None, {})
    result: dict[str, Any] = {"machine": machine.facts(), "load": machine.load_average(), "tasks": {}}
    with EdgeDemist.load(args.bundle) as model:
        result |= {"bundle_id": model.bundle_id, "strings": args.strings, "rounds": args.rounds, "onnxruntime": ort.__version__}
        for task in model.tasks:
            table = pd.read_parquet(args.data / "tasks" / task / "dev.parquet").sample(args.strings, random_state=0)
            texts = list(table["text"])

            def ours(batch: list[str], task: str = task) -> object:
                return model.classify(batch, task=task)

            classes = len(model.specialist(task).labels)
            systems: dict[str, Classify] = {"edge-demist": ours}
            systems |= {name: minilm(args.models, graph, task, classes) for name, graph in GRAPHS.items()}
            entry: dict[str, Any] = {name: {} for name in systems}
            for size in (1, 32):
                for name, value in measure(systems, texts, size, args.rounds).items():
                    entry[name][f"batch-{size}"] = value
            entry["mean_characters"] = round(float(table["text"].str.len().mean()), 1)
            result["tasks"][task] = entry
            result_file.write(args.out, result)
            print(task, entry, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
