"""Who takes what the sensor says a little at a time is not waited for in silence; what stands under names of ours gives way."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_demist import io
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.indicators import SocketError, SuricataSocket
from edge_demist.sensor.retry import Abandoned
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.sinks.stream import StreamSink
from edge_demist.sensor.sinks.syslog import SyslogSink
from edge_demist.sensor.sources.checkpoint import Checkpoint, CheckpointStore
from tools.sensor.fake_model import FakeModel


@contextlib.contextmanager
def slowly(take: Callable[[], object], every_s: float = 0.01) -> Iterator[None]:
    """Meanwhile something is taken again and again."""
    over = threading.Event()

    def act() -> None:
        while not over.wait(every_s):
            with contextlib.suppress(OSError):
                take()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Breath:
    """Counts, and has enough after some."""

    def __init__(self, most: int) -> None:
        self.left = most

    def __call__(self) -> None:
        """Once more."""
        self.left -= 1
        if not self.left:
            raise Abandoned


def test_a_slow_reader_of_a_pipe_keeps_nobody_from_breathing():
    out, into = os.pipe()
    sink = StreamSink(into, own=True)
    sink.breathe = Breath(25)  # more blocks than a pipe holds
    sink.write_lines(b"a" * 79 + b"\n" * (1 << 20))
    before = sink.backlog_bytes
    with slowly(lambda: os.read(out, 4096)), pytest.raises(Abandoned):
        sink.sync()
    assert 0 < sink.backlog_bytes <= before - 25 * 4096
    sink.close()
    os.close(out)


def test_a_slow_reader_of_syslog_keeps_nobody_from_breathing(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(1.0)
        sink = SyslogSink(str(tmp_path / "log"))
        sink._queue, sink.breathe = [b"x" * 4000] * 5000, Breath(200)
        with slowly(lambda: server.recv(8192), 0.001), pytest.raises(Abandoned):
            sink.sync()
        assert sink.backlog_bytes == 4800 * 4000
        sink.close()


def test_the_sensor_breathes_in_its_sinks(tmp_path):
    (tmp_path / "dns.log").write_text("")
    with (tmp_path / "null").open("w"):
        config = WatchConfig(paths=(tmp_path / "dns.log",), once=True, syslog=str(tmp_path / "log"), output=Path("/dev/null"))
    runner = Runner(config, FakeModel)
    assert [sink.breathe for sink in runner.sinks] == [runner._breathe] * 2  # type: ignore[attr-defined]
    runner.close()


def test_a_slow_reader_of_a_pipe_with_metrics_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "WRITE_WAIT_S", 0.2)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    began = time.monotonic()
    with slowly(lambda: os.read(reader, 512)), pytest.raises(BlockingIOError):
        io.replace_file(tmp_path / "pipe", bytes(200_000))
    assert time.monotonic() - began < 20.0
    os.close(reader)


@pytest.mark.parametrize("name", ["checkpoint.json", "finished.json"])
@pytest.mark.parametrize("what", ["pipe", "link", "link to nothing"])
def test_what_stands_under_the_name_of_a_state_gives_way(tmp_path, name, what):
    victim, store = tmp_path / "victim", CheckpointStore(tmp_path / "state")
    if what == "pipe":
        os.mkfifo(tmp_path / "state" / name)
    else:
        (tmp_path / "state" / name).symlink_to(victim)
    if what == "link":
        victim.write_text("untouched")
    store.commit(Checkpoint(bundle_id="x"))
    assert stat.S_ISREG((tmp_path / "state" / name).lstat().st_mode) and store.load()[0].bundle_id == "x"
    assert victim.exists() == (what == "link") and (what != "link" or victim.read_text() == "untouched")
    store.close()


@pytest.mark.parametrize("said", [b" ", b"{", b"}", b"[]\n", b'{"a":', b'"}'])
def test_a_socket_that_says_little_by_little_nothing_is_given_up(tmp_path, said):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "suricata"))
        server.listen()
        began, taken = time.monotonic(), []

        def say() -> None:
            taken.extend([server.accept()[0]] if not taken else [])
            taken[0].send(said)

        with slowly(say), pytest.raises(SocketError, match=r"takes too long|no answer|timed out"):
            SuricataSocket(tmp_path / "suricata", timeout_s=0.4)
        assert time.monotonic() - began < 10.0
        taken[0].close()
