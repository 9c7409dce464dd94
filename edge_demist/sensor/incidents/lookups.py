"""Plain look-ups of Zeek's dns.log, read many at once in columns: of most of them nothing is ever said, so each is a row and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count, cycle, repeat
from operator import add, itemgetter
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.detect.columns import Table
from edge_demist.sensor.incidents.observation import (
    DNS,
    LOCAL,
    LOOKUP_FIELDS,
    MAIL_TYPES,
    MAX_NAME_CHARS,
    MAX_TYPE_CHARS,
    Observation,
    host_name,
    is_dns,
    whole_number,
)
from edge_demist.sensor.public_suffix import registrable_domains
from edge_demist.sensor.sources.zeek import ZeekHeader

_ODD = (" ", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", ":", "[", ".\n")
"""What a name may hold that is more than a host name in the end: blanks, a port, brackets, a last dot."""


class _Fields(NamedTuple):
    time_us: int
    file: str
    offset: int
    serial: int
    chars: int
    client: str
    server: str
    port: int
    name: str
    failed: bool
    query_type: str
    answers: tuple[str, ...]
    domain: str
    is_ordinary: bool


class Lookup(_Fields):
    """What :class:`Observation` says of a look-up, before a specialist has said anything; ``domain`` is that of the name.

    ``is_ordinary``: the name exists, it is not asked for mail, and is surely none of a service that tells callers their own address.
    Most look-ups are never more than a plain tuple of these values, a ``Row``: it is made, taken apart and collected in half the time.
    """

    __slots__ = ()
    kind: ClassVar[str] = DNS
    service: ClassVar[str] = ""
    levels: ClassVar[Mapping[str, int]] = MappingProxyType({})
    tunnel: ClassVar[float] = 0.0

    def whole(self) -> Observation:
        """The same as an observation."""
        return to_observation(self)


Row: TypeAlias = tuple[int, str, int, int, int, str, str, int, str, bool, str, tuple[str, ...], str, bool]
"""The values of a :class:`Lookup`."""
Seen: TypeAlias = Observation | Lookup
Waiting: TypeAlias = Row | tuple[int, str, int, int, int, Observation]
"""What waits for its turn: time, file, offset, a number that no other has, the characters; and an observation where it is no row."""
FIELDS: Final = 14
"""As many as a row has values."""
lookup: Callable[[Row], Lookup] = partial(tuple.__new__, Lookup)
"""A row with names for its values."""
_NAME, _FAILED = itemgetter(Lookup._fields.index("name")), itemgetter(Lookup._fields.index("failed"))


class Noted(dict[int, tuple[Row, Observation]]):
    """The observations in place of look-ups of which a specialist has said something: by ``id``, which no other has while one is held."""

    def whole(self, seen: Observation | Row) -> Observation:
        """What can be written to."""
        if isinstance(seen, Observation):
            return seen
        return (self.get(id(seen)) or self.setdefault(id(seen), (seen, to_observation(seen))))[1]

    def find(self, seen: Observation | Row) -> Observation | Row:
        """What there is of it."""
        return self[id(seen)][1] if id(seen) in self else seen


def to_observation(seen: Observation | Row) -> Observation:
    """An observation of a row, or itself."""
    if isinstance(seen, Observation):
        return seen
    time_us, file, offset, _, _, client, server, port, name, failed, query_type, answers, _, _ = seen
    return Observation(DNS, time_us, client, server, port, name, failed, query_type, answers, file=file, offset=offset)


def observed(row: Waiting) -> Observation | Row:
    """What waits, itself."""
    return row[5] if len(row) == 6 else row


def missing(seen: Sequence[object]) -> list[bool]:
    """Of each row whether its name does not exist."""
    return list(map(_FAILED, seen))  # type: ignore[arg-type]


def packed(seen: Observation | Row) -> tuple[object, ...]:
    """Its values alone, for a pipe."""
    return tuple(seen.state()) if isinstance(seen, Observation) else seen


def unpacked(values: Sequence[Any]) -> Observation | Row:
    """Undo :func:`packed`."""
    return Observation(*values) if len(values) != FIELDS else tuple(values)


def reads_lookups(header: ZeekHeader, log: str) -> bool:
    """Whether a log is one of look-ups, with all its fields in columns of their own."""
    return is_dns(log) and all(name in header.index for name in LOOKUP_FIELDS) and header.containers.isdisjoint(_single(header))


def _single(header: ZeekHeader) -> list[int]:
    return [header.index[name] for name in LOOKUP_FIELDS[:-1]]


def observe_lookups(table: Table, header: ZeekHeader, path: str, serial: int = 0) -> list[Row | None]:
    """As :func:`observe`, for lines of such a log; None where one must be looked at by itself.

    Their serial numbers count from ``serial`` on.
    """
    cells = [table.column(header.index[name]) for name in LOOKUP_FIELDS]
    where = table.times, repeat(path), table.offsets, count(serial)
    whole = _whole(cells, header.no_text, table.longest)
    rows: list[Row] = list(zip(*where, *_columns(cells, header), strict=False))
    if all(whole) and all(map(_NAME, rows)):
        return list(rows)
    return [row if good and _NAME(row) else None for row, good in zip(rows, cycle(whole), strict=False)]


def _whole(cells: Sequence[Sequence[str]], none: frozenset[str], longest: int) -> Sequence[bool]:
    """Of each line whether client and name are there, and nothing would be cut; one answer where all are; ``longest``: its bytes."""
    clients, servers, _, names, kinds, _, answers = cells
    if longest <= MAX_NAME_CHARS and none.isdisjoint(clients) and none.isdisjoint(names) and max(map(len, set(kinds))) <= MAX_TYPE_CHARS:
        return (True,)
    return [
        client not in none
        and query not in none
        and len(kind) <= MAX_TYPE_CHARS
        and len(query) + len(client) + len(server) + len(answer) <= MAX_NAME_CHARS
        for client, server, query, kind, answer in zip(clients, servers, names, kinds, answers, strict=True)
    ]


def _columns(cells: Sequence[Sequence[str]], header: ZeekHeader) -> Iterator[Sequence[object]]:
    """The fields of :class:`Lookup` from ``chars`` on, for all lines each."""
    none, comma = header.no_text, from_bytes(header.set_separator)
    several = header.index[LOOKUP_FIELDS[-1]] in header.containers
    columns = [one if none.isdisjoint(one) else ["" if text in none else text for text in one] for one in cells]
    clients, servers, ports, queries, kinds, outcomes, texts = columns
    numbers = {text: whole_number(text) for text in set(ports)}
    names = _host_names(queries)
    answers: list[tuple[str, ...]] = [(text,) if text else () for text in texts]
    sizes = list(map(len, texts))
    for n in [n for n, text in enumerate(texts) if comma in text] if several and comma in "".join(texts) else ():
        answers[n] = tuple(part for part in texts[n].split(comma) if part not in none)[:16]
        sizes[n] = sum(map(len, answers[n]))
    yield list(map(add, map(len, names), sizes))
    yield from (clients, servers, [numbers[text] for text in ports], names, [text == "NXDOMAIN" for text in outcomes], kinds, answers)
    yield _domains(names)
    joined = "\n".join(names)
    longer = "ifconfig" in joined or "geoplugin" in joined  # hardly ever
    yield [
        not ("ip" in name or outcome == "NXDOMAIN" or kind in MAIL_TYPES or (longer and ("ifconfig" in name or "geoplugin" in name)))
        for name, outcome, kind in zip(names, outcomes, kinds, strict=True)
    ]


def _host_names(queries: Sequence[str]) -> list[str]:
    joined = "\n".join(queries) + "\n"
    if not joined.isascii() or any(odd in joined for odd in _ODD):
        return [host_name(query) for query in queries]
    return joined.lower().split("\n")[:-1]


def _domains(names: Sequence[str]) -> list[str]:
    found, joined = registrable_domains(names), "\n".join(names) + "\n"
    if not any(f"{end}\n" in joined for end in LOCAL):
        return found
    return ["" if name.endswith(LOCAL) else domain for name, domain in zip(names, found, strict=True)]
