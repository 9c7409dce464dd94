"""Lines that everybody tries first: every slot filled, labels even, and the groups held out train nothing when asked for."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from benchmarks import classic_lines
from tools.synth import cmdline_classic
from tools.synth.cmdline_slots import SLOTS
from tools.synth.templates import groups, unfilled

FILES = (cmdline_classic.ATTACK, cmdline_classic.ADMIN)


def test_lines_are_filled_and_even():
    rows = cmdline_classic.generate(random.Random(5), 1200)
    assert not [text for text, *_ in rows if unfilled(text, SLOTS)]
    assert sum(label == "malicious" for _, label, _ in rows) == 600
    assert len({text for text, *_ in rows}) > 900
    assert rows == cmdline_classic.generate(random.Random(5), 1200)


@pytest.mark.parametrize("file", FILES)
def test_groups_held_out_are_apart(file):
    held = cmdline_classic.held_out(file)
    assert 0.2 < len(held) / len(groups(file)) < 0.4
    for part in (False, True):
        found = {group for *_, group in cmdline_classic.lines(random.Random(1), 600, file, part)}
        assert found
        assert found <= held if part else found.isdisjoint(held)
    trained = {group for *_, group in cmdline_classic.generate(random.Random(1), 900, all_groups=False)}
    assert trained.isdisjoint(held)


def test_alarms_are_counted_by_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert classic_lines.main(["--out", str(tmp_path / "c.json"), "--lines", "40", "--text"]) == 0
    result = json.loads((tmp_path / "c.json").read_text())
    for name in ("attack", "ordinary"):
        for part in result[name].values():
            assert sum(count for _, count in part["groups"].values()) == part["lines"]
            assert sum(alarms for alarms, _ in part["groups"].values()) == part["alarms"] <= part["lines"]
    assert "held out: " in capsys.readouterr().out
