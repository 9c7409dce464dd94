"""Stage one of several specialists at work: first scores of a batch of strings by one n-gram vector and one small matrix.

The formula stands in :mod:`edge_demist.format.screen`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.format.screen import ScreenNet
    from edge_demist.format.specialist import Specialist
    from edge_demist.text.ngrams import Ngrams


class _Group(NamedTuple):
    """Specialists that read one n-gram table.

    Heads' rows float32 [labels, dim] and [labels], and nets; then the columns of the heads with where each one's labels lie and whether the
    others are gates, and those of the nets, in their order.
    """

    ngrams: Ngrams
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    nets: list[ScreenNet]
    heads: list[tuple[int, list[int], list[int], bool]]
    columns: list[int]


class Screens:
    """The screens of some specialists, in a fixed order.  Thread-safe."""

    def __init__(self, specialists: Sequence[tuple[Specialist, Ngrams | None]]) -> None:
        """Take each specialist with the n-gram table that it reads."""
        self._count = len(specialists)
        tables: dict[int, tuple[Ngrams, list[tuple[int, Specialist]]]] = {}
        for column, (specialist, ngrams) in enumerate(specialists):
            if specialist.has_first_score and ngrams is not None:
                tables.setdefault(id(ngrams), (ngrams, []))[1].append((column, specialist))
        self._groups = [_group(ngrams, members) for ngrams, members in tables.values()]

    def scores(self, texts: Sequence[bytes]) -> NDArray[np.float32]:
        """First scores float32 [n, specialists]; +inf for a specialist that has none, which no cut reaches."""
        out = np.full((len(texts), self._count), np.inf, np.float32)
        for group in self._groups if len(texts) else ():
            found = group.ngrams.scores(texts, group.weight, group.bias, group.nets)
            for column, positive, others, soft in group.heads:
                against = _log_sum(found[:, others]) if soft else found[:, others].max(axis=1)
                out[:, column] = found[:, positive].max(axis=1) - against
            out[:, group.columns] = found[:, len(group.bias) :]
        return out


def _log_sum(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """log(sum_j exp(logits_j)), float32 [n]: what gates have together.

    Summed gate by gate, in one order for any n: numpy adds up a row of many in another order than a single row.
    """
    largest = logits.max(axis=1)
    parts = np.exp(np.ascontiguousarray((logits - largest[:, None]).T))
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    summed: NDArray[np.float32] = largest + np.log(total)
    return summed


def _group(ngrams: Ngrams, members: Sequence[tuple[int, Specialist]]) -> _Group:
    weights, biases = [np.empty((0, ngrams.dim), np.float32)], [np.empty(0, np.float32)]
    made = _Group(ngrams, weights[0], biases[0], [], [], [])
    first = 0
    for column, one in members:
        if one.screen is not None and one.screen.net is not None:
            made.nets.append(one.screen.net)
            made.columns.append(column)
            continue
        weight, bias, _ = one.rows
        threats = [i for i, label in enumerate(one.owners) if label in one.positive]  # of the alarm group, which comes first
        others = [i for i, label in enumerate(one.owners) if label not in one.positive]
        rows = [*threats, *(range(len(one.bias) - one.gates, len(one.bias)) if one.gates else others)]
        weights.append(weight[rows, len(one.weight) :])
        biases.append(bias[rows])
        middle = first + len(threats)
        made.heads.append((column, list(range(first, middle)), list(range(middle, first + len(rows))), one.gates > 0))
        first += len(rows)
    return made._replace(weight=np.ascontiguousarray(np.concatenate(weights)), bias=np.concatenate(biases))
