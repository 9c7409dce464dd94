"""Several specialists of the same rows in one pass: what the kernel ``encode_shared`` is asked.

A branch is one row under one adapter.  It leaves the base's pass before the first layer that its adapter changes, so that layers below are
computed once for all specialists of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_demist.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.format.adapter import Adapter


class Branches(NamedTuple):
    """int32 [n, 3] of (row, adapter, output), by layer and then by row; int32 [layers + 2], where each layer's begin."""

    table: NDArray[np.int32]
    starts: NDArray[np.int32]


def fork(adapter: Adapter | None, layers: int) -> int:
    """The first layer that an adapter changes; ``layers`` for none."""
    return layers if adapter is None else min((layer for layer, _ in adapter.layers), default=layers)


def branches(rows: NDArray[np.int32], slots: NDArray[np.int32], forks: Sequence[int], numbers: Sequence[int], layers: int) -> Branches:
    """Branches in the kernel's order.

    Args:
        rows: int32 [n], each branch's row.
        slots: int32 [n], each branch's specialist.
        forks: the layer at which a specialist's branches leave.
        numbers: a specialist's number in the adapter table; any where it has none.
        layers: of the base.
    """
    leaves = np.array(forks, np.int32)[slots]
    order = np.lexsort((rows, leaves))
    table = np.empty((len(rows), 3), np.int32)
    table[:, 0], table[:, 1], table[:, 2] = rows[order], np.array(numbers, np.int32)[slots[order]], order
    return Branches(table, np.searchsorted(leaves[order], np.arange(layers + 2)).astype(np.int32))


def part(whole: Branches, begin: int, end: int) -> Branches:
    """The branches of the rows ``begin`` .. ``end``, counted from the first of them."""
    inside = (whole.table[:, 0] >= begin) & (whole.table[:, 0] < end)
    table = whole.table[inside]
    table[:, 0] -= begin
    before = np.concatenate([[0], np.cumsum(inside)])
    return Branches(np.ascontiguousarray(table), before[whole.starts].astype(np.int32))


def checked(whole: Branches, layers: int) -> Branches:
    """Branches as the kernel takes them.

    Raises:
        InputError: they are of another shape.
    """
    table, starts = whole
    if table.shape[1:] != (3,) or starts.shape != (layers + 2,) or starts[-1] != len(table):
        raise InputError(f"branches must be int32 [n, 3] and their starts int32 [{layers + 2}]")
    return Branches(np.ascontiguousarray(table, np.int32), np.ascontiguousarray(starts, np.int32))
