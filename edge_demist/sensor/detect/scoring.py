"""From (string, specialist) pairs to answers: one mixed batch for the model, a cache before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_demist.errors import BundleError, InputError
from edge_demist.format.facts import calibrated_level
from edge_demist.normalizers import NORMALIZERS, from_bytes, to_bytes, truncate_utf8
from edge_demist.predictions import UNKNOWN, is_surely_harmless
from edge_demist.sensor.caching import cached
from edge_demist.sensor.detect.answer_cache import DEFAULT_ENTRIES, AnswerCache
from edge_demist.sensor.detect.sieve import Sieve
from edge_demist.text.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.format.bundle import Bundle
    from edge_demist.format.facts import Facts
    from edge_demist.predictions import Prediction

DEFAULT_FPR = 0.001
KNOWN_FPR = {"dga": 0.0001}
SUMMED = {"dns-tunnel": 0.3}
"""Specialists whose weak verdicts are summed up by incidents, and from which score on."""
UNCALIBRATED = 0.5
MAX_MODEL_BYTES = 8192
MAX_NORMALIZED_CHARS = 16 * MAX_MODEL_BYTES
"""What the model looks at of an overlong string, before it is normalized."""
PART_BYTES = 1 << 15
PART_ROWS = 512
"""The model is asked about so much at once: about a third of a second where all of it is hostile."""
REMEMBERED = 1024
QUICK = ("identity", "hostname", "strip_www", "strip_service_labels", "strip_all_service_labels", "url", "url_without_root_slash")
"""Normalizers whose results are not remembered: they take hardly longer than a look into a table."""
SELF_TEST_TEXTS = ("example.com", "xjw8k2qpz7v1.info", "/index.php?id=1'+OR+1=1--", "Mozilla/5.0", "", "\u00fc\ud800")


class ModelLike(Protocol):
    """The part of ``EdgeDemist`` that the sensor uses."""

    @property
    def tasks(self) -> Sequence[str]:
        """The specialists' names."""

    @property
    def bundle_id(self) -> str:
        """SHA-256 of the bundle's manifest."""

    @property
    def bundle(self) -> Bundle:
        """The bundle."""

    def classify(self, texts: Sequence[str], task: Sequence[str], *, screen: bool | Mapping[str, float] = ...) -> Sequence[Prediction]:
        """Answers, in order; ``screen`` is given only to a model with first scores."""

    def encode(self, texts: Sequence[str], *, projected: bool = ...) -> NDArray[np.float32]:
        """Vectors [n, dim]; not projected: by the encoder alone."""

    def first_scores(self, texts: Sequence[str], tasks: Sequence[str]) -> NDArray[np.float32]:
        """First scores float32 [n, tasks]; a model without them is never screened."""

    def facts(self, task: str) -> Facts:
        """A specialist's labels, kind, normalizer, thresholds and screen."""

    def close(self) -> None:
        """Free it."""


@dataclass(slots=True)
class Answer:
    """What the cache holds. ``text`` is the string as the specialist saw it, by which repeats are recognised.

    Nobody changes one; it is not frozen because making a frozen one takes three times as long, and one is made for every string.
    """

    label: str
    score: float
    alarm_score: float | None
    truncated: bool
    error: str = ""
    text: str = ""
    window: Window | None = None
    screened: bool = False


