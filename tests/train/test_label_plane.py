"""A plane of the table in a label group: alarms stay bit by bit, labels move towards the table, rows beside it count less."""

from __future__ import annotations

import argparse
import json
import random

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.specialist import read_specialist
from tools.synth import bare_words
from tools.train import label_plane, labels, refit
from tools.train.kept import Kept

TASK = "url-phishing"
TABLE = [
    ("http://203.0.113.9/secure/paypal/login.php", "malicious"), ("www.example.org/news/2024/05/garden", "legit"),
    ("http://bank-of-example.account-verify.example.net/signin", "malicious"), ("https://docs.example.com/guide/install.html", "legit"),
    ("http://198.51.100.20:8080/pIXPXFus4dL9VHy/", "malicious"), ("https://www.example.de/impressum", "legit"),
]  # fmt: skip


@pytest.fixture(scope="module")
def shipped():
    with EdgeDemist.load() as model:
        yield model


def test_alarms_stay_and_labels_follow_the_table(shipped, tmp_path, monkeypatch, capsys):
    before = shipped.specialist(TASK)
    turned = [(text, {"legit": "malicious", "malicious": "legit"}[label]) for text, label in TABLE]
    monkeypatch.setattr(labels, "read_table", lambda *_: pd.DataFrame(turned, columns=["text", "label"]))
    given = ["--data", str(tmp_path), "--task", TASK, "--share", "1", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(
        label_plane, "rows_of", lambda *_: pd.DataFrame([(*row, 1.0) for row in turned], columns=["text", "label", "count"])
    )
    assert label_plane.main(given) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == len(TABLE)
    path = tmp_path / "out" / f"{TASK}.safetensors"
    made = read_specialist(shipped.bundle, path, TASK)
    (_, old), (_, new) = (safetensors.read(p) for p in (shipped.bundle.path / "specialists" / path.name, path))
    count, end = len(before.owners), len(before.bias) - before.gates
    for name in ("head.weight", "head.ngram_weight", "head.bias"):
        np.testing.assert_array_equal(new[name][..., :count], old[name][..., :count])
        np.testing.assert_array_equal(new[name][..., end:], old[name][..., end:])
    assert {name for name in new if not np.array_equal(new[name], old[name])} <= {"head.weight", "head.ngram_weight", "head.bias"}
    assert made.thresholds["fpr"] == before.thresholds["fpr"]
    pooled, grams = Kept(shipped, made, TASK, None)([text for text, _ in turned])
    first, second = before.probabilities(pooled, grams), made.probabilities(pooled, grams)
    alarm = before.alarm_score(first[0].tolist()) / first[0].sum()
    assert 0.0 <= alarm <= 1.0
    below = first[:, 1] / first.sum(1) < before.label_below
    assert below.sum() >= 3
    assert [made.labels[i] for i in second[below].argmax(1)] == [label for (_, label), b in zip(turned, below, strict=True) if b]
    np.testing.assert_allclose(second[~below], first[~below], rtol=1e-5)


def test_a_row_counts_as_often_as_it_is_told():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    twice = refit.fit_head(np.concatenate([x, x[:100]]), np.concatenate([y, y[:100]]), 2)
    counts = np.ones(300, np.float32)
    counts[:100] = 2.0
    told = refit.fit_head(x, y, 2, counts=counts)
    sides = [x @ w[1] - x @ w[0] + b[1] - b[0] > 0 for w, b in (twice, told)]
    assert (sides[0] == sides[1]).mean() > 0.98
    none = refit.fit_head(x, np.where(np.arange(300) < 200, y, 1 - y), 2, counts=(np.arange(300) < 200).astype(np.float32))
    assert ((x @ none[0][1] - x @ none[0][0] + none[1][1] - none[1][0] > 0) == y).mean() > 0.95


def test_an_attack_keeps_its_label_among_words_and_an_ordinary_value_its_own(shipped):
    table = pd.DataFrame(
        [
            ("1' OR '1'='1' -- ", "sqli"),
            ("<script>alert(1)</script>", "xss"),
            ("tailf", "cmd-injection"),
            ("garden", "normal"),
            ("/a", "xss"),
        ],
        columns=["text", "label"],
    )
    rows = label_plane.changed(shipped, "uri-attack", table, random.Random(1), 10)
    assert set(rows["label"]) == {"sqli", "xss", "normal"}  # what does not alarm by itself, and a path, teach nothing
    assert len(rows) >= 6
    assert rows["text"].map(str.isprintable).all()


def test_by_themselves_stand_words_of_the_list_alone():
    listed = {word.lower() for word in bare_words.groups(bare_words.FILE)[bare_words.LISTED][0]}
    rows = bare_words.searches(random.Random(2), 600)
    assert rows == bare_words.searches(random.Random(2), 600)
    assert {label for _, label, _ in rows} == {"normal"}
    alone = [text for text, _, group in rows if group == bare_words.BARE]
    assert len(alone) > 50
    assert {text.lower() for text in alone} <= listed
    assert any(text not in listed and group == "pair" for text, _, group in rows)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--share", "1.5"], "from 0 to 1"),
        (["--share", "0.3", "--kinds"], "none are made"),
        (["--share", "0.3", "--parts"], "reads no requests"),
    ],
)
def test_what_cannot_be_asked_for_is_a_usage_error(more, why, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        label_plane.parse(["--data", str(tmp_path), "--task", "cmdline", "--out", str(tmp_path), *more])
    assert ended.value.code == 2
    assert why in capsys.readouterr().err


def test_a_specialist_without_a_label_group_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no label group"):
        label_plane.main(["--data", str(tmp_path), "--task", "dns-tunnel", "--share", "0.3", "--out", str(tmp_path)])


def test_parts_of_ordinary_requests_are_ordinary():
    table = pd.DataFrame(
        [("/find?a=1&b=two&c=three&d=four&e=5", "normal"), ("/x?id=1' or 1=1--&b=2&c=3", "sqli")], columns=["text", "label"]
    )
    rows = label_plane.parts_of([table], random.Random(1))
    assert len(rows)
    assert set(rows["label"]) == {"normal"}
    assert not rows["text"].str.contains("or 1=1").any()


def test_rows_beside_the_table_count_less_and_none_is_of_dev(shipped, tmp_path, monkeypatch):
    more = tmp_path / "more.parquet"
    pd.DataFrame({"text": ["held.example/a", "beside.example/b", TABLE[1][0]], "label": ["legit", "legit", "malicious"]}).to_parquet(more)
    frames = {
        "train": pd.DataFrame(TABLE, columns=["text", "label"]),
        "dev": pd.DataFrame({"text": ["held.example/a"], "label": ["legit"]}),
    }
    monkeypatch.setattr(label_plane, "read_table", lambda _data, _task, part: frames[part])
    args = argparse.Namespace(
        data=tmp_path, task=TASK, most=100, seed=1, rest=0.25, more=[more], made=[], kinds=False, parts=False, changed=0
    )
    rows = label_plane.rows_of(args, shipped)
    assert dict(zip(rows["text"], rows["count"], strict=True)) == {**{text: 1.0 for text, _ in TABLE}, "beside.example/b": 0.25}
    assert rows.set_index("text")["label"][TABLE[1][0]] == "legit"
