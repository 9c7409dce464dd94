"""Budgets, allow-lists, repeats, the histogram: over days of made-up log time."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.errors import InputError
from edge_demist.sensor.detect.alarms import AlarmPolicy, Budget
from edge_demist.sensor.detect.allow import AllowList, AllowRule, load_allow_lists, suggest
from edge_demist.sensor.detect.answer_cache import AnswerCache
from edge_demist.sensor.detect.explain import MAX_PIECES, explain, pieces
from edge_demist.sensor.detect.score_histogram import DAY_US, ScoreHistogram, bin_to_score, score_to_bin
from edge_demist.sensor.detect.scoring import Answer, Scorer, self_test
from tools.sensor.fake_model import FakeModel

START = 1_700_000_000_000_000
HOUR = 3_600_000_000


def policy(*budget: str, threshold: float = 0.9, allow: AllowList | None = None, tasks: tuple[str, ...] = ("dga",)) -> AlarmPolicy:
    return AlarmPolicy(dict.fromkeys(tasks, threshold), Budget.parse(budget), allow)


def test_the_calibrated_threshold_without_budget() -> None:
    alarms = policy()
    assert alarms.decide("dga", "a", 0.9, START).alarm
    assert not alarms.decide("dga", "b", 0.8999, START).alarm


def test_repeats_are_silent_for_a_day() -> None:
    alarms = policy()
    assert alarms.decide("dga", "a", 0.95, START).alarm
    again = alarms.decide("dga", "a", 0.95, START + 23 * HOUR)
    assert not again.alarm and again.suppressed.startswith("repeat")
    assert alarms.decide("dga", "a", 0.95, START + 25 * HOUR).alarm


def traffic(seed: int, days: int, per_day: int) -> list[tuple[str, float, int]]:
    chance = random.Random(seed)
    times = sorted(START + chance.randrange(days * DAY_US) for _ in range(days * per_day))
    return [(f"s{i}", 1 - chance.random() ** 3, t) for i, t in enumerate(times)]


@pytest.mark.parametrize("budget", [1, 5, 20])
def test_no_window_of_24_hours_holds_more_than_the_budget(budget: int) -> None:
    alarms = policy(str(budget), tasks=("dga", "cmdline"))
    times = [t for i, (s, p, t) in enumerate(traffic(1, 6, 3000)) if alarms.decide(("dga", "cmdline")[i % 2], s, p, t).alarm]
    assert times and all(b - a >= DAY_US for a, b in zip(times, times[budget:], strict=False))


def test_the_threshold_rises_to_the_budget_and_picks_the_strongest() -> None:
    alarms = policy("20", threshold=0.9)
    chosen: dict[int, list[float]] = {}
    for text, score, time in traffic(2, 8, 5000):
        if alarms.decide("dga", text, score, time).alarm:
            chosen.setdefault((time - START) // DAY_US, []).append(score)
    later = [s for day, scores in chosen.items() if day >= 4 for s in scores]
    assert alarms.thresholds["dga"] > 0.99 and min(later) > 0.99
    assert all(10 <= len(scores) <= 20 for day, scores in chosen.items() if day >= 4)


def test_the_threshold_falls_where_there_is_room_but_not_below_one_half() -> None:
    alarms = policy("50", threshold=0.999)
    for text, score, time in traffic(3, 4, 20):
        alarms.decide("dga", text, score, time)
    assert 0.5 <= alarms.thresholds["dga"] < 0.999


def test_a_budget_for_one_specialist_leaves_others_alone() -> None:
    alarms = policy("dga=2", tasks=("dga", "cmdline"))
    results = [alarms.decide(task, f"{task}{i}", 0.99, START + i).alarm for i in range(10) for task in ("dga", "cmdline")]
    assert results[0::2].count(True) == 2 and results[1::2].count(True) == 10


def test_the_spent_budget_is_said() -> None:
    alarms = policy("1")
    assert alarms.decide("dga", "a", 0.99, START).alarm
    assert alarms.decide("dga", "b", 0.99, START).suppressed.startswith("budget")


@pytest.mark.parametrize("texts", [["x"], ["dga="], ["=5"], ["-1"], ["0"], ["dga=0"], ["1.5"], ["٣"]])
def test_wrong_budgets(texts: list[str]) -> None:
    with pytest.raises(InputError, match="alarms-per-day"):
        Budget.parse(texts)


def test_a_stray_time_does_not_freeze_the_budget() -> None:
    alarms = policy("1")
    assert alarms.decide("dga", "a", 0.99, START).alarm
    alarms.decide("dga", "x", 0.1, START + 5000 * DAY_US)
    assert not alarms.decide("dga", "b", 0.99, START + HOUR).alarm
    assert alarms.decide("dga", "c", 0.99, START + DAY_US - 1).suppressed
    alarms.decide("dga", "y", 0.1, START + DAY_US - 1 + HOUR)
    assert alarms.decide("dga", "d", 0.99, START + DAY_US + HOUR).alarm


def test_a_clock_that_was_set_back_counts_again() -> None:
    alarms = policy("1")
    late = START + 4000 * DAY_US
    assert alarms.decide("dga", "a", 0.99, late).alarm
    results = [alarms.decide("dga", f"b{i}", 0.99, START + i).alarm for i in range(200)]
    assert results.count(True) == 1


def test_missing_times_use_the_latest() -> None:
    alarms = policy("2")
    assert [alarms.decide("dga", f"{i}", 0.99, None).alarm for i in range(4)] == [True, True, False, False]


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1), st.integers(0, 5 * 24)), max_size=80), st.integers(0, 80))
def test_a_restart_changes_no_decision(items: list[tuple[int, float, int]], cut: int) -> None:
    def run(alarms: AlarmPolicy, part: list[tuple[int, float, int]]) -> list[object]:
        return [alarms.decide("dga", f"s{n}", score, START + hour * HOUR) for n, score, hour in part]

    whole = run(policy("3"), items)
    first = policy("3")
    before = run(first, items[:cut])
    second = policy("3")
    second.restore(json.loads(json.dumps(first.state())), same_model=True)
    second._clock._strays = first._clock._strays
    assert before + run(second, items[cut:]) == whole


@pytest.mark.parametrize("state", [{"now_us": "x"}, {"seen": 5}, {"seen": [1]}, {"windows": []}, {"histogram": 1, "thresholds": 2}])
def test_damaged_state_is_refused(state: dict) -> None:
    with pytest.raises(ValueError):
        policy("3").restore(state, same_model=True)


def test_another_model_starts_from_its_calibration() -> None:
    old = policy("5")
    for text, score, time in traffic(4, 3, 2000):
        old.decide("dga", text, score, time)
    new = policy("5")
    new.restore(old.state(), same_model=False)
    assert old.thresholds["dga"] != 0.9 and new.thresholds["dga"] == 0.9


def test_memory_is_bounded() -> None:
    alarms = policy("100000")
    for i in range(10_000):
        alarms.decide("dga", f"s{i}", 0.95, START + i)
    assert len(alarms._seen) == 2048 and len(json.dumps(alarms.state())) < 3_000_000


# --- histogram ---------------------------------------------------------------------------------------------------------


@given(st.floats(0.5, 1.0))
def test_bins_hold_their_scores(score: float) -> None:
    index = score_to_bin(score)
    assert bin_to_score(index) <= score + 1e-9 and (score <= bin_to_score(index + 1) + 1e-9 or index >= 599)


@given(st.lists(st.floats(0.0, 1.0), max_size=200), st.integers(1, 50))
def test_the_threshold_keeps_at_most_the_allowed_number(scores: list[float], allowed: int) -> None:
    histogram = ScoreHistogram()
    for score in scores:
        histogram.add(score)
    threshold = histogram.threshold(allowed)
    strong = sorted((s for s in scores if s >= 0.5), reverse=True)
    kept = [s for s in strong if s >= threshold and score_to_bin(s) != score_to_bin(min(1.0, threshold + 1e-12)) - 1]
    saturated = sum(score_to_bin(s) >= 599 for s in strong)
    assert len(kept) <= max(allowed, saturated)
    assert threshold >= 0.5 and (len(strong) > allowed or threshold == 0.5)


def test_old_days_fade() -> None:
    histogram = ScoreHistogram()
    histogram.advance(START)
    for _ in range(1000):
        histogram.add(0.99)
    for hour in range(1, 40 * 24):
        histogram.advance(START + hour * HOUR)
    assert histogram.threshold(1) == 0.5 and histogram.days < 5


def test_a_gap_in_the_log_is_not_taken_for_quiet_days() -> None:
    histogram = ScoreHistogram()
    histogram.advance(START)
    histogram.advance(START + 900 * DAY_US)
    assert histogram.days == 0.25
    alarms = policy("20", threshold=0.9)
    for number in range(300):
        time = START + (2000 * DAY_US if number > 5 else 0) + number * 30_000_000
        alarms.decide("dga", f"s{number}", 0.6, time)
    assert alarms.thresholds["dga"] == 0.9


# --- allow-lists ----------------------------------------------------------------------------------------------------

RULES = [
    AllowRule("exact", "good.example", "ours"),
    AllowRule("suffix", "cdn.example", "a CDN", "dga"),
    AllowRule("regex", r"[a-f0-9]{8}\.av\.example", "virus scanner"),
]


@pytest.mark.parametrize(
    ("text", "task", "reason"),
    [
        ("good.example", "dga", "ours"),
        ("GOOD.example.", "cmdline", "ours"),
        ("notgood.example", "dga", None),
        ("cdn.example", "dga", "a CDN"),
        ("a.b.CDN.example", "dga", "a CDN"),
        ("evilcdn.example", "dga", None),
        ("a.cdn.example", "url-phishing", None),
        ("http://a.cdn.example:8080/x", "dga", "a CDN"),
        ("http://cdn.example@evil.example/", "dga", None),
        ("evil.example/cdn.example", "dga", None),
        ("evil.example\\.cdn.example", "dga", None),
        ("evil.example?x=.cdn.example", "dga", None),
        ("deadbeef.av.example", "dga", "virus scanner"),
        ("xdeadbeef.av.example", "dga", None),
        ("deadbeef.av.example\n", "dga", None),
        ("a" * 3000, "dga", None),
    ],
)
def test_allow_rules(text: str, task: str, reason: str | None) -> None:
    rule = AllowList(RULES).find(text, task)
    assert (rule.reason if rule else None) == reason


def test_an_allowed_string_says_why() -> None:
    decision = policy(allow=AllowList(RULES)).decide("dga", "good.example", 0.99, START)
    assert not decision.alarm and decision.suppressed == "allow-list: ours"


@pytest.mark.parametrize(
    "text",
    [
        "allow = 1",
        "x = 1",
        "[[allow]]\nkind='exact'\nvalue='a'",
        "[[allow]]\nkind='other'\nvalue='a'\nreason='r'",
        "[[allow]]\nkind='regex'\nvalue='('\nreason='r'",
        "[[allow]]\nkind='suffix'\nvalue='.'\nreason='r'",
        "[[allow]]\nkind='exact'\nvalue=5\nreason='r'",
        "[[allow]]\nkind='exact'\nvalue='a'\nreason='r'\nmore='x'",
        "not toml",
    ],
)
def test_wrong_allow_lists(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InputError):
        load_allow_lists([tmp_path / "a.toml"])


@given(st.text(max_size=60), st.sampled_from(["dga", "url-phishing", "cmdline", "uri-attack"]))
def test_the_suggested_rule_silences_the_alarm(text: str, task: str) -> None:
    offered = suggest(text, task)
    if offered["value"].strip("."):
        assert AllowRule(offered["kind"], offered["value"], "because", offered["task"]).matches(text, task)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b.example.com", "example.com"),
        ("x.shop.co.uk", "shop.co.uk"),
        ("h.example/p?q", "h.example"),
        ("localhost", "localhost"),
        ("10.1.2.9:80/p", "10.1.2.9"),
    ],
)
def test_suggestions(text: str, value: str) -> None:
    assert suggest(text, "url-phishing")["value"] == value


# --- why ------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=400))
def test_pieces_cover_the_string(raw: bytes) -> None:
    spans = pieces(raw)
    assert len(spans) <= MAX_PIECES and b"".join(raw[a:b] for a, b in spans) == raw
    assert all(b == c for (_, b), (c, _) in itertools.pairwise(spans))


def test_the_piece_that_matters_comes_first() -> None:
    def ask(pairs: list[tuple[str, str]]) -> list[Answer]:
        return [Answer("bad", 0.9, 0.9 if "evil" in text else 0.1, False) for text, _ in pairs]

    (ranges,) = explain([("www.evil-name.example", "dga", 0.9)], ask)  # type: ignore[arg-type]
    assert b"www.evil-name.example"[ranges[0].start : ranges[0].end] == b"evil" and ranges[0].drop == pytest.approx(0.8)
    assert explain([], ask) == []  # type: ignore[arg-type]


# --- cache and scoring ----------------------------------------------------------------------------------------------


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
