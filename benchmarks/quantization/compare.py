"""Compares quantization methods with the float checkpoint, and finds the linear layers that int8 hurts most."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quantization.methods import DynamicPerToken, merge_lora, methods
from edge_demist.format.bundle import Bundle
from edge_demist.format.int8 import quantize_rows
from edge_demist.format.specialist import Specialist, load_specialist
from quantize.calibration import Statistics
from quantize.checkpoint import Encoder
from quantize.evaluate import Cosine, Rows, float_vectors, ngram_vectors, read_labelled, tokenize
from quantize.recipe import LabelledTexts
from quantize.reference import LINEARS, LinearRule, Pairs, encode, normalize

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


@dataclass(frozen=True)
class _Task:
    """A task's specialist and its dev strings, tokenized once; ``truth`` and ``reference`` are label indices [n]."""

    specialist: Specialist
    rows: Rows
    ngrams: Float | None
    truth: NDArray[np.intp]
    reference: NDArray[np.intp]

    def choose(self, encoder: Encoder, rule: LinearRule | None, word: Float | None, lora: Pairs) -> NDArray[np.intp]:
        """Return the label indices that an encoder gives."""
        probabilities = self.specialist.probabilities(encode(encoder, self.rows, rule, lora, word), self.ngrams)
        chosen: NDArray[np.intp] = probabilities.argmax(axis=1)
        return chosen


def compare_methods(
    bundle: Bundle, encoder: Encoder, calibration: Mapping[Site, Statistics], rows: Rows,
    tasks: Mapping[str, LabelledTexts], fallback: frozenset[Site], ngram_weights: Mapping[str, Float | None] | None = None,
) -> list[dict[str, object]]:  # fmt: skip
    """Return one record a method: size of the linear layers, cosine; accuracy drop (points) and changed labels (%) by task.

    ``ngram_weights``: by task, the float n-gram table that its head reads.
    """
    reference = float_vectors(encoder, rows)
    prepared = {task: _prepare(bundle, encoder, task, one, (ngram_weights or {}).get(task)) for task, one in tasks.items()}
    records = []
    for method in methods(encoder, calibration, fallback):
        word = None if method.name == "float32" else int8_embedding(encoder)
        cosine = Cosine.of(normalize(encode(encoder, rows, method.rule, word=word)), reference)
        chosen = {name: task.choose(encoder, method.rule, word, dict(task.specialist.adapter.layers)) for name, task in prepared.items()}
        records.append(_record(method.name, method.note, method.weight_bytes, cosine, prepared, chosen))
    if prepared:
        records.append(_merged(encoder, prepared))
    return records


def int8_embedding(encoder: Encoder) -> Float:
    """Return the word embedding as a bundle holds it, back in float32."""
    values, scale = quantize_rows(encoder.word)
    return values * scale[:, None]


def _prepare(bundle: Bundle, encoder: Encoder, name: str, labelled: LabelledTexts, ngram_weight: Float | None) -> _Task:
    specialist = load_specialist(bundle, name)
    texts, labels = read_labelled(labelled.file, labelled.limit)
    rows = tokenize(bundle, texts, specialist.normalizer, specialist.max_tokens)
    ngrams = ngram_vectors(bundle, specialist, texts)
    truth = np.array([specialist.labels.index(label) for label in labels])
    pooled = encode(encoder, rows, lora=dict(specialist.adapter.layers))
    plain = ngram_vectors(bundle, specialist, texts, ngram_weight)
    return _Task(specialist, rows, ngrams, truth, specialist.probabilities(pooled, plain).argmax(axis=1))


def _record(
    name: str, note: str, weight_bytes: int, cosine: Cosine | None, tasks: Mapping[str, _Task], chosen: Mapping[str, NDArray[np.intp]]
) -> dict[str, object]:
    drops = {
        key: 100 * float(np.mean(tasks[key].reference == tasks[key].truth) - np.mean(found == tasks[key].truth))
        for key, found in chosen.items()
    }
    return {
        "method": name,
        "note": note,
        "linear_megabytes": weight_bytes / 1e6,
        "cosine": asdict(cosine) if cosine else None,
        "accuracy_drop_points": drops,
        "labels_changed_percent": {key: 100 * float(np.mean(found != tasks[key].reference)) for key, found in chosen.items()},
    }


def _merged(encoder: Encoder, tasks: Mapping[str, _Task]) -> dict[str, object]:
    """Adapters added to the weights before quantization: one base a task instead of one for all."""
    word, chosen, size = int8_embedding(encoder), {}, 0
    for name, task in tasks.items():
        merged = merge_lora(encoder, dict(task.specialist.adapter.layers))
        chosen[name] = task.choose(merged, DynamicPerToken(merged), word, {})
        size += sum(getattr(layer, kind).weight.size for layer in encoder.layers for kind in LINEARS)
    return _record("merged-lora-int8", "one int8 base a task", size, None, tasks, chosen)


def bundle_megabytes(folder: Path) -> float:
    """Return the size of all files below ``folder``, in megabytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
