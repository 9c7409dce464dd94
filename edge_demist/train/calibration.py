"""Calibration of a trained head: temperature, OOD detector, thresholds, scores with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from edge_demist.train.rows import Task

Floats = NDArray[np.float32]
FALSE_POSITIVE_RATES = (0.01, 0.001, 0.0001)
HONEST_RATES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
LEAST_EXPECTED = 3
"""Of N harmless rows none above a threshold means a rate below about 3 / N (rule of three, at 95 %): no finer one is claimed."""
ACCURACIES = (0.9, 0.94, 0.98)
BINS = 15
FOREIGN_REFUSED = 0.98
"""Share of foreign strings that stand apart from own ones, if they do."""
PENALTY = 1e-4
"""Keeps the two factors of ``combine`` finite where they separate dev without an error."""
LOWEST_ALARM = 0.5
"""No alarm on a string that is more likely harmless, however few false positives the lower threshold would have given on dev."""


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Row-wise softmax."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def fit_temperature(logits: Floats, y: NDArray[np.int64]) -> float:
    """Temperature that minimises the negative log-likelihood (Guo et al., 2017)."""

    def loss(log_t: float) -> float:
        p = softmax(logits / np.exp(log_t))
        return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-2.5, 2.5), method="bounded").x))


def expected_calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """ECE with 15 equal-width bins (Naeini et al., 2015)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(np.sum(gaps))


@dataclasses.dataclass(frozen=True)
class Domain:
    """Logistic regression: does a string belong to this specialist's kind?"""

    weight: Floats
    ngram_weight: Floats
    bias: float

    def probability(self, pooled: Floats, ngrams: Floats) -> NDArray[np.float64]:
        """P(in distribution), float64 [n]."""
        logit = pooled @ self.weight + ngrams @ self.ngram_weight + self.bias
        result: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(logit, -30, 30)))
        return result

    def tensors(self) -> dict[str, Floats]:
        """Tensors of head.safetensors."""
        return {
            "domain_weight": self.weight.astype(np.float32),
            "domain_ngram_weight": self.ngram_weight.astype(np.float32),
            "domain_bias": np.array([self.bias], np.float32),
        }


def fit_domain(
    own: tuple[Floats, Floats], foreign: tuple[Floats, Floats], kin: tuple[Floats, Floats] | None = None, false_refusals: float = 0.005
) -> Domain:
    """Fit the OOD detector. One half lies between own and foreign strings where they stand apart, else where few own ones are refused.

    Args:
        own: pooled and n-gram vectors of the task's rows.
        foreign: those of strings of other kinds.
        kin: those of more strings of the task's kind, some of which may not be; the bias does not go by them.
        false_refusals: share of own strings that may fall below one half.
    """
    rows = np.concatenate(own, axis=1)
    near = rows if kin is None or not len(kin[0]) else np.concatenate([rows, np.concatenate(kin, axis=1)])
    x = np.concatenate([near, np.concatenate(foreign, axis=1)])
    y = np.concatenate([np.ones(len(near)), np.zeros(len(foreign[0]))])
    scale = x.std(axis=0) + 1e-6
    model = LogisticRegression(C=0.1, max_iter=300).fit(x / scale, y)
    weight = (model.coef_[0] / scale).astype(np.float32)
    hidden = own[0].shape[1]
    low = float(np.quantile(rows @ weight, false_refusals))
    high = float(np.quantile(np.concatenate(foreign, axis=1) @ weight, FOREIGN_REFUSED))
    return Domain(weight[:hidden], weight[hidden:], -(low + high) / 2 if low > high else -low)


@dataclasses.dataclass(frozen=True)
class Combined:
    """A head that adds the n-gram columns of a task, weighted, to the encoder's logits."""

    weight: Floats
    ngram_weight: Floats
    bias: Floats
    encoder_factor: float
    ngram_factor: float

    def logits(self, pooled: Floats, ngrams: Floats) -> Floats:
        """Logits [n, C]."""
        return pooled @ self.weight + ngrams @ self.ngram_weight + self.bias

    def tensors(self) -> dict[str, Floats]:
        """Tensors of head.safetensors."""
        return {"weight": self.weight, "ngram_weight": self.ngram_weight, "bias": self.bias}


