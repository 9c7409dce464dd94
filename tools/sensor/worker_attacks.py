"""Hostile cases for ``watch --threads N`` in ``tools.sensor.siege``: what becomes of worker processes, and of whoever waits for them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tools.sensor import attacks
from tools.sensor.attacks import HOST, Attack, head, row, scenario
from tools.sensor.limits import GROUPS, children

WORKERS = ("--threads", "3")
MB = 1 << 20


def _names(folder: Path, count: int) -> frozenset[str]:
    """Look-ups of as many names, all of which are owed."""
    with (folder / "dns.log").open("w") as log:
        log.write(head("dns", "query"))
        log.writelines(row(i, f"W{i}", f"host{i}.{HOST}") for i in range(count))
    return frozenset(f"W{i}" for i in range(count))


def _strike(every_s: float, times: int, number: int) -> Callable[[int, threading.Event], None]:
    """Send a signal to a worker, as often."""

    def harm(parent: int, over: threading.Event) -> None:
        chance, left = random.Random(parent), times
        while left and not over.wait(every_s):
            if workers := children(parent):
                left -= 1
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), number)

    return harm


@scenario
def workers_killed(folder: Path, scale: float) -> Attack:
    """Three workers, one of which is killed every half second, twenty times."""
    return Attack(_names(folder, int(20_000 * scale)), arguments=WORKERS, harm=_strike(0.5, 20, signal.SIGKILL))


@scenario
def workers_stopped(folder: Path, scale: float) -> Attack:
    """Three workers, two of which are stopped and never go on."""
    return Attack(_names(folder, int(20_000 * scale)), arguments=WORKERS, harm=_strike(3.0, 2, signal.SIGSTOP))


@scenario
def workers_faulted(folder: Path, scale: float) -> Attack:
    """Three workers, one of which ends by a fault in its memory every half second, twenty times."""
    return Attack(_names(folder, int(20_000 * scale)), arguments=WORKERS, harm=_strike(0.5, 20, signal.SIGSEGV))


@scenario
def workers_while_rotated_and_reloaded(folder: Path, scale: float) -> Attack:
    """Three workers, a log that rotates every half second, and SIGHUP as often."""
    count = int(40 * scale) + 3

    def act(over: threading.Event) -> None:
        current = folder / "dns.log"
        for i in range(count):
            with current.open("a") as log:
                log.write((head("dns", "query") if log.tell() == 0 else "") + row(i, f"R{i}", f"host{i}.{HOST}"))
            if over.wait(0.5):
                break
            current.rename(folder / f"dns.{i}.log")

    def harm(parent: int, over: threading.Event) -> None:
        over.wait(3.0)
        while not over.wait(0.5):
            os.kill(parent, signal.SIGHUP)

    return Attack(frozenset(f"R{i}" for i in range(count)), act, arguments=WORKERS, harm=harm)


@scenario
def workers_short_of_memory(folder: Path, scale: float) -> Attack:
    """Eight workers where there is room for two or three: the system kills some, again and again."""
    owed = _names(folder, int(10_000 * scale))
    return Attack(owed, arguments=("--threads", "8"), memory=110 * MB, workers_may_die=True)


@scenario
def workers_not_allowed(folder: Path, scale: float) -> Attack:
    """Three workers asked for where one process is all that may be."""

    def harm(parent: int, over: threading.Event) -> None:
        group = GROUPS / ("" if (GROUPS / "cgroup.controllers").exists() else "pids") / f"edge-demist-one-{parent}"
        try:
            group.mkdir()
            (group / "pids.max").write_text("1")
            (group / "cgroup.procs").write_text(str(parent))
        except OSError:
            return
        over.wait()
        with contextlib.suppress(OSError):
            group.rmdir()

    return Attack(_names(folder, int(5_000 * scale)), arguments=WORKERS, harm=harm)


@scenario
def workers_without_descriptors(folder: Path, scale: float) -> Attack:
    """Three workers with 24 open files for each process, standard input and output closed, SIGCHLD ignored."""
    owed = _names(folder, int(5_000 * scale))
    for i in range(int(200 * scale)):
        (folder / f"ssl.{i}.log").write_text(head("ssl", "server_name") + row(i, f"S{i}", "kernel.org"))
    shell = ("sh", "-c", 'ulimit -n 24; trap "" CHLD; exec "$@" <&- >&-', "sh")
    return Attack(owed | {f"S{i}" for i in range(int(200 * scale))}, arguments=WORKERS, prefix=shell)


@scenario
def workers_and_a_full_disk(folder: Path, scale: float) -> Attack:
    """Three workers, and an output whose disk is full for 75 seconds, longer than a worker may be silent, while the log grows."""
    first, late = int(2_000 * scale), int(4_000 * scale)

    def act(over: threading.Event) -> None:
        over.wait(25.0)  # the first session is over: to be stopped while the disk is full is an error that is told
        filler = folder.parent / "disk" / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
            while stream.write(bytes(MB)):
                pass
        with (folder / "dns.log").open("a") as log:
            log.writelines(row(i, f"W{i}", f"host{i}.{HOST}") for i in range(first, first + late))
        over.wait(75.0 * scale)
        filler.unlink()

    owed = _names(folder, first) | {f"W{i}" for i in range(first, first + late)}
    return Attack(owed, act, arguments=WORKERS, disk=32 * MB)


def _with_workers(name: str) -> None:
    """A scenario for one process, with three workers; of lines with 10,000 records each there is room for one at a time."""
    make = attacks.SCENARIOS[name]

    def made(folder: Path, scale: float) -> Attack:
        return replace(make(folder, scale), arguments=WORKERS, workers_may_die=True)

    made.__name__, made.__doc__ = f"workers_and_{name}", f"Three workers: {attacks.told(name)}"
    scenario(made)


for _name in ("requests", "json_lines", "zeek_headers", "many_records_a_line", "many_files"):
    _with_workers(_name)
