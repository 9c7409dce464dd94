"""``classify --input-format jsonl`` with JSON of strangers: what was written comes back unchanged and valid, or the line is an error."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.cli import main
from edge_demist.cli.lines import members, parse_json, said


class Number(str):
    """A JSON number with all its digits."""


UNSEEN = "".join(
    map(chr, [*range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC)])
)


def raw(text):
    """A JSON string with as few escapes as JSON lets."""
    return json.dumps(text, ensure_ascii=False)


def exact(text):
    """JSON with numbers as they were written; NaN and Infinity are no JSON."""

    def never(name):
        raise ValueError(name)

    return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=never)


def classified(capsys, monkeypatch, lines):
    class Stdin:
        buffer = io.BytesIO("\n".join(lines).encode("utf-8", "surrogatepass") + b"\n")

    monkeypatch.setattr("sys.stdin", Stdin)
    code = main(["classify", "--task", "dga", "--input-format", "jsonl", "-"])
    return code, capsys.readouterr().out.splitlines()


CARRIED = [
    "1e999",
    "-1e-999",
    "1.00000000000000000000000000000000001",
    "123456789012345678901234567890123456789",
    "-0",
    "-0.0",
    "1E5",
    '"\\ud800"',
    '"\\u0000\\u007f\\u202e"',
    '"\u202e\x7f\U0001f600"',
    "[" * 900 + "]" * 900,
    '{"a":' * 400 + "1" + "}" * 400,
    " [ 1 ,\t2 ] ",
    "null",
]


@pytest.mark.parametrize("value", CARRIED, ids=range(len(CARRIED)))
def test_values_come_back_as_they_were(capsys, monkeypatch, value):
    code, lines = classified(capsys, monkeypatch, ['{"text":"a.example"}', f'{{"text":"b.example","x":{value}}}', '{"text":"c.example"}'])
    assert code == 0 and len(lines) == 3
    assert all(c.isprintable() or c == "\t" for line in lines for c in line)
    assert exact(lines[1])["x"] == exact(value)
    assert "\u202e" in value or lines[1].startswith(f'{{"text":"b.example","x":{value}, "task": "dga", ')


@pytest.mark.parametrize(
    "line",
    [
        '{"text":"a","x":NaN}',
        '{"text":"a","x":-Infinity}',
        '{"text":"a","x":[NaN]}',
        '{"text":"a",}',
        '{"text":"a"} {}',
        '{"text":"a" "b":1}',
        '{"text" "a"}',
        '{"text":}',
        '{"text":"a","x":01}',
        '{"text":"\t"}',
        '{"text":"a","x":' + "[" * 200_000 + "]" * 200_000 + "}",
        '{"text":"a","x":' + "[" * 200_000,
        '{"text":' + "9" * 5000 + "}",
        "{",
        "[1]",
        "NaN",
        '"text"',
        "[" * 200_000,
    ],
    ids=range(18),
)
def test_a_bad_line_is_one_error(capsys, monkeypatch, line):
    code, lines = classified(capsys, monkeypatch, ['{"text":"a.example"}', line, '{"text":"c.example"}'])
    assert code == 1 and len(lines) == 3
    answers = [exact(answer) for answer in lines]
    assert answers[1]["line"] == "2" and answers[1]["error"]
    assert answers[0]["text"] == "a.example" and answers[2]["text"] == "c.example"


NUMBER = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
VALUE = st.recursive(
    st.sampled_from(["null", "true", "false", "-0", "1e400", "1.0", "9" * 5000]) | NUMBER | st.text().map(json.dumps) | st.text().map(raw),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: "[ " + " ,".join(found) + "]")
        | st.lists(st.tuples(st.text(max_size=3).map(json.dumps), inner), max_size=3).map(
            lambda found: "{" + ",".join(map(" : ".join, found)) + "}"
        )
    ),
    max_leaves=8,
)
NAME = (st.sampled_from(["label", "input_label", "task", "score", "a", ""]) | st.text(max_size=4)).map(json.dumps)


def pairs(text):
    """Members in order, those of equal names as well, numbers as they were written."""
    return json.loads(text, parse_float=Number, parse_int=Number, object_pairs_hook=tuple)


@given(st.lists(st.tuples(NAME, VALUE), max_size=6), st.integers(0, 6), st.sampled_from([", ", ",", " ,\t"]))
def test_any_object_is_carried_through(members, place, comma):
    members.insert(place, ('"text"', '"\\u0061.b"'))
    written = "{" + comma.join(f"{name}: {value}" for name, value in members) + " }"
    line = parse_json(1, f" {written} ".encode("utf-8", "surrogatepass"), "text", cut=False)
    if line.error:
        assert any(0xD800 <= ord(c) <= 0xDFFF for c in written) or '"text"' in [name for name, _ in members[place + 1 :]]
        return
    told = said(line, {"text": line.text, "label": "x", "score": 0.5})
    assert all(c.isprintable() or c == "\t" or unicodedata.category(c) not in ("Cc", "Cs") for c in told)
    assert not set("\u202e\u2028\x9b\x7f") & set(told)
    before, after = pairs(written), pairs(told)
    assert after[len(before) :] == (("label", "x"), ("score", Number("0.5")))
    names = {name for name, _ in before}
    for (name, value), (now, carried) in zip(before, after, strict=False):
        assert carried == value
        assert now == name if name not in ("label", "score") else now.endswith(f"input_{name}") and now not in names
    if not names & {"label", "score"} and not any(c in written for c in UNSEEN):
        assert told.startswith(written[:-1])


def test_keys_that_lines_name_twice(capsys, monkeypatch):
    code, lines = classified(capsys, monkeypatch, ['{"a":1,"text":"kernel.org","a":2,"label":1,"label":-0, "input_label":3}'])
    assert code == 0
    kept = (
        '{"a":1,"text":"kernel.org","a":2,"input_input_label":1,"input_input_label":-0, "input_label":3, "task": "dga", "label": "legit", '
    )
    assert lines[0].startswith(kept)


@given(st.text())
def test_members_takes_what_json_takes(text):
    def plain(text):
        try:
            return json.loads(text, parse_constant=lambda name: 1 / 0)
        except (ValueError, ZeroDivisionError):
            return None

    for candidate in (text, "{" + text + "}", '{"a":' + text + "}", '{"' + text + '":1}'):
        expected = plain(candidate)
        try:
            found = members(candidate)
        except ValueError:
            assert expected is None
            continue
        assert isinstance(expected, dict) == (found is not None)
        if found is not None:
            assert {k: json.loads(v) for k, v in found.items()} == expected
