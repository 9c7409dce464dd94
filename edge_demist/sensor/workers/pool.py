"""Worker processes: started by fork, given jobs through pipes, ended by a closed pipe; what dies is replaced and said.

The parent never waits for a pipe to take data: it reads answers meanwhile. A worker that gives no sign for a minute is ended, and so is
one that says what is no answer to its next job. One that dies is not blamed on its job unless it had answered before.
"""

from __future__ import annotations

import ctypes
import gc
import io
import mmap
import os
import pickle
import resource
import select
import signal
import socket
import struct
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from edge_demist.sensor.counters import Counts
from edge_demist.sensor.understanding import Understanding
from edge_demist.sensor.workers.portion import (
    Job,
    Mark,
    Outcome,
    Passed,
    Place,
    Portion,
    Rendered,
    Result,
    Touched,
    undecided,
)

DEPTH = 2
"""Jobs that a worker has: one that it works on, and the next."""
HANG_S = 60.0
MAX_FAILED_STARTS, PAUSE_S = 3, 5.0
"""So many starts may fail one after the other, or be killed before they did anything, until the parent works alone; where others work,
the next one waits so long, as after one that the system killed."""
MAX_ANSWER_BYTES, MAX_READ_BYTES, _READ = 64 << 20, 4 << 20, 1 << 16
"""Of one answer; at one look at a worker; at once."""
MOST_FOR_AN_END_S = 2.0
_HEAD = struct.Struct("<Qq")
"""Bytes that follow, number of the job."""
_BEAT = struct.Struct("<d")
_PR_SET_PDEATHSIG, _FIRST_TO_GO = 1, "500"
"""prctl(2); and proc(5): where memory is short a worker is killed, which is replaced, and not the parent."""
HELLO = Job(-1, {}, [])
"""The first job of every worker: nothing to do, but to show that it can."""
_OURS = {
    (one.__module__, one.__name__): one
    for one in (Job, Portion, Place, Result, Outcome, Passed, Touched, Mark, Rendered, undecided, Counts, Understanding, Counter)
}
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
        self.done: dict[int, bytes] = {}
        """Answers as they came: as objects they take several times the memory."""
        self.died: dict[int, bool] = {}
        """Jobs in the middle of which a worker ended; whether the system killed it, for which the job need not be to blame."""
        self.ended = self._failed_starts = 0
        self._start_after, self._awake_since, self._looked = 0.0, time.monotonic(), time.monotonic()
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

    def is_over(self, number: int) -> bool:
        """Whether there is nothing to wait for about a job."""
        return number in self.done or number in self.died or not self.is_alive

    def result(self, number: int) -> Result | None:
        """The answer to a job that is done, once; None for what is none, as if the worker had ended."""
        try:
            result = _Known(io.BytesIO(self.done.pop(number))).load()
            if not isinstance(result, Result) or result.number != number:
                raise TypeError("no answer to this job")
        except Exception as error:
            self._log("worker-talks-nonsense", {"error": f"{type(error).__name__}: {str(error)[:200]}"})
            return None
        return result

    def submit(self, job: Job, *, first: bool = False) -> None:
        """Queue a job, or put it before all others."""
        (self._waiting.appendleft if first else self._waiting.append)(job)
        self.pump(0.0)

    def pump(self, seconds: float) -> None:
        """Hand out jobs and take results, waiting for at most so long until there is something to do."""
        self._note_absence()
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
        try:
            alive = worker.read()
            for number, body in worker.answers():
                worker.since = time.monotonic()
                worker.is_proven = True
                if number != HELLO.number:
                    self.done[number] = body
                    worker.has_worked = True
                    self._failed_starts = 0
        except ValueError as error:  # whatever a process in which memory is not what it was may say
            self._log("worker-talks-nonsense", {"error": str(error)})
            alive = False
        if not alive:
            self._bury(worker)

    def _bury(self, worker: _Process) -> None:
        """Someone has ended: say so, give the jobs to others; the one in the middle of which it was is the caller's to look into."""
        status = worker.end()
        killed = worker.is_over and status == -signal.SIGKILL
        if killed:  # where memory is short, fewer are better than as many again
            self._start_after = time.monotonic() + PAUSE_S
        self.ended += 1
        jobs = [job for job in worker.jobs if job.number != HELLO.number]
        slot = self._workers.index(worker)
        self._workers[slot] = None
        if worker.is_proven and jobs:
            self.died[jobs.pop(0).number] = killed
        if not worker.is_proven or (killed and not worker.has_worked):
            self._failed_starts += 1
        self._waiting.extendleft(reversed(jobs))
        self._log("worker-ended", {"pid": worker.pid, "status": status, "hint": "its work is done again by another one"})

    def _note_absence(self) -> None:
        """Where nobody has looked for long (a full disk, a machine that stood still), no silence before now is a worker's fault."""
        now = time.monotonic()
        if now - self._looked > HANG_S / 2:
            self._awake_since = now
        self._looked = now

    def _end_hung(self) -> None:
        now = time.monotonic()
        for slot, worker in enumerate(self._workers):
            if worker is not None and worker.jobs:
                sign = max(self._awake_since, worker.since, _BEAT.unpack_from(self._beats, slot * _BEAT.size)[0])
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
            while len(head := stream.read(_HEAD.size)) == _HEAD.size:
                job: Job = _Known(io.BytesIO(stream.read(_HEAD.unpack(head)[0]))).load()
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
        self.is_proven = self.has_worked = self.is_over = False

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
        """Take what there is, or much of it; False at the end."""
        try:
            for _ in range(MAX_READ_BYTES // _READ):
                if not (data := self.socket.recv(_READ)):
                    self.is_over = True
                    return False
                self._in += data
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def answers(self) -> Iterator[tuple[int, bytes]]:
        """The answers that are whole, with the numbers of their jobs, which are done with that.

        Raises:
            ValueError: what comes next is too large to be one, or none to the next job.
        """
        at = 0
        try:
            while len(self._in) - at >= _HEAD.size:
                size, number = _HEAD.unpack_from(self._in, at)
                if size > MAX_ANSWER_BYTES or not self.jobs or number != self.jobs[0].number:
                    raise ValueError(f"{size} bytes about job {number}")
                begin, end = at + _HEAD.size, at + _HEAD.size + size
                if end > len(self._in):
                    break
                at = end
                self.jobs.popleft()
                yield number, bytes(self._in[begin:end])
        finally:
            del self._in[:at]

    def end(self) -> int:
        """Kill it, unless it ends by itself, and wait a little; its exit status, negative for a signal; 0 where that is not to be had."""
        self.socket.close()
        began, signalled = time.monotonic(), False
        try:
            while not (found := os.waitpid(self.pid, os.WNOHANG))[0]:
                waited = time.monotonic() - began
                if waited > MOST_FOR_AN_END_S:  # it waits for a disk, deep in the kernel
                    return 0
                if not signalled and (not self.is_over or waited > MOST_FOR_AN_END_S / 10):
                    os.kill(self.pid, signal.SIGKILL)
                    signalled = True
                time.sleep(0.001)
        except (ChildProcessError, ProcessLookupError):
            return 0
        return os.waitstatus_to_exitcode(found[1])


class _Known(pickle.Unpickler):
    """Makes nothing but what jobs and answers are made of, though both ends are our own processes."""

    def find_class(self, module: str, name: str) -> object:
        """One of these; others are refused."""
        found = _OURS.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"{module}.{name} has no place between processes of the sensor")
        return found


def _framed(value: Job | Result) -> bytes:
    body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(body), value.number) + body


def _detach(channel: int, parent: int) -> None:
    """Keep one descriptor and standard error: locks and pipes are the parent's, and must close when it ends, whatever happens here."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    for descriptor in _descriptors():
        if descriptor not in (2, channel):
            with suppress(OSError):
                os.close(descriptor)
    with suppress(OSError):  # standard input and output, as far as there is anything to be had
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in {0, 1} - {nothing, channel}:
            os.dup2(nothing, standard)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as stream:  # noqa: PTH123
        stream.write(_FIRST_TO_GO)


def _descriptors() -> list[int]:
    """Open descriptors, or all that there may be where nobody says so."""
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    except OSError:
        return list(range(min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 16)))