class Scorer:
    """Asks the model what the cache does not know."""

    def __init__(self, model: ModelLike, cache_entries: int = DEFAULT_ENTRIES) -> None:
        """Read the specialists' facts once."""
        self.breathe: Callable[[], None] = lambda: None
        self.model = model
        self.bundle_id = model.bundle_id
        self.cache: AnswerCache[Answer] = AnswerCache(cache_entries)
        self.cache_entries = cache_entries
        self.screening: Mapping[str, float] | None = None
        """Alarm scores below which the windows of long strings may be left to stage one; set by whoever screens."""
        facts = {task: model.facts(task) for task in model.tasks}
        normalize = {name: _remembering(name) for name in {fact.normalizer for fact in facts.values()}}
        self._normalizers = {task: fact.normalizer for task, fact in facts.items()}
        self._normalize = {task: normalize[fact.normalizer] for task, fact in facts.items()}
        self.alarm_tasks = frozenset(task for task, fact in facts.items() if fact.kind == "alarm")
        self.category_tasks = frozenset(facts) - self.alarm_tasks
        self._thresholds = {task: facts[task].thresholds for task in self.alarm_tasks}

    def levels(self, fpr: float | None = None) -> dict[str, tuple[float | None, float]]:
        """The calibrated false-positive rate of each alarm specialist and its alarm score, by ``calibrated_level``.

        Without ``fpr`` it is 0.001, and a specialist without a level that strict starts at its strictest, or at (None, 0.5).

        Raises:
            InputError: a specialist has no level as strict as ``fpr``.
        """
        found: dict[str, tuple[float | None, float]] = {}
        for task, table in self._thresholds.items():
            level = calibrated_level(table, "fpr", DEFAULT_FPR if fpr is None else fpr)
            rates = table.get("fpr", {})
            if level is None and fpr is not None:
                known = ", ".join(sorted(rates, key=float)) or "none"
                raise InputError(f"--fpr {fpr:g}: specialist {task!r} is not calibrated that strictly; it has {known}")
            strictest = min(((float(rate), score) for rate, score in rates.items()), default=(None, UNCALIBRATED))
            found[task] = level or strictest
        return found

    def weakest(self) -> dict[str, float]:
        """By alarm specialist the alarm score that a string must be able to reach to be asked about for incidents.

        What stage one shows to stay under the false-positive rate of 0.001 is left out, though a few of such strings would pass
        weaker levels: about one weak verdict in twenty is lost, and three strings of four are not asked.
        """
        found = {task: score for task, (_, score) in self.levels().items()}
        return found | {task: min(found[task], score) for task, score in SUMMED.items() if task in found}

    def weakest_of_known(self) -> dict[str, float]:
        """As :meth:`weakest`, for names that exist: there a verdict of dga must be able to pass the level of 0.0001."""
        levels = {task: calibrated_level(self._thresholds[task], "fpr", KNOWN_FPR[task]) for task in KNOWN_FPR if task in self._thresholds}
        return self.weakest() | {task: level[1] for task, level in levels.items() if level is not None}

    def sieve(self, least: Callable[[], Mapping[str, float]], dropped: Container[str], *, screen: bool) -> Sieve:
        """What takes strings out before they are asked about: all that stage one can answer, if ``screen``, and ``dropped`` specialists.

        Args:
            least: by alarm specialist the lowest alarm score that matters at present.
            dropped: specialists whose answers nobody reads.
            screen: False takes only ``dropped`` out.
        """
        nothing: dict[str, float] = {}
        can = screen and hasattr(self.model, "first_scores")
        return Sieve(self.model, least if can else lambda: nothing, dropped, max(self.cache_entries // 4, 1))

    def answer(self, pairs: Sequence[tuple[str, str]]) -> list[Answer]:
        """Answers to (string, specialist) pairs, in order; equal pairs are asked once."""
        return list(self.answers(pairs))

    def answers(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Answer]:
        """As :meth:`answer`, each as soon as it is there."""
        keys = [(self._normalize[task](text[:MAX_NORMALIZED_CHARS]), task) for text, task in pairs]
        answers: dict[tuple[str, str], Answer] = {}
        missing: dict[tuple[str, str], str] = {}
        for key, (text, _) in zip(keys, pairs, strict=True):
            if key in answers or key in missing:
                self.cache.duplicates += 1
                continue
            held = self.cache.get(*key) or (None if key[0] else self._nothing(key[1]))
            if held is None:
                missing[key] = text
            else:
                answers[key] = held
        asked = zip(missing, self._ask([(text, task) for (_, task), text in missing.items()], self.screening), strict=True)
        for key in keys:
            while key not in answers:  # in the order in which they are missing
                answered, fresh = next(asked)
                fresh.text = answered[0]
                answers[answered] = fresh
                if not (fresh.error or fresh.screened):
                    self.cache.put(*answered, fresh)
            yield answers[key]

    def _nothing(self, task: str) -> Answer:
        """The answer about a string of which nothing is left, as of the root's name: it is nothing that the specialist knows."""
        return Answer(UNKNOWN, 0.0, 0.0 if task in self.alarm_tasks else None, truncated=False)

    def _ask(self, pairs: Sequence[tuple[str, str]], screening: Mapping[str, float] | None = None) -> Iterator[Answer]:
        """Ask the model, in parts: between them others have their turn."""
        for part in parts(pairs):
            self.breathe()
            yield from self._ask_part(part, screening)

    def _ask_part(self, part: Sequence[tuple[str, str]], screening: Mapping[str, float] | None) -> list[Answer]:
        try:
            return self._ask_at_once(part, screening)
        except Exception:  # one string must not cost the answers about the others
            return [self._ask_alone(pair) for pair in part]

    def _ask_at_once(self, pairs: Sequence[tuple[str, str]], screening: Mapping[str, float] | None = None) -> list[Answer]:
        texts, tasks = [text for text, _ in pairs], [task for _, task in pairs]
        found = self.model.classify(texts, task=tasks, screen=screening) if screening else self.model.classify(texts, task=tasks)
        return [self._to_answer(p, task) for p, task in zip(found, tasks, strict=True)]

    def _ask_alone(self, pair: tuple[str, str]) -> Answer:
        try:
            return self._ask_at_once([pair])[0]
        except Exception as error:
            return Answer("", 0.0, None, truncated=False, error=f"{type(error).__name__}: {str(error)[:200]}")

    def _to_answer(self, prediction: Prediction, task: str) -> Answer:
        if prediction.error:
            return Answer("", 0.0, None, prediction.truncated, prediction.error)
        score = prediction.alarm_score if task in self.alarm_tasks else None
        if not (math.isfinite(prediction.score) and math.isfinite(score or 0.0)):
            return Answer("", 0.0, None, prediction.truncated, "the score is no number")
        return Answer(
            prediction.label,
            float(prediction.score),
            None if score is None else float(score),
            prediction.truncated,
            window=getattr(prediction, "window", None),
            screened=getattr(prediction, "screened", False),
        )

    def uncached(self, pairs: Sequence[tuple[str, str]]) -> list[Answer]:
        """Answers without touching the cache (strings that occur in no log)."""
        return list(self._ask(pairs))

    def without_words(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Alarm scores of strings from which a word was taken, 0 where there is none; what is left of a name is often none."""
        found = [0.0] * len(pairs)
        asked = [n for n, (text, task) in enumerate(pairs) if not is_surely_harmless(text, self._normalizers[task])]
        for n, answer in zip(asked, self._ask([pairs[n] for n in asked]), strict=True):
            found[n] = answer.alarm_score or 0.0
        return found

    def first_scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """First scores of (string, specialist) pairs, in order; +inf where stage one has none."""
        found = [math.inf] * len(pairs)
        if hasattr(self.model, "first_scores"):
            for task in dict.fromkeys(task for _, task in pairs):
                places = [n for n, (_, other) in enumerate(pairs) if other == task]
                scores = self.model.first_scores([pairs[n][0] for n in places], [task])[:, 0].tolist()
                for n, score in zip(places, scores, strict=True):
                    found[n] = score
        return found

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, dim] of strings as they stand, cut to 8192 bytes."""
        return self.model.encode(_cut(texts))

    def look(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As :meth:`embed`, by the encoder alone: what the cosines from which incidents join were chosen for."""
        return self.model.encode(_cut(texts), projected=False)


def _cut(texts: Sequence[str]) -> list[str]:
    return [from_bytes(truncate_utf8(to_bytes(text[:MAX_MODEL_BYTES]), MAX_MODEL_BYTES)) for text in texts]


def _remembering(name: str) -> Callable[[str], str]:
    """A normalizer; one that undoes encodings costs as much as all else of a record, so it remembers short strings."""
    normalize = NORMALIZERS.get(name, NORMALIZERS["identity"])
    return normalize if name in QUICK else cached(REMEMBERED)(normalize)


def parts(pairs: Sequence[tuple[str, str]], rows: int = PART_ROWS) -> Iterator[Sequence[tuple[str, str]]]:
    """Cut (string, specialist) pairs into parts of at most ``rows`` pairs and, but for a single one, ``PART_BYTES``."""
    begin = size = 0
    for i, (text, _) in enumerate(pairs):
        size += min(len(text), MAX_MODEL_BYTES)
        if i > begin and (size > PART_BYTES or i - begin >= rows):
            yield pairs[begin:i]
            begin, size = i, min(len(text), MAX_MODEL_BYTES)
    if begin < len(pairs):
        yield pairs[begin:]


def self_test(model: ModelLike) -> None:
    """Ask every specialist about a few strings, hostile ones included.

    Raises:
        BundleError: an answer is missing, unknown or no probability.
    """
    for task in model.tasks:
        labels = set(model.facts(task).labels)
        answers = model.classify(list(SELF_TEST_TEXTS), task=[task] * len(SELF_TEST_TEXTS))
        for text, answer in zip(SELF_TEST_TEXTS, answers, strict=True):
            if text and (answer.error or answer.label not in {*labels, UNKNOWN} or not 0.0 <= answer.score <= 1.0):
                raise BundleError(f"self-test: {task} answers {text!r} with {answer.label!r}, {answer.score}, {answer.error}")
    vectors = model.encode(list(SELF_TEST_TEXTS[:2]))
    if not np.isfinite(vectors).all():
        raise BundleError("self-test: encode gives values that are not finite")
