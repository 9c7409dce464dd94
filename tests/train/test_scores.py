"""The scoreboard's arithmetic: leak share, parts, coverage, confusion, calibrated peers, neighbours, purity; and that its views render."""

from __future__ import annotations

import json

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("sklearn")
from benchmarks import embeddings, result_file, scores  # noqa: E402
from benchmarks.baselines import classifiers  # noqa: E402
from tools.train.data import TASKS  # noqa: E402

# ---- leak share -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("www.shop.example.co.uk", "example.co.uk"),
        ("https://a.b.example.com:8080/x?y", "example.com"),
        ("example.com?next=//evil.test/", "example.com"),
        ("EXAMPLE.org/a.b.c", "example.org"),
        ("localhost", "localhost"),
    ],
)
def test_site(text, expected):
    assert scores.site(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GET /a/1", "get /a/27"),
        ("id=1%20OR%201=1", "id=2 or 3=3"),
        ("../../../etc/passwd", "../etc/passwd"),
        ("x" * 60 + "tail", "x" * 60 + "other"),
    ],
)
def test_near_texts(one, other):
    assert scores.near(one) == scores.near(other)
    assert scores.near("curl") != scores.near("wget")


def test_leakage_counts_shares():
    train = pd.DataFrame({"text": ["a.example.com", "b1.test.org"]})
    dev = pd.DataFrame({"text": ["a.example.com", "c.example.com", "b22.test.org", "new.net"]})
    assert scores.leakage("hostname-threat", dev, train) == {"same_text": 0.25, "near_text": 0.5, "same_site": 0.75}
    assert "same_site" not in scores.leakage("cmdline", dev, train)


# ---- parts, classes, intervals ----------------------------------------------------------------------------


def test_unseen_sites_are_a_part():
    train = pd.DataFrame({"text": ["http://a.example.com/x"]})
    dev = pd.DataFrame({"text": ["example.com/y", "new.net/z"], "dataset": ["p", "q"]})
    parts = scores.subsets("url-phishing", dev, train)
    assert parts["sites unseen in training"].tolist() == [False, True]
    assert parts["dataset=q"].tolist() == [False, True]
    assert scores.parts_of({"none": np.zeros(2, bool)}, np.ones(2, bool)) == {}


def test_by_class_matches_scikit_learn():
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(0)
    truth, labels = rng.choice(["a", "b", "c"], 300), rng.choice(["a", "b", "c", "unknown"], 300)
    found = scores.by_class(scores.confusion(truth, labels, ["a", "b", "c"]))
    expected = precision_recall_fscore_support(truth, labels, labels=["a", "b", "c"], zero_division=0)
    np.testing.assert_allclose(found.T, expected[:3])


def test_macro_f1_interval_holds_the_value_and_narrows():
    counts = np.array([[80, 20, 0], [10, 90, 0]])
    value = scores.by_class(counts)[:, 2].mean()
    low, high = scores.macro_f1_interval(counts)
    assert low < value < high
    narrow = scores.macro_f1_interval(counts * 100)
    assert narrow[1] - narrow[0] < (high - low) / 5


def test_scores_of_a_small_split():
    table = pd.DataFrame(
        {"text": list("wxyz"), "label": ["malicious", "malicious", "benign", "benign"], "platform": ["linux"] * 3 + ["windows"]}
    )
    labels = np.array(["malicious", "benign", "benign", "benign"])
    answers = scores.Answers(labels, np.array([0.9, 0.6, 0.8, 0.7]), np.array([0.9, 0.4, 0.2, 0.3]))
    result = scores.scores("cmdline", table, None, answers)
    assert result["accuracy"] == 0.75
    assert result["coverage"] == {"0.9": 0.75, "0.94": 0.75, "0.98": 0.75}
    assert result["parts"]["platform=linux"]["accuracy"] == pytest.approx(0.6667)
    assert result["classes"]["malicious"] == {"n": 2, "precision": 1.0, "recall": 0.5, "f1": 0.6667}
    assert result["alarms"]["0.01"]["recall"] == 0.5
    json.dumps(result)


def test_calibration_leaves_answers_alone_and_mends_confidence():
    rng = np.random.default_rng(1)
    truth = rng.choice(["benign", "malicious"], 4000)
    logits = (np.where(truth == "malicious", 1.0, -1.0) + rng.standard_normal(4000))[:, None] * np.array([0.0, 20.0])
    answers = scores.calibrated("cmdline", ["benign", "malicious"], logits, truth)
    assert (answers.labels == np.where(logits[:, 1] > 0, "malicious", "benign")).all()
    assert abs(answers.confidence.mean() - (answers.labels == truth).mean()) < 0.02
    np.testing.assert_array_equal(answers.alarm > 0.5, answers.labels == "malicious")


# ---- embeddings -------------------------------------------------------------------------------------------


def test_nearest_and_vote():
    index = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8]], np.float32)
    rows, cosines = embeddings.nearest(index, np.array([[0, 1], [1, 0]], np.float32), 3, block=1)
    assert rows.tolist() == [[2, 3, 1], [0, 1, 3]]
    assert cosines[0].tolist() == pytest.approx([1.0, 0.8, 0.6])
    labels = np.array([0, 0, 1, 1])
    assert embeddings.vote(labels[rows], cosines, 2).tolist() == [1, 0]
    assert embeddings.vote(np.array([[0, 1]]), np.array([[0.9, 0.1]]), 2).tolist() == [0]


def test_purity():
    truth = np.array([0, 0, 1, 1, 2])
    assert embeddings.purity(truth, truth) == 1.0
    assert embeddings.purity(truth, np.zeros(5, np.int64)) == pytest.approx(0.4)
    assert embeddings.purity(truth, np.array([0, 0, 0, 1, 1])) == pytest.approx(0.6)


def test_names_asked_about_are_listed_once():
    names = pd.read_csv(embeddings.KNOWN)
    assert names["name"].is_unique
    assert set(embeddings.ASKED) <= set(names["name"])


# ---- result files and what is made of them ----------------------------------------------------------------


def test_result_files_are_replaced_whole(tmp_path):
    target = tmp_path / "new" / "file.json"
    assert result_file.read(target) == {}
    result_file.write(target, {"b": 1, "a": [2]})
    assert result_file.read(target) == {"a": [2], "b": 1}
    with pytest.raises(TypeError):
        result_file.write(target, {"c": object()})
    assert result_file.read(target) == {"a": [2], "b": 1}


def test_peers_read_what_ours_leave_out():
    assert {classifiers.normalizer_of(task) for task in TASKS} <= {
        "identity",
        "hostname",
        "url",
        "request",
        "cased_command",
        "header",
        "certificate",
        "file_words",
    }
    assert classifiers.normalizer_of("url-phishing") == "url"
