"""Tunnels after public reports: which train, what is drawn, what the benchmark counts; and the training that ranks them."""

from __future__ import annotations

import gzip
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("pandas")

import pandas as pd
import torch

from benchmarks import tunnel_tools
from tools.synth import tunnel, tunnel_reported
from tools.synth.templates import groups, unfilled
from tools.train import ranked, thresholds


def test_every_tool_is_of_one_part_and_none_is_one_that_trains_by_program():
    parts = [set(tunnel_reported.tools_of(part)) for part in tunnel_reported.PARTS]
    assert set.union(*parts) == set(groups(tunnel_reported.FILE))
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert min(map(len, parts)) >= 12
    assert not set.union(*parts) & set(tunnel.TOOLS)


def test_names_of_every_tool_are_names():
    rng = random.Random(4)
    for tool in groups(tunnel_reported.FILE):
        for text, label, family in tunnel_reported.generate(rng, 40, tools=[tool], base_rate=1.0):
            assert (label, family) == ("tunnel", tool)
            assert not unfilled(text, tunnel_reported.SLOTS), text
            assert len(text) <= tunnel.MAX_NAME, text
            assert text == text.lower(), text
            assert all(0 < len(part) <= tunnel.MAX_LABEL for part in text.split(".")), text


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_the_same_seed_draws_the_same_names_and_tools_that_measure_are_not_among_them(seed):
    rows = tunnel_reported.generate(random.Random(seed), 60)
    assert rows == tunnel_reported.generate(random.Random(seed), 60)
    assert {row[2] for row in rows} <= set(tunnel_reported.tools_of("train"))


def test_composed_names_hold_payload_below_a_zone():
    rows = tunnel_reported.generate_composed(random.Random(2), 300, bases=("example.org",))
    assert all(label == "tunnel" and len(text) <= tunnel.MAX_NAME for text, label, _ in rows)
    assert 0.05 < np.mean([text.endswith(".example.org") for text, _, _ in rows]) < 0.5


def test_queries_are_read_from_all_three_kinds_of_logs(tmp_path):
    rows = {
        "dns.log.gz": "#separator \\x09\n#fields\tts\tquery\n1\ta.example.org\n",
        "dns.json.gz": json.dumps({"query": "b.example.org"}) + "\n",
        "eve.json.gz": json.dumps({"event_type": "dns", "dns": {"queries": [{"rrname": "c.example.org"}]}}) + "\n",
    }
    for name, text in rows.items():
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    assert {name for log in rows for name in tunnel_tools.queries(tmp_path / log)} == {"a.example.org", "b.example.org", "c.example.org"}


def test_each_tool_counts_the_same_in_the_mean():
    found = {"one": tunnel_tools.found_of(np.array([0.9] * 10), {"cut": 0.5}), "two": tunnel_tools.found_of(np.array([0.1]), {"cut": 0.5})}
    assert tunnel_tools.mean_of(found) == {"cut": 0.5}


def test_the_highest_harmless_names_are_chosen_and_few_sure_tunnels():
    count = ranked.HARDEST + ranked.OTHERS + 4000
    plain = pd.DataFrame({"text": "x", "alarm": False, "origin": "made", "score": np.linspace(-20, 5, count), "tokens": 9})
    found = pd.DataFrame({"text": "x", "alarm": True, "origin": "dnstt", "score": np.repeat([0.0, 20.0], 500), "tokens": 9})
    rows = ranked.chosen(pd.concat([plain, found]), 1)
    kept = rows[~rows["alarm"]]["score"].sort_values(ascending=False).to_numpy()
    assert len(kept) == ranked.HARDEST + ranked.OTHERS
    assert kept[ranked.HARDEST - 1] == pytest.approx(np.sort(plain["score"])[-ranked.HARDEST])
    assert (rows["alarm"] & (rows["score"] == 0)).sum() == 500
    assert 40 < (rows["alarm"] & (rows["score"] > 0)).sum() < 120


def test_a_tunnel_that_is_like_any_other_name_pulls_no_further():
    score = torch.tensor([-30.0, -1.0], requires_grad=True)
    ranked.bounded(score).sum().backward()
    assert score.grad is not None
    assert abs(float(score.grad[0])) < 1e-6 < abs(float(score.grad[1]))


def test_a_batch_with_tunnels_above_all_others_costs_less():
    alarm, weight = torch.tensor([True, False, False]), torch.ones(3)
    good, bad = (float(ranked.loss_of(torch.tensor(score), alarm, weight, 0.4)) for score in ([5.0, -9.0, -9.0], [-5.0, -9.0, 2.0]))
    assert good < bad
    assert float(ranked.loss_of(torch.tensor([1.0]), torch.tensor([True]), torch.ones(1), 0.4)) > 0


def test_no_part_of_ordinary_names_alarms_more_often_than_asked():
    scores = np.linspace(0.0, 1.0, 10_001)
    found = thresholds.within(scores, {"0.001": 0.5, "0.0001": 0.9999999})
    assert (scores >= found["0.001"]).sum() == 11
    assert found["0.0001"] == 0.9999999


def test_the_table_has_means_days_and_tools_that_are_missed():
    row = {"real 0.001": 0.9, "real 0.0001": 0.8, "shipped 0.001": 0.7, "shipped 0.0001": 0.6}
    sure = dict.fromkeys(row, 1.0)
    one = {part: {"tools": {"nstx": row, "pupy": sure}, "mean": row} for part in tunnel_tools.PARTS} | {
        "sensor days": {"day-01 iodine": sure}
    }
    shown = tunnel_tools.table({"before": {**one, "sensor days": {}}, "now": one})
    assert "| nstx, `judge` | 90.0 / 80.0 | 70.0 / 60.0 | 90.0 / 80.0 | 70.0 / 60.0 |" in shown
    assert "pupy" not in shown
    assert "| day-01 iodine | – | – | 100.0 / 100.0 | 100.0 / 100.0 |" in shown


def test_what_a_round_leaves_is_read_again(tmp_path):
    rng = np.random.default_rng(5)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    layers = {(2, "q"): (draw(6, 2), draw(2, 6)), (2, "ffn_down"): (draw(8, 3), draw(3, 6))}
    state = ranked.State(ranked.Adapter("dns-tunnel", layers), draw(6), 0.5, 1.25)
    ranked.keep(tmp_path / "state.safetensors", 2, state)
    number, again = ranked.resumed(tmp_path / "state.safetensors")
    assert (number, again.bias, again.share, again.adapter.name) == (2, 0.5, 1.25, "dns-tunnel")
    assert set(again.adapter.layers) == set(layers)
    np.testing.assert_array_equal(again.weight, state.weight)
    for site, pair in layers.items():
        for one, two in zip(again.adapter.layers[site], pair, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_part_that_is_none_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        thresholds.main(["--task", "dga", "--data", str(tmp_path), "--parts", "nosuch", "--out", str(tmp_path)])
    assert "invalid choice: 'nosuch'" in capsys.readouterr().err
