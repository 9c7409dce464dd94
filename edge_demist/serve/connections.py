"""Connections with bounds on their number and their idleness, over uvicorn's HTTP/1.1 protocol.

A connection waits while it has no whole request that is being answered: it was just opened, dribbles a header or a body, or
leaves an answer unread. When there are too many, those that wait longest are cut, so that whoever comes anew and asks at once
is answered (uvicorn by itself refuses the newcomer, and has no limit on the time that a header may take).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 10_000
HEAD_SECONDS = 20.0


class Connection(H11Protocol):
    """A connection that is cut if it waits too long, or longest of too many."""

    _timer: asyncio.TimerHandle | None = None
    _order: dict[Connection, None] = {}  # noqa: RUF012 - by age, shared by all connections of the process

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it; cut the one that waits longest if there are too many."""
        super().connection_made(transport)
        self._order[self] = None
        if len(self._order) > MAX_CONNECTIONS:
            oldest = next((one for one in self._order if one.waits), self)
            self._order.pop(oldest)
            oldest.transport.abort()
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._order.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    @property
    def waits(self) -> bool:
        """Whether no whole request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _arm(self) -> None:
        asked = self.cycle
        self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._look, asked, self._unread)

    @property
    def _unread(self) -> int:
        """Bytes of the answer that the client has not taken."""
        return self.transport.get_write_buffer_size()

    def _look(self, asked: Any, unread: int) -> None:
        """Cut it if nothing came of the time: no new request, or an answer of which nothing was read."""
        stuck = 0 < unread <= self._unread
        if stuck or (self.waits and self.cycle is asked):
            self.transport.abort()
        else:
            self._arm()
