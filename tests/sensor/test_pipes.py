"""Standard input and pipes as a shell gives them to ``watch``."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.sensor_fakes import ROOT, balanced, read_events, watch_once, zeek_log

LOG = zeek_log("ts query", *(f"{1_700_000_000 + i}.5 n{i}.example" for i in range(300)))
CODE = f"import sys; sys.path.append({str(ROOT)!r}); from tools.sensor.soak import run_fake; sys.exit(run_fake(sys.argv[1:]))"


def run(folder: Path, arguments: list[str], data: bytes) -> tuple[list[dict], dict]:
    out, summary = folder / "out.jsonl", folder / "s.json"
    command = [sys.executable, "-c", CODE, "watch", *arguments, "-o", str(out), "--summary", str(summary)]
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return read_events(out), json.loads(summary.read_text())


FORMS = {
    "plain": LOG.encode(),
    "gzip": gzip.compress(LOG.encode()),
    "utf-16": LOG.encode("utf-16"),
    "unterminated": LOG.rstrip("\n").encode(),
}


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_standard_input(tmp_path: Path, form: str, once: bool) -> None:
    events, summary = run(tmp_path, ["-", *(["--once"] if once else [])], FORMS[form])
    assert len({e["text"] for e in events}) == 300 and balanced(summary) and summary["records"] == 300
    assert {e["file"] for e in events} == {"-"}


def test_dev_stdin_and_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(zeek_log("ts query", "1.0 beside.example"))
    events, summary = run(
        tmp_path, ["/dev/stdin", str(tmp_path / "dns.log"), "--once"], json.dumps([{"CommandLine": "id"}, {"CommandLine": "w"}]).encode()
    )
    assert {e["text"] for e in events} == {"id", "w", "beside.example"} and summary["errors"] == 0


def test_a_named_pipe_with_a_slow_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "eve.pipe")
    lines = [
        json.dumps({"timestamp": "2024-05-01T08:00:00Z", "event_type": "dns", "dns": {"rrname": f"n{i}.example"}}) + "\n" for i in range(6)
    ]

    def write() -> None:
        time.sleep(0.3)
        with (tmp_path / "eve.pipe").open("w") as pipe:
            for line in lines:
                pipe.write(line[:40])
                pipe.flush()
                time.sleep(0.02)
                pipe.write(line[40:])
                pipe.flush()

    writer = threading.Thread(target=write)
    writer.start()
    events, summary = watch_once(tmp_path, tmp_path / "eve.pipe")
    writer.join()
    assert {e["text"] for e in events} == {f"n{i}.example" for i in range(6)} and summary["records"] == 6


def test_a_pipe_that_brings_nothing_understood_is_named(tmp_path: Path) -> None:
    out, summary = tmp_path / "out.jsonl", tmp_path / "s.json"
    command = [sys.executable, "-c", CODE, "watch", "-", "--once", "--log", "text", "-o", str(out), "--summary", str(summary)]
    done = subprocess.run(command, input=b"words\nand words\n", capture_output=True, check=False, timeout=120)
    assert done.returncode == 1 and b"not-understood" in done.stderr and b"docs/formats.md" in done.stderr
