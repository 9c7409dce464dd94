"""Names that stand for pipes, devices and links, files that go and come back, and state that somebody else wrote."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_demist.cli import main
from edge_demist.errors import InputError
from edge_demist.io import open_regular, read_bounded, replace_file
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.counters import Counters
from edge_demist.sensor.detect.alarms import Budget
from edge_demist.sensor.events import Event, Origin
from edge_demist.sensor.metrics import write_textfile
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.sinks.formats import MAX_SYSLOG_BYTES, syslog
from edge_demist.sensor.sinks.make import make_file_sink
from edge_demist.sensor.sources.checkpoint import CheckpointStore, StateError, _encoded
from edge_demist.sensor.sources.lines import ByteStream
from edge_demist.sensor.sources.tail import Tailer
from edge_demist.sensor.storage import Disk
from tests.support.sensor_fakes import read_events, watch_once, zeek_log
from tools.sensor.fake_model import FakeModel

DNS = zeek_log("ts uid query", "1.5 C1 a.example", "2.5 C2 evil.example")


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "logs" / "dns.log"
    path.parent.mkdir()
    path.write_text(DNS)
    return path


# ---- pipes and devices where a file belongs -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder"])
def test_what_is_no_regular_file_is_not_opened_for_reading(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
            bound.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    for read in (open_regular, lambda p: read_bounded(p, 10), ByteStream):
        with pytest.raises(OSError):
            read(path)


def test_a_pipe_beside_a_gzip(tmp_path, log):
    with gzip.open(tmp_path / "logs" / "a.log.gz", "wt") as stream:
        stream.write('{"ts":1.5,"uid":"G","query":"gz.example"}\n')
    os.mkfifo(tmp_path / "logs" / "a.log")
    tailer = Tailer([tmp_path / "logs"], Counters())
    tailer.scan()
    lines = []
    while (portion := tailer.next_lines(100)) is not None:
        lines += [line.data for line in portion[1]]
    assert any(b"gz.example" in line for line in lines) and any(b"evil.example" in line for line in lines)
    tailer.close()


@pytest.mark.parametrize("option", ["--allow", "--mapping"])
def test_settings_that_are_pipes(tmp_path, log, capsys, option):
    os.mkfifo(tmp_path / "x.toml")
    assert main(["watch", str(log), "--once", "-o", "/dev/null", "--log", "off", option, str(tmp_path / "x.toml")]) == 2
    assert "no regular file" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--allow", "--mapping"])
def test_settings_without_an_end(tmp_path, log, capsys, option):
    (tmp_path / "x.toml").write_bytes(b"#" * (5 << 20))
    assert main(["watch", str(log), "--once", "-o", "/dev/null", "--log", "off", option, str(tmp_path / "x.toml")]) == 2
    assert "larger than" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["checkpoint.json", "finished.json"])
def test_state_that_is_a_pipe(tmp_path, name):
    CheckpointStore(tmp_path / "state").close()
    os.mkfifo(tmp_path / "state" / name)
    store = CheckpointStore(tmp_path / "state")
    _, problems = store.load()
    store.close()
    assert len(problems) == 1 and "no regular file" in problems[0]


@pytest.mark.parametrize("name", ["lock", "in-flight"])
def test_locks_and_notes_that_lead_elsewhere(tmp_path, log, name):
    (tmp_path / "state").mkdir()
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "state" / name).symlink_to(tmp_path / "victim")
    with pytest.raises((StateError, OSError)):
        Runner(WatchConfig(paths=(log,), once=True, output=tmp_path / "o", state=tmp_path / "state"), FakeModel)
    assert (tmp_path / "victim").read_text() == "untouched"


# ---- outputs --------------------------------------------------------------------------------------------------


def reader_of(pipe):
    """What is written to a pipe, collected by a thread."""
    got = []
    thread = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    thread.start()
    return got, thread


@pytest.mark.parametrize(
    "write", [replace_file, lambda p, d: write_textfile(p, d.decode()), Disk().replace_file], ids=["io", "metrics", "disk"]
)
class TestReplacing:
    def test_a_link_stays_and_its_file_is_replaced(self, tmp_path, write):
        (tmp_path / "real").write_text("old")
        (tmp_path / "link").symlink_to("real")
        write(tmp_path / "link", b"new")
        assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"

    def test_a_pipe_is_written_to(self, tmp_path, write):
        os.mkfifo(tmp_path / "pipe")
        got, thread = reader_of(tmp_path / "pipe")
        while True:  # until the reader has come
            try:
                write(tmp_path / "pipe", b"x" * 200_000)
                break
            except OSError as error:
                assert error.errno == 6
        thread.join(30)
        assert got == [b"x" * 200_000] and (tmp_path / "pipe").is_fifo()

    def test_nobody_waits_for_a_reader(self, tmp_path, write):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError):
            write(tmp_path / "pipe", b"x")
        assert (tmp_path / "pipe").is_fifo()

    def test_a_device_stays(self, tmp_path, write):
        (tmp_path / "null").symlink_to("/dev/null")
        write(tmp_path / "null", b"x")
        assert (tmp_path / "null").is_symlink() and Path("/dev/null").is_char_device()

    def test_planted_names_are_not_followed(self, tmp_path, write):
        (tmp_path / "victim").write_text("untouched")
        for name in (".s.json.tmp", "s.json.tmp", f".s.json.{os.getpid()}.tmp"):
            (tmp_path / name).symlink_to("victim")
        write(tmp_path / "s.json", b"new")
        assert (tmp_path / "victim").read_text() == "untouched" and (tmp_path / "s.json").read_bytes() == b"new"

    def test_a_failed_write_leaves_nothing(self, tmp_path, write):
        (tmp_path / "folder").mkdir()
        with pytest.raises(OSError):
            write(tmp_path / "folder", b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_output_pipe_without_a_reader_is_refused(tmp_path, log, capsys):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="nobody reads"):
        make_file_sink("jsonl", tmp_path / "pipe")
    assert main(["watch", str(log), "--once", "-o", str(tmp_path / "pipe"), "--log", "off"]) == 2


STANDS_STILL = """
import sys
from pathlib import Path
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control
from edge_demist.sensor.retry import Stopped
from edge_demist.sensor.runner import Runner
from tools.sensor.fake_model import FakeModel

