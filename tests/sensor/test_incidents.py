"""Incidents as ``watch`` tells them: what opens one, what joins it, replay, crashes, budget, allow-lists."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from edge_demist.errors import InputError
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control
from edge_demist.sensor.incidents import book
from edge_demist.sensor.incidents.budget import IncidentBudget
from edge_demist.sensor.incidents.looks import Looks
from edge_demist.sensor.incidents.observation import Observation
from edge_demist.sensor.incidents.tracker import Tracker
from edge_demist.sensor.incidents.tunnels import Tunnel
from edge_demist.sensor.incidents.verdicts import Verdicts
from edge_demist.sensor.incidents.weights import load_weights
from edge_demist.sensor.runner import Runner
from tests.support.power_cut import run_with_a_power_cut
from tests.support.sensor_fakes import balanced, read_events, watch_once, zeek_log
from tools.sensor.fake_model import FakeModel

T0 = 1_700_000_000
DNS_FIELDS = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p query qtype_name rcode_name answers"


def dns_row(second: float, client: str, name: str, kind: str = "A", rcode: str = "NOERROR", answers: str = "-") -> str:
    return f"{T0 + second} C{second} {client} 5353 10.0.0.53 53 {name} {kind} {rcode} {answers}"


def dns_log(folder: Path, *rows: str, name: str = "dns.log") -> Path:
    path = folder / name
    path.write_text(zeek_log(DNS_FIELDS, *rows))
    return path


def generated(client: str = "10.0.0.7", begin: int = 0, count: int = 12) -> list[str]:
    return [dns_row(begin + 7 * i, client, f"evil{client[-1]}x{i}.example", rcode="NXDOMAIN") for i in range(count)]


def ordinary(count: int = 200) -> list[str]:
    return [
        dns_row(3 * i + 0.5, f"10.0.0.{i % 9 + 10}", f"www{i % 40}.site{i % 25}.example", answers="93.184.216.34") for i in range(count)
    ]


def told(lines: list[dict]) -> list[tuple[str, str]]:
    return [(line["incident_id"], line["status"]) for line in lines]


def test_generated_names_of_one_client_are_one_incident(tmp_path: Path) -> None:
    rows = sorted(generated() + ordinary(), key=lambda row: float(row.split(" ")[0]))
    lines, summary = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents")
    assert len({line["incident_id"] for line in lines}) == 1 and [line["status"] for line in lines] == ["opened", "grown", "closed"]
    last = lines[-1]
    assert last["kind"] == "dga" and last["clients"] == ["10.0.0.7"] and last["count"] == 12
    assert set(last["entities"]) == {f"evil7x{i}.example" for i in range(12)}
    assert last["first"] == "2023-11-14T22:13:20.000000Z" and lines[0]["raised"] < last["last"]
    assert 0.5 <= lines[0]["score"] <= last["score"] <= 1 and last["severity"] in ("high", "critical")
    assert "10.0.0.7" in last["sentence"] and last["next"] and last["technique"]["id"] == "T1568.002"
    sign = last["evidence"][0]
    assert sign["adds"] > 0 and sign["says"] and sign["value"] == 12
    example = next(e["examples"] for e in last["evidence"] if e["examples"])[0]
    line = (tmp_path / "dns.log").read_bytes()[example["offset"] :].split(b"\n", 1)[0]
    assert example["text"].encode() in line
    assert balanced(summary) and summary["incidents"] == {"opened": 1, "grown": 1, "closed": 1, "open": 1, "held_back": 0}
    assert summary["skipped"] == {"no-incident": len(rows)}


def test_an_ordinary_log_gives_none(tmp_path: Path) -> None:
    lines, summary = watch_once(tmp_path, dns_log(tmp_path, *ordinary()), emit="incidents")
    assert not lines and balanced(summary)


def test_a_tunnel_is_one_incident_of_its_zone_whoever_asks(tmp_path: Path) -> None:
    rows = [dns_row(i, f"10.0.0.{7 + i % 2}", f"evil{i:030x}.zone.example", kind="TXT") for i in range(150)]
    lines, _ = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents")
    assert len({line["incident_id"] for line in lines}) == 1
    assert lines[-1]["kind"] == "tunnel" and lines[-1]["clients"] == ["10.0.0.7", "10.0.0.8"]
    assert lines[-1]["entities"][0] == "zone.example" and "grown" in [line["status"] for line in lines]


def look_ups_below(
    zone: str,
    label: str,
    count: int,
    clients: int = 1,
    failed: bool = False,
    answer: str = "93.184.216.34",
    kinds: tuple[str, ...] = ("A",),
) -> list[Observation]:
    """Distinct short names that one client, or several in turn, ask for within an hour; nothing of them looks like data."""
    found, rng = [], random.Random(5)
    for n in range(count):
        client, time_us = f"10.0.0.{1 + n % clients}", (T0 + 3 * n) * 1_000_000
        name, answers = f"{label.format(n, n % 251, rng.getrandbits(32))}.{zone}", () if failed else (answer,)
        for kind in kinds:
            found.append(Observation("dns", time_us, client, "10.0.0.53", 53, name, failed=failed, query_type=kind, answers=answers))
    return found


def visited(rows: list[Observation]) -> list[Observation]:
    """The same with a TLS handshake after each look-up."""
    hello = [Observation("tls", one.time_us + 1000, one.client, one.answers[0], 443, one.name) for one in rows]
    return sorted([*rows, *hello], key=lambda one: one.time_us)


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (look_ups_below("evil-zone.example", "{2:08x}", 1000), 1),
        (look_ups_below("evil-zone.example", "{2:08x}", 1000, kinds=("TXT",)), 1),
        (look_ups_below("list.example", "{}.{}.2.1", 1000, failed=True), 0),
        (look_ups_below("list.example", "{}.{}.2.1", 1000, answer="127.0.0.2"), 0),
        (look_ups_below("corp.example", "host{}", 1000, clients=9, failed=True), 0),
        (look_ups_below("cdn.example", "r{}-sn{}", 1000, clients=9), 0),
        (visited(look_ups_below("cdn.example", "r{0}-{2:08x}", 300)), 0),
        (look_ups_below("cdn.example", "r{0}-{2:08x}", 300, kinds=("A", "AAAA")), 0),
        (look_ups_below("shops.example", "shop-{}", 1000), 0),
    ],
    ids=[
        *("short tunnel", "short tunnel, TXT", "block list, not listed", "block list, listed", "suffix tried", "content network"),
        *("content network of one client, visited", "content network of one client, asked for in two types", "names counted through"),
    ],
)
def test_many_short_names_are_a_tunnel_where_they_bring_something_back_to_few(rows: list[Observation], count: int) -> None:
    tracker = Tracker(load_weights(), "model")
    for seen in rows:
        tracker.add(seen)
    assert sum(line["status"] == "opened" for line in tracker.finish()) == count


def test_a_zone_known_for_a_day_and_a_tunnel_that_also_visits_its_zone() -> None:
    """What speaks for a zone lowers the odds, and does not hide a busy tunnel."""
    odds = []
    rows = look_ups_below("evil-zone.example", "{2:08x}", 1000)
    for before, after in (
        ([], []),
        ([replace(rows[0], time_us=rows[0].time_us - 30 * 3600 * 1_000_000)], []),
        ([], visited(rows[-1:])[1:]),
    ):
        tracker = Tracker(load_weights(), "model")
        for seen in [*before, *rows, *after]:
            tracker.add(seen)
        odds.append(max(line["log_odds"] for line in tracker.finish()))
    assert odds[0] > odds[1] > 0 and odds[2] > 0


@pytest.mark.parametrize(("agent", "kind", "count"), [("Mozilla/5.0", "browser-desktop", 0), ("curl/8", "http-library", 1)])
def test_attack_values_that_a_browser_sends_to_outside_servers_are_mostly_advertising(agent: str, kind: str, count: int) -> None:
    tracker = Tracker(load_weights(), "model")
    for n in range(3):
        one = Observation(
            "http", (T0 + n) * 1_000_000, "10.0.0.7", "198.51.100.9", 80, "ads.example", uri=f"/t?v={n}", agent=agent, status=200
        )
        one.levels, one.attack, one.agent_kind = {"uri-attack": 2}, "cmd-injection", kind
        tracker.add(one)
    assert sum(line["status"] == "opened" and line["kind"] == "scan" for line in tracker.finish()) == count


def request(second: float, uri: str, **more: object) -> Observation:
    one = Observation("http", int((T0 + second) * 1e6), "10.0.0.7", "198.51.100.9", 80, "198.51.100.9", uri=uri, agent="x", status=200)
    return replace(one, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "signs"),
    [
        (request(0, "/api", method="POST", service="application/octet-stream"), {"bare_address", "post", "post_to_address"}),
        (request(0, "/x", method="GET", service="application/octet-stream"), {"bare_address", "program", "program_from_address"}),
        (request(0, "/x.exe", method="GET"), {"bare_address", "program", "program_from_address"}),
        (request(0, "/v", method="GET", levels={"url-phishing": 3}, agent_kind="mobile-app"), {"bare_address"}),
        (
            request(0, "/v", method="GET", levels={"url-phishing": 3}, agent_kind="browser-mobile"),
            {"bare_address", "phishing_2", "phishing_3"},
        ),
        (
            request(0, "/v.php", method="POST", levels={"url-phishing": 2}, name="a.example"),
            {"phishing_2", "post", "post_script", "looks_and_acts"},
        ),
        (request(0, "/v", method="GET", levels={"url-phishing": 2}, name="a.example"), {"phishing_2"}),
    ],
    ids=["answer to an api", "fetched bytes", "fetched program", "an app's video", "a page", "looks bad and acts", "looks bad"],
)
def test_signs_of_a_request(one: Observation, signs: set[str]) -> None:
    tracker = Tracker(load_weights(), "model")
    tracker.add(one)
    tracker.finish()
    assert {sign for case in tracker.gatherer.contacts.items() for sign, value in case[1].features().items() if value} == signs


@pytest.mark.parametrize(("lookups", "count"), [(10, 1), (9_000, 0)])
def test_an_address_that_stands_for_many_has_finds_by_chance(lookups: int, count: int) -> None:
    """Behind NAT and resolvers mistyped names and the specialist's own errors add up."""
    ordinary = [
        Observation("dns", int((T0 + i * 3000 / lookups) * 1e6), "10.0.0.7", "r", 53, f"www{i % 900}.example") for i in range(lookups)
    ]
    missed = [Observation("dns", int((T0 + 300 + 60 * i) * 1e6), "10.0.0.7", "r", 53, f"plain{i}.example", failed=True) for i in range(30)]
    tracker = Tracker(load_weights(), "model")
    for seen in sorted(ordinary + missed, key=lambda one: one.time_us):
        tracker.add(seen)
    assert sum(line["status"] == "opened" for line in tracker.finish()) == count


