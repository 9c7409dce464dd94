"""Bounded reading: the text of a plain, compressed or UTF-16 file, cut into lines no longer than a limit.

Offsets count uncompressed bytes, so a place keeps its number when a log is compressed after rotation.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from pathlib import Path
from typing import NamedTuple

from edge_demist.io import open_regular
from edge_demist.sensor.sources.decoding import GZIP_MAGIC, MAGIC_BYTES, ZSTD_MAGIC, reader_for, refusal

MAX_LINE_BYTES = 1 << 20
READ_BYTES = 1 << 18
SKIP_BYTES = 8 << 20
"""Uncompressed bytes of a gzip that one call passes over on the way to a remembered place."""
_NEWLINES = re.compile(rb"\n+")


FileId = tuple[int, int]


class Moved(OSError):
    """Under the name there is, by now, another file than the one that was looked at, or none: the next look will tell."""

    def __init__(self, path: Path) -> None:
        """Name the path."""
        super().__init__(errno.ESTALE, "renamed or replaced while it was looked at", str(path))


class RawLine(NamedTuple):
    """A line without its newline; ``data`` is None where it was over the limit."""

    start: int
    end: int
    data: bytes | None
    terminated: bool = True
    lines: int = 1
    """How many lines; empty ones that follow each other are handed out as one."""


class ByteStream:
    """The text of one open file, from any offset on: uncompressed, as UTF-8."""

    def __init__(self, path: Path, offset: int = 0, file_id: FileId | None = None) -> None:
        """Open and go to an uncompressed offset.

        Args:
            path: the file.
            offset: where to begin.
            file_id: device and inode that the name stood for when it was looked at.

        Raises:
            Moved: the name stands for another file by now, or for none.
            OSError: the file cannot be opened.
        """
        self.fd = _open(path, file_id)
        start = os.pread(self.fd, MAGIC_BYTES, 0)
        self._refusal = refusal(start)
        self.compressed = start.startswith((GZIP_MAGIC, ZSTD_MAGIC))
        self.is_wide = start.startswith(ZSTD_MAGIC)
        """Whether it may need megabytes of memory while it is open."""
        self.raw_offset = 0
        self._reader = reader_for(start, self._pull)
        self.offset = 0
        self._skip_to = offset if self._reader is not None else 0
        self._held_up = False
        if self._reader is None:
            self.raw_offset = self.offset = offset

    @property
    def translated(self) -> bool:
        """Whether offsets are not places in the file: it is compressed, or UTF-16."""
        return self._reader is not None

    @property
    def problem(self) -> str:
        """Why the file is not read, or not read on."""
        return self._refusal or ("" if self._reader is None else self._reader.problem)

    def _pull(self, size: int) -> bytes:
        data = os.pread(self.fd, size, self.raw_offset)
        self.raw_offset += len(data)
        return data

    def skip(self, most: int) -> bool:
        """Go on towards the offset asked for, by at most ``most`` bytes; True once there, or at the end."""
        end = min(self.offset + most, self._skip_to)
        while self.offset < end:
            if not self._read(min(READ_BYTES, end - self.offset)):
                return not self.paused
        return self.offset >= self._skip_to

    @property
    def paused(self) -> bool:
        """Whether the last reading gave nothing though this is not the end: a lot was unpacked; ask again after other work."""
        return self._held_up or (self._reader is not None and self._reader.paused)

    def read(self, size: int = READ_BYTES) -> bytes:
        """Up to ``size`` bytes; empty at the (present) end, and where ``paused``. A damaged file sets ``problem`` and ends."""
        if self.offset < self._skip_to and not self.skip(SKIP_BYTES):
            self._held_up = not self.problem
            return b""
        return self._read(size)

    def _read(self, size: int) -> bytes:
        self._held_up = False
        if self.problem:
            return b""
        data = self._pull(size) if self._reader is None else self._reader.read(size)
        self.offset += len(data)
        return data

    @property
    def incomplete(self) -> bool:
        """Whether a gzip ended before its trailer."""
        return self._reader is not None and self._reader.incomplete

    def close(self) -> None:
        """Close the file; the reader, which pulls from this, is let go of, for it may hold megabytes."""
        os.close(self.fd)
        self._reader = None


def _open(path: Path, file_id: FileId | None) -> int:
    try:
        fd = open_regular(path)
    except FileNotFoundError as error:
        raise (Moved(path) if file_id else error) from None
    info = os.fstat(fd)
    if file_id is not None and file_id != (info.st_dev, info.st_ino):
        os.close(fd)
        raise Moved(path)
    return fd


class LineSplitter:
    """Cuts chunks into lines; holds at most ``limit`` bytes of an unfinished one."""

    def __init__(self, offset: int = 0, limit: int = MAX_LINE_BYTES, skip_rest: bool = False) -> None:
        """Start at an offset; ``skip_rest`` drops what is left of a line that was taken unterminated."""
        self.offset = offset
        self._limit = limit
        self._parts: list[bytes] = []
        self._held = 0
        self._over = False
        self._start = offset
        self._skip = skip_rest

    @property
    def pending(self) -> bool:
        """Whether an unfinished line is held."""
        return self._held > 0 or self._over

    @property
    def held_bytes(self) -> int:
        """How much of it is in memory."""
        return 0 if self._over else self._held

    def feed(self, chunk: bytes) -> list[RawLine]:
        """Lines finished by this chunk."""
        begin = chunk.find(b"\n") + 1 if self.pending or self._skip else 0
        lines = self._cut(chunk[:begin]) if begin else []
        if not self.pending and not self._skip:
            rest = chunk[begin:] if begin else chunk
            return lines + (self._cut_plain(rest) or self._cut(rest))
        return lines + self._cut(chunk[begin:])

    def _cut_plain(self, chunk: bytes) -> list[RawLine]:
        """The lines of a chunk that begins with a new line, all at once; none where one is empty or too long."""
        *pieces, rest = chunk.split(b"\n")
        sizes = list(map(len, pieces))
        if not sizes or not min(sizes) or max(sizes) > self._limit:
            return []
        places = list(itertools.accumulate([size + 1 for size in sizes], initial=self.offset))
        self.offset = self._start = places[-1]
        self._add(rest)
        return list(map(RawLine, places, places[1:], pieces))

    def _cut(self, chunk: bytes) -> list[RawLine]:
        """The lines of any chunk, one by one."""
        lines: list[RawLine | None] = []
        begin = 0
        while (end := chunk.find(b"\n", begin)) >= 0:
            if self._is_simple(chunk, begin, end):
                start = self.offset
                self.offset = self._start = start + end + 1 - begin
                lines.append(RawLine(start, self.offset, chunk[begin:end]))
                begin = end + 1
                continue
            self._add(chunk[begin:end])
            begin = end + 1
            count = 1
            if not self._held and not self._over and not self._skip and chunk.startswith(b"\n", begin):
                match = _NEWLINES.match(chunk, begin)
                assert match is not None
                count, begin = 1 + match.end() - begin, match.end()
            self.offset += count
            lines.append(self._take(terminated=True, count=count))
        self._add(chunk[begin:])
        return [line for line in lines if line is not None]

    def _is_simple(self, chunk: bytes, begin: int, end: int) -> bool:
        """Whether a line lies whole in the chunk, is none too long, and no empty one follows."""
        if self._held or self._over or self._skip or end == begin or end - begin > self._limit:
            return False
        return not chunk.startswith(b"\n", end + 1)

    def finish(self) -> RawLine | None:
        """What is left at the end of the file, without a newline."""
        return self._take(terminated=False) if self.pending else None

    def _add(self, piece: bytes) -> None:
        self.offset += len(piece)
        if not piece or self._over:
            return
        self._held += len(piece)
        if self._held > self._limit:
            self._over = True
            self._parts.clear()
        else:
            self._parts.append(piece)

    def _take(self, *, terminated: bool, count: int = 1) -> RawLine | None:
        data = None if self._over else b"".join(self._parts)
        line = RawLine(self._start, self.offset, data, terminated, count)
        skipped, self._skip = self._skip, False
        self._parts, self._held, self._over, self._start = [], 0, False, self.offset
        return None if skipped else line
