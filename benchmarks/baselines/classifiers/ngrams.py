"""Character 1- to 5-grams hashed to 2^20 columns and logistic regression by stochastic gradient descent."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier

from benchmarks.baselines.classifiers import Trained, microseconds, normalizer_of
from tools.train.data import normalized

BUCKETS = 2**20


def train(task: str, train_table: pd.DataFrame, dev: pd.DataFrame, seed: int) -> Trained:
    """Fit and give the decision values on dev as logits."""
    normalizer = normalizer_of(task)
    vectorizer = HashingVectorizer(analyzer="char", ngram_range=(1, 5), n_features=BUCKETS, alternate_sign=False, lowercase=False)

    def features(texts: list[str]) -> object:
        return vectorizer.transform([f"^{t}$" for t in normalized(texts, normalizer)])

    began = time.process_time()
    model = SGDClassifier(loss="log_loss", alpha=2e-6, max_iter=12, random_state=seed).fit(
        features(train_table["text"]), train_table["label"]
    )
    seconds = time.process_time() - began
    values = model.decision_function(features(dev["text"]))
    logits = np.stack([np.zeros_like(values), values], 1) if values.ndim == 1 else values
    spent = microseconds(lambda texts: model.predict(features(texts)), dev["text"])
    return Trained(list(model.classes_), logits.astype(np.float32), int(model.coef_.size), seconds, {"epochs": 12, "microseconds": spent})