def test_two_clients_with_generated_names_are_two_incidents(tmp_path: Path) -> None:
    rows = list(itertools.chain(*zip(generated("10.0.0.7"), generated("10.0.0.8", 1), strict=True)))
    lines, _ = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents")
    assert len({line["incident_id"] for line in lines}) == 2


def test_query_logs_and_logs_of_iis_give_incidents_too(tmp_path: Path) -> None:
    named = [f"01-May-2024 08:00:{i % 60:02}.{i:03} client 10.0.0.7#53 (x): query: evil{i:030x}.zone.example IN TXT +" for i in range(150)]
    (tmp_path / "named.log").write_text("\n".join(named) + "\n")
    asked = [f"2024-05-01 08:00:{i:02} GET /page id=evil{i} 198.51.100.9 Mozilla/5.0 10.0.0.80 200" for i in range(10)]
    head = "#Version: 1.0\n#Fields: date time cs-method cs-uri-stem cs-uri-query c-ip cs(User-Agent) s-ip sc-status\n"
    (tmp_path / "u_ex240501.log").write_text(head + "\n".join(asked) + "\n")
    lines, _ = watch_once(tmp_path, tmp_path / "named.log", tmp_path / "u_ex240501.log", emit="incidents")
    found = {line["kind"]: (line["clients"], line["entities"]) for line in lines}
    assert found == {"tunnel": (["10.0.0.7"], ["zone.example"]), "scan": (["198.51.100.9"], ["10.0.0.80"])}


