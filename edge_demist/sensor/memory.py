"""What this sensor has seen: by string and by registrable domain, when first and last, how often, by about how many clients.

SQLite of the standard library in the state folder (``memory.sqlite``), a bounded part of it in memory. What changed since the
last commit goes into the checkpoint first and into the database after that, under a number, so that after a crash the
database is brought to exactly the checkpoint's state: a replay decides the same.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edge_demist.normalizers import from_bytes, to_bytes
from edge_demist.sensor.database import Cells, Database, reading

FILE = "memory.sqlite"
DAY_US = 86_400_000_000
MAX_KEY_BYTES = 200
MAX_HELD = 16_384
"""Entries that are held at least; at most twice as many, the younger half of them touched since it was begun."""
MAX_ENTRIES = 1_000_000
MAX_AGE_US = 90 * DAY_US
PRUNE_EVERY = 64
MAX_STEP_US = 8 * DAY_US
"""So far the clock that age is counted by goes ahead in a commit: to the time of most of what it brings, which no stray line is."""
MAX_BITS_KEPT = 4096
_BITS = 63
HOST, STRING = "h", "s"
MAX_COUNT = 1 << 62
SCHEMA = """
CREATE TABLE seen (key BLOB PRIMARY KEY, first INTEGER, last INTEGER, count INTEGER, clients INTEGER) WITHOUT ROWID;
CREATE INDEX seen_last ON seen (last);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
"""
_FIND = "SELECT first, last, count, clients FROM seen WHERE key = ?"
_DROP_OLD = "DELETE FROM seen WHERE last < ?"
_DROP_AHEAD = (
    "DELETE FROM seen WHERE key IN (SELECT key FROM seen WHERE last > ? ORDER BY last DESC LIMIT max(0, (SELECT count(*) FROM seen) - ?))"
)
_DROP_SURPLUS = "DELETE FROM seen WHERE key IN (SELECT key FROM seen ORDER BY last LIMIT max(0, (SELECT count(*) FROM seen) - ?))"
_PUT = "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)"
_META, _PUT_META = "SELECT value FROM meta WHERE name = ?", "INSERT OR REPLACE INTO meta VALUES (?, ?)"


@dataclass(slots=True)
class Seen:
    """An entry. ``bits`` is a linear-counting sketch of its clients."""

    first_us: int
    last_us: int
    count: int = 0
    bits: int = 0

    @property
    def others(self) -> int:
        """How many clients there are beside the one that asked last."""
        return self.bits.bit_count() - 1

    @property
    def clients(self) -> int:
        """About how many distinct clients (Whang and others 1990: linear counting on 63 bits; saturates near 260)."""
        used = self.bits.bit_count()
        return max(used, round(-_BITS * math.log(max(_BITS - used, 1) / _BITS)))


_Name: TypeAlias = str | bytes
"""An entry's string where its key is no more than it and its kind, as of nearly all, else its key: then no bytes need be made."""


class _Table:
    """Entries of one kind: those used since it was begun, those before, and those that the database lacks."""

    __slots__ = ("changed", "held", "older")

    def __init__(self) -> None:
        self.held: dict[_Name, Seen] = {}
        self.older: dict[_Name, Seen] = {}
        self.changed: dict[_Name, Seen] = {}


