"""What survives a crash: per file, how far its events are durable, and the state that goes with that place.

Two files in the state folder, each replaced as a whole: ``checkpoint.json`` (files being read, output position, alarm
state) at every commit, ``finished.json`` (files read to their end) only when one more is finished. Losing the folder
loses nothing but the place: everything is read again, under the same event ids.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edge_demist.errors import EdgeDemistError
from edge_demist.io import read_bounded
from edge_demist.sensor.storage import Disk

FORMAT = 1
MAX_STATE_BYTES = 256 << 20
DEPTH, MANY, PIECE_BYTES = 3, 64, 1 << 20
"""Objects down to this depth are written key by key, longer lists in parts, about so many bytes at once: never all of the text."""
MAX_PATH = 4096
MAX_PARSER_KEYS = 16
MAX_PARSER_VALUE = 1 << 17
MAX_SECONDS = 1 << 40
_RANGES = (
    ("device", 0, (1 << 64) - 1),
    ("inode", 0, (1 << 64) - 1),
    ("head_bytes", 0, 1 << 16),
    ("occurrence", 0, 1 << 32),
    ("offset", 0, 1 << 62),
    ("size", -1, 1 << 62),
    ("mtime_ns", -(1 << 63), 1 << 63),
    ("clock_us", -(1 << 62), 1 << 62),
)


class StateError(EdgeDemistError):
    """The state folder cannot be used."""


_SUM = b',"sum":"'
_HEAD, _TAIL = b'{"format":%d,"body":' % FORMAT, _SUM + b'%s"}\n'


@dataclass(slots=True)
class FileState:
    """The place in one file. Sizes and offsets are bytes (offsets: uncompressed), times nanoseconds."""

    path: str
    device: int
    inode: int
    fingerprint: str
    head_bytes: int
    occurrence: int = 0
    offset: int = 0
    size: int = 0
    mtime_ns: int = 0
    unterminated: bool = False
    clock_us: int = 0
    parser: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse values that :class:`CheckpointStore` never wrote; the checksum proves nothing about who wrote the file.

        Raises:
            ValueError: names the value.
        """
        if type(self.path) is not str or not 0 < len(self.path) <= MAX_PATH or "\0" in self.path:
            raise ValueError("a path is no path")
        if type(self.fingerprint) is not str or not re.fullmatch("[0-9a-f]{64}", self.fingerprint):
            raise ValueError("a fingerprint is no SHA-256")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} is not a whole number from {low} to {high}")
        if type(self.unterminated) is not bool:
            raise ValueError("unterminated is neither true nor false")
        if type(self.parser) is not dict or len(self.parser) > MAX_PARSER_KEYS:
            raise ValueError("parser is no table")
        for key, value in self.parser.items():
            if type(key) is not str or type(value) is not str or not key.isascii() or len(value) > MAX_PARSER_VALUE:
                raise ValueError("parser holds what no parser keeps")
            value.encode("latin-1")  # UnicodeEncodeError is a ValueError

    @property
    def key(self) -> str:
        """The identity that event ids are made from: content, not name, so that it outlives rotation."""
        return hashlib.sha256(f"{self.fingerprint}:{self.occurrence}".encode()).hexdigest()


@dataclass(slots=True)
class Checkpoint:
    """Everything a restart needs."""

    active: list[FileState] = field(default_factory=list)
    finished: list[FileState] = field(default_factory=list)
    output: dict[str, object] = field(default_factory=dict)
    alarms: dict[str, object] = field(default_factory=dict)
    memory: dict[str, object] = field(default_factory=dict)
    neighbours: dict[str, object] = field(default_factory=dict)
    incidents: dict[str, object] = field(default_factory=dict)
    drift: dict[str, object] = field(default_factory=dict)
    occurrences: dict[str, int] = field(default_factory=dict)
    bundle_id: str = ""
    committed_at: float = 0.0


