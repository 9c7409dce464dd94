"""``watch --threads N``: the same bytes as one process, whatever dies, whatever the log looks like."""

from __future__ import annotations

import io
import itertools
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_demist.cli.watch import runner_class
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.detect.explain import explain, fitting, pieces
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.sources.lines import RawLine
from edge_demist.sensor.sources.parser import LineParser
from edge_demist.sensor.workers import pool as pools
from edge_demist.sensor.workers.portion import Job, Place, Result, advance, is_plain, last_time
from edge_demist.sensor.workers.runner import ParallelRunner
from tests.sensor.test_incidents import dns_log as incident_log
from tests.sensor.test_incidents import generated, ordinary
from tests.support.sensor_fakes import DATA, balanced, read_events, zeek_log
from tools.sensor.fake_model import ALARM_TASKS, FakeModel, FakePrediction, FakeSpecialist

OF_ITS_OWN = ("seconds", "cache", "workers")
DNS = "ts id.orig_h query"
Found = tuple[bytes, dict]
POISON = "end-of-a-worker.example"


class ManyAlarms(FakeModel):
    """As the stand-in model, with thresholds that a tenth of all strings pass; some strings end the process, or hang."""

    parent = 0
    hang = ""
    ends_by = signal.SIGTRAP

    def facts(self, task: str) -> FakeSpecialist:
        """Facts with other thresholds."""
        facts = super().facts(task)
        if task not in ALARM_TASKS:
            return facts
        thresholds = {"fpr": {"0.01": 0.7, "0.001": 0.8}}
        return FakeSpecialist(facts.kind, facts.labels, facts.positive_labels, facts.normalizer, thresholds)

    def classify(self, texts: list[str], task: list[str]) -> list[FakePrediction]:  # type: ignore[override]
        """Answers; in a worker one string is the last."""
        if self.parent and os.getpid() != self.parent and any(POISON in text for text in texts):
            os.kill(os.getpid(), self.ends_by)
        if self.parent and os.getpid() != self.parent and self.hang and any(self.hang in text for text in texts):
            time.sleep(60)
        return super().classify(texts, task)


