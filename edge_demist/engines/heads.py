"""Probabilities of the specialists by the compiled kernel; by numpy where no kernel runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from edge_demist.engines import tables
from edge_demist.native import abi, arrays
from edge_demist.native import library as native

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.engines.tables import Table
    from edge_demist.format.specialist import Specialist
    from edge_demist.native.library import Kernels


class Heads:
    """The heads of a bundle's specialists as tables of the kernels.  Thread-safe."""

    def __init__(self, kernels: Kernels | None) -> None:
        self.kernels = kernels
        self._tables: dict[str, tuple[Specialist, Table]] = {}
        self._local = threading.local()

    def table(self, specialist: Specialist) -> Table:
        """The specialist's head as the kernels read it."""
        held = self._tables.get(specialist.task)
        if held is None or held[0] is not specialist:
            weight, bias, dim = specialist.rows
            held = specialist, tables.head_table(weight, bias, dim, domain=specialist.domain_weight is not None)
            self._tables[specialist.task] = held
        return held[1]

    def probabilities(self, specialist: Specialist, pooled: NDArray[np.float32], ngrams: NDArray[np.float32] | None) -> list[list[float]]:
        """P(label) of each row; see :meth:`Specialist.probabilities`.

        Raises:
            InputError: the head is made for vectors of other sizes.
        """
        if self.kernels is None:
            numbers: list[list[float]] = specialist.probabilities(pooled, ngrams).tolist()
            return numbers
        table, count = self.table(specialist), len(specialist.bias)
        dim = int(table.numbers[abi.HEAD_DIM])
        pooled = arrays.matrix(pooled, f"{specialist.task}: pooled", int(table.numbers[abi.HEAD_HIDDEN]))
        if dim:
            ngrams = arrays.matrix(ngrams, f"{specialist.task}: ngrams", dim, len(pooled))
        if getattr(self._local, "room", 0) < count:
            self._local.room, self._local.memory = count, native.aligned(4 * count + 256)
        out = np.empty((len(pooled), count), np.float32)
        self.kernels.head(
            table.address,
            native.address(pooled),
            native.address(ngrams) if dim and ngrams is not None else 0,
            len(pooled),
            native.address(out),
            native.address(self._local.memory),
        )
        rows: list[list[float]] = specialist.by_label(out).tolist()
        return rows
