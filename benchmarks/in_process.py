"""Comparisons that need no worker: tokenizers, and mixed against plain batches, in turns in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines.engines.worker import CLOCKS
from benchmarks.interleaved import row
from edge_demist import EdgeDemist, engines
from edge_demist.format.adapter import Adapter
from edge_demist.native import library as native
from edge_demist.text.tokenizer import Tokenizer

RANK = 8
"""Rank of the random adapters that stand in where a bundle has fewer than 8 specialists."""
SPECIALISTS = 8


def in_turns(
    calls: Mapping[str, Callable[[], object]], strings: int, rounds: int, clock: str = "wall", repeats: int = 3
) -> dict[str, dict[str, Any]]:
    """Rows of result: each call ``repeats`` times a round, the first of the round moving on."""
    names, now = list(calls), CLOCKS[clock]
    slices: dict[str, list[list[float]]] = {name: [] for name in names}
    for call in calls.values():
        call()
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            timings = []
            for _ in range(repeats):
                began = now()
                calls[name]()
                timings.append(now() - began)
            slices[name].append(timings)
    return {name: row(parts, strings) for name, parts in slices.items()}


def tokenizers(models: Path, texts: list[str], rounds: int, clock: str) -> dict[str, Any]:
    """Our tokenizer at every CPU level that runs here against SentencePiece's own batch calls; ids must be equal."""
    source = models / "checkpoint" / "spm.model"
    bundle = EdgeDemist.load(models / "bundle").bundle
    if not source.is_file():
        return {"left_out": "the checkpoint has no spm.model"}
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(source))
    raws = [text.encode() for text in texts]
    best = Tokenizer(bundle)
    ids, offsets = best.encode_batch(raws)
    expected = processor.encode(texts)
    wrong = sum(ids[offsets[i] : offsets[i + 1]].tolist() != expected[i] for i in range(len(texts)))
    calls: dict[str, Callable[[], object]] = {
        "edge-demist": lambda: best.encode_batch(raws),
        "edge-demist from str": lambda: best.encode_batch([text.encode() for text in texts]),
        "sentencepiece": lambda: processor.encode(texts),
        "sentencepiece, one thread": lambda: processor.encode(texts, num_threads=1),
    }
    for level in native.available_levels():
        tokenizer = Tokenizer(bundle, native.load(level))
        calls[f"edge-demist {level}"] = lambda tokenizer=tokenizer: tokenizer.encode_batch(raws)
    return {
        "strings": len(texts),
        "tokens": len(ids),
        "strings_with_other_ids": wrong,
        "rows": in_turns(calls, len(texts), rounds, clock),
        "version": sentencepiece.__version__,
    }


def random_adapters(layers: int, hidden: int, wide: int) -> list[Adapter]:
    """Adapters on every target of the upper half of the layers."""
    random = np.random.default_rng(0)
    sizes = {
        "q": (hidden, hidden),
        "k": (hidden, hidden),
        "v": (hidden, hidden),
        "attn_out": (hidden, hidden),
        "ffn_up": (hidden, wide),
        "ffn_down": (wide, hidden),
    }
    return [
        Adapter(
            f"random-{number}",
            {
                (layer, target): tuple((random.standard_normal(s) * 0.02).astype(np.float32) for s in ((k, RANK), (RANK, n)))
                for layer in range(layers // 2, layers)
                for target, (k, n) in sizes.items()
            },
        )
        for number in range(SPECIALISTS)
    ]


def mixed(path: Path, texts: list[str], rounds: int, clock: str) -> dict[str, Any]:
    """A batch whose rows go to 8 specialists in turn against the same batch for each single one, batch 32 and 256."""
    model = EdgeDemist.load(path)
    bundle, arch = model.bundle, model.bundle.architecture
    real = len(model.tasks) >= SPECIALISTS
    tasks = model.tasks[:SPECIALISTS]
    adapters = (
        [model.specialist(t).adapter for t in tasks] if real else random_adapters(arch.num_layers, arch.hidden_size, arch.intermediate_size)
    )
    engine = engines.create(bundle, "native")
    ids, offsets = model.tokenizer.encode_batch([t.encode() for t in texts[:256]], max_tokens=64, add_special_tokens=True)
    found: dict[str, Any] = {
        "adapters": "specialists of the bundle" if real else f"random, rank {RANK}, all targets of the upper half of the layers"
    }
    for size in (32, 256):
        cut = np.ascontiguousarray(offsets[: size + 1])
        own = ids[: cut[-1]]
        one = [np.full(size, k, np.int32) for k in range(SPECIALISTS)]
        turn = np.sort(np.arange(size, dtype=np.int32) % SPECIALISTS)
        calls: dict[str, Callable[[], object]] = {
            "mixed": lambda own=own, cut=cut, turn=turn: [engine.encode(own, cut, adapters, turn) for _ in range(SPECIALISTS)],
            "one": lambda own=own, cut=cut, one=one: [engine.encode(own, cut, adapters, k) for k in one],
            "none": lambda own=own, cut=cut: [engine.encode(own, cut) for _ in range(SPECIALISTS)],
        }
        found[f"engine-batch-{size}"] = in_turns(calls, size * SPECIALISTS, rounds, clock)
        if real:
            part, names = texts[:size], [tasks[i % SPECIALISTS] for i in range(size)]
            whole: dict[str, Callable[[], object]] = {
                "mixed": lambda part=part, names=names: [model.classify(part, task=names) for _ in range(SPECIALISTS)],
                "one": lambda part=part: [model.classify(part, task=task) for task in tasks],
            }
            found[f"classify-batch-{size}"] = in_turns(whole, size * SPECIALISTS, rounds, clock)
    return found
