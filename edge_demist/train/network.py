"""The network that is trained: the encoder's layers as plain functions, and linear heads on the mean of the last one.

The encoder is any module with BERT's names (``encoder.EncoderModule``, or ``BertModel`` of transformers).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge_demist.train.rows import Rows, width_of


class Network(nn.Module):
    """Encoder + one linear head a task on the mean-pooled last layer."""

    def __init__(self, encoder: Any, heads: dict[str, int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict({n: nn.Linear(encoder.config.hidden_size, c) for n, c in heads.items()})
        self.dropout = nn.Dropout(0.1)

    def pooled(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Token vectors [n, t, hidden] and their mean over the true length [n, hidden]."""
        mask = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
        hidden = encode_tokens(self.encoder, ids, mask)
        weights = mask.unsqueeze(-1) / lengths[:, None, None]
        return hidden, (hidden * weights).sum(1)

    def logits(self, task: str, pooled: Tensor) -> Tensor:
        """Logits [n, C] of one head."""
        return self.heads[task](self.dropout(pooled))


def embed_tokens(encoder: Any, ids: Tensor) -> Tensor:
    """Embedding layer: bfloat16 [n, t, hidden]."""
    embeddings = encoder.embeddings
    x = embeddings.word_embeddings(ids) + embeddings.position_embeddings.weight[: ids.shape[1]]
    x = x + embeddings.token_type_embeddings.weight[0]
    norm = embeddings.LayerNorm
    x = functional.layer_norm(x, (x.shape[-1],), norm.weight, norm.bias, encoder.config.layer_norm_eps)
    return embeddings.dropout(x).to(torch.bfloat16)


def _linear(module: nn.Module, value: Tensor) -> Tensor:
    """A linear layer in bfloat16; a PEFT LoRA layer adds its low-rank product."""
    base = getattr(module, "base_layer", module)
    out = functional.linear(value, base.weight.to(value.dtype), base.bias.to(value.dtype))
    if base is module:
        return out
    for name in module.active_adapters:
        down, up = module.lora_A[name].weight, module.lora_B[name].weight
        low = functional.linear(module.lora_dropout[name](value), down.to(value.dtype))
        out = out + functional.linear(low, up.to(value.dtype)) * module.scaling[name]
    return out


def run_layers(encoder: Any, x: Tensor, mask: Tensor, first: int = 0, last: int | None = None) -> Tensor:
    """Encoder layers ``first`` to ``last`` on bfloat16 [n, t, hidden].

    Same function as the layers of transformers under autocast, a third faster on a CPU: the fused attention's backward
    pass is slow on rows of 5 to 50 tokens, and autocast converts every layer norm twice.
    """
    config = encoder.config
    n, t = mask.shape
    heads, size = config.num_attention_heads, config.hidden_size
    bias = torch.zeros(n, 1, 1, t, dtype=x.dtype).masked_fill(~mask[:, None, None, :], -1e4)

    def norm(module: nn.Module, value: Tensor) -> Tensor:
        return functional.layer_norm(value, (size,), module.weight.to(value.dtype), module.bias.to(value.dtype), config.layer_norm_eps)

    for layer in encoder.encoder.layer[first:last]:
        attention = layer.attention.self
        parts = (attention.query, attention.key, attention.value)
        if all(type(p) is nn.Linear for p in parts):
            weight, add = torch.cat([p.weight for p in parts]).to(x.dtype), torch.cat([p.bias for p in parts]).to(x.dtype)
            q, k, v = functional.linear(x, weight, add).view(n, t, 3, heads, size // heads).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = (_linear(p, x).view(n, t, heads, size // heads).transpose(1, 2) for p in parts)
        scores = torch.matmul(q * (size // heads) ** -0.5, k.transpose(-1, -2)) + bias
        context = torch.matmul(torch.softmax(scores, -1), v).transpose(1, 2).reshape(n, t, size)
        x = norm(layer.attention.output.LayerNorm, x + _linear(layer.attention.output.dense, context))
        up = functional.gelu(_linear(layer.intermediate.dense, x))
        x = norm(layer.output.LayerNorm, x + _linear(layer.output.dense, up))
    return x


def mean_pool(hidden: Tensor, mask: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the true length: float32 [n, hidden]."""
    return (hidden.float() * (mask.unsqueeze(-1) / lengths[:, None, None])).sum(1)


def encode_tokens(encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Last hidden state, float32 [n, t, hidden]."""
    return run_layers(encoder, embed_tokens(encoder, ids), mask).float()


def padded(rows: Rows, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Token ids of the named rows as int64 [n, longest] (0 = padding) and lengths int64 [n]."""
    lengths = rows.cu[index + 1] - rows.cu[index]
    width = int(width_of(lengths).max())
    position = np.arange(width)[None, :]
    source = np.minimum(rows.cu[index][:, None] + position, len(rows.ids) - 1)
    ids = np.where(position < lengths[:, None], rows.ids[source], 0).astype(np.int64)
    return torch.from_numpy(ids), torch.from_numpy(lengths)
