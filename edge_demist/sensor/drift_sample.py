"""A sample of what a sensor reads, answered whole, beside the reference that its bundle brings (``drift.json``).

Of each week of log time one distinct string of 256 is taken, at most 1024, whatever is screened or alarmed on. It counts into
histograms: of each alarm specialist's log odds, of host names' general vectors along the eight main axes of the reference, and of the
share of tokens that the tokenizer knows only as bytes. Nothing else of it is kept. The reference is made of ordinary strings by
``python -m tools.drift``, by the same functions.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edge_demist.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.format.bundle import Bundle

FILE, FORMAT = "drift.json", 1
MAX_BYTES = 1 << 16
BINS, AXES, MAX_WEEKS = 12, 8, 16
LEAST, MOST = -9.0, 9.0
EDGES = [1 / (1 + math.exp(-(LEAST + i * (MOST - LEAST) / BINS))) for i in range(1, BINS)]
RATE, MAX_TAKEN, MIN_TAKEN, BACK = 256, 1024, 200, 16
BITS = 1 << 14
"""A string's place in the week's bit map; the same place again is not taken."""
HOST_TASKS = ("hostname-threat", "dga")
WEEK_US = 7 * 86_400_000_000
MAX_COUNT, MAX_WEEK = 1 << 53, 500_000
"""What others may have written: counts that a float holds, and weeks within some ten thousand years of 1970."""
Strings = Iterable[tuple[str, Sequence[str], int | None]]
"""String, the specialists it goes to, log time."""


def count_of(value: object) -> int:
    """A count of a file that others may have written.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError("a count is no whole number from 0 to 2^53")
    return value


def histogram(value: Iterable[object]) -> list[int]:
    """The counts of a histogram of such a file.

    Raises:
        ValueError: they are none.
    """
    bins = [count_of(n) for n in value]
    if len(bins) != BINS:
        raise ValueError("a histogram has another number of bins")
    return bins


def week_of(value: object) -> int:
    """The number of a week of such a file.

    Raises:
        ValueError: it is none.
    """
    week = int(str(value))
    if abs(week) > MAX_WEEK:
        raise ValueError(f"week {week} is beyond all times")
    return week


def psi(reference: Sequence[float], now: Sequence[float]) -> float:
    """The population stability index of two histograms."""
    before, after = sum(reference) + BINS / 2, sum(now) + BINS / 2
    shares = [((q + 0.5) / before, (p + 0.5) / after) for q, p in zip(reference, now, strict=True)]
    return sum((p - q) * math.log(p / q) for q, p in shares)


class Asked(Protocol):
    """What answers: the sensor's scorer."""

    model: Any

    def uncached(self, pairs: Sequence[tuple[str, str]]) -> Sequence[Any]:
        """Whole answers."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """General vectors."""


@dataclass(frozen=True)
class Reference:
    """What ordinary strings look like to a bundle: histograms by specialist, share of unknown tokens, axes of host names' vectors.

    ``axes`` is int8 [8, dim]; ``edges`` float [8, 11] cuts each into twelve parts that hold equally many ordinary names.
    """

    scores: Mapping[str, list[int]]
    unknown: float
    axes: NDArray[np.int8]
    edges: NDArray[np.float64]

    def places(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Which part of each axis vectors float32 [n, dim] fall into: [n, 8]."""
        along = vectors @ (self.axes.astype(np.float32).T / 127)
        return np.stack([np.searchsorted(edges, along[:, k], side="right") for k, edges in enumerate(self.edges)], axis=1)

    def to_json(self) -> dict[str, object]:
        """The content of ``drift.json``."""
        axes = base64.b64encode(self.axes.tobytes()).decode()
        return {"format": FORMAT, "scores": self.scores, "unknown": self.unknown, "axes": axes, "edges": self.edges.round(5).tolist()}

    @classmethod
    def parse(cls, raw: bytes) -> Reference:
        """From the bytes of ``drift.json``.

        Raises:
            BundleError: they are none.
        """
        try:
            value = json.loads(raw)
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']}, not {FORMAT}")
            scores = {str(task): histogram(bins) for task, bins in value["scores"].items()}
            axes = np.frombuffer(base64.b64decode(value["axes"], validate=True), np.int8).reshape(AXES, -1)
            edges = np.array(value["edges"], np.float64)
            unknown = float(value["unknown"])
            if edges.shape != (AXES, BINS - 1):
                raise ValueError("the axes have another shape")
            if not (np.isfinite(edges).all() and 0 <= unknown <= 1):
                raise ValueError("a number is out of range")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise BundleError(f"{FILE}: {error}") from error
        return cls(scores, unknown, axes, edges)


