"""Times that no calendar has, or that one record alone has: nothing ends for them, and nothing is forgotten for them."""

from __future__ import annotations

import json
import sqlite3
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.explore.legend import by_number
from edge_demist.sensor import memory as memories
from edge_demist.sensor.detect.scoring import Scorer
from edge_demist.sensor.drift import ScoreDrift
from edge_demist.sensor.drift_sample import BACK, MAX_WEEKS, RATE, WEEK_US, Sample
from edge_demist.sensor.memory import DAY_US, STRING, Memory
from edge_demist.sensor.sources.timestamps import format_time, parse_time
from edge_demist.serve.mcp import Tools
from tests.sensor.test_drift import reference_of_fakes
from tests.sensor.test_workers import watch
from tests.support.sensor_fakes import read_events, zeek_log
from tools.sensor.fake_model import FakeModel

NOW_US = 1_700_000_000_000_000
YEAR_9999_US = 253_000_000_000_000_000
numbers = st.one_of(st.integers(), st.floats(), st.integers(0, 10**13).map(str), st.from_regex(r"\A\d{8,20}(\.\d{0,18})?\Z"))


@given(st.one_of(numbers, st.fixed_dictionaries({"seconds": numbers, "nanos": numbers}), st.lists(numbers, max_size=8)))
def test_every_time_is_one_of_the_calendar(value):
    found = parse_time(value)
    assert found is None or parse_time(format_time(found)) == found


@given(st.integers())
def test_every_number_can_be_written_as_a_time(us):
    text = format_time(us)
    assert len(text) == 27 and "0001" <= text[:4] <= "9999"


@given(st.lists(st.floats(), min_size=1))
def test_every_column_of_times_has_a_legend(values):
    bins, groups = by_number(np.array(values), "time")
    assert len(bins) == len(values) and bins.max() < len(groups)


@pytest.mark.parametrize("us", [memories.MAX_COUNT - 1, 1 - memories.MAX_COUNT, YEAR_9999_US])
def test_tools_tell_any_time_that_a_memory_holds(tmp_path, us):
    memory = Memory(tmp_path)
    memory.touch("a.example", "10.0.0.1", us, STRING)
    memory.committed(memory.state())
    memory.close()
    (told,) = Tools(None, tmp_path).first_seen(["a.example"])["results"]
    assert told["seen"] and told["first_seen"] == format_time(us)


@pytest.mark.parametrize("options", [{"emit": "all"}, {"emit": "incidents"}, {"emit": "alarms", "alarm_when": "new", "threads": 2}])
def test_a_record_of_any_time_ends_nothing(tmp_path, options):
    odd = ["999999999999", "999999999999.000001", "253402300799.999999", "1e18", "-1", "nan", "9" * 19, "0"]
    rows = [f"{ts} 10.0.0.1 evil{n}.example" for n, ts in enumerate(["1700000000.5", *odd, "1700000001.5"])]
    log = tmp_path / "dns.log"
    log.write_text(zeek_log("ts id.orig_h query", *rows))
    _, summary = watch(tmp_path / "ran", log, state=True, **options)
    assert summary["records"] == len(rows) and not summary["errors"]
    texts = {event.get("text") for event in read_events(tmp_path / "ran" / "out")}
    assert len(texts) == len(rows) or options["emit"] != "all"


def _commit(memory: Memory, *touches: tuple[str, int]) -> None:
    for name, time_us in touches:
        memory.touch(name, "10.0.0.1", time_us)
    memory.committed(memory.state())


def test_a_record_from_the_year_9999_makes_nothing_old(tmp_path, monkeypatch):
    monkeypatch.setattr(memories, "PRUNE_EVERY", 1)
    memory = Memory(tmp_path)
    _commit(memory, *((f"n{n}.example", NOW_US + n) for n in range(20)))
    _commit(memory, ("stray.example", YEAR_9999_US))
    _commit(memory, ("n1.example", NOW_US + 30), ("stray.example", YEAR_9999_US))
    assert len(memory) == 21
    memory.close()


def test_a_database_whose_clock_is_from_the_year_9999_recovers(tmp_path, monkeypatch):
    monkeypatch.setattr(memories, "PRUNE_EVERY", 1)
    memory = Memory(tmp_path)
    _commit(memory, ("a.example", NOW_US))
    memory.close()
    store = sqlite3.connect(tmp_path / memories.FILE)
    store.execute("UPDATE meta SET value = ? WHERE name = 'clock'", (YEAR_9999_US,))
    store.commit()
    store.close()
    memory = Memory(tmp_path)
    _commit(memory, ("b.example", NOW_US + 1))
    assert len(memory) == 2
    memory.close()


def test_entries_from_beyond_the_clock_are_the_first_to_go(tmp_path, monkeypatch):
    monkeypatch.setattr(memories, "PRUNE_EVERY", 1)
    memory = Memory(tmp_path, max_entries=30)
    _commit(memory, *((f"n{n}.example", NOW_US + n) for n in range(20)))
    _commit(memory, *((f"stray{n}.example", YEAR_9999_US + n) for n in range(20)))
    _commit(memory, *((f"m{n}.example", NOW_US + DAY_US + n) for n in range(10)))
    assert len(memory) == 30 and memory.look_up("n3.example") and memory.look_up("m3.example")
    memory.close()


FAR = YEAR_9999_US // WEEK_US
SAMPLED = [name for name in (f"host{n}.example" for n in range(20_000)) if not zlib.crc32(name.encode()) % RATE]
"""Names that the sample takes."""


def test_stray_weeks_are_neither_what_scores_are_compared_with_nor_what_is_compared():
    drift = ScoreDrift("m")
    for week in (0, FAR, 2800, 2801):
        for _ in range(1 if week in (0, FAR) else 50):
            drift.note("dga", 0.99 if week in (0, FAR) else 0.01, week * WEEK_US)
    assert drift.gauges()["dga"] < 0.01
    for week in range(FAR, FAR + 40):
        drift.note("dga", 0.99, week * WEEK_US)
    drift.note("dga", 0.01, 2802 * WEEK_US)
    assert {2800, 2801, 2802} <= drift.counts["dga"].keys() and len(drift.counts["dga"]) == MAX_WEEKS


def test_a_sample_forgets_weeks_that_were_none():
    model = FakeModel()
    sample = Sample(reference_of_fakes(model))

    def take(week: int, count: int) -> None:
        sample.take(Scorer(model), [(name, ("dga",), week * WEEK_US) for name in SAMPLED[:count]])

    take(2800, 5)
    take(FAR, 1)
    take(2800, 10)
    assert sample.weeks.keys() == {2800} and sample.weeks[2800].taken == 10
    take(FAR, 3)
    take(2801, 40)
    assert sample.weeks[2801].taken == 40 - BACK + 1
    again = Sample(sample.reference)
    again.restore(json.loads(json.dumps(sample.state())))
    again.take(Scorer(model), [(SAMPLED[50], ("dga",), 2801 * WEEK_US)])
    assert again.weeks[2801].taken == 40 - BACK + 2


def test_more_weeks_at_once_than_are_kept():
    model = FakeModel()
    sample = Sample(reference_of_fakes(model))
    sample.take(Scorer(model), [(name, ("dga",), (2800 + n) * WEEK_US) for n, name in enumerate(SAMPLED[:60])])
    assert len(sample.weeks) == MAX_WEEKS and max(sample.weeks) == 2859
