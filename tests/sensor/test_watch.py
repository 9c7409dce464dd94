"""``watch`` as a whole: the counters balance, events join with their lines, restarts, reloads, signals, sinks."""

from __future__ import annotations

import base64
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge_demist.errors import BundleError, InputError
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control, ServiceManager
from edge_demist.sensor.reports import exit_code
from edge_demist.sensor.retry import Stopped
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.sinks.file import FileSink
from edge_demist.sensor.sinks.formats import ZEEK_FIELDS
from edge_demist.sensor.sources.checkpoint import CheckpointStore, StateError
from edge_demist.sensor.sources.parser import LineParser
from edge_demist.sensor.sources.zeek import ZeekRecord
from tests.support.sensor_fakes import RAW, ROOT, balanced, needs_raw, read_events, read_log, watch_once, zeek_log
from tools.sensor.fake_model import FakeModel
from tools.sensor.faults import FastDisk, LogWorld, ScriptedControl, refuse

DNS = zeek_log("ts uid id.orig_h id.orig_p query", "1.5 C1 10.0.0.1 53 a.example", "2.5 C2 10.0.0.2 53 evil.example", "3.5 C3 - - -")


@needs_raw
@pytest.mark.parametrize("emit", ["all", "alarms"])
def test_every_record_of_the_sample_logs_is_accounted_for(tmp_path: Path, emit: str) -> None:
    events, summary = watch_once(tmp_path, RAW, emit=emit)
    assert balanced(summary) and summary["errors"] == 0 and summary["events"] == len(events)
    assert set(summary["files"]) == {str(p) for p in RAW.glob("*.gz")}
    for name, counts in summary["files"].items():
        lines = [line for line in read_log(Path(name)).split(b"\n") if line.strip() and not line.startswith(b"#")]
        assert counts["records"] == len(lines), name
        assert balanced(counts)
        assert counts["events"] == sum(e["file"] == name for e in events)
        assert counts["records_out"] == len({e["offset"] for e in events if e["file"] == name})
    assert len({e["event_id"] for e in events}) == len(events)
    if emit == "all":
        assert summary["predictions"] == len(events) > 80_000


@needs_raw
def test_offsets_lead_back_to_the_line(tmp_path: Path) -> None:
    name = RAW / "zeek-tsv_http.log.gz"
    events, _ = watch_once(tmp_path, name)
    raw = read_log(name)
    parser = LineParser("http.log")
    for line in raw.split(b"\n")[:8]:
        parser.parse(line)
    checked = 0
    for event in events:
        record = parser.parse(raw[event["offset"] :].split(b"\n", 1)[0])
        assert isinstance(record, ZeekRecord)
        if "+" not in event["field"]:
            assert event["text"] in record.values(event["field"])
            checked += 1
        assert record.scalar("uid") == event["uid"] and record.scalar("id.orig_h") == event["src_ip"]
    assert checked > 100


