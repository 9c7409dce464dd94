"""fastText (Joulin et al., 2017): words cut at punctuation, their character 2- to 5-grams and pairs of words, hashed; a linear head.

Needs the package fasttext-numpy2-wheel (or fasttext).
"""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.baselines.classifiers import Trained, microseconds, normalizer_of
from tools.train.data import normalized

WORD = re.compile(r"\w+|[^\w\s]")
SETTINGS = {"lr": 0.5, "dim": 64, "minn": 2, "maxn": 5, "wordNgrams": 2, "minCount": 2, "bucket": 2**19, "loss": "softmax"}
PASSES = 1_500_000
"""Rows read in all: a small table is read more often, at most 50 times, at least 5 times."""


def line(text: str) -> str:
    """The text as words between blanks."""
    return " ".join(WORD.findall(text)) or "-"


def train(task: str, train_table: pd.DataFrame, dev: pd.DataFrame, seed: int) -> Trained:
    """Train on a temporary file and give the logarithms of its probabilities on dev."""
    import fasttext

    normalizer = normalizer_of(task)
    labels = sorted(train_table["label"].unique())
    epochs = int(np.clip(PASSES // len(train_table), 5, 50))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.txt"
        order = np.random.default_rng(seed).permutation(len(train_table))
        texts, names = normalized(train_table["text"], normalizer), list(train_table["label"])
        file.write_text("".join(f"__label__{names[i]} {line(texts[i])}\n" for i in order), encoding="utf-8", errors="replace")
        began = time.process_time()
        model = fasttext.train_supervised(str(file), epoch=epochs, thread=1, seed=seed, verbose=0, **SETTINGS)
        seconds = time.process_time() - began
    column = {f"__label__{name}": i for i, name in enumerate(labels)}

    def predict(texts: list[str]) -> list[tuple[tuple[str, ...], np.ndarray]]:
        return [model.predict(line(t), k=-1) for t in normalized(texts, normalizer)]

    logits = np.full((len(dev), len(labels)), -20.0, np.float32)
    for row, (found, probabilities) in zip(logits, predict(dev["text"]), strict=True):
        row[[column[name] for name in found]] = np.log(np.maximum(probabilities, 1e-9))
    size = int(np.prod(model.get_input_matrix().shape) + np.prod(model.get_output_matrix().shape))
    return Trained(labels, logits, size, seconds, {"epochs": epochs, "microseconds": microseconds(predict, dev["text"]), **SETTINGS})
