"""Events to standard output, a pipe or a device."""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import Callable, Sequence

from edge_demist.sensor.events import Entry
from edge_demist.sensor.sinks.formats import lines, zeek_header

READER_WAIT_MS = 1000
_BLOCK = 1 << 16


class StreamSink:
    """Lines to standard output, a pipe or a device; durable as far as the reader is."""

    batch_only = False

    def __init__(self, fd: int, form: str = "jsonl", *, own: bool = False) -> None:
        """Take a descriptor; ``own`` closes it at the end. ``breathe`` is called while a slow reader takes what there is."""
        self.breathe: Callable[[], None] = lambda: None
        self._fd, self._form, self._own = fd, form, own
        self._queue = zeek_header().encode("ascii") + b"\n" if form == "zeek" else b""

    def write(self, events: Sequence[Entry]) -> None:
        """Queue; ``sync`` writes."""
        self._queue += b"".join(line for _, line in lines(events, self._form))

    def write_lines(self, data: bytes) -> None:
        """Lines of a whole batch, already in form."""
        self._queue += data

    def sync(self) -> None:
        """Write everything; a reader that takes nothing for a second is waited for by whoever called.

        Raises:
            TimeoutError: the reader takes nothing now; what is left stays queued.
        """
        done, view = 0, memoryview(self._queue)
        block = _BLOCK if stat.S_ISREG(os.fstat(self._fd).st_mode) else select.PIPE_BUF  # so much never blocks a pipe that is ready
        waiting = select.poll()
        waiting.register(self._fd, select.POLLOUT)
        try:
            while done < len(view):
                if not waiting.poll(READER_WAIT_MS):
                    raise TimeoutError(errno.ETIMEDOUT, "the reader of the output takes nothing")
                done += os.write(self._fd, view[done : done + block])
                self.breathe()
        finally:
            view.release()
            self._queue = self._queue[done:]

    @property
    def backlog_bytes(self) -> int:
        """Bytes queued."""
        return len(self._queue)

    def position(self) -> dict[str, object]:
        """A stream has none."""
        return {}

    def after_commit(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Close the descriptor, unless it is the caller's."""
        if self._own:
            os.close(self._fd)

    abandon = close
