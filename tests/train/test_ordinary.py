"""Ordinary strings and fresh threats: how they are parted, what the losses and thresholds promise, and what the benchmark counts."""

from __future__ import annotations

import random
from argparse import Namespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pd = pytest.importorskip("pandas")
torch = pytest.importorskip("torch")
pytest.importorskip("tldextract")
pytest.importorskip("sklearn")

from benchmarks import ordinary as benchmark  # noqa: E402
from benchmarks.ordinary_report import table, worst  # noqa: E402
from tools.synth import everyday_hosts, tunnel  # noqa: E402
from tools.train import low_end, low_head, ordinary, pools  # noqa: E402
from tools.train.losses import alarm_logit, top_loss  # noqa: E402

NAMES = st.text("abcdefghij-", min_size=1, max_size=12).filter(lambda name: not name.startswith("-") and not name.endswith("-"))
SCORES = st.lists(st.floats(-20, 20, allow_nan=False, width=32), min_size=2, max_size=200)


@pytest.fixture
def data(tmp_path):
    """A small DATA folder: ordinary hosts, DNS names and threats, some of which share a registered domain."""
    rng = random.Random(4)
    names = [f"{a}.d{rng.randint(0, 150)}.{rng.choice(('com', 'co.uk', 'dev'))}" for a in ("www", "a", "b") for _ in range(200)]
    hosts = pd.DataFrame(
        {"text": names, "kind": "home-pages", "source": "s1", "why_benign": "", "doubtful": [i % 9 == 0 for i in range(600)]}
    )
    hosts.loc[::7, "kind"] = "top-list-newcomers"
    dns = pd.DataFrame({"text": [f"{n}.in-addr.arpa" for n in range(40)], "kind": "ptr", "source": "made: x"})
    threats = pd.DataFrame(
        {"text": [f"login-{n}.bad{n % 60}.top" for n in range(300)], "kind": "phishing", "source": "s2", "list_date": "2026"}
    )
    for folder, name, rows in (("ordinary", "hosts", hosts), ("ordinary", "dns", dns), ("threats", "hosts", threats)):
        (tmp_path / folder).mkdir(exist_ok=True)
        rows.to_parquet(tmp_path / folder / f"{name}.parquet")
    return tmp_path


@given(NAMES, NAMES, st.sampled_from(("com", "co.uk", "github.io", "xn--p1ai")))
def test_all_strings_of_a_registered_domain_have_one_key(first, second, suffix):
    host = f"{second}.{suffix}"
    urls = (f"https://{first}.{host}/a?b=c", f"http://u@{host}:8080", f"{host.upper()}", f"{first}.{host}.")
    assert len({ordinary.registered_domain(text) for text in (host, *urls)}) == 1


def test_no_registered_domain_is_in_two_parts(data):
    for rows in (ordinary.read_ordinary(data, "hostname-threat"), ordinary.read_threats(data, "hostname-threat")):
        parts = rows.assign(domain=rows["text"].map(ordinary.registered_domain)).groupby("domain")["part"].nunique()
        assert (parts == 1).all()
        assert set(rows["part"]) == set(ordinary.PARTS)


def test_doubtful_and_unvetted_names_are_not_curated(data):
    rows = ordinary.read_ordinary(data, "hostname-threat")
    assert not rows.loc[rows["kind"].isin(ordinary.UNVETTED), "curated"].any()
    assert rows.loc[rows["hand_picked"], "curated"].all()
    assert 0 < rows["hand_picked"].sum() < rows["curated"].sum() < len(rows)


def test_pools_hold_strings_that_train_alone(data):
    rows = pools.ordinary_rows(data, "hostname-threat", "legit")
    parts = ordinary.read_ordinary(data, "hostname-threat").set_index("text")["part"]
    assert (parts[rows["text"]] == "train").all()
    assert set(rows["origin"]) <= {"picked", "ordinary", "unvetted"}
    assert set(pools.threat_rows(data, "hostname-threat", "malicious")["label"]) == {"malicious"}


def test_drawing_takes_what_a_share_says():
    origins = ["ordinary"] * 50_000 + ["unvetted"] * 50_000
    rows = pd.DataFrame({"text": range(100_000), "label": "legit", "origin": origins})
    drawn = pools.drawn(rows, "dga", 1, 0.1)
    shares = {share.origin: share.rows for share in pools.SHARES["dga"]}
    assert drawn["origin"].value_counts().to_dict() == {name: int(shares[name] * 0.1) for name in ("ordinary", "unvetted")}
    assert pools.drawn(rows, "dga", 1, 0.1).equals(drawn)


@given(SCORES, st.floats(0.1, 5))
def test_top_loss_falls_when_threats_rise(scores, step):
    score = torch.tensor(scores)
    alarm = torch.arange(len(scores)) % 2 == 0
    assert top_loss(score + step * alarm, alarm) <= top_loss(score, alarm)
    assert top_loss(score, torch.zeros_like(alarm)) == 0


def test_top_loss_looks_at_the_highest_harmless_rows_alone():
    score, alarm = torch.tensor([0.0, *range(20)], requires_grad=True), torch.tensor([True] + [False] * 20)
    top_loss(score, alarm).backward()
    assert score.grad[-2:].gt(0).all()
    assert not score.grad[1:-2].any()


