"""Random-weight bundles in memory, and the encoder's forward pass in plain numpy: an oracle that shares no code.

``random_bundle`` makes the tensors of docs/explanation/architecture.md from a seed; ``reference_encode`` computes, in float64 but
with the same int8 activations, what engines must give to within rounding.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

LINEARS = ("qkv", "attn_out", "ffn_up", "ffn_down")


def quantize_weight(weight):
    """float [K, N] -> int8 [K, N] and float32 [N], symmetric, one scale an output column."""
    scale = (np.maximum(np.abs(weight).max(0), 1e-8) / 127).astype(np.float32)
    return np.clip(np.rint(weight / scale), -127, 127).astype(np.int8), scale


def pack_weight(quantized):
    """int8 [K, N] -> [N/16, K/4, 16, 4]."""
    k, n = quantized.shape
    return np.ascontiguousarray(quantized.reshape(k // 4, 4, n // 16, 16).transpose(2, 0, 3, 1))


def unpack_weight(packed):
    """[N/16, K/4, 16, 4] -> int8 [K, N]."""
    panels, quads = packed.shape[:2]
    return packed.transpose(1, 3, 0, 2).reshape(4 * quads, 16 * panels)


def random_weights(seed=0, layers=2, hidden=128, heads=4, wide=256, vocab=512, positions=64):
    """Float weights of a small BERT."""
    random = np.random.default_rng(seed)

    def normal(*shape, scale=0.05):
        return (random.standard_normal(shape) * scale).astype(np.float32)

    weights = {
        "word": normal(vocab, hidden, scale=0.5),
        "position": normal(positions, hidden, scale=0.2),
        "norm.weight": 1 + normal(hidden),
        "norm.bias": normal(hidden),
    }
    for layer in range(layers):
        for name, k, n in (
            ("qkv", hidden, 3 * hidden),
            ("attn_out", hidden, hidden),
            ("ffn_up", hidden, wide),
            ("ffn_down", wide, hidden),
        ):
            weights[f"{layer}.{name}"], weights[f"{layer}.{name}.bias"] = normal(k, n, scale=1.5 / math.sqrt(k)), normal(n)
        for norm in ("norm1", "norm2"):
            weights[f"{layer}.{norm}.weight"], weights[f"{layer}.{norm}.bias"] = 1 + normal(hidden), normal(hidden)
    return weights


def weight_tensors(weights, layers):
    """The tensors of ``weights.safetensors`` from float weights."""
    tensors = {
        "embeddings.position.weight": weights["position"],
        "embeddings.norm.weight": weights["norm.weight"],
        "embeddings.norm.bias": weights["norm.bias"],
    }
    vocab, hidden = weights["word"].shape
    words = np.zeros((-(-vocab // 16) * 16, hidden), np.float32)
    words[:vocab] = weights["word"]
    rows, scales = quantize_weight(words.T)
    tensors["embeddings.word.weight"], tensors["embeddings.word.scale"] = np.ascontiguousarray(rows.T), scales
    for layer in range(layers):
        for name in LINEARS:
            quantized, scale = quantize_weight(weights[f"{layer}.{name}"])
            prefix = f"layers.{layer}.{name}"
            tensors[f"{prefix}.weight"], tensors[f"{prefix}.scale"] = pack_weight(quantized), scale
            tensors[f"{prefix}.bias"] = weights[f"{layer}.{name}.bias"]
            tensors[f"{prefix}.correction"] = (-128 * quantized.astype(np.int32).sum(0)).astype(np.int32)
        for norm in ("norm1", "norm2"):
            for part in ("weight", "bias"):
                tensors[f"layers.{layer}.{norm}.{part}"] = weights[f"{layer}.{norm}.{part}"]
    for tensor in tensors.values():
        tensor.flags.writeable = False
    return tensors


def random_bundle(seed=0, layers=2, hidden=128, heads=4, wide=256, vocab=512, positions=64, ngrams=None, tokenizer=None, weights=None):
    """An object with the attributes of a loaded bundle.

    ``ngrams``: (buckets, dim, min_n, max_n, max_bytes) or None.  ``tokenizer``: ``TokenizerTables`` or None.
    """
    weights = weights or random_weights(seed, layers, hidden, heads, wide, vocab, positions)
    tensors = weight_tensors(weights, layers)
    ngram_config = None
    if ngrams is not None:
        random = np.random.default_rng(seed + 1)
        ngram_config = SimpleNamespace(**dict(zip(("buckets", "dim", "min_n", "max_n", "max_bytes"), ngrams, strict=True)))
        tensors["ngrams.weight"] = random.integers(-127, 128, ngrams[:2], dtype=np.int8)
        tensors["ngrams.scale"] = (0.01 + random.random(ngrams[1])).astype(np.float32)
    manifest = {"type": "unigram", "prefix_ids": [2], "suffix_ids": [], "pad_id": 0, "unk_id": 1, "byte_ids_start": 5}
    return SimpleNamespace(
        architecture=SimpleNamespace(
            num_layers=layers, hidden_size=hidden, num_heads=heads, intermediate_size=wide, vocab_size=vocab,
            max_positions=positions, layer_norm_eps=1e-12,
        ),
        tensors=tensors,
        ngrams=ngram_config,
        tokenizer=SimpleNamespace(**{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in (tokenizer.manifest if tokenizer else manifest).items()
        }),
        tokenizer_tensors=dict(tokenizer.tensors) if tokenizer else {},
        tokenizer_metadata=dict(tokenizer.metadata) if tokenizer else {},
    )  # fmt: skip


def random_rows(seed, count, vocab, longest, shortest=1):
    """Packed random ids: token_ids int32 [T], offsets int32 [count + 1]."""
    random = np.random.default_rng(seed)
    lengths = random.integers(shortest, longest + 1, count)
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return random.integers(0, vocab, offsets[-1]).astype(np.int32), offsets


# ---- the oracle ---------------------------------------------------------------------------------------------


def _linear(x, tensors, prefix, lora):
    scale = np.abs(x).max(1, keepdims=True) / 127
    quantized = np.rint(x / scale)
    weight = unpack_weight(tensors[f"{prefix}.weight"]).astype(np.float64)
    y = (quantized @ weight) * scale * tensors[f"{prefix}.scale"] + tensors[f"{prefix}.bias"]
    for start, a, b in lora:
        y[:, start : start + b.shape[1]] += (x @ a.astype(np.float64)) @ b.astype(np.float64)
    return y


def _norm(x, tensors, prefix, eps):
    centred = x - x.mean(1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + eps)
    return scaled * tensors[f"{prefix}.weight"] + tensors[f"{prefix}.bias"]


def _attention(y, heads):
    hidden = y.shape[1] // 3
    size = hidden // heads
    out = np.empty((len(y), hidden))
    for head in range(heads):
        q, k, v = (y[:, part * hidden + head * size : part * hidden + (head + 1) * size] for part in range(3))
        scores = q @ k.T / math.sqrt(size)
        powers = np.exp(scores - scores.max(1, keepdims=True))
        out[:, head * size : (head + 1) * size] = powers @ v / powers.sum(1, keepdims=True)
    return out


def _lora(adapter, layer, linear, hidden):
    if adapter is None:
        return []
    targets = ("q", "k", "v") if linear == "qkv" else (linear,)
    found = [(n * hidden, adapter.layers.get((layer, target))) for n, target in enumerate(targets)]
    return [(start, *pair) for start, pair in found if pair is not None]


def reference_encode(bundle, token_ids, offsets, adapters=(), adapter_index=None, normalize=True):
    """Pooled vectors in float64."""
    arch, tensors = bundle.architecture, bundle.tensors
    erf = np.vectorize(math.erf)
    result = []
    for row in range(len(offsets) - 1):
        ids = token_ids[offsets[row] : offsets[row + 1]]
        index = -1 if adapter_index is None else adapter_index[row]
        adapter = adapters[index] if index >= 0 else None
        x = tensors["embeddings.word.weight"][ids] * tensors["embeddings.word.scale"][ids][:, None].astype(np.float64)
        x = _norm(x + tensors["embeddings.position.weight"][: len(ids)], tensors, "embeddings.norm", arch.layer_norm_eps)
        for layer in range(arch.num_layers):

            def linear(x, name, layer=layer, adapter=adapter):
                lora = _lora(adapter, layer, name, arch.hidden_size)
                return _linear(x, tensors, f"layers.{layer}.{name}", lora)

            context = _attention(linear(x, "qkv"), arch.num_heads)
            x = _norm(x + linear(context, "attn_out"), tensors, f"layers.{layer}.norm1", arch.layer_norm_eps)
            up = linear(x, "ffn_up")
            wide = up * 0.5 * (1 + erf(up / math.sqrt(2)))
            x = _norm(x + linear(wide, "ffn_down"), tensors, f"layers.{layer}.norm2", arch.layer_norm_eps)
        result.append(x.mean(0))
    vectors = np.array(result)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if normalize else vectors
