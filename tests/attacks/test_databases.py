"""Databases of the state folder that somebody else wrote: nothing hangs, nothing is raised, what is not ours is set aside."""

from __future__ import annotations

import os
import sqlite3
import time

import pytest

from edge_demist.errors import InputError
from edge_demist.sensor import database, memory
from edge_demist.sensor.memory import Memory
from edge_demist.sensor.neighbours import DATABASE, Neighbours
from tests.support.sensor_fakes import watch_once, zeek_log

ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT x'73' AS key, 1 AS first, 2 AS last, 3 AS count, 4 AS clients"
)
SCHEMAS = {
    "view that never ends": f"CREATE VIEW seen AS {ENDLESS} FROM n WHERE i < 0; CREATE TABLE meta (name, value)",
    "trigger": memory.SCHEMA + "CREATE TRIGGER t AFTER INSERT ON seen BEGIN DELETE FROM seen; END;",
    "other columns": "CREATE TABLE seen (other); CREATE TABLE meta (name, value)",
    "other tables beside": memory.SCHEMA + "CREATE TABLE more (a);",
}


def write(path, schema: str, *rows: tuple) -> None:
    with sqlite3.connect(path) as store:
        store.executescript(schema)
        for row in rows:
            store.execute("INSERT INTO seen VALUES (?, ?, ?, ?, ?)", row)
    store.close()


@pytest.mark.parametrize("kind", SCHEMAS)
def test_another_schema_is_set_aside(tmp_path, kind):
    write(tmp_path / memory.FILE, SCHEMAS[kind])
    began = time.process_time()
    with pytest.raises(InputError, match="cannot be read"):
        memory.looked_up(tmp_path, ["a"])
    known = Memory(tmp_path)
    assert "not those that a sensor makes" in known.problems()[0] and not known.problems()
    known.touch("a.example", "10.0.0.1", 5)
    known.committed(known.state())
    known.close()
    assert time.process_time() - began < 5
    assert (tmp_path / f"{memory.FILE}.bad").exists()
    assert memory.looked_up(tmp_path, ["a.example"], memory.HOST)[0].count == 1


@pytest.mark.parametrize(
    "cells", [("a", 2, 3, 4), (1, None, 3, 4), (1, 2, 3.5, 4), (1, 2, b"x", 4), (1, 2, -3, 4), (1, 2, 3, -1), (2**62, 2, 3, 4)]
)
def test_cells_that_are_no_numbers_of_ours_are_not_known(tmp_path, cells):
    write(tmp_path / memory.FILE, memory.SCHEMA, (b"ha.example", *cells), (b"hb.example", 1, 2, 3, 4))
    assert memory.looked_up(tmp_path, ["a.example", "b.example"], memory.HOST)[0] is None
    known = Memory(tmp_path)
    assert known.look_up("a.example") is None and known.look_up("b.example") is not None
    assert known.touch("a.example", "10.0.0.1", 7).count == 1
    known.committed(known.state())
    known.close()


def test_a_cell_of_many_megabytes_is_not_read(tmp_path):
    write(tmp_path / memory.FILE, memory.SCHEMA, (b"ha.example", b"x" * (2 * database.MAX_CELL_BYTES), 2, 3, 4))
    known = Memory(tmp_path)
    assert known.look_up("a.example") is None
    assert known.problems()
    known.close()


def test_pages_overwritten_cost_what_was_remembered_and_nothing_else(tmp_path):
    known = Memory(tmp_path, max_held=1)
    for number in range(2000):
        known.touch(f"h{number}.example", "10.0.0.1", number)
    known.committed(known.state())
    with (tmp_path / memory.FILE).open("r+b") as stream:
        stream.seek(8192)
        stream.write(b"\xff" * 100_000)
    known.close()
    known = Memory(tmp_path, max_held=1)  # what an open one has read it does not read again
    for number in range(2000):
        known.touch(f"h{number}.example", "10.0.0.1", number)
    known.committed(known.state())
    assert known.problems() and len(known) > 0
    known.close()


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal"])
@pytest.mark.parametrize("what", ["pipe", "link", "folder"])
def test_what_is_no_regular_file_is_neither_opened_nor_followed(tmp_path, suffix, what):
    victim, folder = tmp_path / "victim", tmp_path / "state"
    folder.mkdir()
    victim.write_bytes(b"untouched")
    Memory(folder).close()
    path = folder / (memory.FILE + suffix)
    path.unlink(missing_ok=True)
    {"pipe": os.mkfifo, "link": lambda p: p.symlink_to(victim), "folder": os.mkdir}[what](path)
    with pytest.raises(InputError):
        memory.looked_up(folder, ["a"])
    if what == "folder" and suffix:
        return  # nobody can make SQLite write through a folder
    known = Memory(folder)
    known.touch("a.example", "10.0.0.1", 5)
    known.committed(known.state())
    assert known.problems()
    known.close()
    assert victim.read_bytes() == b"untouched"


