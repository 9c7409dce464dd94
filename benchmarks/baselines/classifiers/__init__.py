"""Peers that are trained on the same task tables as the specialists and scored on the same dev splits.

    python -m benchmarks.baselines.classifiers minilm   --data DATA --work WORK     # fine-tuned all-MiniLM-L6-v2
    python -m benchmarks.baselines.classifiers fasttext --data DATA --work WORK     # needs fasttext-numpy2-wheel
    python -m benchmarks.baselines.classifiers ngrams   --data DATA --work WORK     # character n-grams + linear
    python -m benchmarks.baselines.classifiers ngrams   --data DATA --work WORK --task dga --hold-out suppobox pykspa

One module a peer: ``train(task, train, dev, seed)`` returns its logits on dev. They know nothing of our bundle, so
``benchmarks/results/accuracy-peers.json`` need not be made again with a new one. WORK keeps the logits of every finished task:
a run that was stopped goes on with the next task, and scoring can be repeated without training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tools.train.data import TASKS


@dataclass(frozen=True)
class Trained:
    """What a peer hands back.

    Attributes:
        labels: names of the columns of ``logits``.
        logits: float32 [n, C] on dev, uncalibrated.
        parameters: trained numbers, head included.
        seconds: processor time of the training.
        settings: how it was trained.
    """

    labels: list[str]
    logits: NDArray[np.float32]
    parameters: int
    seconds: float
    settings: Mapping[str, object]


def normalizer_of(task: str) -> str:
    """The normalizer that peers read a task with: ``www.`` and the slash of a first page stay, which ours leave out at a cost on dev.

    Texts of tasks that are not the bundle's are read as they are.
    """
    name = TASKS[task].normalizer if task in TASKS else "identity"
    return {"site": "hostname", "owner": "hostname", "registrant": "hostname", "address": "url"}.get(name, name)


def microseconds(predict: Callable[[list[str]], object], texts: pd.Series) -> float:
    """Processor time a string, text to label, in batches of 32: the median batch of the first 1,024 strings."""
    some = list(texts.head(1024))
    spent = []
    for begin in range(0, len(some), 32):
        before = time.process_time()
        predict(some[begin : begin + 32])
        spent.append((time.process_time() - before) / len(some[begin : begin + 32]))
    return round(1e6 * float(np.median(spent)), 1)
