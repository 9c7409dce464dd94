"""Following files through growth, rotation, compression, truncation, deletion and restarts."""

from __future__ import annotations

import errno
import gzip
import os
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_demist.sensor.counters import Counters
from edge_demist.sensor.sources import scan, tail
from edge_demist.sensor.sources.checkpoint import Checkpoint, CheckpointStore
from edge_demist.sensor.sources.discover import Discovery, discover, is_log_name, is_rotation_of
from edge_demist.sensor.sources.log_file import LogFile
from edge_demist.sensor.sources.tail import Tailer
from tests.support.sensor_fakes import watch_once, zeek_log


def line(number: int) -> str:
    return f'{{"ts":{1_700_000_000 + number}.5,"uid":"C{number}","query":"q{number}.example"}}\n'


def write(path: Path, *numbers: int) -> None:
    with path.open("a") as file:
        file.write("".join(map(line, numbers)))


def compress(path: Path, target: Path) -> None:
    target.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


OPENED: list[Reader] = []


@pytest.fixture(autouse=True)
def _no_descriptor_stays_open() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().tailer.close()


class Reader:
    """A tailer whose lines are collected; can be stopped and started again from its checkpoint."""

    def __init__(self, *paths: Path, once: bool = False, checkpoint: Checkpoint | None = None) -> None:
        self.paths, self.once = paths, once
        self.told: list[str] = []
        self.counters = Counters()
        self.tailer = Tailer(
            paths, self.counters, once=once, checkpoint=checkpoint, notify=lambda e, facts: self.told.append(f"{e}:{facts.get('path', '')}")
        )
        OPENED.append(self)

    def read(self, rounds: int = 3) -> list[int]:
        numbers = []
        for _ in range(rounds):
            self.tailer.scan()
            while (portion := self.tailer.next_lines(7)) is not None:
                for item in portion[1]:
                    record = portion[0].parser.parse(item.data or b"")
                    if record is not None and not isinstance(record, str):
                        portion[0].state.clock_us = record.time_us or 0
                        numbers.append(int(record.values("query")[0][1:].split(".")[0]))
            self.tailer.close_finished()
        return numbers

    def restart(self, folder: Path) -> Reader:
        store = CheckpointStore(folder)
        store.commit(self.tailer.snapshot())
        self.tailer.close()
        store.close()
        store = CheckpointStore(folder)
        checkpoint, problems = store.load()
        store.close()
        assert problems == []
        return Reader(*self.paths, once=self.once, checkpoint=checkpoint)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def test_growth_and_a_line_in_two_parts(logs: Path) -> None:
    reader = Reader(logs)
    write(logs / "dns.log", 1, 2)
    assert reader.read() == [1, 2]
    text = line(3)
    with (logs / "dns.log").open("a") as file:
        file.write(text[:20])
        file.flush()
        assert reader.read() == []
        file.write(text[20:])
    assert reader.read() == [3]


def test_the_first_line_in_two_parts(logs: Path) -> None:
    reader = Reader(logs)
    (logs / "dns.log").write_text(line(1)[:15])
    assert reader.read() == []
    (logs / "dns.log").write_text(line(1) + line(2))
    assert reader.read() == [1, 2]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("given_as", ["folder", "file"])
def test_rotation_by_rename(logs: Path, tmp_path: Path, restart: bool, given_as: str) -> None:
    current = logs / "dns.log"
    write(current, 1, 2)
    reader = Reader(logs if given_as == "folder" else current)
    assert reader.read() == [1, 2]
    if restart:
        reader.restart(tmp_path / "state")
        reader.tailer.close()
    write(current, 3)
    current.rename(logs / "dns.2024-01-01.log")
    write(current, 4)
    if restart:
        reader = reader.restart(tmp_path / "state")
    assert sorted(reader.read()) == [3, 4]
    assert reader.read() == []


