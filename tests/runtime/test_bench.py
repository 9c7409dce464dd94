"""``edge-demist bench``: statistics, measuring loop, machine facts, result, comparison, command line. No timing is asserted."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest

from edge_demist import cli
from edge_demist.diagnostics import cold_start, machine, measure, report, samples, sensor, statistics, suite
from edge_demist.errors import EngineUnavailableError, InputError
from tests.support.tiny_bundle import write_tiny_bundle

# ---- statistics -------------------------------------------------------------------------------------------


def test_percentiles_of_known_values():
    summary = statistics.summarize([np.arange(1, 10_002) / 1e6])
    assert summary.samples == 10_001
    assert summary.median == pytest.approx(5001e-6)
    assert summary.percentiles["p90"] == pytest.approx(9001e-6)
    assert summary.percentiles["p99.9"] == pytest.approx(9991e-6)
    assert summary.largest == pytest.approx(10_001e-6)


def test_percentiles_need_ten_samples_beyond_them():
    few = statistics.summarize([np.ones(100)])
    assert few.percentiles["p90"] == 1.0
    assert math.isnan(few.percentiles["p99"])
    assert math.isnan(few.percentiles["p99.9"])
    assert statistics.summarize([np.ones(1000)]).percentiles["p99"] == 1.0


def test_no_timings_are_an_error():
    with pytest.raises(ValueError, match="no timings"):
        statistics.summarize([[], []])


def test_stable_slices_raise_no_doubt():
    summary = statistics.summarize([[1.0, 1.01, 0.99]] * 10)
    assert statistics.doubts(summary) == []
    assert summary.spread == 0
    assert summary.drift == 0


def test_spread_and_drift_are_named():
    assert "slices differ by 50%" in statistics.doubts(statistics.summarize([[1.0], [1.5], [1.0], [1.0], [1.0], [1.0]]))[0]
    growing = statistics.summarize([[1 + 0.02 * i] for i in range(10)])
    assert growing.drift == pytest.approx(1.14 / 1.04 - 1)
    assert any("drifted by +10%" in line for line in statistics.doubts(growing))


def test_what_the_machine_did_is_named():
    assert statistics.machine_doubts(0.0, 0.0, 0.1, 2) == []
    reasons = " ".join(statistics.machine_doubts(0.2, 900.0, 3.5, 2))
    assert "hypervisor took 20.0%" in reasons
    assert "900 involuntary context switches" in reasons
    assert "load average was 3.5 on 2 processors" in reasons


# ---- loop -------------------------------------------------------------------------------------------------


def test_jobs_run_in_turns_and_all_calls_are_used():
    seen: list[str] = []
    jobs = [measure.Job(name, [lambda n=name, k=k: seen.append(f"{n}{k}") for k in range(3)], 1, 0.0) for name in "ab"]
    visits: list[str] = []
    measure.run_in_turns(jobs, 4, lambda job, _: visits.append(job.name))
    assert visits == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert set(seen) == {"a0", "a1", "a2", "b0", "b1", "b2"}
    assert all(len(job.slices) == 4 and all(len(part) >= 3 for part in job.slices) for job in jobs)
    assert all((part >= 0).all() for job in jobs for part in job.slices)


def test_garbage_collector_is_switched_back_on_after_an_error():
    import gc

    def fail():
        raise RuntimeError("call failed")

    with pytest.raises(RuntimeError, match="call failed"):
        measure.run_in_turns([measure.Job("x", [fail], 1, 0.0)], 1)
    assert gc.isenabled()


def test_batches_are_whole():
    assert measure.batches(list("abcdefg"), 3) == [["a", "b", "c"], ["d", "e", "f"]]
    assert measure.batches(["a"], 2) == []


# ---- machine ----------------------------------------------------------------------------------------------


def test_facts_are_json_and_name_nobody():
    text = json.dumps(machine.facts())
    import getpass
    import socket

    assert socket.gethostname() not in text or len(socket.gethostname()) < 4
    assert f'"{getpass.getuser()}"' not in text
    facts = json.loads(text)
    assert {"cpu", "memory_bytes", "kernel", "machine", "versions", "commit"} <= set(facts)
    assert facts["cpu"]["usable_processors"] >= 1
    assert facts["versions"]["numpy"] == np.__version__


def test_commit_is_read_from_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "edge_demist" / "bench"
    package.mkdir(parents=True)
    monkeypatch.setattr(machine, "__file__", str(package / "machine.py"))
    assert machine.commit() is None
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text("# pack-refs with: peeled\n" + "b" * 40 + " refs/heads/main\n")
    assert machine.commit() == "b" * 40
    (git / "refs/heads/main").write_text("a" * 40 + "\n")
    assert machine.commit() == "a" * 40
    (git / "HEAD").write_text("c" * 40 + "\n")
    assert machine.commit() == "c" * 40


def moment(**changes):
    return machine.Moment(**({"seconds": 1.0, "steal": 0, "total": 100, "switches": 0, "joules": {}} | changes))


def test_energy_is_summed_and_wraps(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RAPL", tmp_path)
    for zone, value in (("intel-rapl:0", 5_000_000), ("intel-rapl:1", 1_000_000), ("intel-rapl:0:0", 9)):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(f"{value}\n")
        (tmp_path / zone / "max_energy_range_uj").write_text("10000000\n")
    assert machine.energy() == {"intel-rapl:0": 5.0, "intel-rapl:1": 1.0}
    before = moment(joules={"intel-rapl:0": 9.0, "intel-rapl:1": 1.0})
    assert machine.energy_between(before, moment(joules={"intel-rapl:0": 2.0, "intel-rapl:1": 1.5})) == pytest.approx(3.5)
    assert machine.energy_between(moment(), moment()) is None


def test_steal_and_switches_between_moments():
    before, after = moment(), moment(seconds=3.0, steal=5, total=200, switches=40)
    assert machine.steal_share(before, after) == pytest.approx(0.05)
    assert machine.switch_rate(before, after) == pytest.approx(20.0)


# ---- strings ----------------------------------------------------------------------------------------------


def test_shipped_strings_are_many_and_distinct():
    everything = samples.shipped()
    assert len(everything) == len(set(everything)) >= 500
    assert len(samples.shipped("hostname")) >= 256
    for kind in ("dga", "dns-query", "url", "uri", "cmdline", "user-agent", "filename"):
        assert len(samples.shipped(kind)) >= 20, kind
    with pytest.raises(InputError, match=r"no sample strings of kind 'poem'.*hostname"):
        samples.shipped("poem")


def test_strings_of_a_file(tmp_path, monkeypatch):
    path = tmp_path / "names"
    path.write_bytes(b"a.example\r\n\n  \na.example\nb\xff.example\n" + b"x" * 70_000 + b"\nlast")
    found = samples.from_file(path)
    assert found[:2] == ["a.example", "b\udcff.example"]
    assert len(found[2]) == samples.MAX_LINE_BYTES
    assert found[3] == "last"
    monkeypatch.setattr(samples, "MAX_STRINGS", 2)
    assert len(samples.from_file(path)) == 2
    (tmp_path / "empty").write_text("\n \n")
    with pytest.raises(InputError, match="no strings"):
        samples.from_file(tmp_path / "empty")
    with pytest.raises(InputError, match="No such file"):
        samples.from_file(tmp_path / "missing")


# ---- suite and command ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bench") / "bundle")


@pytest.fixture
def short(monkeypatch):
    for name, value in (("LATENCY_SECONDS", 0.02), ("THROUGHPUT_SECONDS", 0.02), ("STARTS", 1), ("SLICES", 2)):
        monkeypatch.setattr(suite, name, value)


@pytest.fixture
def result(bundle, short):
    return suite.run(suite.Plan(samples.shipped("hostname"), "test", bundle, threads=(1, 2)))


def test_result_has_every_row(result):
    keys = {report.key(row) for row in result["rows"]}
    one = {("encode", "native", 1, n) for n in (1, 8, 32, 256)} | {("tokenize", "native", 1, n) for n in (1, 256)}
    assert keys == one | {("classify hostname-category", "native", 1, n) for n in (1, 32)} | {
        ("encode", "native", 2, n) for n in (8, 32, 256)
    }
    for row in result["rows"]:
        assert row["call_us"]["p50"] <= row["call_us"]["max"]
        assert row["strings_per_second"] == pytest.approx(row["batch"] / row["call_us"]["p50"] * 1e6)
        assert row["kernel"]
        assert row["calls"] >= 6
    (start,) = result["cold_start"]
    assert start["rss_bytes"] > start["numpy_rss_bytes"] > 0
    assert len(start["seconds"]) == 1
    json.loads(cold_start.dumps(result))


def test_table_shows_every_row_and_says_whether_to_trust_it(result):
    text = report.table(result)
    for word in ("p99.9", "encode · native · 2 threads", "classify hostname-category", "strings/s", "cold start · native", "numpy alone"):
        assert word in text
    stable = copy.deepcopy(result)
    stable["unstable"] = []
    for row in stable["rows"]:
        row["unstable"] = []
    assert "measurement: stable" in report.table(stable)
    stable["rows"][0]["unstable"] = ["slices differ by 40% of the median"]
    assert "UNSTABLE" in report.table(stable)
    assert "slices differ by 40% of the median" in report.table(stable)
    stable["rows"][0]["strings_per_joule"] = 1234.0
    assert "strings/J" in report.table(stable)


def test_few_strings_leave_out_large_batches(bundle, short):
    found = suite.run(suite.Plan(["a.example", "b.example"], "test", bundle))
    assert {row["batch"] for row in found["rows"]} == {1}


def test_plan_refuses_nonsense():
    with pytest.raises(InputError, match="no strings"):
        suite.Plan([], "x")
    with pytest.raises(InputError, match="at least 1"):
        suite.Plan(["a"], "x", threads=(0,))


def test_engine_that_is_missing_is_left_out_with_its_reason(bundle, short, monkeypatch):
    monkeypatch.setattr(suite.engines, "ENGINES", ("native", "jit"))
    load = suite.EdgeDemist.load

    def without_jit(path, *, engine, threads):
        if engine == "jit":
            raise EngineUnavailableError("numba is not installed")
        return load(path, engine=engine, threads=threads)

    monkeypatch.setattr(suite.EdgeDemist, "load", without_jit)
    models, missing = suite.open_models(suite.Plan(["a"], "x", bundle, ("all",)))
    assert [m.engine.name for m in models] == ["native"]
    assert missing == ["jit: numba is not installed"]
    with pytest.raises(EngineUnavailableError, match="numba is not installed"):
        suite.open_models(suite.Plan(["a"], "x", bundle, ("jit",)))


def test_compare_matches_rows_and_gives_the_worst_ratio(result):
    new = copy.deepcopy(result)
    new["rows"][0]["call_us"]["p50"] *= 1.5
    new["rows"][1]["call_us"]["p50"] *= 0.5
    del new["rows"][2]
    lines, worst = report.compare(result, new)
    assert worst == pytest.approx(1.5)
    assert sum("1.50" in line for line in lines) == 1
    assert len(lines) == 1 + len(new["rows"])
    new["bundle"]["id"] = "other"
    assert "another bundle" in report.compare(result, new)[0][0]
    assert report.compare({"rows": []}, new)[1] == 1.0


def run_cli(bundle, *arguments):
    return cli.main(["bench", "--bundle", str(bundle), "--threads", "1", *map(str, arguments)])


def test_command_writes_json_and_compares(bundle, short, tmp_path, capsys):
    names = tmp_path / "names"
    names.write_text("a.example\nb.example\n")
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    assert run_cli(bundle, "--quick", "--input", names, "--json", old) == 0
    assert "latency" in capsys.readouterr().out
    value = json.loads(old.read_text())
    assert value["kind"] == "edge-demist bench"
    assert value["strings"] == {"source": "a file", "count": 2, "mean_tokens": value["strings"]["mean_tokens"]}
    assert str(tmp_path) not in old.read_text()
    for row in value["rows"]:
        row["call_us"]["p50"] = 1e9
    old.write_text(json.dumps(value))
    assert run_cli(bundle, "--quick", "--input", names, "--compare", old, "--fail-above", 5, "--json", new) == 0
    for row in value["rows"]:
        row["call_us"]["p50"] = 1e-9
    old.write_text(json.dumps(value))
    assert run_cli(bundle, "--quick", "--input", names, "--compare", old, "--fail-above", 5) == 1
    assert run_cli(bundle, "--quick", "--input", names, "--compare", old) == 0
    assert "ratio" in capsys.readouterr().out


def test_json_to_standard_output_is_json_alone(bundle, short, capsys):
    assert run_cli(bundle, "--quick", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["format"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fail-above", "5"], "--fail-above needs --compare"),
        (["--compare", "nothing.json"], "nothing.json"),
        (["--kind", "poem"], "no sample strings"),
        (["--engine", "abacus"], "unknown engine 'abacus'"),
        (["--task", "poetry"], "unknown task 'poetry'"),
    ],
)
def test_command_refuses_nonsense(bundle, short, capsys, arguments, message):
    assert run_cli(bundle, *arguments) == 2
    assert message in capsys.readouterr().err


def test_command_refuses_foreign_json(bundle, short, tmp_path, capsys):
    for content in ("[]", "{", '{"kind": "edge-demist bench", "rows": [], "format": 99}'):
        (tmp_path / "x.json").write_text(content)
        assert run_cli(bundle, "--compare", tmp_path / "x.json") == 2
    assert "this version reads" in capsys.readouterr().err


def test_missing_bundle_is_refused(tmp_path, capsys):
    assert run_cli(tmp_path / "nowhere") == 2
    assert "no readable bundle" in capsys.readouterr().err


def test_thread_lists(capsys):
    with pytest.raises(SystemExit):
        cli.main(["bench", "--threads", "1,zero"])
    assert "not a list of thread counts" in capsys.readouterr().err


def test_progress_only_on_a_terminal():
    import io

    from edge_demist.cli.bench import Bar

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    quiet, loud = io.StringIO(), Terminal()
    for stream in (quiet, loud):
        bar = Bar(stream)
        bar("encode", 5, 10)
        bar.close()
    assert quiet.getvalue() == ""
    assert "5/10 encode" in loud.getvalue()


def test_cold_start_reports_a_failing_child(tmp_path):
    with pytest.raises(cold_start.EdgeDemistError, match=r"cold start failed: .*no readable bundle"):
        cold_start.start(cold_start.PROGRAM, (str(tmp_path), "native", "1", "a"))


def test_json_has_no_nan():
    assert json.loads(cold_start.dumps({"a": [math.nan, 1.5], "b": {"c": math.inf}})) == {"a": [None, 1.5], "b": {"c": None}}


def test_numbers_are_readable():
    assert [report.number(v) for v in (None, math.nan, 1.234, 12.34, 1234.5)] == ["-", "-", "1.23", "12.3", "1,234"]


# ---- the sensor's way -------------------------------------------------------------------------------------


@pytest.fixture
def in_process(monkeypatch):
    """Children as calls of this process: each start of Python would take a second."""

    def child(command):
        if command[1] == sensor.WATCH:
            assert cli.main(command[2:]) in (0, 1)
            return "40000", 2.0
        names = [line for line in Path(command[2]).read_text().splitlines() if not line.startswith("#")]
        return json.dumps({"records": len(names), "cpu_seconds": 1.0}), 1.0

    monkeypatch.setattr(sensor, "child", child)


def test_bench_runs_the_sensor_on_made_logs(tmp_path, capsys, in_process):
    (tmp_path / "names.txt").write_text("".join(f"{name}\n" for name in ("kernel.org", "xjqzvwpk8r3t.info", "a\tb")))
    options = ["--input", str(tmp_path / "names.txt"), "-o", str(tmp_path / "r.json"), "--quick"]
    real = sensor.dns_log(tmp_path / "dns.log", ["example.org"] * 5)
    assert cli.main(["bench", "--sensor", "--sensor-log", str(real), *options]) == 0
    assert "alarms --no-screen" in capsys.readouterr().out
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert {f"{log}, {variant}" for log in ("new", "repeated", "real") for variant in sensor.VARIANTS} <= set(rows)
    assert [rows[f"{log}, all"]["records"] for log in ("new", "repeated", "real")] == [2, 2, 5]
    assert rows["new, all"]["predictions"] == 4 * 2
    assert rows["new, encode"]["records"] == 2
    assert cli.main(["bench", "--sensor", "--task", "dga"]) == 2
    assert cli.main(["bench", "--sensor-log", str(real)]) == 2
