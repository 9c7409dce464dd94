"""What is being worked on, where the next start finds it, so that no record can end the sensor again and again.

A process that is killed (memory, watchdog, a fault) says nothing, but what it wrote into a shared map stays with the kernel.
Before lines are parsed or scored their places are noted there, afterwards the note is taken back. A start that finds a note takes
the noted lines one by one; a record that was alone in the note at two deaths in a row is stepped over, which is counted and said.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_demist.io import open_regular

ROOM = 1 << 15
MAX_PLACES = 48
MAX_STEPPED_OVER = 64
MAX_KEY, MAX_NUMBER = 80, 1 << 62
"""Letters and digits of a file's key, and the largest place: a note in which all are so large still has room."""


class Place(NamedTuple):
    """Some lines of one file: its key, the first line's start and the last one's end in bytes, how many lines."""

    key: str
    start: int
    end: int
    lines: int


class InFlight:
    """The note of one state folder; without a folder nothing is noted."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read what the last process left, and begin anew.

        Raises:
            OSError: the folder cannot be written.
        """
        self._map: mmap.mmap | None = None
        self.careful: tuple[Place, ...] = ()
        self._skipped: list[tuple[str, int]] = []
        self._last_death: Place | None = None
        if folder is not None:
            self._open(folder / "in-flight")

    def _open(self, path: Path) -> None:
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640))
        os.close(open_regular(path, follow=False))
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if os.fstat(handle).st_size != ROOM:
                os.ftruncate(handle, ROOM)
            self._map = mmap.mmap(handle, ROOM)
        finally:
            os.close(handle)
        try:
            self._restore(json.loads(bytes(self._map[:]).partition(b"\0")[0] or b"{}"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.careful, self._skipped, self._last_death = (), [], None
        self.note(())

    def _restore(self, value: dict[str, list[list[object]]]) -> None:
        """Take the last process's note; ValueError, TypeError or KeyError where it is none."""
        self._skipped = [(_key(key), _number(start)) for key, start in value.get("skipped", [])][-MAX_STEPPED_OVER:]
        found, before, careful = _places(value, "now"), _places(value, "before"), _places(value, "careful")
        self.careful = tuple(dict.fromkeys([*found, *careful]))[:MAX_PLACES]
        if len(found) == 1 and found[0].lines == 1:
            if before == found:
                self._skipped = [*self._skipped, (found[0].key, found[0].start)][-MAX_STEPPED_OVER:]
            self._last_death = found[0]

    def note(self, places: Sequence[Place]) -> None:
        """Say what is being worked on; nothing when it is done."""
        if self._map is None:
            return
        if len(places) > MAX_PLACES:  # the files, from the first to the last of their lines
            files: dict[str, Place] = {}
            for place in places:
                known = files.get(place.key, place)
                files[place.key] = Place(place.key, min(known.start, place.start), max(known.end, place.end), 1 << 20)
            places = list(files.values())[:MAX_PLACES]
        before = [self._last_death] if self._last_death else []
        body = {"now": places, "before": before, "careful": self.careful, "skipped": self._skipped}
        raw = json.dumps(body, separators=(",", ":")).encode("ascii")
        self._map[: len(raw) + 1] = raw + b"\0"

    def committed(self, offsets: Mapping[str, int]) -> None:
        """What lies behind the durable place of its file, or in a file read to its end, needs no more care."""
        if self.careful:
            self.careful = tuple(place for place in self.careful if offsets.get(place.key, place.end) < place.end)
            self.note(())

    def is_careful(self, key: str, offset: int) -> bool:
        """Whether the line at ``offset`` was being worked on when a process died: it is to be taken alone."""
        return bool(self.careful) and any(place.key == key and place.start <= offset < place.end for place in self.careful)

    def is_stepped_over(self, key: str, start: int) -> bool:
        """Whether a record ended two processes."""
        return bool(self._skipped) and (key, start) in self._skipped

    def close(self) -> None:
        """Give the map back; the note stays."""
        if self._map is not None:
            self._map.close()
            self._map = None


def _places(value: dict[str, list[list[object]]], name: str) -> list[Place]:
    return [Place(_key(k), _number(s), _number(e), _number(n)) for k, s, e, n in value.get(name, [])][:MAX_PLACES]


def _key(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_KEY or not value.isascii() or not value.isalnum():
        raise ValueError("no key of a file")
    return value


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < MAX_NUMBER:
        raise ValueError("no place in a file")
    return value