def watch(
    folder: Path, *paths: Path, model: Callable[[], FakeModel] = ManyAlarms, log: object = None, **options: object
) -> tuple[bytes, dict]:
    """Run to the end of the logs: output and summary, without what is of its own in every run."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"paths": paths, "once": True, "output": folder / "out", "summary": folder / "summary.json"}
    told |= {"max_latency_s": 60.0, "commit_s": 600.0}  # what a slow machine flushes early has more of its alarms explained
    if options.pop("state", None):
        (folder / "state").mkdir(exist_ok=True)
        told["state"] = folder / "state"
    config = WatchConfig(**(told | options))  # type: ignore[arg-type]
    runner = runner_class(config)(config, model, log=log)  # type: ignore[arg-type]
    try:
        runner.run()
    finally:
        runner.close()
    summary = json.loads((folder / "summary.json").read_text())
    return (folder / "out").read_bytes(), {name: value for name, value in summary.items() if name not in OF_ITS_OWN}


def dns(path: Path, names: list[str], start: float = 1_700_000_000.0) -> Path:
    """A log of these names, a tenth of a second apart."""
    rows = [f"{start + n / 10:.6f} 10.0.0.{n % 7} {name}" for n, name in enumerate(names)]
    path.write_text(zeek_log(DNS, *rows))
    return path


def undated(data: bytes) -> list[dict]:
    """Events, with the time of reading taken out where that is all there is."""
    events = [json.loads(line) for line in data.splitlines()]
    return [event | {"time": None} if event.get("time_source") == "arrival" else event for event in events]


CASES: dict[str, dict[str, object]] = {
    "all": {"emit": "all"},
    "alarms": {"emit": "alarms"},
    "alarms, no screen, small batches": {"emit": "alarms", "screen": False, "batch_strings": 3},
    "all, state": {"emit": "all", "state": True},
    "alarms, state, new": {"emit": "alarms", "state": True, "alarm_when": "new", "batch_strings": 10},
    "all, budget": {"emit": "all", "budget": Budget.parse(["4"])},
    "alarms, budget": {"emit": "alarms", "budget": Budget.parse(["dga=2"])},
    "all, embeddings, no reasons": {"emit": "all", "embeddings": "int8", "explain": False},
}


@pytest.mark.parametrize("case", CASES)
def test_the_sample_logs_give_the_same_events_and_counts(tmp_path: Path, case: str) -> None:
    expected, summary = watch(tmp_path / "1", DATA / "logs", **CASES[case])
    assert balanced(summary) and summary["predictions"] > 100
    for count in (2, 3) if case in ("all", "alarms") else (2,):
        found, counts = watch(tmp_path / str(count), DATA / "logs", threads=count, **CASES[case])
        assert undated(found) == undated(expected)
        assert counts == summary


@pytest.mark.parametrize("form", ["eve", "ecs", "ocsf", "zeek"])
def test_every_form_of_the_output_is_the_same(tmp_path: Path, form: str) -> None:
    log = dns(tmp_path / "dns.log", [f"name{n}.example" for n in range(300)])
    assert watch(tmp_path / "1", log, form=form) == watch(tmp_path / "2", log, form=form, threads=2)


@pytest.mark.parametrize("state", [False, True])
def test_incidents_are_the_same(tmp_path: Path, state: bool) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    rows = sorted(generated() + generated("10.0.0.8", 3) + ordinary(600), key=lambda row: float(row.split(" ")[0]))
    incident_log(logs, *rows[::2])
    incident_log(logs, *rows[1::2], name="dns_b.log")
    options = {"emit": "incidents", "batch_strings": 20, "state": state}
    expected = watch(tmp_path / "1", logs, **options)
    assert expected[0].count(b"\n") > 1
    assert watch(tmp_path / "2", logs, threads=3 if state else 2, **options) == expected


def test_what_runs() -> None:
    assert runner_class(WatchConfig(paths=(Path(),))) is Runner
    assert runner_class(WatchConfig(paths=(Path(),), threads=2, emit="incidents")) is ParallelRunner


def test_of_many_alarms_the_same_are_explained(tmp_path: Path) -> None:
    names = [f"evil-{n}.a-word.example{n % 50}.com" for n in range(600)]
    log = dns(tmp_path / "dns.log", names)
    expected, _ = watch(tmp_path / "1", log, emit="alarms", batch_strings=50)
    assert sum(bool(event.get("why_text")) for event in undated(expected)) == 3 * 64 < len(undated(expected))
    assert watch(tmp_path / "2", log, emit="alarms", batch_strings=50, threads=3)[0] == expected


@given(
    st.lists(st.builds(lambda word, count: f"{word} " * count, st.text("ab.", min_size=1, max_size=9), st.integers(1, 900)), max_size=12)
)
def test_who_fits_is_who_is_asked_about(texts: list[str]) -> None:
    marked = [f"{n}|{text}" for n, text in enumerate(texts)]
    asked: list[str] = []

    def ask(pairs):  # type: ignore[no-untyped-def]
        asked.extend(text for text, _ in pairs)
        return [0.0] * len(pairs)

    explain([(text, "dga", 0.9) for text in marked], ask)
    fits = {text for text, may in zip(marked, fitting(marked), strict=True) if may and len(pieces(text.encode()[:8192])) > 1}
    assert len(asked) == sum(len(pieces(text.encode()[:8192])) for text in fits)


def test_several_files_are_read_in_the_order_of_their_times(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for number in range(4):
        dns(logs / f"dns.{number}.log", [f"same{n % 40}.example" for n in range(150)], 1_700_000_000.0 + 3 * number)
    records = [
        {"timestamp": f"2023-11-14T22:13:{n:02d}.5+0000", "event_type": "dns", "dns": {"rrname": f"same{n % 40}.example"}}
        for n in range(60)
    ]
    (logs / "eve.json").write_text("".join(json.dumps(record) + "\n" for record in records))
    expected = watch(tmp_path / "1", logs, state=True, batch_strings=20)
    assert watch(tmp_path / "2", logs, state=True, batch_strings=20, threads=2) == expected


def test_a_header_in_the_middle_changes_the_columns_from_there(tmp_path: Path) -> None:
    rows = [f"{1_700_000_000 + n}.000000 10.0.0.1 n{n}.example" for n in range(120)]
    turned = [" ".join([row.split()[0], row.split()[2], row.split()[1]]) for row in rows]
    parts = [
        zeek_log(DNS, *rows),
        zeek_log("ts query id.orig_h", *turned),
        zeek_log(DNS, *rows[:7]),
        zeek_log("ts query id.orig_h", *turned),
    ]
    log = tmp_path / "dns.log"
    log.write_text("#close\t2023\n".join(parts * 2))
    expected = watch(tmp_path / "1", log, batch_strings=16, emit="alarms")
    assert expected[1]["skipped"].get("field-count", 0) == 0
    assert watch(tmp_path / "2", log, batch_strings=16, emit="alarms", threads=2) == expected


def test_tables_and_audit_records_whose_lines_belong_together(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    rows = [f'2023-11-14T22:{n // 60:02d}:{n % 60:02d}Z,"{"two" if n % 5 else "lines"}\n {n}",cmd{n}.exe /c del' for n in range(150)]
    (logs / "table.csv").write_text("\n".join(["timestamp,note,CommandLine", *rows]) + "\n")
    event = "type=EXECVE msg={0}: argc=2 a0=cat a1={1}\ntype=PROCTITLE msg={0}: proctitle=636174"
    audit = [event.format(f"audit(1700000{n:03d}.123:{n})", n) for n in range(100)]
    (logs / "audit.log").write_text("\n".join(audit) + "\n")
    expected = watch(tmp_path / "1", logs, batch_strings=8)
    assert expected[1]["skipped"]["same-command"] == 100
    assert watch(tmp_path / "2", logs, batch_strings=8, threads=2) == expected


lines_of_logs = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "#separator \\x09", "#fields\tts\tid.orig_h\tquery", "#fields\tts\tquery\tid.orig_h", "#close\tx", "", "{", "[1]", "a b c",
                '{"_path":"dns","ts":1.5,"query":"j.example"}', "timestamp,CommandLine", "2023-11-14T22:13:20Z,cmd /c x", "#path\tdns",
            ]
        ),
        st.integers(0, 30).map(lambda n: f"{1_700_000_000 + n}.000000\t10.0.0.{n}\tn{n}.example"),
    ),
    max_size=60,
)  # fmt: skip


@given(lines_of_logs, st.integers(1, 9))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mixture_of_lines_gives_what_one_process_gives(tmp_path: Path, lines: list[str], batch: int) -> None:
    log = tmp_path / "dns.log"
    log.write_text("\n".join(lines) + "\n")
    expected = watch(tmp_path / "1", log, batch_strings=batch)
    assert watch(tmp_path / "2", log, batch_strings=batch, threads=2) == expected
    (tmp_path / "1" / "out").unlink()
    (tmp_path / "2" / "out").unlink()


@given(lines_of_logs)
def test_a_parser_that_was_brought_forward_is_where_all_lines_lead(lines: list[str]) -> None:
    raw = [RawLine(n, n + 1, line.encode()) for n, line in enumerate(lines)]
    parser, ahead = LineParser("x.log"), LineParser("x.log")
    for line in raw:
        parser.parse(line.data or b"")
    if advance(ahead, raw) and all(not line.startswith(("{", "timestamp", "ts")) for line in lines):
        assert Place.of(ahead) == Place.of(parser)
    assert Place.of(Place.of(parser).parser("x.log")) == Place.of(parser)


def test_the_last_time_of_a_portion() -> None:
    parser = LineParser("dns.log")
    raw = [
        RawLine(n, n + 1, line.encode())
        for n, line in enumerate(zeek_log(DNS, "5.000000 10.0.0.1 a", "7.000000 10.0.0.1 b", "- - c").splitlines())
    ]
    assert advance(parser, raw) and is_plain(parser, raw[-3:])
    assert last_time(parser, "dns.log", raw, lambda record: record.time_us) == 7_000_000
    assert last_time(parser, "dns.log", raw[:3], lambda record: record.time_us) == 0


@given(lines_of_logs)
def test_looking_for_the_last_time_leaves_the_parser_where_it_is(lines: list[str]) -> None:
    parser, raw = LineParser("dns.log"), [RawLine(n, n + 1, line.encode()) for n, line in enumerate(lines)]
    if advance(parser, raw):
        place = Place.of(parser)
        last_time(parser, "dns.log", raw, lambda record: record.time_us)
        assert Place.of(parser) == place


# --- what dies ---------------------------------------------------------------------------------------------------


class Told:
    """What the sensor's own log says."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def __call__(self, event: str, facts: dict[str, object]) -> None:
        """Keep it."""
        self.lines.append((event, facts))

    def named(self, event: str) -> list[dict[str, object]]:
        """What was said of one kind."""
        return [facts for name, facts in self.lines if name == event]


