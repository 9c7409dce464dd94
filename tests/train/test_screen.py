"""Fitting screens: what a cut promises about the strings it was fitted on, and the bundle with screens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist import EdgeDemist
from edge_demist.format.bundle import default_path
from edge_demist.format.screen import Screen, ScreenLevel, ScreenNet

pytest.importorskip("pandas")
pytest.importorskip("torch")
from tools.train import screen, screen_net


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.floats(0.0, 3.0), count=st.integers(200, 9000))
def test_hardly_an_alarm_of_the_strings_it_was_fitted_on_is_lost(seed, noise, count):
    rng = np.random.default_rng(seed)
    first = rng.normal(0, 3, count).astype(np.float32).astype(np.float64)
    score = 1 / (1 + np.exp(-(first + noise * rng.normal(0, 1, count))))
    fitted = screen.fit(screen.Measured(first, score, score < 0.5), (0.2, 0.5, 0.7, 0.9), rng)
    for level in () if fitted is None else fitted.levels:
        alarms = score >= level.threshold
        assert level.alarms == alarms.sum() >= screen.LEAST_ALARMS
        assert (first[alarms] < level.cut).mean() <= screen.LOST
        assert 0 <= level.lost <= 1
        assert level.skipped == pytest.approx((first[score < 0.5] < level.cut).mean(), abs=1e-6)


def test_too_few_alarms_give_no_screen():
    few = screen.Measured(np.zeros(60), np.r_[np.zeros(20), np.ones(40)], np.ones(60, bool))
    assert screen.fit(few, (0.5,), np.random.default_rng(0)) is None


def test_a_net_learns_what_no_line_parts(monkeypatch):
    monkeypatch.setattr(screen_net, "EPOCHS", 10)
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 1, (2000, 16)).astype(np.float32)
    score = np.where(np.abs(vectors[:, 0]) > 1.5, 0.9999, 0.001)
    net = screen_net.train(vectors, score, 0.99, rng)
    x = vectors.astype(np.float64)
    for weight, bias in zip(net.weights[:2], net.biases[:2], strict=True):
        x = np.maximum(0, x @ weight + bias)
    said = x @ net.weights[2] + net.biases[2]
    assert ((said > 0) == (score > 0.5)).mean() > 0.9


def test_a_net_reads_no_column_that_decides_no_alarm(monkeypatch):
    monkeypatch.setattr(screen_net, "EPOCHS", 2)
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 1, (500, 8)).astype(np.float32)
    read = np.arange(8) != 3
    net = screen_net.train(vectors, np.where(vectors[:, 3] > 0, 0.9999, 0.001), 0.99, rng, read)
    assert not net.weights[0][3].any()
    assert all(net.weights[0][n].any() for n in np.flatnonzero(read))


def test_the_bundle_differs_in_the_screen_alone(tmp_path: Path):
    rng = np.random.default_rng(0)
    one, two, three, *biases = (rng.normal(0, 1, shape).astype(np.float32) for shape in ((64, 64), (64, 64), (64,), (64,), (64,), (1,)))
    net = ScreenNet((one, two, three), (biases[0], biases[1], biases[2]))
    fitted = Screen((ScreenLevel(0.5, -1.0, 100, 0.0, 0.9),), net)
    screen.write(Path(default_path()), tmp_path / "b", {"dga": fitted}, overwrite=False)
    before, after = EdgeDemist.load(), EdgeDemist.load(tmp_path / "b")
    found = after.specialist("dga").screen
    assert found == fitted
    assert found is not None
    assert found.net is not None
    assert all(np.array_equal(a, b) for a, b in zip((*net.weights, *net.biases), (*found.net.weights, *found.net.biases), strict=True))
    assert after.specialist("dns-tunnel").screen == before.specialist("dns-tunnel").screen
    names = ["kernel.org", "xjqzvwpk8r3t.info"]
    assert after.classify(names, task="dga") == before.classify(names, task="dga")
    same = [name for name in before.bundle.files if before.bundle.files[name] == after.bundle.files[name]]
    assert set(before.bundle.files) - set(same) == {"specialists/dga.safetensors"}
