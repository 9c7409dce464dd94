"""Log times: Zeek epochs, ISO 8601 and Suricata's offsets, as integer microseconds since 1970 (UTC).

Integers, because a float loses microseconds and the daily alarm budget must repeat to the digit.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DECIMAL = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,18}))?\Z", re.ASCII)
_MILLISECONDS_FROM = 10**11
_MAX_US = 253_402_300_799_000_000


def parse_time(value: object) -> int | None:
    """Microseconds since the epoch, or None for anything that is not a time.

    Takes what Zeek writes (``LogAscii::json_timestamps``: epoch seconds, epoch milliseconds, ISO 8601) and what
    Suricata writes (ISO 8601 with an offset such as ``-0600``; none means UTC).
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        us = value * 1000 if abs(value) >= _MILLISECONDS_FROM else value * 1_000_000
        return us if 0 <= us <= _MAX_US else None
    if isinstance(value, float):
        return round(value * 1_000_000) if 0 <= value * 1_000_000 <= _MAX_US else None
    return _parse_text(value) if isinstance(value, str) else None


def _parse_text(text: str) -> int | None:
    match = _DECIMAL.match(text)
    if match:
        sign, whole, fraction = match.groups()
        us = int(whole) * 1_000_000 + int(((fraction or "") + "000000")[:6])
        return us if not sign and us <= _MAX_US else None
    if not 10 <= len(text) <= 40 or not text.isascii():
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        us = (moment - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None
    return us if 0 <= us <= _MAX_US else None


@functools.lru_cache(maxsize=256)
def format_time(us: int) -> str:
    """RFC 3339 in UTC with six decimals."""
    seconds, micros = divmod(us, 1_000_000)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"
