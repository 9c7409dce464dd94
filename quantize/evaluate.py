"""What a bundle costs against its float checkpoint: cosine, task accuracy, rank correlation.

The bundle is measured through an engine, as a sensor runs it; the checkpoint through the numpy reference. Heads are
applied in the same way to both.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_demist.format.bundle import Bundle
from edge_demist.format.ngram_table import table_of
from edge_demist.format.specialist import Specialist, load_specialist
from edge_demist.normalizers import NORMALIZERS, to_bytes, truncate_utf8
from quantize.checkpoint import Encoder
from quantize.errors import QuantizeError
from quantize.reference import encode, normalize

MAX_TEXTS_BYTES = 1 << 28

Float = NDArray[np.float32]
Rows = list[NDArray[np.int32]]


class Tokenizes(Protocol):
    """Both tokenizers of the runtime."""

    def encode_batch(
        self, texts: Sequence[bytes], max_tokens: int | None = None, *, add_special_tokens: bool = False
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return packed ids and offsets."""


@dataclass(frozen=True)
class Cosine:
    """Cosine of quantized to float vectors over strings."""

    mean: float
    minimum: float
    p01: float
    count: int

    @classmethod
    def of(cls, quantized: Float, reference: Float) -> "Cosine":
        """Compare unit vectors row by row."""
        cosine = np.einsum("ij,ij->i", quantized.astype(np.float64), reference.astype(np.float64))
        return cls(float(cosine.mean()), float(cosine.min()), float(np.percentile(cosine, 1)), len(cosine))


@dataclass(frozen=True)
class TaskCost:
    """Accuracy (percent) of float and int8 on one task, and the share of labels that stay the same."""

    task: str
    count: int
    float_accuracy: float
    int8_accuracy: float
    agreement: float

    @property
    def drop(self) -> float:
        """Points of accuracy lost; negative if int8 happens to be better."""
        return self.float_accuracy - self.int8_accuracy


def tokenizer_of(bundle: Bundle) -> Tokenizes:
    """Return the runtime's tokenizer for a bundle."""
    if bundle.tokenizer.type == "wordpiece":
        from edge_demist.text.wordpiece import WordPieceTokenizer

        return WordPieceTokenizer(bundle)
    from edge_demist.text.tokenizer import Tokenizer

    return Tokenizer(bundle)


def tokenize(bundle: Bundle, texts: Sequence[str], normalizer: str = "identity", max_tokens: int | None = None) -> Rows:
    """Return one row of ids a text, as the runtime makes them."""
    limit = min(max_tokens or bundle.limits.max_tokens, bundle.limits.max_tokens)
    raw = [truncate_utf8(to_bytes(NORMALIZERS[normalizer](text)), bundle.limits.max_bytes) for text in texts]
    ids, offsets = tokenizer_of(bundle).encode_batch(raw, limit, add_special_tokens=True)
    return [ids[a:b] if b > a else np.array([bundle.tokenizer.unk_id], np.int32) for a, b in pairwise(offsets)]


def pack(rows: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return packed ids and offsets, int32."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    return np.concatenate(rows).astype(np.int32), offsets


def built_in_texts() -> list[str]:
    """Return the strings used where a recipe names no file."""
    return (resources.files("quantize") / "data/texts.txt").read_text(encoding="utf-8").splitlines()


def similarity_pairs() -> list[tuple[float, str, str]]:
    """Return our sentence pairs with a similarity from 0 to 5."""
    lines = (resources.files("quantize") / "data/similarity.tsv").read_text(encoding="utf-8").splitlines()
    return [(float(score), a, b) for score, a, b in (line.split("\t") for line in lines)]


def read_texts(path: Path | None) -> list[str]:
    """Return the lines of a file, the built-in strings for None."""
    if path is None:
        return built_in_texts()
    if not path.is_file() or path.stat().st_size > MAX_TEXTS_BYTES:
        raise QuantizeError(f"{path}: no such file, or larger than {MAX_TEXTS_BYTES} bytes")
    texts = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    if not texts:
        raise QuantizeError(f"{path}: no strings in it")
    return texts


def read_labelled(path: Path, limit: int) -> tuple[list[str], list[str]]:
    """Return texts and labels of a JSON-lines or Parquet file, evenly thinned to ``limit`` rows."""
    if not path.is_file():
        raise QuantizeError(f"{path}: no such file")
    if path.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(path, columns=["text", "label"])
        texts, labels = table.column("text").to_pylist(), table.column("label").to_pylist()
    else:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        texts, labels = [entry["text"] for entry in entries], [entry["label"] for entry in entries]
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(limit, len(texts))).astype(int))
    return [str(texts[i]) for i in chosen], [str(labels[i]) for i in chosen]


