"""One log file being read: its identity, its place, its lines in order."""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from edge_demist.sensor.counters import Counts
from edge_demist.sensor.sources.checkpoint import FileState
from edge_demist.sensor.sources.json_splitter import JsonSplitter, is_spread
from edge_demist.sensor.sources.lines import MAX_LINE_BYTES, READ_BYTES, ByteStream, FileId, LineSplitter, Moved, RawLine
from edge_demist.sensor.sources.parser import LineParser

HEAD_BYTES = 1 << 16
FORM_BYTES = 256
SPARE_DESCRIPTORS, USUAL_DESCRIPTORS = 8, 32
_TELLING = re.compile(rb"[^\s\[{]")
PORTION_BYTES = 1 << 18
"""Bytes of the lines handed out at once; the last one may go beyond."""
MAX_READ_BYTES = 8 << 20
"""Bytes read for one portion, where a line or a gzip does not end."""
MAX_KEPT_HEADER = 1 << 16
"""A larger header of a file that is closed is read again from the file."""
MAX_HEADER_SEARCH = 8 << 20
MAX_WIDE = 6
"""zstd files that are open at a time."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The beginning of a file, up to its first record: what tells one log file from another."""

    fingerprint: str
    size: int
    complete: bool
    clock_us: int
    problem: str = ""


def read_fingerprint(path: Path, file_id: FileId | None = None) -> Fingerprint:
    """Read and hash a file's first lines, at most 64 KiB.

    Raises:
        Moved: the name no longer stands for ``file_id``.
        OSError: the file cannot be read.
    """
    stream = ByteStream(path, 0, file_id)
    try:
        data = b""
        while len(data) < HEAD_BYTES and not _end_of_first_record(data):
            more = stream.read(min(4096, HEAD_BYTES - len(data)))
            if not more:
                break
            data += more
        problem, paused = stream.problem, stream.paused
    finally:
        stream.close()
    end = _end_of_first_record(data)
    complete = end > 0 or len(data) >= HEAD_BYTES or paused
    head = data[: end or HEAD_BYTES]
    return Fingerprint(hashlib.sha256(head).hexdigest(), len(head), complete, _clock(path.name, head), problem)


def hash_start(path: Path, size: int, file_id: FileId | None = None) -> tuple[str, bool]:
    """SHA-256 of the first ``size`` uncompressed bytes, and whether offsets are not places in the file.

    Raises:
        Moved: the name no longer stands for ``file_id``.
        OSError: the file cannot be read.
    """
    stream = ByteStream(path, 0, file_id)
    try:
        data = b""
        while len(data) < size and (more := stream.read(size - len(data))):
            data += more
        return hashlib.sha256(data).hexdigest(), stream.translated
    finally:
        stream.close()


def _first_bytes(path: Path, file_id: FileId | None) -> bytes:
    stream, data = ByteStream(path, 0, file_id), b""
    try:
        while len(data) < FORM_BYTES and (more := stream.read(FORM_BYTES - len(data))):
            data += more
        return data
    finally:
        stream.close()


def _end_of_first_record(data: bytes) -> int:
    begin = 0
    while (end := data.find(b"\n", begin)) >= 0:
        if not data.startswith(b"#", begin) and _TELLING.search(data, begin, end):
            return end + 1
        begin = end + 1
    return 0


def _clock(name: str, head: bytes) -> int:
    parser, clock = LineParser(name), 0
    for line in head.split(b"\n"):
        record = parser.parse(line)
        if record is not None and not isinstance(record, str):
            clock = record.time_us or 0
    return clock


@dataclass(slots=True)
class Descriptors:
    """How many log files are held open, and how many may be; and what they hold in memory."""

    most: int = 1 << 16
    count: int = 0
    wide: int = 0
    """How many of the open files are zstd, which may take ``MAX_ZSTD_WINDOW`` of memory each."""
    held_bytes: int = 0
    """Unfinished lines and headers that all files hold in memory."""

    @property
    def all_taken(self) -> bool:
        """Whether none more may be opened."""
        return self.count >= self.most or self.wide >= MAX_WIDE


