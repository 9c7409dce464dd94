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

from edge_demist.cli import enrich, main

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
        value = before.get("query")
        asked = isinstance(value, str) or (isinstance(value, list) and any(isinstance(one, str) for one in value))
        assert (list(after[added.pop()]) == ["dga"]) == asked


def test_bad_lines_come_out_with_an_error_and_the_end_is_1() -> None:
    lines = [b'{"query": "xjqzvwpk8r3t.info"}', b"", b"[1]", b"{", b'{"query": 3}', b"\xff", b"x" * (2 << 20), b'{"query": "kernel.org"}']
    done = subprocess.run(COMMAND, input=b"\n".join(lines), capture_output=True, check=False, timeout=120)
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and len(out) == len(lines)
    assert out[0]["edge_demist"]["dga"]["alarm"] is True and set(out[-1]["edge_demist"]) == {"dga", "hostname-threat"}
    assert [i for i, one in enumerate(out) if "error" in one["edge_demist"]] == [1, 2, 3, 5, 6]
    assert out[4] == {"query": 3, "edge_demist": {}}


@given(
    st.lists(st.binary(max_size=60) | st.text(max_size=20).map(lambda text: b'{"query": "' + text.encode("utf-8", "surrogatepass") + b'"}'))
)
def test_any_line_gives_one_line_of_json(model, raw) -> None:
    raw = [line.replace(b"\n", b"") for line in raw]
    lines, _ = enrich.enriched(model, raw, [(["query"], ["dga"])], "edge_demist", None)
    assert len(lines) == len(raw) and all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines)
    assert all("edge_demist" in json.loads(line) for line in lines)


@pytest.mark.parametrize(
    ("line", "path", "texts"),
    [
        (b'{"a.b": {"c": "x"}}', "a.b.c", "x"),
        (b'{"a": {"b.c": "x"}}', "a.b.c", "x"),
        (b'{"a.b.c": 3, "a": {"b": {"c": "x"}}}', "a.b.c", "x"),
        (b'{"a": {"b": [{"c": "x"}, 4, {"c": "y"}, {"d": "z"}]}}', "a.b.c", ["x", "y"]),
        (b'{"a": ["x", null, ["y"], "z"]}', "a", ["x", "z"]),
        (b'{"a": ["x"]}', "a", ["x"]),
        (b'{"a": []}', "a", None),
        (b'{"a": {"b": 3}}', "a.b.c", None),
        (b'{"a": "x", "a": "y"}', "a", "y"),
        (b'\xef\xbb\xbf{"a": "x"}', "a", "x"),
    ],
)
def test_paths_lead_to_strings(model, line: bytes, path: str, texts: object) -> None:
    (out,), bad = enrich.enriched(model, [line], [(path.split("."), ["dga"])], "edge_demist", None)
    found = json.loads(out.decode("utf-8-sig"))["edge_demist"].get("dga")
    assert not bad and out.startswith(line[:-1])
    if isinstance(texts, list):
        assert [one["text"] for one in found] == texts
        expected = [answer.to_dict() for answer in model.classify(texts, task="dga")]
        assert [one["score"] for one in found] == [one["score"] for one in expected]
    else:
        assert (found or {}).get("score") == (model.classify(texts, task="dga")[0].to_dict()["score"] if texts else None)


@pytest.mark.parametrize(
    "line",
    [
        b'{"query": "x", "n": ' + b"9" * 5000 + b', "f": 1.10, "e": 1e999, "z": -0}',
        b'{"query": "x"}\r',
        b' \t{"query": "x" } \t\r',
        b'{"query": "\\u00e9\\ud800\\/", "k": "\xc3\xa9"}',
        b'{"query": "x", "query": "y"}',
        b'{"query": "x", "edge_demist": 1, "edge_demist_1": 2}',
    ],
)
def test_what_stood_there_stays_byte_for_byte(model, line: bytes) -> None:
    (out,), bad = enrich.enriched(model, [line], [(["query"], ["dga"])], "edge_demist", None)
    body, blanks = line.rstrip(b" \t\r"), line[len(line.rstrip(b" \t\r")) :]
    assert not bad and out.startswith(body[:-1]) and out.endswith(b"}" + blanks + b"\n")
    assert b'"dga": {' in out[len(body) - 1 :]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"query": "x"}'.encode("utf-16"), "not UTF-8"),
        ('{"query": "x"}'.encode("utf-16-le"), "not JSON"),
        (b'{"query": "\xff"}', "not UTF-8"),
        (b'{"query": NaN}', "not JSON"),
        (b'{"query": "x"}\x00', "not JSON"),
        (b'{"query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (None, "longer than 1048576 bytes"),
    ],
)
def test_what_was_wrong_is_told(model, line: bytes | None, error: str) -> None:
    (out,), bad = enrich.enriched(model, [line], [(["query"], ["dga"])], "edge_demist", None)
    assert bad and json.loads(out)["edge_demist"] == {"error": error}


def test_many_strings_are_read_in_parts_and_too_many_refused(model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrich, "MAX_STRINGS", 8)
    monkeypatch.setattr(enrich, "MAX_BATCH_STRINGS", 10)
    lines = [json.dumps({"query": ["x"] * n}).encode() for n in (8, 5, 9, 1)]
    out, bad = enrich.enriched(model, lines, [(["query"], ["dga"])], "edge_demist", None)
    found = [json.loads(line)["edge_demist"] for line in out]
    assert bad and [len(one.get("dga", ())) for one in found] == [8, 5, 0, 1]
    assert found[2] == {"error": "9 strings to read; at most 8"}


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--field", "query=nosuch", "-"], "unknown task"),
        (["--field", "query", "-"], "give a path"),
        (["--field", "query=dga", "--fpr", "1e-9", "-"], "no threshold"),
        (["--field", "query=dga", "/nonexistent"], "/nonexistent: No such file"),
        (["--field", "query=dga", "/"], "is a directory"),
        (["--field", "query=dga", "-"], "standard input is closed"),
    ],
)
def test_wrong_words_are_told_before_a_line_is_read(words, message, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["enrich", *words]) == 2
    assert message in capsys.readouterr().err


def test_fields() -> None:
    assert enrich._field("a=b.c=dga,dga") == (["a=b", "c"], ["dga"])
