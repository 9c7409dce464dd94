"""What an adapter is: the low-rank matrices that one specialist adds to the base's linear layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_demist.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LORA_TARGETS = ("q", "k", "v", "attn_out", "ffn_up", "ffn_down")


@dataclass(frozen=True, eq=False)
class Adapter:
    """A low-rank adapter (LoRA, arXiv:2106.09685): y += (x A) B for some linear layers.

    ``layers`` maps (layer number, target) to (A float32 [K, r], B float32 [r, N]); alpha / r is folded into B.
    Targets are those of ``LORA_TARGETS``.
    """

    name: str
    layers: Mapping[tuple[int, str], tuple[NDArray[np.float32], NDArray[np.float32]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check targets and that A and B fit each other."""
        for (layer, target), (a, b) in self.layers.items():
            where = f"adapter {self.name!r}, layer {layer}, {target}"
            if target not in LORA_TARGETS or layer < 0:
                raise InputError(f"{where}: targets are {', '.join(LORA_TARGETS)}")
            if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0] or a.dtype != np.float32 or b.dtype != np.float32:
                raise InputError(f"{where}: A must be float32 [K, r] and B float32 [r, N], not {a.shape} and {b.shape}")
