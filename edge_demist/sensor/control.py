"""Signals, waiting, and talking to the service manager (sd_notify)."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType

from edge_demist.sensor.sources.timestamps import format_time

MOST_SILENCE_S = 5.0
"""Between two pings, however patient the watchdog is: who listens learns of a hang early."""


class Control:
    """Flags set by signals; waiting ends early when one arrives."""

    def __init__(self) -> None:
        """Without signals installed: a test sets the flags itself."""
        self.stop = False
        self.interrupted = False
        self.reload = False
        self._pipe: tuple[int, int] | None = None

    def install(self) -> None:
        """Catch SIGTERM, SIGINT and SIGHUP."""
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True
            self.interrupted = self.interrupted or number == signal.SIGINT

    def wait(self, seconds: float, also: Sequence[int] = ()) -> None:
        """Sleep, or until the next signal, or until one of the descriptors ``also`` has something to read."""
        if self.stop or self.reload:
            return
        own = [] if self._pipe is None else [self._pipe[0]]
        if not own and not also:
            time.sleep(max(0.0, seconds))
        elif (woken := select.select([*own, *also], [], [], max(0.0, seconds))[0]) and own and own[0] in woken:
            os.read(own[0], 512)

    def pause(self, seconds: float) -> None:
        """Sleep whatever was asked for: between the last attempts before a stop."""
        time.sleep(seconds)

    def close(self) -> None:
        """Give the signals back."""
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            for fd in self._pipe:
                os.close(fd)
            self._pipe = None


class ServiceManager:
    """The sd_notify protocol (systemd's sd_notify(3)): one datagram a message, to ``$NOTIFY_SOCKET``."""

    def __init__(self) -> None:
        """Read the environment once."""
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = os.environ.get("WATCHDOG_USEC", "")
        self._ping_every = min(MOST_SILENCE_S, int(usec) / 3e6) if usec.isdigit() else 0.0
        self._last_ping = 0.0
        self._last_status = ""

    def tell(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1``; silently nothing without a service manager."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            return

    def ping(self) -> None:
        """Keep the watchdog quiet, as often as it wants."""
        now = time.monotonic()
        if self._ping_every and now - self._last_ping >= self._ping_every:
            self._last_ping = now
            self.tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        if text != self._last_status:
            self._last_status = text
            self.tell(f"STATUS={text}")


class Log:
    """Our own log on standard error: JSON lines for machines, or ``edge-demist: …`` for people."""

    def __init__(self, form: str = "json") -> None:
        """``json``, ``text`` or ``off``."""
        self._form = form

    def __call__(self, event: str, facts: dict[str, object]) -> None:
        """Write one line; control characters of file names and log content are escaped."""
        if self._form == "json":
            line = json.dumps({"time": format_time(time.time_ns() // 1000), "event": event, **facts}, default=str)
        elif self._form == "text":
            line = f"edge-demist: {event} " + " ".join(f"{k}={json.dumps(v, default=str)}" for k, v in facts.items())
        else:
            return
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