def reference_of(bundle: Bundle) -> Reference | None:
    """A bundle's reference; None where it brings none.

    Raises:
        BundleError: it is damaged.
    """
    return Reference.parse(bundle.read_bytes(FILE, MAX_BYTES)) if FILE in (getattr(bundle, "files", None) or ()) else None


def unknown_tokens(model: Any, texts: Sequence[str]) -> tuple[int, int]:
    """How many tokens of the strings are single bytes that no piece covers, and how many there are."""
    tokenizer, start = getattr(model, "tokenizer", None), getattr(getattr(model.bundle, "tokenizer", None), "byte_ids_start", -1)
    if tokenizer is None or start < 0:
        return 0, 0
    unknown = total = 0
    for text in texts:
        ids = tokenizer.encode(text.encode("utf-8", "surrogatepass")[:8192])
        unknown += int(((ids >= start) & (ids < start + 256)).sum())
        total += len(ids)
    return unknown, total


def score_bin(score: float) -> int:
    """The part of the log odds that a probability falls into."""
    return bisect_right(EDGES, score)


@dataclass
class Week:
    """Counts of one week."""

    scores: dict[str, list[int]] = field(default_factory=dict)
    axes: list[list[int]] = field(default_factory=lambda: [[0] * BINS for _ in range(AXES)])
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    taken: int = 0

    def distances(self, reference: Reference) -> dict[str, float]:
        """The index of each specialist's scores with enough answers, of the ``vectors`` (mean over the axes), and ``unknown_tokens``."""
        found = {t: psi(reference.scores[t], b) for t, b in self.scores.items() if t in reference.scores and sum(b) >= MIN_TAKEN}
        if sum(self.axes[0]) >= MIN_TAKEN:
            even = [sum(self.axes[0]) / BINS] * BINS
            found["vectors"] = sum(psi(even, bins) for bins in self.axes) / AXES
        if self.taken >= MIN_TAKEN and self.tokens[1]:
            found["unknown_tokens"] = self.tokens[0] / self.tokens[1]
        return {name: round(value, 5) for name, value in found.items()}


