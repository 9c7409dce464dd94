"""Events to a local syslog socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from edge_demist.sensor.events import Entry
from edge_demist.sensor.sinks.formats import syslog


class SyslogSink:
    """RFC 5424 messages to a local datagram socket (RFC 5424 leaves the transport open; no network is used)."""

    batch_only = False

    def __init__(self, path: str) -> None:
        """Remember the socket's path; it is connected when needed. ``breathe`` is called between two messages."""
        self.breathe: Callable[[], None] = lambda: None
        self._path = path
        self._queue: list[bytes] = []
        self._socket: socket.socket | None = None

    def write(self, events: Sequence[Entry]) -> None:
        """Queue messages."""
        self._queue.extend(syslog(event) for event in events)

    def sync(self) -> None:
        """Send all; a missing or full socket raises and keeps the rest.

        Raises:
            OSError: nobody listens, or the buffer is full.
        """
        sent = 0
        try:
            for message in self._queue:
                self._send(message)
                sent += 1
                self.breathe()
        except OSError:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            raise
        finally:
            del self._queue[:sent]

    def _send(self, message: bytes) -> None:
        if self._socket is None:
            fresh = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            fresh.settimeout(1.0)
            try:
                fresh.connect(self._path)
            except OSError:
                fresh.close()
                raise
            self._socket = fresh
        self._socket.send(message)

    @property
    def backlog_bytes(self) -> int:
        """Bytes queued."""
        return sum(map(len, self._queue))

    def position(self) -> dict[str, object]:
        """A socket has none."""
        return {}

    def after_commit(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()

    abandon = close
