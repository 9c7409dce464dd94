"""What goes to a worker and what comes back: portions of log files, and what is left of them to be decided.

Both go through pipes between one process and its own children, as pickles.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeAlias

from edge_demist.sensor.counters import Counts
from edge_demist.sensor.events import ByteRange, Event, Origin
from edge_demist.sensor.sources.lines import RawLine
from edge_demist.sensor.sources.parser import LineParser, Record

MAX_AHEAD = 48
"""Lines at the beginning of a portion that are looked at one by one before the others can be told to be plain."""
MAX_BACK = 16
"""Lines at the end of a portion among which its last time is looked for."""
_ENDS = (b"#close", b"#open")
"""Lines of a header that change nothing."""


class Place(NamedTuple):
    """What a parser knows: its state as in the checkpoint, and whether no record has come yet."""

    state: Mapping[str, str]
    is_first: bool

    @classmethod
    def of(cls, parser: LineParser) -> Place:
        """Of a parser."""
        return cls(parser.state(), parser.is_first)

    def parser(self, name: str) -> LineParser:
        """A parser that knows this; ``name`` is that of the file."""
        parser = LineParser(name)
        parser.restore(self.state)
        parser.is_first = self.is_first
        return parser


Columns: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], tuple["bytes | None", ...], tuple[bool, ...], tuple[int, ...]]
"""Lines by column: starts, ends, bytes, whether terminated, how many each stands for."""


@dataclass(slots=True)
class Portion:
    """Lines of one file with all that parsing them takes."""

    key: str
    path: str
    name: str
    place: Place
    dated: bool
    columns: Columns

    @property
    def lines(self) -> list[RawLine]:
        """The lines."""
        return list(map(RawLine, *self.columns))


@dataclass(slots=True)
class Job:
    """Portions that are scored as one batch, and the thresholds in force when they were handed out."""

    number: int
    thresholds: Mapping[str, float]
    portions: list[Portion]


@dataclass(slots=True)
class Outcome:
    """What a portion came to: the parser's place behind it, the last time in it (0 for none), the counts of what needs no decision."""

    place: Place
    dated: bool
    clock_us: int
    counts: Counts
    seen: Sequence[Any] = ()
    """What its records say, for incidents: the values of observations."""


class Passed(NamedTuple):
    """Times of records, in order, at each of which that many verdicts stayed below what matters."""

    times: list[int]
    screened: tuple[str, ...]


class Touched(NamedTuple):
    """Strings for the memory, in order, of records without an event: string, client, time."""

    rows: list[tuple[str, str, int]]


class Mark(NamedTuple):
    """A portion ends: how many strings it had, and how many bytes."""

    strings: int
    size: int


class Rendered(NamedTuple):
    """Events that depend on nothing else, as lines of the output."""

    data: bytes
    events: int


@dataclass(slots=True)
class Undecided:
    """A record whose events wait for a decision: for each string its events, and the text to decide about where one is to be decided."""

    time_us: int | None
    client: str
    screened: tuple[str, ...]
    strings: list[tuple[str, list[tuple[Event, str | None]]]]

    def __reduce__(self) -> tuple[object, ...]:
        """As plain tuples: that takes a quarter of the time."""
        origin: tuple[object, ...] = ()
        strings = []
        for text, events in self.strings:
            for event, _ in events:
                origin = origin or _OF_ORIGIN(event.origin)
            plain = [(_OF_EVENT(event), [(r.start, r.end, r.drop, r.logits, r.word) for r in event.why], asked) for event, asked in events]
            strings.append((text, plain))
        return undecided, (self.time_us, self.client, self.screened, origin, strings)


_OF_ORIGIN = operator.attrgetter(*(one.name for one in fields(Origin)))
_OF_EVENT = operator.attrgetter(*(one.name for one in fields(Event) if one.name not in ("origin", "why")))
_BEFORE_WHY = [one.name for one in fields(Event) if one.name != "origin"].index("why")


def undecided(
    time_us: int | None,
    client: str,
    screened: tuple[str, ...],
    origin: tuple[Any, ...],
    strings: list[tuple[str, list[tuple[tuple[Any, ...], list[tuple[Any, ...]], str | None]]]],
) -> Undecided:
    """Undo :meth:`Undecided.__reduce__`: the events of a record share its origin."""
    known = Origin(*origin) if origin else None
    found = []
    for text, plain in strings:
        events = []
        for values, why, asked in plain:
            ranges = tuple(ByteRange(*one) for one in why)
            events.append((Event(known, *values[:_BEFORE_WHY], ranges, *values[_BEFORE_WHY:]), asked))  # type: ignore[arg-type, call-arg]
        found.append((text, events))
    return Undecided(time_us, client, screened, found)


Found: TypeAlias = Passed | Touched | Mark | Rendered | Undecided


@dataclass(slots=True)
class Result:
    """A job's portions and what was found in them, in order."""

    number: int
    outcomes: list[Outcome]
    found: list[Found]
    noted: list[tuple[str, float, int | None]] = field(default_factory=list)
    """Answers for the histogram of scores: specialist, alarm score, time."""
    sample: list[tuple[str, tuple[str, ...], int | None]] = field(default_factory=list)
    """Strings for the sample: text, specialists, time."""
    cache: tuple[int, int, int] = (0, 0, 0)
    """Hits, duplicates and misses of the cache since the last result."""
    error: str = ""


def is_plain(parser: LineParser, lines: Sequence[RawLine]) -> bool:
    """Whether these lines will hardly change what a parser knows: records come by now, and no line begins as a header does."""
    if parser.is_first and parser.header is None:
        return False
    return not any(line.data is not None and line.data[:1] == b"#" and not line.data.startswith(_ENDS) for line in lines)


def advance(parser: LineParser, lines: Sequence[RawLine]) -> bool:
    """Bring a parser to its place behind these lines, where looking at the first of them is enough; False where it is not."""
    for number, line in enumerate(lines):
        if line.data is None or number >= MAX_AHEAD:
            return False
        if line.data[:1] != b"#" and is_plain(parser, lines[number:]):
            return True
        parser.parse(line.data)
    return True


def last_time(parser: LineParser, name: str, lines: Sequence[RawLine], time_of: Callable[[Record], int | None]) -> int:
    """The time of the last record that has one, in microseconds; 0 where it is not among the last lines. The parser stays as it is."""
    looking = copy.copy(parser) if parser.header is not None else Place.of(parser).parser(name)
    for line in reversed(lines[-MAX_BACK:]):
        record = None if line.data is None or line.data[:1] == b"#" else looking.parse(line.data)
        if record is None or isinstance(record, str):
            continue
        parts: Sequence[Record] = getattr(record, "parts", ()) or (record,)
        for part in reversed(parts):
            if time_us := time_of(part):
                return time_us
    return 0
