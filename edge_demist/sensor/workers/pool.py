"""Worker processes: started by fork, given jobs through pipes, ended by a closed pipe; what dies is replaced and said.

The parent never waits for a pipe to take data: it reads answers meanwhile. A worker that gives no sign for a minute is ended. One that
dies is not blamed on its job unless it had answered before.
"""

from __future__ import annotations

import ctypes
import gc
import io
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import time
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from edge_demist.sensor.workers.portion import Job, Result, undecided

DEPTH = 2
"""Jobs that a worker has: one that it works on, and the next."""
HANG_S = 60.0
MAX_FAILED_STARTS, PAUSE_S = 3, 5.0
"""So many starts may fail one after the other; where others work, the next one waits so long."""
_READ = 1 << 16
_SIZE = struct.Struct("<Q")
_BEAT = struct.Struct("<d")
_PR_SET_PDEATHSIG = 1
HELLO = Job(-1, {}, [])
"""The first job of every worker: nothing to do, but to show that it can."""
_Log = Callable[[str, dict[str, object]], None]


class Pool:
    """Some workers, and the jobs that they have."""

    def __init__(self, count: int, work: Callable[[Job], Result], breathe: Callable[[Callable[[], None]], None], log: _Log) -> None:
        """Start ``count`` workers.

        Args:
            count: how many.
            work: does a job, in a worker.
            breathe: takes what work is to call, in a worker, while it lasts.
            log: told about workers that end.
        """
        self._work, self._breathe, self._log = work, breathe, log
        self._beats = mmap.mmap(-1, _BEAT.size * count)
        self._waiting: deque[Job] = deque()
        self.done: dict[int, Result] = {}
        self.died: set[int] = set()
        """Jobs in the middle of which a worker ended."""
        self.ended = self._failed_starts = 0
        self._start_after = 0.0
        self._workers: list[_Process | None] = [None] * count
        for slot in range(count):
            self._start(slot)

    @property
    def is_alive(self) -> bool:
        """Whether there is anyone to do a job, or will be."""
        return self._may_start or any(self._workers)

    @property
    def _may_start(self) -> bool:
        return self._failed_starts < MAX_FAILED_STARTS

    def submit(self, job: Job, *, first: bool = False) -> None:
        """Queue a job, or put it before all others."""
        (self._waiting.appendleft if first else self._waiting.append)(job)
        self.pump(0.0)

    def pump(self, seconds: float) -> None:
        """Hand out jobs and take results, waiting for at most so long until there is something to do."""
        for slot, worker in enumerate(self._workers):
            if worker is None and self._may_start:
                self._start(slot)
        self._hand_out()
        poller, known = select.poll(), {}
        for worker in self._workers:
            if worker is not None:
                poller.register(worker.socket, select.POLLIN | (select.POLLOUT if worker.out else 0))
                known[worker.socket.fileno()] = worker
        for number, events in poller.poll(1000 * seconds) if known else ():
            if events & select.POLLOUT:
                known[number].write()
            if events & ~select.POLLOUT:
                self._take(known[number])
        self._hand_out()
        self._end_hung()

    def _hand_out(self) -> None:
        for depth in range(1, DEPTH + 1):
            for worker in self._workers:
                if worker is not None and self._waiting and len(worker.jobs) < depth:
                    worker.give(self._waiting.popleft())

    def _take(self, worker: _Process) -> None:
        alive = worker.read()
        for body in worker.bodies():
            result: Result = _Known(io.BytesIO(body)).load()
            worker.jobs.popleft()
            worker.since = time.monotonic()
            self._failed_starts = 0
            worker.is_proven = True
            if result.number != HELLO.number:
                self.done[result.number] = result
        if not alive:
            self._bury(worker)

    def _bury(self, worker: _Process) -> None:
        """Someone has ended: say so, give the jobs to others; the one in the middle of which it was is the caller's to look into."""
        status = worker.end()
        self.ended += 1
        jobs = [job for job in worker.jobs if job.number != HELLO.number]
        slot = self._workers.index(worker)
        self._workers[slot] = None
        if worker.is_proven and jobs:
            self.died.add(jobs.pop(0).number)
        elif not worker.is_proven:
            self._failed_starts += 1
        self._waiting.extendleft(reversed(jobs))
        self._log("worker-ended", {"pid": worker.pid, "status": status, "hint": "its work is done again by another one"})

    def _end_hung(self) -> None:
        now = time.monotonic()
        for slot, worker in enumerate(self._workers):
            if worker is not None and worker.jobs:
                sign = max(worker.since, _BEAT.unpack_from(self._beats, slot * _BEAT.size)[0])
                if now - sign > HANG_S:
                    self._log("worker-hangs", {"pid": worker.pid, "seconds": round(now - sign)})
                    self._bury(worker)

    def _start(self, slot: int) -> None:
        if time.monotonic() < self._start_after and any(self._workers):
            return
        parent = os.getpid()
        ends: list[socket.socket] = []
        try:
            ends += socket.socketpair()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the threads of an endpoint for metrics do not matter to the child
                pid = os.fork()
        except OSError as error:
            for end in ends:
                end.close()
            self._failed_starts += 1
            self._start_after = time.monotonic() + PAUSE_S
            self._log("worker-not-started", {"error": error.strerror or str(error)})
            return
        ours, theirs = ends
        if pid == 0:
            try:
                self._be_worker(theirs, slot, parent)
            finally:
                os._exit(1)
        theirs.close()
        ours.setblocking(False)
        self._workers[slot] = worker = _Process(pid, ours)
        worker.give(HELLO)

    def _be_worker(self, channel: socket.socket, slot: int, parent: int) -> None:
        """In the child: nothing is left of the parent's files, signals and place in the world; jobs come until the pipe closes."""
        _detach(channel.fileno(), parent)
        gc.freeze()

        def beat() -> None:
            _BEAT.pack_into(self._beats, slot * _BEAT.size, time.monotonic())

        self._breathe(beat)
        with channel.makefile("rb") as stream:
            while len(head := stream.read(_SIZE.size)) == _SIZE.size:
                job: Job = _Known(io.BytesIO(stream.read(_SIZE.unpack(head)[0]))).load()
                beat()
                try:
                    result = self._work(job)
                except Exception as error:  # the parent does the job itself, and meets the same
                    result = Result(job.number, [], [], error=f"{type(error).__name__}: {str(error)[:200]}")
                channel.sendall(_framed(result))
        os._exit(0)

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [worker.pid for worker in self._workers if worker is not None]

    def close(self) -> None:
        """End all of them, in the middle of whatever they do."""
        for worker in self._workers:
            if worker is not None:
                worker.end()
        self._workers = [None] * len(self._workers)
        self._failed_starts = MAX_FAILED_STARTS


