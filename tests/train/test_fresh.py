"""Training for what is fresh: how rows are weighed, and that the planes of a composed head are found again."""

from __future__ import annotations

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("pandas")

import torch
from torch import nn

from tools.train import checkpoint, fresh
from tools.train.subclasses import Plane, composed


@settings(max_examples=40)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(1.0, 300.0))
def test_both_sides_weigh_what_is_asked_however_many_rows_they_have(threats, harmless, against):
    alarm = np.arange(threats + harmless) < threats
    origin = np.where(alarm, "threats", np.where(np.arange(len(alarm)) % 2, "ordinary", "picked"))
    weight = fresh.balanced(alarm, origin, against)
    assert weight.mean() == pytest.approx(1.0, rel=1e-4)
    assert weight[~alarm].sum() / weight[alarm].sum() == pytest.approx(against, rel=1e-3)


def test_rows_of_the_table_do_not_weigh_on_what_is_fresh():
    alarm, origin = np.array([True, True, False, False]), np.array(["threats", "table", "ordinary", "table"])
    assert (fresh.balanced(alarm, origin, 60.0) > 0).tolist() == [True, False, True, False]


def test_known_and_fresh_are_read_from_a_composed_head():
    rng = np.random.default_rng(3)
    planes = [Plane(rng.standard_normal(6).astype(np.float32), float(rng.standard_normal())) for _ in range(4)]
    head = composed(planes[0], planes[1], planes[2:], [], 1)
    weight = np.stack([column.weight for column in head.columns], axis=1)
    specialist = types.SimpleNamespace(
        weight=weight[:4], ngram_weight=weight[4:], bias=np.array([c.bias for c in head.columns]), subclasses=tuple(head.owners),
        labels=("legit", "malicious"), positive=(1,), label_subclasses=(), task="hostname-threat",
    )  # fmt: skip
    for found, expected in zip(fresh.planes_of(specialist), planes[:2], strict=True):
        np.testing.assert_allclose(found.weight, expected.weight, atol=1e-5)
        assert found.bias == pytest.approx(expected.bias, abs=1e-5)
    specialist.label_subclasses = (0, 1)
    with pytest.raises(SystemExit, match=r"hostname-threat: known and fresh stand in groups of their own"):
        fresh.planes_of(specialist)


def test_a_run_that_ended_goes_on_with_the_same_weights_and_optimizer(tmp_path):
    def steps(parts, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            sum((part - 1).square().sum() for part in parts).backward()
            optimizer.step()

    def made():
        torch.manual_seed(3)
        parts = nn.ParameterList([nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.randn(3))])
        return parts, torch.optim.AdamW(parts, lr=0.1)

    whole, optimizer = made()
    assert checkpoint.resume(tmp_path, whole, [optimizer]) is None
    steps(whole, optimizer, 2)
    checkpoint.save(tmp_path, whole.state_dict(), [optimizer], {"step": 2})
    steps(whole, optimizer, 3)
    again, other = made()
    assert checkpoint.resume(tmp_path, again, [other]) == {"step": 2, "state": "state-2.safetensors"}
    steps(again, other, 3)
    for one, two in zip(whole, again, strict=True):
        assert torch.equal(one, two)
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".json", ".safetensors")]
