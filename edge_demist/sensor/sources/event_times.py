"""Where records of JSON logs hold their time: fields that are known, and others whose names can mean nothing else."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping

from edge_demist.sensor.sources.timestamps import parse_time

# The first that holds a time counts.
_TIME_FIELDS = tuple(
    re.findall(
        r"\S+",
        """
        ts timestamp @timestamp UtcTime EventTime time unixTime TimeCreated SystemTime ID _time eventTime event_time eventtime
        EventTimestamp event_timestamp TimeGenerated Timestamp TimeStamp Time device_timestamp ContextTimeStamp UTCTimestamp
        ProcessStartTime create_time createdDateTime creationTime created_at createdAt
        started_at startedAt updatedAt start_time startTime datetime date @t
        calendarTime __REALTIME_TIMESTAMP EventReceivedTime receiveTimestamp backend_timestamp T StartUTC published event_at
        event_start firstPacket FIRST_SWITCHED clickTime flow_first_seen eventFirstSeen
        """,
    )
)
_NESTED_TIMES = tuple(
    re.findall(
        r"\S+",
        """
        EventData.UtcTime Event.EventData.UtcTime Event.System.TimeCreated_attributes.SystemTime Event.System.TimeCreated
        System.TimeCreated
        winlog.event_data.UtcTime winlog.time_created data.win.eventdata.utcTime data.win.system.systemTime info.utc_time
        output_fields.evt.time output_fields.evt.rawtime metadata.eventCreationTime properties.Timestamp TimeCreated.DateTime
        TimeCreated.value TimeCreated.#attributes.SystemTime TimeCreated.@SystemTime columns.time event.start event.created
        event.ingested process.start
        httpMessage.start message.query_time message.response_time dnstap.timestamp-rfc3339ns flows.flowStartMilliseconds
        service.eventFirstSeen
        win.eventdata.utcTime win.system.systemTime
        accept.server_time.seconds accept.submit_time.seconds exec.server_time.seconds
        """,
    )
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TIME_WORDS = frozenset(("ts", "time", "timestamp", "date", "datetime", "epoch", "msec", "when"))
# What may stand beside such a word in the name of the moment of an event. "expiry", "valid", "boot" and the like may not.
_BESIDE = frozenset(
    re.findall(
        r"\w+",
        """
        event evt log record raw message query request response packet flow session transaction process exec start started begin end
        received receive generated generation observed occurred detected detection reported report created creation create published
        ingest ingested ingestion collected first server client edge local device sensor utc gmt iso iso8601 8601 3339 rfc rfc3339 unix
        ns us ms s sec seconds nanos string str stamp of the at output source original rt cef
        and nano system initiated frame click clicked req
        """,
    )
)
_EARLIEST_US, _LATEST_US = 946_684_800_000_000, 4_102_444_800_000_000
"""2000 and 2100: a number beyond is no time of a log."""
MAX_OTHERS, MAX_NESTED = 64, 8
Lookup = Callable[[Mapping[str, object], str], Iterable[object]]


def time_in(data: Mapping[str, object], lookup: Lookup) -> int | None:
    """Microseconds since the epoch: the first of the usual fields that holds a time."""
    if "date" in data and "time" in data and (us := parse_time(f"{data['date']}T{data['time']}"[:48])) is not None:
        return us
    for name in _TIME_FIELDS:
        if name in data and (us := parse_time(data[name])):  # zero is what some write where they have none
            return us
    for path in _NESTED_TIMES:
        for value in lookup(data, path):
            if us := parse_time(value):
                return us
    return None


def other_time_in(data: Mapping[str, object], depth: int = 2) -> int | None:
    """The first time in a field whose name can mean nothing else, at the top or up to ``depth`` levels below."""
    inner = []
    for name, value in itertools.islice(data.items(), MAX_OTHERS):
        if isinstance(value, dict) and depth:
            inner.append(value)
        if means_a_time(name[:64]) and (us := parse_time(value)) is not None and _EARLIEST_US <= us < _LATEST_US:
            return us
    return next((us for one in inner[:MAX_NESTED] if (us := other_time_in(one, depth - 1)) is not None), None)


@functools.lru_cache(maxsize=4096)
def means_a_time(name: str) -> bool:
    """Whether a field's name is made of words for the time of an event and nothing else: ``EdgeStartTimestamp``, ``evt.outputtime``."""
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(words) and all(map(_fits, words)) and any(map(_is_time, words))


def _is_time(word: str) -> bool:
    return word in _TIME_WORDS or (word.endswith(("time", "timestamp")) and word.removesuffix("stamp").removesuffix("time") in _BESIDE)


def _fits(word: str) -> bool:
    return word in _BESIDE or _is_time(word)
