"""Drift: the stability index by week, kept with the checkpoint, without any string."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.cli import main
from edge_demist.errors import BundleError
from edge_demist.sensor import drift_sample
from edge_demist.sensor.detect.scoring import Scorer
from edge_demist.sensor.drift import ScoreDrift
from edge_demist.sensor.drift_sample import AXES, BINS, MAX_WEEKS, WEEK_US, Reference, Sample, psi, read_distances
from tests.support.sensor_fakes import watch_once, zeek_log
from tools.sensor.fake_model import FakeModel

HISTOGRAM = st.lists(st.integers(0, 1000), min_size=BINS, max_size=BINS)


@given(HISTOGRAM, HISTOGRAM)
def test_the_index_is_nought_for_the_same_and_never_negative(one: list[int], other: list[int]) -> None:
    assert psi(one, one) == 0 and psi(one, other) >= 0
    assert psi(one, other) == pytest.approx(psi(other, one))


def test_a_change_to_look_into_is_over_a_quarter() -> None:
    before = [0, 5, 30, 300, 700, 300, 30, 5, 1, 0, 0, 0]
    after = [0, 0, 5, 30, 300, 700, 300, 30, 5, 1, 0, 0]
    assert psi(before, after) > 0.25 > 0.1 > psi(before, [2 * n for n in before])


def test_weeks_are_bounded_and_the_first_stays() -> None:
    drift = ScoreDrift("m")
    for week in range(60):
        drift.note("dga", 0.5, (100 + week) * WEEK_US)
    weeks = sorted(drift.counts["dga"])
    assert weeks[0] == 100 and weeks[-1] == 159 and len(weeks) == MAX_WEEKS
    again = ScoreDrift("m")
    again.restore(json.loads(json.dumps(drift.state())))
    assert again.counts == drift.counts
    other = ScoreDrift("n")
    other.restore(drift.state())
    assert other.counts == {}
    drift.use("n")
    assert drift.counts == {}


ODD_COUNTS = [
    {"dga": {week: [number] * BINS}} for week, number in (("1", 10**400), ("1", 1e308), ("1", True), ("9" * 400, 1), ("700000", 1))
]


@pytest.mark.parametrize(
    "counts", [{"dga": {"1": [1]}}, {"dga": {"x": [0] * BINS}}, {"dga": 5}, [], {"dga": {"1": [-1] * BINS}}, *ODD_COUNTS]
)
def test_a_damaged_state_is_refused(counts: object) -> None:
    with pytest.raises(ValueError):
        ScoreDrift("m").restore({"bundle_id": "m", "counts": counts})


def test_the_command_shows_weeks_and_holds_no_string(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    week = 7 * 86_400
    rows = [f"{week * 3000 + i}.5 C 10.0.0.1 host{i}.example" for i in range(200)]
    rows += [f"{week * 3001 + i}.5 C 10.0.0.1 evil{i}.example" for i in range(200)]
    (tmp_path / "dns.log").write_text(zeek_log("ts uid id.orig_h query", *rows))
    watch_once(tmp_path, tmp_path / "dns.log", state=tmp_path / "state", metrics=tmp_path / "m.prom")
    assert main(["drift", "--state", str(tmp_path / "state"), "--json", "--write-reference", str(tmp_path / "ref.json")]) == 0
    found = {(r["task"], r["week"]): r for r in json.loads(capsys.readouterr().out)}
    dga = [r for (task, _), r in sorted(found.items()) if task == "dga"]
    assert [r["answers"] for r in dga] == [200, 200] and dga[0]["psi"] is None and dga[1]["psi"] > 0.25
    assert 'edge_demist_score_drift{task="dga"}' in (tmp_path / "m.prom").read_text()
    body = json.loads((tmp_path / "state" / "checkpoint.json").read_text())["body"]
    assert "example" not in json.dumps(body["drift"])
    assert main(["drift", "--state", str(tmp_path / "state"), "--reference", str(tmp_path / "ref.json")]) == 0
    assert "reference" not in capsys.readouterr().out.replace("drift-reference", "")
    (tmp_path / "bad.json").write_text("[]")
    assert main(["drift", "--state", str(tmp_path / "state"), "--reference", str(tmp_path / "bad.json")]) == 2
    assert main(["drift", "--state", str(tmp_path)]) == 2


def reference_of_fakes(model: FakeModel) -> Reference:
    """What the fake model says of a thousand names."""
    texts = [f"host{i}.example" for i in range(1000)]
    bins = [0] * BINS
    for answer in Scorer(model).uncached([(text, "dga") for text in texts]):
        bins[drift_sample.score_bin(answer.alarm_score)] += 1
    axes = np.eye(AXES, 16, dtype=np.int8) * 127
    edges = np.quantile(model.encode(texts)[:, :AXES], np.arange(1, BINS) / BINS, axis=0).T
    return Reference({"dga": bins}, 0.0, axes, edges)


def sampled(monkeypatch: pytest.MonkeyPatch, names: list[str], week: int = 3000) -> Sample:
    """A sample of these names, all of them taken."""
    monkeypatch.setattr(drift_sample, "RATE", 1)
    model = FakeModel()
    sample = Sample(reference_of_fakes(model))
    for begin in range(0, len(names), 50):
        sample.take(Scorer(model), [(name, ("dga", "hostname-category"), week * WEEK_US + 1) for name in names[begin : begin + 50]])
    return sample


def test_the_same_kind_of_names_is_near_the_reference_and_another_kind_far(monkeypatch: pytest.MonkeyPatch) -> None:
    near = sampled(monkeypatch, [f"host{i}.example" for i in range(900, 1500)]).gauges()
    far = sampled(monkeypatch, [f"evil{i}.example" for i in range(600)]).gauges()
    assert near["dga"] < 0.1 and near["vectors"] < 0.1 and far["dga"] > 1
    assert not sampled(monkeypatch, ["host1.example"] * 900).gauges(), "one string counts once a week"


def test_a_sample_is_the_same_after_a_restart_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"host{i}.example" for i in range(3000)]
    whole = sampled(monkeypatch, names)
    first = sampled(monkeypatch, names[:700])
    again = Sample(first.reference)
    again.restore(json.loads(json.dumps(first.state())))
    for begin in range(500, 3000, 50):  # some come twice
        again.take(Scorer(FakeModel()), [(n, ("dga", "hostname-category"), 3000 * WEEK_US + 1) for n in names[begin : begin + 50]])
    assert again.state() == whole.state() and whole.weeks[3000].taken == drift_sample.MAX_TAKEN
    assert len(json.dumps(whole.state())) < 8000 and "host" not in json.dumps(whole.state()["weeks"])
    for week in range(3001, 3040):
        whole.take(Scorer(FakeModel()), [("a.example", ("dga",), week * WEEK_US)])
    assert len(whole.weeks) == MAX_WEEKS
    with pytest.raises(ValueError, match="drift sample"):
        again.restore({"weeks": {"1": {"scores": 5}}})


def test_a_reference_is_read_as_written_and_a_damaged_one_refused() -> None:
    reference = reference_of_fakes(FakeModel())
    raw = json.dumps(reference.to_json()).encode()
    back = Reference.parse(raw)
    assert back.scores == reference.scores and (back.axes == reference.axes).all() and np.allclose(back.edges, reference.edges, atol=1e-5)
    broken = (raw.replace(b'"axes": "', b'"axes": "AA'), raw.replace(b'"edges": [[', b'"edges": [[1, '))
    for bad in (b"", b"[]", raw.replace(b'"format": 1', b'"format": 2'), *broken):
        with pytest.raises(BundleError, match="drift"):
            Reference.parse(bad)


@pytest.mark.parametrize("number", [10**400, 1e308, 1.5, -1, True, "7", None])
def test_a_reference_whose_counts_no_float_holds_is_refused(number: object) -> None:
    body = reference_of_fakes(FakeModel()).to_json()
    with pytest.raises(BundleError, match="count"):
        Reference.parse(json.dumps(body | {"scores": {"dga": [number] * BINS}}).encode())


@pytest.mark.parametrize("week", [{"1": {"distances": {"dga": 1e999}}}, {"1": {"distances": {"dga": "x"}}}, {"9" * 99: {"distances": {}}}])
def test_distances_that_are_none_are_refused(week: object) -> None:
    with pytest.raises(ValueError):
        read_distances({"weeks": week})


def test_a_bundle_with_a_reference_shows_gauges_and_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drift_sample, "RATE", 1)
    monkeypatch.setattr("edge_demist.sensor.stages.reference_of", lambda bundle: reference_of_fakes(FakeModel()))
    rows = [f"{7 * 86_400 * 3000 + i}.5 C 10.0.0.1 evil{i}.example" for i in range(250)]
    (tmp_path / "dns.log").write_text(zeek_log("ts uid id.orig_h query", *rows))
    watch_once(tmp_path, tmp_path / "dns.log", state=tmp_path / "state", metrics=tmp_path / "m.prom")
    metrics = (tmp_path / "m.prom").read_text()
    assert 'edge_demist_reference_drift{of="dga"}' in metrics and 'edge_demist_reference_drift{of="vectors"}' in metrics
    assert main(["drift", "--state", str(tmp_path / "state")]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "against the bundle's reference" in line]
    assert [line.split()[0] for line in shown] == ["dga", "vectors"]
