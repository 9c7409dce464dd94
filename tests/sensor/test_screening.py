"""``watch`` with the screen: the same alarms, fewer questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist import EdgeDemist
from edge_demist.format.screen import Screen, ScreenLevel
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.detect.alarms import AlarmPolicy, Budget
from edge_demist.sensor.detect.sieve import Sieve
from edge_demist.sensor.runner import Runner
from tests.support.sensor_fakes import DATA, balanced, read_events, zeek_log

DAY_US = 86_400_000_000


def screened(cut: float) -> EdgeDemist:
    """The shipped model with one cut for every threshold of every alarm specialist."""
    model = EdgeDemist.load()
    for task in model.tasks:
        one = model.specialist(task)
        if one.has_first_score:
            model._specialists[task] = replace(one, screen=Screen((ScreenLevel(0.0, cut),)))
    return model


def watch(folder: Path, *paths: Path, cut: float, **options: object) -> tuple[list[dict], dict]:
    """Events and summary of one run over logs."""
    folder.mkdir(exist_ok=True)
    settings: dict = {"paths": paths, "once": True, "output": folder / "e.jsonl", "summary": folder / "s.json", "emit": "alarms"}
    runner = Runner(WatchConfig(**(settings | options)), lambda: screened(cut))
    try:
        runner.run()
    finally:
        runner.close()
    return read_events(folder / "e.jsonl"), json.loads((folder / "s.json").read_text())


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of names, some generated, some twice, and some records without one."""
    random = np.random.default_rng(1)
    generated = ["".join(chr(97 + c) for c in random.integers(0, 26, 16)) + ".info" for _ in range(60)]
    ordinary = [f"{word}{n}.example.org" for n in range(20) for word in ("mail", "www", "shop", "api")]
    rows = [f"{1700000000 + i}.25 C{i} {name}" for i, name in enumerate([*ordinary, *generated, *ordinary, *generated[:5], "-", "(empty)"])]
    path = tmp_path_factory.mktemp("logs") / "dns.log"
    path.write_text(zeek_log("ts uid query", *rows))
    return path


def test_the_alarms_are_those_of_the_whole_model(tmp_path: Path, names: Path) -> None:
    whole, first = watch(tmp_path / "a", names, DATA / "logs", cut=0.0, screen=False)
    for cut in range(-10, -60, -5):  # the highest of these below which nothing alarms
        quick, second = watch(tmp_path / f"b{cut}", names, DATA / "logs", cut=float(cut))
        if len(quick) == len(whole):
            break
    assert len(whole) > 20
    kept = {event["event_id"]: event for event in quick}
    for event in whole:
        found = kept.pop(event["event_id"])
        reasons = ("why", "why_text")  # what stage one finds unlikely is not tried as a reason
        assert {k: v for k, v in found.items() if k not in reasons} == {k: v for k, v in event.items() if k not in reasons}
    assert not kept
    assert balanced(first) and balanced(second)
    assert first["screened"] == 0 < second["screened"] < second["predictions"] == first["predictions"]
    assert {name: first[name] for name in ("records", "strings", "alarms", "skipped")} == {
        name: second[name] for name in ("records", "strings", "alarms", "skipped")
    }


def test_nothing_is_asked_whole_above_all_scores(tmp_path: Path, names: Path) -> None:
    events, summary = watch(tmp_path, names, cut=1e6)
    assert events == [] and summary["screened"] == summary["predictions"] == 3 * 225
    assert balanced(summary)


def test_everything_written_is_never_screened(tmp_path: Path, names: Path) -> None:
    events, summary = watch(tmp_path, names, cut=1e6, emit="all")
    assert summary["screened"] == 0 and len(events) == summary["predictions"] == 4 * 225


def test_metrics_count_the_screened(tmp_path: Path, names: Path) -> None:
    watch(tmp_path, names, cut=1e6, metrics=tmp_path / "m.prom")
    assert "edge_demist_screened_total 675\n" in (tmp_path / "m.prom").read_text()


class _Model:
    """First scores that follow from the text: its length below zero."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.cuts = {"a": Screen((ScreenLevel(0.5, -5.0), ScreenLevel(0.9, -3.0))), "b": Screen((ScreenLevel(0.9, -4.0),))}

    def first_scores(self, texts: Sequence[str], tasks: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[-len(text)] * len(tasks) for text in texts], np.float32)

    def facts(self, task: str) -> object:
        return type("Specialist", (), {"screen": self.cuts.get(task)})()


def test_the_cut_follows_the_threshold_in_force() -> None:
    model, thresholds = _Model(), {"a": 0.95, "b": 0.95, "c": 0.95}
    sieve = Sieve(model, lambda: thresholds, {"d"})  # type: ignore[arg-type]
    asked = [("xxxx", ("a", "b", "c", "d")), ("xxxxx", ("a", "b")), ("xxxx", ("a", "b", "c", "d"))]
    assert sieve.left(asked) == [("b", "c"), (), ("b", "c")]
    assert sieve.answered(("a", "b", "c", "d"), ("b", "c")) == ["a"]
    assert sieve.left(asked) == [("b", "c"), (), ("b", "c")] and model.asked == ["xxxx", "xxxxx"]
    thresholds["a"] = 0.6
    assert sieve.left(asked)[1] == ("a",)
    thresholds["a"] = 0.1
    assert sieve.left([("x" * 99, ("a", "b"))]) == [("a",)]


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text("abc", max_size=8), max_size=60), memory=st.integers(1, 8))
def test_memory_never_changes_an_answer(texts: list[str], memory: int) -> None:
    model = _Model()
    sieve = Sieve(model, lambda: {"a": 0.95, "b": 0.95}, memory=memory)  # type: ignore[arg-type]
    for _ in range(3):
        found = sieve.left([(text, ("a", "b")) for text in texts])
        assert found == [tuple(t for t, cut in (("a", -3.0), ("b", -4.0)) if -len(text) >= cut) for text in texts]


@settings(max_examples=60, deadline=None)
@given(
    verdicts=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.floats(0, 1), st.integers(-3, 3)), max_size=80),
    budget=st.sampled_from([(), ("3",), ("a=2",)]),
)
def test_passing_by_what_does_not_count_changes_no_decision(verdicts: list, budget: tuple[str, ...]) -> None:
    whole, quick = (AlarmPolicy({"a": 0.9, "b": 0.8}, Budget.parse(budget)) for _ in range(2))
    time_us = 50 * DAY_US
    for task, text, score, step in verdicts:
        time_us += step * DAY_US // 2
        decision = whole.decide(task, str(text), score, time_us)
        if score < quick.least()[task]:
            quick.pass_by([task], time_us)
            assert not decision.alarm
        else:
            assert quick.decide(task, str(text), score, time_us) == decision
    assert whole.state() == quick.state()
