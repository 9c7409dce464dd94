"""The configuration files of other programs: the command in each on a log of Suricata, and the program where it is installed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.docs.console import ROOT, environment

FOLDER = ROOT / "docs" / "how-to" / "configurations"
LOG = "/var/log/suricata/eve.json"
EVENTS: list[dict[str, Any]] = [
    {"event_type": "dns", "dns": {"type": "query", "rrname": "xjqzvwpk8r3t.info"}},
    {"event_type": "dns", "dns": {"type": "query", "rrname": "kernel.org"}},
    {"event_type": "flow", "proto": "TCP"},
    {"event_type": "dns", "dns": {"type": "query", "rrname": "q8zk2vxw0rjt.biz"}},
]
RUN = {
    "vector.yaml": ("vector", "vector --config {file}"),
    "fluent-bit.conf": ("fluent-bit", "{command} | fluent-bit -c {file}"),
    "logstash.conf": ("logstash", "logstash -f {file}"),
    "redpanda-connect.yaml": ("redpanda-connect", "redpanda-connect run {file}"),
}


def lines(command: str, folder: Path, count: int) -> list[dict[str, Any]]:
    """The first JSON lines that a command prints; it may go on for ever."""
    words = ["timeout", "100", "bash", "-c", command]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment(folder), cwd=folder, start_new_session=True, text=True)
    assert process.stdout
    found = []
    with process:
        for line in process.stdout:
            if line.startswith("{"):
                found.append(json.loads(line))
            if len(found) == count:
                break
        os.killpg(process.pid, signal.SIGKILL)
    return found


def command_of(name: str, text: str) -> str:
    """The shell command in a configuration file."""
    if name == "vector.yaml":
        yaml = pytest.importorskip("yaml")
        source = yaml.safe_load(text)["sources"]["dns"]
        assert source["type"] == "exec" and source["mode"] == "streaming" and source["decoding"] == {"codec": "json"}
        return shlex.join(source["command"])
    if name == "redpanda-connect.yaml":
        yaml = pytest.importorskip("yaml")
        part = yaml.safe_load(text)["pipeline"]["processors"][0]["subprocess"]
        return f"tail -n +1 -F {LOG} | {shlex.join([part['name'], *part['args']])}"
    if name == "logstash.conf":
        return str(re.findall(r'command => "(.*)"', text)[0])
    return text.splitlines()[0].removeprefix("# ").rpartition(" | ")[0]


@pytest.mark.parametrize("name", RUN)
def test_the_command_in_a_configuration(name: str, tmp_path: Path, model) -> None:
    log = tmp_path / "eve.json"
    log.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    command = command_of(name, (FOLDER / name).read_text(encoding="utf-8")).replace(LOG, str(log))
    found = lines(command, tmp_path, len(EVENTS))
    assert [{k: v for k, v in one.items() if k != "edge_demist"} for one in found] == EVENTS
    verdicts = [one["edge_demist"].get("dga") for one in found]
    expected = [answer.to_dict() for answer in model.classify([event["dns"]["rrname"] for event in EVENTS if "dns" in event], task="dga")]
    assert verdicts.pop(2) is None
    assert [one["alarm_score"] for one in verdicts] == [one["alarm_score"] for one in expected]


@pytest.mark.parametrize("name", RUN)
def test_the_program_takes_the_configuration(name: str, tmp_path: Path) -> None:
    program, call = RUN[name]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    log, file = tmp_path / "eve.json", tmp_path / name
    log.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    text = (FOLDER / name).read_text(encoding="utf-8").replace(LOG, str(log)).replace("/var/lib/vector", str(tmp_path))
    file.write_text(text)
    found = lines(call.format(file=file, command=command_of(name, text)), tmp_path, 1)
    assert [one["dns"]["rrname"] for one in found] == ["xjqzvwpk8r3t.info"]
