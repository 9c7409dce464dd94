"""Which verdicts become alarms: thresholds, a daily budget, allow-lists, and silence for repeats.

Every decision depends on the log alone (its times, its order), never on the wall clock, so that reading the same log
again after a crash decides the same.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_demist.errors import InputError
from edge_demist.normalizers import to_bytes
from edge_demist.sensor.detect.allow import AllowList
from edge_demist.sensor.detect.score_histogram import DAY_US, FLOOR, ScoreHistogram

MAX_REMEMBERED = 2048
MAX_KEY = 64
MAX_TIME_US = 1 << 60
MAX_THRESHOLD = 2.0
ADAPT_EVERY_US = 3600 * 1_000_000
IN_ALL = "*"


@dataclass(frozen=True, slots=True)
class Budget:
    """Alarms per day of log time: by specialist, or ``*`` for all of them together."""

    per_day: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A budget is at least one."""
        for task, count in self.per_day.items():
            if count < 1:
                raise InputError(f"--alarms-per-day {task}={count}: at least 1")

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Budget:
        """Read ``20`` and ``dga=5`` forms.

        Raises:
            InputError: not a number.
        """
        table: dict[str, int] = {}
        for text in texts:
            task, equals, number = text.rpartition("=")
            if not number.isascii() or not number.isdigit() or (equals and not task):
                raise InputError(f"--alarms-per-day {text!r}: expected a number, or specialist=number")
            if (task or IN_ALL) in table:
                raise InputError(f"--alarms-per-day {text!r}: given twice for {task or 'all specialists'}")
            table[task or IN_ALL] = int(number)
        return cls(table)

    def check(self, alarm_tasks: Iterable[str]) -> None:
        """Refuse a budget for what raises no alarms (InputError)."""
        for task in self.per_day:
            if task != IN_ALL and task not in alarm_tasks:
                raise InputError(
                    f"--alarms-per-day {task}: no alarm specialist of that name is in use; {', '.join(sorted(alarm_tasks))} are"
                )


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome for one verdict; ``suppressed`` says why a score over the threshold gave no alarm."""

    alarm: bool
    threshold: float
    suppressed: str = ""


class _LogClock:
    """The latest log time, proof against stray times.

    One record with a time far ahead (a damaged line) must not freeze the budget, and a clock that was set back must
    not either: a jump of more than a day ahead counts from its second record on, one back from its hundredth.
    """

    _AHEAD, _BACK = 2, 100

    def __init__(self) -> None:
        self.now_us = 0
        self._strays = 0

    def tell(self, time_us: int | None) -> bool:
        """Take a record's time; True if the clock was set back."""
        if time_us is None:
            return False
        if not self.now_us or abs(time_us - self.now_us) < DAY_US:
            self._strays = 0
            self.now_us = max(self.now_us, time_us)
            return False
        self._strays += 1
        ahead = time_us > self.now_us
        if self._strays < (self._AHEAD if ahead else self._BACK):
            return False
        self._strays, self.now_us = 0, time_us
        return not ahead

    def is_near(self, time_us: int | None) -> bool:
        """Whether telling this time again would change nothing."""
        return time_us is None or abs(time_us - self.now_us) < DAY_US


class _DayWindow:
    """At most N in any 24 hours of log time."""

    def __init__(self, per_day: int) -> None:
        self._times: deque[int] = deque(maxlen=per_day)

    def allows(self, now_us: int) -> bool:
        full = len(self._times) == self._times.maxlen
        return not full or abs(now_us - self._times[0]) >= DAY_US

    def take(self, now_us: int) -> None:
        self._times.append(now_us)

    def state(self) -> list[int]:
        return list(self._times)

    def restore(self, times: Iterable[object]) -> None:
        self._times.extend(_time(t) for t in times)


