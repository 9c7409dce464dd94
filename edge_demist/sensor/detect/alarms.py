"""Which verdicts become alarms: thresholds, a daily budget, allow-lists, and silence for repeats.

Every decision depends on the log alone (its times, its order), never on the wall clock, so that reading the same log
again after a crash decides the same.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from edge_demist.normalizers import to_bytes
from edge_demist.sensor.detect.allow import AllowList
from edge_demist.sensor.detect.budget import IN_ALL, Budget, Slots, near_copies, split, time_of
from edge_demist.sensor.detect.score_histogram import DAY_US, FLOOR, ScoreHistogram, score_of, severity
from edge_demist.sensor.restoring import real

V = TypeVar("V")
MAX_REMEMBERED = 2048
MAX_KEY = 64
MAX_THRESHOLD = 2.0
ADAPT_EVERY_US = 3600 * 1_000_000
GENEROUS = 4.0
"""Strings a day that pass the threshold for each alarm of the budget.

The slots do the limiting: a threshold for exactly N a day would leave slots empty whenever a day brings a little less.
"""
MUCH_WORSE = 0.5
"""A near copy of what was told is told too if it is worse by so much: its miss probability is three times smaller."""
_FAR_US = 8 * DAY_US


class Decision(NamedTuple):
    """The outcome for one verdict; ``suppressed`` says why a score over the threshold gave no alarm."""

    alarm: bool
    threshold: float
    suppressed: str = ""


class _LogClock:
    """The latest log time, proof against stray times.

    A jump ahead of up to eight days is a gap in the log and counts at once. A longer one may be a damaged line: it counts
    when a second record agrees. A clock that was set back counts from the hundredth record on.
    """

    _BACK = 100

    def __init__(self) -> None:
        self.now_us = 0
        self._strays = 0
        self._stray_us = 0

    def tell(self, time_us: int | None) -> bool:
        """Take a record's time; True if the clock was set back."""
        if time_us is None:
            return False
        ahead = time_us - self.now_us
        if not self.now_us or -DAY_US < ahead < _FAR_US:
            self._strays = self._stray_us = 0
            if ahead > 0:
                self.now_us = time_us
            return False
        if ahead > 0:
            agrees = abs(time_us - self._stray_us) < _FAR_US
            self._stray_us = time_us
            if agrees:
                self.now_us, self._strays, self._stray_us = time_us, 0, 0
            return False
        self._strays += 1
        if self._strays < self._BACK:
            return False
        self.now_us, self._strays, self._stray_us = time_us, 0, 0
        return True

    def is_near(self, time_us: int | None) -> bool:
        """Whether telling this time again would change nothing."""
        return time_us is None or abs(time_us - self.now_us) < DAY_US

    def tell_all(self, times: Sequence[int]) -> bool:
        """Tell many times at once; False, and none is told, where one of them is not near."""
        low, high = min(times), max(times)
        if not self.now_us or max(high - low, high - self.now_us, self.now_us - low) >= DAY_US:
            return False
        self._strays = self._stray_us = 0
        self.now_us = max(self.now_us, high)
        return True

    def state(self) -> list[int]:
        return [self.now_us, self._strays, self._stray_us]

    def restore(self, state: list[int]) -> None:
        self.now_us, self._strays, self._stray_us = state


