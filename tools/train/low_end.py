"""Calibration of alarms on ordinary strings: how encoder and n-grams are weighed, and thresholds for false-alarm rates.

Curated ordinary strings and fresh threats of the part ``calibrate`` (``tools.train.ordinary``) are used: none of them trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from edge_demist.train.calibration import LOWEST_ALARM, Combined, combine, interval
from tools.train import ordinary
from tools.train.data import Task

Floats = NDArray[np.float32]
Scores = NDArray[np.float64]
Features = tuple[Floats, Floats]
RATES = (0.01, 0.001, 0.0001, 0.00001)
RATIOS = tuple(float(x) for x in np.geomspace(0.1, 6.4, 13))
"""Weights of the n-grams against the encoder that are tried."""
DEV_LOSS = 0.004
"""Accuracy on dev that the choice of a weight may cost against the best one."""
SURE, EXCESS = 0.9, 1.5
"""A threshold gives at most ``EXCESS`` times the rate it is named for with this probability."""


@dataclasses.dataclass(frozen=True)
class Strings:
    """Texts that calibrate: curated ordinary ones, and threats (empty where no list has any)."""

    ordinary: list[str]
    threats: list[str]
    picked: NDArray[np.bool_]
    """Which ordinary strings people or vendors picked."""


def strings(data: Path, task: str, parts: Sequence[str] = ("calibrate",)) -> Strings | None:
    """The calibration part of a task, or the parts named; None without ordinary strings."""
    if task not in ordinary.FILES or not (data / "ordinary").is_dir():
        return None
    table = ordinary.read_ordinary(data, task)
    found = table[table["part"].isin(parts) & table["curated"]]
    threats = pd.Series(dtype=str)
    if task in ordinary.THREATS:
        listed = ordinary.read_threats(data, task)
        threats = listed.loc[listed["part"].isin(parts) & (listed["kind"] != "no-visible-payload"), "text"]
    return Strings([str(t) for t in found["text"]], [str(t) for t in threats], found["hand_picked"].to_numpy(bool))


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Features of the strings that calibrate."""

    ordinary: Features
    threats: Features
    picked: NDArray[np.bool_]


def read(data: Path, task: Task, features: Callable[[list[str]], Features]) -> Calibration | None:
    """Features of a task's calibration part; None without ordinary strings or for a task that raises no alarm."""
    found = strings(data, task.name) if task.kind == "alarm" else None
    return Calibration(features(found.ordinary), features(found.threats), found.picked) if found else None


def combined(
    head: nn.Linear,
    ngram_head: tuple[Floats, Floats],
    dev: tuple[Features, NDArray[np.int64]],
    low: Calibration | None,
    labels: Sequence[str],
    task: Task,
    columns: Sequence[int],
    dev_loss: float = DEV_LOSS,
) -> tuple[Combined, list[dict[str, float]]]:
    """The head with its n-grams: weighed for low false-alarm rates where a task of two labels has ordinary strings, else on dev alone."""
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    if low is None or len(labels) != 2:
        return combine(weight, bias, ngram_head, *dev[0], dev[1]), []
    alarm = list(labels).index(task.positive_labels[0])
    return weighed(weight, bias, ngram_head, dev, low, alarm, columns, dev_loss)


def add_thresholds(result: dict[str, Any], head: Combined, low: Calibration, labels: Sequence[str], task: Task) -> None:
    """Put the thresholds of ordinary strings, and what they find, in the place of dev's."""
    mask = np.array([label in task.positive_labels for label in labels])
    plain, threats = (alarm_logits(head.logits(*rows) / result["temperature"], mask) for rows in (low.ordinary, low.threats))
    result["thresholds"]["fpr"], result["ordinary"] = thresholds(plain, threats, low.picked)
    result["thresholds"]["fpr_strings"] = dict.fromkeys(result["thresholds"]["fpr"], float(len(plain)))


def found_at(negative: Scores, positive: Scores, rates: tuple[float, ...] = (0.01, 0.001, 0.0003)) -> float:
    """Mean recall at the rates of ``negative``, for a choice between scores."""
    ranked = np.sort(negative)[::-1]
    return float(np.mean([(positive > ranked[int(rate * len(ranked))]).mean() for rate in rates]))


def weighed(
    weight: Floats,
    bias: Floats,
    ngram_head: tuple[Floats, Floats],
    dev: tuple[Features, NDArray[np.int64]],
    low: Calibration,
    alarm: int,
    columns: Sequence[int] = (),
    dev_loss: float = DEV_LOSS,
) -> tuple[Combined, list[dict[str, float]]]:
    """A head of two labels: the weights of its n-grams find most threats, scale (``calibration.combine``) and the best cut come from dev.

    Where no list has threats, dev's positive rows stand for them; ``alarm`` is the number of the positive label; ``columns`` are n-gram
    columns beside the task's own, whose scores are log-odds of the second label. Returns the head, and what every weight gave.
    """
    select, add = ngram_head
    features, y = dev
    positive = low.threats if len(low.threats[0]) else (features[0][y == alarm], features[1][y == alarm])
    extra = np.zeros_like(select)
    extra[list(columns), 1] = 1.0
    sign = 1 if alarm == 1 else -1

    def parts(rows: Features) -> Floats:
        pooled, grams = rows
        return sign * np.stack([pooled @ (weight[1] - weight[0]), *(grams @ (s[:, 1] - s[:, 0]) for s in (select, extra))], 1)

    on_dev, on_plain, on_positive = (parts(rows).astype(np.float64) for rows in (features, low.ordinary, positive))
    picked = low.picked if low.picked.any() else np.ones_like(low.picked)
    tried = []
    for own in (0.0, *RATIOS):
        for more in (0.0, *RATIOS) if len(columns) else (0.0,):
            by = np.array([1.0, own, more])
            plain, threats = on_plain @ by, on_positive @ by
            found = (found_at(plain, threats) + found_at(plain[picked], threats)) / 2
            tried.append({"own": own, "more": more, "dev": best_cut(on_dev @ by, y == alarm)[1], "found": found})
    highest = max(row["dev"] for row in tried)
    best = max((row for row in tried if row["dev"] >= highest - dev_loss), key=lambda row: row["found"])
    grams = best["own"] * select + best["more"] * extra
    joined, both = np.concatenate([weight, grams.T], axis=1), np.concatenate(features, axis=1)
    none = np.zeros((both.shape[1], 2), np.float32), np.zeros(2, np.float32)
    one = combine(joined, bias + best["own"] * add, none, both, both, y)
    hidden = weight.shape[1]
    logits = both @ one.weight + one.bias
    cut, _ = best_cut((logits[:, alarm] - logits[:, 1 - alarm]).astype(np.float64), y == alarm)
    one.bias[alarm] -= np.float32(cut)
    share = round(one.encoder_factor * (best["own"] + best["more"]), 4)
    return Combined(one.weight[:hidden], one.weight[hidden:], one.bias, one.encoder_factor, share), [best, *_frontier(tried)]


