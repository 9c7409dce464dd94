"""How large numbers can grow inside an encoder and a head, from the largest magnitudes of their tensors.

Weights that are finite can still overflow float32 on the way, and one NaN then answers for every string. The bounds below hold
for every input, so what passes needs no probe strings: a layer norm gives at most ``sqrt(H) max|w| + max|b|``; a linear layer
adds ``K max|x| max|A| r max|B|`` for its adapter to ``2^31 max|x| / 127 max(scale) + max|bias|``, since the sums of the kernels
are int32; attention is a mean of values; GELU shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_demist.errors import BundleError
from edge_demist.native import abi

if TYPE_CHECKING:
    from edge_demist.format.manifest import Architecture, NgramConfig

LARGEST = 1e38
"""Below float32's 3.4e38: squares are summed up in layer norms and vector lengths, products in attention."""

_INT32 = float(2**31)
Gains = Mapping[tuple[int, str], tuple[float, float]]
"""``max|A|`` and ``r max|B|`` of an adapter's pairs, by layer and target."""
_NO_ADAPTER: Gains = {}


def largest_vector(arch: Architecture, largest: Mapping[str, float], adapter: Gains = _NO_ADAPTER) -> float:
    """The largest magnitude in a pooled vector, over all inputs.

    Args:
        arch: the encoder's shape.
        largest: magnitude of each tensor of ``weights.safetensors`` by name.
        adapter: ``max|A|`` and ``r max|B|`` of each of its pairs.

    Raises:
        BundleError: numbers could overflow on the way; names the layer.
    """
    hidden, wide = arch.hidden_size, arch.intermediate_size

    def normed(prefix: str) -> float:
        return math.sqrt(hidden) * largest[f"{prefix}.weight"] + largest[f"{prefix}.bias"]

    def linear(layer: int, part: str, targets: str, x: float, k: int) -> float:
        prefix, gained = f"layers.{layer}.{part}", 0.0
        for target in targets.split():
            a, b = adapter.get((layer, target), (0.0, 0.0))
            projected = checked(k * x * a, abi.MAX_TOTAL_RANK, layer)  # B may be nothing, and nothing times infinity is no number
            gained = max(gained, projected * b)
        return _INT32 * x / 127 * largest[f"{prefix}.scale"] + largest[f"{prefix}.bias"] + gained

    def checked(value: float, count: int, layer: object) -> float:
        if not value * value * count < LARGEST:
            raise BundleError(f"weights: numbers of layer {layer} could grow to {value:.1e}; they would overflow")
        return value

    embedded = 128 * largest["embeddings.word.scale"] + largest["embeddings.position.weight"]
    checked(embedded, hidden, "embeddings")
    x = checked(normed("embeddings.norm"), hidden, "embeddings")
    for i in range(arch.num_layers):
        value = checked(linear(i, "qkv", "q k v", x, hidden), hidden, i)
        checked(x + linear(i, "attn_out", "attn_out", value, hidden), hidden, i)
        x = checked(normed(f"layers.{i}.norm1"), hidden, i)
        value = checked(linear(i, "ffn_up", "ffn_up", x, hidden), wide, i)
        checked(x + linear(i, "ffn_down", "ffn_down", value, wide), hidden, i)
        x = checked(normed(f"layers.{i}.norm2"), hidden, i)
    return x


def largest_logit(vectors: float, weight: float, ngrams: NgramConfig | None, scale: float, ngram_weight: float) -> float:
    """The largest magnitude of a head's logit before its bias.

    Args:
        vectors: ``H`` times :func:`largest_vector` under the specialist's adapter.
        weight: largest magnitude of the weights for the vector, divided by the temperature.
        ngrams: the table that the head reads, if any.
        scale: the largest of that table's.
        ngram_weight: as ``weight``, for the n-gram vector.
    """
    if ngrams is None:
        return vectors * weight
    return vectors * weight + ngrams.dim * largest_ngram(ngrams, scale) * ngram_weight


def largest_ngram(ngrams: NgramConfig, scale: float) -> float:
    """The largest magnitude in an n-gram vector, from the largest scale of its table."""
    return 128 * math.sqrt((ngrams.max_bytes + 2) * (ngrams.max_n - ngrams.min_n + 1)) * scale
