"""What an answer is, and how probabilities become one under the caller's thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from edge_demist.errors import InputError
from edge_demist.format.specialist import Specialist

UNKNOWN = "unknown"
"""Label of an answer held back by ``min_accuracy``."""


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """One answer.

    Attributes:
        text: the text as given (bytes are decoded with ``surrogateescape``).
        task: the specialist asked.
        label: the most probable label; ``unknown`` when held back; empty when ``error`` is set.
        score: calibrated probability of the most probable label, 0 to 1.
        alarm_score: probability that the answer is one of the task's positive labels; 0 for categories.
        scores: the ``top_k`` most probable labels and their probabilities, best first; None for ``top_k=1``.
        truncated: only the beginning of the text was read (limits in the bundle's manifest and the specialist).
        error: what was wrong with this text; None for an answer.
    """

    text: str
    task: str
    label: str
    score: float
    alarm_score: float = 0.0
    scores: Mapping[str, float] | None = None
    truncated: bool = False
    error: str | None = None


class Rule:
    """Turns probabilities into a prediction under the caller's thresholds."""

    def __init__(self, specialist: Specialist, min_accuracy: float | None, fpr: float | None) -> None:
        self.specialist = specialist
        self._floor = specialist.threshold("accuracy", min_accuracy) if min_accuracy is not None else None
        self._alarm = specialist.threshold("fpr", fpr) if fpr is not None and specialist.kind == "alarm" else None
        if fpr is not None and specialist.kind != "alarm":
            raise InputError(f"fpr applies to alarm tasks; {specialist.task!r} is a category task (use min_accuracy)")

    def answer(self, text: str, scores: Sequence[float], *, truncated: bool, top_k: int) -> Prediction:
        """The prediction for P(label) ``scores``."""
        specialist = self.specialist
        alarm, best = 0.0, scores.index(max(scores))
        if specialist.kind == "alarm":
            positive, alarm = specialist.positive, specialist.alarm_score(scores)
            if self._alarm is not None and (best in positive) != (alarm >= self._alarm):
                allowed = [i for i in range(len(scores)) if (i in positive) == (alarm >= self._alarm)]
                best = max(allowed, key=scores.__getitem__, default=best)
        score = scores[best]
        label = specialist.labels[best]
        if self._floor is not None and score < self._floor:
            label = UNKNOWN
        ranked = None
        if top_k != 1:
            order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[: top_k or None]
            ranked = MappingProxyType({specialist.labels[j]: scores[j] for j in order})
        return Prediction(text, specialist.task, label, score, alarm, ranked, truncated)


__all__ = ["UNKNOWN", "Prediction", "Rule"]
