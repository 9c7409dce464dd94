"""What every sink offers.

A sink takes events with ``write`` and makes them durable with ``sync``; only then may the checkpoint move. A sink that
cannot go on raises ``OSError`` and keeps what it has: calling ``sync`` again tries again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_demist.sensor.events import Entry


class Sink(Protocol):
    """A destination of events."""

    batch_only: bool

    def write(self, events: Sequence[Entry]) -> None:
        """Take events; they may stay in memory until ``sync``."""

    def sync(self) -> None:
        """Make everything taken durable, or raise OSError and keep it."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes taken and not yet durable."""

    def position(self) -> dict[str, object]:
        """Where the durable part ends, for the checkpoint."""

    def after_commit(self) -> None:
        """The checkpoint has moved: a good moment to rotate."""

    def close(self) -> None:
        """End; everything was synced before."""

    def abandon(self) -> None:
        """End in the middle: give the descriptor back, finish nothing."""