@pytest.mark.parametrize("given_as", ["folder", "file"])
def test_several_rotations_while_down_are_caught_up_in_order(logs: Path, tmp_path: Path, given_as: str) -> None:
    current = logs / "eve.json"
    write(logs / "eve.json.9", 0)
    os.utime(logs / "eve.json.9", (1, 1))
    write(current, 1)
    reader = Reader(logs if given_as == "folder" else current)
    assert reader.read() == ([0, 1] if given_as == "folder" else [1])
    reader = reader.restart(tmp_path / "state")
    write(current, 2)
    shutil.move(current, logs / "eve.json.1")
    for number in (3, 4):
        write(logs / "tmp", number)
        shutil.move(logs / "eve.json.1", logs / "eve.json.2") if number == 4 else None
        shutil.move(logs / "tmp", logs / "eve.json.1") if number == 4 else shutil.move(logs / "tmp", logs / "eve.json.3")
    (logs / "eve.json.2.gz").write_bytes(gzip.compress((logs / "eve.json.2").read_bytes()))
    (logs / "eve.json.2").unlink()
    write(current, 5)
    assert reader.read() == [2, 3, 4, 5]
    assert reader.read() == []


@pytest.mark.parametrize("restart", [False, True])
def test_compression_after_rotation_is_not_read_twice(logs: Path, tmp_path: Path, restart: bool) -> None:
    write(logs / "dns.log", *range(50))
    reader = Reader(logs)
    assert reader.read() == list(range(50))
    (logs / "dns.log").rename(logs / "dns.1.log")
    write(logs / "dns.log", 50)
    assert reader.read() == [50]
    if restart:
        reader = reader.restart(tmp_path / "state")
    (logs / "dns.1.log.gz").write_bytes(gzip.compress((logs / "dns.1.log").read_bytes())[:40])
    assert reader.read() == []
    (logs / "dns.1.log.gz").write_bytes(gzip.compress((logs / "dns.1.log").read_bytes()))
    (logs / "dns.1.log").unlink()
    assert reader.read() == []


def test_compression_while_behind_continues_at_the_place(logs: Path, tmp_path: Path) -> None:
    write(logs / "dns.log", *range(20))
    reader = Reader(logs)
    reader.tailer.scan()
    portion = reader.tailer.next_lines(5)
    assert portion is not None and len(portion[1]) == 5
    state = tmp_path / "state"
    reader = reader.restart(state)
    (logs / "dns.1.log.gz").write_bytes(gzip.compress((logs / "dns.log").read_bytes()))
    (logs / "dns.log").unlink()
    assert reader.read() == list(range(5, 20))
    assert any(t.startswith("continues") for t in reader.told)


def test_copy_and_truncate_loses_nothing_that_is_in_the_copy(logs: Path) -> None:
    write(logs / "eve.json", 1, 2)
    reader = Reader(logs)
    assert reader.read() == [1, 2]
    write(logs / "eve.json", 3)
    shutil.copyfile(logs / "eve.json", logs / "eve.json.1")
    os.truncate(logs / "eve.json", 0)
    write(logs / "eve.json", 4)
    assert sorted(reader.read(5)) == [3, 4]
    assert any(t.startswith("truncated") for t in reader.told)


def test_truncation_to_longer_new_content_is_noticed(logs: Path) -> None:
    write(logs / "dns.log", 1)
    reader = Reader(logs)
    assert reader.read() == [1]
    with (logs / "dns.log").open("r+") as file:
        file.truncate()
        file.write(line(2) + line(3) + line(4))
    assert reader.read() == [2, 3, 4]


def test_a_deleted_file_is_read_to_its_end(logs: Path) -> None:
    write(logs / "dns.log", 1)
    reader = Reader(logs)
    assert reader.read() == [1]
    write(logs / "dns.log", 2, 3)
    (logs / "dns.log").unlink()
    assert reader.read() == [2, 3]
    assert not reader.tailer.sources


def test_the_same_content_again_is_new(logs: Path) -> None:
    reader = Reader(logs)
    keys = set()
    for number in range(4):
        write(logs / "dns.log", 1, 2)
        assert reader.read() == [1, 2], number
        keys |= {s.key for s in reader.tailer.sources.values()}
        (logs / "dns.log").rename(logs / f"dns.{number}.log")
    assert len(keys) == 4


def test_identities_do_not_depend_on_names_or_compression(logs: Path) -> None:
    write(logs / "a.log", 1, 2)
    first = Reader(logs, once=True)
    first.tailer.scan()
    (logs / "b.log.gz").write_bytes(gzip.compress((logs / "a.log").read_bytes()))
    (logs / "a.log").unlink()
    second = Reader(logs, once=True)
    second.tailer.scan()
    assert [s.key for s in first.tailer.sources.values()] == [s.key for s in second.tailer.sources.values()]


