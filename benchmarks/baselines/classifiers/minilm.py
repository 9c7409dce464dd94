"""all-MiniLM-L6-v2, all of its weights fine-tuned on one task: its own WordPiece tokenizer, mean pooling, a linear head."""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoTokenizer, BertModel

from benchmarks.baselines.classifiers import Trained, normalizer_of
from tools.train.data import TASKS, Rows, batches, in_order, normalized
from tools.train.network import embed_tokens, mean_pool, minilm_folder, padded, run_layers, set_dropout

LARGE = 60_000
"""Rows from which one epoch does; smaller tables are read three times, in batches half as large."""
CUT = {"uri-attack": 64}
"""Most tokens a row, where it differs from our own limit: training on one core has to end."""


def pack(texts: list[str], max_tokens: int) -> Rows:
    """Word piece ids with [CLS] and [SEP]; no bytes."""
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    rows = [np.array(r, np.int32) for r in tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]]
    cu = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
    return Rows(np.concatenate(rows), cu, np.zeros(1, np.uint8), np.zeros(len(rows) + 1, np.int64))


def pooled(encoder: BertModel, rows: Rows, index: np.ndarray) -> torch.Tensor:
    """Mean-pooled last layer [n, hidden] in training precision (bfloat16 layers)."""
    ids, lengths = padded(rows, index)
    mask = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
    return mean_pool(run_layers(encoder, embed_tokens(encoder, ids), mask), mask, lengths)


def load(*used: Rows) -> tuple[BertModel, int]:
    """The stock encoder, float32, and its number of parameters.

    Only the vectors of word pieces that occur are kept, and the rows' ids are renumbered: the others would never get a
    gradient, yet cost the optimizer a sixth of its time.
    """
    encoder = BertModel.from_pretrained(minilm_folder(), add_pooling_layer=False, attn_implementation="eager")
    set_dropout(encoder)
    parameters = sum(p.numel() for p in encoder.parameters())
    pieces = np.unique(np.concatenate([[0], *(rows.ids for rows in used)]))
    weight = encoder.embeddings.word_embeddings.weight.data[torch.from_numpy(pieces)]
    encoder.embeddings.word_embeddings = nn.Embedding(*weight.shape, padding_idx=0, _weight=weight)
    for rows in used:
        rows.ids = np.searchsorted(pieces, rows.ids).astype(np.int32)
    return encoder, parameters


def train(task: str, train_table: pd.DataFrame, dev: pd.DataFrame, seed: int, rate: float = 2e-4) -> Trained:
    """Fine-tune and give the logits on dev."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    labels = sorted(train_table["label"].unique())
    y = torch.from_numpy(train_table["label"].map({n: i for i, n in enumerate(labels)}).to_numpy(np.int64).copy())
    described = TASKS[task]
    length = CUT.get(task, described.max_tokens)
    rows = pack(normalized(train_table["text"], normalizer_of(task)), length)
    small = len(rows) < LARGE
    epochs, budget = (3, 1024) if small else (1, 2048)
    dev_rows = pack(normalized(dev["text"], normalizer_of(task)), length)
    encoder, size = load(rows, dev_rows)
    head = nn.Linear(384, len(labels))
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    plan = [index for epoch in range(epochs) for index in batches(rows.lengths, budget, np.random.default_rng((seed, epoch)))]
    began, losses = time.process_time(), []
    encoder.train()
    for step, index in enumerate(plan):
        warm = min(1.0, (step + 1) / max(1.0, 0.06 * len(plan)))
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * max(0.005, 1 - step / len(plan))
        logits = head(functional.dropout(pooled(encoder, rows, index), 0.1))
        loss = functional.cross_entropy(logits, y[index])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 0:
            spent = time.process_time() - began
            print(f"{task} step {step}/{len(plan)} loss {np.mean(losses[-50:]):.4f} {spent:.0f} s", file=sys.stderr, flush=True)
    seconds = time.process_time() - began
    return Trained(labels, score(encoder, head, dev_rows), size + sum(p.numel() for p in head.parameters()), seconds,
                   {"epochs": epochs, "lr": rate, "tokens_a_batch": budget, "max_tokens": length, "steps": len(plan)})  # fmt: skip


@torch.no_grad()
def score(encoder: BertModel, head: nn.Linear, rows: Rows) -> np.ndarray:
    """Logits [n, C]."""
    encoder.eval()
    out = np.zeros((len(rows), head.out_features), np.float32)
    for index in in_order(rows.lengths, 4096):
        out[index] = head(pooled(encoder, rows, index)).numpy()
    return out
