"""edge-demist's engines on packed ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist import engines
from edge_demist.format.bundle import Bundle


class Ours:
    """An engine over the bundle; adapters stay off."""

    def __init__(self, models: Path, engine: str = "native") -> None:
        """Open ``models/bundle``."""
        self._engine = engines.create(Bundle.load(models / "bundle"), engine)
        level = getattr(getattr(self._engine, "kernels", None), "level", None)
        self.facts = {"engine": engine, "kernel": level}

    def prepare(self, token_ids: NDArray[np.int32], offsets: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Input in the form that ``encode`` takes."""
        return token_ids, offsets

    def encode(self, prepared: tuple[NDArray[np.int32], NDArray[np.int32]]) -> NDArray[np.float32]:
        """Vectors [n, H] of one batch."""
        return self._engine.encode(*prepared)


load = Ours