def test_once_reads_by_log_time_across_files(logs: Path) -> None:
    write(logs / "b.log", 1, 2, 9)
    write(logs / "a.log", 3, 4)
    write(logs / "c.log", 5, 6)
    numbers = Reader(logs, once=True).read()
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6, 9] and numbers.index(3) < numbers.index(5)


def test_once_with_state_goes_on(logs: Path, tmp_path: Path) -> None:
    write(logs / "dns.log", 1)
    reader = Reader(logs / "dns.log", once=True)
    assert reader.read() == [1]
    reader = reader.restart(tmp_path / "state")
    assert reader.read() == []
    write(logs / "dns.log", 2)
    (logs / "dns.log").rename(logs / "dns.1.log")
    write(logs / "dns.log", 3)
    reader = reader.restart(tmp_path / "state")
    assert reader.read() == [2, 3]


def test_header_is_known_after_a_restart_and_after_a_file_was_finished(logs: Path, tmp_path: Path) -> None:
    (logs / "dns.log").write_text(zeek_log("ts uid query", "1.0 C1 q1.example"))
    reader = Reader(logs / "dns.log", once=True)
    assert reader.read() == [1]
    reader = reader.restart(tmp_path / "state")
    with (logs / "dns.log").open("a") as file:
        file.write("2.0\tC2\tq2.example\n")
    assert reader.read() == [2]


def test_an_unterminated_last_line_is_read_once(logs: Path, tmp_path: Path) -> None:
    (logs / "dns.log").write_text(line(1) + line(2).rstrip("\n"))
    reader = Reader(logs, once=True)
    assert reader.read() == [1, 2]
    reader = reader.restart(tmp_path / "state")
    with (logs / "dns.log").open("a") as file:
        file.write("\n" + line(3))
    assert reader.read() == [3]


