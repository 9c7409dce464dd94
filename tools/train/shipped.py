"""A bundle as a base to train on: its encoder and tokenizer, as served.

The float checkpoint that a bundle was made of is not in the wheel and is not needed: a specialist trains on weights rounded to int8
anyway (``tools.train.specialist``), and those are in the bundle.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from edge_demist.format.bundle import Bundle
from edge_demist.normalizers import to_bytes, truncate_utf8
from edge_demist.text.tokenizer import Tokenizer
from quantize.checkpoint import Linear, Norm
from quantize.unpack import read_encoder
from tools.train.network import empty_encoder


class BundleTokenizer:
    """A bundle's tokenizer with the two methods of SentencePiece's that ``data.pack`` calls."""

    def __init__(self, bundle: Bundle) -> None:
        config = bundle.tokenizer
        if config.type != "unigram" or len(config.prefix_ids) != 1 or config.suffix_ids:
            raise ValueError(f"bundle {bundle.id[:12]}…: training needs a unigram tokenizer with one prefix token and no suffix")
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


def encoder_of(bundle: Bundle) -> BertModel:
    """A bundle's encoder with frozen weights, each value · scale of the bundle, without dropout."""
    source = read_encoder(bundle)
    arch = source.architecture
    model = empty_encoder(
        BertConfig(
            vocab_size=arch.vocab_size,
            hidden_size=arch.hidden_size,
            num_hidden_layers=arch.num_layers,
            num_attention_heads=arch.num_heads,
            intermediate_size=arch.intermediate_size,
            max_position_embeddings=arch.max_positions,
            layer_norm_eps=arch.layer_norm_eps,
            type_vocab_size=1,
        )
    )
    tensors: dict[str, Tensor] = {
        "embeddings.word_embeddings.weight": torch.from_numpy(source.word),
        "embeddings.position_embeddings.weight": torch.from_numpy(source.position),
        "embeddings.token_type_embeddings.weight": torch.zeros(1, arch.hidden_size),  # folded into the positions
    }

    def linear(name: str, value: Linear) -> None:
        tensors[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(value.weight.T))
        tensors[f"{name}.bias"] = torch.from_numpy(value.bias)

    def norm(name: str, value: Norm) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = torch.from_numpy(value.weight), torch.from_numpy(value.bias)

    norm("embeddings.LayerNorm", source.norm)
    for i, layer in enumerate(source.layers):
        stem = f"encoder.layer.{i}"
        parts = np.split(layer.qkv.weight, 3, axis=1), np.split(layer.qkv.bias, 3)
        for part, weight, bias in zip(("query", "key", "value"), *parts, strict=True):
            linear(f"{stem}.attention.self.{part}", Linear(weight, bias.copy()))
        linear(f"{stem}.attention.output.dense", layer.attn_out)
        norm(f"{stem}.attention.output.LayerNorm", layer.norm1)
        linear(f"{stem}.intermediate.dense", layer.ffn_up)
        linear(f"{stem}.output.dense", layer.ffn_down)
        norm(f"{stem}.output.LayerNorm", layer.norm2)
    model.load_state_dict(tensors, strict=True)
    model.embeddings.dropout.p = 0.0
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model
