"""Everything about incidents behind one door: observations in, lines out, one state for the checkpoint.

Observations come file by file; they are put in order of log time before anything is decided, so that the result does not
depend on how the reading of several files was interleaved.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

from edge_demist.sensor.detect.alarms import _LogClock
from edge_demist.sensor.detect.columns import Table
from edge_demist.sensor.incidents.book import IncidentBook
from edge_demist.sensor.incidents.budget import IncidentBudget
from edge_demist.sensor.incidents.case import DAY_US, Case
from edge_demist.sensor.incidents.gather import Gatherer, Limits
from edge_demist.sensor.incidents.looks import Embed
from edge_demist.sensor.incidents.lookups import Noted, Row, Waiting, missing, observe_lookups, observed, reads_lookups, to_observation
from edge_demist.sensor.incidents.observation import Observation, observe
from edge_demist.sensor.incidents.verdicts import AnswerLike, Verdicts
from edge_demist.sensor.incidents.weights import Weights
from edge_demist.sensor.memory import Memory
from edge_demist.sensor.restoring import whole
from edge_demist.sensor.sources.parser import Record
from edge_demist.sensor.sources.zeek import ZeekHeader

MAX_WAITING, MAX_WAITING_CHARS = 32_768, 4 << 20
"""Observations that wait for older ones, and the characters of what they say."""
CLOSE_EVERY_US = 600_000_000
_TIME, _SERIAL, _CHARS = itemgetter(0), 3, itemgetter(4)


class Tracker:
    """Orders observations, gathers them into cases, keeps the incidents."""

    def __init__(
        self,
        weights: Weights,
        model: str,
        memory: Memory | None = None,
        *,
        verdicts: Verdicts | None = None,
        budget: IncidentBudget | None = None,
        limits: Limits | None = None,
        embed: Embed | None = None,
    ) -> None:
        """Start empty."""
        self.memory = memory if memory is not None else Memory()
        self.verdicts = verdicts
        self._weights, self._limits, self._budget, self._embed = weights, limits, budget, embed
        self.on_case: Callable[[Case], None] | None = None
        self.on_observation: Callable[[Observation], None] | None = None
        self._start(model)

    def _start(self, model: str) -> None:
        self.gatherer = Gatherer(self.memory, self._weights.signs, self._limits)
        self.book = IncidentBook(self._weights, model, self._budget, self._embed)
        self._waiting: list[Waiting] = []
        self._noted = Noted()
        self._serial = self._chars = 0
        self._clock = _LogClock()
        self._closed_us = 0

    def use(self, model: str, verdicts: Verdicts, embed: Embed | None) -> None:
        """Go on with another model."""
        self.verdicts, self._embed = verdicts, embed
        self.book.model, self.book.looks.embed = model, embed
        self.book.looks.clear()

    def see(self, record: Record, time_us: int | None, path: str, offset: int) -> Observation | None:
        """Queue what a record says; None if that is nothing. Answers may be noted until it is released."""
        seen = observe(record, time_us)
        if seen is not None:
            seen.file, seen.offset = path, offset
            self.add(seen)
        return seen

    reads = staticmethod(reads_lookups)

    def see_table(self, table: Table, header: ZeekHeader, path: str) -> list[Row | None]:
        """As :meth:`see`, for the plain lines of one portion; None where a line must be seen by itself."""
        found = observe_lookups(table, header, path, self._serial + 1)
        self._serial += len(found)
        seen: list[Row] = [one for one in found if one is not None] if None in found else found  # type: ignore[assignment]
        self._waiting += seen
        self._chars += sum(map(_CHARS, seen))
        return found

    missing = staticmethod(missing)

    def note(self, seen: object, task: str, answer: AnswerLike) -> None:
        """A specialist's answer to a string of the record."""
        if isinstance(seen, (Observation, tuple)) and self.verdicts is not None and self.verdicts.matters(task, answer):
            self.verdicts.attach(self._noted.whole(seen), task, answer)

    def add(self, seen: Observation | Row) -> None:
        """Queue an observation until :meth:`release` says that nothing older will come."""
        self._serial += 1
        if isinstance(seen, Observation):
            self._waiting.append((seen.time_us, seen.file, seen.offset, self._serial, seen.chars, seen))
        else:
            self._waiting.append((*seen[:_SERIAL], self._serial, *seen[_SERIAL + 1 :]))  # type: ignore[arg-type]
        self._chars += self._waiting[-1][4]

    def release(self, until_us: int | None) -> list[dict[str, object]]:
        """Decide about everything up to a log time (None: everything); the lines to write."""
        self._waiting.sort()  # by time, file and offset; nearly sorted as it is
        count = self._count_due(until_us)
        due, self._waiting = self._waiting[:count], self._waiting[count:]
        if due and self.on_observation is None:
            now_us = self._clock.now_us
            if self._clock.tell_all((due[0][0], due[-1][0])):
                return self._decide(due, now_us)
        lines: list[dict[str, object]] = []
        for row in due:
            self._clock.tell(row[0])
            if not -DAY_US < row[0] - self._clock.now_us < DAY_US:  # a stray time
                self._noted.pop(id(row), None)
                continue
            if self.on_observation is not None:
                self.on_observation(to_observation(self._noted.find(observed(row))))
            lines += self._decide([row], self._clock.now_us)
        return lines

    def _decide(self, due: Sequence[Waiting], now_us: int) -> list[dict[str, object]]:
        """Decide about what has no stray time; ``now_us`` is the latest log time before it."""
        lines: list[dict[str, object]] = []
        begin, take = 0, self.book.take
        while begin < len(due):
            now_us = max(now_us, due[begin][0])
            if not -CLOSE_EVERY_US < now_us - self._closed_us < CLOSE_EVERY_US:
                self._closed_us = now_us
                lines += self.book.close_idle(now_us)
            end = bisect_left(due, self._closed_us + CLOSE_EVERY_US, begin + 1, key=_TIME)
            for time_us, cases in self.gatherer.add_all(due[begin:end], self._noted):
                for case in cases:
                    if self.on_case is not None:
                        self.on_case(case)
                    lines += take(case, time_us)
            begin = end
        return lines

    def _count_due(self, until_us: int | None) -> int:
        """How many of those that wait are due: by their time, or because too much waits."""
        waiting = self._waiting
        if until_us is None:
            self._chars = 0
            return len(waiting)
        count = max(bisect_right(waiting, until_us, key=_TIME), len(waiting) - MAX_WAITING)
        self._chars -= sum(map(_CHARS, waiting[:count]))
        while self._chars > MAX_WAITING_CHARS:
            self._chars -= waiting[count][4]
            count += 1
        return count

    def finish(self) -> list[dict[str, object]]:
        """The logs end here: decide about what waits, close all incidents."""
        return self.release(None) + self.book.close_all()

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {
            "now_us": [self._clock.now_us, self._closed_us],
            "waiting": [to_observation(self._noted.find(observed(row))).state() for row in sorted(self._waiting)],
            "gatherer": self.gatherer.state(),
            "book": self.book.state(),
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """From the checkpoint.

        Raises:
            ValueError: the state is not one that :meth:`state` wrote; then nothing of it is taken.
        """
        try:
            self._clock.now_us, self._closed_us = (whole(t) for t in state.get("now_us", (0, 0)))  # type: ignore[attr-defined]
            for values in state.get("waiting", ()):  # type: ignore[attr-defined]
                self.add(Observation.restored(values))
            self.gatherer.restore(state.get("gatherer", {}))  # type: ignore[arg-type]
            self.book.restore(state.get("book", {}))  # type: ignore[arg-type]
        except (TypeError, AttributeError, KeyError, IndexError, ValueError, OverflowError) as error:
            self._start(self.book.model)
            raise ValueError(f"incident state: {error}") from error
