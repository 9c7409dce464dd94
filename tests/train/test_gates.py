"""Gates: planes that n-grams must not lie behind, and what a screen can skip for them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

from edge_demist import EdgeDemist
from edge_demist.engines.batching import normalized_bytes
from edge_demist.format import safetensors
from edge_demist.format.specialist import read_specialist
from edge_demist.text.screens import Screens
from tools.train import gates

TASK = "hostname-threat"


@pytest.fixture(scope="module")
def shipped():
    with EdgeDemist.load() as model:
        yield model


def plain(shipped):
    """The shipped specialist without its gates, and its file."""
    metadata, tensors = safetensors.read(shipped.bundle.path / "specialists" / f"{TASK}.safetensors", copy=True)
    one = shipped.specialist(TASK)
    end = len(one.bias) - one.gates
    tensors |= {f"head.{name}": np.ascontiguousarray(getattr(one, name)[..., :end]) for name in ("weight", "ngram_weight", "bias")}
    columns = {name: getattr(one, name)[..., :end] for name in ("weight", "ngram_weight", "bias")}
    metadata = {name: value for name, value in metadata.items() if not name.startswith("gate")}
    return dataclasses.replace(one, gates=0, gate_most=1.0, screen=None, **columns), (metadata, tensors)


def test_planes_learn_a_convex_set():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(80_000, 8)).astype(np.float32)
    inside = (np.abs(vectors[:, 0]) < 1) & (vectors[:, 1] < 0.5)
    vectors[:, 7] = inside  # a column that must not be read
    planes = gates.Planes(vectors, np.where(inside, 8.0, -8.0), 8, np.arange(8) < 7, 0)
    assert not planes.weight[7].any()
    over = planes.over(vectors)
    limit = np.quantile(over[inside], 0.95)
    assert np.mean(over[~inside] > limit) > 0.7
    single = gates.Planes(vectors, np.where(inside, 8.0, -8.0), 1, np.arange(8) < 7, 0).over(vectors)
    assert np.mean(single[~inside] > np.quantile(single[inside], 0.95)) < np.mean(over[~inside] > limit)


def test_what_lies_behind_gates_never_alarms_and_the_first_score_tells(shipped, tmp_path):
    one, file = plain(shipped)
    random = np.random.default_rng(1)
    names = [
        f"{''.join(random.choice(list('abcdefghiklmnorstuxz0123456789-'), 11))}.{end}" for end in ("com", "top", "xyz") for _ in range(70)
    ]
    raws = [normalized_bytes(name, one.normalizer, 4096) for name in names]
    ngrams = shipped.inference.ngrams_of(one)
    vectors = ngrams.encode_batch(raws)
    assert ngrams is not None
    planes = gates.Planes(vectors, random.normal(size=len(raws)), 4, np.abs(one.ngram_weight).max(axis=1) > 0, 0)
    most = float(np.exp(np.median(planes.over(vectors))))
    metadata, tensors = gates.with_gates(one, file, planes, most)
    path = tmp_path / f"{TASK}.safetensors"
    safetensors.write(path, tensors, metadata)
    made = read_specialist(shipped.bundle, path, TASK)
    assert (made.gates, made.screen) == (4, None)
    pooled = np.repeat(3 * one.weight[:, -1:] / np.linalg.norm(one.weight[:, -1]), len(raws), axis=1).T.astype(np.float32)
    before, after = (spec.probabilities(pooled, vectors) for spec in (one, made))
    first = Screens([(made, ngrams)]).scores(raws)[:, 0]
    behind = first < -np.log(most) - 1e-3
    front = first > -np.log(most) + 1e-3
    assert behind.sum() > 50 < front.sum()
    score = after[:, 1] / after.sum(1)
    assert (score[behind] < made.label_below).all()
    assert (before[:, 1] / before.sum(1))[behind].max() > made.label_below
    np.testing.assert_allclose(after[front], before[front], rtol=1e-3, atol=1e-6)
    with pytest.raises(SystemExit, match="once"):
        gates.with_gates(made, (metadata, tensors), planes, most)


def test_the_shipped_screen_skips_what_gates_take_away(shipped):
    one = shipped.specialist(TASK)
    assert one.gates
    assert one.screen is not None
    random = np.random.default_rng(2)
    names = [
        f"{''.join(random.choice(list('abcdefghiklmnorstuxz0123456789-'), 9))}.{end}"
        for end in ("com", "top", "xyz", "ru")
        for _ in range(200)
    ]
    raws = [normalized_bytes(name, one.normalizer, 4096) for name in names]
    screens = Screens([(dataclasses.replace(one, screen=None), shipped.inference.ngrams_of(one))])
    first = screens.scores(raws)[:, 0]
    assert [float(screens.scores([raw])[0, 0]) for raw in raws] == first.tolist()
    answers = shipped.classify(names, task=TASK, fpr=1e-2)
    assert not any(answer.alarm for answer, score in zip(answers, first, strict=True) if score < -np.log(one.gate_most) - 1e-3)
