"""A bundle as a base to train on: its encoder and tokenizer, as served.

The float checkpoint that a bundle was made of is not in the wheel and is not needed: a specialist trains on weights rounded to int8
anyway (``tools.train.specialist``), and those are in the bundle.
"""

from __future__ import annotations

from transformers import BertConfig, BertModel

from edge_demist.format.bundle import Bundle
from edge_demist.train.encoder import BundleTokenizer, tensors_of
from tools.train.network import empty_encoder

__all__ = ["BundleTokenizer", "encoder_of"]


def encoder_of(bundle: Bundle) -> BertModel:
    """A bundle's encoder with frozen weights as transformers and PEFT know it, without dropout."""
    arch = bundle.architecture
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
    model.load_state_dict(tensors_of(bundle), strict=True)
    model.embeddings.dropout.p = 0.0
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model
