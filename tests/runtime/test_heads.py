"""The compiled head against the formula of ``Specialist.probabilities``, and one text against the same text in company."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.engines import tables
from edge_demist.engines.heads import Heads
from edge_demist.engines.native import NativeEngine
from edge_demist.errors import BundleError, InputError
from edge_demist.format.adapter import Adapter
from edge_demist.format.specialist import Specialist
from edge_demist.native import library as native
from tests.support.bundles import random_bundle

LEVELS = native.available_levels()
HIDDEN = 64


def specialist(labels, dim, seed=0, *, domain=True, scale=1.0):
    """A specialist with random numbers."""
    random = np.random.default_rng(seed)

    def normal(*shape):
        return (scale * random.standard_normal(shape)).astype(np.float32)

    return Specialist(
        task=f"t{labels}-{dim}-{domain}", labels=tuple(f"l{i}" for i in range(labels)), kind="category", positive_labels=(),
        normalizer="identity", max_tokens=16, temperature=1.3, thresholds={}, adapter=Adapter("t"), weight=normal(HIDDEN, labels),
        ngram_weight=normal(dim, labels) if dim else None, bias=normal(labels), domain_weight=normal(HIDDEN) if domain else None,
        domain_ngram_weight=normal(dim) if dim and domain else None, domain_bias=0.3, sources=(),
    )  # fmt: skip


@pytest.mark.parametrize("dim", [0, 16, 64])
@pytest.mark.parametrize("domain", [True, False])
@pytest.mark.parametrize("labels", [1, 2, 15, 16, 17, 26, 33])
def test_probabilities(labels, domain, dim):
    random = np.random.default_rng(1)
    pooled, ngrams = (random.standard_normal((9, n)).astype(np.float32) for n in (HIDDEN, max(dim, 1)))
    one = specialist(labels, dim, domain=domain, scale=0.3)
    expected = one.probabilities(pooled, ngrams if dim else None)
    results = [Heads(native.load(level)).probabilities(one, pooled, ngrams if dim else None) for level in LEVELS]
    assert all(result == results[0] for result in results)
    np.testing.assert_allclose(results[0], expected, atol=2e-6)
    np.testing.assert_array_equal(Heads(None).probabilities(one, pooled, ngrams if dim else None), expected)
    alone = [Heads(native.load()).probabilities(one, pooled[i : i + 1], ngrams[i : i + 1] if dim else None)[0] for i in range(9)]
    assert alone == results[0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 1000))
def test_a_label_has_the_probabilities_of_its_subclasses(sizes, seed):
    owners = tuple(np.repeat(np.arange(len(sizes)), sizes).tolist())
    fine = specialist(sum(sizes), 16, seed, scale=0.3)
    coarse = dataclasses.replace(fine, task=f"s{sizes}{seed}", labels=fine.labels[: len(sizes)], subclasses=owners)
    random = np.random.default_rng(seed)
    pooled, ngrams = (random.standard_normal((5, n)).astype(np.float32) for n in (HIDDEN, 16))
    parts = np.array(Heads(native.load()).probabilities(dataclasses.replace(fine, task=f"f{sizes}{seed}"), pooled, ngrams))
    expected = np.stack([parts[:, np.array(owners) == label].sum(1) for label in range(len(sizes))], axis=1)
    found = Heads(native.load()).probabilities(coarse, pooled, ngrams)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(coarse.probabilities(pooled, ngrams), expected, atol=2e-6)
    assert [Heads(native.load()).probabilities(coarse, pooled[i : i + 1], ngrams[i : i + 1])[0] for i in range(5)] == found


@pytest.mark.parametrize("owners", [(0, 1), (0, 0, 0), (1, 0, 1), (0, 1, 2), (0, 1, 1, 1)])
def test_subclasses_that_are_not_the_labels_in_order_are_refused(owners):
    with pytest.raises(BundleError, match="subclasses"):
        dataclasses.replace(specialist(3, 0), labels=("a", "b"), subclasses=owners)


def with_label_group(labels, alarm_sizes, label_sizes, seed, positive, *, below=0.7, scale=0.3, apart=0.0, domain=True):
    """A specialist of two groups, and those of each group alone; the label group's logits ``apart`` higher."""
    owners, others = (tuple(np.repeat(np.arange(labels), sizes).tolist()) for sizes in (alarm_sizes, label_sizes))
    fine = specialist(len(owners) + len(others), 16, seed, scale=scale, domain=domain)
    facts = {"labels": fine.labels[:labels], "kind": "alarm", "positive_labels": tuple(fine.labels[i] for i in positive)}
    bias = fine.bias + np.repeat(np.float32([0, apart]), [len(owners), len(others)])
    name = f"{owners}{others}{seed}{positive}{below}{apart}{domain}"
    both = dataclasses.replace(
        fine, task=f"g{name}", subclasses=owners, label_subclasses=others, label_below=below, bias=bias, **facts
    )  # fmt: skip
    alone = []
    for part, mine in ((slice(len(owners)), owners), (slice(len(owners), None), others)):
        columns = {"weight": fine.weight[:, part], "ngram_weight": fine.ngram_weight[:, part], "bias": bias[part]}
        alone.append(dataclasses.replace(fine, task=f"{mine}{len(alone)}{name}", subclasses=mine, **facts, **columns))
    return both, alone


