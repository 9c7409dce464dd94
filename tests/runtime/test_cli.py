"""The command line as a user calls it: a process, files, pipes and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_demist.cli import COMMANDS, main
from edge_demist.cli.lines import Progress

HOSTS = ["kernel.org", "www.wikipedia.org", "xjqzvwpk8r3t.info"]


def run(*args, stdin=b"", env=None):
    """Run ``edge-demist`` and return (exit code, stdout lines, stderr)."""
    command = [sys.executable, "-P", "-m", "edge_demist", *map(str, args)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, env={**os.environ, **(env or {})}, check=False)
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


def call(capsys, *args):
    """Run in this process: (exit code, stdout lines, stderr)."""
    code = main([str(a) for a in args])
    out = capsys.readouterr()
    return code, out.out.splitlines(), out.err


@pytest.fixture
def hosts(tmp_path):
    path = tmp_path / "hosts.txt"
    path.write_text("\n".join(HOSTS) + "\n")
    return path


def test_classify_file(capsys, hosts):
    code, lines, err = call(capsys, "classify", "--task", "dga", hosts)
    answers = [json.loads(line) for line in lines]
    assert code == 0
    assert [a["text"] for a in answers] == HOSTS
    assert all(set(a) >= {"text", "task", "label", "score"} and a["task"] == "dga" for a in answers)
    assert err == ""


def test_classify_stdin():
    code, lines, _ = run("classify", "--task", "dga", "-", stdin=b"kernel.org\r\nexample.com")
    assert code == 0
    assert [json.loads(line)["text"] for line in lines] == ["kernel.org", "example.com"]


def test_top_k(capsys, hosts):
    _, lines, _ = call(capsys, "classify", "--task", "hostname-category", "--top-k", "3", hosts)
    assert all(len(json.loads(line)["scores"]) == 3 for line in lines)
    _, lines, _ = call(capsys, "classify", "--task", "hostname-category", "--top-k", "all", hosts)
    assert all(len(json.loads(line)["scores"]) == 26 for line in lines)


def test_bad_lines_do_not_stop_the_stream():
    hostile = [
        b"kernel.org",
        b"",
        b"a\x00b",
        b"\xff\xfe\xfd",
        "\u202egro.lenrek".encode(),
        "pаypal.com".encode(),
        b"x" * (1 << 20),
        b"end.org",
    ]
    code, lines, told = run("classify", "--task", "dga", "-", stdin=b"\n".join(hostile) + b"\n")
    answers = [json.loads(line) for line in lines]
    assert code == 0 and "1 blank line skipped" in told
    assert len(answers) == len(hostile) - 1  # the blank line
    assert answers[5]["truncated"] is True
    assert answers[6]["text"] == "end.org"
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_overlong_line_is_cut(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"a" * (17 << 20) + b"\nkernel.org\n")
    code, lines, _ = run("classify", "--task", "uri-attack", path)
    answers = [json.loads(line) for line in lines]
    assert code == 0
    assert len(answers) == 2
    assert answers[0]["truncated"] is True
    assert answers[1]["text"] == "kernel.org"


def test_jsonl_carries_other_keys(capsys, tmp_path):
    path = tmp_path / "in.jsonl"
    records = ['{"text": "kernel.org", "id": 7, "label": "mine"}', "nonsense", '{"no": 1}', '{"text": "a\\udcffb"}', "[1]", "[" * 5000]
    path.write_text("\n".join(records))
    code, lines, _ = call(capsys, "classify", "--task", "dga", "--input-format", "jsonl", path)
    answers = [json.loads(line) for line in lines]
    assert code == 1
    assert answers[0]["id"] == 7
    assert answers[0]["input_label"] == "mine"
    assert answers[0]["label"] in ("dga", "legit")
    assert answers[3]["text"] == "a\udcffb"
    assert [a.get("line") for a in answers] == [None, 2, 3, None, 5, 6]


def test_jsonl_lines_may_name_their_task(capsys, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"text": "kernel.org", "task": "dga"}\n{"text": "/?q=1", "task": "uri-attack"}\n{"text": "a", "task": "?"}\n{"text": "a"}\n'
    )
    code, lines, _ = call(capsys, "classify", "--input-format", "jsonl", path)
    answers = [json.loads(line) for line in lines]
    assert code == 1
    assert [a.get("task") for a in answers] == ["dga", "uri-attack", None, None]
    assert "unknown task '?'" in answers[2]["error"]


ZEEK = """#separator \\x09
#set_separator\t,
#empty_field\t(empty)
#unset_field\t-
#path\tdns
#fields\tts\tuid\tquery
#types\ttime\tstring\tstring
1.0\tC1\tkernel.org
2.0\tC2\t-
3.0\tC3\ta\\x09b.org
short
#close\t2026-01-01-00-00-00
"""


def test_zeek_log(capsys, tmp_path):
    path = tmp_path / "dns.log"
    path.write_text(ZEEK)
    code, lines, _ = call(capsys, "classify", "--task", "dga", "--input-format", "zeek", "--field", "query", path)
    answers = [json.loads(line) for line in lines]
    assert code == 1
    assert [a.get("text") for a in answers] == ["kernel.org", None, "a\tb.org", None]
    assert answers[0]["uid"] == "C1"
    assert "unset" in answers[1]["error"]


def test_zeek_json_log(capsys, tmp_path):
    path = tmp_path / "dns.log"
    path.write_text('{"ts": 1.0, "query": "kernel.org"}\n{"ts": 2.0}\n')
    code, lines, _ = call(capsys, "classify", "--task", "dga", "--input-format", "zeek", path)
    assert code == 1
    assert json.loads(lines[0])["text"] == "kernel.org"


def test_embed_formats(capsys, tmp_path, hosts):
    npy, jsonl, parquet = (tmp_path / f"v.{kind}" for kind in ("npy", "jsonl", "parquet"))
    assert call(capsys, "embed", hosts, "-o", npy)[0] == 0
    vectors = np.load(npy, allow_pickle=False)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert call(capsys, "embed", hosts, "-o", jsonl)[0] == 0
    lines = [json.loads(line) for line in jsonl.read_text().splitlines()]
    np.testing.assert_allclose([x["vector"] for x in lines], vectors, atol=1e-6)
    table = pytest.importorskip("pyarrow.parquet")
    assert call(capsys, "embed", hosts, "-o", parquet)[0] == 0
    read = table.read_table(parquet)
    assert read["text"].to_pylist() == HOSTS
    np.testing.assert_array_equal(np.array(read["vector"].to_pylist(), np.float32), vectors)
    _, printed, _ = call(capsys, "embed", hosts)
    assert [json.loads(line)["text"] for line in printed] == HOSTS


def test_embed_keeps_rows_aligned_with_lines(capsys, tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "v.npy"
    source.write_text('{"text": "a"}\nbroken\n{"text": "b"}\n')
    code, _, err = call(capsys, "embed", "--input-format", "jsonl", source, "-o", out)
    vectors = np.load(out)
    assert code == 1
    assert "line 2" in err
    assert np.isnan(vectors[1]).all()
    assert np.isfinite(vectors[[0, 2]]).all()


def test_embed_leaves_nothing_half_written(capsys, tmp_path, hosts):
    target = tmp_path / "v.npy"
    target.write_bytes(b"old")
    code, _, err = call(capsys, "embed", hosts, "-o", target, "--task", "none-such")
    assert code == 2
    assert "unknown task" in err
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert call(capsys, "embed", hosts, "-o", tmp_path / "v.pickle")[0] == 2
    assert call(capsys, "embed", hosts, "-o", tmp_path / "no" / "v.npy")[0] == 2


def test_tokenize(capsys, hosts):
    code, lines, _ = call(capsys, "tokenize", hosts)
    for line, host in zip(lines, HOSTS, strict=True):
        record = json.loads(line)
        assert record["text"] == host
        assert len(record["ids"]) == len(record["pieces"])
        assert "".join(record["pieces"]) == host
    assert code == 0


def test_tasks_and_info(capsys):
    code, lines, _ = call(capsys, "tasks")
    assert code == 0
    assert any(line.startswith("hostname-category") for line in lines)
    _, lines, _ = call(capsys, "tasks", "--json")
    records = {r["task"]: r for r in map(json.loads, lines)}
    assert records["dga"]["positive_labels"] == ["dga"]
    assert set(records["dga"]["thresholds"]["fpr"]) == {"0.01", "0.001", "0.0001", "1e-05"}
    _, lines, _ = call(capsys, "info", "--json")
    facts = json.loads("\n".join(lines))
    assert facts["engine"]["why"]
    assert facts["bundle"]["id"]
    assert set(facts["bundle"]["files"]) >= {"weights.safetensors", "tokenizer.safetensors"}
    assert call(capsys, "info")[0] == 0


def test_usage_errors(capsys, tmp_path, hosts):
    for arguments in ((), ("none-such",), ("classify",), ("classify", "--task", "dga", "--top-k", "0", "x")):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        assert stop.value.code == 2
    assert call(capsys, "classify", hosts)[0] == 2
    assert call(capsys, "classify", "--task", "none-such", hosts)[0] == 2
    assert call(capsys, "classify", "--task", "dga", tmp_path / "none")[0] == 2
    assert call(capsys, "classify", "--task", "dga", tmp_path)[0] == 2
    code, _, err = call(capsys, "classify", "--task", "dga", "--bundle", tmp_path, hosts)
    assert code == 2
    assert "no readable bundle" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command.replace("_", "-"), "--help"])
    assert stop.value.code == 0
    assert "example" in capsys.readouterr().out.lower()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["classify", "--task", "dga", "-"], ["tokenize", "-"], ["tasks"]])
def test_a_full_disk_is_an_error_in_one_line(arguments):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "edge_demist", *arguments], input=b"kernel.org\n", stdout=full, stderr=subprocess.PIPE,
            timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode().strip() == "edge-demist: output: No space left on device; the output is not complete"


def test_closed_pipe_is_quiet(tmp_path):
    path = tmp_path / "many"
    path.write_text("kernel.org\n" * 50_000)
    command = f"{sys.executable} -P -m edge_demist classify --task dga {path} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=120, check=False)
    assert done.stderr == b""
    assert len(done.stdout.splitlines()) == 1


def test_interrupt():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "edge_demist", "classify", "--task", "dga", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    child.stdin.write(b"kernel.org\n")
    child.stdin.flush()
    assert b"kernel.org" in child.stdout.readline()  # a slow pipe is answered at once
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert b"Traceback" not in err


def test_read_only_install_and_home():
    """Nothing needs a writable folder."""
    code, lines, err = run("classify", "--task", "dga", "-", stdin=b"kernel.org\n", env={"HOME": "/nonexistent", "TMPDIR": "/nonexistent"})
    assert code == 0, err
    assert len(lines) == 1


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert re.search(r"\d+\.\d+", capsys.readouterr().out)


def test_nothing_heavy_is_imported():
    """Numba, onnxruntime, torch, transformers and sentencepiece stay out of the default path; so does the network."""
    heavy = "numba onnxruntime torch transformers sentencepiece socket ssl http urllib.request"
    code = (
        "import sys; from edge_demist.cli import main; main(['classify','--task','dga',sys.argv[1]]);"
        "print([m for m in sys.argv[2].split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, __file__, heavy], capture_output=True, timeout=60, check=False)
    assert done.stdout.decode().splitlines()[-1] == "[]", done.stderr.decode()


def test_memory_is_flat_in_the_number_of_lines(tmp_path):
    """Peak memory of ten times the lines grows by less than 16 MB."""
    peaks = []
    for count in (5_000, 50_000):
        path = tmp_path / str(count)
        path.write_text("".join(f"host{i}.example{i % 7}.org\n" for i in range(count)))
        code = (
            "import sys; from edge_demist.cli import main; sys.stdout = open('/dev/null', 'w');"
            "main(['classify', '--task', 'dga', sys.argv[1]]);"
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')), file=sys.stderr)"
        )  # getrusage would begin with the peak of this process
        done = subprocess.run([sys.executable, "-P", "-W", "ignore", "-c", code, str(path)], capture_output=True, timeout=300, check=False)
        peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] - peaks[0] < 16_000


def test_start_is_light():
    """Importing the package alone loads neither numpy nor the model."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import edge_demist, sys; print('numpy' in sys.modules)"], capture_output=True, check=True, timeout=60
    )
    assert done.stdout.strip() == b"False"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_progress_only_on_a_terminal():
    shown, hidden = Terminal(), io.StringIO()
    for stream in (shown, hidden):
        progress = Progress(stream)
        progress.add(5)
        progress.close()
    assert "5 lines" in shown.getvalue()
    assert hidden.getvalue() == ""