def float_vectors(encoder: Encoder, rows: Rows) -> Float:
    """Return the checkpoint's unit vectors."""
    return normalize(encode(encoder, rows))


def ngram_vectors(bundle: Bundle, specialist: Specialist, texts: Sequence[str], weight: Float | None = None) -> Float | None:
    """Return n-gram vectors [n, dim] by the runtime's definition, in numpy; None if the head reads no table.

    ``weight`` float32 [buckets, dim] takes the place of the int8 table: the checkpoint's or the folder's, for the float side.
    """
    own = specialist.ngrams or (table_of(bundle.ngrams, bundle.tensors) if bundle.ngrams else None)
    if specialist.ngram_weight is None or own is None:
        return None
    config, table, scale = own
    vectors = np.zeros((len(texts), config.dim), np.float32)
    for i, text in enumerate(texts):
        raw = to_bytes(NORMALIZERS[specialist.normalizer](text))[: config.max_bytes]
        buckets = ngram_buckets(raw, config.min_n, config.max_n, config.buckets)
        if len(buckets) and weight is not None:
            vectors[i] = weight[buckets].sum(axis=0) / np.float32(np.sqrt(len(buckets)))
        elif len(buckets):
            vectors[i] = table[buckets].sum(axis=0, dtype=np.int32).astype(np.float32) * scale / np.float32(np.sqrt(len(buckets)))
    return vectors


def ngram_buckets(text: bytes, min_n: int, max_n: int, buckets: int) -> NDArray[np.int64]:
    """Return the buckets of all n-grams of ``text`` between its sentinels (FNV-1a, 32 bit)."""
    data = np.frombuffer(b"\x02" + text + b"\x03", np.uint8).astype(np.uint64)
    found = []
    for n in range(min_n, min(max_n, len(data)) + 1):
        value = np.full(len(data) - n + 1, 0x811C9DC5, np.uint64)
        for k in range(n):
            value = ((value ^ data[k : k + len(value)]) * np.uint64(0x01000193)) & np.uint64(0xFFFFFFFF)
        found.append((value ^ (value >> np.uint64(15))) & np.uint64(buckets - 1))
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)


def task_cost(
    bundle: Bundle, encoder: Encoder, task: str, texts: Sequence[str], labels: Sequence[str], engine: str = "auto",
    ngram_weight: Float | None = None,
) -> TaskCost:  # fmt: skip
    """Compare the bundle, run by an engine, with the checkpoint (and the float n-gram table) on one task's labelled strings."""
    from edge_demist import engines

    specialist = load_specialist(bundle, task)
    rows = tokenize(bundle, texts, specialist.normalizer, specialist.max_tokens)
    ngrams = ngram_vectors(bundle, specialist, texts)
    ids, offsets = pack(rows)
    pooled = engines.create(bundle, engine).encode(ids, offsets, [specialist.adapter], normalize=False)
    ours = specialist.probabilities(pooled, ngrams).argmax(axis=1)
    plain = ngram_vectors(bundle, specialist, texts, ngram_weight)
    reference = specialist.probabilities(encode(encoder, rows, lora=dict(specialist.adapter.layers)), plain).argmax(axis=1)
    unknown = sorted(set(labels) - set(specialist.labels))
    if unknown:
        raise QuantizeError(f"task {task}: labels {', '.join(unknown[:5])} are not labels of the specialist")
    truth = np.array([specialist.labels.index(label) for label in labels])
    shares = [100 * float(np.mean(same)) for same in (reference == truth, ours == truth, ours == reference)]
    return TaskCost(task, len(texts), *shares)


def spearman(x: Sequence[float] | Float, y: Sequence[float] | Float) -> float:
    """Return Spearman's rank correlation; ties share their mean rank."""
    return float(np.corrcoef(_ranks(np.asarray(x)), _ranks(np.asarray(y)))[0, 1])


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return ranks


def as_json(costs: Mapping[str, object]) -> dict[str, object]:
    """Return nested dataclasses as plain JSON values."""
    return {key: asdict(value) if hasattr(value, "__dataclass_fields__") else value for key, value in costs.items()}  # type: ignore[call-overload]
