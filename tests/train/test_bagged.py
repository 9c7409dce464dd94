"""``tools.train.bagged`` and ``tools.train.quiet_table``: what their columns and tables learn, and what stays as it was."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

for needed in ("torch", "pandas", "numba", "scipy"):
    pytest.importorskip(needed)

import pandas as pd  # noqa: E402

from edge_demist.format import safetensors  # noqa: E402
from edge_demist.train.ngrams import NgramConfig, hash_rows  # noqa: E402
from quantize import cli  # noqa: E402
from tests.support.plain_heads import with_one_group  # noqa: E402
from tools.synth import cmdline_dev, cmdline_slots, query_languages, uri_server_side  # noqa: E402
from tools.synth.templates import unfilled  # noqa: E402
from tools.train import bagged, mixtures, quiet_table  # noqa: E402

CONFIG = NgramConfig(buckets=4096, dim=16)


def part(texts: list[str], hostile: bool) -> bagged.Part:
    raw = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, raw)]).astype(np.int64)
    hashed = hash_rows(np.frombuffer(b"".join(raw) + b"\0", np.uint8), ends[:-1], ends[1:], CONFIG)
    return bagged.Part(*hashed, np.full(len(raw), hostile))


def score(column: np.ndarray, text: str) -> float:
    buckets = part([text], True).buckets
    return float(column[buckets].sum() / np.sqrt(len(buckets)))


@pytest.fixture(scope="module")
def parts() -> dict[str, bagged.Part]:
    return {
        "bad": part([f"mimikatz run{i}" for i in range(40)], True),
        "good": part([f"notepad file{i}.txt" for i in range(40)], False),
        "other": part([f"mimikatz run{i}" for i in range(40)], False),
    }


def test_a_member_tells_its_parts_apart_and_a_margin_pushes_further(parts):
    plain = bagged.trained(parts, bagged.Member({"bad": 1.0, "good": 1.0}, drop=0.3), CONFIG, 3.0, 1)
    pushed = bagged.trained(parts, bagged.Member({"bad": 1.0, "good": 1.0}, {"bad": (4.0, 0.0)}, drop=0.3), CONFIG, 3.0, 1)
    assert score(plain, "mimikatz run7") > 0 > score(plain, "notepad file7.txt")
    assert score(pushed, "mimikatz run7") > score(plain, "mimikatz run7") + 1


def test_the_heavier_of_two_parts_that_contradict_each_other_wins(parts):
    shares = ({"bad": 1.0, "other": 0.05}, {"bad": 0.05, "other": 1.0})
    found = [bagged.trained(parts, bagged.Member({**share, "good": 1.0}, drop=0.3), CONFIG, 3.0, 1) for share in shares]
    assert score(found[0], "mimikatz run7") > score(found[1], "mimikatz run7") + 1


@given(st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=2, max_size=40), st.integers(0, 3))
def test_a_cut_costs_no_more_than_its_slack(rows, slack):
    scores, hostile = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    best = max(int(((scores > cut) == hostile).sum()) for cut in np.unique(scores))
    assert int(((scores > bagged.cut_of(scores, hostile, slack)) == hostile).sum()) >= best - slack


def test_a_column_made_of_members_is_served(tmp_path: Path, monkeypatch, model):
    hostile = [f"mimikatz.exe sekurlsa::logonpasswords run{i}" for i in range(30)]
    harmless = [f"notepad.exe C:\\notes\\file{i}.txt" for i in range(30)]
    rows = [(text, "malicious") for text in hostile] + [(text, "benign") for text in harmless]
    table = pd.DataFrame(rows, columns=["text", "label"]).assign(platform="windows", source="made for this test")
    (tmp_path / "tasks" / "cmdline").mkdir(parents=True)
    for name, part_of in (("train", table[::2]), ("dev", table[1::2])):
        part_of.to_parquet(tmp_path / "tasks" / "cmdline" / f"{name}.parquet")
    table[table["label"] == "benign"][["text", "label", "source"]].head(9).assign(text=lambda t: t["text"] + " /p").to_parquet(
        tmp_path / "m"
    )
    monkeypatch.setattr(bagged, "MADE", dict.fromkeys(bagged.MADE, 20))
    monkeypatch.setitem(mixtures.GENERATED, "cmdline", 40)
    monkeypatch.setattr(mixtures, "CLASSIC", 20)
    monkeypatch.setattr(bagged.ood, "texts", lambda *args: (hostile + harmless, harmless, [f"lorem ipsum {i}" for i in range(60)]))
    assert bagged.main(["--data", str(tmp_path), "--more", str(tmp_path / "m"), "--before", "0.1", "--out", str(tmp_path)]) == 0
    file = tmp_path / "cmdline.safetensors"
    _, new = safetensors.read(file)
    _, old = safetensors.read(model.bundle.path / "specialists" / file.name)
    assert not any(name.startswith("screen.") for name in new)
    assert all(np.array_equal(new[name], old[name]) for name in new if name.startswith("lora."))
    assert cli.main(["add", str(file), "--replace", "--out", str(tmp_path / "bundle")]) == 0
    answers = quiet_table.EdgeDemist.load(tmp_path / "bundle").classify([*hostile[1::2], *harmless[1::2]], task="cmdline")
    scores = [answer.alarm_score for answer in answers]
    assert min(scores[:15]) > 0.5 > max(scores[15:])


def test_members_see_parts_that_there_are():
    known = {"table", "more", *bagged.MADE, *(f"{kind}{i}" for kind in ("made", "changed") for i in range(bagged.ROUNDS))}
    assert {name for member in bagged.MEMBERS for name in (*member.weights, *member.margins)} <= known


def test_lists_of_lines_are_filled():
    rng = random.Random(4)
    rows = (
        cmdline_dev.provisioning(rng, 1500)
        + cmdline_slots.draw(rng, 800, (bagged.SCRIPTS,), "malicious")
        + cmdline_dev.background(rng, 800)
    )
    assert not [text for text, *_ in rows if unfilled(text, cmdline_slots.SLOTS)]
    assert {label for _, label, _ in rows[:1500]} == {"benign"}


def test_every_query_language_is_drawn_alone_and_in_its_place():
    rows = query_languages.generate(random.Random(2), 400)
    names = {make.__name__ for make, _ in query_languages.LANGUAGES}
    assert {row[1] for row in rows} == {"normal"}
    for name in names:
        found = [row[0] for row in rows if row[2] == name]
        assert any(text[0] == "/" for text in found)
        assert any(text[0] != "/" for text in found)
    assert not [row for row in rows if "{w}" in row[0]]


def test_the_table_alone_changes_and_searches_become_normal(tmp_path: Path, monkeypatch, model):
    kept = ["/index.html", "/a?b=1", "' or 1=1--", "<script>alert(1)</script>", "../../etc/passwd", "/news/today"]
    searches = ["Perf | limit 11 | summarize dcount(Account) by Computer", "this is a 'test' input", "(cast OR blink) AND blue*"]
    texts = {"kept": kept, "label": searches, "quiet": ["/etc/"], "bare": ["whoami"], "loud": ["/a/{{7*7}}"]}
    monkeypatch.setattr(quiet_table, "texts_of", lambda args: texts)
    model = quiet_table.EdgeDemist.load(plain := with_one_group(model, "uri-attack", tmp_path / "before"))
    args = ["--data", str(tmp_path), "--bundle", str(plain), "--more", str(tmp_path), "--rounds", "12", "--out", str(tmp_path)]
    assert quiet_table.main(args) == 0
    file = tmp_path / "uri-attack.safetensors"
    _, new = safetensors.read(file)
    _, old = safetensors.read(model.bundle.path / "specialists" / file.name)
    assert {name for name in new if not np.array_equal(new[name], old[name])} <= {"ngrams.weight", "ngrams.scale"}
    assert not any(name.startswith("screen.") for name in new)
    assert cli.main(["add", str(file), "--bundle", str(plain), "--replace", "--out", str(tmp_path / "bundle")]) == 0
    changed = quiet_table.EdgeDemist.load(tmp_path / "bundle")
    before, after = (m.classify([*searches, *kept], task="uri-attack") for m in (model, changed))
    assert [answer.label for answer in after[:3]] == ["normal"] * 3
    assert [answer.label for answer in after[3:]] == [answer.label for answer in before[3:]]


def test_bodies_are_filled_and_of_labels_of_the_task():
    rows = uri_server_side.bodies(random.Random(3), 4000)
    assert not [text for text, _, _ in rows if any(mark in text for mark in "‹›¦") or not text.strip()]
    assert {label for _, label, _ in rows} == {"normal", "cmd-injection", "sqli", "xss"}
    assert sum(label == "normal" for _, label, _ in rows) == 2000
    assert {"parameters", "bodies", "values", "redirects", "object", "operators", "header", "directory"} <= {name for *_, name in rows}


def test_runs_of_parameters_are_parts_of_a_request():
    text = "/a?one=1&two=2&three=&four=4"
    found = {run for seed in range(50) for run in quiet_table.runs(random.Random(seed), text)}
    assert {"&three=", "&two=2&three="} <= found
    assert all(run in text and run[0] in "?&" for run in found)
    assert quiet_table.runs(random.Random(1), "/a?one=1") == []


def test_parts_of_ordinary_requests_are_labelled_and_of_attacks_kept(tmp_path: Path, monkeypatch):
    long = "/search?" + "&".join(f"name{n}=value{n}" for n in range(20))
    attack = f"{long}&q=<script>alert(1)</script>"
    table = pd.DataFrame({"text": [long, attack], "label": ["normal", "xss"]})
    table.assign(source="list").to_parquet(tmp_path / "more.parquet")
    monkeypatch.setattr(quiet_table, "read_table", lambda *_: table)
    found: dict[str, list[str]] = {"label": [], "loud": []}
    args = argparse.Namespace(more=tmp_path / "more.parquet", data=tmp_path, bodies=200)
    quiet_table.add_bodies(found, random.Random(2), args)
    assert any(text.startswith("&name") for text in found["label"])
    assert not any("<script>" in text and text in attack for text in found["label"])
    assert any("<script>" in text for text in found["part"])
    assert len(found["loud"]) > 20


def test_a_part_of_an_attack_that_raised_no_alarm_pulls_at_nothing():
    before = quiet_table.torch.tensor([[0.0, 3.0], [3.0, 0.0]])
    now = before.clone().requires_grad_()
    accused = quiet_table.torch.tensor([True, False])
    quiet_table.loss_of(now - 0.2 * accused, before, np.array(["part", "part"]), accused, 2.0).backward()
    assert now.grad is not None
    assert not now.grad[0].any()
    assert now.grad[1].any()
