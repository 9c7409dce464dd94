"""The unit file, metrics, status, anonymize: what an operator meets."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.anonymize import MAX_TEXT_CHARS, Anonymizer
from edge_demist.cli import anonymize as anonymize_command
from edge_demist.cli import install_service, status
from edge_demist.cli.watch import runner_class
from edge_demist.errors import InputError
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.counters import MAX_FILES, Counters, Counts
from edge_demist.sensor.metrics import Gauges, Histogram, render, rss_bytes, serve_local, write_textfile
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.service import UnitOptions, installed_state, render_unit
from edge_demist.sensor.status import read_status
from tests.support.sensor_fakes import DATA, zeek_log
from tools.sensor.fake_model import FakeModel


def command(module, *arguments: str) -> int:  # type: ignore[no-untyped-def]
    """Run a command as the command line does."""
    parser = argparse.ArgumentParser()
    module.add_parser(parser.add_subparsers())
    args = parser.parse_args([module.__name__.rpartition(".")[2].replace("_", "-"), *arguments])
    return module.run(args)


# --- the unit -------------------------------------------------------------------------------------------------------


def test_the_unit_keeps_its_promises(capsys: pytest.CaptureFixture[str]) -> None:
    trust = ("--bundle", "/opt/bundle", "--require-signature", "/etc/edge-demist/key.pub")
    assert command(install_service, "--print", "--memory-max", "128M", "--cpu-quota", "25", *trust, "/var/log/x.json") == 0
    unit = capsys.readouterr().out.splitlines()
    for line in (
        "DynamicUser=yes",
        "PrivateNetwork=yes",
        "ProtectSystem=strict",
        "MemoryMax=128M",
        "CPUQuota=25%",
        "WatchdogSec=120",
        "Type=notify",
        "CapabilityBoundingSet=",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ):
        assert line in unit
    (start,) = [line for line in unit if line.startswith("ExecStart=")]
    assert " watch /var/log/x.json --state " in start and "--alarms-per-day 20" in start
    assert " --bundle /opt/bundle --require-signature /etc/edge-demist/key.pub" in start


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_a_killed_worker_does_not_end_the_unit() -> None:
    unit = render_unit(UnitOptions(arguments=("--threads", "2")))
    assert "\nOOMPolicy=continue\n" in unit and "\nRestart=on-failure\n" in unit


def test_the_exposure_of_the_unit_is_at_most_two(tmp_path: Path) -> None:
    path = tmp_path / "edge-demist.service"
    path.write_text(render_unit(UnitOptions(executable="/bin/true")))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)], capture_output=True, text=True, check=False
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze cannot work offline: {done.stderr.strip()[:80]}")
    assert float(found[1]) <= 2.0, done.stdout
    verified = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    assert [line for line in verified.stderr.splitlines() if path.name in line] == []


@pytest.mark.parametrize("path", ["/with blank", "/a%n", "/a\nExecStart=/bin/sh", "/a;b", "/$HOME", "/é", ""])
def test_paths_that_would_change_the_unit_are_refused(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(install_service, "--print", path) == 2
    assert capsys.readouterr().out == ""


def test_installing_writes_the_unit_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(install_service, "--folder", str(tmp_path), "--executable", "/usr/bin/env") == 0
    text = (tmp_path / "edge-demist.service").read_text()
    assert text == render_unit(UnitOptions(executable="/usr/bin/env"))
    assert installed_state(tmp_path) == Path("/var/lib/edge-demist/state") and installed_state(tmp_path / "none") is None
    assert command(install_service, "--folder", str(tmp_path / "none"), "--executable", "/usr/bin/env") == 1
    assert "run as root" in capsys.readouterr().err
    with pytest.raises(InputError):
        UnitOptions(memory_max="lots")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--executable", "/usr/bin/no-such-program"), "is no program on this machine"),
        (("--executable", "/home/jane/venv/bin/edge-demist"), "lies in /home, which the unit hides"),
        (("/home/jane/zeek",), "lies in /home, which the unit hides"),
        (("/tmp/zeek",), "lies in /tmp, which"),
        (("--bundle", "no/such/bundle"), "no/such/bundle: there is no such file"),
        (("--allow", "/etc/no-such-allow.toml"), "there is no such file"),
        (("--mapping", "/var/tmp/m.toml"), "lies in /var/tmp, which"),
        (("-o", "/srv/out.jsonl"), "the service writes below"),
        (("--metrics-port", "9100"), "has no network"),
        (("",), "is empty"),
    ],
)
def test_what_the_service_could_not_use_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program = () if "--executable" in arguments else ("--executable", "/usr/bin/env")
    assert command(install_service, "--folder", str(tmp_path), *program, *arguments) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_unit_starts_the_program_of_this_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what happens to stand on the path; and nothing where this Python has no such program."""
    from edge_demist.cli import install_service as module

    monkeypatch.setattr(module.sysconfig, "get_path", lambda _: "/opt/none/bin")
    assert command(install_service, "--folder", str(tmp_path)) == 2
    assert "has no /opt/none/bin/edge-demist" in capsys.readouterr().err
    assert command(install_service, "--print") == 0
    assert "note: " in capsys.readouterr().err