class Sample:
    """Takes strings in the order of the logs, so that a replay takes the same."""

    def __init__(self, reference: Reference) -> None:
        """Start empty."""
        self.reference = reference
        self.weeks: dict[int, Week] = {}
        self._bits = bytearray(BITS // 8)
        self._week: int | None = None
        self._odd = (0, 0)
        """Another week that strings were of, and how many in a row."""

    def _wants(self, text: str, week: int) -> bool:
        value = zlib.crc32(text.encode("utf-8", "surrogatepass"))
        if value % RATE or (week != self._week and not self._moves_to(week)):
            return False
        self._odd = (week, 0)
        place, mask = value // RATE % BITS // 8, 1 << (value // RATE % 8)
        if self._bits[place] & mask or self.weeks[week].taken >= MAX_TAKEN:
            return False
        self._bits[place] |= mask
        self.weeks[week].taken += 1
        return True

    def _moves_to(self, week: int) -> bool:
        """Whether another week has begun: the next one at once, one that is far ahead with two strings in a row, an older one with sixteen.

        So one stray time is no week, and a week of stray times ends. Of an older week no bit map is left.
        """
        self._odd = (week, self._odd[1] + 1 if week == self._odd[0] else 1)
        if self._week is not None and week != self._week + 1 and self._odd[1] < (2 if week > self._week else BACK):
            return False
        self._week, self._bits = week, bytearray(BITS // 8)
        self.weeks.setdefault(week, Week())
        for old in sorted(self.weeks.keys() - {week})[: max(0, len(self.weeks) - MAX_WEEKS)]:
            del self.weeks[old]
        return True

    def take(self, asked: Asked, strings: Strings) -> None:
        """Count what the sample wants of these strings."""
        dated = ((text, tasks, time_us // WEEK_US) for text, tasks, time_us in strings if time_us is not None)
        wanted = [(text, tasks, week) for text, tasks, week in dated if self._wants(text, week)]
        chosen = [(text, tasks, week) for text, tasks, week in wanted if week in self.weeks]  # so many weeks may pass at once
        if not chosen:
            return
        pairs = [(text, task, week) for text, tasks, week in chosen for task in tasks if task in self.reference.scores]
        for (_, task, week), answer in zip(pairs, asked.uncached([pair[:2] for pair in pairs]), strict=True):
            if answer.alarm_score is not None:
                self.weeks[week].scores.setdefault(task, [0] * BINS)[score_bin(answer.alarm_score)] += 1
        names = [(text, week) for text, tasks, week in chosen if set(HOST_TASKS) & set(tasks)]
        vectors = asked.embed([text for text, _ in names]) if names else np.zeros((0, 0), np.float32)
        if len(vectors) and vectors.shape[1] == self.reference.axes.shape[1]:
            for (_, week), row in zip(names, self.reference.places(vectors).tolist(), strict=True):
                for axis, place in zip(self.weeks[week].axes, row, strict=True):
                    axis[place] += 1
        for text, _, week in chosen:
            unknown, total = unknown_tokens(asked.model, [text])
            self.weeks[week].tokens = [self.weeks[week].tokens[0] + unknown, self.weeks[week].tokens[1] + total]

    def gauges(self) -> dict[str, float]:
        """The distances of the latest week."""
        return self.weeks[self._week].distances(self.reference) if self._week in self.weeks else {}

    def state(self) -> dict[str, object]:
        """For the checkpoint; each week's distances are in it for ``edge-demist drift``."""
        weeks = {str(number): week.__dict__ | {"distances": week.distances(self.reference)} for number, week in self.weeks.items()}
        return {"weeks": weeks, "bits": self._bits.hex(), "week": self._week}

    def restore(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint.

        Raises:
            ValueError: it is none.
        """
        try:
            weeks = {week_of(number): _week(value) for number, value in state.get("weeks", {}).items()}
            bits = bytearray.fromhex(state.get("bits", "") or "00" * (BITS // 8))
            if len(bits) != BITS // 8 or len(weeks) > MAX_WEEKS:
                raise ValueError("another size")
            latest = state.get("week")
            week = max(weeks, default=None) if latest is None else week_of(latest)
        except (TypeError, AttributeError, KeyError, OverflowError) as error:
            raise ValueError(f"drift sample: {error}") from error
        self.weeks, self._bits, self._week = weeks, bits, week if week in weeks else None


def _week(value: Mapping[str, Any]) -> Week:
    scores = {str(task): histogram(bins) for task, bins in value["scores"].items()}
    axes, tokens = [histogram(axis) for axis in value["axes"]], [count_of(n) for n in value["tokens"]]
    if len(axes) != AXES or len(tokens) != 2:
        raise ValueError("a week has the wrong bins")
    return Week(scores, axes, tokens, count_of(value["taken"]))


def read_distances(state: object) -> dict[int, dict[str, float]]:
    """Distances by week of a checkpoint's state.

    Raises:
        ValueError: it is none.
    """
    try:
        weeks = state.get("weeks", {})  # type: ignore[attr-defined]
        found = {week_of(n): {str(name): float(v) for name, v in week["distances"].items()} for n, week in weeks.items()}
        if not all(math.isfinite(v) for week in found.values() for v in week.values()):
            raise ValueError("a distance is no number")
        return found
    except (TypeError, AttributeError, KeyError, OverflowError) as error:
        raise ValueError(f"drift sample: {error}") from error
