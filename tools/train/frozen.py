"""What a specialist is trained on: a frozen base, from a checkpoint or from a bundle, as it will be served."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertModel

from edge_demist.format.bundle import Bundle
from edge_demist.format.ngram_table import table_of
from edge_demist.format.specialist import load_specialist
from edge_demist.train import calibration
from edge_demist.train.ngrams import NgramConfig, NgramTable
from tools.train.data import Tokenizes, load_tokenizer, sha256_file
from tools.train.network import Network, set_dropout
from tools.train.shipped import BundleTokenizer, encoder_of

Floats = NDArray[np.float32]


def fake_quantize(weight: Tensor, dim: int) -> Tensor:
    """Round to symmetric int8 with one scale along ``dim`` and back (docs/explanation/architecture.md)."""
    scale = weight.abs().amax(dim=dim, keepdim=True).clamp_min(1e-12) / 127
    return torch.round(weight / scale).clamp(-127, 127) * scale


@dataclasses.dataclass
class Base:
    """What a specialist of one task is trained on.

    ``head`` is where its head starts (None: from a regression); ``ngram_head`` float32 [dim, C] and float32 [C] takes the task's columns
    from n-gram vectors to logits; ``record`` says which base it is.
    """

    net: Network
    table: NgramTable
    tokenizer: Tokenizes
    labels: list[str]
    head: nn.Linear | None
    ngram_head: tuple[Floats, Floats]
    record: dict[str, str]


def checkpoint_base(folder: Path, task: str) -> Base:
    """The frozen base of a checkpoint with int8-rounded weights, its n-gram table, rounded too."""
    encoder = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager")
    set_dropout(encoder, 0.0)
    with torch.no_grad():
        words = encoder.embeddings.word_embeddings.weight
        words.copy_(fake_quantize(words, 1))
        for module in encoder.encoder.modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(fake_quantize(module.weight, 1))
    from safetensors import safe_open

    with safe_open(folder / "heads.safetensors", "pt") as file:
        labels = json.loads(file.metadata()["labels"])
    net = Network(encoder, {n: len(x) for n, x in labels.items()})
    heads = load_file(folder / "heads.safetensors")
    net.heads.load_state_dict({k: heads[k] for k in net.heads.state_dict()})
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    table = NgramTable.read(folder / "ngrams.safetensors")
    table = NgramTable(table.config, fake_quantize(table.weight, 0))
    columns = json.loads((folder / "ngram_columns.json").read_text())[task]
    ngram_head = calibration.column_map(columns, len(labels[task]), table.config.dim)
    record = {"checkpoint_sha256": sha256_file(folder / "model.safetensors")}
    return Base(net, table, load_tokenizer(folder / "spm.model"), labels[task], net.heads[task], ngram_head, record)


def bundle_base(folder: Path | None, task: str) -> Base:
    """The base of a bundle that has the task already (None: the one in the package).

    The columns' biases stay 0 here: a bundle holds them only inside the head's, together with the encoder's.
    """
    bundle = Bundle.load(folder)
    before = load_specialist(bundle, task)
    shared = bundle.ngrams
    if before.ngrams is not None:
        table = before.ngrams
    elif shared is not None:
        table = table_of(shared, bundle.tensors)
    else:
        raise SystemExit(f"bundle {bundle.id[:12]}…: {task} has no n-grams; tools.train.custom gives a specialist its own")
    found = table.config
    config = NgramConfig(found.buckets, found.dim, found.min_n, found.max_n, found.max_bytes)
    weight = torch.from_numpy(table.weight.astype(np.float32) * table.scale.astype(np.float32))
    classes = len(before.labels)
    select = np.zeros((config.dim, classes), np.float32) if before.ngram_weight is None else before.ngram_weight
    select = select / max(float(np.abs(select).max()), 1e-12)
    net = Network(encoder_of(bundle), {})
    record = {"base_sha256": bundle.base_sha256}
    return Base(
        net, NgramTable(config, weight), BundleTokenizer(bundle), list(before.labels), None, (select, np.zeros(classes, np.float32)), record
    )
