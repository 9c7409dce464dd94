"""Log times as integer microseconds since 1970 (UTC), from the forms that logs use.

Integers, because a float loses microseconds and the daily alarm budget must repeat to the digit.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta, timezone

_EPOCH, _UTC_EPOCH = datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1)
_DECIMAL = re.compile(r"(-?)(\d{1,20})(?:\.(\d{1,18}))?\Z", re.ASCII)
_EXPONENT = re.compile(r"\d\.\d{1,18}[eE]\+?\d{1,2}\Z", re.ASCII)
_AUDIT = re.compile(r"(?:audit\()?(\d{9,11}\.\d{3}):\d+\)?\Z", re.ASCII)
_MICROSOFT = re.compile(r"/Date\((-?\d{1,15})(?:[+-]\d{4})?\)/\Z", re.ASCII)
_COMPACT = re.compile(r"((?:19|20)\d{6})(\d{6})(?:\.\d{1,6})?(?:Z|[+-]\d{3,4})?\Z", re.ASCII)
_ADDED = re.compile(r"\[[\w/+\-]{1,32}\]\Z| m=[+-][\d.]{1,24}\Z", re.ASCII)
"""What Java and Go write behind a time."""
_MIN_US, _MAX_US = -62_135_596_800_000_000, 253_402_300_799_000_000
"""The years 1 and 9999, beyond which no calendar goes."""
_MAX_CHARS = 48

# Whole numbers of today's size are seconds below 10^11, then milliseconds, microseconds, nanoseconds: each range ends where
# the next unit would mean a day before 1974. Windows' FILETIME (100 ns since 1601) lies between microseconds and nanoseconds.
_MILLISECONDS_FROM, _MICROSECONDS_FROM, _NANOSECONDS_FROM = 10**11, 10**14, 10**17
_FILETIME_FROM, _FILETIME_TO, _FILETIME_EPOCH = 116_444_736 * 10**9, 14 * 10**16, 116_444_736 * 10**9

_MONTHS = {name: i + 1 for i, name in enumerate(re.findall("...", "janfebmaraprmayjunjulaugsepoctnovdec"))}
_CLOCK = r"(?P<clock>\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)(?: ?(?P<half>[AaPp][Mm]))?"
_ZONE = r"(?: ?(?:GMT(?=[+-]))?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)(?: UTC)?)?"
_NAME = r"(?P<name>[A-Za-z]{3})[a-z]*"
_WRITTEN = tuple(
    re.compile(pattern + r"\Z", re.ASCII)
    for pattern in (
        # Mon May  4 16:54:27 2020 UTC (osquery, ctime); Mon May  4 16:54:27 UTC 2020 (date)
        rf"(?:[A-Z][a-z]{{2}},? )?{_NAME} +(?P<day>\d{{1,2}}) {_CLOCK}(?: (?:UTC|GMT))? (?P<year>\d{{4}}){_ZONE}",
        # Mon, 04 May 2020 16:54:27 +0000 (RFC 5322); 04/May/2020:16:54:27 +0000 (web servers)
        rf"(?:[A-Z][a-z]{{2}}, )?(?P<day>\d{{1,2}})[ /-]{_NAME}[ /-](?P<year>\d{{4}})[ :]{_CLOCK}{_ZONE}",
        # May 04 2020 16:54:27 (CEF); May 4, 2020 4:54:27 PM
        rf"{_NAME} +(?P<day>\d{{1,2}}),? (?P<year>\d{{4}}),? {_CLOCK}{_ZONE}",
        # 04.05.2020 16:54:27 (Windows, German)
        rf"(?P<day>\d\d)\.(?P<month>\d\d)\.(?P<year>\d{{4}}),? {_CLOCK}{_ZONE}",
        # 05/04/2020 16:54:27.123456 (Suricata)
        r"(?P<month>\d\d)/(?P<day>\d\d)/(?P<year>\d{4}) (?P<clock>\d\d:\d\d:\d\d\.\d{6})(?P<half>)(?P<zone>)",
        # 5/4/2020 4:54:27 PM (Windows, English)
        rf"(?P<month>\d{{1,2}})/(?P<day>\d{{1,2}})/(?P<year>\d{{4}}),? (?=.*[AaPp][Mm]){_CLOCK}{_ZONE}",
    )
)


def parse_time(value: object) -> int | None:
    """Microseconds since the epoch, or None for anything that is not a time.

    Takes epochs as numbers or strings, in seconds with or without a fraction, milliseconds, microseconds, nanoseconds and
    FILETIME; ISO 8601 (no offset means UTC); the forms of auditd (``1634231920.175:7973``), ``/Date(…)/``, osquery, e-mail,
    web servers and English Windows.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float):
        return _real(value)
    if isinstance(value, list) and 5 <= len(value) <= 7 and all(type(part) is int for part in value):  # as Java's Jackson writes it
        return _calendar(value)
    if isinstance(value, list) and len(value) == 1:  # as Elasticsearch gives the fields of a hit
        return parse_time(value[0]) if not isinstance(value[0], list) else None
    if isinstance(value, dict):
        return _object(value)
    return _parse_text(value) if isinstance(value, str) else None


def _calendar(parts: list[int]) -> int | None:
    """Year, month, day, hour, minute, and perhaps second and nanosecond."""
    try:
        year, month, day, hour, minute, second = (*parts, 0)[:6]
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    us = _us(moment)
    return us if us is None or len(parts) < 7 or not 0 <= parts[6] < 10**9 else us + parts[6] // 1000


