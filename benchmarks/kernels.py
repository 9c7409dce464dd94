"""Speed of the compiled kernels on random weights: CPU levels, batch sizes, row lengths, adapters, tokenizer, n-grams.

    python benchmarks/kernels.py --output benchmarks/results/kernels.json

Every figure is the median of calls that take turns with what they are compared to, in one process and on one thread,
so that noise of the machine meets all alike; compare ratios, not microseconds.  A figure whose quartiles are further
apart than a quarter of its median is marked unstable.  ``--model`` brings a SentencePiece model for the comparison of
tokenizers (the package sentencepiece must be installed); without it that part is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from edge_demist.engines.native import NativeEngine  # noqa: E402
from edge_demist.format.adapter import LORA_TARGETS, Adapter  # noqa: E402
from edge_demist.native import library as native  # noqa: E402
from edge_demist.text.ngrams import Ngrams  # noqa: E402
from edge_demist.text.tokenizer import Tokenizer  # noqa: E402
from tests.support.bundles import random_bundle  # noqa: E402

Call = Callable[[], object]
SHAPES = {"3x384": (3, 384, 12, 1536), "6x384": (6, 384, 12, 1536), "4x256": (4, 256, 8, 1024)}
BATCHES = ((1, 4), (1, 8), (1, 16), (1, 64), (1, 512), (32, 8), (32, 32), (256, 8))


def turns(calls: Mapping[str, Call], rounds: int) -> dict[str, dict[str, object]]:
    """Median microseconds of each call, taken in turns, and the ratio of the first call's median to it."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    names = list(calls)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            calls[name]()
            times[name].append(1e6 * (time.perf_counter() - start))
    first = np.array(times[names[0]])
    table: dict[str, dict[str, object]] = {}
    for name, values in times.items():
        low, median, high = np.percentile(values, [25, 50, 75])
        table[name] = {
            "us": round(float(median), 1),
            "speedup": round(float(np.median(first / np.array(values))), 3),
            "unstable": bool(high - low > median / 4),
        }
    return table


def packed(batch: int, length: int, vocab: int) -> tuple[np.ndarray, np.ndarray]:
    """``batch`` rows of ``length`` random ids."""
    ids = np.random.default_rng(length).integers(0, vocab, batch * length).astype(np.int32)
    return ids, np.arange(0, batch * length + 1, length, dtype=np.int32)


