"""What an answer is, and how probabilities become one under the caller's thresholds.

The out-of-distribution (OOD) detector lowers the confidence of a label, or leaves ``unknown``; it never lowers an alarm.  Heads give
P(label) · P(in distribution), so that P(in distribution) is their sum and P(label) what is left after division by it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import cast

from edge_demist.errors import BundleError, InputError
from edge_demist.format.specialist import Specialist
from edge_demist.hostnames import is_plain
from edge_demist.normalizers import REFUSED, UNREGISTERED
from edge_demist.text.windows import Window, is_name

UNKNOWN = "unknown"
"""Label of an answer held back, by ``min_accuracy`` or because the string is not of the specialist's kind."""
DEFAULT_FPR = 0.001
"""False-positive rate whose threshold decides ``alarm`` where the caller names none."""
LEAST_ALARM = 0.5
"""Threshold of a specialist that has none for ``DEFAULT_FPR``."""
LEAST_IN_DISTRIBUTION = 0.1
"""Below this P(in distribution) a label says nothing."""
LEAST_POSITIVE = 0.2
"""A label of a threat is not given for less, where there is no alarm."""
SURE_THREAT = 0.8
"""A label of a threat is not withheld from this alarm score on, where a looser rate than the one asked for would alarm."""


def is_surely_harmless(text: str, normalizer: str) -> bool:
    """Whether no score makes a text an alarm for a specialist: it is not of its kind, or nobody's (see :meth:`Rule.answer`)."""
    if is_name(normalizer) and is_registered_name(text):
        return False
    bare, refused, unregistered = text.strip(), REFUSED.get(normalizer), UNREGISTERED.get(normalizer)
    return any(pattern is not None and pattern.search(bare) is not None for pattern in (refused, unregistered))


def is_registered_name(text: str) -> bool:
    """Whether a text is a name of several short labels of letters, digits and hyphens, as most are: no pattern finds fault with it."""
    return len(text) < 64 and "." in text[:-1] and is_plain(text)


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """One answer.

    Attributes:
        text: the text as given (bytes are decoded with ``surrogateescape``).
        task: the specialist asked.
        label: the most probable label; ``unknown`` when held back; empty when ``error`` is set.
        score: calibrated probability of the most probable label, 0 to 1; that the string is of the specialist's kind counts in,
            unless ``alarm`` is set.
        alarm_score: probability that the answer is one of the task's positive labels, whatever the string's kind; 0 for categories.
        scores: the ``top_k`` most probable labels and their probabilities, best first; None for ``top_k=1``.
        truncated: only the beginning of the text was read (limits in the bundle's manifest and the specialist).
        error: what was wrong with this text; None for an answer.
        alarm: whether ``alarm_score`` reaches ``threshold``; None for categories.
        threshold: alarm score of the false-positive rate asked for (``DEFAULT_FPR``); None for categories.
        screened: stage one alone answered (``screen=True``): the scores are its own, and no alarm's.
        window: the part of a long text that the answer is about, in bytes of the normalized text; None for the whole.
    """

    text: str
    task: str
    label: str
    score: float
    alarm_score: float = 0.0
    scores: Mapping[str, float] | None = dataclasses.field(default=None, hash=False)
    truncated: bool = False
    error: str | None = None
    alarm: bool | None = None
    threshold: float | None = None
    window: Window | None = None
    screened: bool = False

    def to_dict(self) -> dict[str, object]:
        """What JSON takes: plain values, as ``edge-demist classify`` writes them; what is not set is left out."""
        if self.error:
            return {"text": self.text, "task": self.task, "error": self.error}
        found: dict[str, object] = {"text": self.text, "task": self.task, "label": self.label, "score": round(self.score, 6)}
        if self.alarm is not None and self.threshold is not None:
            found |= {"alarm": self.alarm, "alarm_score": round(self.alarm_score, 6), "threshold": round(self.threshold, 6)}
        if self.window is not None:
            found["window"] = self.window.shown()
        if self.scores is not None:
            found["scores"] = {label: round(score, 6) for label, score in self.scores.items()}
        if self.truncated:
            found["truncated"] = True
        if self.screened:
            found["screened"] = True
        return found


_Draft = dataclasses.make_dataclass("_Draft", [field.name for field in dataclasses.fields(Prediction)], slots=True)
"""What becomes a prediction when it is finished: a frozen object takes five times as long to make, a fiftieth of a batch for four tasks."""


def failed(shown: str, task: str, why: str) -> Prediction:
    """The answer about a text that cannot be processed."""
    return Prediction(shown, task, "", 0.0, error=why)


