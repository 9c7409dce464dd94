"""Scores of answers on a labelled split: the same functions for our model and for every peer. Pure; nothing is loaded here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from edge_demist.train.calibration import (
    accuracy_thresholds,
    alarm_thresholds,
    expected_calibration_error,
    fit_temperature,
    interval,
    softmax,
)
from tools.train.data import TASKS as LORA_TASKS
from tools.train.plain import PLAIN

DRAWS = 1000
TASKS = {**LORA_TASKS, **{name: plain.task for name, plain in PLAIN.items()}}
HOSTS = ("hostname", "site", "owner", "registrant", "url", "address")
"""Normalizers of tasks whose texts have a site."""
_ESCAPE = re.compile(r"%([0-9a-f]{2})")
_RUNS = ((re.compile(r"(\.\./)+"), "../"), (re.compile(r"[0-9]+"), "0"), (re.compile(r"\s+"), " "))


@dataclass(frozen=True)
class Answers:
    """What a classifier said about every row of a split.

    Attributes:
        labels: str [n].
        confidence: calibrated probability of the label, float64 [n].
        alarm: probability of the positive labels, float64 [n]; None for tasks that only sort.
    """

    labels: NDArray[np.str_]
    confidence: NDArray[np.float64]
    alarm: NDArray[np.float64] | None = None


def calibrated(task: str, names: list[str], logits: NDArray[np.float32], truth: NDArray[np.str_]) -> Answers:
    """Answers from logits; each half of the split gets the other half's temperature."""
    y = pd.Index(names).get_indexer(truth)
    half, probabilities = np.random.default_rng(0).random(len(y)) < 0.5, np.empty(logits.shape)
    for part in (half, ~half):
        others = ~part & (y >= 0)
        probabilities[part] = softmax(logits[part] / fit_temperature(logits[others], y[others]))
    positive = np.isin(names, TASKS[task].positive_labels)
    alarm = probabilities[:, positive].sum(1) if positive.any() else None
    return Answers(np.array(names)[probabilities.argmax(1)], probabilities.max(1), alarm)


def site(text: str) -> str:
    """A URL's site, roughly: its last two labels, or three below a short second level such as co.uk."""
    host = re.split(r"[/?#:]", text.rsplit("://", maxsplit=1)[-1], maxsplit=1)[0].lower()
    labels = host.split(".")
    return ".".join(labels[-3:] if len(labels) > 2 and len(labels[-2]) <= 3 and len(labels[-1]) == 2 else labels[-2:])


def near(text: str) -> str:
    """A text's template: lower case, URL escapes of ASCII undone, runs of digits, blanks and ``../`` squashed, first 60 characters."""
    plain = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if int(m[1], 16) < 128 else m[0], text.lower())
    for run, one in _RUNS:
        plain = run.sub(one, plain)
    return plain[:60]


def leakage(task: str, table: pd.DataFrame, train: pd.DataFrame) -> dict[str, float]:
    """Share of a split's texts that the training split has too: the same text, the same template, the same site."""
    keys: dict[str, Callable[[str], str]] = {
        "same_text": str,
        "near_text": near,
        **({"same_site": site} if TASKS[task].normalizer in HOSTS else {}),
    }
    shares = {}
    for name, key in keys.items():
        known = set(map(key, train["text"]))
        shares[name] = round(float(np.mean([key(t) in known for t in table["text"]])), 4)
    return shares


def subsets(task: str, table: pd.DataFrame, train: pd.DataFrame | None) -> dict[str, NDArray[np.bool_]]:
    """Named parts of a split that are reported apart."""
    parts: dict[str, NDArray[np.bool_]] = {}
    columns = ("platform", "dataset", "split_kind", *(("family",) if task in ("dga", "dns-tunnel") else ()))
    for column in columns:
        if column in table:
            parts |= {f"{column}={v}": (table[column] == v).to_numpy() for v in sorted(table[column].dropna().unique())}
    if task in ("url-phishing", "hostname-threat") and train is not None:
        known = set(map(site, train["text"]))
        parts["sites unseen in training"] = np.array([site(t) not in known for t in table["text"]])
    return parts


def confusion(truth: NDArray[np.str_], labels: NDArray[np.str_], names: list[str]) -> NDArray[np.int64]:
    """Counts [truth, answer]; the last column holds answers that are no label of the split."""
    index = pd.Index(names)
    answered = index.get_indexer(labels)
    counts = np.zeros((len(names), len(names) + 1), np.int64)
    np.add.at(counts, (index.get_indexer(truth), np.where(answered < 0, len(names), answered)), 1)
    return counts


def by_class(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Precision, recall and F1 [..., C, 3] of confusion counts [..., C, C + 1]; 0 where a class never occurs."""
    size = counts.shape[-2]
    hits = np.diagonal(counts[..., :size], axis1=-2, axis2=-1).astype(np.float64)
    answered, there = counts.sum(-2)[..., :size], counts.sum(-1)

    def share(of: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.divide(hits, of, out=np.zeros_like(hits), where=of > 0)

    return np.stack([share(answered), share(there), share(answered + there) * 2], -1)


def macro_f1_interval(counts: NDArray[np.int64], seed: int = 0) -> list[float]:
    """Bootstrap 95 % interval: resampling rows is a multinomial draw of the confusion counts."""
    n = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(n, counts.ravel() / n, size=DRAWS).reshape(DRAWS, *counts.shape)
    values = by_class(draws)[..., 2].mean(-1)
    return [round(float(v), 5) for v in np.quantile(values, (0.025, 0.975))]


def scores(task: str, table: pd.DataFrame, train: pd.DataFrame | None, answers: Answers) -> dict[str, Any]:
    """Everything the scoreboard shows about one classifier on one split.

    ``coverage`` is the share of texts that can be answered, most confident first, with at least that accuracy, chosen on this
    split; ``alarms`` likewise are recalls at thresholds chosen on this split.
    """
    truth = table["label"].to_numpy(str)
    right = answers.labels == truth
    names = sorted(set(truth))
    counts = confusion(truth, answers.labels, names)
    classes = by_class(counts)
    result: dict[str, Any] = {
        "n": len(truth),
        "accuracy": round(float(right.mean()), 4),
        "accuracy_interval": interval(int(right.sum()), len(right)),
        "macro_f1": round(float(classes[:, 2].mean()), 4),
        "macro_f1_interval": macro_f1_interval(counts),
        "classes": {
            name: {"n": int(total), "precision": round(float(p), 4), "recall": round(float(r), 4), "f1": round(float(f), 4)}
            for name, total, (p, r, f) in zip(names, counts.sum(1), classes, strict=True)
        },
        "coverage": {k: v["coverage"] for k, v in accuracy_thresholds(answers.confidence, right)[1].items()},
        "ece": round(expected_calibration_error(answers.confidence, right), 4),
        "parts": parts_of(subsets(task, table, train), right),
    }
    if answers.alarm is not None:
        positive = table["label"].isin(TASKS[task].positive_labels).to_numpy()
        result["alarms"] = {k: rounded(v) for k, v in alarm_thresholds(answers.alarm, positive)[1].items()}
    return result


def parts_of(masks: Mapping[str, NDArray[np.bool_]], right: NDArray[np.bool_]) -> dict[str, Any]:
    """Accuracy with interval of each part that has rows."""
    result = {}
    for name, mask in masks.items():
        if n := int(mask.sum()):
            hits = int(right[mask].sum())
            result[name] = {"n": n, "accuracy": round(hits / n, 4), "interval": interval(hits, n)}
    return result


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of an alarm report, floats to six digits."""
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}
