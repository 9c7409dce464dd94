"""Drift: the stability index by week, kept with the checkpoint, without any string."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.cli import main
from edge_demist.sensor.drift import BINS, MAX_WEEKS, WEEK_US, ScoreDrift, psi
from tests.support.sensor_fakes import watch_once, zeek_log

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


@pytest.mark.parametrize("counts", [{"dga": {"1": [1]}}, {"dga": {"x": [0] * BINS}}, {"dga": 5}, [], {"dga": {"1": [-1] * BINS}}])
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