class Rule:
    """Turns probabilities into a prediction under the caller's thresholds."""

    def __init__(self, specialist: Specialist, min_accuracy: float | None, fpr: float | None) -> None:
        self.specialist = specialist
        self._floor = specialist.threshold("accuracy", min_accuracy) if min_accuracy is not None else None
        if fpr is not None and specialist.kind != "alarm":
            raise InputError(f"fpr applies to alarm tasks; {specialist.task!r} is a category task (use min_accuracy)")
        self._strict = fpr is not None
        self._threshold = _alarm_threshold(specialist, fpr) if specialist.kind == "alarm" else None
        self._surely = _surely_a_threat(specialist) if specialist.kind == "alarm" else 1.0
        self._refused = REFUSED.get(specialist.normalizer)
        self._unregistered = UNREGISTERED.get(specialist.normalizer)
        self._of_names = is_name(specialist.normalizer)
        self._positive = specialist.positive[0] if len(specialist.positive) == 1 else None

    @property
    def threshold(self) -> float | None:
        """Alarm score that decides ``alarm``; None for categories."""
        return self._threshold

    def answer(
        self, text: str, scores: Sequence[float], *, truncated: bool, top_k: int, window: Window | None = None, screened: bool = False
    ) -> Prediction:
        """The prediction for P(label) · P(in distribution) ``scores``."""
        specialist, threshold = self.specialist, self._threshold
        if not (self._of_names and is_registered_name(text)):
            scores = self._of_kind(text.strip(), scores)
        inside, score, alarm, alarm_score = sum(scores), max(scores), None, 0.0
        best = scores.index(score)
        if threshold is not None:
            positive = scores[self._positive] if self._positive is not None else specialist.alarm_score(scores)
            alarm_score = positive / inside if inside else 0.0
            alarm = alarm_score >= threshold
            if (alarm or self._strict) and (best in specialist.positive) != alarm:
                allowed = [i for i in range(len(scores)) if (i in specialist.positive) == alarm]
                best = max(allowed, key=scores.__getitem__, default=best)
                score = scores[best]
            score = min(score / inside, 1.0) if alarm else score
        label = specialist.labels[best]
        if inside < LEAST_IN_DISTRIBUTION or score < LEAST_POSITIVE or self._strict or self._floor is not None:
            label = UNKNOWN if self._is_held_back(best, score, inside, alarm, alarm_score) else label
        alarm_score, ranked = min(alarm_score, 1.0), None if top_k == 1 else self._ranked(scores, top_k)
        answer = _Draft(
            text, specialist.task, label, score, alarm_score, ranked, truncated, None, alarm, threshold, window, screened
        )  # fmt: skip
        answer.__class__ = Prediction
        return cast("Prediction", answer)

    def _is_held_back(self, best: int, score: float, inside: float, alarm: bool | None, alarm_score: float) -> bool:
        """Whether a label is not given."""
        positive = best in self.specialist.positive
        says_much = not inside or alarm is None or positive  # ordinary strings of odd spelling stay ordinary
        hollow = inside < LEAST_IN_DISTRIBUTION or (alarm is False and positive and score < LEAST_POSITIVE)
        hollow = hollow and not (positive and alarm_score >= self._surely)
        between = self._strict and not alarm and alarm_score > LEAST_ALARM  # neither an alarm nor likely to be ordinary
        return (hollow and says_much and not alarm) or between or (self._floor is not None and score < self._floor)

    def _of_kind(self, bare: str, scores: Sequence[float]) -> Sequence[float]:
        """The scores as far as a text without blanks around it can be of the specialist's kind, and somebody's."""
        if self._refused is not None and self._refused.search(bare):
            return [0.0] * len(scores)
        if self._unregistered is not None and self._unregistered.search(bare):
            return self._without_positives(scores)
        return scores

    def _without_positives(self, scores: Sequence[float]) -> Sequence[float]:
        """The scores, those of positive labels given to the best other one: a label keeps a score that agrees with it."""
        positive = self.specialist.positive
        others = [i for i in range(len(scores)) if i not in positive]
        best, spared = max(others, key=scores.__getitem__, default=-1), sum(scores[i] for i in positive)
        return [0.0 if i in positive else min(1.0, score + spared) if i == best else score for i, score in enumerate(scores)]

    def _ranked(self, scores: Sequence[float], top_k: int) -> Mapping[str, float]:
        """The ``top_k`` best labels."""
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[: top_k or None]
        return {self.specialist.labels[j]: scores[j] for j in order}


def _alarm_threshold(specialist: Specialist, fpr: float | None) -> float:
    """Alarm score for a false-positive rate; of ``DEFAULT_FPR``, where the specialist has it, for None."""
    try:
        return specialist.threshold("fpr", DEFAULT_FPR if fpr is None else fpr)
    except BundleError:
        if fpr is None:
            return LEAST_ALARM
        raise


def _surely_a_threat(specialist: Specialist) -> float:
    """Alarm score from which on a threat's label is given whatever the string's kind: an alarm at the loosest shipped rate, and sure."""
    return max(SURE_THREAT, min(specialist.thresholds.get("fpr", {}).values(), default=1.0))


__all__ = ["DEFAULT_FPR", "UNKNOWN", "Prediction", "Rule"]
