"""What can be said of a record that gives no string: whether its log is known to have such, and what it has instead."""

from __future__ import annotations

from edge_demist.sensor.sources.json_logs import JsonRecord
from edge_demist.sensor.sources.parser import ZEEK_LOGS, Record

MAX_NAMES = 12


def is_known_log(log: str, reason: str) -> bool:
    """Whether a log is known, and known to hold no strings at times: Zeek's conn.log, Suricata's flows, requests that are none."""
    if log.startswith("eve.") or log == "access":
        return True
    return log.startswith("zeek.") and log != "zeek.unknown" and (reason == "no-string" or log.removeprefix("zeek.") in ZEEK_LOGS)


def seen_in(record: Record) -> str:
    """The names of the fields of an object, or the log's name."""
    if isinstance(record, JsonRecord):
        names = sorted(map(str, record.data))
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        return "the fields " + ", ".join(name[:40] for name in names[:MAX_NAMES]) + more if names else "no fields"
    return f"the log name {record.log[:60]}"