def killing(ends_by: int = signal.SIGTRAP) -> FakeModel:
    """A model that ends workers."""
    model = ManyAlarms()
    model.parent, model.ends_by = os.getpid(), ends_by
    return model


@pytest.mark.parametrize("state", [False, True])
def test_a_record_that_ends_workers_is_stepped_over_and_said(tmp_path: Path, state: bool) -> None:
    names = [f"n{n}.example" for n in range(90)]
    names[50] = POISON
    log, told = dns(tmp_path / "dns.log", names), Told()
    expected, _ = watch(tmp_path / "1", log, batch_strings=16, state=state)
    found, summary = watch(tmp_path / "2", log, batch_strings=16, state=state, threads=2, model=killing, log=told)
    kept = [event for event in read_events(tmp_path / "1" / "out") if event["text"] != POISON]
    assert [json.loads(line) for line in found.splitlines()] == kept and len(kept) == len(expected.splitlines()) - 4
    assert summary["skipped"]["stepped-over"] == 1 and balanced(summary) and summary["records"] == 90
    assert len(told.named("worker-ended")) == 3 and all(facts["status"] == -signal.SIGTRAP for facts in told.named("worker-ended"))
    assert [facts["path"] for facts in told.named("stepped-over")] == [str(log)]


def test_workers_that_are_killed_cost_nothing_but_time(tmp_path: Path) -> None:
    log, told = dns(tmp_path / "dns.log", [f"n{n}.example" for n in range(800)]), Told()
    expected, summary = watch(tmp_path / "1", log, batch_strings=32)
    runners: list[ParallelRunner] = []
    over = threading.Event()

    def kill() -> None:
        chance = random.Random(3)
        for _ in range(5):  # so seldom that no record is hit twice
            pool = runners[0]._pool if runners and not over.wait(0.15) else None
            if pool is not None and pool.pids:
                os.kill(chance.choice(pool.pids), signal.SIGKILL)

    class Slow(ManyAlarms):
        def classify(self, texts, task):  # type: ignore[no-untyped-def,override]
            time.sleep(0.004)
            return super().classify(texts, task)

    settings_ = {"paths": (log,), "once": True, "output": tmp_path / "2", "summary": tmp_path / "s", "threads": 2, "batch_strings": 32}
    settings_ |= {"max_latency_s": 60.0, "commit_s": 600.0}
    runner = ParallelRunner(WatchConfig(**settings_), Slow, log=told)  # type: ignore[arg-type]
    runners.append(runner)
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        runner.run()
    finally:
        over.set()
        killer.join()
        runner.close()
    assert (tmp_path / "2").read_bytes() == expected and told.named("worker-ended")
    found = json.loads((tmp_path / "s").read_text())
    assert found["workers"]["ended"] == len(told.named("worker-ended")) and found["records"] == summary["records"]