# --- nothing wrong is accepted in silence ----------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "said"), [("0.05", "0.01"), ("0.008", "0.001"), ("0.001", ""), ("1e-4", "")])
def test_a_rate_between_the_calibrated_ones_is_said(capsys, hosts, asked, said):
    code, lines, err = call(capsys, "classify", "--task", "dga", "--fpr", asked, hosts)
    exact = call(capsys, "classify", "--task", "dga", "--fpr", said or asked, hosts)[1]
    assert code == 0 and lines == exact
    assert (f"the next stricter one is, {said}" in err) if said else err == ""


def test_a_rate_beyond_the_calibrated_ones_is_refused(capsys, hosts):
    code, lines, err = call(capsys, "classify", "--task", "dga", "--fpr", "1e-7", hosts)
    assert code == 2 and lines == [] and "calibrated: 1e-05, 0.0001, 0.001, 0.01" in err


@pytest.mark.parametrize("suffix", [".parquet", ".PARQUET"])
def test_a_table_is_not_read_as_lines(capsys, tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_text("text,label\na.example,x\n")
    for command in (("classify", "--task", "dga"), ("embed",), ("tokenize",)):
        code, lines, err = call(capsys, *command, path)
        assert code == 2 and lines == [] and "is no list of strings" in err
    assert call(capsys, "classify", "--task", "dga", "--input-format", "lines", path)[0] == 0


def test_objects_are_known_by_their_file_s_name(capsys, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "kernel.org", "id": 3}\n')
    code, lines, _ = call(capsys, "classify", "--task", "dga", tmp_path / "a.jsonl")
    assert code == 0 and json.loads(lines[0])["id"] == 3