class _Process:
    """One worker, from the parent's side."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid, self.socket = pid, channel
        self.jobs: deque[Job] = deque()
        self.out: deque[memoryview] = deque()
        self._in = bytearray()
        self.since = time.monotonic()
        self.is_proven = False

    def give(self, job: Job) -> None:
        """Send a job, as far as the pipe takes it."""
        if not self.jobs:
            self.since = time.monotonic()
        self.jobs.append(job)
        self.out.append(memoryview(_framed(job)))
        self.write()

    def write(self) -> None:
        """Send what the pipe takes."""
        with suppress(OSError):  # a broken pipe is seen where answers are read
            while self.out:
                sent = self.socket.send(self.out[0])
                if sent == len(self.out[0]):
                    self.out.popleft()
                else:
                    self.out[0] = self.out[0][sent:]

    def read(self) -> bool:
        """Take what there is; False at the end."""
        try:
            while data := self.socket.recv(_READ):
                self._in += data
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def bodies(self) -> list[bytes]:
        """The answers that are whole."""
        found, at = [], 0
        while len(self._in) - at >= _SIZE.size:
            end = at + _SIZE.size + _SIZE.unpack_from(self._in, at)[0]
            if end > len(self._in):
                break
            found.append(bytes(self._in[at + _SIZE.size : end]))
            at = end
        del self._in[:at]
        return found

    def end(self) -> int:
        """Kill it and wait; its exit status, negative for a signal."""
        self.socket.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            return 0


class _Known(pickle.Unpickler):
    """Makes nothing but the sensor's own classes and counters, though both ends are our own processes."""

    def find_class(self, module: str, name: str) -> object:
        """A class of ours, or what makes one; others are refused."""
        if module.startswith("edge_demist.sensor.") or (module, name) == ("collections", "Counter"):
            found: object = super().find_class(module, name)
            if isinstance(found, type) or found is undecided:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place between processes of the sensor")


def _framed(value: Job | Result) -> bytes:
    body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _SIZE.pack(len(body)) + body


def _detach(channel: int, parent: int) -> None:
    """Keep one descriptor and standard error: locks and pipes are the parent's, and must close when it ends, whatever happens here."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) > 2 and int(name) != channel:
            with suppress(OSError):
                os.close(int(name))