def test_clients_with_the_same_generated_names_are_one_incident(tmp_path: Path) -> None:
    names = [f"evilsame{i}.example" for i in range(12)]
    rows = [dns_row(7 * i + j, f"10.0.0.{7 + j}", name, rcode="NXDOMAIN") for i, name in enumerate(names) for j in range(2)]
    lines, _ = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents")
    assert len({line["incident_id"] for line in lines}) == 1 and lines[-1]["clients"] == ["10.0.0.7", "10.0.0.8"]
    assert "10.0.0.7, 10.0.0.8 looked up 12 generated names such as evilsame" in lines[-1]["sentence"]


def test_a_scan_from_outside_and_a_download_from_a_bare_address(tmp_path: Path) -> None:
    fields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p method host uri user_agent status_code resp_mime_types"
    scan = [f"{T0 + i} A{i} 198.51.100.9 4000 10.0.0.80 80 GET 10.0.0.80 /?id=evil{i} Mozilla/5.0 200 text/html" for i in range(8)]
    load = [f"{T0 + 100 + 60 * i} B{i} 10.0.0.7 4000 203.0.113.5 80 POST 203.0.113.5 /gate.php - 200 text/html" for i in range(8)] + [
        f"{T0 + 900} B9 10.0.0.7 4000 203.0.113.5 80 GET 203.0.113.5 /x.dll - 200 application/x-dosexec"
    ]
    (tmp_path / "http.log").write_text(zeek_log(fields, *scan, *load, path="http"))
    lines, _ = watch_once(tmp_path, tmp_path / "http.log", emit="incidents")
    last = {line["kind"]: line for line in lines}
    assert last["scan"]["clients"] == ["198.51.100.9"] and last["scan"]["entities"] == ["10.0.0.80"]
    assert last["download"]["entities"] == ["203.0.113.5"] and last["download"]["clients"] == ["10.0.0.7"]
    assert {"program_from_address", "post_script", "no_agent"} <= {e["sign"] for e in last["download"]["evidence"]}
    shown = {e["sign"]: [x["text"] for x in e["examples"]] for e in last["scan"]["evidence"]}
    assert shown["strong_attacks"][0] == "/?id=evil0"
    rule = last["scan"]["allow_rule"]
    assert rule["value"] == "198.51.100.9"  # who tries, not who is tried: others may not
    (tmp_path / "allow.toml").write_text("[[allow]]\n" + "".join(f'{k} = "{v}"\n' for k, v in {**rule, "reason": "our own"}.items()))
    quiet, _ = watch_once(tmp_path, tmp_path / "http.log", emit="incidents", allow=(tmp_path / "allow.toml",))
    assert quiet and all(line["clients"] == ["10.0.0.7"] for line in quiet)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_how_files_are_read_changes_nothing(tmp_path: Path, batch: int) -> None:
    rows = sorted(generated() + generated("10.0.0.8", 3) + ordinary(), key=lambda row: float(row.split(" ")[0]))
    expected, _ = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents")
    split = tmp_path / "split"
    split.mkdir()
    dns_log(split, *rows[::3], name="dns.log")
    dns_log(split, *rows[1::3], name="dns_a.log")
    dns_log(split, *rows[2::3], name="dns_b.log")
    lines, _ = watch_once(tmp_path, split, emit="incidents", batch_strings=batch)
    assert told(lines) == told(expected)
    assert [line["score"] for line in lines] == [line["score"] for line in expected]


