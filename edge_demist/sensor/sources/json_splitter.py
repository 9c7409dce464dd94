"""Cuts a file that is one JSON array, or holds objects over several lines or many on one, into its objects.

Takes the place of ``LineSplitter`` for such files, so that every object has an offset of its own and a restart goes on
between two objects.
"""

from __future__ import annotations

import re

from edge_demist.sensor.sources.lines import MAX_LINE_BYTES, RawLine

_TOKEN = re.compile(rb'["\\{}\[\]\n]')
_NEXT_OBJECT = re.compile(rb"\}\s*\{\s*\"")
_EVTX_DUMP = re.compile(rb"Record \d{1,20}\s*\Z")
_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST, _NEWLINE = b'"\\{}[]\n'


def is_spread(head: bytes) -> bool:
    """Whether a file that begins like this is an array of objects, or holds objects that take several lines or share one."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return start[1:].lstrip()[:1] in (b"{", b"]", b"")
    first = start.split(b"\n", 1)
    if len(first) == 1 and start.startswith(b"{") and _NEXT_OBJECT.search(start):  # one behind the other on one line, as Firehose writes
        return True
    return len(first) == 2 and (first[0].strip() == b"{" or _EVTX_DUMP.match(first[0]) is not None)


class JsonSplitter:
    """Hands out the objects of a file; what stands between them (commas, brackets, words) is passed over."""

    def __init__(self, offset: int = 0, limit: int = MAX_LINE_BYTES) -> None:
        """Start between two objects, at an offset."""
        self.offset = offset
        self._limit = limit
        self._parts: list[bytes] = []
        self._held = 0
        self._start = offset
        self._depth = 0
        self._in_string = self._over = False
        self._escaped = self._newline = -1

    @property
    def pending(self) -> bool:
        """Whether an unfinished object is held."""
        return self._depth > 0

    @property
    def held_bytes(self) -> int:
        """How much of it is in memory."""
        return 0 if self._over else self._held

    def feed(self, chunk: bytes) -> list[RawLine]:
        """Objects finished by this chunk."""
        found: list[RawLine] = []
        begin = 0  # of what is not yet kept, within the chunk
        for token in _TOKEN.finditer(chunk):
            at, what = token.start(), chunk[token.start()]
            place = self.offset + at
            if self._in_string:
                self._within_string(what, place)
            elif what == _OPEN:
                if self._depth and self._newline == place - 1:  # a new object at the start of a line: the last one broke off
                    self._keep(chunk[begin:at])
                    found.append(self._take(place))
                if not self._depth:
                    begin, self._start = at, place
                self._depth += 1
            elif what == _CLOSE and self._depth:
                self._depth -= 1
                if not self._depth:
                    self._keep(chunk[begin : at + 1])
                    begin = at + 1
                    found.append(self._take(place + 1))
            elif self._depth and what in (_OPEN_LIST, _CLOSE_LIST):
                self._depth += 1 if what == _OPEN_LIST else -1
            elif what == _QUOTE:
                self._in_string = self._depth > 0
            if what == _NEWLINE:
                self._newline = place
        if self._depth:
            self._keep(chunk[begin:])
        self.offset += len(chunk)
        return found

    def finish(self) -> RawLine | None:
        """What is left of an object at the end of the file."""
        return self._take(self.offset, terminated=False) if self.pending else None

    def _within_string(self, what: int, place: int) -> None:
        if self._escaped == place:
            return
        if what == _BACKSLASH:
            self._escaped = place + 1
        elif what in (_QUOTE, _NEWLINE):  # a string cannot hold a newline: it broke off
            self._in_string = False

    def _keep(self, piece: bytes) -> None:
        self._held += len(piece)
        if self._held > self._limit:
            self._over = True
            self._parts.clear()
        elif not self._over:
            self._parts.append(piece)

    def _take(self, end: int, *, terminated: bool = True) -> RawLine:
        data = None if self._over else b"".join(self._parts)
        line = RawLine(self._start, end, data, terminated)
        self._parts, self._held, self._over = [], 0, False
        self._depth, self._in_string, self._start = 0, False, end
        return line
