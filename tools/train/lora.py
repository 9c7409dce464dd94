"""LoRA adapters in training: where they sit, the head that they start with, and the ranks that stay."""

from __future__ import annotations

import warnings

import numpy as np
import peft
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import nn

Floats = NDArray[np.float32]


def lora_config(rank: int, first: int, end: int) -> peft.LoraConfig:
    """Adapters on every linear layer of the encoder's layers ``first`` to ``end`` - 1."""
    layers = "|".join(str(i) for i in range(first, end))
    names = r"query|key|value|attention\.output\.dense|intermediate\.dense|output\.dense"
    return peft.LoraConfig(
        r=rank,
        lora_alpha=rank,
        lora_dropout=0.05,
        target_modules=rf".*layer\.({layers})\..*({names})",
        task_type="FEATURE_EXTRACTION",
    )


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
        if not isinstance(module, peft.tuners.lora.LoraLayer):
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
