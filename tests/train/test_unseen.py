"""Training for families that no table has: how rows are weighed, where a plane reads n-grams, and what a file holds."""

from __future__ import annotations

import argparse
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("pandas")

import pandas as pd
import torch

from tools.train import unseen


def rows_with(alarm, origin, times=1.0):
    return pd.DataFrame({"alarm": alarm, "origin": origin, "times": times})


@settings(max_examples=40)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30), st.floats(1.0, 300.0))
def test_both_sides_weigh_what_is_asked_however_many_rows_they_have(table, shapes, harmless, against):
    alarm = np.arange(table + shapes + harmless) < table + shapes
    origin = np.where(alarm, np.where(np.arange(len(alarm)) < table, "table", "shapes"), "ordinary")
    _, weight = unseen.weights_of(rows_with(alarm, origin), against)
    assert weight.mean() == pytest.approx(1.0, rel=1e-4)
    assert weight[~alarm].sum() / weight[alarm].sum() == pytest.approx(against, rel=1e-3)
    share = unseen.SIDES["table"] / unseen.SIDES["shapes"]
    assert weight[origin == "table"].sum() / weight[origin == "shapes"].sum() == pytest.approx(share, rel=1e-3)


def test_labels_are_learnt_from_the_table_most_of_all():
    alarm, origin = np.array([True, True, False, False]), np.array(["table", "shapes", "table", "picked"])
    labels, alarms = unseen.weights_of(rows_with(alarm, origin), 40.0)
    assert labels.tolist() == pytest.approx([1.0, 0.3, 1.0, 0.3])
    assert alarms[3] > alarms[2] > alarms[0]


def test_words_count_less_and_harmless_names_below_doubtful_zones_more():
    assert unseen.times_of("shape-pizd") == unseen.times_of("synthetic-dictionary") == unseen.WORDS
    assert unseen.times_of("cheap-endings") == unseen.ZONES
    assert unseen.times_of("shape-dyre") == unseen.times_of("computers") == 1.0
    _, alarms = unseen.weights_of(rows_with(np.array([True, True, False]), np.array(["shapes", "shapes", "made"]), [0.25, 1.0, 1.0]), 40.0)
    assert alarms[1] == pytest.approx(4 * alarms[0])


def test_the_plane_takes_the_n_grams_of_the_head_that_is_there():
    head = torch.nn.Linear(3, 2)
    grams = np.array([[0.1, -0.1, 0.3], [-0.4, 0.4, 0.2]], np.float32)
    specialist = types.SimpleNamespace(ngram_weight=grams, owners=(0, 1, 1))
    found = unseen.plane(argparse.Namespace(ngrams=1.5), head, specialist)
    np.testing.assert_allclose(found[:3], head.weight[1].detach().numpy())
    np.testing.assert_allclose(found[3:], [0.15, -0.6], rtol=1e-6)


def test_held_families_and_shapes_are_in_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"MADE": 50, "SHAPES": 400, "EVERYDAY": 20, "KINDS": 20, "HOSTS": 10, "LOCAL": 5, "HARD": 2}.items():
        monkeypatch.setattr(unseen, name, value)
    (tmp_path / "tasks" / "dga").mkdir(parents=True)
    table = pd.DataFrame(
        {
            "text": ["aaa1.com", "bbb1.com", "shop.example.com", "news.example.org"],
            "label": ["dga", "dga", "legit", "legit"],
            "family": ["old", "held", "legit", "legit"],
            "source": "none",
        }
    )
    for part, rows in (("train", table), ("dev", table.iloc[:0])):
        rows.to_parquet(tmp_path / "tasks" / "dga" / f"{part}.parquet")
    pool = pd.DataFrame(
        {"text": ["one.com", "two.com", "three.com", "four.com"], "origin": ["picked", "categories", "categories", "categories"]}
    )
    args = argparse.Namespace(data=tmp_path, seed=1, hold_out=["held"], without=["xxhex", "wd"])

    def score(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[len(text)] for text in texts], np.float32), np.zeros((len(texts), 1), np.float32)

    rows = unseen.rows_of(args, pool, score, np.array([1.0, 0.0], np.float32))
    assert "bbb1.com" not in set(rows["text"]) and "aaa1.com" in set(rows["text"])
    assert not rows["text"].str.match(r"(?:xx[0-9a-f]{8}|wd[0-9a-f]{32})\.").any()
    assert sorted(rows.loc[rows["origin"] == "categories", "text"]) == ["four.com", "three.com"]  # the highest of them
    assert rows["text"].is_unique and not rows.loc[rows["origin"] == "categories", "alarm"].any()


def test_a_family_left_out_is_asked_for_by_name():
    args = unseen.parse(["--data", "d", "--out", "o", "--hold-out", "suppobox", "--without", "pizd"])
    assert (args.hold_out, args.without) == (["suppobox"], ["pizd"])
