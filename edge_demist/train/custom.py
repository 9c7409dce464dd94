"""One specialist on one's own labels: an adapter, a head and a small n-gram table on the frozen base of a bundle, in one file."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.int8 import quantize_columns
from edge_demist.format.specialist import read_specialist
from edge_demist.train import calibration
from edge_demist.train.columns import Settings, folded, shape, train_columns
from edge_demist.train.encoder import BundleTokenizer, adapter_tensors, add_adapters, encoder_of
from edge_demist.train.fit import Settings as Fit
from edge_demist.train.fit import cut_ranks, drawn, features, start_at, train
from edge_demist.train.network import Network
from edge_demist.train.ngrams import NgramTable
from edge_demist.train.ood_texts import binary, made_up, prose, told_apart
from edge_demist.train.rows import Rows, Task, normalized, pack
from edge_demist.train.table import Pairs

Floats = NDArray[np.float32]
STEPS = 600
"""Steps of training where nobody says how many epochs: small tables are read more often."""
FEWEST, MOST = 3, 40
"""Epochs where nobody says how many."""
OOD_ROWS = 2_000
SMALL = 20_000
"""Rows up to which the n-grams are trained twice as long."""
START_ROWS = 20_000
"""Rows for the regression that training starts from, and for the out-of-distribution detector."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to train; ``alarms`` are the labels that raise an alarm (none: categories)."""

    task: str
    labels: tuple[str, ...]
    alarms: tuple[str, ...] = ()
    normalizer: str = "identity"
    max_tokens: int = 128
    source: str = "custom labels"
    layers: int = 3
    epochs: int | None = None
    rank: int = 16
    svd_energy: float = 0.9
    rate: float = 1e-3
    batch_tokens: int = 2048
    smoothing: float = 0.05
    seed: int = 1
    threads: int = 1


@dataclasses.dataclass
class _Parts:
    """What is trained, and what stays."""

    net: Network
    head: nn.Linear
    table: NgramTable
    ngram_head: tuple[Floats, Floats]
    first: int

    def features(self, rows: Rows) -> tuple[Floats, Floats]:
        """Pooled and n-gram vectors, as they will be served."""
        return features(self.net, self.table, self.net.encoder, rows, self.first)


def train_specialist(bundle: Bundle, plan: Plan, rows: Pairs, dev: Pairs, ood: Sequence[str], out: Path) -> dict[str, Any]:
    """Train, calibrate, and write ``<task>.safetensors`` and ``<task>.training.json`` to the folder ``out``.

    Args:
        bundle: the base.
        plan: the settings.
        rows: (text, label) to train on.
        dev: (text, label) to calibrate and score on; no text of ``rows``.
        ood: strings that are not of the task's kind, beside the built-in ones.
        out: the folder.

    Returns:
        The record: what was trained on, scores on ``dev`` with intervals, thresholds.
    """
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    tokenizer, labels = BundleTokenizer(bundle), list(plan.labels)
    limit = min(plan.max_tokens, bundle.limits.max_tokens)
    task = Task(plan.task, plan.normalizer, "alarm" if plan.alarms else "category", limit, plan.alarms)

    def packed(texts: Sequence[str], names: Sequence[str] | None = None) -> Rows:
        y = None if names is None else np.array([labels.index(name) for name in names], np.int64)
        return pack(normalized(texts, task.normalizer), tokenizer, task.max_tokens, y)

    strange = packed(told_apart(_strange(ood, random.Random(plan.seed)), task.normalizer))
    given, held = (packed([text for text, _ in part], [label for _, label in part]) for part in (rows, dev))
    parts, seconds, ranks = _trained(bundle, plan, given)
    sample, dev_features = drawn(given, START_ROWS, plan.seed), parts.features(held)
    weight, bias = parts.head.weight.detach().numpy(), parts.head.bias.detach().numpy()
    combined = calibration.combine(weight, bias, parts.ngram_head, *dev_features, held.labels)
    detector = calibration.fit_domain(parts.features(sample), parts.features(strange))
    known = detector.probability(*dev_features)
    result = calibration.calibrate(task, labels, combined.logits(*dev_features), held.labels, known, honest=True)
    result |= {"ranks": ranks, "share": {"encoder": combined.encoder_factor, "ngrams": combined.ngram_factor}}
    matrix = quantize_columns(parts.table.weight.numpy())
    head = {f"head.{name}": tensor for name, tensor in {**combined.tensors(), **detector.tensors()}.items()}
    table: dict[str, NDArray[Any]] = {"ngrams.weight": matrix.values, "ngrams.scale": matrix.scale}
    tensors: dict[str, NDArray[Any]] = {**adapter_tensors(parts.net.encoder, parts.first), **head, **table}
    record = {
        "settings": {name: value for name, value in dataclasses.asdict(plan).items() if name != "labels"},
        "seconds": round(seconds),
        "base_sha256": bundle.base_sha256,
        "rows": {"train": len(rows), "dev": len(dev)},
        "dev": result,
    }
    _write(bundle, out, task, tensors, _metadata(bundle, plan, task, result, parts.table), record)
    return record


