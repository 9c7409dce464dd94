"""Fitting an adapter and a head: what does not change is computed once, training starts from a regression, ranks are cut at the end."""

from __future__ import annotations

import dataclasses
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from edge_demist.train.network import Network, embed_tokens, mean_pool, padded, run_layers
from edge_demist.train.ngrams import NgramTable
from edge_demist.train.rows import Rows, batches, in_order

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an adapter and a head are trained; ``first_layer`` is the lowest that has an adapter."""

    first_layer: int
    epochs: int
    rate: float = 1e-3
    batch_tokens: int = 2048
    smoothing: float = 0.05
    seed: int = 1


class Cached:
    """Rows with the hidden state below the adapter (bfloat16 [tokens, hidden])."""

    def __init__(self, net: Network, rows: Rows, first: int) -> None:
        self.rows = rows
        self.hidden = torch.empty(len(rows.ids), net.encoder.config.hidden_size, dtype=torch.bfloat16)
        with torch.no_grad():
            for index in in_order(rows.lengths, 4096):
                ids, lengths = padded(rows, index)
                mask = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
                x = run_layers(net.encoder, embed_tokens(net.encoder, ids), mask, 0, first)
                places = np.concatenate([np.arange(a, b) for a, b in zip(rows.cu[index], rows.cu[index + 1], strict=True)])
                self.hidden[torch.from_numpy(places)] = x[mask]

    def batch(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden [n, t, hidden], mask [n, t], lengths [n] of the named rows."""
        ids, lengths = padded(self.rows, index)
        position = torch.arange(ids.shape[1])[None, :]
        source = (torch.from_numpy(self.rows.cu[index])[:, None] + position).clamp_max(len(self.hidden) - 1)
        return self.hidden[source], position < lengths[:, None], lengths


def features(net: Network, table: NgramTable, model: Any, rows: Rows, first: int) -> tuple[Floats, Floats]:
    """Pooled [n, hidden] and n-gram [n, dim] vectors of all rows under the adapter."""
    model.eval()
    cached = Cached(net, rows, first)
    out, ngrams = torch.empty(len(rows), model.config.hidden_size), torch.empty(len(rows), table.config.dim)
    with torch.no_grad():
        for index in in_order(rows.lengths, 4096):
            hidden, mask, lengths = cached.batch(index)
            out[torch.from_numpy(index)] = mean_pool(run_layers(model, hidden, mask, first), mask, lengths)
            ngrams[torch.from_numpy(index)] = table.vectors(rows, index)
    return out.numpy(), ngrams.numpy()


def train(net: Network, model: Any, head: nn.Linear, rows: Rows, settings: Settings) -> float:
    """Train adapter and head on the rows; returns the seconds it took."""
    adapter = [p for name, p in model.named_parameters() if "lora_" in name]
    trained = [*adapter, *head.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    model.train()
    optimizer = torch.optim.AdamW(trained, lr=settings.rate, weight_decay=0.01, betas=(0.9, 0.98))
    cached, began, step, total = Cached(net, rows, settings.first_layer), time.monotonic(), 0, 0
    for epoch in range(settings.epochs):
        plan = list(batches(rows.lengths, settings.batch_tokens, np.random.default_rng((settings.seed, epoch))))
        total = total or len(plan) * settings.epochs
        losses = []
        for index in plan:
            rate = min(1.0, (step + 1) / max(1, min(100, total // 10))) * max(0.01, 1 - step / total)
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * rate
            hidden, mask, lengths = cached.batch(index)
            pooled = mean_pool(run_layers(model, hidden, mask, settings.first_layer), mask, lengths)
            target = torch.from_numpy(rows.labels[index])
            loss = functional.cross_entropy(head(functional.dropout(pooled, 0.1)), target, label_smoothing=settings.smoothing)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            losses.append(loss.item())
            step += 1
        spent = time.monotonic() - began
        sys.stderr.write(f"epoch {epoch + 1} of {settings.epochs}: loss {np.mean(losses[-200:]):.4f}, {spent:.0f} s\n")
    return time.monotonic() - began


def drawn(rows: Rows, count: int, seed: int) -> Rows:
    """At most ``count`` of the rows."""
    return rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:count]))


def start_at(head: nn.Linear, pooled: Floats, y: NDArray[np.int64]) -> None:
    """Let a head start from the logistic regression on vectors of the base as it is: random ones need more steps than small tables give.

    Labels that are not in ``y`` get a low bias.
    """
    mean, spread = pooled.mean(axis=0), pooled.std(axis=0) + 1e-6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start, not a result
        found = LogisticRegression(C=0.1, max_iter=200).fit((pooled - mean) / spread, y)
    weight, bias = np.zeros((head.out_features, pooled.shape[1])), np.full(head.out_features, -10.0)
    if len(found.coef_) == 1:  # two labels: the logit of the second against the first
        weight[found.classes_] = np.concatenate([-found.coef_, found.coef_]) / 2
        bias[found.classes_] = np.concatenate([-found.intercept_, found.intercept_]) / 2
    else:
        weight[found.classes_], bias[found.classes_] = found.coef_, found.intercept_
    weight = weight / spread
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias - weight @ mean))


def cut_ranks(model: nn.Module, energy: float) -> dict[str, int]:
    """Replace each adapter B A by the fewest singular vectors that hold ``energy`` of its squared norm; returns the ranks kept.

    The matrices keep their shapes, the ranks left over are zero: ``quantize`` leaves them out. An energy of 1 changes nothing.
    """
    kept = {}
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
        if energy == 1:
            kept[name] = int((down.any(1) & up.any(0)).sum())
            continue
        with torch.no_grad():
            q_up, r_up = torch.linalg.qr(up.double())
            q_down, r_down = torch.linalg.qr(down.double().T)
            u, values, v = torch.linalg.svd(r_up @ r_down.T)
            share = torch.cumsum(values**2, 0) / (values**2).sum().clamp_min(1e-30)
            rank = min(len(values), int((share < energy).sum()) + 1)
            root = values[:rank].sqrt()
            up.zero_()[:, :rank] = (q_up @ u[:, :rank] * root).to(up.dtype)
            down.zero_()[:rank] = ((q_down @ v[:rank].T * root).T).to(down.dtype)
        kept[name] = rank
    return kept
