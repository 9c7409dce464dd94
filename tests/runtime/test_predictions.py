"""Alarms and labels: the OOD detector lowers no alarm, label and score agree, what is no host is no alarm."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist import EdgeDemist
from edge_demist.normalizers import REFUSED, UNREGISTERED
from edge_demist.predictions import DEFAULT_FPR, SURE_THREAT, UNKNOWN, Rule, is_registered_name
from edge_demist.text.windows import SHAPES, is_name


@pytest.fixture(scope="module")
def model():
    with EdgeDemist.load() as loaded:
        yield loaded


def rule_and_labels(model, task, fpr=None):
    specialist = model.specialist(task)
    return Rule(specialist, None, fpr), specialist


@given(st.floats(0.001, 0.999), st.floats(1e-6, 1.0))
def test_the_ood_detector_never_lowers_an_alarm(model, attack, inside):
    rule, specialist = rule_and_labels(model, "cmdline")
    rows = [[(1 - attack) * share, attack * share] for share in (1.0, inside)]
    plain, odd = (rule.answer("a line", row, truncated=False, top_k=1) for row in rows)
    assert odd.alarm_score == pytest.approx(plain.alarm_score, abs=1e-9)
    if abs(plain.alarm_score - plain.threshold) > 1e-9:
        assert odd.alarm == plain.alarm
    assert odd.score <= plain.score + 1e-9
    assert specialist.labels == ("benign", "malicious")


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6), st.floats(0, 1), st.sampled_from([None, 0.01, 0.001]))
def test_label_and_score_agree(model, weights, inside, fpr):
    rule, specialist = rule_and_labels(model, "uri-attack", fpr)
    total = sum(weights) or 1.0
    answer = rule.answer("/a", [w / total * inside for w in weights], truncated=False, top_k=1)
    assert 0.0 <= answer.score <= 1.0
    assert answer.alarm == (answer.alarm_score >= answer.threshold)
    positive = answer.label in specialist.positive_labels
    if answer.alarm or fpr is not None:
        assert positive == answer.alarm or answer.label == UNKNOWN
        assert positive or answer.label == UNKNOWN or answer.alarm_score <= 0.5  # no "normal" of what is more likely an attack
    if positive and not answer.alarm:
        sure = max(SURE_THREAT, min(specialist.thresholds["fpr"].values()))
        assert inside >= 0.09 or answer.alarm_score >= sure - 1e-9  # an alarm at a looser rate


@pytest.mark.parametrize(("attack", "label"), [(0.99, "malicious"), (0.7, UNKNOWN), (0.02, "benign")])
def test_a_threat_that_alarms_at_a_looser_rate_is_named_whatever_its_kind(model, attack, label):
    rule, specialist = rule_and_labels(model, "cmdline")
    assert specialist.threshold("fpr", 0.01) < 0.99 < specialist.threshold("fpr", 0.001)
    answer = rule.answer("a line", [(1 - attack) * 0.05, attack * 0.05], truncated=False, top_k=1)
    assert (answer.label, answer.alarm) == (label, False)
    assert answer.score <= 0.05  # what it says is hardly of its kind stays unsure


@given(st.lists(st.text("abz019-_", max_size=64), max_size=6).map(".".join) | st.text("a1-. \n\t/:*x\\_é。", max_size=70))
def test_a_registered_name_is_one_in_which_no_pattern_finds_fault(name):
    if is_registered_name(name):
        patterns = [table.get(normalizer) for table in (REFUSED, UNREGISTERED) for normalizer in SHAPES if is_name(normalizer)]
        assert not any(pattern is not None and pattern.search(name.strip()) for pattern in patterns)


def test_every_alarm_specialist_says_its_threshold(model):
    for task in model.tasks:
        (answer,) = model.classify("example.com", task=task)
        specialist = model.specialist(task)
        if specialist.kind == "alarm":
            assert answer.alarm is (answer.alarm_score >= answer.threshold)
            assert answer.threshold == specialist.threshold("fpr", DEFAULT_FPR)
        else:
            assert answer.alarm is None
            assert answer.threshold is None


@pytest.mark.parametrize(
    ("task", "text"),
    [
        *itertools.product(("dga", "hostname-threat"), ("*\0\0\0", "[2001:db8::1]:8080", "two words.com", "<b>x</b>", "a,b.com")),
        ("url-phishing", "828.876,-11.474,93.0"),
        ("dns-tunnel", "12.3, 4.5 6.7"),
    ],
)
def test_what_is_no_host_is_no_alarm(model, task, text):
    (answer,) = model.classify(text, task=task)
    assert answer.label == UNKNOWN
    assert answer.alarm is False
    assert answer.alarm_score == 0.0


@pytest.mark.parametrize("text", ["a_b-c.example.com", "münchen.de", "xn--mnchen-3ya.de", "*.example.com", "EXAMPLE.com."])
def test_hosts_are_answered(model, text):
    assert model.classify(text, task="dga")[0].alarm_score > 0.0


@pytest.mark.parametrize("task", ["dga", "hostname-threat"])
@pytest.mark.parametrize("name", ["kjhgfdqwx", "desktop-7kq2p1l", "xjqzvwpk8r3t"])
def test_a_single_label_is_ordinary_by_a_score_that_says_so(model, task, name):
    (answer,) = model.classify(name, task=task)
    assert (answer.label, answer.alarm, answer.alarm_score) == ("legit", False, 0.0)
    assert answer.score > 0.1


@pytest.mark.parametrize("task", ["dga", "hostname-threat"])
@pytest.mark.parametrize("name", [*(c * n for c in "1ax-" for n in (1, 7, 31, 62, 63)), "a1" * 31, "localhost", "xn--bcher-kva"])
def test_scores_of_a_single_label_are_probabilities(model, task, name):
    (answer,) = model.classify(name, task=task, top_k=0)
    assert answer.error or all(0.0 <= score <= 1.0 for score in (answer.score, answer.alarm_score, *answer.scores.values()))


@given(st.lists(st.floats(0.0, 20.0, width=32), min_size=2, max_size=2), st.sampled_from(["x", "kjhgfdq", "example.com", "", "0x", "a b"]))
def test_whatever_float32_adds_up_to_a_score_is_a_probability(model, logits, name):
    exp = np.exp(np.asarray(logits, np.float32))
    scores = [float(s) for s in exp / exp.sum()]
    answer = Rule(model.specialist("dga"), None, None).answer(name, scores, truncated=False, top_k=1)
    assert 0.0 <= answer.alarm_score <= 1.0 and 0.0 <= answer.score <= 1.0
