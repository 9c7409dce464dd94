"""Crashes in their short form; ``python -m tools.sensor.crash`` is the long one. The counts are printed with ``-s``."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_demist.sensor.sinks.file import FileSink
from edge_demist.sensor.sources import log_file, scan
from edge_demist.sensor.storage import Disk
from tests.support.sensor_fakes import read_events
from tools.sensor import crash
from tools.sensor.faults import FastDisk, LogWorld, PowerCut, PowerDisk, refuse


@pytest.fixture(autouse=True)
def counts(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Show what the runs counted."""
    yield
    with capsys.disabled():
        print(capsys.readouterr().out, end="")


def test_power_cut_at_many_operations() -> None:
    tally = crash.power_cuts(every=17)
    assert crash.report([tally]) and tally.crashes >= 20 and tally.records > 800


def test_killed_at_every_operation_again_and_again() -> None:
    tally = crash.kills_in_process(30)
    assert crash.report([tally]) and tally.crashes >= 20


def test_killed_while_logs_rotate_between_a_look_and_the_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    worlds: list[LogWorld] = []

    def then_the_world_moves(function: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **kwargs: object) -> object:
            result = function(*args, **kwargs)
            if worlds and not worlds[-1].done and chance.random() < 0.1:
                worlds[-1].step()
            return result

        return wrapped

    class World(LogWorld):
        def __init__(self, folder: Path, seed: int, records: int, *, copytruncate: bool = False) -> None:
            super().__init__(folder, seed, records, copytruncate=copytruncate)
            worlds.append(self)

    monkeypatch.setattr(crash, "LogWorld", World)
    for module, name in ((scan, "discover"), (scan, "read_fingerprint"), (scan, "hash_start"), (log_file, "ByteStream")):
        monkeypatch.setattr(module, name, then_the_world_moves(getattr(module, name)))
    tally = crash.kills_in_process(30, seed=1)
    assert crash.report([tally]) and tally.crashes == 30


def test_disk_full_read_only_and_failing() -> None:
    tally = crash.disk_troubles(every=19)
    assert crash.report([tally]) and tally.waits >= tally.crashes >= 10


def test_disk_full_until_stopped() -> None:
    tally = crash.stopped_while_full(points=4)
    assert crash.report([tally]) and tally.crashes >= 4


def test_a_file_system_that_is_really_full() -> None:
    tally = crash.really_full()
    if tally.notes:
        pytest.skip(tally.notes[0])
    assert crash.report([tally]) and tally.waits >= 3 and tally.records >= 400


def test_a_file_system_that_becomes_read_only() -> None:
    tally = crash.really_read_only()
    if tally.notes:
        pytest.skip(tally.notes[0])
    assert crash.report([tally]) and tally.crashes == 4 and tally.waits >= 4 and tally.records >= 200


def test_sigkill_of_a_real_process() -> None:
    tally = crash.sigkills(2)
    assert crash.report([tally]) and tally.crashes == 2


def test_the_check_notices_loss(tmp_path: Path) -> None:
    bench = crash.Bench(tmp_path, 1, 5)
    bench.run(FastDisk())
    text = bench.output.read_text().splitlines(keepends=True)
    bench.output.write_text("".join([*text[1:], text[1], "torn"]))
    tally = crash.Tally("made up")
    bench.check(tally)
    assert (tally.lost, tally.repeats, tally.damaged_lines, tally.ok) == (1, 1, 1, False)


def test_the_model_of_a_power_cut_drops_what_was_not_synced(tmp_path: Path) -> None:
    outcomes = set()
    for seed in range(60):
        root = tmp_path / str(seed)
        root.mkdir()
        (root / "old").write_bytes(b"old")
        disk = PowerDisk(root, 10**9, seed)
        disk.replace_file(root / "safe", b"safe")
        fd = disk.open_append(root / "new")
        disk.write_all(fd, b"synced")
        disk.fsync(fd)
        disk.fsync_dir(root)
        disk.write_all(fd, b"-unsynced")
        disk.close(fd)
        disk.close(disk.open_new(root / "unnamed"))
        disk.after_power_cut()
        assert (root / "old").read_bytes() == b"old" and (root / "safe").read_bytes() == b"safe"
        assert (root / "new").read_bytes().startswith(b"synced")
        outcomes.add(((root / "new").read_bytes() == b"synced", (root / "unnamed").exists()))
    assert {a for a, _ in outcomes} == {True, False} and {b for _, b in outcomes} == {True, False}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("first", [0, *range(2, 10)])  # 0: none fails; the first two open and empty the file
def test_a_sink_writes_again_what_a_failed_write_or_fsync_may_have_lost(tmp_path: Path, first: int, code: int) -> None:
    sink = FileSink(tmp_path / "e", append=False, disk=FastDisk(refuse(first, 2, code)) if first else Disk())
    lines = [b'{"n":%d}\n' % n for n in range(4)]
    for line in lines:
        sink._push(line)
        for _ in range(5):
            try:
                sink.sync()
                break
            except OSError as error:
                assert error.errno == code
    sink.close()
    assert (tmp_path / "e").read_bytes() == b"".join(lines) and len(read_events(tmp_path / "e")) == 4


def test_power_cut_is_no_ordinary_error() -> None:
    assert not issubclass(PowerCut, Exception)
