"""PyTorch fp32, one thread: the reference for quality, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertModel

from benchmarks.baselines.engines.padded import pad, pool


class TorchFp32:
    """The checkpoint itself."""

    def __init__(self, models: Path) -> None:
        """Load ``models/checkpoint``."""
        torch.set_num_threads(1)
        self._model = BertModel.from_pretrained(models / "checkpoint", add_pooling_layer=False).eval()
        self.facts = {"version": torch.__version__}

    def prepare(self, token_ids: NDArray[np.int32], offsets: NDArray[np.int32]) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded ids and mask."""
        ids, mask = pad(token_ids, offsets)
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def encode(self, prepared: tuple[torch.Tensor, torch.Tensor]) -> NDArray[np.float32]:
        """Vectors [n, H] of one batch."""
        ids, mask = prepared
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        return pool(hidden.numpy(), mask.numpy())


load = TorchFp32
