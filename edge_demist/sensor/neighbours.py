"""What this sensor has told about, by looks: general vectors of the strings of its events, and the nearest of them to a new one.

int8 vectors in a memory-mapped ring (``vectors.int8`` in the state folder) beside SQLite (``vectors.sqlite``: text, label, time).
Bounded by entries and by age. As with the memory, what is new goes into the checkpoint first and to the disk after that, so that a
replay finds the same neighbours: the ring is larger than what is searched by all that may wait for a checkpoint.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist.explore.quantize import to_int8
from edge_demist.explore.search import Best, cosines
from edge_demist.io import spelled_out
from edge_demist.sensor.database import Database
from edge_demist.sensor.memory import MAX_AGE_US
from edge_demist.sensor.sources.timestamps import format_time

FILE, DATABASE = "vectors.int8", "vectors.sqlite"
MAX_ENTRIES = 65_536
MAX_WAITING = 4096
SHOWN = 3
MAX_TEXT_CHARS = 512
MAX_NUMBER = 1 << 62
_SCHEMA = """
CREATE TABLE strings (serial INTEGER PRIMARY KEY, time INTEGER, text TEXT, labels TEXT);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A string that was told about: when first, and the label of each task."""

    time_us: int
    text: str
    labels: Mapping[str, str]


class Neighbours:
    """Strings by serial number; the last ``max_entries`` are searched. ``space`` names what makes the vectors."""

    def __init__(self, folder: Path | None, space: str, dim: int, *, max_entries: int = MAX_ENTRIES) -> None:
        """Open, or make, the two files of a state folder; without one everything stays in memory.

        Raises:
            OSError: they cannot be opened.
        """
        self.space, self._dim, self._max = space, dim, max_entries
        self._ring = max_entries + MAX_WAITING
        self._next = self._first = 0
        self._waiting: dict[int, Entry] = {}
        self._fresh = np.zeros((MAX_WAITING, dim), np.int8)
        self._written = 0
        self._store = Database(folder / DATABASE, _SCHEMA) if folder else None
        self._rows: NDArray[np.int8] = _map(folder / FILE, self._ring, dim) if folder else np.zeros((self._ring, dim), np.int8)
        self._known: dict[int, Entry] = {}

    # --- asking ------------------------------------------------------------------------------------------------

    def ask(self, text: str, labels: Mapping[str, str], vector: NDArray[np.float32], time_us: int) -> list[tuple[Entry, float]]:
        """The nearest strings told about before, with their cosines; the string itself is remembered with that.

        Args:
            text: the string.
            labels: its label by task.
            vector: its general vector float32 [dim].
            time_us: log time.
        """
        query = to_int8(vector[None])
        serials, scores = self._search(query)
        vectors = np.stack([self._vector(int(serial)) for serial in serials]) if len(serials) else np.zeros((0, self._dim), np.int8)
        found = [self._entry(int(serial)) for serial in serials]
        near = cosines(scores[None], query, vectors[None])[0].tolist() if len(serials) else []
        kept = [(e, float(c)) for e, c in zip(found, near, strict=True) if e is not None and abs(time_us - e.time_us) < MAX_AGE_US]
        cut = text[:MAX_TEXT_CHARS]
        if not any(entry.text == cut for entry, _ in kept):
            self._add(Entry(time_us, cut, dict(labels)), query[0])
        return kept[:SHOWN]

    def _search(self, query: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        first = max(self._first, self._next - self._max)
        begin, end = first, self._next - len(self._waiting)
        best = Best(1, min(2 * SHOWN, self._next - first))
        while begin < end:  # at most two pieces of the ring
            slot = begin % self._ring
            count = min(end - begin, self._ring - slot)
            best.add(query, self._rows[slot : slot + count], begin)
            begin += count
        skip = max(0, first - end)
        best.add(query, self._fresh[skip : len(self._waiting)], end + skip)
        known = best.rows[0] >= 0
        return best.rows[0][known], best.scores[0][known]

    def _vector(self, serial: int) -> NDArray[np.int8]:
        end = self._next - len(self._waiting)
        vector: NDArray[np.int8] = self._fresh[serial - end] if serial >= end else self._rows[serial % self._ring]
        return vector

    def _entry(self, serial: int) -> Entry | None:
        held = self._waiting.get(serial) or self._known.get(serial)
        if held is not None or self._store is None:
            return held
        return _entry_of(self._store.row("SELECT time, text, labels FROM strings WHERE serial = ?", (serial,)))

    def _add(self, entry: Entry, vector: NDArray[np.int8]) -> None:
        if len(self._waiting) == MAX_WAITING:  # only where nothing is ever committed: the disk is in trouble, or there is no folder
            self._apply(self._waiting, self._fresh)
        self._fresh[len(self._waiting)] = vector
        self._waiting[self._next] = entry
        self._next += 1

    def use(self, space: str) -> None:
        """Go on with another model: vectors of another space are forgotten."""
        if space != self.space:
            self.space, self._first = space, self._next

    # --- with the checkpoint -----------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether a checkpoint should come."""
        return len(self._waiting) >= MAX_WAITING // 2

    def state(self) -> dict[str, object]:
        """For the checkpoint: what the files lack, and the number they get."""
        rows = [
            [serial, e.time_us, e.text, dict(e.labels), base64.b64encode(self._fresh[n].tobytes()).decode()]
            for n, (serial, e) in enumerate(self._waiting.items())
        ]
        return {"number": self._written + 1, "space": self.space, "first": self._first, "next": self._next, "rows": rows}

    def committed(self, state: Mapping[str, object]) -> None:
        """The checkpoint with this state is durable: bring the files up to it.

        Raises:
            OSError: the disk would not take it; to be tried again.
        """
        entries, vectors = _read_rows(state, self._dim)
        self._apply(entries, vectors, int(str(state.get("number", 0))))

    def _apply(self, entries: Mapping[int, Entry], vectors: NDArray[np.int8], number: int = 0) -> None:
        for serial, vector in zip(entries, vectors, strict=False):
            self._rows[serial % self._ring] = vector
        if self._store is None:
            self._known |= entries
            for old in sorted(self._known)[: max(0, len(self._known) - self._max)]:
                del self._known[old]
        else:
            assert isinstance(self._rows, np.memmap)
            self._rows.flush()
            self._write(entries, number or self._written)
        self._waiting = {}
        self._written = number or self._written

    def _write(self, entries: Mapping[int, Entry], number: int) -> None:
        assert self._store is not None
        rows = [(serial, e.time_us, spelled_out(e.text), json.dumps(dict(e.labels))) for serial, e in entries.items()]
        self._store.write([
            ("INSERT OR REPLACE INTO strings VALUES (?, ?, ?, ?)", rows),
            ("DELETE FROM strings WHERE serial < ?", [(self._next - self._ring,)]),
            ("INSERT OR REPLACE INTO meta VALUES ('number', ?)", [(str(number),)]),
        ])  # fmt: skip

    def problems(self) -> list[str]:
        """What was wrong with the database since the last call; empty for nothing."""
        found = self._store.problems[:] if self._store is not None else []
        if self._store is not None:
            self._store.problems.clear()
        return found

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from a checkpoint; rows that a crash kept from the files are written now.

        Raises:
            ValueError: the state is not one that :meth:`state` wrote.
            OSError: the disk would not take it.
        """
        if not state:
            return
        try:
            entries, vectors = _read_rows(state, self._dim)
            number, first, following = (int(str(state[name])) for name in ("number", "first", "next"))
            if not 0 <= first <= following < MAX_NUMBER or (entries and (len(entries) > MAX_WAITING or max(entries) >= following)):
                raise ValueError("serials out of order")
            if not 0 <= number < MAX_NUMBER:
                raise ValueError(f"number {number}")
        except (TypeError, AttributeError, LookupError, OverflowError) as error:
            raise ValueError(f"vectors state: {error}") from error
        self._first, self._next = first, following
        if str(state.get("space")) != self.space:
            self._first = following
        written = self._store.number("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'number'") if self._store else 0
        self._written = written if 0 <= written < MAX_NUMBER else 0
        if number == self._written + 1:
            self._apply(entries, vectors, number)
        self._written = max(self._written, number)

    def close(self) -> None:
        """Close the files; what was not committed is forgotten."""
        if self._store is not None:
            self._store.close()


def neighbour_fields(found: Sequence[tuple[Entry, float]], task: str) -> dict[str, object]:
    """``nearest`` and ``novelty`` (one minus the best cosine; 1 where nothing was told yet) as fields of an event."""
    nearest = [
        {
            "text": entry.text,
            "cosine": round(cosine, 4),
            "label": entry.labels.get(task) or next(iter(entry.labels.values()), ""),
            "time": format_time(entry.time_us),
        }
        for entry, cosine in found
    ]
    return {"nearest": nearest, "novelty": round(min(1.0, max(0.0, 1.0 - found[0][1])), 4) if found else 1.0}


def _map(path: Path, rows: int, dim: int) -> NDArray[np.int8]:
    """The ring on disk; one of another size, and what is no regular file, is made anew.

    Raises:
        OSError: the disk would not take it.
    """
    size = rows * dim
    try:
        sound = path.is_symlink() is False and path.is_file() and path.stat().st_size == size
    except OSError:
        sound = False
    if not sound:
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    else:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "r+b") as stream:
        stream.truncate(size)
        return np.memmap(stream, np.int8, "r+", shape=(rows, dim))


def _entry_of(cells: Sequence[object] | None) -> Entry | None:
    """An entry of a row; None where a cell is not what we would have written."""
    if cells is None or type(cells[0]) is not int or abs(cells[0]) >= MAX_NUMBER or not isinstance(cells[1], str):
        return None
    try:
        labels = json.loads(str(cells[2]))
    except (ValueError, RecursionError):
        return None
    return Entry(cells[0], cells[1], {str(k): str(v) for k, v in labels.items()}) if isinstance(labels, dict) else None


def _read_rows(state: Mapping[str, object], dim: int) -> tuple[dict[int, Entry], NDArray[np.int8]]:
    rows = state.get("rows", ())
    entries: dict[int, Entry] = {}
    vectors = []
    for serial, time_us, text, labels, vector in rows:  # type: ignore[attr-defined]
        raw = np.frombuffer(base64.b64decode(vector, validate=True), np.int8)
        if len(raw) != dim:
            raise ValueError("a vector has another length")
        entries[int(serial)] = Entry(int(time_us), str(text), {str(k): str(v) for k, v in labels.items()})
        vectors.append(raw)
    return entries, np.stack(vectors) if vectors else np.zeros((0, dim), np.int8)
