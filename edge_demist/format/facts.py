"""What a specialist's file says about itself, without its tensors: labels, kind, normalizer, thresholds and screen."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypedDict

from edge_demist.errors import BundleError, UnknownTaskError
from edge_demist.format.screen import METADATA, Screen, ScreenNet, read_screen
from edge_demist.normalizers import NORMALIZERS

if TYPE_CHECKING:
    from edge_demist.format.bundle import Bundle

MAX_LABELS = 1024
COUNTS = "fpr_strings"
"""Table beside ``fpr``: from how many ordinary strings each threshold comes."""
MAX_COUNT = 1e12
LEVEL_SLACK = 1e-9
"""Levels this close are the same."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Facts:
    """What a task's answers mean and how its strings are read.

    ``thresholds`` holds, for alarms, ``{"fpr": {"0.01": score, …}}`` (alarm score at that false-positive rate) and, for all,
    ``{"accuracy": {"0.94": score, …}}`` (label probability above which answers reach that accuracy on the dev set).
    """

    task: str
    labels: tuple[str, ...]
    kind: str
    positive_labels: tuple[str, ...]
    normalizer: str
    max_tokens: int
    thresholds: Mapping[str, Mapping[str, float]]
    sources: tuple[str, ...]
    screen: Screen | None = None

    def __post_init__(self) -> None:
        """Check what later code relies on."""
        where = f"specialist {self.task!r}"
        if not 1 <= len(self.labels) <= MAX_LABELS or len(set(self.labels)) != len(self.labels):
            raise BundleError(f"{where}: labels must be 1 to {MAX_LABELS} distinct names")
        if self.kind not in ("category", "alarm") or not set(self.positive_labels) <= set(self.labels):
            raise BundleError(f"{where}: kind must be category or alarm, positive labels must be labels")
        if self.kind == "alarm" and not self.positive_labels:
            raise BundleError(f"{where}: an alarm needs positive labels")
        if self.normalizer not in NORMALIZERS:
            raise BundleError(f"{where}: unknown normalizer {self.normalizer!r}")

    @functools.cached_property
    def positive(self) -> tuple[int, ...]:
        """Numbers of the positive labels."""
        return tuple(i for i, label in enumerate(self.labels) if label in self.positive_labels)

    def alarm_score(self, scores: Sequence[float]) -> float:
        """Probability that the answer is one of the positive labels, from P(label) [labels]."""
        return sum(map(scores.__getitem__, self.positive))

    def level(self, kind: str, asked: float) -> tuple[float, float]:
        """The calibrated level that stands for one asked for, and its score (:func:`calibrated_level`).

        Raises:
            BundleError: the specialist has no level that strict.
        """
        found = calibrated_level(self.thresholds, kind, asked)
        if found is None:
            known = ", ".join(sorted(self.thresholds.get(kind, {}), key=float)) or "none"
            raise BundleError(f"specialist {self.task!r} has no threshold for {kind} {asked:g} or stricter; calibrated: {known}")
        return found

    def threshold(self, kind: str, asked: float) -> float:
        """Score for a level of ``accuracy`` or ``fpr``, as :meth:`level` finds it."""
        return self.level(kind, asked)[1]


def calibrated_level(thresholds: Mapping[str, Mapping[str, float]], kind: str, asked: float) -> tuple[float, float] | None:
    """The one rule for levels everywhere: the level asked for, else the next stricter one that was calibrated, with its score.

    Stricter means fewer false positives for ``fpr`` and more right answers for ``accuracy``. None where there is none that strict.
    """
    stricter = 1.0 if kind == "accuracy" else -1.0
    usable = [(float(k), v) for k, v in thresholds.get(kind, {}).items() if stricter * (float(k) - asked) >= -LEVEL_SLACK]
    return min(usable, key=lambda pair: stricter * pair[0], default=None)


class FactValues(TypedDict):
    """The fields of :class:`Facts`."""

    task: str
    labels: tuple[str, ...]
    kind: str
    positive_labels: tuple[str, ...]
    normalizer: str
    max_tokens: int
    thresholds: Mapping[str, Mapping[str, float]]
    sources: tuple[str, ...]
    screen: Screen | None


