"""Speed, memory and quality beside peers: ``python -m benchmarks.speed --help``.

Sections, each kept in the result file as soon as it is done, and skipped when it is there (``--redo`` measures anew):

``ids``      same weights and ids: microseconds a string, cosine to fp32, memory, start
``text``     text to label against sentence-transformers
``tokenize`` exact tokenizer against SentencePiece and Hugging Face tokenizers
``mixed``    a batch for 8 specialists against the same batch for one
``start``    process start to first vector, and memory
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import in_process, interleaved, models
from benchmarks.baselines.engines import REGISTRY
from edge_demist import EdgeDemist
from edge_demist.diagnostics import cold_start, machine
from edge_demist.diagnostics import statistics as stability

IDS_VARIANTS = (
    "native", "native-avx512vnni", "native-avx2", "ort-best", "ort-stock", "ort-fp32", "engine-onnxruntime", "ctranslate2",
    "ctranslate2-avx2", "openvino", "openvino-avx2", "torch-fp32",
)  # fmt: skip
TEXT_VARIANTS = ("classify", "sentence-transformers")
STRINGS = 1024
BATCHES = (1, 8, 32, 256)
SLICE_SECONDS = 0.15


def read_strings(path: Path, count: int) -> list[str]:
    """Distinct strings of a Parquet column ``text`` or of lines, a fixed random choice."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        texts = [text for text in pq.read_table(path, columns=["text"])["text"].to_pylist() if text]
    else:
        texts = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    texts = sorted(set(texts))
    order = np.random.default_rng(1).permutation(len(texts))
    return [texts[i] for i in order[:count]]


def make_cases(texts: list[str], bundle: Path, folder: Path) -> dict[str, Any]:
    """Write ``cases.npz`` and ``cases.json``; returns facts of the strings.

    ``batch-N``: rows sorted by length, so that padding costs the peers least; ``batch-32-unsorted``: as they come.
    """
    tokenizer = EdgeDemist.load(bundle).tokenizer
    ids, offsets = tokenizer.encode_batch([t.encode() for t in texts], max_tokens=64, add_special_tokens=True)
    lengths = np.diff(offsets)
    by_length = np.argsort(lengths, kind="stable")
    cases: dict[str, list[list[int]]] = {"batch-1": [[i] for i in range(min(256, len(texts)))]}
    for size in BATCHES[1:]:
        chunks = [by_length[i : i + size].tolist() for i in range(0, len(texts) - size + 1, size)]
        order = np.random.default_rng(size).permutation(len(chunks))
        cases[f"batch-{size}"] = [chunks[i] for i in order]
    cases["batch-32-unsorted"] = [list(range(i, i + 32)) for i in range(0, len(texts) - 31, 32)]
    np.savez(folder / "cases.npz", token_ids=ids, offsets=offsets, cases=json.dumps(cases))
    as_texts = {name: [[texts[i] for i in rows] for rows in batches] for name, batches in cases.items()}
    (folder / "cases.json").write_text(json.dumps(as_texts), encoding="utf-8")
    return {"strings": len(texts), "mean_tokens": float(lengths.mean()), "mean_tokens_batch_1": float(lengths[:256].mean())}


class Results:
    """The result file; every finished part is written at once."""

    def __init__(self, path: Path, redo: bool) -> None:
        self._path, self._redo = path, redo
        self.data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"format": 1}

    def part(self, section: str, name: str, make: Callable[[], object]) -> None:
        """Measure one part unless the file has it."""
        parts = self.data.setdefault(section, {})
        if name in parts and not self._redo:
            return
        sys.stderr.write(f"{section}: {name}\n")
        before, load = machine.Moment.now(), machine.load_average()
        parts[name] = make()
        after = machine.Moment.now()
        meanwhile: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": after.seconds - before.seconds,
            "steal_share": machine.steal_share(before, after),
            "load_before": load,
        }
        meanwhile["unstable"] = stability.machine_doubts(meanwhile["steal_share"], 0.0, load, os.cpu_count() or 1)
        self.data.setdefault("meanwhile", {})[f"{section}: {name}"] = meanwhile
        self.write()

    def write(self) -> None:
        """Write the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(cold_start.dumps(self.data), encoding="utf-8")


def quality(peers: list[interleaved.Peer], folder: Path) -> dict[str, dict[str, float]]:
    """Cosine of each variant's vectors to PyTorch fp32, over the strings of the batch-32 case."""
    vectors = {}
    for peer in peers:
        target = folder / f"{peer.name}.npy"
        peer.ask(do="vectors", case="batch-32", to=str(target))
        vectors[peer.name] = np.load(target)
    reference = vectors.get("torch-fp32")
    if reference is None:
        return {}
    cosines = {
        name: np.einsum("ij,ij->i", v, reference) / np.linalg.norm(v, axis=1) / np.linalg.norm(reference, axis=1)
        for name, v in vectors.items()
    }
    return {name: {"mean": float(c.mean()), "p1": float(np.percentile(c, 1)), "min": float(c.min())} for name, c in cosines.items()}