def _frontier(tried: list[dict[str, float]]) -> list[dict[str, float]]:
    """The weights of which none other is better on dev and finds more."""
    ordered = sorted(tried, key=lambda row: (-row["dev"], -row["found"]))
    kept: list[dict[str, float]] = []
    for row in ordered:
        if not kept or row["found"] > kept[-1]["found"]:
            kept.append(row)
    return kept


def best_cut(scores: Scores, positive: NDArray[np.bool_], loss: float = 0.0) -> tuple[float, float]:
    """The cut of a score above which positives lie best, or the lowest that costs no more than ``loss`` of it; the accuracy there."""
    order = np.argsort(scores, kind="stable")
    right = positive.sum() + np.concatenate([[0], np.cumsum(np.where(positive[order], -1, 1))])
    place = int((right >= right.max() - loss * len(positive)).argmax())
    around = np.concatenate([[scores.min() - 1], scores[order], [scores.max() + 1]])[place : place + 2]
    return float(around.mean()), float(right[place] / len(positive))


def allowed(rate: float, count: int) -> int:
    """False alarms among ``count`` strings below which a threshold gives ``EXCESS`` times the rate at most, surely enough; -1: none."""
    most = EXCESS * rate * count
    k = int(rate * count)
    while k >= 0 and stats.gamma.ppf(SURE, k + 1) > most:
        k -= 1
    return k


def thresholds(plain: Scores, threats: Scores, picked: NDArray[np.bool_] | None = None) -> tuple[dict[str, float], dict[str, Any]]:
    """Alarm scores for each rate, from the alarm logits of ordinary strings; where they are too few the tail is drawn on.

    The rate holds for all of ``plain`` and for those ``picked`` by people: the stricter of the two cuts is taken.

    Args:
        plain: float64 [n], log-odds of an alarm of ordinary strings.
        threats: those of threats, for the report.
        picked: bool [n], which ordinary strings were picked by people or vendors.
    """
    ranked = np.sort(plain)[::-1]
    some = ranked if picked is None or not picked.any() else np.sort(plain[picked])[::-1]
    table: dict[str, float] = {}
    report: dict[str, Any] = {}
    for rate in RATES:
        counted = 0 <= allowed(rate, len(ranked)) < len(ranked)
        cut = max(_cut(ranked, rate), _cut(some, rate), float(np.log(LOWEST_ALARM / (1 - LOWEST_ALARM))))
        table[f"{rate:.5f}".rstrip("0")] = 1 / (1 + float(np.exp(-cut)))
        alarms, hits = int((plain >= cut).sum()), int((threats >= cut).sum())
        report[f"{rate:g}"] = {
            "threshold": table[f"{rate:.5f}".rstrip("0")], "ordinary": len(plain), "counted": counted, "fpr": alarms / len(plain),
            "fpr_interval": interval(alarms, len(plain)), "fpr_picked": float((some >= cut).mean()),
            "recall": round(hits / max(len(threats), 1), 4), "threats": len(threats),
        }  # fmt: skip
    return table, report


def _cut(ranked: Scores, rate: float) -> float:
    """The logit that at most a share ``rate`` of the strings lies above, surely enough; drawn on where they are too few."""
    k = allowed(rate, len(ranked))
    return float((ranked[max(k - 1, 0)] + ranked[k]) / 2) + 1e-6 if 0 <= k < len(ranked) else _tail(ranked, rate)


def _tail(ranked: Scores, rate: float) -> float:
    """The logit that a share ``rate`` would lie above if the highest thousandth went on exponentially."""
    count = max(20, len(ranked) // 1000)
    start = float(ranked[count])
    mean = float(ranked[:count].mean()) - start
    return max(start + mean * float(np.log(count / (rate * len(ranked)))), float(ranked[0]) + 1e-6)


def log_odds(scores: Scores) -> Scores:
    """Log-odds of probabilities, finite at 0 and 1."""
    inside = np.clip(scores, 1e-12, 1 - 1e-9)
    result: Scores = np.log(inside) - np.log1p(-inside)
    return result


def alarm_logits(logits: Floats, positive: NDArray[np.bool_]) -> Scores:
    """Log-odds of the positive labels, float64 [n], from logits [n, C] that are divided by the temperature."""
    found = logits.astype(np.float64)
    result: Scores = np.logaddexp.reduce(found[:, positive], 1) - np.logaddexp.reduce(found[:, ~positive], 1)
    return result
