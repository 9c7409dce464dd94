"""Compares quantization methods with the float checkpoint, and finds the linear layers that int8 hurts most."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist.bundle import Bundle
from edge_demist.specialists import load_specialist

from .calibration import Statistics
from .checkpoint import Encoder
from .evaluate import Cosine, Rows, float_vectors, read_labelled, task_probabilities
from .int8 import quantize_rows
from .methods import DynamicPerToken, Method, merge_lora, methods
from .recipe import LabelledTexts
from .reference import LINEARS, encode, normalize

Float = NDArray[np.float32]
Site = tuple[int, str]


def sensitivity(encoder: Encoder, rows: Rows) -> dict[Site, float]:
    """Return 1 − mean cosine when one linear layer alone is int8, by (layer, kind)."""
    reference = float_vectors(encoder, rows)
    sites = [(i, kind) for i in range(encoder.architecture.num_layers) for kind in LINEARS]
    found = {}
    for site in sites:
        rule = DynamicPerToken(encoder, frozenset(sites) - {site})
        found[site] = 1 - Cosine.of(normalize(encode(encoder, rows, rule)), reference).mean
    return found


def most_sensitive(costs: Mapping[Site, float], count: int) -> frozenset[Site]:
    """Return the ``count`` linear layers that cost most."""
    return frozenset(sorted(costs, key=lambda site: (-costs[site], site))[:count])


def compare_methods(
    bundle: Bundle, encoder: Encoder, calibration: Mapping[Site, Statistics], rows: Rows,
    tasks: Mapping[str, LabelledTexts], fallback: frozenset[Site],
) -> list[dict[str, object]]:  # fmt: skip
    """Return one record a method: size of the linear layers, cosine, accuracy drop in points by task."""
    reference = float_vectors(encoder, rows)
    labelled = {task: read_labelled(one.file, one.limit) for task, one in tasks.items()}
    truth = {task: _accuracy_of_float(bundle, encoder, task, *labelled[task]) for task in labelled}
    records = []
    for method in methods(encoder, calibration, fallback):
        word = None if method.name == "float32" else int8_embedding(encoder)
        cosine = Cosine.of(normalize(encode(encoder, rows, method.rule, word=word)), reference)
        drops = {
            task: truth[task] - _accuracy(bundle, encoder, task, *labelled[task], method=method, word=word) for task in labelled
        }
        records.append(_record(method, cosine, drops))
    if labelled:
        records.append(_merged(bundle, encoder, labelled, truth))
    return records


def int8_embedding(encoder: Encoder) -> Float:
    """Return the word embedding as a bundle holds it, back in float32."""
    values, scale = quantize_rows(encoder.word)
    return values * scale[:, None]


def _record(method: Method, cosine: Cosine, drops: Mapping[str, float]) -> dict[str, object]:
    return {
        "method": method.name,
        "note": method.note,
        "linear_megabytes": method.weight_bytes / 1e6,
        "cosine": asdict(cosine),
        "accuracy_drop_points": dict(drops),
    }


def _merged(
    bundle: Bundle, encoder: Encoder, labelled: Mapping[str, tuple[list[str], list[str]]], truth: Mapping[str, float]
) -> dict[str, object]:
    """Adapters added to the weights before quantization: one base a task instead of one for all."""
    word, drops = int8_embedding(encoder), {}
    size = 0
    for task, (texts, labels) in labelled.items():
        specialist = load_specialist(bundle, task)
        merged = merge_lora(encoder, dict(specialist.adapter.layers))
        rule = DynamicPerToken(merged)
        probabilities = task_probabilities(bundle, specialist, merged, texts, rule, word, with_lora=False)
        drops[task] = truth[task] - _percent(specialist.labels, probabilities, labels)
        size += sum(getattr(layer, kind).weight.size for layer in encoder.layers for kind in LINEARS)
    return {
        "method": "merged-lora-int8",
        "note": "one int8 base a task",
        "linear_megabytes": size / 1e6,
        "cosine": None,
        "accuracy_drop_points": drops,
    }


def _accuracy_of_float(bundle: Bundle, encoder: Encoder, task: str, texts: Sequence[str], labels: Sequence[str]) -> float:
    specialist = load_specialist(bundle, task)
    return _percent(specialist.labels, task_probabilities(bundle, specialist, encoder, texts), labels)


def _accuracy(
    bundle: Bundle, encoder: Encoder, task: str, texts: Sequence[str], labels: Sequence[str], method: Method, word: Float | None
) -> float:
    specialist = load_specialist(bundle, task)
    return _percent(specialist.labels, task_probabilities(bundle, specialist, encoder, texts, method.rule, word), labels)


def _percent(names: Sequence[str], probabilities: Float, labels: Sequence[str]) -> float:
    chosen = probabilities.argmax(axis=1)
    return 100 * float(np.mean([names[i] == label for i, label in zip(chosen, labels, strict=True)]))


def bundle_megabytes(folder: Path) -> float:
    """Return the size of all files below ``folder``, in megabytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
