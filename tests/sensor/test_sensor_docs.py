"""The walk-through of docs/sensor.md, run as it stands (with the stand-in model)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_demist.sensor.counters import Counts
from edge_demist.sensor.detect.mapping import load_rules
from edge_demist.sensor.sources.parser import LineParser
from tests.support.sensor_fakes import DATA, ROOT, balanced, read_events, read_log
from tools.sensor import figures, formats_page

LOGS = sorted(path for path in (DATA / "logs").iterdir() if path.suffix != ".md")
DOC = (ROOT / "docs" / "sensor.md").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """A folder that looks like the repository's root, with ``edge-demist`` on the path."""
    (tmp_path / "bin").mkdir()
    shutil.copytree(DATA / "logs", tmp_path / "tests" / "data" / "logs")
    script = tmp_path / "bin" / "edge-demist"
    code = f"import sys; sys.path.append({str(ROOT)!r}); from tools.sensor.soak import run_fake; sys.exit(run_fake(sys.argv[1:]))"
    script.write_text(f"#!{sys.executable}\n{code}\n")
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def test_the_walk_through_works(tmp_path: Path, place: dict[str, str]) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", DOC.partition("## What is read")[0], re.DOTALL)
    assert len(blocks) == 6
    text = "set -e\n" + "".join(blocks)
    text = re.sub(r"^(sudo|systemd-analyze).*\n", "", text, flags=re.MULTILINE)
    done = subprocess.run(["bash", "-c", text], cwd=tmp_path, env=place, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    lines = [line for path in LOGS for line in read_log(path).splitlines() if not line.startswith(b"#")]
    assert balanced(summary) and summary["records"] == len(lines) > 200 and summary["errors"] == 0
    assert len(read_events(tmp_path / "events.jsonl")) == summary["events"]
    live = read_events(tmp_path / "live.jsonl")
    assert {Path(e["file"]).name for e in live} >= {"dns.log", "http.log"} and "0 bytes in all" in done.stdout
    assert len({e["event_id"] for e in live}) == len(live)
    assert (tmp_path / "edge-demist.service").read_text().startswith("[Unit]")


def test_the_readme_s_commands_work(tmp_path: Path, place: dict[str, str]) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## On a sensor")[2].partition("\n## ")[0]
    lines = [line.strip() for line in section.splitlines() if line.startswith("    ") and not line.strip().startswith("sudo")]
    assert len(lines) > 8
    text = "\n".join(["set -e", *lines])
    done = subprocess.run(["bash", "-c", text], cwd=tmp_path, env=place, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert balanced(json.loads((tmp_path / "summary.json").read_text())) and (tmp_path / "alarms.jsonl").exists()
    assert "files read to their end" in done.stdout and "PrivateNetwork=yes" in done.stdout


def test_figures_in_the_docs_are_those_of_the_result_files() -> None:
    assert figures.rendered(DOC) == DOC


def test_reasons_in_the_docs_are_those_of_the_code() -> None:
    code = "".join(p.read_text() for p in (ROOT / "edge_demist" / "sensor").rglob("*.py"))
    table = DOC.partition("| reason in `skipped`")[2].partition("\n\n")[0]
    documented = set(re.findall(r"`([a-z]+(?:-[a-z]+)+|corrupt)`", table)) - {"mapping"}
    assert documented and all(f'"{reason}"' in code for reason in documented)
    told = set(re.findall(r'skip\("([a-z-]+)"\)', code)) | set(re.findall(r'return "((?:no|bad|field|too|not)-[a-z-]+|corrupt)"', code))
    assert told <= documented


def test_sample_logs_hold_every_form() -> None:
    kinds = set()
    for path in LOGS:
        parser = LineParser(path.name)
        for line in read_log(path).splitlines():
            record = parser.parse(line)
            if record is not None and not isinstance(record, str):
                kinds.add(record.log)
    zeek = {f"zeek.{name}" for name in ("dns", "http", "ssl", "x509", "files")}
    assert kinds == zeek | {f"eve.{name}" for name in ("alert", "dns", "http", "tls", "fileinfo", "flow", "stats")} | {"host"}
    assert len(load_rules()) > 40 and Counts().to_json()["records"] == 0


def test_the_page_of_formats_shows_the_mapping() -> None:
    page = formats_page.PAGE.read_text(encoding="utf-8")
    assert formats_page.rendered(page) == page and page.count("###") > 15
