"""The memory of what was seen: bounded, exact across crashes, told in events."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.sensor import memory as module
from edge_demist.sensor.incidents.counters import Beat, Distinct
from edge_demist.sensor.memory import STRING, Memory
from tests.support.sensor_fakes import read_events, watch_once, zeek_log


def _commit(memory: Memory) -> dict[str, object]:
    state = memory.state()
    memory.committed(state)
    return state


def test_it_remembers_first_last_count_and_clients(tmp_path: Path) -> None:
    memory = Memory(tmp_path, max_held=2)
    for second, client in ((5, "a"), (9, "b"), (7, "a")):
        memory.touch("x.example", client, second)
    for i in range(10):
        memory.touch(f"n{i}.example", "a", 20)
    _commit(memory)
    memory.close()
    seen = Memory(tmp_path).look_up("x.example")
    assert seen is not None and (seen.first_us, seen.last_us, seen.count, seen.clients) == (5, 9, 3, 2)
    assert Memory(tmp_path).look_up("x.example", STRING) is None


def test_a_crash_between_checkpoint_and_database_loses_and_doubles_nothing(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.touch("x.example", "a", 1)
    _commit(memory)
    memory.touch("x.example", "a", 2)
    state = memory.state()  # the checkpoint is durable, the database is not
    memory.close()
    again = Memory(tmp_path)
    again.restore(state)
    assert again.look_up("x.example").count == 2  # type: ignore[union-attr]
    again.restore(state)
    assert again.look_up("x.example").count == 2  # type: ignore[union-attr]
    assert again.state()["number"] == 3


def test_what_no_checkpoint_holds_is_forgotten_with_it(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.touch("x.example", "a", 1)
    state = _commit(memory)
    memory.touch("y.example", "a", 2)
    memory.close()
    again = Memory(tmp_path)
    again.restore(state)
    assert again.look_up("y.example") is None and again.look_up("x.example") is not None


def test_it_is_bounded_by_entries_and_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRUNE_EVERY", 2)
    memory = Memory(tmp_path, max_entries=50)
    memory.touch("old.example", "a", 1)
    _commit(memory)
    for i in range(200):
        memory.touch(f"n{i}.example", "a", module.MAX_AGE_US + 10 + i)
    for _ in range(2 * module.MAX_AGE_US // module.MAX_STEP_US):  # the clock of age goes ahead in steps
        memory.touch("n199.example", "a", module.MAX_AGE_US + 300)
        _commit(memory)
    assert len(memory) == 50 and memory.look_up("n199.example") is not None
    memory.close()
    again = Memory(tmp_path)
    assert again.look_up("old.example") is None and again.look_up("n3.example") is None


def test_a_damaged_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "memory.sqlite").write_bytes(b"not a database" * 100)
    memory = Memory(tmp_path)
    memory.touch("x.example", "a", 1)
    _commit(memory)
    assert (tmp_path / "memory.sqlite.bad").exists() and len(memory) == 1


def test_a_full_disk_is_told_as_one_and_tried_again(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.touch("x.example", "a", 1)
    blocker = sqlite3.connect(tmp_path / "memory.sqlite", isolation_level=None)
    assert memory._store is not None
    memory._store._store.execute("PRAGMA busy_timeout = 10")
    blocker.execute("BEGIN EXCLUSIVE")
    state = memory.state()
    with pytest.raises(OSError, match="memory"):
        memory.committed(state)
    blocker.execute("ROLLBACK")
    memory.committed(state)
    assert len(memory) == 1 and memory.unwritten == 0
    blocker.close()
    memory.close()


def test_without_a_folder_the_held_part_goes_into_the_checkpoint() -> None:
    memory = Memory(None, max_held=3)
    for i in range(5):
        memory.touch(f"n{i}.example", "a", i)
    again = Memory(None)
    again.restore(memory.state())
    assert 3 <= len(again) <= 6 and again.look_up("n4.example") is not None


DNS = "ts uid id.orig_h query"


def test_events_say_what_was_seen_before(tmp_path: Path) -> None:
    rows = ["100.5 C1 10.0.0.1 evil.example", "200.5 C2 10.0.0.2 evil.example", "300.5 C3 10.0.0.1 other.example"]
    (tmp_path / "dns.log").write_text(zeek_log(DNS, *rows))
    events, _ = watch_once(tmp_path, tmp_path / "dns.log", state=tmp_path / "state")
    dga = [e for e in events if e["task"] == "dga"]
    assert [(e["seen_before"], e["clients"], e["first_seen"]) for e in dga] == [
        (0, 1, "1970-01-01T00:01:40.500000Z"),
        (1, 2, "1970-01-01T00:01:40.500000Z"),
        (0, 1, "1970-01-01T00:05:00.500000Z"),
    ]
    (tmp_path / "dns2.log").write_text(zeek_log(DNS, "400.5 C4 10.0.0.3 evil.example"))
    watch_once(tmp_path, tmp_path / "dns2.log", state=tmp_path / "state", output=tmp_path / "second.jsonl")
    later = [e for e in read_events(tmp_path / "second.jsonl") if e["task"] == "dga"]
    assert [(e["seen_before"], e["clients"], e["first_seen"]) for e in later] == [(2, 3, "1970-01-01T00:01:40.500000Z")]


@pytest.mark.parametrize("emit", ["all", "incidents"])
def test_what_a_run_has_seen_is_on_the_disk(tmp_path: Path, emit: str) -> None:
    fields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p query rcode_name"
    rows = [f"{1_700_000_000 + i}.5 C{i} 10.0.0.{i % 3} 5353 10.0.0.53 53 www.host{i}.example NOERROR" for i in range(30)]
    (tmp_path / "dns.log").write_text(zeek_log(fields, *rows))
    watch_once(tmp_path, tmp_path / "dns.log", state=tmp_path / "state", emit=emit)
    memory = Memory(tmp_path / "state")
    kind = "s" if emit == "all" else "h"
    assert len(memory) == 30 and memory.look_up("www.host7.example" if emit == "all" else "host7.example", kind) is not None
    memory.close()


@pytest.mark.parametrize(("when", "alarms"), [("always", 3), ("new", 1), ("rare", 2)])
def test_alarms_on_new_or_rare_strings_only(tmp_path: Path, when: str, alarms: int) -> None:
    hour = 3600
    evil = [f"{hour * (24 + 25 * i)} C{i} 10.0.0.{i} evil.example" for i in range(3)]
    rows = sorted(evil + [f"{hour * (24 + i)}.5 D{i} 10.0.0.9 other.example" for i in range(60)], key=lambda r: float(r.split(" ")[0]))
    (tmp_path / "dns.log").write_text(zeek_log(DNS, *rows))
    events, _ = watch_once(tmp_path, tmp_path / "dns.log", alarm_when=when)
    dga = [e for e in events if e["task"] == "dga" and e["text"] == "evil.example"]
    assert sum(e["alarm"] for e in dga) == alarms
    told = [e["suppressed"].split(":")[0] for e in dga if not e["alarm"]]
    assert set(told) == {"always": set(), "new": {"known"}, "rare": {"common"}}[when]


@given(st.lists(st.text(max_size=6), max_size=300))
def test_a_distinct_counter_is_exact_while_small_and_near_after(texts: list[str]) -> None:
    counter = Distinct()
    for text in texts:
        counter.add(text)
    true = len(set(texts))
    assert counter.count == true if true <= 48 else abs(counter.count - true) <= 0.3 * true
    assert Distinct.restored(counter.state()).count == counter.count


def test_a_distinct_counter_is_near_at_any_size() -> None:
    counter = Distinct()
    for i in range(20_000):
        counter.add(f"name{i}")
    assert abs(counter.count - 20_000) < 4000


def test_a_clock_is_regular_and_people_are_not() -> None:
    clock, person = Beat(), Beat()
    for i, gap in enumerate([3, 90, 7, 400, 21, 1300, 8, 77, 530, 15]):
        clock.add(1_000_000 + i * 60_000_000)
        person.add(1_000_000 + sum([3, 90, 7, 400, 21, 1300, 8, 77, 530, 15][: i + 1]) * 1_000_000 + gap)
    assert clock.regularity > 0.95 and clock.period_s == 60 and person.regularity < 0.5
    assert Beat.restored(clock.state()).regularity == clock.regularity
