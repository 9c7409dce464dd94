"""Connections with bounds on their number, their idleness and their unread answers, over uvicorn's HTTP/1.1 protocol.

A connection waits while it has no whole request that is being answered: it was just opened, dribbles a header or a body, or
leaves an answer unread. When there are too many, those that wait longest are cut, so that whoever comes anew and asks at once
is answered (uvicorn by itself refuses the newcomer, and has no limit on the time that a header may take).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 12_000
SPARE_DESCRIPTORS = 200
"""Open files that are left to everything else: each connection takes one."""
HEAD_SECONDS = 20.0
LAST_SECONDS = 2.0
"""How long a request that is still being sent has at the end of the service."""
MAX_UNREAD_BYTES = 32 << 20


class Connection(H11Protocol):
    """A connection that is cut if it waits too long, longest of too many, or leaves the oldest of too large answers unread."""

    most = MAX_CONNECTIONS
    _timer: asyncio.TimerHandle | None = None
    _order: dict[Connection, None] = {}  # noqa: RUF012 - by age, shared by all connections of the process
    _unread: dict[Connection, None] = {}  # noqa: RUF012 - those whose answers do not leave, likewise

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it; cut the one that waits longest if there are too many."""
        super().connection_made(transport)
        self._order[self] = None
        if len(self._order) > self.most:
            oldest = next((one for one in self._order if one.waits), self)
            self._order.pop(oldest)
            oldest.transport.abort()
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._order.pop(self, None)
        self._unread.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Its answer does not leave: cut those that have been so longest, until what is held is little enough."""
        super().pause_writing()
        self._unread[self] = None
        held = sum(one.unread for one in self._unread)
        for oldest in list(self._unread)[:-1]:
            if held <= MAX_UNREAD_BYTES:
                break
            held -= oldest.unread
            self._unread.pop(oldest)
            oldest.transport.abort()

    def resume_writing(self) -> None:
        """Its answer left."""
        self._unread.pop(self, None)
        super().resume_writing()

    def shutdown(self) -> None:
        """Answer what was asked; a request that is still being sent has a moment."""
        super().shutdown()
        if self.waits:
            asyncio.get_running_loop().call_later(LAST_SECONDS, self._cut_if_waiting)

    def _cut_if_waiting(self) -> None:
        if self.waits:
            self.transport.abort()

    @property
    def waits(self) -> bool:
        """Whether no whole request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    @property
    def unread(self) -> int:
        """Bytes of the answer that the client has not taken."""
        return self.transport.get_write_buffer_size()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._look, self.cycle, self.unread)

    def _look(self, asked: Any, unread: int) -> None:
        """Cut it if nothing came of the time: no new request, or an answer of which nothing was read."""
        stuck = 0 < unread <= self.unread
        if stuck or (self.waits and self.cycle is asked):
            self.transport.abort()
        else:
            self._arm()
