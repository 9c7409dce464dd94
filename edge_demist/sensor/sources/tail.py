"""Follows log files: hands their lines out oldest first, by log time (``scan`` says which files there are)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from edge_demist.sensor.sources.checkpoint import Checkpoint
from edge_demist.sensor.sources.lines import FileId, RawLine
from edge_demist.sensor.sources.log_file import LogFile
from edge_demist.sensor.sources.scan import Scanner

MAX_QUIET_FILES = 64
"""Files without a new line that are passed over in one turn."""
MAX_HELD_BYTES, WORTH_BYTES = 16 << 20, 32 << 10
"""What files at their ends may hold in memory together, and from what size on one of them gives it back beyond that."""
POLL_SHARE = 10.0
"""Looking at open files takes at most a tenth of the time."""


class Tailer(Scanner):
    """All files that are being read, and the order to read them in."""

    def poll(self) -> None:
        """Note growth of open files, without looking for new ones; with many files not at every turn."""
        began = time.monotonic()
        if began < self._poll_after:
            return
        for file_id, source in list(self.sources.items()):
            if source.is_open and not source.final:
                if not source.poll_growth():
                    self._retire(file_id, "truncated")
                else:
                    self._order.wake(source)
        now = time.monotonic()
        self._poll_after = now + POLL_SHARE * (now - began)

    def next_lines(
        self, limit: int, alone: Callable[[str, int], bool] = lambda _key, _offset: False
    ) -> tuple[LogFile, list[RawLine]] | None:
        """Lines of the file that is furthest behind in log time; None when all are read.

        No lines where much was read and none has ended: the caller has other things to do, too. One line at most where
        ``alone`` says so of a file's key and offset.
        """
        last = self._last_read
        if last is not None and self.sources.get(last.file_id) is last:  # by now its lines have been parsed
            self._let_go(last.file_id, last)
            self._order.wake(last)
        for quiet in range(MAX_QUIET_FILES):
            source = self._last_read = self._order.take(self.sources, may_open=not self._descriptors.all_taken)
            if source is None:
                return None
            try:
                lines = source.read_lines(1 if alone(source.key, source.state.offset) else limit)
            except OSError as error:
                self._problem(source.path, error)
                source.at_end = source.failed = True
                continue
            source.failed = False
            if not lines:
                self._let_go(source.file_id, source)
            if lines or not source.drained or quiet + 1 == MAX_QUIET_FILES:
                return source, lines
        return None

    def _let_go(self, file_id: FileId, source: LogFile) -> None:
        """A file read to its end, where there are more than may be open, or where all of them hold much and it does too.

        In one run it ends, else its descriptor is given back, and what it held of a line or of a header is read again when it grows.
        """
        heavy = source.count_held() > WORTH_BYTES and self._descriptors.held_bytes > MAX_HELD_BYTES
        if source.transient or not source.drained or not (heavy or self._descriptors.all_taken):
            return
        over = self._once or not source.present or (source.compressed and not source.incomplete)
        if over and source.final:
            self._finish(file_id, source)
        elif over:
            source.finalize()
        else:
            source.close()

    @property
    def others_wait(self) -> bool:
        """Whether there is a file to read beside the one that lines were taken from last."""
        return len(self._order) > 0

    @property
    def watermark_us(self) -> int | None:
        """The log time up to which all files have been read; None when all are read to their end."""
        clocks = [s.state.clock_us for s in self.sources.values() if not s.drained]
        return min(clocks) if clocks else None

    def snapshot(self) -> Checkpoint:
        """The places to commit; all lines handed out must have been dealt with.

        A file that has just become active is listed as finished too, with a size that no file has, so that it is looked
        at again: a crash between the writing of the two lists must not find it in neither.
        """
        return Checkpoint(
            active=[source.snapshot() for source in self.sources.values() if not source.transient],
            finished=[*self.finished.values(), *self._gone, *(replace(s, size=-1, parser={}) for s in self._returning)],
            occurrences=self._occurrences,
        )

    def committed(self) -> None:
        """The last snapshot is durable."""
        self.finished_changed = False
        self._returning.clear()

    @property
    def lag_bytes(self) -> int:
        """Bytes waiting in plain files."""
        return sum(source.lag_bytes for source in self.sources.values())

    @property
    def at_end(self) -> bool:
        """Whether there is nothing left to read, ever: pipes that ended, and no file or folder to watch."""
        return not self.sources and not self._paths

    def waiting_on(self) -> list[int]:
        """Descriptors of pipes that may bring more."""
        return [fd for source in self.sources.values() if (fd := source.descriptor) is not None]

    def close(self) -> None:
        """Close all files."""
        for source in self.sources.values():
            source.close()
