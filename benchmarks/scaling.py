"""Time and memory as the work grows: ``python -m benchmarks.scaling --help``.

``strings``: 10² to 10⁶ distinct strings through ``encode`` and ``classify``, read from a generator as the command line
reads a pipe: microseconds a string and the process's largest memory, one fresh process a point.
``tokens``: rows of 4 to 512 tokens, batch 1 and 32: microseconds a row, ours and the peers'.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import interleaved, models
from benchmarks.speed import Results, model_facts
from edge_demist.diagnostics import machine

COUNTS = (100, 1_000, 10_000, 100_000, 1_000_000)
LENGTHS = (4, 8, 16, 32, 64, 128, 256, 512)
LONGEST_OF_32 = 64
"""Rows of more tokens are measured one at a time only: 32 of them take a peer seconds."""
PEERS = ("native", "native-avx2", "ort-best", "ort-stock", "ctranslate2", "openvino")
PROGRAM = """
import json, sys, time
from edge_demist import EdgeDemist
from edge_demist.bench.cold import memory
path, count, mode, batch = sys.argv[1], int(sys.argv[2]), sys.argv[3], 2048
model = EdgeDemist.load(path)
task = "hostname-category" if "hostname-category" in model.tasks else next(iter(model.tasks), None)
def run(first, last):
    texts = [f"host-{i * 2654435761 % 4294967296:x}.example{i % 97}.net" for i in range(first, last)]
    return model.encode(texts) if mode == "encode" else model.classify(texts, task=task)
run(0, 32)
clock = time.process_time if sys.argv[4] == "cpu" else time.perf_counter
began = clock()
for first in range(0, count, batch):
    run(first, min(first + batch, count))
seconds = clock() - began
rss, peak = memory()
print(json.dumps({"strings": count, "seconds": seconds, "us_per_string": seconds * 1e6 / count, "rss_bytes": rss, "peak_bytes": peak}))
"""


def grow_strings(bundle: Path, mode: str, count: int, cpu: int | None, clock: str) -> dict[str, Any]:
    """One point: a fresh process that streams ``count`` strings through the model in batches of 2,048."""
    command = [sys.executable, "-c", PROGRAM, str(bundle), str(count), mode, clock]
    if cpu is not None:
        command = ["taskset", "-c", str(cpu), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(interleaved.ROOT)})
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def length_cases(folder: Path, vocabulary: int, longest: int) -> list[tuple[str, int]]:
    """Write cases of random ids: (name, rows of a batch)."""
    random = np.random.default_rng(3)
    rows: list[np.ndarray] = []
    cases: dict[str, list[list[int]]] = {}
    for length in (n for n in LENGTHS if n <= longest):
        for batch in (1, 32) if length <= LONGEST_OF_32 else (1,):
            cases[f"{length} tokens, batch {batch}"] = [[len(rows) + k * batch + i for i in range(batch)] for k in range(2)]
            rows += [random.integers(300, vocabulary, length).astype(np.int32) for _ in range(2 * batch)]
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    np.savez(folder / "cases.npz", token_ids=np.concatenate(rows), offsets=offsets, cases=json.dumps(cases))
    return [(name, int(name.rsplit(" ", 1)[1])) for name in cases]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="Hugging Face BertModel folder, or 'minilm'")
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--variants", default=",".join(PEERS))
    parser.add_argument("--largest", type=int, default=COUNTS[-1], help="largest number of strings")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--cpu", type=int, default=None)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--redo", action="store_true")
    args = parser.parse_args()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})
    results = Results(args.out, args.redo)
    models.prepare(args.checkpoint, args.models, args.bundle, models.pythons(args.python))
    results.data |= {"machine": machine.facts(), "model": model_facts(args), "clock": args.clock}
    bundle = args.models / "bundle"
    for mode in ("encode", *(["classify"] if results.data["model"]["tasks"] else [])):
        for count in (n for n in COUNTS if n <= args.largest):
            results.part(
                "strings", f"{mode} {count}", lambda mode=mode, count=count: grow_strings(bundle, mode, count, args.cpu, args.clock)
            )
    config = json.loads((args.models / "checkpoint" / "config.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = length_cases(folder, config["vocab_size"], min(config["max_position_embeddings"], LENGTHS[-1]))
        names, log = args.variants.split(","), folder / "workers.log"
        peers, results.data["left_out"] = interleaved.open_peers(
            names, args.models, folder / "cases.npz", models.pythons(args.python), args.cpu, log
        )
        for case, batch in cases:
            results.part(
                "tokens",
                case,
                lambda case=case, batch=batch: interleaved.measure(peers, case, batch, args.rounds, args.seconds, args.clock),
            )
        results.part("tokens", "memory", lambda: {peer.name: peer.ask(do="memory") for peer in peers})
        for peer in peers:
            peer.close()
    results.write()


if __name__ == "__main__":
    main()