def test_an_event_carries_what_is_promised(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    events, summary = watch_once(tmp_path, tmp_path / "dns.log")
    alarm = next(e for e in events if e.get("alarm") and e["task"] == "dga")
    assert alarm["time"] == "1970-01-01T00:00:02.500000Z" and alarm["uid"] == "C2" and alarm["text"] == "evil.example"
    assert alarm["file"] == str(tmp_path / "dns.log") and alarm["model"] == "fake" and alarm["label"] == "bad"
    assert alarm["src_ip"] == "10.0.0.2" and alarm["src_port"] == 53 and len(alarm["event_id"]) == 32
    start, end = alarm["why"][0]["start"], alarm["why"][0]["end"]
    assert "evil.example"[start:end] == "evil" and alarm["allow_rule"] == {"task": "dga", "kind": "suffix", "value": "evil.example"}
    assert summary["skipped"] == {"no-string": 1} and summary["records_out"] == 2 and summary["alarms_by_task"]["dga"] == 1


def test_event_ids_are_the_same_in_every_run_and_form(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    first, _ = watch_once(tmp_path, tmp_path / "dns.log")
    second, _ = watch_once(tmp_path, tmp_path / "dns.log", batch_strings=1, cache_entries=0)
    assert [e["event_id"] for e in first] == [e["event_id"] for e in second]


@pytest.mark.parametrize(("batch", "cache"), [(1, 0), (3, 2), (1000, 1000)])
def test_batches_and_cache_change_no_event(tmp_path: Path, batch: int, cache: int) -> None:
    rows = [f"{i}.5 C{i} 10.0.0.1 53 {'evil' if i % 7 == 0 else 'n'}{i % 13}.example" for i in range(60)]
    (tmp_path / "dns.log").write_text(zeek_log("ts uid id.orig_h id.orig_p query", *rows))
    expected, _ = watch_once(tmp_path, tmp_path / "dns.log")
    events, summary = watch_once(tmp_path, tmp_path / "dns.log", batch_strings=batch, cache_entries=cache)
    assert events == expected
    assert sum(summary["cache"][k] for k in ("hits", "duplicates_in_batch", "misses")) == 240


def test_emit_alarms_leaves_the_rest_to_the_books(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    events, summary = watch_once(tmp_path, tmp_path / "dns.log", emit="alarms")
    assert {e["text"] for e in events} == {"evil.example"} and all(e["alarm"] for e in events)
    assert summary["skipped"] == {"no-alarm": 1, "no-string": 1} and balanced(summary)


def test_damage_of_every_kind_is_skipped_with_a_reason(tmp_path: Path) -> None:
    text = DNS + "4.5\ttoo\tfew\n" + "5.5\tC\0\t1.1.1.1\t1\tx\n" + "x" * 3000 + "\n" + "6.5 cut"
    (tmp_path / "dns.log").write_text(text)
    (tmp_path / "eve.json").write_text('{"a":\n[]\n{"timestamp":"x","event_type":"dns"}\nnot json\n{"half":')
    _, summary = watch_once(tmp_path, tmp_path / "dns.log", tmp_path / "eve.json", max_line_bytes=2000)
    dns, eve = (summary["files"][str(tmp_path / n)] for n in ("dns.log", "eve.json"))
    assert dns["skipped"] == {"corrupt": 1, "field-count": 1, "line-too-long": 1, "no-string": 1, "partial-line": 1}
    assert eve["skipped"] == {"bad-json": 1, "no-header": 1, "no-string": 1, "not-an-object": 1, "partial-line": 1}
    assert balanced(summary) and summary["errors"] == 0 and exit_code(summary, Control()) == 0


def test_a_string_that_cannot_be_processed_is_an_event_with_an_error(tmp_path: Path) -> None:
    class Picky(FakeModel):
        def _answer(self, text: str, task: str):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            answer = super()._answer(text, task)
            return replace(answer, error="too odd\x1b[31m") if "evil" in text and task == "dga" else answer

    (tmp_path / "dns.log").write_text(DNS)
    events, summary = watch_once(tmp_path, tmp_path / "dns.log", model=Picky(), emit="alarms")
    failed = [e for e in events if "error" in e]
    assert len(failed) == 1 and failed[0]["task"] == "dga" and "label" not in failed[0]
    assert summary["errors"] == 1 and exit_code(summary, Control()) == 1
    assert b"\x1b" not in (tmp_path / "events.jsonl").read_bytes()


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_embeddings_on_request(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "x509.log").write_text(zeek_log("ts certificate.issuer", "1.5 CN=a", path="x509"))
    (event,), _ = watch_once(tmp_path, tmp_path / "x509.log", embeddings=dtype)
    body = event["embedding"]
    data = np.frombuffer(base64.b64decode(body["data"]), dtype={"int8": "i1", "float32": "<f4"}[dtype])
    vector = data * body.get("scale", 1.0)
    expected = FakeModel().encode(["CN=a"])[0]
    assert event["task"] == "embedding" and body["dim"] == len(vector) == 16
    assert np.abs(vector - expected).max() <= (0.0 if dtype == "float32" else 1 / 200)


def test_no_embeddings_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "x509.log").write_text(zeek_log("ts certificate.issuer", "1.5 CN=a", path="x509"))
    events, summary = watch_once(tmp_path, tmp_path / "x509.log")
    assert events == [] and summary["skipped"] == {"embeddings-off": 1}


# --- forms and sinks ------------------------------------------------------------------------------------------------


def test_eve_form(tmp_path: Path) -> None:
    event = {"timestamp": "2020-01-01T00:00:00.5+0100", "event_type": "dns", "flow_id": 2**60, "src_ip": "10.0.0.1", "src_port": 5}
    (tmp_path / "eve.json").write_text(json.dumps(event | {"proto": "UDP", "dns": {"rrname": "a.example"}}) + "\n")
    events, _ = watch_once(tmp_path, tmp_path / "eve.json", form="eve")
    assert len(events) == 4
    assert {k: v for k, v in events[0].items() if k != "ml"} == {
        "timestamp": "2019-12-31T23:00:00.500000+0000",
        "flow_id": 2**60,
        "event_type": "ml",
        "src_ip": "10.0.0.1",
        "src_port": 5,
        "proto": "UDP",
    }
    assert events[0]["ml"]["text"] == "a.example" and events[0]["ml"]["event_id"]


def test_zeek_form_is_read_back_by_our_own_parser(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS.replace("a.example", "a\\x09b\\x1b[0m\\xff\\\\x.example"))
    _watch(tmp_path / "dns.log", output=tmp_path / "events.jsonl", form="zeek", once=True)
    raw = (tmp_path / "events.jsonl").read_bytes()
    assert raw.isascii() and b"\x1b" not in raw
    parser = LineParser("ml.log")
    rows = [r for line in raw.split(b"\n") if (r := parser.parse(line)) is not None]
    assert len(rows) == 8 and all(isinstance(r, ZeekRecord) for r in rows)
    assert rows[0].values("text") == ["a\tb\x1b[0m\\xff\\x.example"] and rows[0].time_us == 1_500_000  # type: ignore[union-attr]
    assert rows[0].header.fields == tuple(n for n, _ in ZEEK_FIELDS)  # type: ignore[union-attr]


def test_parquet_for_batches(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    (tmp_path / "dns.log").write_text(DNS)
    events, _ = watch_once(tmp_path, tmp_path / "dns.log")
    (tmp_path / "out").mkdir()
    _watch(tmp_path / "dns.log", output=tmp_path / "out" / "e.parquet", form="parquet", once=True)
    rows = parquet.read_table(tmp_path / "out" / "e.parquet").to_pylist()
    assert [r["event_id"] for r in rows] == [e["event_id"] for e in events]
    assert [r["score"] for r in rows] == [e["score"] for e in events]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["e.parquet"]
    with pytest.raises(InputError, match="parquet"):
        WatchConfig(paths=(tmp_path,), form="parquet")


def _watch(*paths: Path, control: Control | None = None, disk: FastDisk | None = None, **options: object) -> Runner:
    runner = Runner(WatchConfig(paths=paths, **options), FakeModel, control=control, disk=disk)  # type: ignore[arg-type]
    try:
        runner.run()
    finally:
        runner.close()
    return runner


def test_syslog_messages(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS.replace("a.example", "q\\x22]\\x0a<13>.example"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log.sock"))
        server.settimeout(5)
        _watch(tmp_path / "dns.log", syslog=str(tmp_path / "log.sock"), once=True)
        messages = [server.recv(65536) for _ in range(8)]
    assert all(m.isascii() and b"\n" not in m and m.startswith((b"<132>1 ", b"<134>1 ")) for m in messages)
    header, _, body = messages[0].partition(b"] {")
    assert header.split(b" ")[3] == b"edge-demist" and b'[ml@32473 id="' in header
    assert json.loads(b"{" + body)["text"] == 'q"]\n<13>.example'


def test_a_syslog_that_is_away_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    path, got = tmp_path / "log.sock", []
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    class Late(Control):
        def wait(self, seconds: float) -> None:
            if not path.exists():
                server.bind(str(path))

    runner = _watch(tmp_path / "dns.log", syslog=str(path), once=True, control=Late())
    server.settimeout(5)
    got = [server.recv(65536) for _ in range(8)]
    server.close()
    assert runner.gauges().disk_trouble == 1 and len(got) == 8


@pytest.mark.parametrize("state", [False, True])
def test_a_device_or_a_pipe_is_written_to_as_a_stream(tmp_path: Path, state: bool) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    keep = {"state": tmp_path / "s"} if state else {}
    _watch(tmp_path / "dns.log", output=tmp_path / "pipe", once=True, **keep)
    assert os.read(reader, 1 << 16).count(b"\n") == 8
    os.close(reader)
    assert _watch(tmp_path / "dns.log", output=Path("/dev/null"), once=True).counters.total().events == 8


def test_a_torn_tail_is_cut_and_told(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    config = {"output": tmp_path / "e.jsonl", "state": tmp_path / "state", "once": True}
    _watch(tmp_path / "dns.log", **config)
    whole = (tmp_path / "e.jsonl").read_bytes()
    (tmp_path / "e.jsonl").write_bytes(whole + b'{"event_id":"x"}\n{"torn":')
    told: list[tuple[str, dict]] = []
    Runner(WatchConfig(paths=(tmp_path / "dns.log",), **config), FakeModel, log=lambda e, f: told.append((e, f))).close()  # type: ignore[arg-type]
    assert (tmp_path / "e.jsonl").read_bytes() == whole + b'{"event_id":"x"}\n'
    assert told[0][0] == "output-tail-cut" and told[0][1]["bytes"] == 8


@pytest.mark.parametrize("form", ["jsonl", "eve", "zeek"])
def test_losing_the_checkpoint_repeats_nothing_that_is_still_in_the_output(tmp_path: Path, form: str) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    config = {"output": tmp_path / "e.out", "once": True, "form": form}
    _watch(tmp_path / "dns.log", state=tmp_path / "one", **config)
    whole = (tmp_path / "e.out").read_bytes()
    again = _watch(tmp_path / "dns.log", state=tmp_path / "two", **config)
    assert (tmp_path / "e.out").read_bytes() == whole and again.gauges().repeats_dropped == 8


def test_rotation_of_the_output_keeps_every_event(tmp_path: Path) -> None:
    rows = [f"{i}.5 C{i} 10.0.0.1 53 n{i}.example" for i in range(200)]
    (tmp_path / "dns.log").write_text(zeek_log("ts uid id.orig_h id.orig_p query", *rows))
    config = {"output": tmp_path / "e.zeek", "form": "zeek", "batch_strings": 10, "commit_s": 0.0, "rotate_bytes": 9000}
    _watch(tmp_path / "dns.log", state=tmp_path / "s", once=True, **config)
    parts = sorted(tmp_path.glob("e.zeek*"))
    assert len(parts) > 5 and all(p.read_bytes().startswith(b"#separator") for p in parts)
    ids = [line.split(b"\t")[1] for p in parts for line in p.read_bytes().splitlines() if not line.startswith(b"#")]
    assert len(ids) == len(set(ids)) == 800


def test_old_rotated_outputs_are_dropped_if_asked(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "e", rotate_bytes=1, keep=2, append=False)
    for number in range(6):
        sink._push(b"%d\n" % number)
        sink.sync()
        sink.after_commit()
    assert len(list(tmp_path.glob("e.2*Z"))) == 2


# --- state ----------------------------------------------------------------------------------------------------------


def test_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    log = tmp_path / "dns.log"
    log.write_text(DNS)
    config = {"output": tmp_path / "e.jsonl", "state": tmp_path / "state", "once": True}
    _watch(log, **config)
    first = len(read_events(tmp_path / "e.jsonl"))
    with log.open("a") as file:
        file.write("9.5\tC9\t10.0.0.1\t53\tnew.example\n")
    _watch(log, **config)
    events = read_events(tmp_path / "e.jsonl")
    assert first == 8 and len(events) == 12 and {e["text"] for e in events[8:]} == {"new.example"}


def test_without_state_the_output_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    for _ in range(2):
        events, _ = watch_once(tmp_path, tmp_path / "dns.log")
        assert len(events) == 8


def test_a_watcher_that_cannot_start_gives_the_state_back(tmp_path: Path) -> None:
    config = WatchConfig(paths=(tmp_path,), state=tmp_path / "s", output=tmp_path / "e", mapping=tmp_path / "none.toml")
    with pytest.raises(InputError):
        Runner(config, FakeModel)
    CheckpointStore(tmp_path / "s").close()


def test_two_watchers_cannot_share_a_state(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "state")
    with pytest.raises(StateError, match="another"):
        CheckpointStore(tmp_path / "state")
    store.close()
    CheckpointStore(tmp_path / "state").close()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format":99}', b'{"format":1,"sum":"x","body":{}}', b"\xff" * 50, b"[" * 9999])
@pytest.mark.parametrize("name", ["checkpoint.json", "finished.json"])
def test_a_damaged_checkpoint_is_set_aside_and_all_is_read_again(tmp_path: Path, damage: bytes, name: str) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    config = {"output": tmp_path / "e.jsonl", "state": tmp_path / "state", "once": True}
    _watch(tmp_path / "dns.log", **config)
    whole = (tmp_path / "e.jsonl").read_bytes()
    for one in ("checkpoint.json", "finished.json"):
        if one == name or name == "finished.json":
            (tmp_path / "state" / one).write_bytes(damage)
    store = CheckpointStore(tmp_path / "state")
    _, problems = store.load()
    store.close()
    assert problems and (tmp_path / "state" / f"{name}.bad").exists()
    _watch(tmp_path / "dns.log", **config)
    assert (tmp_path / "e.jsonl").read_bytes() == whole


def test_alarm_decisions_survive_a_restart(tmp_path: Path) -> None:
    rows = [f"{i * 600}.5 C{i} 10.0.0.1 53 evil{i % 50}.example" for i in range(400)]
    log, options = tmp_path / "dns.log", {"once": True, "batch_strings": 4, "explain": False, "emit": "all"}
    from edge_demist.sensor.detect.budget import Budget

    options["budget"] = Budget({"*": 5})
    log.write_text(zeek_log("ts uid id.orig_h id.orig_p query", *rows))
    expected, _ = watch_once(tmp_path, log, **options)
    log.write_text(zeek_log("ts uid id.orig_h id.orig_p query", *rows[:150]))
    config = options | {"output": tmp_path / "r.jsonl", "state": tmp_path / "state"}
    _watch(log, **config)
    with log.open("a") as file:
        file.write("".join(row.replace(" ", "\t") + "\n" for row in rows[150:]))
    _watch(log, **config)
    assert [(e["text"], e["task"], e.get("alarm"), e.get("threshold")) for e in read_events(tmp_path / "r.jsonl")] == [
        (e["text"], e["task"], e.get("alarm"), e.get("threshold")) for e in expected
    ]
    assert 0 < sum(e.get("alarm", False) for e in expected) <= 20


# --- following, signals, reload -------------------------------------------------------------------------------------


def test_following_a_world_that_rotates(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    world = LogWorld(tmp_path / "logs", 7, 300)
    runner = _watch(tmp_path / "logs", output=tmp_path / "e.jsonl", control=ScriptedControl(world), scan_s=0.0, scan_share=0.0)
    events = read_events(tmp_path / "e.jsonl")
    assert {e["text"] for e in events} == set(world.written) and len(events) == 4 * len(world.written)
    assert runner.counters.total().records == len(world.written) and runner.tailer.lag_bytes == 0


def test_a_full_disk_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    told: list[str] = []
    config = WatchConfig(paths=(tmp_path / "dns.log",), output=tmp_path / "e.jsonl", state=tmp_path / "s", once=True)

    class NoWait(Control):
        def wait(self, seconds: float) -> None:
            told.append(f"wait {seconds}")

    disk = FastDisk(refuse(9, 6, errno.ENOSPC))
    runner = Runner(config, FakeModel, control=NoWait(), disk=disk, log=lambda e, _f: told.append(e))
    runner.run()
    runner.close()
    assert "waiting-for-output" in told and "output-takes-data-again" in told
    assert len(read_events(tmp_path / "e.jsonl")) == 8


def test_a_stop_while_the_disk_is_full_leaves_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    config = WatchConfig(paths=(tmp_path / "dns.log",), output=tmp_path / "e.jsonl", state=tmp_path / "s", once=True)

    class StopSoon(Control):
        def pause(self, seconds: float) -> None:
            pass

        def wait(self, seconds: float) -> None:
            self.stop = True

    runner = Runner(config, FakeModel, control=StopSoon(), disk=FastDisk(refuse(9, 10**9)))
    with pytest.raises(Stopped):
        runner.run()
    runner.close()
    _watch(tmp_path / "dns.log", output=tmp_path / "e.jsonl", state=tmp_path / "s", once=True)
    events = read_events(tmp_path / "e.jsonl")
    assert len(events) == len({e["event_id"] for e in events}) == 8


def test_other_disk_errors_are_not_swallowed(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    with pytest.raises(OSError, match="Permission"):
        _watch(tmp_path / "dns.log", output=tmp_path / "e", state=tmp_path / "s", once=True, disk=FastDisk(refuse(3, 99, errno.EACCES)))


class ReloadOnce(Control):
    """Asks for a reload at the first wait, stops at the third."""

    def __init__(self, before: object) -> None:
        super().__init__()
        self._before, self._waits = before, 0

    def wait(self, seconds: float) -> None:
        self._waits += 1
        if self._waits == 1:
            self._before()  # type: ignore[operator]
            self.reload = True
        self.stop = self._waits >= 4


@pytest.mark.parametrize("fate", ["good", "broken-bundle", "broken-self-test", "broken-allow-list"])
def test_reload_swaps_only_what_is_sound(tmp_path: Path, fate: str) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    allow = tmp_path / "allow.toml"
    allow.write_text("")
    loads = 0

    class Mute(FakeModel):
        def classify(self, texts, task):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            return [replace(a, error="mute") for a in super().classify(texts, task)]

    def load() -> FakeModel:
        nonlocal loads
        loads += 1
        if loads == 1:
            return FakeModel("old")
        if fate == "broken-bundle":
            raise BundleError("hash does not match")
        return Mute("new") if fate == "broken-self-test" else FakeModel("new")

    def before() -> None:
        text = "[[allow]]\nkind='suffix'\nvalue='evil.example'\nreason='test'\n"
        allow.write_text(text if fate != "broken-allow-list" else "[[allow]]\n")
        with (tmp_path / "dns.log").open("a") as log:
            log.write("90000.5\tC9\t10.0.0.1\t53\tsub.evil.example\n")

    config = WatchConfig(paths=(tmp_path / "dns.log",), output=tmp_path / "e", allow=(allow,), scan_s=0.0, scan_share=0.0)
    runner = Runner(config, load, control=ReloadOnce(before))  # type: ignore[arg-type]
    runner.run()
    runner.close()
    last = [e for e in read_events(tmp_path / "e") if e["text"] == "sub.evil.example" and e["task"] == "dga"]
    assert len(last) == 1
    assert last[0]["model"] == ("new" if fate == "good" else "old")
    assert last[0].get("suppressed", "") == ("allow-list: test" if fate == "good" else "")
    assert runner.gauges().reloads == ({"ok": 1} if fate == "good" else {"refused": 1})


def _spawn(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    code = (
        "import sys; sys.path.append(sys.argv.pop(1));"
        "import argparse, edge_demist; from tools.sensor.fake_model import FakeModel;"
        "edge_demist.EdgeDemist = type('E', (), {'load': staticmethod(lambda *a, **k: FakeModel())});"
        "from edge_demist.cli import watch; p = argparse.ArgumentParser(); s = p.add_subparsers(); watch.add_parser(s);"
        "a = p.parse_args(); sys.exit(watch.run(a))"
    )
    command = [sys.executable, "-c", code, str(ROOT), "watch", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment}, cwd=tmp_path)


def _until(condition, seconds: float = 60.0) -> bool:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_drain_and_commit(tmp_path: Path, number: int, code: int) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    child = _spawn(tmp_path, "dns.log", "-o", "e.jsonl", "--state", "s", "--summary", "sum.json", "--commit-s", "600", "--poll-ms", "20")
    assert _until(lambda: len(read_events(tmp_path / "e.jsonl")) == 8)
    child.send_signal(number)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == code
    assert [json.loads(line)["event"] for line in errors.splitlines()][-1] == "finished"
    assert json.loads((tmp_path / "sum.json").read_text())["events"] == 8
    store = CheckpointStore(tmp_path / "s", read_only=True)
    assert [f.offset for f in store.load()[0].active] == [len(DNS)]


def test_the_service_manager_hears_from_us(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(DNS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        child = _spawn(tmp_path, "dns.log", "-o", "e", "--poll-ms", "20", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="300000")
        heard = [manager.recv(4096), manager.recv(4096), manager.recv(4096)]
        child.send_signal(signal.SIGHUP)
        while not heard[-1].startswith(b"RELOADING=1\nMONOTONIC_USEC="):
            heard.append(manager.recv(4096))
        while heard[-1] != b"READY=1":
            heard.append(manager.recv(4096))
        child.terminate()
        while heard[-1] != b"STOPPING=1":
            heard.append(manager.recv(4096))
        child.communicate(timeout=60)
    assert heard[0] == b"READY=1" and heard.count(b"WATCHDOG=1") >= 2 and child.returncode == 0


def test_without_a_service_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    manager = ServiceManager()
    manager.tell("READY=1")
    manager.ping()
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert ServiceManager()._address == "" and manager._last_ping == 0.0


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    rows = [f"{i}.5 C{i} 10.0.0.1 53 n{i}.example" for i in range(5000)]
    (tmp_path / "dns.log").write_text(zeek_log("ts uid id.orig_h id.orig_p query", *rows))
    child = _spawn(tmp_path, "dns.log", "--once", "--log", "off")
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline().startswith(b"{")
    child.stdout.close()
    with child.stderr:
        assert child.stderr.read() == b"" and child.wait(60) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--summary", "no/such/dir/s.json"],
        ["--alarms-per-day", "many"],
        ["--mapping", "none.toml"],
        ["--fpr", "2"],
        ["-o", "no/such/dir/f"],
        ["--allow", "none.toml", "--state", "s"],
        ["--alarms-per-day", "nosuch=5"],
        ["--alarms-per-day", "user-agent=5"],
        ["--alarms-per-day", "dga=5", "--alarms-per-day", "dga=7"],
        ["--allow", "misspelt.toml"],
        ["--fpr", "1e-9"],
    ],
)
def test_wrong_usage_is_exit_2(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "misspelt.toml").write_text('[[allow]]\nkind = "exact"\nvalue = "a.example"\nreason = "ours"\ntask = "dgaa"\n')
    child = _spawn(tmp_path, "x.log", *arguments, "--once")
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 2 and b" watch: " in errors and b"Traceback" not in errors


def test_missing_files_are_exit_1(tmp_path: Path) -> None:
    child = _spawn(tmp_path, "nowhere.log", "--once", "--summary", "s.json")
    child.communicate(timeout=60)
    assert child.returncode == 1 and json.loads((tmp_path / "s.json").read_text())["files"]["nowhere.log"]["errors"] == 1


@pytest.mark.parametrize(("asked", "used"), [(0.05, 0.01), (0.008, 0.001), (0.001, None), (None, None)])
def test_the_level_that_stands_for_a_rate_is_said(tmp_path: Path, asked: float | None, used: float | None) -> None:
    (tmp_path / "dns.log").write_text(zeek_log("ts query", "1.5 a.example"))
    told: list[tuple[str, dict]] = []
    config = WatchConfig(paths=(tmp_path / "dns.log",), once=True, output=tmp_path / "e", fpr=asked)
    runner = Runner(config, FakeModel, log=lambda event, facts: told.append((event, facts)))
    runner.run()
    assert runner.summary()["fpr"]["dga"] == (used or 0.001)  # type: ignore[index]
    runner.close()
    levels = [facts for event, facts in told if event == "fpr-levels"]
    assert [facts["used"]["dga"] for facts in levels] == ([used] if used else [])


def test_a_specialist_that_no_rule_names_is_said(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(zeek_log("ts query", "1.5 a.example"))
    model = FakeModel(tasks=("dga", "my-own"))
    _, summary = watch_once(tmp_path, tmp_path / "dns.log", model=model)
    assert summary["unmapped_tasks"] == ["my-own"]


def test_a_coarsely_calibrated_specialist_starts_at_its_strictest_level_and_that_is_said(tmp_path: Path) -> None:
    """From few rows no finer level is known; the default rate must not keep a sensor with such a specialist from starting."""

    class Coarse(FakeModel):
        def facts(self, task: str):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            return replace(super().facts(task), thresholds={"fpr": {"0.03": 0.8}})

    (tmp_path / "dns.log").write_text(zeek_log("ts query", "1.5 a.example"))
    _, summary = watch_once(tmp_path, tmp_path / "dns.log", model=Coarse())
    assert summary["fpr"]["dga"] == 0.03 and summary["thresholds"]["dga"] == 0.8
    with pytest.raises(InputError, match=r"not calibrated that strictly; it has 0\.03"):
        watch_once(tmp_path, tmp_path / "dns.log", model=Coarse(), fpr=0.001)
