"""Before the model is asked: which strings cannot matter, by stage one of the screen, over a whole batch at once.

A string is looked at once for all its specialists.  What is remembered about strings depends on the thresholds in force, and is forgotten
when they change.  Leaves thresholds to :mod:`edge_demist.sensor.detect.alarms`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_demist.errors import EdgeDemistError
from edge_demist.sensor.detect.answer_cache import MAX_KEY_CHARS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.format.facts import Facts

MAX_MEMORY_CHARS = 1 << 20
_Tasks = tuple[str, ...]


class Screened(Protocol):
    """What a model must offer to be screened."""

    def first_scores(self, texts: Sequence[str], tasks: Sequence[str]) -> NDArray[np.float32]:
        """First scores float32 [n, tasks]; +inf where stage one does not answer."""

    def facts(self, task: str) -> Facts:
        """A specialist's facts."""


class Sieve:
    """Tells for a string which of its specialists must be asked whole."""

    def __init__(self, model: Screened, least: Callable[[], Mapping[str, float]], dropped: Container[str] = (), memory: int = 8192) -> None:
        """Start without memory.

        Args:
            model: offers first scores.
            least: by alarm specialist the lowest alarm score that matters at present.
            dropped: specialists whose answers nobody reads.
            memory: strings to remember, twice.
        """
        self._model, self._least, self._dropped, self._limit = model, least, dropped, memory
        self._cuts: dict[str, float] = {}
        self.thresholds: Mapping[str, float] = {}
        self._young: dict[_Tasks, dict[str, _Tasks]] = {}
        self._old: dict[_Tasks, dict[str, _Tasks]] = {}
        self._held = self._chars = 0

    def _prepare(self) -> None:
        """Take the thresholds in force."""
        thresholds = self._least()
        if thresholds == self.thresholds:
            return
        self.thresholds = dict(thresholds)
        self._cuts = {}
        for task, threshold in thresholds.items():
            screen = getattr(self._model.facts(task), "screen", None)
            cut = None if screen is None else screen.cut(threshold)
            if cut is not None:
                self._cuts[task] = cut
        self._young, self._old, self._held, self._chars = {}, {}, 0, 0

    def left(self, strings: Sequence[tuple[str, _Tasks]]) -> list[_Tasks]:
        """For each (string, specialists) the specialists that must be asked whole; in order."""
        places: dict[_Tasks, list[int]] = {}
        for n, (_, tasks) in enumerate(strings):
            places.setdefault(tasks, []).append(n)
        found: list[_Tasks] = [()] * len(strings)
        for tasks, numbers in places.items():
            for n, left in zip(numbers, self.left_of([strings[n][0] for n in numbers], tasks), strict=True):
                found[n] = left
        return found

    def left_of(self, texts: Sequence[str], tasks: _Tasks) -> list[_Tasks]:
        """As :meth:`left`, for strings that all go to the same specialists."""
        self._prepare()
        young: dict[str, _Tasks] = self._young.setdefault(tasks, {})
        found = list(map(young.get, texts))
        missing: dict[str, _Tasks] = dict.fromkeys([text for text, known in zip(texts, found, strict=True) if known is None], ())
        if not missing:
            return found  # type: ignore[return-value]  # none is missing
        old = self._old.get(tasks, {})
        new = [text for text in missing if text not in old]
        missing.update({text: old[text] for text in missing if text in old} if old else {})
        missing.update(zip(new, self._sifted(new, tasks) if new else (), strict=True))
        self._remember(missing, tasks)
        return [missing[text] if known is None else known for text, known in zip(texts, found, strict=True)]

    def answered(self, tasks: _Tasks, left: _Tasks) -> list[str]:
        """The specialists that stage one has answered for."""
        return [task for task in tasks if task in self._cuts and task not in left and task not in self._dropped]

    def _remember(self, answers: Mapping[str, _Tasks], tasks: _Tasks) -> None:
        short = {text: left for text, left in answers.items() if len(text) <= MAX_KEY_CHARS}
        self._young[tasks].update(short)
        self._held += len(short)
        self._chars += sum(map(len, short))
        if self._held >= self._limit or self._chars >= MAX_MEMORY_CHARS:
            self._old, self._young, self._held, self._chars = self._young, {}, 0, 0

    def _sifted(self, texts: list[str], tasks: _Tasks) -> list[_Tasks]:
        """Stage one: the specialists that are left for each text."""
        wanted = tuple(task for task in tasks if task not in self._dropped)
        screened = [task for task in wanted if task in self._cuts]
        if not screened:
            return [wanted] * len(texts)
        try:
            first = self._model.first_scores(texts, screened)
        except (EdgeDemistError, ValueError):  # the whole way names the string
            return [wanted] * len(texts)
        below = first < np.array([self._cuts[task] for task in screened], np.float32)
        rest = tuple(task for task in wanted if task not in self._cuts)
        left = [rest] * len(texts)
        for n in np.flatnonzero(~below.all(axis=1)).tolist():
            gone = {task for task, low in zip(screened, below[n].tolist(), strict=True) if low}
            left[n] = tuple(task for task in wanted if task not in gone)
        return left
