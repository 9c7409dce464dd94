"""Files of the state folder are written in pieces, and read by the text that stands there."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.sensor.sources.checkpoint import MANY, PIECE_BYTES, Checkpoint, CheckpointStore, _encoded, _sum, _sum_of_file
from edge_demist.sensor.storage import Disk

LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False)
TABLE = st.dictionaries(st.text(max_size=5), LEAF | st.lists(LEAF, max_size=3), max_size=3)
VALUE = LEAF | TABLE | st.dictionaries(st.text(max_size=5), TABLE, max_size=3) | LEAF.map(lambda one: [[one]] * (2 * MANY + 1))


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=5), VALUE, max_size=4))
def test_the_pieces_are_the_text_and_its_sum(body):
    raw = b"".join(_encoded(body))
    found = json.loads(raw)
    canonical = json.dumps(body, separators=(",", ":"), sort_keys=True)
    assert found["body"] == json.loads(canonical) and canonical.encode() in raw
    assert found["sum"] == _sum(body) == _sum_of_file(raw) == hashlib.sha256(canonical.encode()).hexdigest()


def test_a_large_state_is_written_in_small_pieces(tmp_path):
    class Counts(Disk):
        largest = 0

        def write(self, fd, data):
            self.largest = max(self.largest, len(data))
            return super().write(fd, data)

    disk = Counts()
    store = CheckpointStore(tmp_path, disk)
    rows = [["x" * 60, n, [n, "y" * 60]] for n in range(20_000)]
    store.commit(Checkpoint(incidents={"gatherer": {"names": rows}, "waiting": rows}))
    assert disk.largest < 2 * PIECE_BYTES < (tmp_path / "checkpoint.json").stat().st_size // 2
    again, problems = store.load()
    store.close()
    assert not problems and again.incidents == {"gatherer": {"names": rows}, "waiting": rows}


CHANGES = [(b'"offset":1', b'"offset":2'), (b'"format":1', b'"format": 1'), (b'"sum":"', b'"sum":"0'), (b"}\n", b"}")]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_it_was_written_is_set_aside_or_read_whole(tmp_path, change):
    store = CheckpointStore(tmp_path)
    store.commit(Checkpoint(drift={"offset": 1}))
    path = tmp_path / "checkpoint.json"
    raw = path.read_bytes()
    path.write_bytes(raw.replace(*change))
    found, problems = store.load()
    store.close()
    harmless = json.loads(raw) == json.loads(raw.replace(*change))
    assert (found.drift == {"offset": 1}) is harmless and bool(problems) is not harmless
