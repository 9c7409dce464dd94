"""Waiting for a disk or a reader that refuses, without losing what is to be written."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_demist.sensor.control import Control, ServiceManager
from edge_demist.sensor.sources.checkpoint import is_disk_trouble

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0
TRIES_AFTER_STOP = 5
LONGEST_AFTER_STOP_S = 2.0


class Stopped(Exception):
    """A stop was asked for while the disk would not take data; the checkpoint has not moved."""


class Abandoned(Exception):
    """A stop was asked for in the middle of long work; the checkpoint has not moved."""


class Retry:
    """Does one thing after the other, each for as long as it takes; counts the waits."""

    def __init__(
        self,
        control: Control,
        manager: ServiceManager,
        log: Callable[[str, dict[str, object]], None],
        meanwhile: Callable[[], None],
    ) -> None:
        """``meanwhile`` is called once a wait."""
        self._control, self._manager, self._log, self._meanwhile = control, manager, log, meanwhile
        self.waits = 0

    def until_done(self, action: Callable[[], None], temporary: Callable[[OSError], bool] = is_disk_trouble) -> None:
        """Do it, however long the disk or the reader refuses; say so, keep the watchdog quiet.

        Raises:
            Stopped: a stop was asked for and the last tries failed, too.
            OSError: waiting would not help.
        """
        delay, tries_left, give_up = FIRST_DELAY_S, TRIES_AFTER_STOP, 0.0
        while True:
            try:
                action()
            except BrokenPipeError:
                raise
            except OSError as error:
                if not temporary(error):
                    raise
                self._tell(error, delay)
                if self._control.stop:
                    tries_left -= 1
                    give_up = give_up or time.monotonic() + LONGEST_AFTER_STOP_S
                    if tries_left < 0 or time.monotonic() > give_up:
                        raise Stopped from error
                    self._control.pause(min(delay, 0.5))
                self._control.wait(delay)
                self._manager.ping()
                self._meanwhile()
                delay = min(delay * 2, MAX_DELAY_S)
            else:
                if delay > FIRST_DELAY_S:
                    self._log("output-takes-data-again", {})
                    self._manager.status("running")
                return

    def _tell(self, error: OSError, delay: float) -> None:
        self.waits += 1
        self._log("waiting-for-output", {"error": error.strerror or str(error), "retry_in_s": delay})
        self._manager.status(f"waiting: {error.strerror or error}")