def test_a_worker_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "HANG_S", 0.4)
    names = [f"n{n}.example" for n in range(12)]
    names[5] = "hang.example"

    def hanging() -> FakeModel:
        model = killing()
        model.hang = "hang.example"  # type: ignore[attr-defined]
        return model

    log, told = dns(tmp_path / "dns.log", names), Told()
    _, summary = watch(tmp_path / "2", log, threads=2, model=hanging, log=told)
    assert summary["skipped"] == {"stepped-over": 1} and len(told.named("worker-hangs")) == 3


def test_where_no_worker_can_be_started_the_work_is_done_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, told = dns(tmp_path / "dns.log", [f"n{n}.example" for n in range(300)]), Told()
    expected = watch(tmp_path / "1", log)

    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    assert watch(tmp_path / "2", log, threads=2, log=told) == expected
    assert len(told.named("worker-not-started")) == pools.MAX_FAILED_STARTS


def test_what_fails_in_a_worker_fails_here_too() -> None:
    def work(job: Job) -> Result:
        raise ValueError(f"job {job.number}")

    pool = pools.Pool(1, work, lambda _sign: None, Told())
    try:
        pool.submit(Job(7, {}, []))
        while 7 not in pool.done:
            pool.pump(1.0)
        result = pool.result(7)
        assert result is not None and result.error == "ValueError: job 7"
    finally:
        pool.close()
    assert pool.pids == [] and not pool.is_alive


def test_another_model_after_a_reload_answers_from_there_on(tmp_path: Path) -> None:
    log = dns(tmp_path / "dns.log", [f"n{n}.example" for n in range(400)])
    models = iter(["one", "two"])
    control = Control()
    config = WatchConfig(paths=(log,), once=True, output=tmp_path / "out", threads=2, batch_strings=50)
    runner = ParallelRunner(config, lambda: ManyAlarms(next(models)), control=control)
    turns = itertools.count()
    once = runner._housekeeping

    def then_reload() -> None:
        control.reload = next(turns) == 3
        once()

    runner._housekeeping = then_reload  # type: ignore[method-assign]
    try:
        runner.run()
    finally:
        runner.close()
    used = [event["model"] for event in read_events(tmp_path / "out")]
    assert len(used) == 1600 and used == sorted(used) and set(used) == {"one", "two"}


