"""The cache of answers, calibrated levels and the self-test of a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.sensor.detect.answer_cache import AnswerCache
from edge_demist.sensor.detect.scoring import Scorer, self_test
from tools.sensor.fake_model import FakeModel


@given(st.lists(st.tuples(st.text(max_size=3), st.sampled_from("ab")), max_size=100), st.integers(0, 6))
def test_the_cache_changes_no_answer(pairs: list[tuple[str, str]], entries: int) -> None:
    task = {"a": "dga", "b": "user-agent"}
    asked = [(text, task[t]) for text, t in pairs]
    plain = Scorer(FakeModel(), 0).answer(asked)
    cached = Scorer(FakeModel(), entries)
    assert [a for pair in asked for a in cached.answer([pair])] == plain
    assert len(cached.cache) <= entries and cached.cache.hits + cached.cache.misses == len(asked) and cached.cache.duplicates == 0


def test_the_cache_is_keyed_by_the_normalised_string() -> None:
    model = FakeModel()
    scorer = Scorer(model)
    scorer.answer([("Example.COM.", "dga"), ("example.com", "dga"), ("EXAMPLE.com", "user-agent")])
    assert model.strings == 2 and scorer.cache.duplicates == 1 and scorer.cache.hits == 0


def test_the_cache_forgets_the_oldest_and_stays_small() -> None:
    cache: AnswerCache[int] = AnswerCache(3, max_bytes=10_000)
    for number in range(10):
        cache.put(str(number), "t", number)
        cache.get("0", "t")
    assert len(cache) == 3 and cache.get("9", "t") == 9 and cache.get("1", "t") is None
    cache.put("x" * 5000, "t", 1)
    assert cache.get("x" * 5000, "t") is None
    for number in range(100):
        cache.put(f"{number}" * 900, "u", number)
    assert cache._bytes <= 10_000


def test_thresholds_are_read_from_the_nearest_rate() -> None:
    scorer = Scorer(FakeModel())
    assert scorer.levels(0.01)["dga"] == (0.01, 0.99) and scorer.levels(0.008)["dga"] == (0.001, 0.999)
    assert set(scorer.levels()) == scorer.alarm_tasks


def test_the_self_test_refuses_a_broken_model() -> None:
    self_test(FakeModel())

    class Broken(FakeModel):
        def _answer(self, text: str, task: str):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            return replace(super()._answer(text, task), label="never-heard")

    with pytest.raises(Exception, match="self-test"):
        self_test(Broken())
