"""Databases of the state folder (SQLite): opened only as what we made, read with limits, set aside as ``….bad`` where they are damaged.

Whoever can write the folder can put anything under the name: a pipe or a link, a view that never ends in the place of a table, a
trigger, a cell of a gigabyte. So the name must stand for a regular file, the schema must be ours word for word, and what a query
gives is checked by those who asked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edge_demist.errors import InputError

MAX_FILE_BYTES = 1 << 31
MAX_CELL_BYTES = 1 << 20
BUSY_S = 5.0
_BESIDE = ("-journal", "-wal", "-shm")
_DISK_TROUBLE = frozenset((
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_AUTH),
))  # fmt: skip
"""Errors of SQLite for which the database is not to blame."""
_VALUES_TO_BLAME = (ValueError, OverflowError, sqlite3.DataError)
"""Errors at writing for which neither the disk nor the database is to blame."""
Cells = Sequence[object]


class Database:
    """A database that may be lost and is never trusted. ``problems`` says what was set aside, until somebody takes it."""

    def __init__(self, path: Path, schema: str) -> None:
        """Open, or make; what is not ours is set aside.

        Raises:
            OSError: the disk would not let it be opened.
        """
        self._path, self._schema = path, schema
        self.problems: list[str] = []
        self._store = self._opened()

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connect(self._path, self._schema)
        except (sqlite3.Error, ValueError) as error:
            _raise_disk_trouble(self._path, error)
            self._set_aside(error)
            return _connect(self._path, self._schema)

    def _set_aside(self, error: Exception) -> None:
        self.problems.append(f"{self._path}: {str(error)[:200]}; kept as {self._path.name}.bad, what it remembered is gone")
        for beside in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + beside).unlink()
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(self._path.with_name(f"{self._path.name}.bad"))

    def _lost(self, error: Exception) -> None:
        """Go on with an empty database; a disk that fails is somebody else's business.

        Raises:
            OSError: the disk is in trouble, the database is not.
        """
        if isinstance(error, sqlite3.Error):
            _raise_disk_trouble(self._path, error)
        self._store.close()
        self._set_aside(error)
        self._store = _connect(self._path, self._schema)

    def row(self, question: str, values: Cells = ()) -> tuple[object, ...] | None:
        """The first row of an answer; None where there is none, or the database has just been lost.

        Raises:
            OSError: the disk is in trouble.
        """
        try:
            found: tuple[object, ...] | None = self._store.execute(question, values).fetchone()
        except (sqlite3.Error, ValueError, OverflowError) as error:
            self._lost(error)
            return None
        return found

    def number(self, question: str, values: Cells = ()) -> int:
        """A number that a question gives; 0 where it gives none."""
        row = self.row(question, values)
        return row[0] if row and type(row[0]) is int else 0

    def write(self, statements: Iterable[tuple[str, Sequence[Cells]]]) -> None:
        """Do statements, each for all its rows, together or not at all; where the database is lost they are done on an empty one.

        Values that no database takes (a number over 64 bits) are forgotten, and so is what an empty one refuses: the ``problems`` say so.
        To try again would be to wait for ever.

        Raises:
            OSError: the disk would not take it; to be tried again.
        """
        statements = list(statements)
        for is_last in (False, True):
            try:
                self._write(statements)
            except (sqlite3.Error, ValueError, OverflowError) as error:
                with contextlib.suppress(sqlite3.Error):
                    self._store.rollback()
                if is_last or isinstance(error, _VALUES_TO_BLAME):
                    _raise_disk_trouble(self._path, error)
                    self.problems.append(f"{self._path}: {str(error)[:200]}; what was to be remembered now is forgotten")
                    return
                self._lost(error)
            else:
                return

    def _write(self, statements: Iterable[tuple[str, Sequence[Cells]]]) -> None:
        self._store.execute("BEGIN IMMEDIATE")
        for statement, rows in statements:
            self._store.executemany(statement, rows)
        self._store.commit()

    def close(self) -> None:
        """Close it; what was not written is forgotten."""
        self._store.close()


@contextlib.contextmanager
def reading(path: Path, schema: str) -> Iterator[sqlite3.Connection]:
    """A database for reading, which is not touched.

    Raises:
        InputError: it is not there, or not what ``schema`` makes, or a question about it fails.
    """
    try:
        _check_names(path)
        connection = sqlite3.connect(f"{path.resolve(strict=True).as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
        with contextlib.closing(_checked(connection, schema)) as store:
            yield store
    except (sqlite3.Error, ValueError, TypeError, OverflowError, OSError) as error:
        raise InputError(f"{path}: cannot be read as what a sensor remembers ({str(error)[:200]})") from None


def _raise_disk_trouble(path: Path, error: Exception) -> None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _DISK_TROUBLE:
        where = errno.ENOSPC if code & 0xFF == sqlite3.SQLITE_FULL else errno.EIO
        raise OSError(where, f"{path}: {error}") from error


def _check_names(path: Path) -> None:
    """Refuse what is no regular file of a size that can be.

    Raises:
        ValueError: it is none.
    """
    for name in (path, *(path.with_name(path.name + beside) for beside in _BESIDE)):
        with contextlib.suppress(FileNotFoundError):
            info = os.lstat(name)
            if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_FILE_BYTES:
                raise ValueError(f"{name.name} is no regular file of at most {MAX_FILE_BYTES} bytes")


def _connect(path: Path, schema: str) -> sqlite3.Connection:
    _check_names(path)
    store = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
    try:
        store.execute("PRAGMA trusted_schema = OFF")
        if not store.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            store.executescript(schema)
        store.execute("PRAGMA synchronous = FULL")
        store.execute("PRAGMA cache_size = -2048")
    except BaseException:
        store.close()
        raise
    return _checked(store, schema)


def _checked(store: sqlite3.Connection, schema: str) -> sqlite3.Connection:
    """The same connection, with limits, if its schema is that of a fresh database.

    Raises:
        ValueError: it is another.
        sqlite3.Error: it cannot be read.
    """
    try:
        store.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CELL_BYTES)
        if _schema_of(store) != _fresh(schema):
            raise ValueError("its tables are not those that a sensor makes")
    except BaseException:
        store.close()
        raise
    return store


def _fresh(schema: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as store:
        store.executescript(schema)
        return _schema_of(store)


def _schema_of(store: sqlite3.Connection) -> list[tuple[object, ...]]:
    return store.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