def _object(value: dict[str, object]) -> int | None:
    """A time of MongoDB (``{"$date": …}``) or of protocol buffers (``{"seconds": …, "nanos": …}``)."""
    inner = value.get("$date", value.get("$numberLong"))
    if inner is not None:
        return parse_time(inner) if not isinstance(inner, dict) or "$numberLong" in inner else None
    seconds, nanos = value.get("seconds"), value.get("nanos", value.get("nanoseconds", 0))
    us = parse_time(seconds) if isinstance(seconds, (int, str)) else None
    return us + nanos // 1000 if us is not None and isinstance(nanos, int) and 0 <= nanos < 10**9 else us


_SYSLOG_TIME = re.compile(r"(?P<name>[A-Z][a-z]{2}) (?P<day>[ \d]\d) (?P<clock>\d\d:\d\d:\d\d)\Z", re.ASCII)


def syslog_time(text: str, now: datetime | None = None) -> int | None:
    """A time without a year (RFC 3164), in the last year in which it was not more than a day ahead; None for other texts."""
    match = _SYSLOG_TIME.match(text)
    if match is None:
        return None
    now = now or datetime.now(UTC)
    latest = _us(now + timedelta(days=1)) or 0
    for year in range(now.year + 1, now.year - 5, -1):  # the 29th of February stands in one of four
        us = _written({**match.groupdict(), "day": match["day"].strip(), "year": str(year), "half": None, "zone": None})
        if us is not None and us <= latest:
            return us
    return None


def _whole(value: int) -> int | None:
    if value < 0:
        return None
    if value < _MILLISECONDS_FROM:
        us = value * 1_000_000
    elif value < _MICROSECONDS_FROM:
        us = value * 1000
    elif value < _NANOSECONDS_FROM:
        us = value
    elif _FILETIME_FROM <= value < _FILETIME_TO:
        us = (value - _FILETIME_EPOCH) // 10
    else:
        us = value // 1000
    return us if us <= _MAX_US else None


def _real(value: float) -> int | None:
    if not 0.0 <= value < 1e19:
        return None
    if value >= _MICROSECONDS_FROM:
        return _whole(int(value))
    us = round(value * (1000 if value >= _MILLISECONDS_FROM else 1_000_000))
    return us if us <= _MAX_US else None


def _parse_text(text: str) -> int | None:
    if text[4:5] != "-":  # no date of ISO 8601, which most are
        match = _COMPACT.match(text) if len(text) >= 14 else None  # 20240501080000Z (ASN.1), 20240501080000.123456-000 (WMI)
        if match:
            return _parse_text(f"{match[1]}T{match[2]}")
        match = _DECIMAL.match(text)
        if match:
            return _decimal(*match.groups())
    if not 10 <= len(text) <= _MAX_CHARS or not text.isascii():
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _other_text(_ADDED.sub("", _bare(text)).replace(" @ ", " ").replace(" Z", "Z").replace("\\", ""))
    return _us(moment)


def _decimal(sign: str, whole: str, fraction: str | None) -> int | None:
    if sign:
        return None
    if len(whole) > 12:
        us = _whole(int(whole))
        return us if us is None or len(whole) != 13 else us + int(((fraction or "") + "000")[:3])
    us = int(whole) * 1_000_000 + int(((fraction or "") + "000000")[:6])
    return us if us <= _MAX_US else None


def _bare(text: str) -> str:
    """A text without blanks and the brackets of a web server's log around it."""
    text = text.strip(" ")
    return text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text


def _other_text(text: str) -> int | None:
    if match := _AUDIT.match(text):
        return _decimal("", *match[1].split("."))
    if match := _MICROSOFT.match(text):
        milliseconds = int(match[1])
        return milliseconds * 1000 if 0 <= milliseconds * 1000 <= _MAX_US else None
    if _EXPONENT.match(text):
        return _real(float(text))
    for pattern in _WRITTEN:
        if match := pattern.match(text):
            return _written(match.groupdict())
    iso = re.sub(r"^(\d{4})([/:])(\d\d)\2(\d\d)(?:-(?=\d\d:))?", r"\1-\3-\4T", text)  # 2024:05:01-08:00:00 (Sophos UTM)
    iso = iso.replace("T ", "T")
    iso = re.sub(r" ?(?:([+-]\d\d:?\d\d)(?: \w{3,4})?|UTC|GMT)\Z", r"\1", iso)  # 2020-04-09 19:08:36.785 +0000 UTC
    try:
        return _us(datetime.fromisoformat(iso))
    except ValueError:
        return None


def _written(parts: dict[str, str | None]) -> int | None:
    month = _MONTHS.get(str(parts["name"]).lower()) if "name" in parts else int(str(parts["month"]))
    clock, _, fraction = str(parts["clock"]).replace(",", ".").partition(".")
    hour, minute, second = (int(piece) for piece in (clock + ":0").split(":")[:3])
    half = (parts["half"] or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    try:
        moment = datetime(int(str(parts["year"])), month or 0, int(str(parts["day"])), hour, minute, second, tzinfo=_zone(parts["zone"]))
        return _us(moment + timedelta(microseconds=int((fraction + "000000")[:6])))
    except (ValueError, OverflowError):
        return None


def _zone(text: str | None) -> timezone:
    if not text or text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _us(moment: datetime) -> int | None:
    try:
        us = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)
    except OverflowError:
        return None
    return us if 0 <= us <= _MAX_US else None


@functools.lru_cache(maxsize=256)
def format_time(us: int) -> str:
    """RFC 3339 in UTC with six decimals; of times beyond the calendar its first or last one."""
    seconds, micros = divmod(max(_MIN_US, min(us, _MAX_US + 999_999)), 1_000_000)
    return f"{(_UTC_EPOCH + timedelta(seconds=seconds)).isoformat()}.{micros:06d}Z"