def levels(shape: str, rounds: int) -> Mapping[str, object]:
    """Every CPU level of this machine over batches and lengths; speedups are against the best level."""
    layers, hidden, heads, wide = SHAPES[shape]
    bundle = random_bundle(0, layers, hidden, heads, wide, vocab=4096, positions=512)
    engines = {level: NativeEngine(bundle, kernels=native.load(level)) for level in native.available_levels()}
    table: dict[str, object] = {}
    for batch, length in BATCHES:
        rows = packed(batch, length, 4096)
        calls: dict[str, Call] = {name: (lambda e=e, rows=rows: e.encode(*rows)) for name, e in engines.items()}
        table[f"batch {batch}, {length} tokens"] = turns(calls, max(5, rounds * 32 // (batch * length)))
    return table


def adapters(rank: int, rounds: int, targets: Sequence[str] = LORA_TARGETS) -> Mapping[str, object]:
    """A batch of 32 rows: the base, one specialist, eight specialists mixed; adapters on the upper half."""
    bundle = random_bundle(0, 4, 384, 12, 1536, vocab=4096, positions=512)
    engine, random = NativeEngine(bundle), np.random.default_rng(0)

    def make(name: str) -> Adapter:
        pairs = {}
        for layer in (2, 3):
            for target in targets:
                k, n = (1536 if target == "ffn_down" else 384), (1536 if target == "ffn_up" else 384)
                a, b = random.standard_normal((k, rank)), random.standard_normal((rank, n))
                pairs[layer, target] = (a.astype(np.float32), b.astype(np.float32))
        return Adapter(name, pairs)

    eight = [make(str(number)) for number in range(8)]
    rows = packed(32, 8, 4096)
    one, sorted_eight = np.zeros(32, np.int32), np.repeat(np.arange(8, dtype=np.int32), 4)
    shuffled = np.arange(32, dtype=np.int32) % 8
    return turns(
        {
            "one specialist": lambda: engine.encode(*rows, eight, one),
            "eight, sorted": lambda: engine.encode(*rows, eight, sorted_eight),
            "eight, in turns": lambda: engine.encode(*rows, eight, shuffled),
            "base alone": lambda: engine.encode(*rows),
        },
        rounds,
    )


def tokenizer(model: Path, texts: list[str], rounds: int) -> Mapping[str, object]:
    """Our batch call against SentencePiece's own, one thread each; also one string from bytes to vector."""
    import sentencepiece

    from quantize.tokenizer_tables import unigram_tables

    tables = unigram_tables(model)
    bundle = random_bundle(0, 3, 384, 12, 1536, vocab=tables.vocab_size, positions=512, tokenizer=tables)
    own, engine = Tokenizer(bundle), NativeEngine(bundle)
    other = sentencepiece.SentencePieceProcessor(model_file=str(model))
    data = [text.encode() for text in texts]
    few = data[:256]

    def two_calls() -> None:
        for text in few:
            engine.encode(*own.encode_batch([text], add_special_tokens=True))

    def one_call() -> None:
        for text in few:
            engine.encode_text(own, text)

    return {
        "batch": turns(
            {
                "sentencepiece": lambda: other.encode(texts, num_threads=1),
                "edge-demist": lambda: own.encode_batch(data),
            },
            rounds,
        ),
        "one string at a time, text to vector": turns({"two calls": two_calls, "one call": one_call}, rounds),
    }


def ngrams(texts: list[str], rounds: int) -> Mapping[str, object]:
    """Microseconds a string of the n-gram features."""
    bundle = random_bundle(0, 1, 64, 1, 64, ngrams=(131072, 64, 2, 5, 512))
    data = [text.encode() for text in texts]
    tables = {level: Ngrams(bundle, native.load(level)) for level in native.available_levels()}
    calls: dict[str, Call] = {level: (lambda n=table: n.encode_batch(data)) for level, table in tables.items()}
    return turns(calls, rounds)


def sample_texts(count: int) -> list[str]:
    """Host names made of random syllables, 4 to 40 characters."""
    random = np.random.default_rng(0)
    syllables = ["con", "ta", "mail", "net", "go", "ra", "cdn", "x7", "shop", "-", "web", "in", "fo", "sec", "1", "log"]
    return [
        "".join(random.choice(syllables, random.integers(1, 7))) + "." + str(random.choice(["com", "net", "de", "example.org"]))
        for _ in range(count)
    ]


def facts() -> Mapping[str, object]:
    """What the figures depend on."""
    return {
        "machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__,
        "cpus": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 2),
        "levels": native.available_levels(), "build": json.loads((Path(native.FOLDER) / "BUILD.json").read_text()),
    }  # fmt: skip


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--model", type=Path, help="SentencePiece model for the tokenizer's comparison")
    parser.add_argument("--texts", type=Path, help="one string a line; made-up host names by default")
    parser.add_argument("--output", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    texts = options.texts.read_text(encoding="utf-8").splitlines()[:20_000] if options.texts else sample_texts(20_000)
    result: dict[str, object] = {"facts": facts()}
    for shape in SHAPES:
        result[f"encoder {shape}"] = levels(shape, options.rounds)
    result["adapters rank 8, every target"] = adapters(8, options.rounds)
    result["adapters rank 8, q and v"] = adapters(8, options.rounds, ("q", "v"))
    if options.model:
        result["tokenizer"] = tokenizer(options.model, texts, max(5, options.rounds // 6))
    result["ngrams, 20,000 strings"] = ngrams(texts, max(5, options.rounds // 6))
    text = json.dumps(result, indent=1)
    if options.output:
        options.output.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
