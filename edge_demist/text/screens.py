"""Stage one of several specialists at work: first scores of a batch of strings by one n-gram vector and one small matrix.

The formula stands in :mod:`edge_demist.format.screen`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.format.specialist import Specialist
    from edge_demist.text.ngrams import Ngrams


class _Group(NamedTuple):
    """Specialists that read one n-gram table: their columns; float32 [labels, dim] and [labels] of all of them; where each one's lie."""

    ngrams: Ngrams
    columns: list[int]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    labels: list[tuple[list[int], list[int]]]


class Screens:
    """The screens of some specialists, in a fixed order.  Thread-safe."""

    def __init__(self, specialists: Sequence[tuple[Specialist, Ngrams | None]]) -> None:
        """Take each specialist with the n-gram table that it reads."""
        self._count = len(specialists)
        tables: dict[int, tuple[Ngrams, list[int]]] = {}
        for column, (specialist, ngrams) in enumerate(specialists):
            if specialist.has_first_score and ngrams is not None:
                tables.setdefault(id(ngrams), (ngrams, []))[1].append(column)
        self._groups = [_group(ngrams, columns, [specialists[c][0] for c in columns]) for ngrams, columns in tables.values()]

    def scores(self, texts: Sequence[bytes]) -> NDArray[np.float32]:
        """First scores float32 [n, specialists]; +inf for a specialist that has none, which no cut reaches."""
        out = np.full((len(texts), self._count), np.inf, np.float32)
        for group in self._groups if len(texts) else ():
            logits = group.ngrams.scores(texts, group.weight, group.bias)
            for column, (positive, others) in zip(group.columns, group.labels, strict=True):
                out[:, column] = logits[:, positive].max(axis=1) - logits[:, others].max(axis=1)
        return out


def _group(ngrams: Ngrams, columns: list[int], specialists: Sequence[Specialist]) -> _Group:
    weights, biases, labels = [], [], []
    first = 0
    for one in specialists:
        weight, bias, _ = one.rows
        count = len(one.labels)
        weights.append(weight[:count, len(one.weight) :])
        biases.append(bias[:count])
        labels.append(([first + i for i in one.positive], [first + i for i in range(count) if i not in one.positive]))
        first += count
    return _Group(ngrams, columns, np.ascontiguousarray(np.concatenate(weights)), np.concatenate(biases), labels)
