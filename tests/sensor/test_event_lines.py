"""Lines of events put together from parts are the lines of the whole objects, byte for byte."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.sensor.events import Event, Origin, to_json
from edge_demist.sensor.sinks.formats import encode, lines
from edge_demist.text.windows import Window

WORDS = st.one_of(st.sampled_from(["dga", 'a"b\\c\x00\x1f', "b\u00fccher", "\ud800", "x" * 9000, ""]), st.text(max_size=8))
SCORES = st.one_of(st.none(), st.floats(0, 2), st.sampled_from([0.0, 1.0, 1e-7, 0.1234565]))
ORIGINS = st.builds(
    Origin,
    st.one_of(st.none(), st.integers(0, 10**15)),
    WORDS,
    st.integers(0, 10**12),
    st.sampled_from(["zeek.dns", "x\u00fc", '"']),
    st.dictionaries(st.sampled_from(["uid", "flow_id"]), st.one_of(st.integers(), st.text(max_size=4))),
    st.dictionaries(st.sampled_from(["src_ip", "dest_port"]), st.one_of(st.integers(0, 9), st.text(max_size=4))),
    arrived=st.booleans(),
)
EVENTS = st.builds(
    Event,
    st.shared(ORIGINS, key="same") | ORIGINS,
    st.sampled_from(["0" * 32, "ab" * 16]),
    WORDS,
    WORDS,
    st.sampled_from(["dga", "uri-attack"]),
    st.sampled_from(["m" * 64, "n"]),
    label=st.one_of(st.none(), WORDS),
    score=SCORES,
    alarm_score=SCORES,
    threshold=SCORES,
    alarm=st.sampled_from([False, False, True]),
    suppressed=st.sampled_from(["", "", "repeat: once"]),
    error=st.sampled_from(["", "", "why"]),
    truncated=st.sampled_from([False, False, True]),
    screened=st.sampled_from([False, False, True]),
    window=st.sampled_from([None, None, Window(0, 3, "abc")]),
    seen=st.sampled_from([{}, {}, {"clients": 3}]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=5))
def test_a_line_is_the_whole_object(events: list[Event]) -> None:
    assert lines(events, "jsonl") == [(event.event_id, encode(to_json(event)).encode() + b"\n") for event in events]
