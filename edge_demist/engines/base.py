"""What every engine offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_demist.format.adapter import Adapter


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