def test_alarm_logit_is_the_log_odds():
    logits = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 5.0]])
    odds = alarm_logit(logits, torch.tensor([False, True, True]))
    harmless = torch.softmax(logits, 1)[:, 0]
    assert torch.allclose(odds, torch.log((1 - harmless) / harmless), atol=1e-5)


@given(st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=1, max_size=60))
def test_the_best_cut_is_found(rows):
    scores, positive = np.array([s for s, _ in rows]), np.array([p for _, p in rows])
    cuts = [-np.inf, *sorted(scores), np.inf]
    best = max(float(((scores > cut) == positive).mean()) for cut in cuts)
    cut, accuracy = low_end.best_cut(scores, positive)
    assert accuracy >= best - 1e-12  # ties may be ordered either way
    if len(set(scores)) == len(scores):
        assert ((scores > cut) == positive).mean() == pytest.approx(accuracy)


@settings(max_examples=20)
@given(st.integers(2000, 60_000), st.integers(0, 99))
def test_thresholds_grow_stricter_and_keep_their_rate(count, seed):
    plain = np.random.default_rng(seed).normal(0, 2, count)
    found, report = low_end.thresholds(plain, plain[:50])
    ordered = [found[key] for key in sorted(found, key=float, reverse=True)]
    assert [float(key) for key in sorted(found, key=float, reverse=True)] == list(low_end.RATES)
    assert ordered == sorted(ordered)
    assert all(0.5 <= value < 1 for value in ordered)
    assert all(row["fpr"] <= rate for rate, row in zip(low_end.RATES, report.values(), strict=True))


@settings(max_examples=15)
@given(st.integers(3000, 200_000), st.sampled_from(low_end.RATES))
def test_allowed_false_alarms_rarely_exceed_the_rate_by_half(count, rate):
    k = low_end.allowed(rate, count)
    assert k <= rate * count
    if k >= 0:
        true_rates = np.random.default_rng(0).gamma(k + 1, 1 / count, 4000)
        assert (true_rates <= low_end.EXCESS * rate).mean() > low_end.SURE - 0.03


@given(SCORES, SCORES)
def test_recall_is_counted_above_what_a_rate_allows(negative, positive):
    negative, positive = np.array(negative * 60), np.array(positive)
    for rate, entry in benchmark.recall_at(negative, positive).items():
        cut = np.sort(negative)[::-1][entry["false_alarms_allowed"]]
        assert (negative > cut).sum() <= float(rate) * len(negative)
        assert entry["recall"] == pytest.approx((positive > cut).mean(), abs=1e-5)
        assert entry["interval"][0] <= entry["recall"] + 1e-5 <= entry["interval"][1] + 2e-5


def test_result_becomes_tables():
    plain = pd.DataFrame(
        {"text": [str(n) for n in range(4000)], "kind": ["a", "b"] * 2000, "curated": True, "hand_picked": [True, False] * 2000}
    )
    entry = benchmark.measured(
        plain, plain.head(500), lambda texts: np.array([float(t) for t in texts]) / 4000, {"0.01": 0.99, "0.001": 0.999}
    )
    shown = table({"dga": {"shipped": entry}})
    assert "| dga, curated | 4,000 / 500 |" in shown
    assert "10,000 / 1,000" in shown
    assert worst({"dga": {"shipped": entry}}, least=1).count("| dga |") == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_everyday_names_obey_dns_and_single_labels_have_no_dot(seed):
    rows = everyday_hosts.generate(random.Random(seed), 1800)
    for text, label, family in rows:
        assert label == "legit"
        assert len(text) <= tunnel.MAX_NAME
        assert all(0 < len(part) <= tunnel.MAX_LABEL for part in text.split(".")), (family, text)
        assert ("." not in text) == (family == "single-label")
        assert text == text.lower()
    assert {family for _, _, family in rows} == set(everyday_hosts.FORMS)


def test_thresholds_hold_for_strings_that_people_picked():
    rng = np.random.default_rng(5)
    plain = np.concatenate([rng.normal(-4, 2, 40_000), rng.normal(-2, 2, 8000)])
    picked = np.arange(len(plain)) >= 40_000
    loose, _ = low_end.thresholds(plain, plain[:50])
    found, report = low_end.thresholds(plain, plain[:50], picked)
    assert all(found[rate] >= loose[rate] for rate in loose)
    assert report["0.001"]["fpr_picked"] <= 0.001


def test_a_changed_head_finds_more_threats_at_the_cut_of_ordinary_strings():
    rng = np.random.default_rng(3)
    origins = np.repeat(["table", "ordinary", "made", "threats"], [300, 1000, 100, 100])
    alarm = origins == "threats"
    alarm[:150] = True
    x = rng.normal(size=(len(origins), 6)).astype(np.float32)
    x[:150, 0] += 3  # what the table's threats have
    x[origins == "threats", 1] += 4  # what fresh threats have
    before = x[:, 0].copy()
    rows = pd.DataFrame({"alarm": alarm, "origin": origins})
    change, shift = low_head.changed(x, before, rows, Namespace(table=4.0, top=0.06, made=6.0, picked=1.0, made_labels=0.3, decay=1e-3))
    after = before + x @ change + shift
    plain, fresh = np.isin(origins, ("ordinary", "made")), origins == "threats"
    assert low_end.found_at(after[plain], after[fresh], (1e-2,)) > low_end.found_at(before[plain], before[fresh], (1e-2,)) + 0.3
    table = origins == "table"
    assert low_end.best_cut(after[table].astype(np.float64), alarm[table])[1] > 0.85
