"""Hugging Face checkpoints of the BERT family, brought to one canonical float encoder.

Post-norm encoders with erf-GELU and learned absolute positions: BERT, RoBERTa, XLM-RoBERTa, CamemBERT,
ELECTRA (embedding size = hidden size) and DistilBERT. Everything else is refused by name. Tokenizers and
adapters are read elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantize.errors import CheckpointError
from quantize.tensors import Tensors, expect, read_json, read_tensors, refuse_pickles

MAX_LAYERS = 48
MAX_HIDDEN_SIZE = 4096
MAX_VOCAB_SIZE = 1 << 20
MAX_POSITIONS = 8192

BERT_FAMILY = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert")
PREFIXES = ("", "bert.", "roberta.", "electra.", "distilbert.", "model.", "encoder.model.")

Float = NDArray[np.float32]

_BERT_NAMES = {
    "layer": "encoder.layer.{i}.",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "attn_out": "attention.output.dense",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "norm1": "attention.output.LayerNorm",
    "norm2": "output.LayerNorm",
}
_DISTILBERT_NAMES = {
    "layer": "transformer.layer.{i}.",
    "q": "attention.q_lin",
    "k": "attention.k_lin",
    "v": "attention.v_lin",
    "attn_out": "attention.out_lin",
    "ffn_up": "ffn.lin1",
    "ffn_down": "ffn.lin2",
    "norm1": "sa_layer_norm",
    "norm2": "output_layer_norm",
}


@dataclass(frozen=True)
class Architecture:
    """Sizes of a post-norm encoder; ``vocab_size`` and ``max_positions`` count usable rows."""

    num_layers: int
    hidden_size: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    layer_norm_eps: float

    def __post_init__(self) -> None:
        """Refuse sizes that the packed layout or the kernels cannot hold."""
        limits = {
            "num_layers": MAX_LAYERS,
            "hidden_size": MAX_HIDDEN_SIZE,
            "intermediate_size": 4 * MAX_HIDDEN_SIZE,
            "vocab_size": MAX_VOCAB_SIZE,
            "max_positions": MAX_POSITIONS,
        }
        for name, limit in limits.items():
            if not 1 <= getattr(self, name) <= limit:
                raise CheckpointError(f"config.json: {name} = {getattr(self, name)} is outside 1…{limit}")
        if self.hidden_size % 64 or self.intermediate_size % 64:
            raise CheckpointError("config.json: hidden_size and intermediate_size must be multiples of 64")
        if self.num_heads < 1 or self.hidden_size % self.num_heads or (self.hidden_size // self.num_heads) % 16:
            raise CheckpointError("config.json: the size of an attention head must be a multiple of 16")
        if not 0 < self.layer_norm_eps < 1e-2:
            raise CheckpointError(f"config.json: layer_norm_eps = {self.layer_norm_eps} is implausible")


@dataclass(frozen=True)
class Linear:
    """A linear layer y = x·weight + bias: ``weight`` float32 [inputs, outputs], ``bias`` float32 [outputs]."""

    weight: Float
    bias: Float


@dataclass(frozen=True)
class Norm:
    """A layer norm: ``weight`` and ``bias`` float32 [H]."""

    weight: Float
    bias: Float


@dataclass(frozen=True)
class Layer:
    """One post-norm encoder layer; the columns of ``qkv`` are q ‖ k ‖ v."""

    qkv: Linear
    attn_out: Linear
    norm1: Norm
    ffn_up: Linear
    ffn_down: Linear
    norm2: Norm


@dataclass(frozen=True)
class Encoder:
    """A float encoder: ``word`` [V, H], ``position`` [P, H] with token type 0 folded in, norm, layers."""

    architecture: Architecture
    word: Float
    position: Float
    norm: Norm
    layers: tuple[Layer, ...]
    model_type: str
    source: str


def read_encoder(folder: Path) -> Encoder:
    """Read ``config.json`` and ``model.safetensors`` of ``folder``; CheckpointError says what is wrong."""
    refuse_pickles(folder, "model.safetensors")
    config = read_json(folder / "config.json")
    tensors, _ = read_tensors(folder / "model.safetensors")
    return encoder_from_tensors(config, tensors, str(folder / "model.safetensors"))


def encoder_from_tensors(config: Mapping[str, object], tensors: Tensors, where: str = "checkpoint") -> Encoder:
    """Build the canonical encoder from a Hugging Face ``config`` and its state dict (keys as transformers' models write them)."""
    model_type = str(config.get("model_type", "bert"))
    if model_type not in (*BERT_FAMILY, "distilbert"):
        supported = ", ".join((*BERT_FAMILY, "distilbert"))
        raise CheckpointError(f"config.json: model_type {model_type!r} is not supported (supported: {supported})")
    _refuse_variants(config, model_type)
    prefix = _prefix(tensors, where)
    sizes = _distilbert_sizes(config) if model_type == "distilbert" else _bert_sizes(config)
    hidden = _integer(sizes, "hidden_size")
    vocab = _integer(sizes, "vocab_size")
    rows = _integer(sizes, "max_positions")
    word = expect(tensors, prefix + "embeddings.word_embeddings.weight", (-1, hidden), where)
    if word.shape[0] != vocab:
        raise CheckpointError(f"{where}: config.json says {vocab} tokens, the embedding has {word.shape[0]} rows")
    position = expect(tensors, prefix + "embeddings.position_embeddings.weight", (rows, hidden), where)
    if model_type in OFFSET_POSITIONS:
        position = position[int(str(config.get("pad_token_id", 1))) + 1 :]
    if model_type != "distilbert":
        types = expect(tensors, prefix + "embeddings.token_type_embeddings.weight", (-1, hidden), where)
        if not len(types):
            raise CheckpointError(f"{where}: the token type embedding is empty")
        position = position + types[0]
    architecture = Architecture(
        num_layers=_integer(sizes, "num_layers"),
        hidden_size=hidden,
        num_heads=_integer(sizes, "num_heads"),
        intermediate_size=_integer(sizes, "intermediate_size"),
        vocab_size=vocab,
        max_positions=position.shape[0],
        layer_norm_eps=float(str(sizes["layer_norm_eps"])),
    )
    names = _DISTILBERT_NAMES if model_type == "distilbert" else _BERT_NAMES
    _refuse_extra_layers(tensors, prefix + names["layer"].split("{")[0], architecture.num_layers, where)
    layers = tuple(_layer(tensors, architecture, prefix, names, i, where) for i in range(architecture.num_layers))
    norm = _norm(tensors, prefix + "embeddings.LayerNorm", hidden, where)
    return Encoder(architecture, word, position, norm, layers, model_type, where)


def _bert_sizes(config: Mapping[str, object]) -> dict[str, object]:
    return {
        "num_layers": config.get("num_hidden_layers"),
        "hidden_size": config.get("hidden_size"),
        "num_heads": config.get("num_attention_heads"),
        "intermediate_size": config.get("intermediate_size"),
        "vocab_size": config.get("vocab_size"),
        "max_positions": config.get("max_position_embeddings"),
        "layer_norm_eps": config.get("layer_norm_eps", 1e-12),
    }


def _distilbert_sizes(config: Mapping[str, object]) -> dict[str, object]:
    return {
        "num_layers": config.get("n_layers"),
        "hidden_size": config.get("dim"),
        "num_heads": config.get("n_heads"),
        "intermediate_size": config.get("hidden_dim"),
        "vocab_size": config.get("vocab_size"),
        "max_positions": config.get("max_position_embeddings"),
        "layer_norm_eps": 1e-12,
    }


def _integer(sizes: Mapping[str, object], name: str) -> int:
    value = sizes[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"config.json: {name} must be a positive integer, not {value!r}")
    return value


def _refuse_variants(config: Mapping[str, object], model_type: str) -> None:
    activation = config.get("activation" if model_type == "distilbert" else "hidden_act", "gelu")
    if activation != "gelu":
        raise CheckpointError(f"config.json: activation {activation!r} is not supported, only 'gelu' (erf form)")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise CheckpointError("config.json: only absolute position embeddings are supported")
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise CheckpointError("config.json: decoders are not supported")
    embedding = config.get("embedding_size", config.get("hidden_size"))
    if embedding != config.get("hidden_size"):
        raise CheckpointError("config.json: an embedding size other than the hidden size is not supported")


def _prefix(tensors: Tensors, where: str) -> str:
    for prefix in PREFIXES:
        if prefix + "embeddings.word_embeddings.weight" in tensors:
            return prefix
    raise CheckpointError(f"{where}: tensor 'embeddings.word_embeddings.weight' is missing")


def _refuse_extra_layers(tensors: Tensors, stem: str, num_layers: int, where: str) -> None:
    found = {name[len(stem) :].split(".")[0] for name in tensors if name.startswith(stem)}
    extra = sorted(index for index in found if not index.isdigit() or int(index) >= num_layers)
    if extra:
        raise CheckpointError(f"{where}: layers {', '.join(extra)} exist, config.json says there are {num_layers}")


def _layer(tensors: Tensors, arch: Architecture, prefix: str, names: Mapping[str, str], i: int, where: str) -> Layer:
    stem = prefix + names["layer"].format(i=i)
    hidden, inner = arch.hidden_size, arch.intermediate_size

    def linear(name: str, inputs: int, outputs: int) -> Linear:
        weight = expect(tensors, f"{stem}{names[name]}.weight", (outputs, inputs), where)
        bias = expect(tensors, f"{stem}{names[name]}.bias", (outputs,), where)
        return Linear(np.ascontiguousarray(weight.T), bias)

    q, k, v = (linear(name, hidden, hidden) for name in "qkv")
    return Layer(
        qkv=Linear(
            np.concatenate([q.weight, k.weight, v.weight], axis=1),
            np.concatenate([q.bias, k.bias, v.bias]),
        ),
        attn_out=linear("attn_out", hidden, hidden),
        norm1=_norm(tensors, stem + names["norm1"], hidden, where),
        ffn_up=linear("ffn_up", hidden, inner),
        ffn_down=linear("ffn_down", inner, hidden),
        norm2=_norm(tensors, stem + names["norm2"], hidden, where),
    )


def _norm(tensors: Tensors, stem: str, hidden: int, where: str) -> Norm:
    names = (f"{stem}.weight", f"{stem}.bias")
    if f"{stem}.gamma" in tensors:  # checkpoints converted from TensorFlow keep the old names
        names = (f"{stem}.gamma", f"{stem}.beta")
    return Norm(expect(tensors, names[0], (hidden,), where), expect(tensors, names[1], (hidden,), where))
