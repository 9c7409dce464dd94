"""What every engine offers, and what an adapter is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

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


@runtime_checkable
class Engine(Protocol):
    """Packed token ids in, pooled vectors out.  Engines are thread-safe."""

    @property
    def name(self) -> str:
        """``native``, ``jit`` or ``onnxruntime``."""

    def encode(
        self,
        token_ids: NDArray[np.int32],
        offsets: NDArray[np.int32],
        adapters: Sequence[Adapter | None] = (),
        adapter_index: NDArray[np.int32] | None = None,
        normalize: bool = True,
    ) -> NDArray[np.float32]:
        """Mean-pooled vectors, float32 [n, H], L2-normalised if asked.

        Args:
            token_ids: int32 [T], rows packed one after the other, special ids included.
            offsets: int32 [n + 1]; row i is ``token_ids[offsets[i]:offsets[i + 1]]``.
            adapters: what ``adapter_index`` counts; None stands for the base alone.
            adapter_index: int32 [n]; -1 is the base alone.  None: the base for every row, or, when there is
                exactly one adapter, that one.
            normalize: divide each vector by its Euclidean norm.

        Raises:
            ValueError: names the first row whose ids, length or adapter are out of range.
        """
