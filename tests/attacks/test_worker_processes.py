"""Worker processes of ``watch --threads N``: whatever becomes of one, the parent goes on, nothing is lost, nobody is blamed for another."""

from __future__ import annotations

import functools
import itertools
import os
import pickle
import signal
import stat
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_demist.sensor.sources.checkpoint import CheckpointStore
from edge_demist.sensor.workers import pool as pools
from edge_demist.sensor.workers.portion import Job, Result
from tests.sensor.test_workers import POISON, Told, dns, killing, watch
from tests.support.sensor_fakes import read_events

GOOD, EVIL = Job(1, {}, []), Job(7, {}, [])


def channel() -> int:
    """In a worker: the descriptor of its pipe, the only socket that it has."""
    return next(n for n in range(64) if _is_socket(n))


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


class Does:
    """As the pool wants it: a worker that does something else with the job of that number."""

    def __init__(self, evil: Callable[[], object]) -> None:
        self.evil, self.told = evil, Told()

    def __call__(self, job: Job) -> Result:
        """In a worker."""
        if job.number == EVIL.number:
            self.evil()
        return Result(job.number, [], [])

    def pool(self, count: int = 1) -> pools.Pool:
        """Workers that do so."""
        return pools.Pool(count, self, lambda _sign: None, self.told)


def until(pool: pools.Pool, number: int, seconds: float = 10.0) -> bool:
    """Pump until a job is done (True) or its worker has ended (False)."""
    deadline = time.monotonic() + seconds
    while number not in pool.done and number not in pool.died:
        assert time.monotonic() < deadline
        pool.pump(0.05)
    return number in pool.done


class Runs:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[object, ...]:
        """The command."""
        return os.system, ("echo taken over >&2",)


def frame(value: object, number: int = EVIL.number) -> bytes:
    """As a worker says it."""
    body = value if isinstance(value, bytes) else pickle.dumps(value)
    return struct.pack("<Qq", len(body), number) + body


NO_FRAMES = {
    "noise": b"\xfe" * 300,
    "an answer without end": struct.pack("<Qq", 1 << 40, EVIL.number),
    "empty answers": bytes(160),
    "another job": frame(Result(1 << 40, [], []), 1 << 40),
    "the same answer twice": frame(Result(EVIL.number, [], [])) * 2,
}
NO_ANSWERS = {
    "a command": Runs(),
    "another class": {"number": EVIL.number},
    "a number that is another one": Result(8, [], []),
    "a pickle that is none": b"\x80\x04" + b"(" * 6 + b".",
    "nothing": b"",
}


def says(what: bytes) -> Does:
    """A worker that says something in the place of its answer, and no more."""

    def talk() -> None:
        os.write(channel(), what)
        time.sleep(60)

    return Does(talk)


@pytest.mark.parametrize("what", NO_FRAMES)
def test_what_is_no_answer_ends_the_worker_and_not_the_parent(what):
    does = says(NO_FRAMES[what])
    pool = does.pool()
    try:
        pool.submit(EVIL)
        assert until(pool, EVIL.number) == (what == "the same answer twice")
        for number in (2, 3):  # what is said in the place of an answer counts as the end of that job
            pool.submit(Job(number, {}, []))
            until(pool, number)
        assert pool.result(3) == Result(3, [], []) and len(does.told.named("worker-talks-nonsense")) == pool.ended == 1
    finally:
        pool.close()


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_an_answer_that_cannot_be_read_is_none(what, capfd):
    does = says(frame(NO_ANSWERS[what]))
    pool = does.pool()
    try:
        pool.submit(EVIL)
        assert until(pool, EVIL.number) and pool.result(EVIL.number) is None
        assert len(does.told.named("worker-talks-nonsense")) == 1 and "taken over" not in capfd.readouterr().err
    finally:
        pool.close()


def test_a_parent_that_was_away_blames_no_worker(monkeypatch):
    """The disk was full for longer than a worker may be silent, and what it had to say was more than the pipe takes."""
    monkeypatch.setattr(pools, "HANG_S", 0.5)
    told = Told()
    pool = pools.Pool(1, lambda job: Result(job.number, [], ["x" * (job.number << 23)]), lambda _sign: None, told)  # type: ignore[list-item]
    try:
        pool.submit(Job(0, {}, []))
        assert until(pool, 0)
        pool.submit(GOOD)
        time.sleep(1.0)
        assert until(pool, GOOD.number) and not told.lines
    finally:
        pool.close()


@pytest.mark.parametrize("missing", ["/proc", "/dev/null", "prctl"])
def test_workers_start_where_little_is_mounted(monkeypatch, missing):
    listed, opened = os.listdir, os.open

    def refuse(path, *rest, **more):
        if str(path).startswith(missing):
            raise FileNotFoundError(2, "none", str(path))
        return (listed if not rest and not more else opened)(path, *rest, **more)

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "open", refuse)
    if missing == "prctl":
        monkeypatch.setattr(pools.ctypes, "CDLL", lambda _name: object())
    does = Does(lambda: None)
    pool = does.pool()
    try:
        pool.submit(GOOD)
        assert until(pool, GOOD.number) and not does.told.lines
    finally:
        pool.close()


