"""Budgets, allow-lists, repeats, the histogram: over days of made-up log time."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.errors import InputError
from edge_demist.sensor.detect.alarms import AlarmPolicy, Decision
from edge_demist.sensor.detect.allow import AllowList, AllowRule, load_allow_lists, suggest
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.detect.score_histogram import DAY_US, ScoreHistogram, bin_to_score, score_to_bin
from edge_demist.sensor.public_suffix import is_shared

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


def worst_day(times: list[int]) -> int:
    """The most alarms in any 24 hours."""
    return max((sum(a <= b < a + DAY_US for b in times) for a in times), default=0)


@pytest.mark.parametrize("per_day", [2, 40, 800])
@pytest.mark.parametrize("budget", [1, 5, 20])
def test_a_budget_holds_whatever_the_traffic(budget: int, per_day: int) -> None:
    alarms = policy(str(budget), tasks=("dga", "cmdline"))
    times = [t for i, (s, p, t) in enumerate(traffic(1, 14, per_day)) if alarms.decide(("dga", "cmdline")[i % 2], s, p, t).alarm]
    assert worst_day(times) <= 2 * budget
    weeks = [sum(START + w * 7 * DAY_US <= t < START + (w + 1) * 7 * DAY_US for t in times) for w in range(2)]
    assert all(count <= 7 * budget + budget + 1 for count in weeks), weeks
    if per_day >= 40 * budget:
        assert all(count >= 6 * budget for count in weeks)


def test_the_threshold_rises_to_the_budget_and_picks_the_strong() -> None:
    alarms = policy("20", threshold=0.9)
    told = [(score, time) for text, score, time in traffic(2, 8, 5000) if alarms.decide("dga", text, score, time).alarm]
    later = [score for score, time in told if time >= START + 4 * DAY_US]
    assert alarms.thresholds["dga"] > 0.99 and sorted(later)[len(later) // 2] > 0.999
    assert 4 * 18 <= len(later) <= 4 * 22


def test_many_of_the_strongest_are_told_as_far_as_the_budget_goes() -> None:
    alarms = policy("5")
    times = [START + i * DAY_US // 50 for i in range(500)]
    told = [t for i, t in enumerate(times) if alarms.decide("dga", f"s{i}", 0.99999, t).alarm]
    assert [sum((t - START) // DAY_US == day for t in told) for day in range(10)] == [5] * 10


def test_a_bad_week_does_not_silence_the_next() -> None:
    alarms = policy("5")
    for i in range(7 * 200):
        alarms.decide("dga", f"bad{i}", 0.99999, START + i * DAY_US // 200)
    later = [alarms.decide("dga", f"less{i}", 0.97, START + 8 * DAY_US + i * DAY_US // 8).alarm for i in range(8 * 5)]
    assert 20 <= sum(later) <= 30


def test_what_is_worse_is_told_though_the_budget_is_spent() -> None:
    alarms = policy("2")
    assert [alarms.decide("dga", f"a{i}", 0.95, START + i).alarm for i in range(4)] == [True, True, False, False]
    assert alarms.decide("dga", "worse", 0.999, START + HOUR).alarm
    assert not alarms.decide("dga", "as bad", 0.999, START + 2 * HOUR).alarm
    assert alarms.decide("dga", "worst", 0.99999, START + 3 * HOUR).alarm
    assert not alarms.decide("dga", "over twice the budget", 0.9999999, START + 4 * HOUR).alarm
    assert not alarms.decide("dga", "the day after pays for it", 0.95, START + 25 * HOUR).alarm
    assert alarms.decide("dga", "and then it goes on", 0.95, START + 52 * HOUR).alarm


def test_a_budget_for_all_goes_to_those_that_have_traffic() -> None:
    alarms = policy("5", tasks=("dga", "cmdline", "dns-tunnel", "hostname-threat", "uri-attack", "url-phishing"))
    told = [alarms.decide("cmdline", f"c{i}", 0.99 + i % 97 / 10_000, START + i * DAY_US // 40).alarm for i in range(400)]
    assert 45 <= sum(told) <= 55


def test_near_copies_of_one_site_or_client_count_once() -> None:
    alarms = policy("5", tasks=("dns-tunnel", "uri-attack", "cmdline", "dga"))

    def tell(task: str, text: str, client: str, minutes: int, score: float = 0.95) -> Decision:
        return alarms.decide(task, text, score, START + minutes * 60_000_000, lambda: client)

    assert tell("dns-tunnel", "aGVsbG8.t.evil.co.uk", "10.0.0.1", 0).alarm
    assert tell("dns-tunnel", "d29ybGQ.t.evil.co.uk", "10.0.0.2", 1).suppressed.startswith("near copy")
    assert tell("dns-tunnel", "d29ybGQ.x.other.co.uk", "10.0.0.2", 2).alarm
    assert tell("uri-attack", "/item.php?id=1'+or+1=1&x=2", "10.0.0.3", 3).alarm
    assert tell("uri-attack", "/item.php?id=2'+and+sleep(9)&x=7", "10.0.0.3", 4).suppressed.startswith("near copy")
    assert tell("uri-attack", "/item.php?id=2'+and+sleep(8)&x=7", "10.0.0.4", 5).alarm
    assert tell("cmdline", "nc 198.51.100.7 4444", "", 6).alarm
    assert tell("cmdline", "nc 198.51.100.8 4445", "", 7, 0.9).suppressed.startswith("budget")
    assert tell("uri-attack", "/item.php?id=3'+union+select", "10.0.0.3", 8, 0.99999).alarm


def test_without_a_budget_near_copies_are_told() -> None:
    alarms = policy(tasks=("uri-attack",))
    assert all(alarms.decide("uri-attack", f"/i?id={i}'", 0.95, START + i, lambda: "10.0.0.3").alarm for i in range(20))


@pytest.mark.parametrize("gap_hours", [23.9, 24.24, 30, 64, 160, 24 * 30])
def test_gaps_eat_no_alarms(gap_hours: float) -> None:
    alarms = policy("2")
    told = [alarms.decide("dga", "the same", 0.99, START + int(i * gap_hours * HOUR)).alarm for i in range(12)]
    assert sum(told) == (12 if gap_hours >= 24 else 6)


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
def test_the_threshold_keeps_the_allowed_number_or_the_strongest_bin(scores: list[float], allowed: int) -> None:
    histogram = ScoreHistogram()
    for score in scores:
        histogram.add(score)
    threshold = histogram.threshold(allowed)
    strong = sorted((s for s in scores if s >= 0.5), reverse=True)
    kept = [s for s in strong if s >= threshold and score_to_bin(s) != score_to_bin(min(1.0, threshold + 1e-12)) - 1]
    strongest = sum(score_to_bin(s) == score_to_bin(strong[0]) for s in strong)
    assert len(kept) <= max(allowed, strongest)
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
    ("text", "task", "kind", "value"),
    [
        ("a.b.example.com", "hostname-threat", "suffix", "example.com"),
        ("x.shop.co.uk", "dga", "suffix", "shop.co.uk"),
        ("h.example/p?q", "url-phishing", "suffix", "h.example"),
        ("localhost", "dga", "exact", "localhost"),
        ("10.1.2.9:80/p", "url-phishing", "suffix", "10.1.2.9"),
        ("myhome.duckdns.org", "hostname-threat", "suffix", "myhome.duckdns.org"),
        ("d3ag4hukkh62yn.cloudfront.net", "hostname-threat", "suffix", "d3ag4hukkh62yn.cloudfront.net"),
        ("cloudfront.net", "hostname-threat", "exact", "cloudfront.net"),
        ("github.io", "dga", "exact", "github.io"),
        ("me.github.io/page", "url-phishing", "suffix", "me.github.io"),
        ("x.y.me.blogspot.com", "dga", "suffix", "me.blogspot.com"),
        ("co.uk", "dga", "exact", "co.uk"),
        ("a.b.s3.amazonaws.com", "dns-tunnel", "suffix", "b.s3.amazonaws.com"),
        ("docs.google.com/forms/d/x", "url-phishing", "exact", "docs.google.com/forms/d/x"),
        ("update.microsoft.com", "hostname-threat", "suffix", "microsoft.com"),
        ("nas01.home.arpa:5000", "hostname-threat", "suffix", "nas01.home.arpa"),
    ],
)
def test_suggestions_open_no_domain_of_others(text: str, task: str, kind: str, value: str) -> None:
    offered = suggest(text, task)
    assert (offered["kind"], offered["value"]) == (kind, value)
    assert not is_shared(value) or kind == "exact"
