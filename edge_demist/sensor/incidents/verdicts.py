"""What specialists said, in the form that signs need: how strict a calibrated false-positive rate a score passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from edge_demist.format.facts import calibrated_level
from edge_demist.sensor.detect.scoring import ModelLike
from edge_demist.sensor.incidents.observation import Observation

RATES = (0.01, 0.001, 0.0001)
LEVELLED = ("dga", "hostname-threat", "url-phishing", "uri-attack")
TUNNEL, AGENT, TOOL_LABEL = "dns-tunnel", "user-agent", "attack-tool"
TASKS = frozenset((*LEVELLED, TUNNEL, AGENT))
"""The specialists that incidents are made from."""


class AnswerLike(Protocol):
    """What is read of an answer."""

    @property
    def label(self) -> str:
        """The most probable label."""

    @property
    def score(self) -> float:
        """Its probability."""

    @property
    def alarm_score(self) -> float | None:
        """The probability of all positive labels."""


class Verdicts:
    """Puts answers into observations. Levels stand on calibration, so they mean the same for every version of a model."""

    def __init__(self, thresholds: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
        """Take each specialist's table of thresholds; a level it is not calibrated for is never passed."""
        self._levels: dict[str, tuple[float, ...]] = {}
        for task in set(LEVELLED) & set(thresholds):
            known = [calibrated_level(thresholds[task], "fpr", rate) for rate in RATES]
            self._levels[task] = tuple(level[1] if level else float("inf") for level in known)
        self._least = {task: min(levels) for task, levels in self._levels.items()}

    @classmethod
    def of(cls, model: ModelLike) -> Verdicts:
        """Of a model's specialists."""
        return cls({task: model.facts(task).thresholds for task in model.tasks if task in LEVELLED})

    def matters(self, task: str, answer: AnswerLike) -> bool:
        """Whether an answer changes anything; of many strings that are asked none does, and no observation need be made of them."""
        score = answer.alarm_score
        if score is None or task == AGENT:
            return task == AGENT
        return score >= self._least[task] if task in self._least else task == TUNNEL and score > 0

    def attach(self, seen: Observation, task: str, answer: AnswerLike) -> None:
        """Note one answer; of several strings of a record the worst counts."""
        score = answer.alarm_score
        if task in self._levels and score is not None:
            level = sum([score >= threshold for threshold in self._levels[task]])
            if level and level > seen.levels.get(task, 0):
                seen.levels[task] = level
                if task == "uri-attack":
                    seen.attack = answer.label
        elif task == TUNNEL and score is not None:
            seen.tunnel = max(seen.tunnel, score)
        elif task == AGENT:
            seen.agent_kind = answer.label
            seen.tool = max(seen.tool, answer.score) if answer.label == TOOL_LABEL else seen.tool