def run_peers(section: str, names: list[str], args: argparse.Namespace, results: Results, folder: Path) -> None:
    """The sections ``ids`` and ``text``: workers in turns, case by case."""
    cases = args.cases.split(",") if section == "ids" else ["batch-1", "batch-32"]
    if not args.redo and all(case in results.data.get(section, {}) for case in [*cases, "peers"]):
        return
    log = folder / "workers.log"
    peers, missing = interleaved.open_peers(names, args.models, folder / "cases.npz", models.pythons(args.python), args.cpu, log)
    results.data.setdefault("left_out", {})[section] = missing
    for line in missing:
        sys.stderr.write(f"left out: {line}\n")
    for case in cases:
        size = int(case.split("-")[1])
        results.part(
            section, case, lambda case=case, size=size: interleaved.measure(peers, case, size, args.rounds, args.seconds, args.clock)
        )
    results.part(section, "peers", lambda: facts_of(peers, quality(peers, folder) if section == "ids" else {}))
    for peer in peers:
        peer.close()


def facts_of(peers: list[interleaved.Peer], cosines: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Memory after the run, start, versions and quality of each variant."""
    return {
        peer.name: {
            "title": REGISTRY[peer.name].title,
            **peer.facts,
            "start_seconds": peer.start_seconds,
            "start_rss_bytes": peer.start_memory["rss_bytes"],
            **peer.ask(do="memory"),
            "cosine_to_fp32": cosines.get(peer.name),
        }
        for peer in peers
    }


def run_starts(args: argparse.Namespace, results: Results, text: str) -> None:
    """Process start to first vector; numpy alone in turns with it."""
    path = str(args.models / "bundle")
    results.part("start", "native", lambda: cold_start.measure(path, "native", 1, text, args.starts))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="Hugging Face BertModel folder, or 'minilm'")
    parser.add_argument("--bundle", type=Path, default=None, help="bundle made from it (default: converted anew)")
    parser.add_argument("--models", type=Path, required=True, help="working folder for the peers' forms of the model")
    parser.add_argument("--strings", type=Path, required=True, help="Parquet with a column text, or lines")
    parser.add_argument("--out", type=Path, required=True, help="result file")
    parser.add_argument(
        "--python", action="append", default=[], metavar="NAME=PATH", help="interpreter of peers that clash, such as openvino=…"
    )
    parser.add_argument("--sections", default="ids,text,tokenize,mixed,start")
    parser.add_argument("--variants", default=",".join(IDS_VARIANTS))
    parser.add_argument("--cases", default=",".join([*(f"batch-{size}" for size in BATCHES), "batch-32-unsorted"]), help="of section ids")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=SLICE_SECONDS, help="of one slice")
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--cpu", type=int, default=None, help="pin everything to this processor")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, for a machine that is busy")
    parser.add_argument("--redo", action="store_true")
    args = parser.parse_args()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})
    results = Results(args.out, args.redo)
    left_out = models.prepare(args.checkpoint, args.models, args.bundle, models.pythons(args.python))
    texts = read_strings(args.strings, STRINGS)
    sections = args.sections.split(",")
    if "ids" in sections:
        results.data["left_out_models"] = left_out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results.data["strings"] = make_cases(texts, args.models / "bundle", folder)
        results.data |= {"machine": machine.facts(), "clock": args.clock}
        results.data["model"] = model_facts(args)
        if "ids" in sections:
            run_peers("ids", args.variants.split(","), args, results, folder)
        if "text" in sections:
            run_peers("text", list(TEXT_VARIANTS), args, results, folder)
    if "tokenize" in sections:
        many = read_strings(args.strings, 20_000)
        results.part("tokenize", "hostnames", lambda: in_process.tokenizers(args.models, many, args.rounds, args.clock))
    if "mixed" in sections:
        results.part("mixed", "engine", lambda: in_process.mixed(args.models / "bundle", texts, args.rounds, args.clock))
    if "start" in sections:
        run_starts(args, results, texts[0])
    results.write()


def model_facts(args: argparse.Namespace) -> dict[str, Any]:
    """Which weights."""
    bundle = EdgeDemist.load(args.models / "bundle").bundle
    arch = {
        name: getattr(bundle.architecture, name) for name in ("num_layers", "hidden_size", "num_heads", "intermediate_size", "vocab_size")
    }
    name = "all-MiniLM-L6-v2" if args.checkpoint == "minilm" else bundle.name
    return {"name": name, "bundle_id": bundle.id, "architecture": arch, "tasks": list(bundle.tasks)}


if __name__ == "__main__":
    main()