class AlarmPolicy:
    """Decides about verdicts in log order."""

    def __init__(self, calibrated: Mapping[str, float], budget: Budget | None = None, allow: AllowList | None = None) -> None:
        """Start at the calibrated thresholds (alarm score by specialist)."""
        self._calibrated = dict(calibrated)
        self._budget = budget or Budget()
        self.allow = allow or AllowList()
        self._clock = _LogClock()
        self._adapted_at: dict[str, int] = {}
        self._histograms = {task: ScoreHistogram() for task in calibrated}
        self.thresholds = dict(calibrated)
        self._windows = {task: _DayWindow(n) for task, n in self._budget.per_day.items()}
        self._seen: OrderedDict[str, tuple[int, bool]] = OrderedDict()

    @property
    def now_us(self) -> int:
        """The latest log time."""
        return self._clock.now_us

    def recalibrate(self, calibrated: Mapping[str, float]) -> None:
        """Take a new model's thresholds; histograms start again, budgets and memory of repeats stay."""
        self._calibrated = dict(calibrated)
        self._histograms = {task: ScoreHistogram() for task in calibrated}
        self.thresholds = dict(calibrated)
        self._adapted_at.clear()

    def decide(self, task: str, text: str, score: float, time_us: int | None) -> Decision:
        """Decide about one verdict of an alarm specialist.

        Args:
            task: the specialist.
            text: the string, normalised.
            score: its alarm score.
            time_us: the record's time; None counts as the latest time seen.
        """
        if self._clock.tell(time_us):
            self._adapted_at.clear()
        threshold = self._threshold(task)
        if score < self._least(task, threshold):
            return Decision(alarm=False, threshold=threshold)
        rule = self.allow.find(text, task)
        if rule is not None:
            return Decision(alarm=False, threshold=threshold, suppressed=str(rule) if score >= threshold else "")
        key = hashlib.blake2b(to_bytes(f"{task}\0{text}"), digest_size=8).hexdigest()
        first_us, alarmed = self._seen.get(key, (-2 * DAY_US, False))
        if abs(self.now_us - first_us) >= DAY_US:
            first_us, alarmed = self.now_us, False
            self._histograms[task].add(score)
        decision = self._judge(task, score, threshold, alarmed)
        self._remember(key, first_us, alarmed or decision.alarm)
        return decision

    def _least(self, task: str, threshold: float) -> float:
        """The lowest score that counts: with a budget also what the histogram learns from."""
        return threshold if self._share(task) is None else min(threshold, FLOOR)

    def least(self) -> dict[str, float]:
        """By specialist the lowest alarm score that makes a difference at present."""
        return {task: self._least(task, threshold) for task, threshold in self.thresholds.items()}

    def pass_by(self, tasks: Sequence[str], time_us: int | None) -> None:
        """Take verdicts below :meth:`least`, one a specialist: only the log's clock and the hour of new thresholds go on."""
        for task in tasks:
            if self._clock.tell(time_us):
                self._adapted_at.clear()
            if not self._budget.per_day:
                if self._clock.is_near(time_us):
                    return
                continue
            self._threshold(task)

    def _judge(self, task: str, score: float, threshold: float, alarmed: bool) -> Decision:
        if score < threshold:
            return Decision(alarm=False, threshold=threshold)
        if alarmed:
            return Decision(alarm=False, threshold=threshold, suppressed="repeat: alarmed within the last 24 hours")
        windows = [self._windows[name] for name in (task, IN_ALL) if name in self._windows]
        if not all(window.allows(self.now_us) for window in windows):
            return Decision(alarm=False, threshold=threshold, suppressed="budget: the alarms of these 24 hours are spent")
        for window in windows:
            window.take(self.now_us)
        return Decision(alarm=True, threshold=threshold)

    def _remember(self, key: str, first_us: int, alarmed: bool) -> None:
        self._seen[key] = (first_us, alarmed)
        self._seen.move_to_end(key)
        while len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)

    def _share(self, task: str) -> float | None:
        per_day = self._budget.per_day
        if task in per_day:
            return float(per_day[task])
        return per_day[IN_ALL] / max(len(self._calibrated), 1) if IN_ALL in per_day else None

    def _threshold(self, task: str) -> float:
        """The threshold in force; with a budget it is set anew at most once an hour of log time."""
        share = self._share(task)
        if share is None or not self.now_us:
            return self.thresholds[task]
        last = self._adapted_at.setdefault(task, self.now_us)
        histogram = self._histograms[task]
        histogram.advance(last)
        if self.now_us - last >= ADAPT_EVERY_US:
            histogram.advance(self.now_us)
            self._adapted_at[task] = self.now_us
            wanted = histogram.threshold(share)
            # Under the calibrated threshold only on the evidence of a whole day.
            self.thresholds[task] = wanted if histogram.days >= 1.0 else max(wanted, self._calibrated[task])
        return self.thresholds[task]

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {
            "now_us": self.now_us,
            "thresholds": dict(self.thresholds),
            "adapted_at": dict(self._adapted_at),
            "sketches": {task: histogram.state() for task, histogram in self._histograms.items()},
            "windows": {task: window.state() for task, window in self._windows.items()},
            "seen": [[key, first, alarmed] for key, (first, alarmed) in self._seen.items()],
        }

    def restore(self, state: Mapping[str, object], *, same_model: bool) -> None:
        """From the checkpoint; thresholds and histograms only if the model is the one they were learnt with.

        Raises:
            ValueError: the state is not one that :meth:`state` wrote.
        """
        try:
            self._clock.now_us = _time(state.get("now_us", 0))
            for task, window in self._windows.items():
                window.restore(_table(state, "windows").get(task, []))  # type: ignore[arg-type]
            for key, first, alarmed in state.get("seen", []):  # type: ignore[attr-defined]
                self._seen[str(key)[:MAX_KEY]] = (_time(first), bool(alarmed))
                if len(self._seen) > MAX_REMEMBERED:
                    raise ValueError(f"over {MAX_REMEMBERED} strings are remembered")
            if same_model:
                self._restore_learnt(state)
        except (TypeError, AttributeError, ValueError, KeyError, OverflowError) as error:
            raise ValueError(f"alarm state: {error}") from error

    def _restore_learnt(self, state: Mapping[str, object]) -> None:
        for task in self._calibrated:
            if self._share(task) is not None and task in _table(state, "thresholds"):
                self.thresholds[task] = _score(_table(state, "thresholds")[task])
            if task in _table(state, "adapted_at"):
                self._adapted_at[task] = _time(_table(state, "adapted_at")[task])
            histogram = _table(state, "sketches").get(task)
            if isinstance(histogram, dict):
                self._histograms[task].restore(histogram)


def _time(value: object) -> int:
    if type(value) is not int or not -MAX_TIME_US <= value <= MAX_TIME_US:
        raise ValueError(f"{str(value)[:40]} is no time")
    return value


def _score(value: object) -> float:
    if type(value) not in (int, float) or not 0.0 <= float(str(value)) <= MAX_THRESHOLD:
        raise ValueError(f"{str(value)[:40]} is no threshold")
    return float(str(value))


def _table(state: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = state.get(name, {})
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object")
    return value