def test_a_worker_holds_nothing_of_the_parents_and_is_the_first_to_go_where_memory_is_short(tmp_path):
    secret = (tmp_path / "secret").open("w")
    pool = Does(lambda: None).pool(2)
    try:
        for number in (1, 2):
            pool.submit(Job(number, {}, []))
        assert until(pool, 1) and until(pool, 2)
        for pid in pool.pids:  # one may have done both jobs, and the other not have begun
            begun, until_s = Path(f"/proc/{pid}/oom_score_adj"), time.monotonic() + 20
            while int(begun.read_text()) < 500 and time.monotonic() < until_s:
                time.sleep(0.01)
            assert int(begun.read_text()) >= 500
            links = {str(place.readlink()) for place in Path(f"/proc/{pid}/fd").iterdir()}
            assert sum(link.startswith("socket:") for link in links) == 1 and str(tmp_path / "secret") not in links
    finally:
        pool.close()
        secret.close()


def test_a_worker_that_no_signal_ends_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(pools, "MOST_FOR_AN_END_S", 0.05)
    pool = Does(lambda: None).pool()
    (pid,), waited = pool.pids, os.waitpid
    monkeypatch.setattr(os, "waitpid", lambda _pid, _how: (0, 0))
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 5.0 and pool.pids == []
    assert waited(pid, 0)[0] == pid


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_any_signal_is_told_and_the_work_goes_on(number):
    def end() -> None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    does = Does(end)
    pool = does.pool()
    try:
        pool.submit(EVIL)
        assert not until(pool, EVIL.number)
        pool.submit(GOOD)
        assert until(pool, GOOD.number)
        assert [facts["status"] for facts in does.told.named("worker-ended")] == [-number]
    finally:
        pool.close()


def test_a_worker_that_stands_still_is_replaced(monkeypatch):
    monkeypatch.setattr(pools, "HANG_S", 1.0)
    does = Does(lambda: os.kill(os.getpid(), signal.SIGSTOP))
    pool = does.pool(2)
    try:
        pool.submit(EVIL)
        pool.submit(GOOD)
        assert not until(pool, EVIL.number) and until(pool, GOOD.number)
        pool.pump(0.0)
        assert len(does.told.named("worker-hangs")) == 1 and len(pool.pids) == 2
    finally:
        pool.close()


def test_after_a_kill_from_outside_the_next_start_waits_while_others_work():
    does = Does(lambda: os.kill(os.getpid(), signal.SIGKILL))
    pool = does.pool(2)
    try:
        for number in (1, 2):
            pool.submit(Job(number, {}, []))
        assert until(pool, 1) and until(pool, 2)
        pool.submit(EVIL)
        assert not until(pool, EVIL.number)
        pool.pump(0.0)
        assert len(pool.pids) == 1 and pool._start_after - time.monotonic() > pools.PAUSE_S / 2
        pool._start_after = 0.0
        pool.pump(0.0)
        assert len(pool.pids) == 2
    finally:
        pool.close()


def test_children_that_nobody_waits_for(tmp_path):
    """SIGCHLD is ignored, as some shells and supervisors leave it: the kernel takes what ends, and there is no status."""
    log, told = dns(tmp_path / "dns.log", [f"n{n}.example" for n in range(40)] + [POISON]), Told()
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        _, summary = watch(tmp_path / "2", log, threads=2, model=killing, log=told)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert summary["skipped"] == {"stepped-over": 1} and len(told.named("worker-ended")) == 3


def test_a_log_in_which_every_record_ends_a_worker(tmp_path):
    log, told = dns(tmp_path / "dns.log", [POISON] * 12 + ["n1.example"]), Told()
    expected, _ = watch(tmp_path / "1", dns(tmp_path / "good.log", ["n1.example"], 1_700_000_001.2))
    found, summary = watch(tmp_path / "2", log, threads=2, model=killing, log=told)
    assert summary["skipped"] == {"stepped-over": 12} and summary["records"] == 13
    assert found.count(b"\n") == expected.count(b"\n") == 4


@pytest.mark.parametrize("now", [0, -(10**18), 10**18, 253_402_300_800 * 10**9, 2**63 - 1])
def test_a_clock_that_is_far_off_ends_nothing(tmp_path, monkeypatch, now):
    clock = itertools.cycle((now, 1_700_000_000 * 10**9))
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    monkeypatch.setattr(time, "time", lambda: next(clock) / 1e9)
    log = tmp_path / "dns.log"
    log.write_text("".join(f'{{"query":"evil{n}.example"}}\n' for n in range(20)))
    _, summary = watch(tmp_path / "ran", log, state=True, emit="all")
    events = read_events(tmp_path / "ran" / "out")
    assert len({event["text"] for event in events}) == 20 and not summary["errors"]
    assert CheckpointStore(tmp_path / "ran" / "state").load()[1] == []


def test_records_over_which_the_system_killed_workers_are_not_stepped_over(tmp_path):
    """Memory was short, and any record would have done: the parent looks for itself, and at last works alone."""
    names = [f"n{n}.example" for n in range(30)]
    names[5] = names[17] = POISON
    expected, _ = watch(tmp_path / "1", dns(tmp_path / "dns.log", names), batch_strings=8)
    told = Told()
    model = functools.partial(killing, signal.SIGKILL)
    found, summary = watch(tmp_path / "2", tmp_path / "dns.log", batch_strings=8, threads=2, model=model, log=told)
    assert found == expected and not summary["skipped"] and told.named("worker-ended")


def test_where_every_worker_is_killed_before_it_has_done_anything_the_parent_works_alone(tmp_path):
    log, told = dns(tmp_path / "dns.log", [POISON] * 40), Told()
    expected, _ = watch(tmp_path / "1", log, batch_strings=8)
    found, summary = watch(tmp_path / "2", log, batch_strings=8, threads=2, model=functools.partial(killing, signal.SIGKILL), log=told)
    assert found == expected and not summary["skipped"] and len(told.named("worker-ended")) < 20
