"""Losses that look at the top of a ranking, for alarms at low false-positive rates."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def alarm_logit(logits: Tensor, positive: Tensor) -> Tensor:
    """Log-odds of the positive classes against the others, float32 [n], from logits [n, C] and a bool mask [C]."""
    return torch.logsumexp(logits[:, positive], 1) - torch.logsumexp(logits[:, ~positive], 1)


def top_loss(score: Tensor, alarm: Tensor, share: float = 0.1) -> Tensor:
    """Logistic loss of every alarm row against the highest ``share`` of the batch's other rows.

    A surrogate of the partial AUC at low false-positive rates (Narasimhan and Agarwal, 2013).

    Args:
        score: float32 [n], higher for alarms.
        alarm: bool [n].
        share: of the rows that are no alarms, how many count.

    Returns:
        A scalar; 0 where one side has no row.
    """
    found, other = score[alarm], score[~alarm]
    if not len(found) or not len(other):
        return score.sum() * 0.0
    highest = other.topk(max(1, int(share * len(other)))).values
    return functional.softplus(highest[None, :] - found[:, None]).mean()
