"""What this sensor has seen: by string and by registrable domain, when first and last, how often, by about how many clients.

SQLite of the standard library in the state folder (``memory.sqlite``), a bounded part of it in memory. What changed since the
last commit goes into the checkpoint first and into the database after that, under a number, so that after a crash the
database is brought to exactly the checkpoint's state: a replay decides the same.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.normalizers import from_bytes, to_bytes

FILE = "memory.sqlite"
DAY_US = 86_400_000_000
MAX_KEY_BYTES = 200
MAX_HELD = 16_384
MAX_ENTRIES = 1_000_000
MAX_AGE_US = 90 * DAY_US
PRUNE_EVERY = 64
_BITS = 63
HOST, STRING = "h", "s"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (key BLOB PRIMARY KEY, first INTEGER, last INTEGER, count INTEGER, clients INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_last ON seen (last);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
"""


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


class Memory:
    """Entries by key. With a folder they outlive the process; without one only the held part is there."""

    def __init__(self, folder: Path | None = None, *, max_held: int = MAX_HELD, max_entries: int = MAX_ENTRIES) -> None:
        """Open, or make, the database of a state folder.

        Raises:
            OSError: it cannot be opened. A damaged one is set aside as ``memory.sqlite.bad``.
        """
        self._max_held, self._max_entries = max_held, max_entries
        self._held: OrderedDict[bytes, Seen] = OrderedDict()
        self._changed: dict[bytes, Seen] = {}
        self._written = 0
        probe = "SELECT key, first, last, count, clients FROM seen LIMIT 1"
        self._store = open_database(folder / FILE, _SCHEMA, probe) if folder is not None else None

    def touch(self, host: str, client: str, time_us: int, kind: str = HOST) -> Seen:
        """Note a contact of a client; the entry with it. ``last_us`` and ``count`` include it."""
        key, held = _key(kind, host), self._held
        seen = held.get(key)
        if seen is not None:
            held.move_to_end(key)
        else:
            seen = (self._find(key) if self._store is not None else None) or Seen(time_us, time_us)
            self._hold(key, seen)
        seen.bits |= 1 << zlib.crc32(to_bytes(client)) % _BITS
        seen.count += 1
        seen.last_us = max(seen.last_us, time_us)
        if self._store is not None:
            self._changed[key] = seen
        return seen

    def look_up(self, host: str, kind: str = HOST) -> Seen | None:
        """What is known, without noting anything."""
        return self._find(_key(kind, host))

    def _find(self, key: bytes) -> Seen | None:
        seen = self._held.get(key) or self._changed.get(key)
        if seen is None and self._store is not None:
            row = self._store.execute("SELECT first, last, count, clients FROM seen WHERE key = ?", (key,)).fetchone()
            seen = Seen(*row) if row else None
        return seen

    def _hold(self, key: bytes, seen: Seen) -> None:
        self._held[key] = seen
        if len(self._held) > self._max_held:
            self._held.popitem(last=False)

    @property
    def unwritten(self) -> int:
        """Entries changed since the last checkpoint."""
        return len(self._changed)

    def __len__(self) -> int:
        """Entries known."""
        if self._store is None:
            return len(self._held)
        return int(self._store.execute("SELECT count(*) FROM seen").fetchone()[0])

    # --- with the checkpoint -----------------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        """For the checkpoint: what the database lacks, and the number it gets. Without a database all that is held."""
        if self._store is None:
            return {"held": [[key.hex(), s.first_us, s.last_us, s.count, s.bits] for key, s in self._held.items()]}
        rows = [[key.hex(), s.first_us, s.last_us, s.count, s.bits] for key, s in self._changed.items()]
        return {"number": self._written + 1, "rows": rows}

    def committed(self, state: Mapping[str, object]) -> None:
        """The checkpoint with this state is durable: bring the database up to it.

        Raises:
            OSError: the disk would not take it; to be tried again.
        """
        if self._store is None:
            return
        number, rows = int(str(state.get("number", 0))), state.get("rows", ())
        try:
            self._write(number, [(bytes.fromhex(str(r[0])), *map(int, r[1:])) for r in rows])  # type: ignore[attr-defined]
        except sqlite3.OperationalError as error:
            self._store.rollback()
            raise OSError(errno.ENOSPC, f"memory: {error}") from error
        self._changed.clear()

    def _write(self, number: int, rows: Iterable[tuple[object, ...]]) -> None:
        assert self._store is not None
        self._store.execute("BEGIN IMMEDIATE")
        self._store.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", rows)
        self._store.execute("INSERT OR REPLACE INTO meta VALUES ('number', ?)", (number,))
        if number % PRUNE_EVERY == 0:
            self._prune()
        self._store.commit()
        self._written = number

    def _prune(self) -> None:
        assert self._store is not None
        latest = self._store.execute("SELECT max(last) FROM seen").fetchone()[0] or 0
        self._store.execute("DELETE FROM seen WHERE last < ?", (latest - MAX_AGE_US,))
        surplus = self._store.execute("SELECT count(*) FROM seen").fetchone()[0] - self._max_entries
        if surplus > 0:
            self._store.execute("DELETE FROM seen WHERE key IN (SELECT key FROM seen ORDER BY last LIMIT ?)", (surplus,))

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from a checkpoint; rows that a crash kept from the database are written now.

        Raises:
            ValueError: the state is not one that :meth:`state` wrote.
            OSError: the disk would not take it.
        """
        try:
            if self._store is None:
                for key, first, last, count, bits in state.get("held", ()):  # type: ignore[attr-defined]
                    self._hold(bytes.fromhex(key), Seen(int(first), int(last), int(count), int(bits)))
                return
            row = self._store.execute("SELECT value FROM meta WHERE name = 'number'").fetchone()
            self._written = int(row[0]) if row else 0
            number = int(str(state.get("number", 0)))
            if number == self._written + 1:
                self.committed(state)
            self._written = max(self._written, number)
        except (TypeError, AttributeError, IndexError, OverflowError) as error:
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
    with _reading(folder) as store:
        rows = (
            store.execute("SELECT first, last, count, clients FROM seen WHERE key = ?", (_key(kind, text),)).fetchone() for text in texts
        )
        return [Seen(*row) if row else None for row in rows]


def latest(folder: Path, count: int) -> list[str]:
    """Strings of a state folder, those seen last first; one too long for a key is not there.

    Raises:
        InputError: the folder holds no memory that can be read.
    """
    with _reading(folder) as store:
        keys = store.execute("SELECT key FROM seen WHERE substr(key, 1, 1) = x'73' ORDER BY last DESC LIMIT ?", (count,)).fetchall()
    return [from_bytes(key[1:]) for (key,) in keys if key[1:2] != b"\0"]


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / FILE
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)) as store:
            yield store
    except (sqlite3.DatabaseError, TypeError) as error:
        raise InputError(f"{path}: is no sensor's memory that can be read ({str(error)[:200]})") from None


def _key(kind: str, text: str) -> bytes:
    key = to_bytes(kind + text)
    return key if len(key) <= MAX_KEY_BYTES + 1 else kind.encode() + b"\0" + hashlib.blake2b(key[1:], digest_size=16).digest()


def open_database(path: Path, schema: str, probe: str) -> sqlite3.Connection:
    """Open, or make, a database; a damaged one is set aside as ``….bad``.

    Raises:
        OSError: the disk would not let it be opened.
    """
    try:
        return _connect(path, schema, probe)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise OSError(errno.EIO, f"{path}: {error}") from error
        path.rename(path.with_name(f"{path.name}.bad"))
        return _connect(path, schema, probe)


def _connect(path: Path, schema: str, probe: str) -> sqlite3.Connection:
    store = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        store.execute("PRAGMA synchronous = FULL")
        store.execute("PRAGMA cache_size = -2048")
        store.execute("PRAGMA trusted_schema = OFF")
        store.executescript(schema)
        store.execute(probe).fetchone()
    except BaseException:
        store.close()
        raise
    return store