def load_facts(bundle: Bundle, task: str) -> Facts:
    """The facts of one specialist of a verified bundle; its tensors are checked when the specialist itself is read.

    Raises:
        UnknownTaskError: the bundle has no such task.
        BundleError: what it says of itself is malformed.
    """
    if task not in bundle.tasks:
        raise UnknownTaskError(task, bundle.tasks)
    file = f"{task}.safetensors"
    metadata = bundle.read_metadata(f"specialists/{file}")
    check_owner(bundle, file, task, metadata)
    return Facts(**read_facts(bundle, file, task, metadata))


def check_owner(bundle: Bundle, file: str, task: str, metadata: Mapping[str, str]) -> None:
    """Refuse a file that was made for another base or task.

    Raises:
        BundleError: it was.
    """
    if metadata.get("base_sha256") != bundle.base_sha256:
        raise BundleError(f"{file}: made for another base ({metadata.get('base_sha256', 'none')[:12]}…, here {bundle.base_sha256[:12]}…)")
    if metadata.get("task") != task:
        raise BundleError(f"{file}: holds task {metadata.get('task')!r}, not {task!r}")


def read_facts(bundle: Bundle, file: str, task: str, metadata: Mapping[str, str], net: ScreenNet | None = None) -> FactValues:
    """The facts in a file's metadata.

    Raises:
        BundleError: one is malformed.
    """
    limit, least = bundle.limits.max_tokens, bundle.tokenizer.special_count + 1
    return {
        "task": task,
        "labels": strings(f"{file}: labels", metadata.get("labels", "")),
        "kind": metadata.get("kind", ""),
        "positive_labels": strings(f"{file}: positive_labels", metadata.get("positive_labels", "[]")),
        "normalizer": metadata.get("normalizer", ""),
        "max_tokens": int(number(f"{file}: max_tokens", metadata.get("max_tokens", str(limit)), int, max(4, least), limit)),
        "thresholds": _thresholds(f"{file}: thresholds", metadata.get("thresholds", "{}")),
        "sources": strings(f"{file}: sources", metadata.get("sources", "[]")),
        "screen": read_screen(f"{file}: {METADATA}", metadata.get(METADATA), net),
    }


def strings(where: str, raw: str) -> tuple[str, ...]:
    """A JSON list of short strings.

    Raises:
        BundleError: it is none.
    """
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or not all(isinstance(v, str) and 0 < len(v) <= 200 for v in value):
        raise BundleError(f"{where} must be a JSON list of strings")
    return tuple(value)


def number(where: str, raw: str, kind: type[int] | type[float], low: float, high: float) -> float:
    """A number within limits.

    Raises:
        BundleError: it is none, or out of range.
    """
    try:
        value = kind(raw) if len(raw) <= 40 else None
    except ValueError:
        value = None
    if value is None:
        raise BundleError(f"{where} is not a number: {raw[:40]!r}") from None
    if not low <= value <= high:
        raise BundleError(f"{where} is out of range: {value}")
    return value


def _count(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not 0 <= number <= MAX_COUNT:
        raise ValueError("not a count")
    return number


def _thresholds(where: str, raw: str) -> Mapping[str, Mapping[str, float]]:
    """Tables of scores by level, scores from 0 to 1; of ``COUNTS``, of how many strings each score comes from."""
    try:
        value = json.loads(raw)
        table = {str(k): {str(float(a)): _count(b) if k == COUNTS else _score(b) for a, b in v.items()} for k, v in value.items()}
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        raise BundleError(f"{where} must be a JSON object of objects of numbers, each a score from 0 to 1") from None
    if any(not 0.0 < float(level) < 1.0 for scores in table.values() for level in scores):
        raise BundleError(f"{where}: a level must lie between 0 and 1")
    return MappingProxyType({k: MappingProxyType(v) for k, v in table.items()})


def _score(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise ValueError("no score")
    return float(value)
