"""Which strings are worth a label: those a specialist is least sure of, few of a kind, the frequent ones first.

Uncertainty sampling (Lewis and Gale 1994) by the distance of an alarm score from its threshold in log odds; of one registrable
domain, or of strings that begin alike, at most three.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from edge_demist.sensor.detect.allow import host_of
from edge_demist.sensor.incidents.told import is_number
from edge_demist.sensor.public_suffix import registrable_domain

MAX_ALIKE = 3
MAX_HELD = 200_000
PREFIX_CHARS = 12


def choose(events: Iterable[Mapping[str, Any]], count: int, task: str = "") -> list[dict[str, Any]]:
    """The ``count`` strings to ask about, the most useful first: text, task, score, threshold, how often seen."""
    seen: Counter[tuple[str, str]] = Counter()
    kept: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        text, own = event.get("text"), event.get("task")
        score, threshold = event.get("alarm_score"), event.get("threshold")
        usable = isinstance(text, str) and is_number(score) and is_number(threshold)
        if not usable or not isinstance(own, str) or (task and own != task):
            continue
        key = (own, str(text))
        seen[key] += 1
        if key in kept or len(kept) < MAX_HELD:
            kept[key] = event
    ranked = sorted(kept, key=lambda key: (_distance(kept[key]) - 0.3 * math.log1p(seen[key]), key))
    alike: Counter[tuple[str, str]] = Counter()
    chosen: list[dict[str, Any]] = []
    for key in ranked:
        kind = (key[0], registrable_domain(host_of(key[1])) or key[1][:PREFIX_CHARS])
        alike[kind] += 1
        if alike[kind] <= MAX_ALIKE and len(chosen) < count:
            event = kept[key]
            row = {"text": key[1], "task": key[0], "label": None, "suggested": event.get("label"), "score": event["alarm_score"]}
            chosen.append(row | {"threshold": event["threshold"], "seen": seen[key]})
    return chosen


def _distance(event: Mapping[str, Any]) -> float:
    return abs(_logit(float(event["alarm_score"])) - _logit(float(event["threshold"])))


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def label_studio(rows: Iterable[Mapping[str, Any]], labels: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Tasks for Label Studio's import, each with the specialist's answer as a prediction."""
    return [
        {
            "data": {"text": row["text"], "task": row["task"], "choices": list(labels.get(str(row["task"]), ()))},
            "predictions": [
                {
                    "score": row["score"],
                    "result": [
                        {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [row["suggested"]]}},
                    ],
                }
            ],
        }
        for row in rows
    ]