SIZES = st.integers(2, 4).flatmap(lambda n: st.tuples(*[st.lists(st.integers(1, 3), min_size=n, max_size=n)] * 2))


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0, 1000), st.integers(1, 3), st.floats(0.5, 0.999), st.sampled_from([-20.0, 0.0, 20.0]), st.booleans())
def test_the_label_group_answers_below_the_cut_and_alarms_stay(sizes, seed, positives, below, apart, domain):
    labels, positive = len(sizes[0]), tuple(range(1, min(1 + positives, len(sizes[0]))))
    both, alone = with_label_group(labels, *sizes, seed, positive, below=below, apart=apart, domain=domain)
    random = np.random.default_rng(seed)
    pooled, ngrams = (random.standard_normal((40, n)).astype(np.float32) for n in (HIDDEN, 16))
    heads = Heads(native.load())
    found, alarms, answers = (np.array(heads.probabilities(one, pooled, ngrams)) for one in (both, *alone))
    a, b, now = (row[:, positive].sum(1) / row.sum(1) for row in (alarms, answers, found))
    clear = np.abs(a - below) > 1e-5
    alarm = clear & (a >= below)
    np.testing.assert_allclose(found[alarm], alarms[alarm], rtol=5e-6, atol=1e-12)
    assert (now[clear & ~alarm] < below).all()
    free = clear & ~alarm & (b < below - 1e-5)
    np.testing.assert_allclose(found[free], answers[free], rtol=5e-6, atol=1e-12)
    capped = clear & ~alarm & (b > below + 1e-5)
    np.testing.assert_allclose(now[capped], below, rtol=1e-5)
    assert (found >= 0).all()
    assert (found.sum(1) <= 1 + 1e-6).all()
    np.testing.assert_allclose(found.sum(1), alarms.sum(1), rtol=1e-5)  # the OOD detector's factor
    np.testing.assert_allclose(both.probabilities(pooled, ngrams), found, atol=5e-6)
    assert [heads.probabilities(both, pooled[i : i + 1], ngrams[i : i + 1])[0] for i in range(9)] == found[:9].tolist()


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1e6), st.floats(-1e6, 1e6), st.integers(0, 1000))
def test_groups_far_apart_stay_probabilities(scale, apart, seed):
    both, _ = with_label_group(2, [2, 1], [1, 1], seed, (1,), scale=scale, apart=apart)
    for kernels in (native.load(), None):
        rows = np.array(Heads(kernels).probabilities(both, np.ones((2, HIDDEN), np.float32), np.ones((2, 16), np.float32)))
        assert np.isfinite(rows).all()
        assert (rows >= 0).all()
        assert (rows.sum(1) <= 1 + 1e-5).all()


@pytest.mark.parametrize(
    "change",
    [{"label_subclasses": (1, 0)}, {"label_subclasses": (0, 0)}, {"label_subclasses": (0, 1, 1)}, {"label_subclasses": ()},
     {"label_below": 0.0}, {"label_below": 1.0}, {"kind": "category"}, {"positive_labels": ("l0", "l1")}],
)  # fmt: skip
def test_label_groups_that_mean_nothing_are_refused(change):
    both, _ = with_label_group(2, [2, 1], [1, 1], 0, (1,))
    with pytest.raises(BundleError, match="subclasses"):
        dataclasses.replace(both, **change)


def with_gates(both, count, most, seed):
    """The same specialist with gates behind its groups."""
    more = specialist(count, 16, seed + 1, scale=0.3)
    columns = {name: np.concatenate([getattr(both, name), getattr(more, name)], axis=-1) for name in ("weight", "ngram_weight", "bias")}
    return dataclasses.replace(both, task=f"{both.task}+{count}{most}", gates=count, gate_most=most, **columns)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.floats(0.2, 8.0), st.integers(0, 1000))