class AlarmPolicy:
    """Decides about verdicts in log order."""

    def __init__(self, calibrated: Mapping[str, float], budget: Budget | None = None, allow: AllowList | None = None) -> None:
        """Start at the calibrated thresholds (alarm score by specialist)."""
        self._calibrated = dict(calibrated)
        self._budget = budget or Budget()
        self.allow = allow or AllowList()
        self._clock = _LogClock()
        self._adapted_at = 0
        self._histograms = {task: ScoreHistogram() for task in calibrated}
        self.thresholds = dict(calibrated)
        self._slots = {task: Slots(n) for task, n in self._budget.per_day.items()}
        self._seen: OrderedDict[str, tuple[int, bool]] = OrderedDict()
        self._groups: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def now_us(self) -> int:
        """The latest log time."""
        return self._clock.now_us

    @property
    def has_budget(self) -> bool:
        """Whether alarms are limited, so that thresholds move."""
        return bool(self._slots)

    def recalibrate(self, calibrated: Mapping[str, float]) -> None:
        """Take a new model's thresholds; histograms start again, budgets and memory of repeats stay."""
        self._calibrated = dict(calibrated)
        self._histograms = {task: ScoreHistogram() for task in calibrated}
        self.thresholds = dict(calibrated)
        self._adapted_at = 0

    def decide(self, task: str, text: str, score: float, time_us: int | None, client: Callable[[], str] = lambda: "") -> Decision:
        """Decide about one verdict of an alarm specialist.

        Args:
            task: the specialist.
            text: the string, normalised.
            score: its alarm score.
            time_us: the record's time; None counts as the latest time seen.
            client: who sent the string; asked only where a budget needs it.
        """
        if self._clock.tell(time_us):
            self._adapted_at = 0
        now_us = self.now_us if time_us is None else time_us
        slots = [self._slots[name] for name in (task, IN_ALL) if name in self._slots]
        self._adapt()
        threshold = self._in_force(task, slots, now_us, score)
        if score < self._least(task, threshold):
            return Decision(alarm=False, threshold=threshold)
        rule = self.allow.find(text, task)
        if rule is not None:
            return Decision(alarm=False, threshold=threshold, suppressed=str(rule) if score >= threshold else "")
        key = _hash(f"{task}\0{text}")
        first_us, alarmed = self._seen.get(key, (-2 * DAY_US, False))
        groups = [_hash(name) for name in near_copies(task, text, client())] if slots else []
        if abs(now_us - first_us) >= DAY_US:
            first_us, alarmed = now_us, False
            if all(abs(now_us - self._groups.get(group, (-2 * DAY_US, 0.0))[0]) >= DAY_US for group in groups):
                self._histograms[task].add(score)
        decision = self._judge(task, score, threshold, slots, groups, now_us, alarmed=alarmed)
        _remember(self._seen, key, (first_us, alarmed or decision.alarm))
        return decision

    def _least(self, task: str, threshold: float) -> float:
        """The lowest score that counts: with a budget also what the histogram learns from."""
        return min(threshold, FLOOR) if task in self._slots or IN_ALL in self._slots else threshold

    def least(self) -> dict[str, float]:
        """By specialist the lowest alarm score that makes a difference at present."""
        return {task: self._least(task, threshold) for task, threshold in self.thresholds.items()}

    def pass_by(self, tasks: Sequence[str], time_us: int | None) -> None:
        """Take verdicts below :meth:`least`, one a specialist: only the log's clock and the hour of new thresholds go on."""
        for _ in tasks:
            if self._clock.tell(time_us):
                self._adapted_at = 0
            if not self._slots:
                if self._clock.is_near(time_us):
                    return
                continue
            self._adapt()

    def pass_all(self, tasks: Sequence[str], times: Sequence[int]) -> None:
        """:meth:`pass_by` at each of these times."""
        if not tasks or (not self._slots and self._clock.tell_all(times)):
            return
        for time_us in times:
            self.pass_by(tasks, time_us)

    def _judge(
        self, task: str, score: float, threshold: float, slots: list[Slots], groups: list[str], now_us: int, *, alarmed: bool
    ) -> Decision:
        if score < threshold:
            return Decision(alarm=False, threshold=threshold)
        if alarmed:
            return Decision(alarm=False, threshold=threshold, suppressed="repeat: alarmed within the last 24 hours")
        over = severity(score) - severity(self._calibrated.get(task, FLOOR))
        near = [told for at, told in (self._groups[g] for g in groups if g in self._groups) if abs(now_us - at) < DAY_US]
        if near and over < max(near) + MUCH_WORSE:
            return Decision(alarm=False, threshold=threshold, suppressed="near copy: one of this site or client alarmed within 24 hours")
        if not all(one.may_tell(now_us, over) for one in slots):
            return Decision(alarm=False, threshold=threshold, suppressed="budget: the alarms of these 24 hours are spent")
        for one in slots:
            one.tell(now_us, over)
        for group in groups:
            _remember(self._groups, group, (now_us, over))
        return Decision(alarm=True, threshold=threshold)

    def _in_force(self, task: str, slots: list[Slots], now_us: int, score: float) -> float:
        """The threshold of the budget; while slots are free or nothing was told for a time, it is nearer to the calibrated one.

        A threshold learnt on bad days would keep silent on days that are a little better, with alarms to spare.
        """
        adapted, calibrated = self.thresholds[task], self._calibrated[task]
        if not slots or not calibrated <= score < adapted:
            return adapted
        if all(one.is_worst(now_us, severity(score) - severity(calibrated)) for one in slots):
            return calibrated
        ease = min(one.ease(now_us) for one in slots)
        return score_of(severity(calibrated) + (1.0 - ease) * (severity(adapted) - severity(calibrated)))

    def _adapt(self) -> None:
        """Set the thresholds anew, at most once an hour of log time."""
        if not self.now_us or not self._slots:
            return
        last = self._adapted_at or self.now_us
        due = self.now_us - last >= ADAPT_EVERY_US
        if self._adapted_at and not due:
            return
        self._adapted_at = self.now_us
        for histogram in self._histograms.values():
            histogram.advance(self.now_us)
        for task, share in self._share_out().items() if due else ():
            histogram, calibrated = self._histograms[task], self._calibrated[task]
            strict = histogram.threshold(share)
            if strict > calibrated:
                self.thresholds[task] = max(calibrated, histogram.threshold(GENEROUS * share))
            else:  # under the calibrated threshold only on the evidence of a whole day
                self.thresholds[task] = strict if histogram.days >= 1.0 else calibrated

    def _share_out(self) -> dict[str, float]:
        """Alarms a day for each specialist with a budget; that for all goes to those that have traffic."""
        per_day = self._budget.per_day
        shares = {task: float(n) for task, n in per_day.items() if task in self._calibrated}
        if IN_ALL in per_day:
            demands = {task: histogram.per_day() for task, histogram in self._histograms.items() if task not in shares}
            shares |= split(float(per_day[IN_ALL]), demands)
        return shares

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {
            "now_us": self.now_us,
            "clock": self._clock.state(),
            "thresholds": dict(self.thresholds),
            "adapted_at": self._adapted_at,
            "sketches": {task: histogram.state() for task, histogram in self._histograms.items()},
            "windows": {task: slots.state() for task, slots in self._slots.items()},
            "seen": [[key, first, alarmed] for key, (first, alarmed) in self._seen.items()],
            "groups": [[key, at, over] for key, (at, over) in self._groups.items()],
        }

    def restore(self, state: Mapping[str, object], *, same_model: bool) -> None:
        """From the checkpoint; thresholds and histograms only if the model is the one they were learnt with.

        Raises:
            ValueError: the state is not one that :meth:`state` wrote.
        """
        try:
            self._clock.restore([time_of(value) for value in state.get("clock") or [state.get("now_us", 0), 0, 0]])  # type: ignore[attr-defined]
            for task, slots in self._slots.items():
                slots.restore(_table(state, "windows").get(task, []))
            for key, first, alarmed in _bounded(state, "seen"):
                self._seen[str(key)[:MAX_KEY]] = (time_of(first), bool(alarmed))
            for key, at, over in _bounded(state, "groups"):
                self._groups[str(key)[:MAX_KEY]] = (time_of(at), real(over))
            if same_model:
                self._restore_learnt(state)
        except (TypeError, AttributeError, ValueError, KeyError, OverflowError) as error:
            raise ValueError(f"alarm state: {error}") from error

    def _restore_learnt(self, state: Mapping[str, object]) -> None:
        adapted = state.get("adapted_at", 0)
        self._adapted_at = time_of(max(adapted.values(), default=0) if isinstance(adapted, dict) else adapted)
        for task in self._calibrated:
            if self._slots.keys() & {task, IN_ALL} and task in _table(state, "thresholds"):
                self.thresholds[task] = _score(_table(state, "thresholds")[task])
            histogram = _table(state, "sketches").get(task)
            if isinstance(histogram, dict):
                self._histograms[task].restore(histogram)


def _hash(name: str) -> str:
    return hashlib.blake2b(to_bytes(name), digest_size=8).hexdigest()


def _remember(table: OrderedDict[str, V], key: str, value: V) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > MAX_REMEMBERED:
        table.popitem(last=False)


def _bounded(state: Mapping[str, object], name: str) -> list[tuple[object, object, float]]:
    rows = state.get(name, [])
    if not isinstance(rows, list) or len(rows) > MAX_REMEMBERED:
        raise ValueError(f"{name} is no list of at most {MAX_REMEMBERED}")
    return rows


def _score(value: object) -> float:
    if type(value) not in (int, float) or not 0.0 <= float(str(value)) <= MAX_THRESHOLD:
        raise ValueError(f"{str(value)[:40]} is no threshold")
    return float(str(value))


def _table(state: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = state.get(name, {})
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object")
    return value