class Memory:
    """Entries by key. With a folder they outlive the process; without one only the held part is there."""

    def __init__(self, folder: Path | None = None, *, max_held: int = MAX_HELD, max_entries: int = MAX_ENTRIES) -> None:
        """Open, or make, the database of a state folder.

        Raises:
            OSError: it cannot be opened. A damaged one is set aside as ``memory.sqlite.bad``.
        """
        self._max_held, self._max_entries = max_held, max_entries
        self._tables = {HOST: _Table(), STRING: _Table()}
        self._bits: dict[str, int] = {}
        self._written = 0
        self._store = Database(folder / FILE, SCHEMA) if folder is not None else None

    def touch(self, host: str, client: str, time_us: int, kind: str = HOST) -> Seen:
        """Note a contact of a client; the entry with it. ``last_us`` and ``count`` include it."""
        table = self._tables[kind]
        key: _Name = host if host.isascii() and len(host) <= MAX_KEY_BYTES and host > "\1" else _key(kind, host)
        held = table.held
        seen = held.get(key)
        if seen is None:
            seen = table.older.get(key) or (self._stored(kind, key) if self._store is not None else None) or Seen(time_us, time_us)
            held[key] = seen
            if len(held) >= self._max_held:
                table.held, table.older = {}, held
        bit = self._bits.get(client)
        seen.bits |= self._bit(client) if bit is None else bit
        seen.count += 1
        seen.last_us = time_us if time_us > seen.last_us else seen.last_us
        if self._store is not None:
            table.changed[key] = seen
        return seen

    @staticmethod
    def _name(kind: str, text: str) -> _Name:
        return text if text.isascii() and len(text) <= MAX_KEY_BYTES and text > "\1" else _key(kind, text)

    def _bit(self, client: str) -> int:
        """A client's bit in the sketches."""
        if len(self._bits) >= MAX_BITS_KEPT:
            self._bits.clear()
        bit = 1 << zlib.crc32(to_bytes(client)) % _BITS
        if len(client) <= MAX_KEY_BYTES:
            self._bits[client] = bit
        return bit

    def look_up(self, host: str, kind: str = HOST) -> Seen | None:
        """What is known, without noting anything."""
        table, key = self._tables[kind], self._name(kind, host)
        return table.held.get(key) or table.older.get(key) or self._stored(kind, key)

    def _stored(self, kind: str, key: _Name) -> Seen | None:
        """An entry that is not held."""
        if self._store is None:
            return None
        return self._tables[kind].changed.get(key) or _seen(self._store.row(_FIND, (key if isinstance(key, bytes) else _key(kind, key),)))

    @property
    def unwritten(self) -> int:
        """Entries changed since the last checkpoint."""
        return sum(len(table.changed) for table in self._tables.values())

    def __len__(self) -> int:
        """Entries known."""
        if self._store is None:
            return sum(len(table.older | table.held) for table in self._tables.values())
        return self._store.number("SELECT count(*) FROM seen")

    def problems(self) -> list[str]:
        """What was wrong with the database since the last call; empty for nothing."""
        found = self._store.problems[:] if self._store is not None else []
        if self._store is not None:
            self._store.problems.clear()
        return found

    # --- with the checkpoint -----------------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        """For the checkpoint: what the database lacks, and the number it gets. Without a database all that is held."""
        if self._store is None:
            return {"held": self._rows(lambda table: table.older | table.held)}
        return {"number": self._written + 1, "rows": self._rows(lambda table: table.changed)}

    def _rows(self, part: Callable[[_Table], dict[_Name, Seen]]) -> list[list[object]]:
        entries = [(_key(kind, key) if isinstance(key, str) else key, s) for kind, t in self._tables.items() for key, s in part(t).items()]
        return [[key.hex(), s.first_us, s.last_us, s.count, s.bits] for key, s in entries]

    def committed(self, state: Mapping[str, object]) -> None:
        """The checkpoint with this state is durable: bring the database up to it.

        Raises:
            OSError: the disk would not take it; to be tried again.
        """
        if self._store is None:
            return
        rows = [(key, s.first_us, s.last_us, s.count, s.bits) for key, s in _entries(state.get("rows", ()))]
        number, clock_us = int(str(state.get("number", 0))), self._clock([row[2] for row in rows])
        meta = [("number", number), ("clock", clock_us)]
        self._store.write([(_PUT, rows), (_PUT_META, meta), *(() if number % PRUNE_EVERY else self._pruning(clock_us))])
        self._written = number
        for table in self._tables.values():
            table.changed.clear()

    def _clock(self, times: list[int]) -> int:
        """The log time by which age is counted: that of most of what was touched lately, back at once and ahead in steps."""
        known = self._number("clock")
        median = sorted(times)[len(times) // 2] if times else known
        return min(median, known + MAX_STEP_US) if known else median

    def _number(self, name: str) -> int:
        """A number of the database's own, which is nobody's word; 0 for one that cannot be."""
        found = self._store.number(_META, (name,)) if self._store is not None else 0
        return found if 0 <= found < MAX_COUNT else 0

    def _pruning(self, clock_us: int) -> list[tuple[str, Sequence[Cells]]]:
        """What is too old goes; of more entries than there may be first those from beyond the clock, then those not seen for longest."""
        ahead = (_DROP_AHEAD, [(clock_us + MAX_AGE_US, self._max_entries)])
        return [(_DROP_OLD, [(clock_us - MAX_AGE_US,)]), ahead, (_DROP_SURPLUS, [(self._max_entries,)])]

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from a checkpoint; rows that a crash kept from the database are written now.

        Raises:
            ValueError: the state is not one that :meth:`state` wrote.
            OSError: the disk would not take it.
        """
        try:
            if self._store is None:
                for key, seen in _entries(state.get("held", ()))[-self._max_held :]:
                    kind, name = chr(key[0]), from_bytes(key[1:])
                    self._tables[kind].held[name if self._name(kind, name) == name else key] = seen
                return
            number = int(str(state.get("number", 0)))
            if not 0 <= number < MAX_COUNT:
                raise ValueError(f"number {number}")
            self._written = self._number("number")
            if number == self._written + 1:
                self.committed(state)
            self._written = max(self._written, number)
        except (TypeError, AttributeError, LookupError, OverflowError) as error:
            raise ValueError(f"memory state: {error}") from error

    def close(self) -> None:
        """Close the database; what was not committed is forgotten."""
        if self._store is not None:
            self._store.close()


def looked_up(folder: Path, texts: Iterable[str], kind: str = STRING) -> list[Seen | None]:
    """What a sensor's state folder knows of each text, without writing to it.

    Raises:
        InputError: the folder holds no memory that can be read.
    """
    with reading(folder / FILE, SCHEMA) as store:
        return [_seen(store.execute(_FIND, (_key(kind, text),)).fetchone()) for text in texts]


def latest(folder: Path, count: int) -> list[str]:
    """Strings of a state folder, those seen last first; one too long for a key is not there.

    Raises:
        InputError: the folder holds no memory that can be read.
    """
    with reading(folder / FILE, SCHEMA) as store:
        keys = store.execute("SELECT key FROM seen WHERE substr(key, 1, 1) = x'73' ORDER BY last DESC LIMIT ?", (count,)).fetchall()
    return [text for (key,) in keys if (text := _text_of(key)) is not None]


def strings(folder: Path) -> Iterator[tuple[str, Seen]]:
    """All strings of a state folder, by name.

    Raises:
        InputError: the folder holds no memory that can be read.
    """
    with reading(folder / FILE, SCHEMA) as store:
        for key, *cells in store.execute("SELECT key, first, last, count, clients FROM seen ORDER BY key"):
            text, seen = _text_of(key), _seen(cells)
            if text is not None and seen is not None:
                yield text, seen


def _text_of(key: object) -> str | None:
    """The string of a key; None for a host's, and for a string too long to be one."""
    return from_bytes(key[1:]) if isinstance(key, bytes) and key[:1] == STRING.encode() and key[1:2] != b"\0" else None


def _seen(cells: Sequence[object] | None) -> Seen | None:
    """An entry of a row; None where a cell is no number that we would have written."""
    if cells is None or not all(type(cell) is int and abs(cell) < 1 << 63 for cell in cells):
        return None
    first, last, count, bits = (int(str(cell)) for cell in cells)
    sound = abs(first) < MAX_COUNT and abs(last) < MAX_COUNT and 0 <= count <= MAX_COUNT and bits >= 0
    return Seen(first, last, count, bits) if sound else None


def _entries(rows: object) -> list[tuple[bytes, Seen]]:
    """Keys and entries of a checkpoint.

    Raises:
        ValueError: one of them is none.
        TypeError: the same.
    """
    found = []
    for key, *cells in rows:  # type: ignore[attr-defined]
        seen = _seen(cells)
        if seen is None:
            raise ValueError("an entry holds what is no number")
        found.append((bytes.fromhex(key), seen))
    return found


def _key(kind: str, text: str) -> bytes:
    key = to_bytes(kind + text)
    return key if len(key) <= MAX_KEY_BYTES + 1 else kind.encode() + b"\0" + hashlib.blake2b(key[1:], digest_size=16).digest()