control = Control()
control.install()
runner = Runner(WatchConfig(paths=(Path({path!r}),)), FakeModel, control=control)
print("running", file=sys.stderr, flush=True)
try:
    runner.run()
except Stopped:
    print("given up", file=sys.stderr)
"""


def test_a_reader_that_stands_still_is_given_up_after_a_stop(tmp_path):
    rows = [f"{i}.5 C{i} host-{i}.example" for i in range(3000)]
    (tmp_path / "dns.log").write_text(zeek_log("ts uid query", *rows))
    out, into = os.pipe()
    code = STANDS_STILL.format(path=str(tmp_path / "dns.log"))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=into, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    os.close(into)
    assert child.stderr is not None and child.stderr.readline() == "running\n"
    threading.Event().wait(2.0)  # long enough to fill the pipe
    child.terminate()
    try:
        assert child.wait(30) == 0  # far more than is needed, far less than for ever
        assert "given up" in child.stderr.read()
    finally:
        child.kill()
        os.close(out)
        child.stderr.close()


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-"])
def test_standard_streams_that_are_closed(tmp_path, log, closed):
    """The file that came first had the number of standard output, and a run ended with a traceback."""
    command = [sys.executable, "-m", "edge_demist", "watch", str(log), "--once", "--emit", "all"]

    def run(*more: str) -> subprocess.CompletedProcess[bytes]:
        shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *command, *more]
        return subprocess.run(shell, stderr=subprocess.PIPE, check=False, cwd=Path(__file__).parents[2], timeout=60)

    done = run("--state", str(tmp_path / "state"), "-o", str(tmp_path / "out"))
    assert done.returncode == 0 and b"Traceback" not in done.stderr and len(read_events(tmp_path / "out")) >= 1
    lost = run()
    assert lost.returncode == 1 and (b"Bad file descriptor" in lost.stderr) == (closed == ">&-")


# ---- files that come back -------------------------------------------------------------------------------------


def read_all(tailer):
    tailer.scan()
    lines = []
    while (portion := tailer.next_lines(100)) is not None:
        lines += [(portion[0].key, line.data) for line in portion[1]]
    tailer.close_finished()
    return lines


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("grown", [False, True])
def test_what_comes_back_is_what_went(tmp_path, log, what, grown):
    tailer = Tailer([tmp_path / "logs"], Counters())
    first = read_all(tailer)
    there = log if what == "file" else log.parent
    there.rename(tmp_path / "away")
    assert read_all(tailer) == []
    assert read_all(tailer) == []
    (tmp_path / "away").rename(there)
    if grown:
        with log.open("a") as stream:
            stream.write("3.5\tC3\tc.example\n")
    again = read_all(tailer)
    assert [data for _, data in again] == ([b"3.5\tC3\tc.example"] if grown else [])
    assert {key for key, _ in first + again} == {first[0][0]}
    tailer.close()


def test_another_file_of_that_name_is_another_file(tmp_path, log):
    tailer = Tailer([tmp_path / "logs"], Counters())
    first = read_all(tailer)
    log.rename(tmp_path / "away")
    read_all(tailer)
    log.write_text(DNS.replace("C1", "D1"))
    again = read_all(tailer)
    assert len(again) == len(first) and again[0][0] != first[0][0]
    tailer.close()


# ---- state ----------------------------------------------------------------------------------------------------

GOOD = {
    "path": "/x/dns.log",
    "device": 1,
    "inode": 2,
    "fingerprint": "0" * 64,
    "head_bytes": 10,
    "occurrence": 0,
    "offset": 5,
    "size": 10,
    "mtime_ns": 1,
    "unterminated": False,
    "clock_us": 1,
    "parser": {"path": "dns"},
}
WRONG = [
    ("offset", "x"),
    ("offset", -5),
    ("offset", 10**30),
    ("offset", 1.5),
    ("offset", True),
    ("head_bytes", 10**12),
    ("head_bytes", -1),
    ("parser", {"path": "\u0100"}),
    ("parser", {"path": 5}),
    ("parser", []),
    ("parser", {str(i): "" for i in range(100)}),
    ("parser", {"\u0100": "x"}),
    ("path", 5),
    ("path", ""),
    ("path", "x\0y"),
    ("path", "a" * 5000),
    ("fingerprint", "zz"),
    ("fingerprint", None),
    ("occurrence", -1),
    ("unterminated", "no"),
    ("clock_us", 10**30),
    ("mtime_ns", "now"),
    ("size", None),
    ("device", -1),
    ("surprise", 1),
]


def forge(folder, body, name="checkpoint.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"".join(_encoded(body)))


@pytest.mark.parametrize(("name", "value"), WRONG, ids=range(len(WRONG)))
@pytest.mark.parametrize("file", ["checkpoint.json", "finished.json"])
def test_state_with_the_right_checksum_and_wrong_values(tmp_path, log, name, value, file):
    forge(tmp_path / "state", {"files": [GOOD | {name: value}]}, file)
    told = []
    settings = WatchConfig(paths=(log,), once=True, output=tmp_path / "o", state=tmp_path / "state")
    runner = Runner(settings, FakeModel, log=lambda event, facts: told.append(event))
    runner.run()
    runner.close()
    assert "state-damaged" in told and {event["uid"] for event in read_events(tmp_path / "o")} == {"C1", "C2"}


@pytest.mark.parametrize(
    "body",
    [
        {"output": {"length": "x"}},
        {"output": {"length": -1}},
        {"output": {"length": 10**40}},
        {"output": {"strange": 1}},
        {"output": []},
        {"committed_at": "now"},
        {"committed_at": float("nan")},
        {"committed_at": 10**30},
        {"files": {}},
        {"files": [[]]},
        {"files": [None]},
        {"alarms": []},
        {"alarms": {"now_us": 10**40}},
        {"alarms": {"now_us": "x"}},
        {"alarms": {"windows": {"*": ["x"]}}},
        {"alarms": {"windows": {"*": 5}}},
        {"alarms": {"seen": [["a", 1]]}},
        {"alarms": {"seen": [["a", "x", True]]}},
        {"alarms": {"seen": 7}},
        {"alarms": {"thresholds": {"dga": float("nan")}}, "bundle_id": "fake"},
        {"alarms": {"thresholds": {"dga": 99}}, "bundle_id": "fake"},
        {"alarms": {"sketches": {"dga": {"counts": {"-999999": 1}}}}, "bundle_id": "fake"},
        {"alarms": {"sketches": {"dga": {"counts": {"1": 1e999}}}}, "bundle_id": "fake"},
        {"alarms": {"adapted_at": {"dga": "x"}}, "bundle_id": "fake"},
    ],
    ids=range(24),
)
def test_state_with_wrong_numbers_is_said_to_be_damaged(tmp_path, log, body):
    forge(tmp_path / "state", {"files": [], **body})
    told = []
    settings = WatchConfig(paths=(log,), once=True, output=tmp_path / "o", state=tmp_path / "state", budget=Budget({"*": 5, "dga": 3}))
    runner = Runner(settings, FakeModel, log=lambda event, facts: told.append(event))
    runner.run()
    runner.close()
    events = read_events(tmp_path / "o")
    assert "state-damaged" in told and {event["uid"] for event in events} == {"C1", "C2"}
    assert any(event.get("alarm") for event in events)


# ---- alarms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [",1" * 4100, "\udcff" * 8000, "\u202e" * 8000, '"' * 8000, "\\" * 8000, "\x00" * 8000, "a" * 100_000])
@pytest.mark.parametrize("path", ["/var/log/http.log", "/" + "\u20ac" * 1300])
def test_a_syslog_message_is_whole_json_however_long_the_text(text, path):
    origin = Origin(1_700_000_000_000_000, path, 5, "zeek.http", {"uid": "C1"}, {})
    event = Event(origin, "0" * 32, "uri", "/i?id=1" + text, "uri-attack", "m" * 64, "sqli", 0.99, 0.99, 0.9, alarm=True)
    message = syslog(event)
    assert len(message) <= MAX_SYSLOG_BYTES
    body = json.loads(message[message.index(b"] ") + 2 :])
    assert body["event_id"] == "0" * 32 and body["task"] == "uri-attack" and body["truncated"] is True


def test_what_was_held_back_is_counted_by_reason_and_a_spent_budget_is_told(tmp_path):
    rows = [f"{1700000000 + i}.0 C{i} evil-{i % 30}.example" for i in range(60)]
    (tmp_path / "dns.log").write_text(zeek_log("ts uid query", *rows))
    (tmp_path / "allow.toml").write_text('[[allow]]\nkind = "exact"\nvalue = "evil-0.example"\nreason = "ours"\n')
    told = []
    _, summary = watch_once(
        tmp_path,
        tmp_path / "dns.log",
        budget=Budget({"*": 5}),
        allow=(tmp_path / "allow.toml",),
        metrics=tmp_path / "m.prom",
        emit="alarms",
        log=lambda event, facts: told.append(event),
    )
    assert summary["alarms"] == 5 and told.count("budget-spent") == 1
    assert set(summary["suppressed"]) == {"allow-list", "budget", "repeat"} and summary["suppressed"]["budget"] > 50
    metrics = (tmp_path / "m.prom").read_text()
    assert f'edge_demist_suppressed_total{{reason="budget"}} {summary["suppressed"]["budget"]}' in metrics
