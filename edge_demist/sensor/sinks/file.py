"""Events to a file: durable, rotating, found whole again after a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge_demist.sensor.events import Entry
from edge_demist.sensor.sinks.formats import lines, zeek_header
from edge_demist.sensor.storage import Disk

MAX_RECOVERY_BYTES = 64 << 20
_BLOCK = 1 << 16
_Notify = Callable[[str, dict[str, object]], None]


class FileSink:
    """Appends lines to a file. What was written and not yet fsynced is kept, and written again after an error."""

    batch_only = False

    def __init__(
        self,
        path: Path,
        form: str = "jsonl",
        *,
        disk: Disk | None = None,
        append: bool = True,
        committed: Mapping[str, object] | None = None,
        rotate_bytes: int = 0,
        keep: int = 0,
        notify: _Notify = lambda _event, _facts: None,
    ) -> None:
        """Open and, when appending, mend what a crash left behind.

        Args:
            path: the file.
            form: ``jsonl``, ``eve`` or ``zeek``.
            disk: the file operations.
            append: False starts an empty file.
            committed: :meth:`position` at the last checkpoint; what follows it is checked line by line.
            rotate_bytes: rename the file once it is this long; 0 never.
            keep: how many rotated files to keep; 0 keeps all.
            notify: told about mended tails and rotations.

        Raises:
            OSError: the file cannot be opened.
        """
        self.path, self._form, self._disk, self._notify = path, form, disk or Disk(), notify
        self._rotate_bytes, self._keep = rotate_bytes, keep
        self._tail: list[bytes] = []
        self._unsynced = 0
        self._repeats: set[str] = set()
        self.repeats_dropped = 0
        self._fd = self._disk.open_append(path)
        self._synced = self._floor = 0
        self._torn = False
        if append:
            self._recover(committed or {})
        else:
            self._disk.truncate(self._fd, 0)
        self._begin_file()

    def _begin_file(self) -> None:
        if self._form == "zeek" and self._synced == 0:
            self._push(zeek_header().encode("ascii") + b"\n")

    # --- after a crash -----------------------------------------------------------------------------------------

    def _recover(self, committed: Mapping[str, object]) -> None:
        """Keep whole, readable lines behind the committed length, drop the rest; remember ids to drop repeats."""
        info = os.fstat(self._fd)
        same_file = (committed.get("device"), committed.get("inode")) == (info.st_dev, info.st_ino)
        known = int(str(committed.get("length", 0))) if same_file else 0
        start = known if 0 < known <= info.st_size else self._line_start(max(0, info.st_size - MAX_RECOVERY_BYTES))
        good = self._check_lines(start)
        self._synced, self._floor = good, start
        if good < info.st_size:
            self._disk.truncate(self._fd, good)
            self._notify("output-tail-cut", {"path": str(self.path), "bytes": info.st_size - good, "at": good})

    def _line_start(self, offset: int) -> int:
        """The first line start at or after an offset."""
        while offset and os.pread(self._fd, 1, offset - 1) not in (b"\n", b""):
            offset += 1
        return offset

    def _check_lines(self, offset: int) -> int:
        rest = b""
        position = offset
        while chunk := os.pread(self._fd, _BLOCK, position):
            position += len(chunk)
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if not self._check_line(line):
                    return offset
                offset += len(line) + 1
        return offset

    def _check_line(self, line: bytes) -> bool:
        identity = _identity(line, self._form)
        if identity:
            self._repeats.add(identity)
        return identity is not None

    # --- writing -----------------------------------------------------------------------------------------------

    def write(self, events: Sequence[Entry]) -> None:
        """Write out now, for readers who follow the file; an error is left to ``sync``."""
        for identity, line in lines(events, self._form):
            if identity in self._repeats:
                self._repeats.discard(identity)
                self.repeats_dropped += 1
                continue
            self._push(line)
        self._write_out()

    def write_lines(self, data: bytes) -> None:
        """Lines of a whole batch, already in form, of which none can be a repeat; as :meth:`write`."""
        self._push(data)
        self._write_out()

    def _write_out(self) -> None:
        try:
            self._drain()
        except OSError:
            self._torn = True

    def _push(self, line: bytes) -> None:
        self._tail.append(line)
        self._unsynced += len(line)

    def _drain(self) -> None:
        """Write the tail behind the synced part, from its beginning if an earlier attempt failed."""
        if self._torn:
            self._disk.truncate(self._fd, self._synced)
            self._chunk = self._written = 0
            self._torn = False
        fresh = self._chunk + (self._written > 0)
        self._tail[fresh:] = [b"".join(self._tail[fresh:])]
        while self._chunk < len(self._tail):
            data = self._tail[self._chunk]
            while self._written < len(data):
                self._written += self._disk.write(self._fd, memoryview(data)[self._written :])
            self._chunk, self._written = self._chunk + 1, 0

    _chunk = _written = 0
    """Pieces of the tail that are written whole, and bytes of the next one."""

    def sync(self) -> None:
        """Write and fsync. After a failed fsync the kernel may have dropped the pages, so all is written again."""
        if not self._unsynced and not self._torn:
            return
        try:
            self._drain()
            self._disk.fsync(self._fd)
            if self._synced == 0:
                self._disk.fsync_dir(self.path.parent)
        except OSError:
            self._torn = True
            raise
        self._synced += self._unsynced
        self._tail, self._unsynced, self._chunk, self._written = [], 0, 0, 0

    @property
    def backlog_bytes(self) -> int:
        """Bytes not yet durable."""
        return self._unsynced

    def position(self) -> dict[str, object]:
        """Device, inode and durable length; the length stays behind while repeats of a restart are still expected."""
        if not self._repeats or self._synced - self._floor > MAX_RECOVERY_BYTES:
            self._floor = self._synced
        info = os.fstat(self._fd)
        return {"device": info.st_dev, "inode": info.st_ino, "length": self._floor}

    def after_commit(self) -> None:
        """Rotate by size. Behind a checkpoint nothing is ever looked for in a rotated file; a failure waits its turn."""
        if not self._rotate_bytes or self._synced < self._rotate_bytes or self._unsynced:
            return
        if self._floor < self._synced < 2 * self._rotate_bytes:
            return
        try:
            self._rotate()
        except OSError as error:
            self._notify("output-not-rotated", {"path": str(self.path), "error": error.strerror or str(error)})

    def _rotate(self) -> None:
        if self.path.exists():
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            rotated = self.path.with_name(f"{self.path.name}.{stamp}")
            self._disk.rename(self.path, rotated)
            self._notify("output-rotated", {"path": str(rotated)})
        fresh = self._disk.open_append(self.path)
        self._disk.close(self._fd)
        self._fd, self._synced, self._floor = fresh, 0, 0
        self._begin_file()
        self._drop_old()

    def _drop_old(self) -> None:
        if self._keep:
            rotated = sorted(p for p in self.path.parent.glob(f"{self.path.name}.2*Z") if p.is_file())
            for path in rotated[: -self._keep]:
                path.unlink()

    def close(self) -> None:
        """Close the file."""
        self._disk.close(self._fd)

    abandon = close


_ID_AT = {"ecs": ("event", "id"), "ocsf": ("metadata", "uid")}


def _identity(line: bytes, form: str) -> str | None:
    """The event id on a line of ours; empty for a header; None if the line is damaged."""
    if form == "zeek":
        if line.startswith(b"#"):
            return ""
        columns = line.split(b"\t")
        whole = len(columns) == zeek_header().rpartition("\n")[2].count("\t") and line.isascii() and b"\0" not in line
        return columns[1].decode("ascii") if whole else None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    holder, name = _ID_AT.get(form, ("ml", "event_id"))
    body = value.get(holder, value)
    identity = body.get(name) if isinstance(body, dict) else None
    return identity if isinstance(identity, str) else ""
