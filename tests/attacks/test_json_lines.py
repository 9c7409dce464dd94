"""``classify --input-format jsonl`` with JSON of strangers: what was written comes back unchanged and valid, or the line is an error."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.cli import main
from edge_demist.cli.lines import dump, members, merged, parse_json


class Number(str):
    """A JSON number with all its digits."""


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
    assert all(c.isascii() and c.isprintable() for line in lines for c in line)
    assert exact(lines[1])["x"] == exact(value)


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_any_object_is_carried_through(value, ascii_only, indent):
    written = json.dumps({**value, "text": "a"}, ensure_ascii=ascii_only, indent=indent).replace("\n", " ")
    line = parse_json(1, written.encode("utf-8", "surrogatepass"), "text", cut=False)
    if line.error:
        assert any(0xD800 <= ord(c) <= 0xDFFF for c in written)  # no UTF-8
        return
    said = dump(merged(line.carried, {"label": "x"}))
    assert said.isascii() and said.isprintable()
    expected = {("input_label" if k == "label" else k): v for k, v in value.items() if k != "text"}
    if not {"label", "input_label"} <= set(value):
        assert json.loads(said) == {**expected, "label": "x"}


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