def column_map(columns: dict[str, Any], classes: int, dim: int) -> tuple[Floats, Floats]:
    """Which columns of the n-gram vector belong to which label, float32 [dim, C], and their biases, float32 [C].

    Two labels share one column: the logit of the second against the first.
    """
    select, add = np.zeros((dim, classes), np.float32), np.zeros(classes, np.float32)
    first = classes - (columns["end"] - columns["begin"])
    for label in range(first, classes):
        select[columns["begin"] + label - first, label] = 1.0
        add[label] = columns["bias"][label - first]
    return select, add


def encoder_head(tensors: dict[str, Floats], ngram_head: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """The encoder's part of a combined head: weight [C, hidden] and bias [C] without the columns' biases."""
    return tensors["weight"].T.copy(), tensors["bias"] - ngram_head[1] * tensors["ngram_weight"].max()


def fit_biases(logits: Floats, y: NDArray[np.int64]) -> Floats:
    """Biases, float32 [C] with mean 0, that minimise the negative log-likelihood of labels ``y`` [n] under logits [n, C]."""
    truth = np.bincount(y, minlength=logits.shape[1]) / len(y)

    def loss(bias: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        p = softmax(logits + bias)
        return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean()), p.mean(0) - truth

    found = optimize.minimize(loss, np.zeros(logits.shape[1]), jac=True, method="L-BFGS-B").x
    return (found - found.mean()).astype(np.float32)


def combine(
    weight: Floats, bias: Floats, ngram_head: tuple[Floats, Floats], pooled: Floats, ngrams: Floats, y: NDArray[np.int64]
) -> Combined:
    """Weigh the encoder's logits against those of the n-grams by two factors that minimise the negative log-likelihood on dev.

    With two labels a third number shifts the second's logit: generated rows make one label more frequent in training than it is.

    Args:
        weight: float32 [C, hidden] of the encoder's head.
        bias: float32 [C].
        ngram_head: float32 [dim, C] and float32 [C], from n-gram vectors to logits (``column_map``).
        pooled: float32 [n, hidden].
        ngrams: float32 [n, dim].
        y: int64 [n]; -1 for labels not known.
    """
    classes = len(bias)
    select, add = ngram_head
    shift = np.arange(classes, dtype=np.float64) if classes == 2 else np.zeros(classes)
    known = y >= 0
    ours, theirs = (pooled @ weight.T + bias)[known], (ngrams @ select + add)[known]

    def loss(x: NDArray[np.float64]) -> float:
        p = softmax(ours * x[0] + theirs * x[1] + (x[2] * shift if classes == 2 else 0.0))
        return float(-np.log(np.maximum(p[np.arange(len(p)), y[known]], 1e-12)).mean() + PENALTY * np.square(x[:2]).sum())

    start = np.array([1.0, 0.5, 0.0][: 3 if classes == 2 else 2])
    found = optimize.minimize(loss, start, method="BFGS").x
    a, b = max(float(found[0]), 0.0), max(float(found[1]), 0.0)
    moved = float(found[2]) * shift if classes == 2 else np.zeros(classes)
    return Combined(
        (weight.T * a).astype(np.float32),
        (select * b).astype(np.float32),
        (bias * a + add * b + moved).astype(np.float32),
        round(a, 4),
        round(b, 4),
    )


def interval(hits: int, n: int) -> list[float]:
    """Clopper-Pearson 95 % interval of a proportion."""
    low = float(stats.beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return [round(low, 6), round(high, 6)]


def alarm_thresholds(
    score: NDArray[np.float64], positive: NDArray[np.bool_], rates: Sequence[float] = FALSE_POSITIVE_RATES
) -> tuple[dict[str, float], dict[str, Any]]:
    """Score at each false-positive rate, and what it gave on dev.

    Where dev has too few negatives for a rate, the threshold lies half-way between the highest negative and 1, and the report's
    interval of the false-positive rate says how little that proves.
    """
    negative, hits = np.sort(score[~positive]), score[positive]
    table, report = {}, {}
    for rate in rates:
        allowed = int(np.floor(rate * len(negative)))
        highest = float(negative[-1 - allowed])
        above = float(negative[-allowed]) if allowed else 1.0
        threshold = max((highest + above) / 2, LOWEST_ALARM)
        table[str(rate)] = threshold
        alarms, found = int((negative >= threshold).sum()), int((hits >= threshold).sum())
        report[str(rate)] = {
            "threshold": threshold, "recall": round(found / len(hits), 4), "recall_interval": interval(found, len(hits)),
            "fpr": alarms / len(negative), "fpr_interval": interval(alarms, len(negative)), "negatives": len(negative),
        }  # fmt: skip
    return table, report


def accuracy_thresholds(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[dict[str, float], dict[str, Any]]:
    """Lowest probability above which answers are right as often as asked, with the share of texts answered."""
    order = np.argsort(-confidence, kind="stable")
    running = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    table, report = {}, {}
    for target in ACCURACIES:
        good = np.nonzero(running >= target)[0]
        if not len(good):
            continue
        k = int(good[-1])
        table[str(target)] = float(confidence[order[k]])
        report[str(target)] = {
            "threshold": float(confidence[order[k]]),
            "coverage": round((k + 1) / len(order), 4),
            "accuracy": float(running[k]),
        }
    return table, report


def calibrate(
    task: Task,
    labels: list[str],
    logits: Floats,
    y: NDArray[np.int64],
    in_domain: NDArray[np.float64],
    *,
    honest: bool = False,
    temperature: float | None = None,
) -> dict[str, Any]:
    """Temperature (``temperature``, if it is given), thresholds and dev scores of a head.

    ``honest``: no rate that the rows are too few for.

    The expected calibration error is cross-fitted: each half of dev is scored with the other half's temperature.
    """
    known = y >= 0
    logits, y, in_domain = logits[known], y[known], in_domain[known]
    temperature = fit_temperature(logits, y) if temperature is None else temperature
    probabilities = softmax(logits / temperature) * in_domain[:, None]
    alarming = softmax(logits / temperature)
    confidence, answer = probabilities.max(1), probabilities.argmax(1)
    right = answer == y
    half = np.random.default_rng(0).random(len(y)) < 0.5
    crossed = np.empty(len(y))
    for part in (half, ~half):
        crossed[part] = (softmax(logits[part] / fit_temperature(logits[~part], y[~part])) * in_domain[part, None]).max(1)
    thresholds: dict[str, dict[str, float]] = {}
    thresholds["accuracy"], coverage = accuracy_thresholds(confidence, right)
    result: dict[str, Any] = {
        "n": len(y), "accuracy": round(float(accuracy_score(y, answer)), 4), "accuracy_interval": interval(int(right.sum()), len(y)),
        "macro_f1": round(float(f1_score(y, answer, average="macro")), 4), "temperature": round(temperature, 4),
        "ece": round(expected_calibration_error(crossed, right), 4), "coverage": coverage,
        "in_domain_refused": round(float((in_domain < 0.5).mean()), 5),
    }  # fmt: skip
    if task.kind == "alarm":
        positive_class = np.array([label in task.positive_labels for label in labels])
        positive = positive_class[y]
        negatives = int((~positive).sum())
        rates = [rate for rate in HONEST_RATES if rate * negatives >= LEAST_EXPECTED] if honest else FALSE_POSITIVE_RATES
        thresholds["fpr"], result["alarms"] = alarm_thresholds(alarming[:, positive_class].sum(1), positive, rates)
        if honest:
            result["alarms"]["negatives"] = negatives
    result["thresholds"] = thresholds
    return result