def _killed_runs(tmp_path: Path, logs: Path, strike_at: int) -> list[dict]:
    """Run until an operation of the disk is struck, then run to the end."""
    config = WatchConfig(
        paths=(logs,), once=True, emit="incidents", output=tmp_path / "out.jsonl", state=tmp_path / "state", batch_strings=8, commit_s=0.0
    )
    run_with_a_power_cut(config, strike_at)
    return read_events(tmp_path / "out.jsonl")


@pytest.mark.parametrize("seed", range(6))
def test_a_crash_changes_no_incident(tmp_path: Path, seed: int) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    rows = sorted(generated() + generated("10.0.0.8", 3) + ordinary(), key=lambda row: float(row.split(" ")[0]))
    dns_log(logs, *rows[::2])
    dns_log(logs, *rows[1::2], name="dns_b.log")
    (tmp_path / "whole").mkdir()
    expected = _killed_runs(tmp_path / "whole", logs, -1)
    assert len({line["incident_id"] for line in expected}) == 2
    folder = tmp_path / "killed"
    folder.mkdir()
    lines = _killed_runs(folder, logs, random.Random(seed).randrange(3, 160))
    once = {line["event_id"]: line for line in lines}
    assert once == {line["event_id"]: line for line in expected}


def test_incidents_go_on_from_one_run_to_the_next_under_their_id(tmp_path: Path) -> None:
    options = {"emit": "incidents", "state": tmp_path / "state", "output": tmp_path / "out.jsonl"}
    watch_once(tmp_path, dns_log(tmp_path, *generated(count=6)), **options)
    watch_once(tmp_path, dns_log(tmp_path, *generated(begin=600, count=30), name="dns2.log"), **options)
    lines = read_events(tmp_path / "out.jsonl")
    assert len({line["incident_id"] for line in lines}) == 1
    assert [line["status"] for line in lines] == ["opened", "closed", "grown", "closed"]


