"""What waits for its batch: records with their strings, one by one, or a run of records of which one column is all that matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Protocol

from edge_demist.sensor.counters import Counts
from edge_demist.sensor.detect.columns import Column, Table
from edge_demist.sensor.detect.mapping import MappedString
from edge_demist.sensor.detect.scoring import Answer
from edge_demist.sensor.detect.sieve import Sieve
from edge_demist.sensor.events import Event, Hash, Origin, event_id, finish_id, origin_of
from edge_demist.sensor.sources.lines import RawLine
from edge_demist.sensor.sources.parser import Record
from edge_demist.sensor.sources.zeek import ZeekHeader, ZeekRecord

CLIENTS = ("id.orig_h", "src_ip", "source.ip", "client.ip", "host.name", "agent.name", "agent.id", "hostIdentifier", "Computer", "aid")
"""Fields that name the client of a request, or the host of a command; the first that is there counts."""


class Dated(Protocol):
    """What a decision about a string must know of its record."""

    @property
    def counts(self) -> Counts:
        """The counts of its file."""

    @property
    def time_us(self) -> int | None:
        """Its time."""

    @property
    def client(self) -> str:
        """Who sent it."""


class Observer(Protocol):
    """Who takes records and answers instead of events being made of them."""

    def see(self, record: Record, time_us: int | None, path: str, offset: int) -> object:
        """What the record says; None for nothing."""

    def reads(self, header: ZeekHeader, log: str) -> bool:
        """Whether it takes many lines of a log at once."""

    def see_table(self, table: Table, header: ZeekHeader, path: str) -> Sequence[object]:
        """What each line of such a log says; None for one that must be seen as a record."""

    def missing(self, seen: Sequence[object]) -> list[bool]:
        """Of each of what :meth:`see_table` gave, whether the name asked for does not exist."""

    def note(self, seen: object, task: str, answer: Answer) -> None:
        """A specialist's answer to a string of what was seen."""


@dataclass(slots=True)
class Line:
    """A record with its strings, waiting for the batch. What only events need is made when the first one is."""

    counts: Counts
    record: Record
    time_us: int | None
    path: str
    key: str
    start: int
    data: bytes
    mapped: list[MappedString]
    shift: int = 0
    arrived: bool = False
    observation: object = None
    screened: Sequence[str] = ()
    _origin: Origin | None = None
    _identity: Hash | None = None

    def strings(self) -> Iterator[tuple[str, tuple[str, ...], int | None]]:
        """Each string, who reads it, and its time."""
        return ((item.text, item.tasks, self.time_us) for item in self.mapped)

    def event(self, item: MappedString, task: str, model: str, **verdict: object) -> Event:
        """An event of this record."""
        if self._origin is None or self._identity is None:
            self._origin = origin_of(self.record, self.path, self.start, self.time_us, arrived=self.arrived)
            self._identity = event_id(self.key, self.start, self.data)
        identity = finish_id(self._identity, item.field, self.shift + item.number, task)
        return Event(self._origin, identity, item.field, item.text, task, model, **verdict)  # type: ignore[arg-type]

    @property
    def client(self) -> str:
        """Who the record says sent it: an address, or a host; empty if it does not say."""
        return next((str(value) for name in CLIENTS if (value := self.record.scalar(name)) is not None), "")


@dataclass(slots=True)
class Run:
    """Records of one Zeek log, in order: lines, times, and the strings of the one column that matters."""

    counts: Counts
    header: ZeekHeader
    log: str
    path: str
    key: str
    column: Column
    rows: list[tuple[RawLine, int, str]] = field(default_factory=list)
    seen: list[object] = field(default_factory=list)
    """What an observer made of each record; empty without one."""

    def strings(self) -> Iterator[tuple[str, tuple[str, ...], int | None]]:
        """Each string, who reads it, and its time."""
        return ((text, self.column.tasks, time_us) for _, time_us, text in self.rows)

    def asked(self, weak: Sieve, strict: Sieve, missing: Sequence[bool]) -> list[Line]:
        """Of records that an observer has seen: what must be asked whole, as lines; ``strict`` sifts the names that exist."""
        tasks, found = self.column.tasks, []
        for sieve, failed in ((weak, True), (strict, False)):
            places = [n for n, is_missing in enumerate(missing) if is_missing is failed]
            left = sieve.left_of([self.rows[n][2] for n in places], tasks)
            found += [(n, self._line(n, some, sieve.answered(tasks, some))) for n, some in zip(places, left, strict=True) if some]
            self._count(left.count(()), sieve.answered(tasks, ()), "no-incident")
        return [line for _, line in sorted(found, key=itemgetter(0))]

    def sifted(self, sieve: Sieve) -> list[Line | Passed]:
        """What must be asked whole, as lines, and what lies between."""
        tasks = self.column.tasks
        left = sieve.left_of([text for _, _, text in self.rows], tasks)
        gone = sieve.answered(tasks, ())
        found: list[Line | Passed] = []
        begin = 0
        for n in [n for n, some in enumerate(left) if some]:
            found += self._passed(begin, n, gone)
            found.append(self._line(n, left[n], sieve.answered(tasks, left[n])))
            begin = n + 1
        return found + self._passed(begin, len(left), gone)

    def _passed(self, begin: int, end: int, gone: Sequence[str]) -> list[Line | Passed]:
        if begin == end:
            return []
        self._count(end - begin, gone, "no-alarm")
        return [Passed([time_us for _, time_us, _ in self.rows[begin:end]], gone)]

    def _count(self, records: int, gone: Sequence[str], reason: str) -> None:
        """So many records that stage one answered."""
        self.counts.predictions += len(gone) * records
        self.counts.screened += len(gone) * records
        self.counts.skipped[reason] += records

    def _line(self, n: int, left: tuple[str, ...], screened: Sequence[str]) -> Line:
        """The record of a place, with the specialists that must be asked whole."""
        (start, _, data, _, _), time_us, text = self.rows[n]
        assert data is not None
        seen = self.seen[n] if self.seen else None
        self.counts.predictions += len(screened)
        self.counts.screened += len(screened)
        record = ZeekRecord(self.header, data.removesuffix(b"\r").split(self.header.separator), self.log)
        mapped = [MappedString(self.column.name, 0, text, left)]
        return Line(self.counts, record, time_us, self.path, self.key, start, data, mapped, observation=seen, screened=screened)


@dataclass(slots=True)
class Passed:
    """Records, in order, that stage one answered: their times, and for which specialists it did."""

    times: list[int]
    screened: Sequence[str]
    mapped: tuple[()] = ()
