"""The measuring loop: jobs run in turns, slice by slice, so that a slow minute of the machine hits all of them alike."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_demist.diagnostics import machine
from edge_demist.diagnostics.statistics import Summary, summarize

Call = Callable[[], object]


@dataclass
class Job:
    """Something to time: calls that are run one after the other, again and again.

    Attributes:
        name: what is measured.
        calls: each is one timing; all should do a comparable amount of work.
        strings: strings processed by one call.
        seconds: how long to measure, over all slices together.
        slices: timings in seconds, in the order taken.
        joules: energy of the processor packages during the slices; None where it cannot be read.
        switches: involuntary context switches during the slices.
    """

    name: str
    calls: Sequence[Call]
    strings: int
    seconds: float
    slices: list[NDArray[np.float64]] = field(default_factory=list)
    joules: float | None = 0.0
    switches: int = 0
    _next: Iterator[Call] | None = None

    def warm_up(self, seconds: float) -> None:
        """Run without timing for ``seconds``, at least two calls."""
        stop = time.perf_counter() + seconds
        for number, call in enumerate(itertools.cycle(self.calls)):
            call()
            if number and time.perf_counter() > stop:
                break

    def run_slice(self, seconds: float) -> None:
        """Time calls for ``seconds`` (at least three) and keep the timings as one slice."""
        source = self._next = self._next or itertools.cycle(self.calls)
        clock = time.perf_counter
        timings: list[float] = []
        before = machine.Moment.now()
        stop = clock() + seconds
        now = clock()
        while now < stop or len(timings) < 3:
            call = next(source)
            began = clock()
            call()
            now = clock()
            timings.append(now - began)
        after = machine.Moment.now()
        used = machine.energy_between(before, after)
        self.joules = None if used is None or self.joules is None else self.joules + used
        self.switches += after.switches - before.switches
        self.slices.append(np.array(timings))

    @property
    def summary(self) -> Summary:
        """Summary of all slices."""
        return summarize(self.slices)


def run_in_turns(jobs: Sequence[Job], slices: int, on_slice: Callable[[Job, int], None] | None = None) -> None:
    """Warm every job up, then measure all of them in turns, ``slices`` times each.

    The garbage collector rests meanwhile. The order turns round from slice to slice, so that no job always follows
    the same neighbour.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for job in jobs:
            job.warm_up(min(0.1, job.seconds / 4))
        for number in range(slices):
            for job in jobs if number % 2 == 0 else reversed(jobs):
                job.run_slice(job.seconds / slices)
                if on_slice is not None:
                    on_slice(job, number)
    finally:
        if enabled:
            gc.enable()


def batches(items: Sequence[str], size: int) -> list[list[str]]:
    """Cut ``items`` into whole batches of ``size``; none if there are fewer items than that."""
    return [list(items[i : i + size]) for i in range(0, len(items) - size + 1, size)]
