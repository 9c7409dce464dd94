"""Bounded reading: bytes of a plain or gzip file, cut into lines no longer than a limit.

Offsets count uncompressed bytes, so a place keeps its number when a log is compressed after rotation.
"""

from __future__ import annotations

import errno
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from edge_demist.io import open_regular

MAX_LINE_BYTES = 1 << 20
READ_BYTES = 1 << 18
SKIP_BYTES = 8 << 20
"""Uncompressed bytes of a gzip that one call passes over on the way to a remembered place."""
MAX_EMPTY_STEPS = 20_000
"""Empty gzip members that one call passes over."""
_NEWLINES = re.compile(rb"\n+")
_GZIP_MAGIC = b"\x1f\x8b"
_OTHER_MAGIC = {b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x04\x22\x4d\x18": "lz4"}


FileId = tuple[int, int]


class Moved(OSError):
    """Under the name there is, by now, another file than the one that was looked at, or none: the next look will tell."""

    def __init__(self, path: Path) -> None:
        """Name the path."""
        super().__init__(errno.ESTALE, "renamed or replaced while it was looked at", str(path))


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line without its newline; ``data`` is None where it was over the limit."""

    start: int
    end: int
    data: bytes | None
    terminated: bool = True
    count: int = 1
    """How many lines; empty ones that follow each other are handed out as one."""


class ByteStream:
    """Uncompressed bytes of one open file, from any offset on."""

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
        magic = os.pread(self.fd, 5, 0)
        self.is_gzip = magic.startswith(_GZIP_MAGIC)
        self.problem = next((f"unsupported-compression: {n}" for m, n in _OTHER_MAGIC.items() if magic.startswith(m)), "")
        self._raw_offset = 0
        self._inflate = zlib.decompressobj(31) if self.is_gzip else None
        self._pending = b""
        self.offset = 0
        self.paused = False
        self._skip_to = offset if self.is_gzip else 0
        if not self.is_gzip:
            self._raw_offset = self.offset = offset

    def skip(self, most: int) -> bool:
        """Go on towards the offset asked for, by at most ``most`` bytes; True once there, or at the end."""
        end = min(self.offset + most, self._skip_to)
        while self.offset < end:
            if not self._read(min(READ_BYTES, end - self.offset)):
                return not self.paused
        return self.offset >= self._skip_to

    def read(self, size: int = READ_BYTES) -> bytes:
        """Up to ``size`` bytes; empty at the (present) end. A damaged gzip sets ``problem`` and ends.

        Empty too, with ``paused`` set, where a lot was unpacked and nothing came of it: ask again after other work.
        """
        if self.offset < self._skip_to and not self.skip(SKIP_BYTES):
            self.paused = not self.problem
            return b""
        return self._read(size)

    def _read(self, size: int) -> bytes:
        self.paused = False
        if self.problem:
            return b""
        data = self._read_gzip(size) if self._inflate is not None else os.pread(self.fd, size, self._raw_offset)
        if self._inflate is None:
            self._raw_offset += len(data)
        self.offset += len(data)
        return data

    def _read_gzip(self, size: int) -> bytes:
        for _ in range(MAX_EMPTY_STEPS):
            if not self._pending:
                self._pending = os.pread(self.fd, READ_BYTES, self._raw_offset)
                self._raw_offset += len(self._pending)
            assert self._inflate is not None
            if self._inflate.eof and not self._next_member():
                return b""
            starved = not self._pending
            try:
                data = self._inflate.decompress(self._pending, size)
            except zlib.error as error:
                self.problem = f"corrupt-gzip: {error}"
                return b""
            self._pending = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if data or (starved and not self._inflate.eof):
                return data
        self.paused = True
        return b""

    def _next_member(self) -> bool:
        """Start the next gzip member (RFC 1952, section 2.2), if there is one; zero padding is none."""
        self._pending = self._pending.lstrip(b"\0")
        if not self._pending:
            more = os.pread(self.fd, READ_BYTES, self._raw_offset).lstrip(b"\0")
            if not more:
                return False
            self._raw_offset += len(more)
            self._pending = more
        self._inflate = zlib.decompressobj(31)
        return True

    @property
    def incomplete(self) -> bool:
        """Whether a gzip ended before its trailer."""
        return self._inflate is not None and not self._inflate.eof and not self.problem

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


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

    def feed(self, chunk: bytes) -> list[RawLine]:
        """Lines finished by this chunk."""
        lines = []
        begin = 0
        while (end := chunk.find(b"\n", begin)) >= 0:
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
