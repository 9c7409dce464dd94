"""Where PEFT's LoRA adapters sit; what starts and cuts them is in ``edge_demist.train.fit``."""

from __future__ import annotations

import peft

from edge_demist.train.fit import cut_ranks, start_at

__all__ = ["cut_ranks", "lora_config", "start_at"]


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
