"""The screen before the encoder, and several specialists in one call."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist import EdgeDemist
from edge_demist.errors import BundleError, InputError
from edge_demist.format.screen import MAX_LEVELS, Screen, ScreenLevel, ScreenNet, read_net, read_screen
from edge_demist.native import library as native

DNS = ["dga", "dns-tunnel", "hostname-category", "hostname-threat"]
TEXTS = [
    "kernel.org",
    "www.wikipedia.org",
    "xjqzvwpk8r3t.info",
    "",
    "x" * 3000,
    "a." * 90 + "org",
    b"\xff\xfe",
    "KERNEL.org",
    "kernel.org",
    7,
]
numbers = st.floats(-1e6, 1e6)


@st.composite
def screens(draw):
    thresholds = draw(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12, unique=True))
    cuts = draw(st.lists(numbers, min_size=len(thresholds), max_size=len(thresholds)))
    return Screen(tuple(ScreenLevel(t, c) for t, c in zip(sorted(thresholds), sorted(cuts), strict=True)))


@given(screen=screens(), threshold=st.floats(0.0, 1.0), other=st.floats(0.0, 1.0))
def test_a_stricter_threshold_never_has_a_lower_cut(screen, threshold, other):
    low, high = (screen.cut(t) for t in sorted((threshold, other)))
    assert low is None or (high is not None and low <= high)
    for level in screen.levels:
        assert screen.cut(level.threshold) == level.cut
    assert screen.cut(screen.levels[0].threshold - 0.01) is None


@given(screen=screens())
def test_a_screen_survives_its_file(screen):
    assert read_screen("x", screen.to_json()) == screen


@pytest.mark.parametrize(
    "raw",
    [
        "", "[]", "{}", "7", '{"levels": []}', '{"levels": 3}', '{"levels": [{}]}', "[" * 100_000, '{"levels": [[1, 2]]}',
        '{"levels": [{"threshold": 0.5, "cut": NaN, "alarms": 1, "lost": 0, "skipped": 0}]}',
        '{"levels": [{"threshold": 1e999, "cut": 0, "alarms": 1, "lost": 0, "skipped": 0}]}',
        '{"levels": [{"threshold": 0.5, "cut": 0, "alarms": Infinity, "lost": 0, "skipped": 0}]}',
        json.dumps({"levels": [{"threshold": t, "cut": c, "alarms": 1, "lost": 0, "skipped": 0} for t, c in ((0.5, 1), (0.6, 0))]}),
        json.dumps({"levels": [{"threshold": n, "cut": n, "alarms": 1, "lost": 0, "skipped": 0} for n in range(MAX_LEVELS + 1)]}),
    ],
)  # fmt: skip
def test_what_is_no_screen_is_refused_by_name(raw):
    with pytest.raises(BundleError, match=r"dga\.safetensors: screen"):
        read_screen("dga.safetensors: screen", raw)


def test_only_alarms_that_read_ngrams_have_a_screen(model):
    screen = Screen((ScreenLevel(0.5, 0.0),))
    with pytest.raises(BundleError, match="can have a screen"):
        replace(model.specialist("hostname-category"), screen=screen)
    with pytest.raises(BundleError, match="can have a screen"):
        replace(model.specialist("dga"), screen=screen, ngram_weight=None)
    assert replace(model.specialist("dga"), screen=screen).screen == screen


def screened(cut: float) -> EdgeDemist:
    """The shipped model with one cut for every threshold of every alarm specialist."""
    model = EdgeDemist.load()
    for task in model.tasks:
        one = model.specialist(task)
        if one.has_first_score:
            model._specialists[task] = replace(one, screen=Screen((ScreenLevel(0.0, cut),)))
    return model


@pytest.fixture(scope="module")
def halved():
    """A model that lets through about what leans towards an alarm."""
    return screened(0.0)


@pytest.mark.parametrize("level", native.available_levels())
def test_many_specialists_at_once_give_the_bits_of_separate_calls(level, monkeypatch):
    monkeypatch.setenv(native.KERNEL_VARIABLE, level)
    model = EdgeDemist.load()
    together = model.classify(TEXTS, tasks=DNS, top_k=0)
    for task in DNS:
        assert [answers[task] for answers in together] == model.classify(TEXTS, task=task, top_k=0)
    assert model.classify("kernel.org", tasks=DNS)[0] == {task: model.classify("kernel.org", task=task)[0] for task in DNS}


def test_tasks_must_be_a_list(model):
    for bad in ("dga", []):
        with pytest.raises(InputError, match="tasks must be a list"):
            model.classify(["a"], tasks=bad)
    assert model.classify([], tasks=["dga"]) == []


def test_first_scores_are_the_ngram_half_of_the_head(halved):
    names = ["kernel.org", "xjqzvwpk8r3t.info"]
    first = halved.first_scores(names, DNS)
    for column, task in enumerate(DNS):
        one = halved.specialist(task)
        if one.kind != "alarm":
            assert np.isinf(first[:, column]).all()
            continue
        ngrams = halved.inference.ngrams_of(one).encode_batch([name.encode() for name in names])
        logits = (ngrams @ one.ngram_weight + one.bias) / one.temperature
        positive = np.isin(one.owners, one.positive)
        of_alarms, gates = logits[:, : len(positive)], logits[:, len(logits[0]) - one.gates :]
        against = np.logaddexp.reduce(gates, axis=1) if one.gates else of_alarms[:, ~positive].max(1)
        expected = of_alarms[:, positive].max(1) - against
        np.testing.assert_allclose(first[:, column], expected, rtol=1e-3, atol=1e-4)


def random_net(seed: int, dim: int = 64, first: int = 64, second: int = 128) -> ScreenNet:
    rng = np.random.default_rng(seed)
    shapes = (dim, first), (first, second), (second,), (first,), (second,), (1,)
    one, two, three, *biases = (rng.normal(0, 0.2, shape).astype(np.float32) for shape in shapes)
    return ScreenNet((one, two, three), (biases[0], biases[1], biases[2]))


def by_numpy(net: ScreenNet, x: np.ndarray) -> np.ndarray:
    for weight, bias in zip(net.weights[:2], net.biases[:2], strict=True):
        x = np.maximum(0, x @ weight.astype(np.float64) + bias)
    return x @ net.weights[2] + net.biases[2]


def test_a_net_says_the_same_on_every_level_and_in_any_company(monkeypatch):
    names = ["kernel.org", "xjqzvwpk8r3t.info", "a", *(f"{n * n:x}.example" for n in range(40))]
    found = []
    for level in native.available_levels():
        monkeypatch.setenv(native.KERNEL_VARIABLE, level)
        model = EdgeDemist.load()
        plain = model.first_scores(names, DNS)
        for task, seed in (("dga", 1), ("hostname-threat", 2)):
            one = model.specialist(task)
            model._specialists[task] = replace(one, screen=Screen((ScreenLevel(0.0, 0.0),), random_net(seed)))
        first = model.first_scores(names, DNS[::-1])[:, ::-1]
        vectors = model.inference.ngrams_of(one).encode_batch([name.encode() for name in names])
        np.testing.assert_allclose(first[:, 0], by_numpy(random_net(1), vectors), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(first[:, 3], by_numpy(random_net(2), vectors), rtol=1e-4, atol=1e-4)
        assert np.array_equal(first[:, 1], plain[:, 1])
        assert np.array_equal(model.first_scores(names[5:6], ["dga"])[0, 0], first[5, 0])
        found.append(first)
    assert all(np.array_equal(one, found[0]) for one in found)


def test_a_net_survives_its_file():
    net = random_net(3)
    again = read_net("x", net.tensors())
    assert again is not None
    assert all(np.array_equal(a, b) for a, b in zip((*net.weights, *net.biases), (*again.weights, *again.biases), strict=True))
    assert read_net("x", {"head.bias": np.zeros(2, np.float32)}) is None


def test_first_scores_leave_out_what_they_cannot_know(halved):
    first = halved.first_scores(["", "a." * 200 + "org", "kernel.org"], ["dga"])
    assert np.isinf(first[:2]).all()
    assert np.isfinite(first[2]).all()


def test_stage_one_answers_below_the_cut_and_never_alarms(halved):
    texts = [text for text in TEXTS if isinstance(text, str)] + [f"{n:x}{n * n:x}.example" for n in range(50)]
    plain, quick = halved.classify(texts, tasks=DNS), halved.classify(texts, tasks=DNS, screen=True)
    kinds = set()
    for one, two in zip(plain, quick, strict=True):
        for task in DNS:
            kinds.add(two[task].screened)
            if not two[task].screened:
                if two[task] != one[task]:  # of a string that is read in windows stage one may have answered some
                    assert len(one[task].text) > 150 and two[task].alarm == one[task].alarm is False
                    assert two[task].label == one[task].label and two[task].alarm_score <= one[task].alarm_score
                continue
            threshold = two[task].threshold
            assert threshold is not None
            assert two[task].alarm is False
            assert two[task].alarm_score <= threshold / 2
            if two[task].label != "unknown":  # what is no name is refused by whichever stage
                assert math.isclose(two[task].score, 1 - two[task].alarm_score, abs_tol=1e-6)
            assert two[task].label not in halved.specialist(task).positive_labels
    assert kinds == {True, False}
    assert not any(answer.screened for answers in plain for answer in answers.values())


def test_a_threshold_below_all_levels_is_not_screened(model):
    one = replace(model.specialist("dga"), screen=Screen((ScreenLevel(0.9, 1e6),)))
    other = EdgeDemist.load()
    other._specialists["dga"] = one
    assert other.classify("kernel.org", task="dga", screen={"dga": 0.95})[0].screened
    assert not other.classify("kernel.org", task="dga", screen={"dga": 0.5})[0].screened


def test_long_strings_are_screened_by_their_windows(halved):
    payload = "/a?" + "&".join(f"p{n}=value{n}" for n in range(60)) + "&id=1'+UNION+SELECT+password+FROM+users--"
    plain, quick = (halved.classify(payload, task="uri-attack", screen=screen)[0] for screen in (False, True))
    assert plain.alarm
    assert quick == plain
    assert halved.classify("/index.html", task="uri-attack", screen=True)[0].screened


def test_stage_one_tells_no_harmless_label_from_another(model):
    """The shipped specialist for headers has seven of them."""
    answer = model.classify("Accept: text/html", task="http-header", screen=True, top_k=0)[0]
    assert answer.screened and answer.scores is not None
    harmless = [score for label, score in answer.scores.items() if label != "attack"]
    assert len(harmless) > 1 and max(harmless) - min(harmless) < 1e-6
    assert math.isclose(sum(answer.scores.values()), 1.0, abs_tol=1e-6)