class CheckpointStore:
    """Reads and writes checkpoints in a folder that one process at a time may hold."""

    def __init__(self, folder: Path, disk: Disk | None = None, *, read_only: bool = False) -> None:
        """Take the folder (made if absent) and its lock.

        Raises:
            StateError: another process holds it, or it cannot be made.
        """
        self.folder = folder
        self._disk = disk or Disk()
        self._lock = -1
        if not read_only:
            self._acquire()

    def _acquire(self) -> None:
        import fcntl  # not there on Windows, where the module is imported for its help

        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise StateError(f"{self.folder}: another edge-demist watch uses this state folder; stop it or give another --state") from error
        except OSError as error:
            raise StateError(f"{self.folder}: cannot use it as state folder: {error.strerror}") from error

    def load(self) -> tuple[Checkpoint, list[str]]:
        """The last checkpoint (a fresh one if none), and what was wrong with a file that had to be set aside."""
        problems: list[str] = []
        checkpoint = Checkpoint()
        for name, take in (("checkpoint.json", _take_main), ("finished.json", _take_finished)):
            try:
                take(checkpoint, self._read(name, problems))
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                self._set_aside(name, f"unexpected content ({error})", problems)
        live = {f.key for f in checkpoint.active}
        checkpoint.finished = [f for f in checkpoint.finished if f.key not in live]
        return checkpoint, problems

    def _read(self, name: str, problems: list[str]) -> Mapping[str, object]:
        path = self.folder / name
        try:
            raw = read_bounded(path, MAX_STATE_BYTES)
            if raw is None:
                raise ValueError(f"over {MAX_STATE_BYTES} bytes")
            found = _sum_of_file(raw)
            value = json.loads(raw)
            del raw
            if not isinstance(value, dict) or value.get("format") != FORMAT:
                raise ValueError(f"not of format {FORMAT}")
            if value.get("sum") != (found or _sum(value["body"])):
                raise ValueError("checksum does not match")
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, RecursionError, OSError) as error:
            if isinstance(error, OSError) and stat.S_ISREG(path.lstat().st_mode):
                raise StateError(f"{path}: cannot be read: {error.strerror}") from error
            self._set_aside(name, getattr(error, "strerror", None) or str(error), problems)
            return {}
        body = value["body"]
        return body if isinstance(body, dict) else {}

    def _set_aside(self, name: str, why: str, problems: list[str]) -> None:
        problems.append(f"{self.folder / name}: {why}; kept as {name}.bad, reading starts again from the beginning")
        if self._lock >= 0:
            (self.folder / name).rename(self.folder / f"{name}.bad")

    def commit(self, checkpoint: Checkpoint, *, finished_changed: bool = True) -> None:
        """Write durably. Finished files first: a file found in both places counts as active.

        Raises:
            OSError: the disk would not take it; the old checkpoint still stands.
        """
        if finished_changed:
            done = {"files": [asdict(f) for f in checkpoint.finished], "occurrences": checkpoint.occurrences}
            self._disk.replace_file(self.folder / "finished.json", _encoded(done), own=True)
        body = {
            "files": [asdict(f) for f in checkpoint.active],
            "output": checkpoint.output,
            "alarms": checkpoint.alarms,
            "memory": checkpoint.memory,
            "incidents": checkpoint.incidents,
            "drift": checkpoint.drift,
            "neighbours": checkpoint.neighbours,
            "bundle_id": checkpoint.bundle_id,
            "committed_at": checkpoint.committed_at,
        }
        self._disk.replace_file(self.folder / "checkpoint.json", _encoded(body), own=True)

    def close(self) -> None:
        """Give the folder back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _sum(body: object) -> str:
    digest = hashlib.sha256()
    for part in _parts(body, DEPTH):
        digest.update(part.encode())
    return digest.hexdigest()


def _parts(value: object, depth: int) -> Iterator[str]:
    """The text of a value in pieces, so that a large one is never there as a whole; keys in order."""
    if isinstance(value, list) and len(value) > MANY:
        for n in range(0, len(value), MANY):
            yield ("," if n else "[") + json.dumps(value[n : n + MANY], separators=(",", ":"), sort_keys=True)[1:-1]
        yield "]"
        return
    if not depth or not isinstance(value, dict):
        yield json.dumps(value, separators=(",", ":"), sort_keys=True)
        return
    begin = "{"
    for key in sorted(value):
        yield f"{begin}{json.dumps(key)}:"
        yield from _parts(value[key], depth - 1)
        begin = ","
    yield "}" if value else "{}"


def _encoded(body: object) -> Iterator[bytes]:
    """A file of the state folder in pieces: format, body, and the SHA-256 of the body's text behind it."""
    digest, held, size = hashlib.sha256(), [_HEAD], 0
    for part in _parts(body, DEPTH):
        raw = part.encode()
        digest.update(raw)
        held.append(raw)
        size += len(raw)
        if size > PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join([*held, _TAIL % digest.hexdigest().encode()])


def _sum_of_file(raw: bytes) -> str | None:
    """The SHA-256 of a body's text as it stands in a file of ours; None for files that were not written so."""
    end = len(raw) - len(_TAIL % (b"0" * 64))
    if not raw.startswith(_HEAD) or raw[end : end + len(_SUM)] != _SUM:
        return None
    return hashlib.sha256(memoryview(raw)[len(_HEAD) : end]).hexdigest()


def _files(source: Mapping[str, object]) -> list[FileState]:
    items = source.get("files", [])
    if not isinstance(items, list):
        raise TypeError("files is not a list")
    found = [FileState(**item) for item in items]
    for state in found:
        state.check()
    return found


def _table(source: Mapping[str, object], name: str) -> dict[str, object]:
    value = source.get(name, {})
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object")
    return value


def _take_main(checkpoint: Checkpoint, body: Mapping[str, object]) -> None:
    """Take what ``checkpoint.json`` says, all of it or nothing."""
    output = _table(body, "output")
    if set(output) - {"device", "inode", "length"} or any(type(n) is not int or not 0 <= n < 1 << 64 for n in output.values()):
        raise ValueError("output is no place in a file")
    committed = body.get("committed_at", 0.0)
    if type(committed) not in (int, float) or not 0 <= float(str(committed)) < MAX_SECONDS:
        raise ValueError("committed_at is no time")
    active, tables = _files(body), [_table(body, name) for name in ("alarms", "memory", "incidents", "drift", "neighbours")]
    checkpoint.active, checkpoint.output = active, output
    checkpoint.alarms, checkpoint.memory, checkpoint.incidents, checkpoint.drift, checkpoint.neighbours = tables
    checkpoint.bundle_id, checkpoint.committed_at = str(body.get("bundle_id", ""))[:64], float(str(committed))


def _take_finished(checkpoint: Checkpoint, body: Mapping[str, object]) -> None:
    """Take what ``finished.json`` says, all of it or nothing."""
    occurrences = _table(body, "occurrences")
    if any(type(count) is not int or not 0 <= count < 1 << 32 for count in occurrences.values()):
        raise ValueError("occurrences holds what is no count")
    checkpoint.finished = _files(body)
    checkpoint.occurrences = {name: int(str(count)) for name, count in occurrences.items()}


def is_disk_trouble(error: OSError) -> bool:
    """Whether waiting may help: no space, over quota, read-only or failing device."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOBUFS, errno.EAGAIN)