def _trained(bundle: Bundle, plan: Plan, rows: Rows) -> tuple[_Parts, float, int]:
    """The trained parts, the seconds it took, and the ranks that are left."""
    net = Network(encoder_of(bundle), {plan.task: len(plan.labels)})
    count = bundle.architecture.num_layers
    first = count - min(plan.layers, count)
    add_adapters(net.encoder, plan.rank, first)
    table, ngram_head = own_table(rows, len(plan.labels), plan.seed)
    head = net.heads[plan.task]
    parts = _Parts(net, head, table, ngram_head, first)
    sample = drawn(rows, START_ROWS, plan.seed)
    start_at(head, parts.features(sample)[0], sample.labels)
    epochs = plan.epochs or epochs_for(rows, plan.batch_tokens)
    settings = Fit(first, epochs, plan.rate, plan.batch_tokens, plan.smoothing, plan.seed)
    seconds = train(net, net.encoder, head, rows, settings)
    return parts, seconds, sum(cut_ranks(net.encoder, plan.svd_energy).values())


def epochs_for(rows: Rows, tokens: int) -> int:
    """Epochs that make about ``STEPS`` steps."""
    steps = max(1, int(rows.lengths.sum()) // tokens)
    return min(MOST, max(FEWEST, math.ceil(STEPS / steps)))


def own_table(rows: Rows, classes: int, seed: int) -> tuple[NgramTable, tuple[Floats, Floats]]:
    """An n-gram table of the task alone, as it will be served (int8), and the head on it, float32 [dim, C] and float32 [C]."""
    config = shape(classes)
    weight, bias = train_columns(rows, classes, config, Settings(epochs=24 if len(rows) < SMALL else 12), seed)
    table, head = folded(weight, bias, classes, config)
    served = quantize_columns(table.weight.numpy()).dequantize()
    return NgramTable(config, torch.from_numpy(served)), head


def _strange(given: Sequence[str], rng: random.Random) -> list[str]:
    """Strings that are not of the task's kind: prose, noise, what is made up, and those given."""
    return [*prose(rng, OOD_ROWS), *binary(rng, OOD_ROWS), *made_up(rng, 3 * OOD_ROWS), *given]


def _metadata(bundle: Bundle, plan: Plan, task: Task, result: dict[str, Any], table: NgramTable) -> dict[str, str]:
    """What the specialist's file says of itself (docs/reference/bundle-format.md)."""
    values = {
        "labels": list(plan.labels),
        "positive_labels": list(task.positive_labels),
        "thresholds": result["thresholds"],
        "sources": [plan.source],
        "ngrams": dataclasses.asdict(table.config),
    }
    plain = {
        "task": task.name,
        "kind": task.kind,
        "normalizer": task.normalizer,
        "max_tokens": str(task.max_tokens),
        "temperature": repr(result["temperature"]),
        "base_sha256": bundle.base_sha256,
    }
    return plain | {name: json.dumps(value, sort_keys=True, ensure_ascii=False) for name, value in values.items()}


def _write(
    bundle: Bundle, out: Path, task: Task, tensors: dict[str, NDArray[Any]], metadata: dict[str, str], record: dict[str, Any]
) -> None:
    """The record first, the file last: where a file stands it was finished."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{task.name}.safetensors"
    path.unlink(missing_ok=True)
    (out / f"{task.name}.training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    safetensors.write(path, tensors, metadata)
    read_specialist(bundle, path, task.name)


def say_levels(record: dict[str, Any]) -> None:
    """Say on stderr which false-positive rates the rows were enough for."""
    alarms = record["dev"].get("alarms")
    if alarms is None:
        return
    negatives, levels = alarms["negatives"], sorted(record["dev"]["thresholds"]["fpr"], key=float)
    finest = f"the finest rate that is claimed is {levels[0]}" if levels else "no rate is claimed"
    sys.stderr.write(
        f"edge-demist: {negatives:,} harmless rows to calibrate on: {finest}; 0.001 needs {round(calibration.LEAST_EXPECTED / 0.001):,}\n"
    )
