"""Columns of an n-gram table: a linear model of one task on hashed character n-grams, and a small table of its own for a specialist."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from edge_demist.train import calibration
from edge_demist.train.ngrams import NgramConfig, NgramTable, hash_rows
from edge_demist.train.rows import Rows

Floats = NDArray[np.float32]

TABLE_BYTES = 1 << 20
"""Of the table in int8."""
MOST_COLUMNS = 64


@dataclasses.dataclass(frozen=True)
class Settings:
    """How one task's columns are trained."""

    epochs: int = 6
    rate: float = 1.5
    drop: float = 0.0
    """Share of a row's n-grams left out at random, which small tables need."""
    generated: int = -1
    """Generated rows, -1: as many as a specialist sees a round. Made-up DGA names cost the n-grams half a point on dev (the encoder
    still sees them)."""
    extra_rows: int = 0
    """Rows a label taken from ``corpus/hostname-labels.parquet`` besides, where a name has one label."""
    services: int = 0
    """How often every well-known service is added, bare and under a host: lists of phishing hold many names that contain theirs."""


def columns_of(labels: Sequence[str]) -> int:
    """Columns that a task needs."""
    return 1 if len(labels) == 2 else len(labels)


@numba.njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _sgd(
    buckets: NDArray[np.int64],
    offsets: NDArray[np.int64],
    y: NDArray[np.int64],
    table: Floats,
    bias: Floats,
    epochs: int,
    rate: float,
    drop: float,
    seed: int,
    weights: Floats,
    margins: Floats,
) -> None:
    """Stochastic gradient descent, one row at a time; one column: logistic, several: softmax.

    A row counts ``weights[row]`` times; with one column ``margins[row]`` is added to its score, which pushes it so far beyond even odds.
    """
    np.random.seed(seed)
    rows, columns = len(offsets) - 1, table.shape[1]
    scores = np.empty(columns, np.float32)
    kept = np.empty(np.max(np.diff(offsets)) + 1, np.int64)
    step, total = 0, epochs * rows
    for _ in range(epochs):
        for row in np.random.permutation(rows):
            eta = rate * (1.0 - step / total) * weights[row]
            step += 1
            count = 0
            for i in range(offsets[row], offsets[row + 1]):
                if np.random.random() >= drop:
                    kept[count] = buckets[i]
                    count += 1
            if count == 0:
                continue
            weight = np.float32(1.0 / np.sqrt(count))
            scores[:] = 0.0
            for i in range(count):  # column by column: whole rows would be copied
                for column in range(columns):
                    scores[column] += table[kept[i], column]
            scores *= weight
            scores += bias
            if columns == 1:
                scores[0] = 1.0 / (1.0 + np.exp(-scores[0] - margins[row])) - y[row]
            else:
                scores -= scores.max()
                scores[:] = np.exp(scores)
                scores /= scores.sum()
                scores[y[row]] -= 1.0
            scores *= np.float32(eta)
            bias -= np.float32(0.02) * scores
            scores *= weight
            for i in range(count):
                for column in range(columns):
                    table[kept[i], column] -= scores[column]


def train_columns(rows: Rows, classes: int, config: NgramConfig, settings: Settings, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logistic regression of one task: table [buckets, columns] and bias [columns].

    Plain gradient steps, row by row: adaptive ones (Adam) move rare n-grams as far as frequent ones and memorise.
    """
    columns = 1 if classes == 2 else classes
    table, bias = np.zeros((config.buckets, columns), np.float32), np.zeros(columns, np.float32)
    buckets, offsets = hash_rows(rows.data, rows.off[:-1], rows.off[1:], config)
    alike = np.ones(len(rows), np.float32)
    _sgd(buckets, offsets, rows.labels, table, bias, settings.epochs, settings.rate, settings.drop, seed, alike, np.zeros_like(alike))
    return torch.from_numpy(table), torch.from_numpy(bias)


def shape(classes: int) -> NgramConfig:
    """As many buckets as fit, a column a label (one for two), up to ``MOST_COLUMNS``."""
    dim = min(-(-columns_of(["?"] * classes) // 16) * 16, MOST_COLUMNS)
    return NgramConfig(buckets=1 << (TABLE_BYTES // dim).bit_length() - 1, dim=dim)


def folded(weight: torch.Tensor, bias: torch.Tensor, classes: int, config: NgramConfig) -> tuple[NgramTable, tuple[Floats, Floats]]:
    """The table and the head on it, float32 [dim, C] and float32 [C], of trained columns [buckets, columns].

    With more columns than ``config.dim`` the table holds their leading singular vectors.
    """
    columns = weight.shape[1]
    if columns <= config.dim:
        padded = torch.nn.functional.pad(weight, (0, config.dim - columns))
        place = {"begin": 0, "end": columns, "bias": bias.tolist()}
        return NgramTable(config, padded), calibration.column_map(place, classes, config.dim)
    _, vectors = np.linalg.eigh(weight.T.double().numpy() @ weight.double().numpy())  # ascending
    leading = vectors[:, -config.dim :].astype(np.float32)
    return NgramTable(config, weight @ torch.from_numpy(leading)), (leading.T.copy(), bias.numpy())
