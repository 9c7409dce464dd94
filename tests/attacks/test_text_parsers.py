"""Lines of text for the parsers: what has no end is given up, and time follows the bytes."""

from __future__ import annotations

import pytest

from edge_demist.sensor.sources.tables import MAX_ROW_BYTES, MAX_TRIES, TableParser

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
    assert "field-count" in told or {type(row) for row in told} == {dict, type(None)}
    assert max(held) < max(MAX_ROW_BYTES + 1000, MAX_TRIES * len(line))
    if line == OPENS_AGAIN:
        assert max(held) < 2000  # not as many tries as there are lines
