"""The counters: what came in, what went out, what was skipped and why, per file and in all."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from edge_demist.sensor.understanding import Understanding

MAX_FILES, MAX_CLOSED = 2000, 1 << 14
MAX_MESSAGES = 20
SUMS = ("lines", "records", "records_out", "strings", "predictions", "screened", "events", "alarms", "errors")
"""The numbers of :class:`Counts`, as the summary and the metrics name them."""


@dataclass(slots=True)
class Counts:
    """Counts of one file. ``records == records_out + sum(skipped.values())`` at all times."""

    lines: int = 0
    records: int = 0
    records_out: int = 0
    strings: int = 0
    predictions: int = 0
    screened: int = 0
    events: int = 0
    alarms: int = 0
    errors: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    suppressed: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)
    understanding: Understanding = field(default_factory=Understanding)
    users: int = 0
    """Files that count here and are still being read."""

    def skip(self, reason: str) -> None:
        """Count a record that gives no event."""
        self.skipped[reason] += 1

    def suppress(self, why: str) -> None:
        """Count a verdict over its threshold that gave no alarm: ``budget``, ``repeat`` or ``allow-list``."""
        self.suppressed[why.partition(":")[0]] += 1

    def error(self, message: str) -> None:
        """Count an error; the first 20 messages are kept."""
        self.errors += 1
        if len(self.messages) < MAX_MESSAGES:
            self.messages.append(message)

    def add(self, other: Counts) -> None:
        """Add another file's counts."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.skipped.update(other.skipped)
        self.suppressed.update(other.suppressed)
        self.messages = (self.messages + other.messages)[:MAX_MESSAGES]

    def to_json(self) -> dict[str, object]:
        """The counts as the summary writes them."""
        sums = {name: getattr(self, name) for name in SUMS}
        reasons = {"skipped": dict(sorted(self.skipped.items())), "suppressed": dict(sorted(self.suppressed.items()))}
        return sums | reasons | {"messages": self.messages}


class Counters:
    """Counts of all files; beyond 2000 files the oldest are kept as one sum."""

    def __init__(self) -> None:
        """Start empty."""
        self._files: dict[str, Counts] = {}
        self._earlier = Counts()
        self._late: dict[int, Counts] = {}
        """Of those, the ones that still count, and those closed last: workers may have records of theirs."""
        self._closed: deque[int] = deque()

    def open(self, path: str, *, used: bool = False) -> Counts:
        """The counts of a file; ``used``: until they are closed."""
        counts = self._files.get(path)
        if counts is None:
            counts = self._files[path] = Counts()
            while len(self._files) > MAX_FILES:
                oldest = self._files.pop(next(iter(self._files)))
                if oldest.users:
                    self._late[id(oldest)] = oldest
                else:
                    self._earlier.add(oldest)
        counts.users += used
        return counts

    def close(self, counts: Counts) -> None:
        """A file is read to its end."""
        counts.users -= 1
        if not counts.users and id(counts) in self._late:
            self._closed.append(id(counts))
        while len(self._closed) > MAX_CLOSED:
            self._earlier.add(self._late.pop(self._closed.popleft()))

    def _all_earlier(self) -> Counts:
        total = Counts()
        for counts in (self._earlier, *self._late.values()):
            total.add(counts)
        return total

    def not_understood(self) -> Iterator[tuple[str, Counts, dict[str, object]]]:
        """Files of which not one record was of use, with what is known about why."""
        for path, counts in self._files.items():
            verdict = counts.understanding.verdict()
            if verdict is not None:
                yield path, counts, verdict

    def total(self) -> Counts:
        """All files together."""
        total = self._all_earlier()
        for counts in self._files.values():
            total.add(counts)
        return total

    def to_json(self) -> dict[str, object]:
        """The summary: totals at the top, ``files`` by path."""
        summary = self.total().to_json()
        summary["files"] = {path: counts.to_json() for path, counts in self._files.items()}
        if missed := {path: verdict for path, _, verdict in self.not_understood()}:
            summary["not_understood"] = missed
        if (earlier := self._all_earlier()).lines:
            summary["earlier_files"] = earlier.to_json()
        return summary