def test_the_options_of_watch_reach_the_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edge_demist.cli import watch

    given = ("--fpr", "0.0001", "--syslog", "/dev/log", "--allow", "/etc/hosts", "--allow", "/etc/passwd", "--mapping", "/etc/hosts")
    more = ("--rotate-mb", "8", "--keep", "3", "--poll-ms", "250", "--alarms-per-day", "dga=5", "--no-explain", "--emit", "all")
    assert command(install_service, "--print", "--executable", "/usr/bin/env", *given, *more, "var/../logs") == 0
    (start,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ExecStart=")]
    words = start.split()[2:]
    parser = argparse.ArgumentParser()
    watch.add_parser(parser.add_subparsers())
    args = parser.parse_args(["watch", *words])
    config = watch.config_of(args)
    assert config.paths[0].is_absolute() and config.fpr == 0.0001 and config.syslog == "/dev/log" and len(config.allow) == 2
    assert config.rotate_bytes == 8 << 20 and config.keep == 3 and config.poll_s == 0.25 and not config.explain
    assert dict(config.budget.per_day) == {"dga": 5} and config.state == Path("/var/lib/edge-demist/state") and config.emit == "all"


# --- metrics --------------------------------------------------------------------------------------------------------

_SAMPLE = re.compile(r'^[a-z_]+(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? \S+$')


def some_metrics(reason: str = "no-string") -> str:
    counts, latency = Counts(records=7, errors=1), Histogram()
    counts.skipped = Counter({reason: 3})
    for seconds in (0.001, 0.2, 100.0):
        latency.observe(seconds, 2)
    return render(counts, Gauges(lag_bytes=5, alarms={"dga": 2}, bundle_id="b"), latency)


@given(st.text(max_size=20))
def test_metrics_have_the_form_that_prometheus_reads(reason: str) -> None:
    text = some_metrics(reason)
    rows = [row for row in text.split("\n")[:-1] if not row.startswith("#")]
    assert text.isascii() and text.endswith("\n") and all(_SAMPLE.match(row) for row in rows)
    assert 'edge_demist_latency_seconds_bucket{le="+Inf"} 6' in rows and "edge_demist_latency_seconds_count 6" in rows
    assert 'edge_demist_latency_seconds_bucket{le="0.25"} 4' in rows and "edge_demist_records_total 7" in rows


def test_prometheus_client_reads_them() -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")
    families = {f.name: f for f in parser.text_string_to_metric_families(some_metrics())}
    assert families["edge_demist_alarms"].samples[0].labels == {"task": "dga"}
    assert families["edge_demist_latency_seconds"].type == "histogram" and len(families) > 15


def test_the_local_endpoint() -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    close = serve_local(port, some_metrics)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert b"edge_demist_records_total 7" in answer.read()
    finally:
        close()


def test_the_textfile_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.prom"
    write_textfile(path, "one\n")
    with path.open() as reader:
        write_textfile(path, "two\n")
        assert reader.read() == "one\n" and path.read_text() == "two\n"
    assert [p.name for p in tmp_path.iterdir()] == ["m.prom"] and rss_bytes() > 1_000_000


def test_a_watcher_writes_its_metrics(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(zeek_log("ts query", "1.5 a.example", "2.5 evil.example"))
    config = WatchConfig(paths=(tmp_path / "dns.log",), once=True, output=tmp_path / "e", metrics=tmp_path / "m.prom")
    runner = Runner(config, FakeModel)
    runner.run()
    runner.close()
    rows = (tmp_path / "m.prom").read_text().splitlines()
    assert "edge_demist_records_total 2" in rows and 'edge_demist_alarms_total{task="dga"} 1' in rows
    assert 'edge_demist_bundle_info{bundle_id="fake"} 1' in rows and "edge_demist_lag_bytes 0" in rows


def test_the_books_of_very_many_files_stay_small() -> None:
    counters = Counters()
    for number in range(MAX_FILES + 50):
        counts = counters.open(f"f{number}")
        counts.lines = counts.records = 1
        counts.skip("x")
    assert counters.total().records == MAX_FILES + 50 == counters.total().skipped["x"]
    summary = counters.to_json()
    assert len(summary["files"]) == MAX_FILES and summary["earlier_files"]["records"] == 50  # type: ignore[arg-type, index, call-overload]


def test_files_beyond_those_with_counts_of_their_own_are_counted_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those opened first were summed up before they had been read, and what they counted then was nobody's."""
    monkeypatch.setattr("edge_demist.sensor.counters.MAX_FILES", 5)
    monkeypatch.setattr("edge_demist.sensor.counters.MAX_CLOSED", 3)
    for number in range(20):
        (tmp_path / f"dns.{number}.log").write_text(zeek_log("ts uid query", f"{number}.5 C{number} a{number}.example"))
    for threads in (1, 2):
        summary = tmp_path / f"summary{threads}"
        runner_of = runner_class(
            config := WatchConfig(paths=(tmp_path,), once=True, output=Path("/dev/null"), summary=summary, threads=threads)
        )
        runner = runner_of(config, FakeModel)
        runner.run()
        runner.close()
        told = json.loads(summary.read_text())
        assert told["records"] == 20 and told["records_out"] == 20
        assert len(told["files"]) == 5 and told["earlier_files"]["records"] == 15


# --- status ---------------------------------------------------------------------------------------------------------


def test_status_tells_the_lag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "dns\x1b[31m.log"
    log.write_text(zeek_log("ts query", "1.5 a.example"))

    from edge_demist.sensor.control import Control

    class StopAtOnce(Control):
        def wait(self, seconds: float) -> None:
            self.stop = True

    runner = Runner(WatchConfig(paths=(log,), output=tmp_path / "e", state=tmp_path / "s"), FakeModel, control=StopAtOnce())
    runner.run()
    runner.close()
    with log.open("a") as file:
        file.write("2.5\tb.example\n")
    assert command(status, "--state", str(tmp_path / "s"), "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["lag_bytes"] == len("2.5\tb.example\n") and shown["files"][0]["state"] == "here"
    assert shown["files"][0]["log_time"] == "1970-01-01T00:00:01.500000Z" and shown["bundle_id"] == "fake"
    assert command(status, "--state", str(tmp_path / "s")) == 0
    text = capsys.readouterr().out
    assert "14 behind" in text and "\x1b" not in text
    log.rename(tmp_path / "old.log")
    assert read_status(tmp_path / "s")["files"][0]["state"] == "gone"  # type: ignore[index]


def test_status_without_or_with_a_damaged_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(status, "--state", str(tmp_path)) == 2
    (tmp_path / "checkpoint.json").write_text("{}")
    assert command(status, "--state", str(tmp_path)) == 1
    assert "problem" in capsys.readouterr().out and (tmp_path / "checkpoint.json").exists()


# --- anonymize ------------------------------------------------------------------------------------------------------

LABELLED = [json.loads(line) for line in (DATA / "anonymize.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_labelled_set_is_large_and_varied() -> None:
    assert len(LABELLED) >= 300 and len({row["text"] for row in LABELLED}) == len(LABELLED)
    assert all(secret in row["text"] for row in LABELLED for secret in row["secrets"])


@pytest.mark.parametrize("key", [None, b"0123456789abcdef"])
def test_recall_on_the_labelled_set(key: bytes | None) -> None:
    anonymizer = Anonymizer(key)
    secrets = [(row["text"], s, anonymizer(row["text"])) for row in LABELLED for s in row["secrets"]]
    left = [(text, secret) for text, secret, out in secrets if secret.casefold() in out.casefold()]
    assert 1 - len(left) / len(secrets) >= 0.98, left


def test_what_is_not_personal_stays() -> None:
    anonymizer = Anonymizer()
    kept = [(keep, anonymizer(row["text"])) for row in LABELLED for keep in row["keep"]]
    lost = [(keep, out) for keep, out in kept if keep not in out]
    assert len(lost) / len(kept) <= 0.02, lost


@pytest.mark.parametrize("key", [None, b"0123456789abcdef"])
def test_a_second_pass_changes_nothing(key: bytes | None) -> None:
    anonymizer = Anonymizer(key)
    once = [anonymizer(row["text"]) for row in LABELLED]
    changed = [(a, anonymizer(a)) for a in once if anonymizer(a) != a]
    assert changed == []


def test_keyed_placeholders_join_and_cannot_be_tried_out_without_the_key() -> None:
    first, second = Anonymizer(b"A" * 16), Anonymizer(b"B" * 16)
    a, b = first("/home/jsmith/x"), first("ssh jsmith@host")
    token = re.search(r"<USER:[0-9a-f]{16}>", a)
    assert token and token[0] in b and token[0] not in second("/home/jsmith/x")
    import hashlib

    assert hashlib.sha256(b"jsmith").hexdigest()[:16] not in a and hashlib.sha256(b"USER\0jsmith").hexdigest()[:16] not in a
    with pytest.raises(InputError, match="16 bytes"):
        Anonymizer(b"short")


@given(st.text(max_size=200))
def test_any_text_is_taken_and_placeholders_survive(text: str) -> None:
    anonymizer = Anonymizer()
    assert isinstance(anonymizer(text), str)
    assert "<USER>" in anonymizer("<USER> " + text)


@pytest.mark.parametrize("piece", ["ssh ", "-u ", "a@", "1:", "%3A", "user=", "net user ", "Aa1", "\\\\", "/home/", "<USER>", "0." * 4])
def test_long_hostile_texts_are_cut_and_end(piece: str) -> None:
    anonymizer = Anonymizer()
    out = anonymizer(piece * (3 * MAX_TEXT_CHARS // len(piece)))
    assert anonymizer.counts["cut"] == 1 and len(out) < 20 * MAX_TEXT_CHARS


def test_the_command_keeps_lines_and_reports_bad_ones(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"/home/bob/x\n\xff\xfe user=eve \n\nplain\n" + b"y" * (2 << 20) + b"\nlast")
    code = command(anonymize_command, str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--stats", str(tmp_path / "st"))
    lines = (tmp_path / "out").read_bytes().split(b"\n")
    assert code == 1 and lines[:4] == [b"/home/<USER>/x", b"\xff\xfe user=<USER> ", b"", b"plain"] and lines[5:] == [b"last", b""]
    assert json.loads(lines[4])["line"] == 5 and json.loads((tmp_path / "st").read_text()) == {"USER": 2}


def test_the_command_on_objects_carries_only_what_is_asked(tmp_path: Path) -> None:
    rows = [{"text": "mail a@b.example", "uid": "C1", "label": "x"}, {"no": "text"}, 5]
    (tmp_path / "in").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "key").write_bytes(b"k" * 32)
    arguments = ("--input-format", "jsonl", "--keep", "label", "--key-file", str(tmp_path / "key"), "-o", str(tmp_path / "out"))
    assert command(anonymize_command, str(tmp_path / "in"), *arguments) == 1
    out = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert out[0]["label"] == "x" and "uid" not in out[0] and re.fullmatch(r"mail <MAIL:[0-9a-f]{16}>", out[0]["text"])
    assert [o["line"] for o in out[1:]] == [2, 3]
    assert command(anonymize_command, str(tmp_path / "missing")) == 2
