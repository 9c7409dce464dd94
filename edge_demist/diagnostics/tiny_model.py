"""A tiny bundle with random weights, made in code: the same bytes on every machine and with every numpy.

The committed reference vectors are made from it, so that the bit check of the kernels does not depend on the model
that happens to be installed.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edge_demist.format.adapter import Adapter
from edge_demist.format.bundle import Bundle
from edge_demist.format.general import General, correction_of, width_of
from edge_demist.format.manifest import Architecture, Limits, NgramConfig, TokenizerConfig
from edge_demist.format.safetensors import Tensor

LAYERS, HIDDEN, HEADS, WIDE, VOCAB, POSITIONS = 2, 128, 4, 256, 512, 64
BYTE_IDS_START = 5
FIRST_PIECE = BYTE_IDS_START + 256
RANK = 4
NGRAMS = NgramConfig(1024, 32, 2, 5, 128)


def numbers(seed: int, count: int) -> NDArray[np.uint64]:
    """Random 64-bit numbers: splitmix64 (Steele, Lea, Flood 2014), element i from state seed · 2³² + i + 1."""
    z = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _int8(seed: int, *shape: int) -> NDArray[np.int8]:
    """Weights from −127 to 127."""
    return ((numbers(seed, int(np.prod(shape))) % np.uint64(255)).astype(np.int16) - 127).astype(np.int8).reshape(shape)


def _floats(seed: int, shape: tuple[int, ...], step: float, offset: float = 0.0) -> NDArray[np.float32]:
    """``offset`` plus a multiple of ``step`` from −1024 to 1023; exact where both are powers of two."""
    whole = (numbers(seed, int(np.prod(shape))) % np.uint64(2048)).astype(np.float64) - 1024
    return (whole * step + offset).astype(np.float32).reshape(shape)


def tensors() -> dict[str, Tensor]:
    """``weights.safetensors`` as docs/explanation/architecture.md lays it out."""
    found: dict[str, Tensor] = {
        "embeddings.word.weight": _int8(1, VOCAB, HIDDEN),
        "embeddings.word.scale": _floats(2, (VOCAB,), 2.0**-18, 2.0**-6),
        "embeddings.position.weight": _floats(3, (POSITIONS, HIDDEN), 2.0**-12),
        "embeddings.norm.weight": _floats(4, (HIDDEN,), 2.0**-13, 1.0),
        "embeddings.norm.bias": _floats(5, (HIDDEN,), 2.0**-13),
        "ngrams.weight": _int8(6, NGRAMS.buckets, NGRAMS.dim),
        "ngrams.scale": _floats(7, (NGRAMS.dim,), 2.0**-20, 2.0**-7),
    }
    sizes = {"qkv": (HIDDEN, 3 * HIDDEN), "attn_out": (HIDDEN, HIDDEN), "ffn_up": (HIDDEN, WIDE), "ffn_down": (WIDE, HIDDEN)}
    for layer in range(LAYERS):
        for at, (name, (k, n)) in enumerate(sizes.items()):
            seed, prefix = 100 * (layer + 1) + 10 * at, f"layers.{layer}.{name}"
            weight = _int8(seed, n // 16, k // 4, 16, 4)
            found[f"{prefix}.weight"] = weight
            found[f"{prefix}.scale"] = _floats(seed + 1, (n,), 2.0**-22, 2.0**-10)
            found[f"{prefix}.bias"] = _floats(seed + 2, (n,), 2.0**-13)
            found[f"{prefix}.correction"] = (-128 * weight.astype(np.int32).sum(axis=(1, 3))).reshape(n).astype(np.int32)
        for at, name in enumerate(("norm1", "norm2")):
            seed = 100 * (layer + 1) + 50 + 10 * at
            found[f"layers.{layer}.{name}.weight"] = _floats(seed, (HIDDEN,), 2.0**-13, 1.0)
            found[f"layers.{layer}.{name}.bias"] = _floats(seed + 1, (HIDDEN,), 2.0**-13)
    return found


def pieces() -> list[bytes]:
    """Pieces from ``FIRST_PIECE`` on: printable ASCII but the blank, pairs of frequent letters, a few longer ones."""
    letters = b"etaoinshrdlu.-"
    singles = [bytes([c]) for c in range(0x21, 0x7F)]
    pairs = [bytes([a, b]) for a in letters for b in letters][: VOCAB - FIRST_PIECE - len(singles) - 4]
    return [*singles, *pairs, b".com", b".org", b"www.", "▁".encode()]


def tokenizer_tensors() -> dict[str, Tensor]:
    """A unigram tokenizer; the trie gives every inner node a row of 256 cells of its own."""
    children: list[dict[int, int]] = [{}]
    value = [-1]
    for number, piece in enumerate(pieces()):
        node = 0
        for byte in piece:
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
                value.append(-1)
            node = children[node][byte]
        value[node] = FIRST_PIECE + number
    inner = [node for node in range(len(children)) if children[node]]
    row = {node: 1 + 256 * at for at, node in enumerate(inner)}
    size = 1 + 256 * (len(inner) + 1)
    base, check, values = (np.full(size, -1, np.int32) for _ in range(3))
    place = {0: 0}
    base[0] = row[0]
    for node in range(len(children)):
        for byte, child in children[node].items():
            cell = row[node] + byte
            place[child], check[cell], values[cell] = cell, place[node], value[child]
            base[cell] = row.get(child, -1)
    scores = _floats(8, (VOCAB,), 2.0**-9, -8.0)
    return {"trie.base": base, "trie.check": check, "trie.value": values, "scores": scores}


def bundle() -> Bundle:
    """The bundle, in memory only."""
    return Bundle(
        folder="<tiny>",
        manifest_bytes=b"",
        name="tiny",
        version=1,
        architecture=Architecture(LAYERS, HIDDEN, HEADS, WIDE, VOCAB, POSITIONS),
        tokenizer=TokenizerConfig("unigram", (2,), (), 0, 1, BYTE_IDS_START),
        ngrams=NGRAMS,
        limits=Limits(8192, POSITIONS),
        files=MappingProxyType({}),
        manifest=MappingProxyType({}),
        tensors=MappingProxyType(tensors()),
        tokenizer_tensors=MappingProxyType(tokenizer_tensors()),
        tokenizer_metadata=MappingProxyType({"unk_score": "-20.0"}),
    )


def general() -> General:
    """A projection for it; numbers of its input that stand for nothing have weights too."""
    weight = _int8(9, HIDDEN // 16, width_of(HIDDEN, NGRAMS.dim) // 4, 16, 4)
    factors = np.zeros(16, np.float32)
    factors[:3] = 1.0, 0.5, 1.25
    return General(weight, _floats(10, (HIDDEN,), 2.0**-22, 2.0**-10), _floats(11, (HIDDEN,), 2.0**-13), correction_of(weight), factors)


def adapters() -> list[Adapter]:
    """Two adapters: one on every target of the last layer, one on q and ffn_down of the first."""
    sizes = {"q": (HIDDEN, HIDDEN), "k": (HIDDEN, HIDDEN), "v": (HIDDEN, HIDDEN), "attn_out": (HIDDEN, HIDDEN)}
    sizes |= {"ffn_up": (HIDDEN, WIDE), "ffn_down": (WIDE, HIDDEN)}

    def pair(seed: int, target: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        k, n = sizes[target]
        return _floats(seed, (k, RANK), 2.0**-14), _floats(seed + 1, (RANK, n), 2.0**-12)

    last = {(LAYERS - 1, target): pair(1000 + 2 * at, target) for at, target in enumerate(sizes)}
    return [Adapter("last", last), Adapter("first", {(0, "q"): pair(1100, "q"), (0, "ffn_down"): pair(1102, "ffn_down")})]