@pytest.mark.parametrize("what", ["pipe", "link", "short"])
def test_the_ring_of_vectors_follows_no_link_and_waits_for_no_pipe(tmp_path, what):
    victim, folder = tmp_path / "victim", tmp_path / "state"
    folder.mkdir()
    victim.write_bytes(b"untouched")
    path = folder / "vectors.int8"
    {"pipe": os.mkfifo, "link": lambda p: p.symlink_to(victim), "short": lambda p: p.write_bytes(b"x")}[what](path)
    Neighbours(folder, "space", 16, max_entries=4).close()
    assert victim.read_bytes() == b"untouched" and path.is_file() and not path.is_symlink()


@pytest.mark.parametrize("labels", ["", "[]", "{", "[" * 5000, "7", None])
def test_labels_that_are_no_labels_leave_an_entry_out(tmp_path, labels):
    near = Neighbours(tmp_path, "space", 16, max_entries=4)
    near.close()
    with sqlite3.connect(tmp_path / "vectors.sqlite") as store:
        store.execute("INSERT INTO strings VALUES (0, 1, 'a', ?)", (labels,))
    store.close()
    near = Neighbours(tmp_path, "space", 16, max_entries=4)
    assert near._entry(0) is None
    near.close()


def test_the_sensor_says_what_it_set_aside_and_works(tmp_path):
    (tmp_path / "state").mkdir()
    write(tmp_path / "state" / memory.FILE, SCHEMAS["view that never ends"])
    (tmp_path / "dns.log").write_text(zeek_log("ts uid id.orig_h query", "100.5 C1 10.0.0.1 evil.example"))
    told: list[str] = []
    events, _ = watch_once(tmp_path, tmp_path / "dns.log", state=tmp_path / "state", log=lambda event, _: told.append(event))
    assert events and "state-damaged" in told


@pytest.mark.parametrize("number", [2**63 - 1, 2**62, -1, -(2**63)])
def test_the_number_of_a_database_is_nobodys_word(tmp_path, number):
    """A sensor that counted on from there had a number that SQLite does not hold, and waited for the disk for ever."""
    log, told = tmp_path / "dns.log", []
    settings = {"state": tmp_path / "state", "explain": False, "nearest": True, "log": lambda event, _: told.append(event)}
    rows = ["100.5 C1 10.0.0.1 evil1.example", "101.5 C2 10.0.0.1 evil2.example"]
    log.write_text(zeek_log("ts uid id.orig_h query", *rows[:1]))
    watch_once(tmp_path, log, **settings)
    for name in (memory.FILE, DATABASE):
        with sqlite3.connect(tmp_path / "state" / name) as store:
            store.execute("UPDATE meta SET value = ? WHERE name = 'number'", (number,))
        store.close()
    log.write_text(zeek_log("ts uid id.orig_h query", *rows))
    _, summary = watch_once(tmp_path, log, **settings)
    assert summary["records"] == 1 and "waiting-for-output" not in told
    assert memory.looked_up(tmp_path / "state", ["evil2.example"])[0] is not None


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800", b"x" * (database.MAX_CELL_BYTES + 1)])
def test_values_that_no_database_takes_are_forgotten_and_said(tmp_path, value):
    store = database.Database(tmp_path / "x.sqlite", "CREATE TABLE t (a);")
    store.write([("INSERT INTO t VALUES (?)", [(1,)])])
    store.write([("INSERT INTO t VALUES (?)", [(2,), (value,)])])
    assert "is forgotten" in store.problems[0] and len(store.problems) == 1
    assert store.number("SELECT count(*) FROM t") == 1, "what was there before stays, nothing is half-written"
    store.close()
    assert not (tmp_path / "x.sqlite.bad").exists()


def test_what_an_empty_database_refuses_as_well_is_not_tried_for_ever(tmp_path):
    store = database.Database(tmp_path / "x.sqlite", "CREATE TABLE t (a CHECK (a < 5));")
    store.write([("INSERT INTO t VALUES (?)", [(7,)])])
    assert "forgotten" in store.problems[-1]
    store.close()
