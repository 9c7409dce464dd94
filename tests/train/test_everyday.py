"""Ordinary strings by kind: what is drawn, what is kept for measuring, and what the benchmark counts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pandas")

from benchmarks import everyday
from tools.synth import bare_words, everyday_kinds
from tools.synth.templates import unfilled


@pytest.mark.parametrize("what", everyday_kinds.FILES)
def test_every_operator_trains_or_measures_and_each_kind_has_some_of_both(what):
    train, kept = (everyday_kinds.kinds(what, part) for part in ("train", "measure"))
    assert set(train) == set(kept)
    for kind in train:
        assert not set(train[kind]) & set(kept[kind])
        assert min(len(train[kind]), len(kept[kind])) >= 2


@pytest.mark.parametrize("what", everyday_kinds.FILES)
def test_every_template_of_every_kind_is_filled(what):
    rng = random.Random(1)
    for part in ("train", "measure"):
        for templates in everyday_kinds.kinds(what, part).values():
            for template in templates:
                text = everyday_kinds.filled(rng, template)
                assert not unfilled(text, everyday_kinds.SLOTS), (template, text)
                assert not set("<>|") & set(text), (template, text)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(sorted(everyday_kinds.FILES)))
def test_the_same_seed_draws_the_same_legitimate_rows(seed, what):
    first, again = (everyday_kinds.generate(random.Random(seed), 40, what) for _ in range(2))
    assert first == again
    assert {row[1] for row in first} == {"legit"}
    assert {row[2] for row in first} == set(everyday_kinds.kinds(what, "train"))


def test_single_labels_have_no_dot():
    assert all("." not in text for text in everyday.made("names", 50)["single-labels"])


def test_the_table_has_a_row_for_each_kind_and_sums_what_categories_say():
    said = {"a": {"n": 9, "answered": 4, "said": 1}, "b": {"n": 9, "answered": 6, "said": 0}}
    row = {"n": 9, "0.01": 0.5, "0.001": 0.25, "0.0001": 0.0}
    found = {task: dict.fromkeys(said, row) for task in everyday.TASKS}
    result = {"alarms": found, "hostname-category": {**said, "all made": everyday.together(said)}}
    shown = everyday.table(result)
    assert "| a | 250.0 |" in shown
    assert "| all made names" in shown
    assert "1 / 10 |" in shown


COMMON = ("antivirus", "cdn", "certificates", "dnsbl", "local-services", "provider-lines", "short-names", "single-labels", "updates")
"""Kinds of names that every network asks for by the thousand."""


@pytest.mark.parametrize("task", ["dga", "hostname-threat", "dns-tunnel"])
def test_names_that_every_network_sees_seldom_alarm(model, task):
    names = [name for kind, texts in everyday.made("names", 40, seed=5).items() if kind in COMMON for name in texts]
    assert everyday.alarms(model, task, names)["0.001"] <= 0.02


def test_addresses_that_every_network_sees_seldom_alarm(model):
    pages = [page for kind, texts in everyday.made("pages", 40, seed=5).items() if kind != "short-links" for page in texts]
    assert everyday.alarms(model, "url-phishing", pages)["0.001"] <= 0.03


def test_categories_seldom_accuse_what_operators_run(model):
    names = [name for kind, texts in everyday.made("names", 60, seed=5).items() if not kind.endswith("-endings") for name in texts]
    said = everyday.accused(model, names)
    assert said["answered"] > 50
    assert said["said"] <= max(2, said["answered"] / 100)


def test_lists_by_hand_are_read_by_kind():
    for file, some in (("user-agent", "Microsoft NCSI"), ("uri-attack", "passwd"), ("uri-attack.attacks", "{{7*7}}")):
        found = everyday.listed_by_kind(f"{file}.txt")
        texts = [text for kind in found.values() for text in kind]
        assert some in texts
        assert len(texts) == len(set(texts)) > 90
        assert all(kind and "[" not in kind for kind in found)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_ordinary_strings_hold_a_word_of_their_part_alone(seed):
    kept, trained = (set(bare_words.words_of(part)) for part in ("measure", "train"))
    assert not kept & trained
    rows = bare_words.generate(random.Random(seed), 80, "measure")
    assert rows == bare_words.generate(random.Random(seed), 80, "measure")
    for text, label, group in rows:
        assert label == "normal"
        assert not set("<>") & set(text)
        if group == "bare":
            assert text.lower() in {word.lower() for word in kept}
