"""The encoder in plain numpy: the float reference, and a test bed for ways to quantize its linear layers.

A *linear rule* replaces the linear layers: it gets the layer's number, its kind and the float32 input [T, K] and returns
[T, N] with bias. LoRA is added in float32 afterwards, as in the bundle. Rows of equal length run together, so that nothing
is padded. Speed is not a goal.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quantize.checkpoint import Encoder, Linear, Norm

Float = NDArray[np.float32]
Pairs = Mapping[tuple[int, str], tuple[Float, Float]]

MAX_GROUP_TOKENS = 4096
LINEARS = ("qkv", "attn_out", "ffn_up", "ffn_down")
_COLUMNS = {"q": 0, "k": 1, "v": 2}


class LinearRule(Protocol):
    """How a linear layer is computed."""

    def __call__(self, layer: int, kind: str, x: Float) -> Float:
        """Return x·W + b, float32 [T, N], for x float32 [T, K]."""


class FloatRule:
    """The layers as the checkpoint has them."""

    def __init__(self, encoder: Encoder) -> None:
        """Keep the encoder whose weights are used."""
        self.encoder = encoder

    def __call__(self, layer: int, kind: str, x: Float) -> Float:
        """Return x·W + b."""
        linear: Linear = getattr(self.encoder.layers[layer], kind)
        return x @ linear.weight + linear.bias


def encode(
    encoder: Encoder, rows: Sequence[NDArray[np.int32]], rule: LinearRule | None = None, lora: Pairs | None = None,
    word: Float | None = None,
) -> Float:  # fmt: skip
    """Return mean-pooled vectors, float32 [n, H], not normalised, for rows of token ids.

    Args:
        encoder: the float checkpoint.
        rows: token ids, int32 [S_i], special ids included.
        rule: how linear layers are computed; None is plain float32.
        lora: A [K, r] and B [r, N] by (layer, target), scaling in B.
        word: another word embedding, float32 [V, H], for instance a quantized one turned back to float.
    """
    rule = rule or FloatRule(encoder)
    table = encoder.word if word is None else word
    pooled = np.empty((len(rows), encoder.architecture.hidden_size), np.float32)
    for group in _groups(rows):
        ids = np.stack([rows[i] for i in group])
        x = _norm(table[ids] + encoder.position[: ids.shape[1]], encoder.norm, encoder)
        for layer in range(encoder.architecture.num_layers):
            x = _layer(encoder, layer, x, rule, lora or {})
        pooled[group] = x.mean(axis=1)
    return pooled


def _groups(rows: Sequence[NDArray[np.int32]]) -> Iterator[list[int]]:
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    group: list[int] = []
    for i in order:
        if group and (len(rows[i]) != len(rows[group[0]]) or (len(group) + 1) * len(rows[i]) > MAX_GROUP_TOKENS):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _layer(encoder: Encoder, index: int, x: Float, rule: LinearRule, lora: Pairs) -> Float:
    batch, length, hidden = x.shape
    layer = encoder.layers[index]

    def linear(kind: str, given: Float) -> Float:
        flat = given.reshape(batch * length, -1)
        y = rule(index, kind, flat)
        return (y + _update(index, kind, flat, lora, hidden)).reshape(batch, length, -1)

    context = _attention(linear("qkv", x), encoder.architecture.num_heads)
    x = _norm(x + linear("attn_out", context), layer.norm1, encoder)
    return _norm(x + linear("ffn_down", gelu(linear("ffn_up", x))), layer.norm2, encoder)


def _update(layer: int, kind: str, x: Float, lora: Pairs, hidden: int) -> Float | np.float32:
    """Return the LoRA update (x·A)·B of one linear layer; 0 without an adapter."""
    if kind != "qkv":
        pair = lora.get((layer, kind))
        return np.float32(0) if pair is None else ((x @ pair[0]) @ pair[1]).astype(np.float32)
    update = np.zeros((len(x), 3 * hidden), np.float32)
    for target, column in _COLUMNS.items():
        if (layer, target) in lora:
            a, b = lora[layer, target]
            update[:, column * hidden : (column + 1) * hidden] = (x @ a) @ b
    return update


def _attention(qkv: Float, heads: int) -> Float:
    batch, length, width = qkv.shape
    size = width // 3 // heads
    q, k, v = qkv.reshape(batch, length, 3, heads, size).transpose(2, 0, 3, 1, 4)
    scores = q @ k.transpose(0, 1, 3, 2) * np.float32(size**-0.5)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    context: Float = (scores @ v).transpose(0, 2, 1, 3).reshape(batch, length, width // 3)
    return context


def _norm(x: Float, norm: Norm, encoder: Encoder) -> Float:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    scaled: Float = centred / np.sqrt(variance + np.float32(encoder.architecture.layer_norm_eps))
    return scaled * norm.weight + norm.bias


def gelu(x: Float) -> Float:
    """Return GELU in its erf form; erf by Abramowitz and Stegun 7.1.26, error below 2e-7."""
    z = np.abs(x) * np.float32(0.70710678)
    t = 1 / (1 + np.float32(0.3275911) * z)
    p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    erf = np.copysign(1 - p * np.exp(-z * z), x)
    result: Float = (0.5 * x * (1 + erf)).astype(np.float32)
    return result


def normalize(pooled: Float) -> Float:
    """Return the rows divided by their Euclidean norm."""
    unit: Float = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
    return unit
