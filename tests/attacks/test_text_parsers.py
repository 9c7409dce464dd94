"""Lines of text for the parsers: what has no end is given up, and time follows the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.cli.tables import CsvReader
from edge_demist.errors import InputError
from edge_demist.sensor.sources.json_logs import JsonRecord
from edge_demist.sensor.sources.parser import LineParser
from edge_demist.sensor.sources.tables import MAX_ROW_BYTES, MAX_TRIES, TableParser
from tests.sensor.test_appliances import NAME, PAGES, QUESTIONS, REQUESTS
from tools.fuzz.logs import NASTY

OPENS_AGAIN = b'",d"e,"y'
"""Ends the value in quotes that is open, and opens another one, while the quotes seem to be even."""


@pytest.mark.parametrize("line", [OPENS_AGAIN, OPENS_AGAIN * 20, b'""",d"e,"y'])
def test_a_row_that_never_ends_is_given_up(line):
    table = TableParser()
    assert table.feed_names(b"query,client,host")
    held = []
    told = [table.parse(b'a,b"c,"x')]
    for _ in range(2000):
        told.append(table.parse(line))
        held.append(table.held_bytes)
    assert {type(row) for row in told} <= {dict, list, str, type(None)} and any(told)
    assert max(held) < max(MAX_ROW_BYTES + 1000, MAX_TRIES * len(line))
    if line == OPENS_AGAIN:
        assert max(held) < 2000  # not as many tries as there are lines


def test_a_quote_that_ends_nowhere_costs_no_row():
    parser = LineParser("x.csv")
    assert parser.parse(b"timestamp,host,CommandLine") is None
    lines = [f"2026-01-01T00:00:00Z,10.0.0.1,cmd{n} /c x" for n in range(2 * MAX_ROW_BYTES // 40)]
    found = [parser.parse(line.encode()) for line in ['2026-01-01T00:00:00Z,10.0.0.9,"evil', *lines]]
    records = [record for record in found if isinstance(record, JsonRecord)]
    told = [text for record in records for one in (record.parts or (record,)) for text in one.values("CommandLine")]
    assert sorted(told) == sorted(["evil", *(line.rpartition(",")[2] for line in lines)])


LINES = [line.encode() for table in (QUESTIONS, PAGES, REQUESTS) for line in table.values()]


@given(
    st.sampled_from(LINES), st.lists(st.tuples(st.integers(0, 600), st.sampled_from((*NASTY, b"\r", b'"', b",", b"\n", b""))), max_size=3)
)
def test_nothing_that_stands_in_a_line_makes_a_parser_raise(line, additions):
    for place, addition in additions:
        line = line[:place] + addition + (line[place:] if addition else b"")
    record = LineParser("x.log").parse(line)
    for part in getattr(record, "parts", ()) or (record,):
        assert part is None or isinstance(part, str) or part.values("dns.question.name") is not None


def test_a_carriage_return_hides_no_row():
    line = QUESTIONS["PAN-OS"].replace("THREAT,spyware,1", "THREAT,spyware,1\r2").encode()
    record = LineParser("x.log").parse(line)
    assert isinstance(record, JsonRecord) and record.values("query") == [NAME]


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_value_that_is_longer_than_pythons_limit_is_read(quote):
    table = TableParser()
    assert table.feed_names(b"timestamp,host,CommandLine")
    row = table.parse(b"2026-01-01T00:00:00Z,10.0.0.1," + quote + b"a" * 200_000 + quote)
    assert isinstance(row, dict) and row["CommandLine"] == "a" * 200_000


@given(st.lists(st.text('a,";\r\n\t|\0', max_size=12), min_size=1, max_size=8))
def test_no_table_of_the_command_line_makes_its_reader_raise(lines):
    reader = CsvReader(None)
    try:
        for number, line in enumerate(["text,b,b", *lines]):
            row = reader(number, line.encode(), False)
            assert row is None or row.error or set(row.carried) <= {"b", "b_2"}
    except InputError as error:
        assert "no column" in str(error)


def test_very_many_columns_of_one_name_have_names_of_their_own():
    """Each was looked for from the second on, in every row: a minute for 30,000."""
    reader, count = CsvReader(None), 20_000
    assert reader(1, b"text" + b",a" * count + b",a_3", False) is None
    for number in range(3):
        row = reader(number, b"x" + b",1" * (count + 1), False)
        assert row is not None and len(row.carried) == count + 1