def free_descriptors() -> int:
    """How many files the process may open beside what it has open and will need itself."""
    import resource  # not there on Windows, where the module is imported for its help

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        held = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    except OSError:
        held = USUAL_DESCRIPTORS
    return 1 << 16 if soft < 0 else max(2, soft - held - SPARE_DESCRIPTORS)


class LogFile:
    """A log file with its parser; hands out lines and remembers the end of the last one handed out."""

    transient = False

    def __init__(
        self, state: FileState, counts: Counts, max_line_bytes: int = MAX_LINE_BYTES, descriptors: Descriptors | None = None
    ) -> None:
        """Continue at ``state``; the file is opened at the first read, and counted in ``descriptors`` while it is."""
        self._descriptors = descriptors or Descriptors()
        self.state, self.counts = state, counts
        self.key = state.key
        self.parser = LineParser(Path(state.path).name)
        self.at_end = False
        self.present = True
        self.final = False
        self.failed = False
        self.dated = False
        self.problem = ""
        self._max_line_bytes = max_line_bytes
        self._stream: ByteStream | None = None
        self._splitter: LineSplitter | JsonSplitter = LineSplitter()
        self._ready: deque[RawLine] = deque()
        self._counted = 0
        self._header_due = False
        """Whether the header must be read again before the next line is handed out."""

    @property
    def path(self) -> Path:
        """Where the file is, or was last."""
        return Path(self.state.path)

    @property
    def file_id(self) -> FileId:
        """Device and inode."""
        return self.state.device, self.state.inode

    @property
    def is_open(self) -> bool:
        """Whether a descriptor is held."""
        return self._stream is not None

    @property
    def compressed(self) -> bool:
        """Whether the file is compressed (known once open)."""
        return self._stream is not None and self._stream.compressed

    @property
    def translated(self) -> bool:
        """Whether offsets are not places in the file (known once open)."""
        return self._stream is not None and self._stream.translated

    @property
    def waiting(self) -> bool:
        """Whether it cannot be told yet that this is the end: only for pipes."""
        return False

    @property
    def descriptor(self) -> int | None:
        """What to wait on for more: only for pipes."""
        return None

    @property
    def incomplete(self) -> bool:
        """Whether the file is a gzip that ended before its trailer."""
        return self._stream is not None and self._stream.incomplete

    def open(self) -> None:
        """Open and go to the remembered place.

        Raises:
            Moved: the name stands for another file by now; also one that has got the same inode.
            OSError: the file cannot be opened.
        """
        if self._stream is not None:
            return
        stream = ByteStream(self.path, self.state.offset, self.file_id)
        try:  # the descriptor is held, so that the inode cannot become another file's between here and there
            if hash_start(self.path, self.state.head_bytes, self.file_id)[0] != self.state.fingerprint:
                raise Moved(self.path)
            spread = is_spread(_first_bytes(self.path, self.file_id))
            if self.state.parser:
                self.parser.restore(self.state.parser)
            else:
                self._header_due = self.state.offset > 0 and not spread
        except OSError:
            stream.close()
            raise
        self._stream = stream
        self._descriptors.count += 1
        self._descriptors.wide += stream.is_wide
        if spread:
            self._splitter = JsonSplitter(self.state.offset, self._max_line_bytes)
        else:
            self._splitter = LineSplitter(self.state.offset, self._max_line_bytes, self.state.unterminated)

    def _recover_header(self) -> None:
        """Read the header again where the checkpoint has none, from the first megabytes of the file."""
        stream, splitter = ByteStream(self.path, 0, self.file_id), LineSplitter(0, self._max_line_bytes)
        try:
            while splitter.offset < min(self.state.offset, MAX_HEADER_SEARCH):
                chunk = stream.read(min(READ_BYTES, self.state.offset - splitter.offset))
                if not chunk:
                    break
                for line in splitter.feed(chunk):
                    if line.data is not None and not line.data.startswith(b"{"):
                        self.parser.parse(line.data)
        finally:
            stream.close()

    def head_matches(self) -> bool:
        """Whether the open file still begins as it did (it does not after copy-and-truncate)."""
        if self._stream is None or self._stream.translated:
            return True
        head = os.pread(self._stream.fd, self.state.head_bytes, 0)
        return hashlib.sha256(head).hexdigest() == self.state.fingerprint

    def poll_growth(self) -> bool:
        """Note new data behind the end; False if the file shrank or was overwritten."""
        if self._stream is None:
            return True
        info = os.fstat(self._stream.fd)
        changed = (info.st_size, info.st_mtime_ns) != (self.state.size, self.state.mtime_ns)
        if changed and not self._stream.compressed:
            if info.st_size < self._stream.raw_offset or not self.head_matches():
                return False
            self.at_end = False
        elif changed:
            self.at_end = False
        self.state.size, self.state.mtime_ns = info.st_size, info.st_mtime_ns
        return True

    def read_lines(self, limit: int, most_bytes: int = PORTION_BYTES) -> list[RawLine]:
        """Up to ``limit`` lines, and no more once they have ``most_bytes``. The place moves to the end of the last one.

        None at the end, and none (without being at the end) where much was read and no line has ended.

        Raises:
            OSError: the file cannot be read.
        """
        self.open()
        assert self._stream is not None
        read = 0
        while len(self._ready) < limit and read < MAX_READ_BYTES and not self.at_end:
            if self._ready and (read >= most_bytes or self._ready[-1].end - self._ready[0].start >= most_bytes):
                break
            chunk = self._stream.read()
            if not chunk and self._stream.paused:
                break
            if not chunk:
                self.at_end = True
                self._note_end()
                break
            read += len(chunk)
            self._ready.extend(self._splitter.feed(chunk))
        if self._ready and self._header_due:
            self._recover_header()
            self._header_due = False
        lines: list[RawLine] = []
        taken = 0
        while self._ready and len(lines) < limit and taken < most_bytes:
            lines.append(self._ready.popleft())
            taken += len(lines[-1].data or b"")
        if lines:
            self.state.offset = lines[-1].end
            self.state.unterminated = not lines[-1].terminated
        return lines

    @property
    def held_bytes(self) -> int:
        """Memory taken by an unfinished line and the header."""
        return self._splitter.held_bytes + self.parser.held_bytes

    def count_held(self) -> int:
        """What it holds once the lines handed out have been parsed, told to those who sum it up."""
        held = self.held_bytes if self._stream is not None else 0
        self._descriptors.held_bytes += held - self._counted
        self._counted = held
        return held

    def _note_end(self) -> None:
        assert self._stream is not None
        self.problem = self._stream.problem or ("truncated-gzip" if self._stream.incomplete and self.final else "")
        if self.final or self._stream.problem:
            rest = self._splitter.finish()
            if rest is not None:
                self._ready.append(rest)

    @property
    def drained(self) -> bool:
        """Whether everything there is has been handed out."""
        return self.at_end and not self._ready

    def finalize(self) -> None:
        """The file will not grow: hand out an unterminated last line too."""
        if not self.final:
            self.final = True
            self.at_end = False

    @property
    def lag_bytes(self) -> int:
        """Bytes of a plain file not yet read."""
        return 0 if self.translated else max(0, self.state.size - self.state.offset)

    def snapshot(self) -> FileState:
        """The state to commit."""
        self.state.parser = self.parser.state()
        return self.state

    def close(self) -> None:
        """Give the descriptor back; the state stays."""
        if self._stream is not None:
            if self.parser.held_bytes > MAX_KEPT_HEADER:
                self.parser = LineParser(self.path.name)  # the file has it
            self.state.parser = self.parser.state()
            self._splitter = LineSplitter()
            self._stream.close()
            self._descriptors.count -= 1
            self._descriptors.wide -= self._stream.is_wide
            self._stream = None
            self.count_held()
            self._ready.clear()