def test_truncated_gzip_is_an_error_and_gives_its_lines(logs: Path) -> None:
    packed = gzip.compress("".join(line(n) for n in range(2000)).encode())
    (logs / "dns.log.gz").write_bytes(packed[: len(packed) // 2])
    reader = Reader(logs, once=True)
    try:
        numbers = reader.read()
    except IndexError:
        pytest.fail("a partial line must not be parsed")
    assert numbers == list(range(len(numbers))) and 100 < len(numbers) < 2000
    total = reader.counters.total()
    assert total.errors == 1 and total.messages == ["truncated-gzip"]


def test_missing_unreadable_and_odd_paths_are_errors(logs: Path) -> None:
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind(str(logs / "odd.log"))
    os.mkfifo(logs / "fifo.log")  # in a folder, a pipe is never opened
    reader = Reader(logs / "nowhere.log", logs / "odd.log", logs, once=True)
    assert reader.read() == []
    assert reader.counters.total().errors == 2


def test_many_finished_files_leave_no_descriptor_open(logs: Path) -> None:
    for number in range(30):
        (logs / f"dns.{number}.log.gz").write_bytes(gzip.compress(line(number).encode()))
    reader = Reader(logs)
    assert sorted(reader.read(4)) == list(range(30))
    assert reader.tailer.sources == {} and len(reader.tailer.finished) == 30


def test_links_that_go_round_end(logs: Path) -> None:
    (logs / "sub").mkdir()
    (logs / "sub" / "up").symlink_to(logs)
    write(logs / "sub" / "dns.log", 1)
    (logs / "current").symlink_to(logs / "sub")
    assert len(discover([logs]).files) == 1


def test_our_own_files_are_never_read(logs: Path) -> None:
    for name in ("out.json", "out.json.20240101T000000.000000Z", "dns.log"):
        write(logs / name, 1)
    (logs / "state").mkdir()
    write(logs / "state" / "x.log", 1)
    found = discover([logs], exclude=[logs / "out.json", logs / "state"])
    assert [f.path.name for f in found.files.values()] == ["dns.log"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("dns.log", True),
        ("dns.10:00:00-11:00:00.log.gz", True),
        ("eve.json", True),
        ("eve.json.1", True),
        ("eve.json-20240101.gz", True),
        ("events.ndjson", True),
        ("notes.txt", False),
        (".dns.log", False),
        ("dns.log.tmp", False),
        ("dns.log.swp", False),
        ("log", False),
    ],
)
def test_names_of_logs(name: str, wanted: bool) -> None:
    assert is_log_name(name) is wanted


@pytest.mark.parametrize(
    ("name", "base", "wanted"),
    [
        ("eve.json.1", "eve.json", True),
        ("eve.json.1.gz", "eve.json", True),
        ("eve-2024.json", "eve.json", True),
        ("dns.2024-01-01-00-00-00.log.gz", "dns.log", True),
        ("dns.log", "dns.log", False),
        ("http.log", "dns.log", False),
        ("dns.log2", "dns.log", False),
        ("dnsx.log", "dns.log", False),
    ],
)
def test_names_of_rotated_logs(name: str, base: str, wanted: bool) -> None:
    assert is_rotation_of(name, base) is wanted


@pytest.mark.parametrize("gz_is_older", [False, True])
def test_a_new_file_with_the_inode_of_a_compressed_one_hides_nothing(logs: Path, tmp_path: Path, gz_is_older: bool) -> None:
    current = logs / "eve.json"
    write(current, 1, 2)
    reader = Reader(logs)
    assert reader.read() == [1, 2]
    reader = reader.restart(tmp_path / "state")
    write(current, 3)  # unread when the sensor is killed
    compress(current, logs / "eve.json.1.gz")
    write(current, 4)
    os.utime(logs / "eve.json.1.gz", (1, 1) if gz_is_older else None)
    os.utime(current, None if gz_is_older else (1, 1))
    checkpoint = reader.tailer.snapshot()
    checkpoint.active[0].inode = current.stat().st_ino  # what ext4 does at once
    reader = Reader(logs, checkpoint=checkpoint)
    assert sorted(reader.read()) == [3, 4]
    assert reader.restart(tmp_path / "state").read() == []


def test_a_file_that_is_gone_does_not_take_the_place_of_one_with_its_inode(logs: Path, tmp_path: Path) -> None:
    write(logs / "dns.log", 1)
    write(logs / "http.1.log", 5)
    compress(logs / "http.1.log", logs / "http.1.log.gz")
    reader = Reader(logs)
    assert sorted(reader.read()) == [1, 5]
    write(logs / "dns.log", 2)
    checkpoint = reader.tailer.snapshot()
    gone, done = checkpoint.active[0], checkpoint.finished[0]
    checkpoint.active, checkpoint.finished = [], [done, gone]
    gone.inode = done.inode
    compress(logs / "dns.log", logs / "dns.1.log.gz")
    reader = Reader(logs, checkpoint=checkpoint)
    assert reader.read() == [2]
    assert reader.restart(tmp_path / "state").read() == []


@pytest.mark.parametrize("max_open", [0, 200])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("moment", ["discover", "_considered", "scan"])
def test_renamed_between_the_look_and_the_opening(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, known: bool, max_open: int
) -> None:
    monkeypatch.setattr(scan, "MAX_OPEN", max_open)
    current = logs / "dns.log"
    write(current, 1)
    reader = Reader(logs)
    numbers = reader.read() if known else []
    if known:
        reader = reader.restart(tmp_path / "state")
    write(current, 2)

    def rotate_after(function: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **kwargs: object) -> object:
            result = function(*args, **kwargs)
            if not (logs / "dns.1.log").exists():
                current.rename(logs / "dns.1.log")
                write(current, 3, 4)
            return result

        return wrapped

    if moment == "discover":
        monkeypatch.setattr(scan, "discover", rotate_after(scan.discover))
    elif moment == "scan":
        monkeypatch.setattr(reader.tailer, "scan", rotate_after(reader.tailer.scan))
    else:
        monkeypatch.setattr(
            scan, "hash_start" if known else "read_fingerprint", rotate_after(scan.hash_start if known else scan.read_fingerprint)
        )
    numbers += reader.read()
    assert sorted(numbers) == [1, 2, 3, 4]
    write(logs / "dns.1.log", 5)
    write(current, 6)
    assert sorted(reader.read()) == [5, 6]
    assert reader.restart(tmp_path / "state").read() == []
    assert reader.counters.total().errors == 0


def test_what_cannot_be_opened_is_not_taken_for_read(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_OPEN", 0)
    monkeypatch.setattr(scan, "IDLE_CLOSE_S", 0.0)
    write(logs / "dns.log", 1)
    reader = Reader(logs)

    def fail(_self: LogFile) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(LogFile, "open", fail)
        assert reader.read() == []
    assert reader.read() == [1]


def test_a_copy_in_the_making_waits_while_the_plain_file_stands_though_a_look_missed_it(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(logs / "dns.1.log", 1, 2)
    (logs / "dns.1.log.gz").write_bytes(gzip.compress((logs / "dns.1.log").read_bytes()))
    real = scan.discover

    def misses_plain(*args: object, **kwargs: object) -> Discovery:
        found = real(*args, **kwargs)  # type: ignore[arg-type]
        found.files = {i: f for i, f in found.files.items() if f.path.suffix == ".gz"}
        return found

    reader = Reader(logs)
    with monkeypatch.context() as patch:
        patch.setattr(scan, "discover", misses_plain)
        assert reader.read() == []
    assert reader.read() == [1, 2]
    (logs / "dns.1.log").unlink()
    assert reader.read() == []


def test_an_archive_of_any_size_is_read_under_a_low_limit_of_descriptors(tmp_path: Path) -> None:
    for hour in range(120):
        text = zeek_log("ts query", *(f"{1_700_000_000 + hour * 3600 + i}.5 n{hour}-{i}.example" for i in range(3)))
        path = tmp_path / "archive" / f"dns.{hour:04}.log.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()))
    held = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 12
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, held[1]))
    try:
        events, summary = watch_once(tmp_path, tmp_path / "archive")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, held)
    assert summary["records"] == 360 and summary["errors"] == 0, summary["messages"][:3]
    assert len(summary["files"]) == 120
    assert [e["time"] for e in events] == sorted(e["time"] for e in events)