def test_gates_take_alarms_away_and_nothing_else(count, most, seed):
    both, (alone, _) = with_label_group(3, [2, 1, 1], [1, 1, 2], seed, (1, 2))
    gated = with_gates(both, count, most, seed)
    random = np.random.default_rng(seed)
    pooled, ngrams = (random.standard_normal((40, n)).astype(np.float32) for n in (HIDDEN, 16))
    heads = Heads(native.load())
    free, found = (np.array(heads.probabilities(one, pooled, ngrams)) for one in (both, gated))
    logits = [pooled @ one.weight + ngrams @ one.ngram_weight + one.bias for one in (alone, gated)]
    threats = np.exp(logits[0][:, 2:] / alone.temperature).sum(1)
    ratio = np.exp(logits[1][:, -count:] / gated.temperature).sum(1) / threats
    stands, falls = ratio < most * (1 - 1e-4), ratio > most * (1 + 1e-4)
    np.testing.assert_allclose(found[stands], free[stands], rtol=1e-4, atol=1e-9)
    score = found[:, 1:].sum(1) / found.sum(1)
    assert (score[falls] < gated.label_below).all()
    np.testing.assert_allclose(found.sum(1), free.sum(1), rtol=1e-4)  # the OOD detector's factor
    np.testing.assert_allclose(gated.probabilities(pooled, ngrams), found, atol=1e-5)
    assert [heads.probabilities(gated, pooled[i : i + 1], ngrams[i : i + 1])[0] for i in range(9)] == found[:9].tolist()


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1e6), st.integers(1, 4), st.sampled_from([1e-30, 1.0, 1e30]), st.integers(0, 1000))
def test_gates_of_extreme_logits_leave_probabilities(scale, count, most, seed):
    gated = with_gates(with_label_group(2, [2, 1], [1, 1], seed, (1,), scale=scale)[0], count, most, seed)
    threat = dataclasses.replace(gated, weight=gated.weight * 0, ngram_weight=gated.ngram_weight * 0)
    bias = np.float32([-scale, -scale, 0.0, 0.0, -1.0, *[5.0] * count])  # a sure threat behind its gates
    behind = dataclasses.replace(threat, task=f"behind {scale} {count} {most}", bias=bias)
    for one, kernels in itertools.product((gated, behind), (native.load(), None)):
        for n in (1, 3):
            rows = np.array(Heads(kernels).probabilities(one, np.ones((n, HIDDEN), np.float32), np.ones((n, 16), np.float32)))
            assert np.isfinite(rows).all()
            assert (rows >= 0).all()
            assert (rows.sum(1) <= 1 + 1e-5).all()


@pytest.mark.parametrize("change", [{"gates": 1}, {"gates": 3}, {"gate_most": 0.0}, {"label_subclasses": (), "gates": 4}])
def test_gates_that_mean_nothing_are_refused(change):
    gated = with_gates(with_label_group(2, [2, 1], [1, 1], 0, (1,))[0], 2, 1.0, 0)
    with pytest.raises(BundleError, match="gate"):
        dataclasses.replace(gated, **change)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1e6), st.integers(0, 1000))
def test_extreme_logits_stay_probabilities(scale, seed):
    one = specialist(5, 0, seed, scale=scale)
    one = dataclasses.replace(one, task=f"extreme {scale} {seed}")
    rows = np.array(Heads(native.load()).probabilities(one, np.ones((2, HIDDEN), np.float32), None))
    assert np.isfinite(rows).all()
    assert (rows >= 0).all()
    assert (rows.sum(1) <= 1 + 1e-5).all()


def test_a_head_for_other_vectors_is_refused():
    heads, one = Heads(native.load()), specialist(3, 16)
    for pooled, ngrams in ((HIDDEN, None), (HIDDEN, 32), (HIDDEN + 16, 16)):
        with pytest.raises(InputError, match="does not take vectors"):
            heads.probabilities(one, np.zeros((1, pooled), np.float32), None if ngrams is None else np.zeros((1, ngrams), np.float32))
    bundle = random_bundle(1, layers=1, hidden=128, heads=2, wide=128, ngrams=(256, 16, 2, 3, 64))
    engine = NativeEngine(bundle)
    for hidden, dim in ((64, 0), (128, 16)):
        head = tables.head_table(np.zeros((3, hidden + dim), np.float32), np.zeros(3, np.float32), dim, domain=False)
        with pytest.raises(InputError, match="does not fit"):
            engine.classify_text(None, None, head, b"a", 16, Adapter("a"))


TEXTS = ["kernel.org", b"\xff\xfe", "münchen.example", "a" * 5000, "", "  ", "x" * 511, "/index.php?id=1' or 1=1 -- " * 9, "ab " * 200]


@pytest.mark.parametrize("task", ["hostname-category", "uri-attack", "user-agent"])
def test_one_text_has_the_answer_it_has_in_company(model, task):
    together = model.classify([*TEXTS, *TEXTS[:2]], task=task, top_k=0)
    assert [model.classify(text, task=task, top_k=0)[0] for text in TEXTS] == together[: len(TEXTS)]


def test_truncation_is_said_of_one_text_as_of_many(model):
    cap = model.specialist("hostname-category").max_tokens
    texts = [".".join(["q"] * n) for n in range(cap // 2 - 4, cap + 4)]
    many = [answer.truncated for answer in model.classify(texts, task="hostname-category")]
    assert [model.classify(text, task="hostname-category")[0].truncated for text in texts] == many
    assert {True, False} == set(many)
