"""A column for labels: what a table teaches it, and everyday strings only where the label group errs."""

from __future__ import annotations

import argparse
import json
import random

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from conftest import ROOT

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.ngram_table import table_of
from edge_demist.format.specialist import load_specialist
from edge_demist.train.ngrams import NgramConfig
from tools.train import label_columns

TASK, NUMBER = "url-phishing", 63
CONFIG = NgramConfig(buckets=4096)


def phishing(count: int) -> list[str]:
    rng = random.Random(3)
    return [f"paypal.com-{rng.getrandbits(32):08x}.ru/login" for _ in range(count)]


def ordinary(count: int) -> list[str]:
    rng = random.Random(4)
    return [f"www.garden-{rng.getrandbits(32):08x}.example/news" for _ in range(count)]


def score(weight, text: str) -> float:
    from edge_demist.train.ngrams import hash_rows

    raw = text.encode()
    buckets, _ = hash_rows(np.frombuffer(raw, np.uint8), np.array([0]), np.array([len(raw)]), CONFIG)
    return float(weight[buckets].sum() / np.sqrt(len(buckets)))


def test_a_string_that_is_answered_well_pulls_at_nothing():
    table = phishing(60) + ordinary(60)
    y = np.r_[np.ones(60, np.int64), np.zeros(61, np.int64)]
    args = argparse.Namespace(runs=2, epochs=8, rate=2.0, drop=0.0, seed=1)

    def taught(texts, margin):
        counts, margins = np.ones(len(texts), np.float32), np.r_[np.zeros(120), margin][: len(texts)].astype(np.float32)
        return label_columns.learned(texts, y[: len(texts)], counts, margins, CONFIG, args)[0]

    alone, wrong, right = taught(table, 0), taught([*table, "paypal.com"], 6.0), taught([*table, "paypal.com"], -12.0)
    assert score(alone, "paypal.com") > 0.5
    assert score(wrong, "paypal.com") < score(alone, "paypal.com") - 0.5
    assert score(right, "paypal.com") == pytest.approx(score(alone, "paypal.com"), abs=0.1)


def test_everyday_strings_train_nothing_that_measures(monkeypatch):
    plain = pd.DataFrame({"text": ["ordinary.example/a", "vetted.example/b"], "label": "legit", "origin": ["unvetted", "picked"]})
    threats = pd.DataFrame({"text": ["bad.example/c"], "label": "malicious", "origin": "threats"})
    monkeypatch.setattr(label_columns.pools, "ordinary_rows", lambda *_: plain)
    monkeypatch.setattr(label_columns.pools, "threat_rows", lambda *_: threats)
    names = pd.DataFrame({"text": ["www.top.example", "top2.example", "qxzv.example"], "label": ["legit", "legit", "dga"]})
    monkeypatch.setattr(label_columns, "read_table", lambda *_: names)
    monkeypatch.setattr(label_columns, "OF_A_KIND", 5)
    monkeypatch.setattr(label_columns, "MADE", 60)
    for task, kinds in (("url-phishing", {"parts", "pages", "popular"}), ("hostname-threat", {"machines"})):
        found = label_columns.everyday(task, ROOT, 1)
        assert kinds < found.keys()
        assert found["ordinary"] == [("vetted.example/b", "legit")]
        assert found["threats"] == [("bad.example/c", "malicious")]
        assert {label for _, label in found["look-alikes"]} == {"malicious"}
        texts = [text for rows in found.values() for text, _ in rows]
        assert len(texts) == len(set(texts))
        assert found == label_columns.everyday(task, ROOT, 1)


@pytest.fixture
def learn(monkeypatch, tmp_path):
    table = pd.DataFrame({"text": phishing(40) + ordinary(40), "label": ["malicious"] * 40 + ["legit"] * 40})
    monkeypatch.setattr(label_columns, "read_table", lambda *_: table)
    monkeypatch.setattr(label_columns, "everyday", lambda *_: {"bare": [("paypal.com", "legit"), ("paypa1.com", "malicious")], "kinds": []})

    def run(task=TASK):
        given = ["--data", str(tmp_path), "--task", task, "--into", str(NUMBER), "--shift", "0.1", "--out", str(tmp_path / "new")]
        return label_columns.main([*given, "--runs", "1", "--epochs", "2"])

    return run


def test_only_that_column_changes(learn, tmp_path, capsys):
    assert learn() == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == {"table": 80, "bare": 2, "kinds": 0}
    assert said["column"] == "63=500"
    old, new = Bundle.load(None), Bundle.load(tmp_path / "new")
    before, after = (table_of(one.ngrams, one.tensors).weight for one in (old, new))
    assert np.flatnonzero((before != after).any(axis=0)).tolist() == [NUMBER]
    for task in old.tasks:
        files = [safetensors.read(one.path / "specialists" / f"{task}.safetensors")[1] for one in (old, new)]
        assert all(np.array_equal(tensor, files[1][name]) for name, tensor in files[0].items())
    assert load_specialist(new, TASK).label_subclasses


def test_a_head_without_a_label_group_is_refused(learn):
    with pytest.raises(SystemExit, match="2"):
        learn("dga")
    with EdgeDemist.load() as model, pytest.raises(SystemExit, match="label group"):
        label_columns.column(model, argparse.Namespace(task="dns-tunnel"))
