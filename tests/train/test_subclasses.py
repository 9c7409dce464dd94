"""Subclasses of an alarm's head: what their columns add up to, and that a program loads what the tool composes."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from edge_demist.train.calibration import softmax
from tools.synth import dropped, everyday_kinds
from tools.train import subclasses
from tools.train.subclasses import CAP, Plane, composed

X = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)


def plane(seed, shift=0.0):
    return Plane(np.random.default_rng(seed).standard_normal(6).astype(np.float32), shift)


@settings(max_examples=40)
@given(st.integers(0, 999), st.sampled_from([0, 1]), st.booleans())
def test_columns_add_up_to_what_is_said_of_them(seed, alarm, with_fresh):
    known, fresh, kind = plane(seed), plane(seed + 1), plane(seed + 2, -1.0)
    head = composed(known, fresh if with_fresh else None, [kind], [], alarm)
    logits = head.logits(X)
    found = logits[:, alarm] - logits[:, 1 - alarm]
    a, f, k = known(X), fresh(X), kind(X)
    above = np.logaddexp(0, f) if with_fresh else 0.0
    below = np.logaddexp.reduce([np.zeros(50), a + k, *([a - CAP] if with_fresh else [])], axis=0)
    np.testing.assert_allclose(found, a + above - below, atol=1e-4)
    assert head.owners == sorted(head.owners)
    np.testing.assert_allclose(head.lowered(alarm, 0.5).logits(X)[:, alarm], logits[:, alarm] - 0.5, atol=1e-5)
    np.testing.assert_allclose(softmax(logits).sum(1), 1, atol=1e-5)


def test_what_a_kind_is_recognized_as_is_harmless_whatever_the_rest_says():
    sure = Plane(np.zeros(6, np.float32), 9.0)
    logits = composed(sure, sure, [Plane(np.zeros(6, np.float32), 6.0)], [], 1).logits(X)
    assert (logits[:, 1] - logits[:, 0] > 2).all()  # as fresh as that outweighs a kind
    logits = composed(sure, Plane(np.zeros(6, np.float32), -3.0), [Plane(np.zeros(6, np.float32), 6.0)], [], 1).logits(X)
    assert (logits[:, 1] < logits[:, 0]).all()


def test_a_kind_is_told_from_the_rest_on_its_side_of_a_plane():
    some, others = X[:25] + 4, X[25:]
    found = subclasses.told_apart(some, others, X.std(0))
    assert found(some).min() > found(others).max()


@pytest.mark.parametrize("what", everyday_kinds.FILES)
def test_parts_hold_every_kind_once(what, monkeypatch):
    pytest.importorskip("tldextract")
    monkeypatch.setattr(subclasses, "OF_A_KIND", 20)
    monkeypatch.setattr(subclasses, "LEAST", 2)
    skipped = next(iter(everyday_kinds.kinds(what, "train")))
    parts = subclasses.parts_of(what, [skipped])
    assert {name.split()[0] for name in parts} == set(everyday_kinds.kinds(what, "train")) - {skipped}
    assert all(parts.values())
    assert all(subclasses.operators(parts))


def test_more_planes_of_kinds_only_lower_alarms(monkeypatch):
    pytest.importorskip("tldextract")
    monkeypatch.setattr(subclasses, "OF_A_KIND", 40)
    links = [f"evil{n}.example.com/login" for n in range(300)]
    rows = pd.DataFrame({"text": [*links, "a.b/c"], "alarm": [True] * len(links) + [False]})
    monkeypatch.setattr(subclasses.low_head, "rows_of", lambda *_: rows)

    def joined(texts):
        return np.array([[len(t), t.count("/"), t.startswith("evil"), 1, 0, 0] for t in texts], np.float32)

    weight = np.stack([c.weight for c in (plane(1), plane(2), plane(3))], axis=1)
    there = SimpleNamespace(
        task="url-phishing", labels=("legit", "malicious"), subclasses=(0, 0, 1), label_subclasses=(), temperature=1.0,
        weight=weight[:4], ngram_weight=weight[4:], bias=np.zeros(3, np.float32),
    )  # fmt: skip
    given = ["--data", ".", "--task", "url-phishing", "--add", "short-links", "--out", "."]
    head = subclasses.add(subclasses.parse(given), there, SimpleNamespace(joined=joined), lambda _: None)
    assert head.owners == [0, 0, 0, 0, 1]  # reported operators and others
    before = subclasses.Head([Plane(w, 0.0) for w in weight.T], [0, 0, 1])
    texts = [
        *links,
        *subclasses.parts_of("pages", sorted(everyday_kinds.kinds("pages", "train").keys() - {"short-links"}))["short-links +0"],
    ]
    rise = np.subtract(*(np.diff(one.logits(joined(texts)), axis=1)[:, 0] for one in (head, before)))
    assert rise.max() <= 1e-4
    assert rise[300:].max() < rise[:300].min()
    there.subclasses = ()
    with pytest.raises(SystemExit, match="needs subclasses"):
        subclasses.add(subclasses.parse(given), there, SimpleNamespace(joined=joined), lambda _: None)


def test_names_without_their_zone_have_several_labels():
    pytest.importorskip("tldextract")
    assert subclasses.without_zones(["a1.b.nuid.example.com", "www.example.org", "example.org"]) == ["a1.b.nuid"]


def test_loaders_fetch_from_bare_hosts():
    rows = dropped.generate(random.Random(1), 200)
    assert {row[1] for row in rows} == {"malicious"}
    assert all(row[0].split("/")[0].split(":")[0].replace(".", "").isdigit() for row in rows)
    assert {row[0].rstrip("/").count("/") for row in rows} == set(range(1, 9))