def test_an_allow_rule_silences_a_zone_and_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "allow.toml").write_text('[[allow]]\nkind = "suffix"\nvalue = "zone.example"\nreason = "ours"\n')
    rows = [dns_row(i, "10.0.0.7", f"evil{i:030x}.{'zone' if i % 2 else 'other'}.example", kind="TXT") for i in range(150)]
    lines, _ = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents", allow=(tmp_path / "allow.toml",))
    assert {entity for line in lines for entity in line["entities"]} == {"other.example"}


def test_text_of_the_log_stays_text(tmp_path: Path) -> None:
    name = "evil</script>\x1b\n%d.zone%d.example"
    common = {"id.orig_h": "10.0.0.7", "rcode_name": "NXDOMAIN", "qtype": 1, "uid": "C"}
    rows = [json.dumps({"ts": T0 + i, "query": name % (i, i), **common}) for i in range(9)]
    (tmp_path / "dns.log").write_text("\n".join(rows) + "\n")
    lines, _ = watch_once(tmp_path, tmp_path / "dns.log", emit="incidents")
    raw = (tmp_path / "events.jsonl").read_bytes()
    assert lines and raw.isascii() and b"\x1b" not in raw and raw.count(b"\n") == len(lines)


def test_forms_that_incidents_do_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="zeek"):
        WatchConfig(paths=(tmp_path,), emit="incidents", form="zeek", output=tmp_path / "x")


def test_undated_and_stray_times_open_nothing_and_break_nothing(tmp_path: Path) -> None:
    stray = [dns_row(90_000_000_000, "10.0.0.7", "far.example"), dns_row(-1_600_000_000, "10.0.0.7", "old.example")]
    rows = [*generated(count=3), *stray, *generated(begin=50, count=9)]
    lines, summary = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents")
    assert balanced(summary) and len({line["incident_id"] for line in lines}) == 1
    assert all(line["last"].startswith("2023-11-14") for line in lines)


def _poisoned(value: object, random_of: random.Random) -> object:
    """A state with one value somewhere replaced by something of another kind."""
    if isinstance(value, list) and value:
        index = random_of.randrange(len(value))
        return [_poisoned(v, random_of) if i == index else v for i, v in enumerate(value)]
    if isinstance(value, dict) and value:
        chosen = random_of.choice(sorted(value))
        return {k: _poisoned(v, random_of) if k == chosen else v for k, v in value.items()}
    return random_of.choice(
        [None, "x", -1, [], {}, [[]], 10**400, "\ud800", True, "NaN", "1e999", float("nan"), float("inf"), 1e308, -1e308]
    )


