"""A bundle's encoder and tokenizer to train on, as served: weights are value · scale, and frozen.

The modules have BERT's names, so that a state dictionary fits ``BertModel`` of transformers as well.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_demist.errors import InputError
from edge_demist.format.bundle import Bundle
from edge_demist.format.int8 import QuantizedMatrix, from_panels
from edge_demist.normalizers import to_bytes, truncate_utf8
from edge_demist.text.tokenizer import Tokenizer

DROPOUT = 0.05
TARGETS = {
    "q": ("attention.self", "query"),
    "k": ("attention.self", "key"),
    "v": ("attention.self", "value"),
    "attn_out": ("attention.output", "dense"),
    "ffn_up": ("intermediate", "dense"),
    "ffn_down": ("output", "dense"),
}
"""Where BERT keeps the linear layers of ``edge_demist.format.adapter.LORA_TARGETS``."""


class BundleTokenizer:
    """A bundle's tokenizer with the two methods of SentencePiece's that ``rows.pack`` calls."""

    def __init__(self, bundle: Bundle) -> None:
        config = bundle.tokenizer
        if config.type != "unigram" or len(config.prefix_ids) != 1 or config.suffix_ids:
            raise InputError(f"bundle {bundle.id[:12]}…: training needs a unigram tokenizer with one prefix token and no suffix")
        self._first = config.prefix_ids[0]
        self._tokenizer = Tokenizer(bundle)
        self._limit = bundle.limits.max_bytes

    def bos_id(self) -> int:
        """Id of the prefix token."""
        return self._first

    def encode(self, texts: Sequence[str], num_threads: int = 1) -> list[list[int]]:
        """Ids of each text without the prefix; ``num_threads`` is ignored."""
        ids, offsets = self._tokenizer.encode_batch([truncate_utf8(to_bytes(text), self._limit) for text in texts])
        return [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def _group(**parts: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    return module


class EncoderModule(nn.Module):
    """An encoder of the sizes of a bundle, without values (``encoder_of`` fills it)."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        arch = bundle.architecture
        hidden, inner = arch.hidden_size, arch.intermediate_size
        self.config = SimpleNamespace(
            hidden_size=hidden,
            num_hidden_layers=arch.num_layers,
            num_attention_heads=arch.num_heads,
            layer_norm_eps=arch.layer_norm_eps,
        )
        self.embeddings = _group(
            word_embeddings=nn.Embedding(arch.vocab_size, hidden),
            position_embeddings=nn.Embedding(arch.max_positions, hidden),
            token_type_embeddings=nn.Embedding(1, hidden),
            LayerNorm=nn.LayerNorm(hidden),
            dropout=nn.Dropout(0.0),
        )

        def layer() -> nn.Module:
            query, key, value = (nn.Linear(hidden, hidden) for _ in range(3))
            attention = _group(
                self=_group(query=query, key=key, value=value),
                output=_group(dense=nn.Linear(hidden, hidden), LayerNorm=nn.LayerNorm(hidden)),
            )
            output = _group(dense=nn.Linear(inner, hidden), LayerNorm=nn.LayerNorm(hidden))
            return _group(attention=attention, intermediate=_group(dense=nn.Linear(hidden, inner)), output=output)

        self.encoder = _group(layer=nn.ModuleList(layer() for _ in range(arch.num_layers)))


def tensors_of(bundle: Bundle) -> dict[str, Tensor]:
    """The encoder's weights in float32 under BERT's names."""
    found: dict[str, Tensor] = {}

    def numbers(name: str) -> NDArray[np.float32]:
        return np.array(bundle.tensors[name], np.float32)

    def norm(ours: str, name: str) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = (torch.from_numpy(numbers(f"{ours}.{part}")) for part in ("weight", "bias"))

    def linear(ours: str, *names: str) -> None:
        matrix = QuantizedMatrix(from_panels(np.asarray(bundle.tensors[f"{ours}.weight"], np.int8)), numbers(f"{ours}.scale"))
        weights, biases = np.split(matrix.dequantize().T, len(names)), np.split(numbers(f"{ours}.bias"), len(names))
        for name, weight, bias in zip(names, weights, biases, strict=True):
            found[f"{name}.weight"], found[f"{name}.bias"] = torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy())

    arch = bundle.architecture
    words = numbers("embeddings.word.weight") * numbers("embeddings.word.scale")[:, None]
    found["embeddings.word_embeddings.weight"] = torch.from_numpy(words[: arch.vocab_size])  # the file holds a multiple of 16
    found["embeddings.position_embeddings.weight"] = torch.from_numpy(numbers("embeddings.position.weight"))
    found["embeddings.token_type_embeddings.weight"] = torch.zeros(1, arch.hidden_size)  # folded into the positions
    norm("embeddings.norm", "embeddings.LayerNorm")
    for i in range(arch.num_layers):
        ours, stem = f"layers.{i}", f"encoder.layer.{i}"
        linear(f"{ours}.qkv", *(f"{stem}.attention.self.{part}" for part in ("query", "key", "value")))
        linear(f"{ours}.attn_out", f"{stem}.attention.output.dense")
        norm(f"{ours}.norm1", f"{stem}.attention.output.LayerNorm")
        linear(f"{ours}.ffn_up", f"{stem}.intermediate.dense")
        linear(f"{ours}.ffn_down", f"{stem}.output.dense")
        norm(f"{ours}.norm2", f"{stem}.output.LayerNorm")
    return found


def encoder_of(bundle: Bundle) -> EncoderModule:
    """A bundle's encoder with frozen weights."""
    model = EncoderModule(bundle)
    model.load_state_dict(tensors_of(bundle), strict=True)
    return model.requires_grad_(False)


class Lora(nn.Module):
    """A frozen linear layer with a low-rank update (LoRA, arXiv:2106.09685) under PEFT's names; it begins as no change."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base
        down, up = nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
        nn.init.zeros_(up.weight)
        self.lora_A, self.lora_B = nn.ModuleDict({"default": down}), nn.ModuleDict({"default": up})
        self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(DROPOUT)})
        self.active_adapters, self.scaling = ["default"], {"default": 1.0}


def add_adapters(model: Any, rank: int, first: int) -> None:
    """Put an adapter on every linear layer from layer ``first`` on."""
    for layer in model.encoder.layer[first:]:
        for path, name in TARGETS.values():
            parent = layer.get_submodule(path)
            setattr(parent, name, Lora(getattr(parent, name), rank))


def adapter_tensors(model: Any, first: int) -> Mapping[str, NDArray[np.float32]]:
    """``lora.<layer>.<target>.A`` float32 [K, r] and ``.B`` [r, N] of a specialist's file; ranks that do nothing are left out."""
    found: dict[str, NDArray[np.float32]] = {}
    for number, layer in enumerate(model.encoder.layer):
        for target, (path, name) in TARGETS.items() if number >= first else ():
            module = getattr(layer.get_submodule(path), name)
            down, up = (part["default"].weight.detach().numpy() for part in (module.lora_A, module.lora_B))
            used = np.flatnonzero(down.any(axis=1) & up.any(axis=0))
            used = used if len(used) else np.array([0])
            found[f"lora.{number}.{target}.A"] = np.ascontiguousarray(down[used].T)
            found[f"lora.{number}.{target}.B"] = np.ascontiguousarray(up[:, used].T)
    return found
