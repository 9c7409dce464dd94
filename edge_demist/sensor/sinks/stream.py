"""Events to standard output, a pipe or a device."""

from __future__ import annotations

import os
from collections.abc import Sequence

from edge_demist.sensor.events import Event
from edge_demist.sensor.sinks.formats import lines, zeek_header

_BLOCK = 1 << 16


class StreamSink:
    """Lines to standard output, a pipe or a device; durable as far as the reader is."""

    batch_only = False

    def __init__(self, fd: int, form: str = "jsonl", *, own: bool = False) -> None:
        """Take a descriptor; ``own`` closes it at the end."""
        self._fd, self._form, self._own = fd, form, own
        self._queue = zeek_header().encode("ascii") + b"\n" if form == "zeek" else b""

    def write(self, events: Sequence[Event]) -> None:
        """Queue; ``sync`` writes."""
        self._queue += b"".join(line for _, line in lines(events, self._form))

    def sync(self) -> None:
        """Write everything; blocks while the reader is slow."""
        while self._queue:
            self._queue = self._queue[os.write(self._fd, self._queue[:_BLOCK]) :]

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
