"""Standard input and named pipes as logs: read once, in order, until they end; there is no place to come back to."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path

from edge_demist.sensor.counters import Counts
from edge_demist.sensor.sources.checkpoint import FileState
from edge_demist.sensor.sources.decoding import MAGIC_BYTES, Reader, reader_for, refusal
from edge_demist.sensor.sources.json_splitter import JsonSplitter, is_spread
from edge_demist.sensor.sources.lines import MAX_LINE_BYTES, READ_BYTES, LineSplitter, RawLine
from edge_demist.sensor.sources.log_file import FORM_BYTES, PORTION_BYTES, LogFile

STDIN = Path("-")


def is_pipe(path: Path) -> bool:
    """Whether a path that was given is read as a stream: ``-``, a named pipe, what ``/dev/stdin`` stands for."""
    if path == STDIN:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and str(path).startswith(("/dev/stdin", "/dev/fd/", "/proc/self/fd/")))


class PipeStream:
    """The text of a pipe; reading never waits."""

    def __init__(self, path: Path) -> None:
        """Open; a named pipe without a writer yet is open too.

        Raises:
            OSError: it cannot be opened.
        """
        self.fd = os.dup(0) if path == STDIN else os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.named = path != STDIN and stat.S_ISFIFO(os.fstat(self.fd).st_mode)
        self._start, self._known = b"", False
        self._reader: Reader | None = None
        self.eof = False
        self.offset = 0

    @property
    def problem(self) -> str:
        """Why the pipe is not read, or not read on."""
        return (refusal(self._start) if self._known else "") or ("" if self._reader is None else self._reader.problem)

    @property
    def incomplete(self) -> bool:
        """Whether a gzip ended before its trailer."""
        return self._reader is not None and self._reader.incomplete

    @property
    def ready(self) -> bool:
        """Whether there is something to read, or the end."""
        return bool(select.select([self.fd], [], [], 0)[0])

    def _pull(self, size: int) -> bytes:
        if self._known and self._start:
            data, self._start = self._start[:size], self._start[size:]
            return data
        if self.eof or not self.ready:
            return b""
        try:
            data = os.read(self.fd, size)
        except BlockingIOError:
            return b""
        self.eof = not data
        return data

    def read(self, size: int = READ_BYTES) -> bytes:
        """Up to ``size`` bytes; empty where there are none now."""
        if self.problem:
            self.eof = True
            return b""
        while not self._known:
            more = self._pull(size)
            self._start += more
            self._known = self.eof or len(self._start) >= MAGIC_BYTES
            if self._known:
                self._reader = reader_for(self._start, self._pull)
                return self.read(size)
            if not more:
                return b""
        data = self._pull(size) if self._reader is None else self._reader.read(size)
        self.offset += len(data)
        return data

    def close(self) -> None:
        """Close the descriptor, and let go of the reader that pulls from it."""
        os.close(self.fd)
        self._reader = None


class _AnySplitter:
    """Lines or spread JSON, as the first bytes tell."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inner: LineSplitter | JsonSplitter | None = None

    def feed(self, chunk: bytes) -> list[RawLine]:
        if self._inner is None:
            self._inner = JsonSplitter(0, self._limit) if is_spread(chunk[:FORM_BYTES]) else LineSplitter(0, self._limit)
        return self._inner.feed(chunk)

    def finish(self) -> RawLine | None:
        return None if self._inner is None else self._inner.finish()


class PipeFile(LogFile):
    """A pipe among the log files. It is in no checkpoint."""

    transient = True

    def __init__(self, path: Path, number: int, counts: Counts, max_line_bytes: int = MAX_LINE_BYTES, *, follow: bool = False) -> None:
        """Take the path; the pipe is opened at the first read. ``follow``: a named pipe is opened again when its writer leaves."""
        super().__init__(FileState(str(path), -1, number, f"pipe:{path}", 0), counts, max_line_bytes)
        self._pipe: PipeStream | None = None
        self._follow = follow
        self._any_splitter = _AnySplitter(max_line_bytes)

    def open(self) -> None:
        """Open the pipe.

        Raises:
            OSError: it cannot be opened.
        """
        if self._pipe is None:
            self._pipe = PipeStream(self.path)

    @property
    def is_open(self) -> bool:
        """Whether a descriptor is held."""
        return self._pipe is not None

    @property
    def waiting(self) -> bool:
        """Whether more may come."""
        return not self.failed and (self._pipe is None or not self._pipe.eof)

    @property
    def descriptor(self) -> int | None:
        """What to wait on for more."""
        return self._pipe.fd if self._pipe is not None and not self._pipe.eof else None

    def poll_growth(self) -> bool:
        """Note that there is something to read."""
        if self._pipe is not None and not self._pipe.eof and self._pipe.ready:
            self.at_end = False
        return True

    def read_lines(self, limit: int, most_bytes: int = PORTION_BYTES) -> list[RawLine]:
        """Up to ``limit`` lines, and no more once they have ``most_bytes``; none where there are none now.

        Raises:
            OSError: the pipe cannot be read.
        """
        self.open()
        assert self._pipe is not None
        read = 0
        while len(self._ready) < limit and read < most_bytes and not self.at_end:
            chunk = self._pipe.read()
            read += len(chunk)
            self._ready.extend(self._any_splitter.feed(chunk) if chunk else ())
            self.at_end = not chunk
        if self.at_end and self._pipe.eof and not self.final:
            self.final = True
            self.problem = self._pipe.problem or ("truncated-gzip" if self._pipe.incomplete else "")
            rest = self._any_splitter.finish()
            self._ready.extend([rest] if rest is not None else [])
            if self._follow and self._pipe.named and not self.problem:
                self._open_again()
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    def _open_again(self) -> None:
        self.close()
        self.open()
        self._any_splitter = _AnySplitter(self._max_line_bytes)
        self.state.occurrence += 1
        self.key, self.final = self.state.key, False

    def close(self) -> None:
        """Close the descriptor."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