PROGRAM = """
import sys, time
from pathlib import Path
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control, Log
from edge_demist.cli.watch import runner_class
from tools.sensor.fake_model import FakeModel

class Slow(FakeModel):
    def classify(self, *args, **kwargs):
        time.sleep(float(sys.argv[5]))
        return super().classify(*args, **kwargs)

logs, out, state, once = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "once"
control = Control()
control.install()
threads = int(sys.argv[6])
config = WatchConfig(
    paths=(logs,), once=once, output=out, state=state, threads=threads, batch_strings=8, commit_s=0.02, poll_s=0.02, scan_s=0.05
)
runner = runner_class(config)(config, Slow, control=control, log=Log("json"))
try:
    runner.run()
finally:
    runner.close()
"""


def start(logs: Path, folder: Path, *, once: bool = True, seconds: float = 0.003, threads: int = 2) -> subprocess.Popen[bytes]:
    """A run in a process of its own."""
    arguments = [str(logs), str(folder / "out"), str(folder / "state"), "once" if once else "", str(seconds), str(threads)]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    environment = {**os.environ, "PYTHONPATH": "."}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment, stderr=log)


def children(pid: int) -> list[int]:
    """Its child processes."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_sigkill_of_the_parent_loses_nothing_and_leaves_nobody_whatever_number_of_workers_goes_on(tmp_path: Path) -> None:
    folder, logs = tmp_path / "killed", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    dns(logs / "dns.log", [f"{'evil' if n % 9 else 'n'}{n % 200}.example" for n in range(600)])
    expected, _ = watch(tmp_path / "whole", logs, state=True, batch_strings=8, model=FakeModel)
    workers, killed = [], 0
    for threads in (3, 1, 2):
        process, lines = start(logs, folder, threads=threads), len(read_lines(folder / "out"))
        wait_for(lambda process=process, lines=lines: process.poll() is not None or len(read_lines(folder / "out")) > lines)
        workers += children(process.pid)
        killed += process.poll() is None
        process.kill()
        process.wait(10)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5.0)
    assert start(logs, folder, seconds=0.0, threads=1).wait(60) == 0 and killed > 1 and workers
    assert (folder / "out").read_bytes() == expected


def test_a_rotated_log_that_grows_and_a_stop_within_five_seconds(tmp_path: Path) -> None:
    folder, logs = tmp_path / "own", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    head = zeek_log(DNS)
    live = logs / "dns.log"
    live.write_text(head)
    process = start(logs, folder, once=False, seconds=0.0)
    written = 0
    for turn in range(4):
        with live.open("a") as stream:
            for _ in range(120):
                stream.write(f"{1_700_000_000 + written}.000000\t10.0.0.1\tn{written}.example\n")
                written += 1
        wait_for(lambda written=written: len(read_lines(folder / "out")) >= 4 * written)
        live.rename(logs / f"dns.{turn}.log")
        live.write_text(head)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0 and time.monotonic() - began < 5.0
    events = read_events(folder / "out")
    assert len({event["event_id"] for event in events}) == len(events) == 4 * written
    assert "Traceback" not in (folder / "log").read_text()


def read_lines(path: Path) -> list[bytes]:
    """Whole lines of a file that is being written."""
    return path.read_bytes().splitlines() if path.exists() else []


def test_a_stop_in_the_middle_of_long_work(tmp_path: Path) -> None:
    folder, logs = tmp_path / "own", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    dns(logs / "dns.log", [f"n{n}.example" for n in range(64)])
    process = start(logs, folder, seconds=30.0)
    wait_for(lambda: process.poll() is None and len(children(process.pid)) == 2)
    workers = children(process.pid)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0 and time.monotonic() - began < 5.0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert start(logs, folder, seconds=0.0).wait(30) == 0 and len(read_events(folder / "out")) == 256


def test_standard_input_and_the_command_line(tmp_path: Path) -> None:
    data = dns(tmp_path / "dns.log", [f"xjwq{n}pvkz.info" for n in range(400)]).read_bytes()
    outputs = []
    for count in ("1", "2"):
        command = [sys.executable, "-m", "edge_demist", "watch", "-", "--once", "--emit", "alarms", "--log", "off", "--threads", count]
        done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=60, cwd=Path(__file__).parents[2])
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] and outputs[0].count(b"\n") > 10


@pytest.mark.parametrize("what", [os.system, print, Path, subprocess.Popen, explain])
def test_nothing_but_our_own_classes_comes_through_a_pipe(what: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="has no place"):
        pools._Known(io.BytesIO(pickle.dumps(what))).load()
    portion = Place({"a": "b"}, is_first=True)
    assert pools._Known(io.BytesIO(pickle.dumps(portion))).load() == portion