def test_a_state_of_any_shape_is_taken_or_refused_whole() -> None:
    def tracker() -> Tracker:
        return Tracker(load_weights(), "m", verdicts=Verdicts.of(FakeModel()))

    full = tracker()
    for i in range(40):
        full.add(Observation("dns", (T0 + i) * 1_000_000, "10.0.0.7", "10.0.0.53", 53, f"evil{i}.example", True, levels={"dga": 2}))
        request = Observation("http", (T0 + i) * 1_000_000, f"10.0.0.{8 + i % 2}", "93.184.216.34", 80, f"evil{i % 3}.example")
        request.uri, request.method, request.status, request.levels = f"/{i}.exe", "POST", 200, {"hostname-threat": 3, "uri-attack": 3}
        full.add(request)
    full.release((T0 + 30) * 1_000_000)
    state = json.loads(json.dumps(full.state()))
    again = tracker()
    again.restore(state)
    assert json.loads(json.dumps(again.state())) == state and len(again.book) > 2
    random_of = random.Random(7)
    for _ in range(400):
        other = tracker()
        try:
            other.restore(_poisoned(state, random_of))  # type: ignore[arg-type]
        except ValueError:
            assert len(other.book) == 0
        other.add(Observation("dns", (T0 + 99) * 1_000_000, "10.0.0.8", "10.0.0.53", 53, "evil.example", True))
        json.dumps(other.finish(), allow_nan=False)


# --- budget ----------------------------------------------------------------------------------------------------------------------

DAY = 86_400_000_000


def _simulate(budget: IncidentBudget, candidates: list[tuple[int, float]]) -> list[tuple[int, float]]:
    passed = []
    for number, (now, log_odds) in enumerate(candidates):
        budget.note(log_odds, None, now)
        if budget.allows(log_odds, now):
            budget.take(f"{now}-{number}", log_odds, now)
            passed.append((now, log_odds))
    return passed


def test_a_budget_holds_over_a_week_and_within_a_day() -> None:
    random_of = random.Random(5)
    candidates = sorted((int(random_of.random() * 14 * DAY), random_of.expovariate(0.5)) for _ in range(2000))
    passed = _simulate(IncidentBudget(5), candidates)
    for begin, _ in passed:
        within = [log_odds for now, log_odds in passed if begin <= now < begin + DAY]
        records = sum(log_odds > max([-1.0, *within[:i]]) for i, log_odds in enumerate(within))
        assert len(within) <= 10 + records
    assert 5 * 7 / 2 <= len([p for p in passed if p[0] >= 7 * DAY]) <= 5 * 7 * 2


def test_what_is_worse_than_all_told_is_told_however_many_came_before() -> None:
    budget = IncidentBudget(2)
    _simulate(budget, [(i * 1_000_000, 3.0) for i in range(5000)])
    assert budget.allows(3.5, 5_000_000_000) and not budget.allows(2.0, 5_000_000_000)


def test_what_was_told_counts_as_bad_as_it_has_become() -> None:
    budget = IncidentBudget(1)
    for i, log_odds in enumerate((0.1, 0.2)):
        budget.take(str(i), log_odds, i)
    assert budget.allows(0.3, 5)
    budget.grown("0", 9.0)
    assert not budget.allows(0.3, 5) and budget.allows(9.5, 5)


