"""The unit's limits for real: ``watch`` inside a control group that has them, where this machine lets us make one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_demist.sensor.service import UnitOptions, render_unit
from tests.support.sensor_fakes import DATA, balanced, zeek_log
from tools.sensor.limits import ControlGroup

SLACK_S = 0.2
"""A group may run past its quota by a slice a processor (kernel documentation, sched-bwc)."""

MEASURE = """
import json, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
json.dump({name: getattr(used, name) for name in ("ru_maxrss", "ru_utime", "ru_stime")}, open(sys.argv[1], "w"))
sys.exit(code)
"""
"""Runs a command and notes what it used. A process starts with the peak memory of the one it was forked from, so not from here."""


class Group(ControlGroup):
    """A control group that tells what happened in it."""

    @property
    def peak_bytes(self) -> int:
        """Most memory the group ever held, page cache included."""
        return int((self.folders[0] / ("memory.peak" if self._unified else "memory.max_usage_in_bytes")).read_text())

    @property
    def periods(self) -> int:
        """Periods in which the quota was counted."""
        return int(re.search(r"^nr_periods (\d+)$", (self.folders[-1] / "cpu.stat").read_text(), re.MULTILINE)[1])  # type: ignore[index]

    def command(self, *arguments: str) -> list[str]:
        """A command line that runs inside."""
        joins = " && ".join(f"echo $$ > {folder}/cgroup.procs" for folder in self.folders)
        return ["sh", "-c", f'{joins} && exec "$@"', "sh", *arguments]


@pytest.fixture
def limits() -> tuple[int, float]:
    """MemoryMax in bytes and CPUQuota as a share of a processor, as the unit has them."""
    unit = render_unit(UnitOptions())
    memory, suffix = re.search(r"^MemoryMax=(\d+)([MG])$", unit, re.MULTILINE).groups()  # type: ignore[union-attr]
    quota = re.search(r"^CPUQuota=(\d+)%$", unit, re.MULTILINE)
    assert quota is not None
    return int(memory) << {"M": 20, "G": 30}[suffix], int(quota[1]) / 100


@pytest.fixture
def group(limits: tuple[int, float]) -> Iterator[Group]:
    try:
        made = Group(*limits)
    except OSError as error:
        pytest.skip(f"no control group with memory and cpu can be made here ({error.strerror}); the unit's text is tested elsewhere")
    yield made
    made.remove()


def test_watch_stays_within_the_limits_of_its_unit(tmp_path: Path, group: Group, limits: tuple[int, float]) -> None:
    memory, quota = limits
    (tmp_path / "logs").mkdir()
    rows = [f"{i}.5 C{i} host-{i}.example-{i % 97}.com" for i in range(3000)]
    (tmp_path / "logs" / "dns.log").write_text(zeek_log("ts uid query", *rows))
    (tmp_path / "logs" / "long.json").write_bytes((b'{"event_type":"dns","dns":{"rrname":"' + b"a" * (40 << 20) + b'"}}\n') * 2)
    summary = tmp_path / "summary.json"
    watch = (sys.executable, "-P", "-m", "edge_demist", "watch", str(tmp_path / "logs"), str(DATA / "logs"), "--once", "--log", "text")
    used = tmp_path / "used.json"
    began = time.monotonic()
    measured = (sys.executable, "-c", MEASURE, str(used), *watch, "-o", str(tmp_path / "e.jsonl"), "--summary", str(summary))
    assert subprocess.run(group.command(*measured), check=False, timeout=300).returncode == 1  # long.json gave nothing
    wall = time.monotonic() - began
    assert group.kills() == 0 and 0 < group.peak_bytes <= memory
    usage = json.loads(used.read_text())
    assert usage["ru_maxrss"] * 1024 <= memory  # without the page cache, which the kernel takes back when needed
    assert group.periods > 0 and usage["ru_utime"] + usage["ru_stime"] <= quota * wall + SLACK_S
    counts = json.loads(summary.read_text())
    assert balanced(counts) and counts["skipped"]["line-too-long"] == 2 and counts["records_out"] > 3000


def test_too_small_a_limit_is_seen_by_the_test(tmp_path: Path, group: Group) -> None:
    name = "memory.max" if group._unified else "memory.limit_in_bytes"
    (group.folders[0] / name).write_text(str(8 << 20))
    code = "x = bytearray(64 << 20); print(len(x))"
    done = subprocess.run(group.command(sys.executable, "-c", code), capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode != 0 and group.kills() == 1