def test_files_of_the_same_time_are_read_when_fewer_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_OPEN", 4)
    for number in range(30):
        rows = (f"{1_700_000_000 + i * 60}.5 n{number}-{i}.example" for i in range(400))
        (tmp_path / f"dns-{number}.log").write_text(zeek_log("ts query", *rows))
    events, summary = watch_once(tmp_path, tmp_path, batch_strings=16, emit="alarms")
    assert summary["records"] == 12_000 and summary["errors"] == 0 and not events


def test_many_unfinished_lines_are_not_held_and_are_read_once_they_end(tmp_path, monkeypatch):
    monkeypatch.setattr(tail, "MAX_HELD_BYTES", 200_000)
    paths = [tmp_path / f"dns.{number}.json" for number in range(12)]
    for number, path in enumerate(paths):
        path.write_text(line(number) + '{"ts":1700000500.5,"uid":"' + "u" * 50_000)
    reader = Reader(tmp_path)
    assert sorted(reader.read()) == list(range(12))
    assert reader.tailer._descriptors.held_bytes < 300_000
    for number, path in enumerate(paths):
        with path.open("a") as file:
            file.write(f'","query":"q{100 + number}.example"}}\n')
    assert sorted(reader.read()) == list(range(100, 112))
    for source in reader.tailer.sources.values():
        source.close()
    assert reader.tailer._descriptors.held_bytes == 0


def test_a_large_header_that_was_given_back_is_found_again_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tail, "MAX_HELD_BYTES", 100_000)
    names = [f"f{number}" for number in range(1_000)]
    empty = ["-"] * len(names)
    for number in range(4):
        rows = [" ".join((f"170000000{number}.0", f"q{number}.example", *empty))]
        (tmp_path / f"dns.{number}.log").write_text(zeek_log(" ".join(("ts", "query", *names)), *rows))
    reader = Reader(tmp_path)
    assert sorted(reader.read(rounds=1)) == [0, 1, 2, 3]
    assert reader.tailer._descriptors.held_bytes <= 100_000
    closed = [source for source in reader.tailer.sources.values() if not source.is_open]
    assert closed and all(not source.snapshot().parser for source in closed)
    for number in range(4):
        with (tmp_path / f"dns.{number}.log").open("a") as file:
            file.write("\t".join((f"170000001{number}.0", f"q{10 + number}.example", *empty)) + "\n")
    assert sorted(reader.read()) == [10, 11, 12, 13]