def test_a_budget_goes_on_from_its_state() -> None:
    candidates = [(i * DAY // 50, (i * 37 % 100) / 10) for i in range(400)]
    whole = _simulate(IncidentBudget(3), candidates)
    first = IncidentBudget(3)
    passed = _simulate(first, candidates[:211])
    second = IncidentBudget(3)
    second.restore(json.loads(json.dumps(first.state())))
    assert passed + _simulate(second, candidates[211:]) == whole


def test_a_flood_does_not_silence_a_worse_incident(tmp_path: Path) -> None:
    flood = [row for c in range(1, 9) for row in generated(f"10.0.0.{c}", begin=c * 600, count=5)]
    worst = generated("10.0.0.9", begin=9000, count=40)
    lines, summary = watch_once(tmp_path, dns_log(tmp_path, *flood, *worst), emit="incidents", incidents_per_day=2)
    clients = [line["clients"][0] for line in lines if line["status"] == "opened"]
    assert "10.0.0.9" in clients and len(clients) < 9 and summary["incidents"]["held_back"] > 0


def test_an_outbreak_of_more_clients_than_incidents_can_be_open_is_told_a_bounded_number_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "MAX_OPEN", 8)
    rows = [dns_row(60 * i + c, f"10.0.0.{c}", f"evil{c}x{i}.example", rcode="NXDOMAIN") for i in range(14) for c in range(1, 41)]
    lines, summary = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents")
    opened = [line for line in lines if line["status"] == "opened"]
    assert 8 <= len(opened) <= 20 and len(lines) < 80 and balanced(summary)
    assert max(line["followers"] for line in lines) >= 5


def test_stopping_early_keeps_what_waits(tmp_path: Path) -> None:
    logs = dns_log(tmp_path, *generated())
    config = WatchConfig(paths=(logs,), emit="incidents", output=tmp_path / "o.jsonl", state=tmp_path / "state", poll_s=0.01, scan_s=0.01)
    control = Control()
    runner = Runner(config, FakeModel, control=control)
    try:
        while runner._turn():
            pass
        control.stop = True
        runner.run()
    finally:
        runner.close()
    lines = read_events(tmp_path / "o.jsonl")
    assert [line["status"] for line in lines] == ["opened", "grown"]  # not closed: the log may go on


def scanned(source: str, server: str, begin: int, text: str) -> list[str]:
    return [
        f"{T0 + begin + i} A{source}{i} {source} 4000 {server} 80 GET {server} /?id={text}{i} Mozilla/5.0 200 text/html" for i in range(8)
    ]


@pytest.mark.parametrize(("server", "same"), [("10.0.0.80", True), ("10.0.0.81", False)])
def test_scans_of_one_server_that_look_alike_are_one_incident(tmp_path: Path, server: str, *, same: bool) -> None:
    fields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p method host uri user_agent status_code resp_mime_types"
    rows = scanned("198.51.100.9", "10.0.0.80", 0, "evil") + scanned("198.51.100.10", server, 100, "evil")
    (tmp_path / "http.log").write_text(zeek_log(fields, *rows, path="http"))
    lines, _ = watch_once(tmp_path, tmp_path / "http.log", emit="incidents")
    assert (len({line["incident_id"] for line in lines}) == 1) is same
    assert (lines[-1]["followers"] == 1) is same
    assert not same or lines[-1]["clients"] == ["198.51.100.9", "198.51.100.10"]


def test_looks_outlive_a_checkpoint_and_are_dropped_with_the_incident() -> None:
    case = Tunnel(("10.0.0.7", "zone.example"))
    case.remember("verdict", "aabbccdd.zone.example", "f", 0)
    looks = Looks(FakeModel().encode)
    leader, own = looks.leader(case)
    looks.hold("i", case, own)
    again = Looks(FakeModel().encode)
    again.load(json.loads(json.dumps(looks.state())), {"i": 1})
    assert leader is None and again.leader(case)[0] == "i"
    other = Tunnel(("10.0.0.8", "zone.example"), examples=case.examples)
    assert again.leader(other)[0] is None
    again.drop("i")
    assert again.leader(case)[0] is None and Looks(None).leader(case) == (None, None)


@pytest.mark.parametrize(("clients", "found"), [(3, True), (5, False)])
def test_names_that_many_clients_miss_speak_against_none(tmp_path: Path, clients: int, *, found: bool) -> None:
    """A bot's host with two addresses and its resolver ask for the same names; a dead site is missed by everybody."""
    rows = [dns_row(20 * i + c, f"10.0.0.{7 + c}", f"plain{i}.example", rcode="NXDOMAIN") for i in range(30) for c in range(clients)] + [
        dns_row(20 * i + 9.5, "10.0.0.99", f"www.site{i % 5}.example", answers="93.184.216.34") for i in range(40) for _ in range(3)
    ]
    lines, _ = watch_once(tmp_path, dns_log(tmp_path, *sorted(rows, key=lambda row: float(row.split(" ")[0]))), emit="incidents")
    assert bool(lines) is found


@pytest.mark.parametrize(("kind", "found"), [("A", True), ("MX", False)])
def test_who_asks_for_mail_is_no_bot(tmp_path: Path, kind: str, *, found: bool) -> None:
    rows = [dns_row(20 * i + n, "10.0.0.7", f"evil{i}.example", t, rcode="NXDOMAIN") for i in range(30) for n, t in enumerate((kind, "A"))]
    lines, _ = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents")
    assert bool(lines) is found


def test_an_outage_speaks_against_nobody(tmp_path: Path) -> None:
    rows = [dns_row(i, f"10.0.0.{i % 9 + 10}", f"plain{i}.example", rcode="NXDOMAIN") for i in range(600)]
    lines, _ = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents")
    assert not lines


@pytest.mark.parametrize("step", [-40 * DAY, -3 * DAY, -DAY // 24, DAY // 24, 3 * DAY, 40 * DAY])
def test_a_clock_that_is_set_hides_no_intrusion_that_begins_a_while_later(tmp_path: Path, step: int) -> None:
    before, after = ordinary(150), ordinary(150) + generated(begin=420, count=20)
    moved = [f"{float(head) + 460 + step / 1e6} {rest}" for head, rest in (row.split(" ", 1) for row in after)]
    rows = [*before, *sorted(moved, key=lambda row: float(row.split(" ")[0]))]
    lines, summary = watch_once(tmp_path, dns_log(tmp_path, *rows), emit="incidents", batch_strings=50)
    opened = [line for line in lines if line["status"] == "opened"]
    assert balanced(summary) and [line["clients"] for line in opened] == [["10.0.0.7"]]


def test_generated_names_show_in_handshakes_where_look_ups_are_encrypted() -> None:
    tracker = Tracker(load_weights(), "model")
    for n in range(14):
        tracker.add(Observation("tls", (T0 + 50 * n) * 1_000_000, "10.0.0.7", f"203.0.113.{n}", 443, f"x{n}.example", levels={"dga": 2}))
        tracker.add(Observation("tls", (T0 + 50 * n + 3) * 1_000_000, "10.0.0.7", "1.1.1.1", 443, "cloudflare-dns.com"))
    opened = [line for line in tracker.finish() if line["status"] == "opened"]
    assert [line["kind"] for line in opened] == ["dga"] and "cloudflare-dns.com" not in opened[0]["entities"]


@pytest.mark.parametrize(("others", "name", "count"), [(0, "api.ipify.org", 1), (9, "api.ipify.org", 0), (0, "ipv4.tracker.example", 0)])
def test_a_host_right_after_ones_own_address_was_asked_for(others: int, name: str, count: int) -> None:
    """A bot turns to few hosts then; what meets many is at its ordinary work."""
    tracker = Tracker(load_weights(), "model")
    tracker.add(Observation("tls", T0 * 1_000_000, "10.0.0.7", "203.0.113.5", 443, name))
    for n in range(others):
        tracker.add(Observation("tls", (T0 + 5 + n) * 1_000_000, "10.0.0.7", f"203.0.113.{20 + n}", 443, f"site{n}.example"))
    tracker.add(Observation("dns", (T0 + 60) * 1_000_000, "10.0.0.7", "r", 53, "mx.drop.example", answers=("203.0.113.9",)))
    sent = Observation("flow", (T0 + 60) * 1_000_000 + 1, "10.0.0.7", "203.0.113.9", 587, query_type="tcp", bytes_out=900, bytes_in=700)
    tracker.add(sent)
    assert sum(line["status"] == "opened" for line in tracker.finish()) == count
