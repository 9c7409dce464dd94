"""Records that end the process, whatever way they do it: after two deaths in the same place the sensor steps over them, and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_demist.sensor.sources.in_flight import MAX_KEY, MAX_NUMBER, MAX_PLACES, MAX_STEPPED_OVER, ROOM, InFlight, Place
from tests.support.sensor_fakes import balanced, read_events, zeek_log

WATCH = """
import json, os, sys
from pathlib import Path
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.runner import Runner
from tools.sensor.fake_model import FakeModel

class Deadly(FakeModel):
    def classify(self, texts, task):
        if any("poison" in text for text in texts):
            os.kill(os.getpid(), 9)
        return super().classify(texts, task)

def told(event, facts):
    print(event, json.dumps(facts, default=str), file=sys.stderr, flush=True)

folder = Path(sys.argv[1])
state = folder / "state" if sys.argv[2] == "state" else None
config = WatchConfig(paths=(folder / "logs",), once=True, output=folder / "out.jsonl", summary=folder / "s.json", state=state)
runner = Runner(config, Deadly, log=told)
runner.run()
runner.close()
"""


def starts(folder: Path, state: str = "state") -> tuple[int, str]:
    """Start until a start ends well, ten times at most, as a service manager would; how often it died, and what the last one said."""
    for died in range(10):
        command = [sys.executable, "-c", WATCH, str(folder), state]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=Path(__file__).parents[2])
        if done.returncode == 0:
            return died, done.stderr
        assert done.returncode == -9, done.stderr
    return 10, ""


def rows(*poisoned: int, count: int = 40, size: int = 0) -> list[str]:
    return [f"{1700000000 + i}.0 C{i} {'poison' if i in poisoned else 'good'}{i}.{'x' * size}example" for i in range(count)]


@pytest.mark.parametrize("poisoned", [(0,), (17,), (39,), (5, 30)])
def test_a_deadly_record_is_stepped_over(tmp_path, poisoned):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "dns.log").write_text(zeek_log("ts uid query", *rows(*poisoned)))
    died, said = starts(tmp_path)
    assert died <= 3 * len(poisoned) and "stepped-over" in said
    events = read_events(tmp_path / "out.jsonl")
    assert {event["uid"] for event in events} == {f"C{i}" for i in range(40)} - {f"C{i}" for i in poisoned}
    assert len({event["event_id"] for event in events}) == len(events)


def test_a_heavy_record_alone_in_its_portion_dies_twice(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "dns.log").write_text(zeek_log("ts uid query", *rows(1, count=3, size=300_000)))
    died, said = starts(tmp_path)
    assert died == 2 and "stepped-over" in said
    assert {event["uid"] for event in read_events(tmp_path / "out.jsonl")} == {"C0", "C2"}


def test_several_files_at_once(tmp_path):
    (tmp_path / "logs").mkdir()
    for name, poisoned in (("a", (3,)), ("b", ()), ("c", (7, 8))):
        lines = [row.replace(" C", f" {name}") for row in rows(*poisoned, count=12)]
        (tmp_path / "logs" / f"dns.{name}.log").write_text(zeek_log("ts uid query", *lines))
    died, _ = starts(tmp_path)
    assert died <= 9
    assert len({event["uid"] for event in read_events(tmp_path / "out.jsonl")}) == 33


def test_the_summary_counts_what_was_stepped_over(tmp_path):
    import json

    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "dns.log").write_text(zeek_log("ts uid query", *rows(17)))
    starts(tmp_path)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert balanced(summary) and summary["skipped"]["stepped-over"] == 1


# ---- the note -------------------------------------------------------------------------------------------------


def die(folder, *places):
    note = InFlight(folder)
    note.note(places)
    return InFlight(folder)  # the map stays with the kernel, as after a SIGKILL


def test_one_death_makes_careful_two_make_step_over(tmp_path):
    place = Place("k", 10, 20, 1)
    second = die(tmp_path, place)
    assert second.is_careful("k", 10) and not second.is_careful("k", 20) and not second.is_stepped_over("k", 10)
    second.note((place,))
    third = InFlight(tmp_path)
    assert third.is_stepped_over("k", 10) and not third.is_stepped_over("k", 20) and not third.is_stepped_over("x", 10)
    third.note(())
    assert InFlight(tmp_path).is_stepped_over("k", 10)


def test_deaths_in_different_places_prove_nothing(tmp_path):
    first = die(tmp_path, Place("k", 10, 20, 1))
    first.note((Place("k", 20, 30, 1),))
    again = InFlight(tmp_path)
    assert not again.is_stepped_over("k", 10) and not again.is_stepped_over("k", 20)


def test_a_portion_is_never_stepped_over_as_a_whole(tmp_path):
    place = Place("k", 0, 100, 7)
    for _ in range(5):
        note = die(tmp_path, place)
        assert note.is_careful("k", 50) and not note.is_stepped_over("k", 0)


def test_an_end_in_peace_leaves_nothing(tmp_path):
    note = InFlight(tmp_path)
    note.note((Place("k", 0, 10, 1),))
    note.note(())
    note.close()
    assert not InFlight(tmp_path).careful


def test_more_places_than_there_is_room_for(tmp_path):
    places = [Place(f"{i % 5:064d}", i * 10, i * 10 + 10, 1) for i in range(10 * MAX_PLACES)]
    note = die(tmp_path, *places)
    assert all(note.is_careful(place.key, place.start) for place in places)


NO_NOTES = [b"", b"{", b"[]", b'{"now": 5}', b'{"now": [[1]]}', b'{"now": [["k", "x", 1, 1]]}', b"[" * 16000, b"\xff" * 100]
NO_NOTES += [b'{"skipped": [["k", {}]]}', b'{"careful": 7}', b'{"before": {}}']
NO_NOTES += [json.dumps({name: [[key, 1, 2, 1][:width]]}, ensure_ascii=False).encode() for name, width in (("now", 4), ("skipped", 2))
             for key in ("k" * 20_000, "\u00e9" * 8000, "\u00e9", "\0" * 2000, 7)]  # fmt: skip
NO_NOTES += [b'{"now": [["k", -1, 2, 1]]}', b'{"now": [["k", 1' + b"0" * 4000 + b", 2, 1]]}", b'{"now": [["k", true, 2, 1]]}']


@pytest.mark.parametrize("content", NO_NOTES)
def test_a_note_that_is_none(tmp_path, content):
    (tmp_path / "in-flight").write_bytes(content)
    note = InFlight(tmp_path)
    assert not note.careful
    note.note((Place("k", 0, 10, 1),))
    assert InFlight(tmp_path).careful == (Place("k", 0, 10, 1),)


def test_the_fullest_note_has_room(tmp_path):
    key, end = "k" * MAX_KEY, MAX_NUMBER - 1
    many = [[f"{n:02d}{key[2:]}", end, end, end] for n in range(MAX_PLACES)]
    skipped = [[key, end]] * MAX_STEPPED_OVER
    raw = json.dumps({"now": many[:1], "before": many[:1], "careful": many, "skipped": skipped}, separators=(",", ":")).encode()
    (tmp_path / "in-flight").write_bytes(raw[:ROOM].ljust(ROOM, b"\0"))
    note = InFlight(tmp_path)
    note.note([Place(f"{n:064d}", end, end, end) for n in range(MAX_PLACES)])
    note.close()
    assert InFlight(tmp_path).careful


def test_a_note_that_is_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "in-flight")
    with pytest.raises(OSError, match="no regular file"):
        InFlight(tmp_path)


def test_without_a_folder_nothing_is_noted():
    note = InFlight(None)
    note.note((Place("k", 0, 10, 1),))
    assert not note.is_careful("k", 0) and not note.is_stepped_over("k", 0)
    note.close()
