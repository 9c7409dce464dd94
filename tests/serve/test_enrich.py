"""``edge-demist enrich``: one line out for each line in, what stood there stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.cli import enrich
from edge_demist.errors import InputError

COMMAND = [sys.executable, "-P", "-m", "edge_demist", "enrich", "--field", "query=dga,hostname-threat", "-"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text() | st.just("query"), VALUES, max_size=4), min_size=1, max_size=4))
def test_the_object_is_contained_unchanged(model, objects) -> None:
    raw = [json.dumps(one).encode() for one in objects]
    lines, bad = enrich.enriched(model, raw, [(["query"], ["dga"])], "edge_demist", None)
    assert not bad and len(lines) == len(raw)
    for given_line, line in zip(raw, lines, strict=True):
        assert line.startswith(given_line[:-1])
        before, after = json.loads(given_line), json.loads(line)
        added = set(after) - set(before)
        assert len(added) == 1 and {k: after[k] for k in before} == before
        asked = isinstance(before.get("query"), str)
        assert (list(after[added.pop()]) == ["dga"]) == asked


def test_bad_lines_come_out_with_an_error_and_the_end_is_1() -> None:
    lines = [b'{"query": "xjqzvwpk8r3t.info"}', b"", b"[1]", b"{", b'{"query": 3}', b"\xff", b"x" * (2 << 20), b'{"query": "kernel.org"}']
    done = subprocess.run(COMMAND, input=b"\n".join(lines), capture_output=True, check=False, timeout=120)
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and len(out) == len(lines)
    assert out[0]["edge_demist"]["dga"]["alarm"] is True and set(out[-1]["edge_demist"]) == {"dga", "hostname-threat"}
    assert [i for i, one in enumerate(out) if "error" in one["edge_demist"]] == [1, 2, 3, 5, 6]
    assert out[4] == {"query": 3, "edge_demist": {}}


def test_what_is_there_is_written_when_the_input_pauses() -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b'{"query": "kernel.org"}\n')
        process.stdin.flush()
        line = process.stdout.readline()  # the input stays open
        assert json.loads(line)["query"] == "kernel.org"
        time.sleep(0.01)
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_wrong_fields_are_refused() -> None:
    with pytest.raises(InputError, match="give a path"):
        enrich._field("query")
    code = subprocess.run([*COMMAND[:-3], "--field", "query=nosuch", "-"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert code.returncode == 2 and b"unknown task" in code.stderr
