"""One field of a Zeek log, line by line: what ``zeek-cut FIELD`` gives, for TSV and JSON logs, without Zeek installed."""

from __future__ import annotations

from edge_demist.cli.lines import Line, parse_json
from edge_demist.sensor.sources.zeek import ZeekParser

REASONS = {
    "no-header": "no #fields header before this line; is it a Zeek log?",
    "corrupt": "the line holds a NUL byte",
    "field-count": "the number of columns differs from #fields",
}


class ZeekLines:
    """Parses lines; header lines give None, every record gives a ``Line``."""

    def __init__(self, field: str) -> None:
        self._field, self._parser = field, ZeekParser()

    def __call__(self, number: int, raw: bytes, cut: bool) -> Line | None:
        """Parse one line."""
        if raw.startswith(b"{"):
            return parse_json(number, raw, self._field, cut=cut)
        if self._parser.is_meta(raw):
            self._parser.feed_meta(raw)
            return None
        record = self._parser.parse(raw, "zeek")
        if isinstance(record, str):
            return Line(number, "", {}, REASONS.get(record, record))
        if not record.has(self._field):
            return Line(number, "", {}, f"the log has no field {self._field!r}")
        values = record.values(self._field)
        uid = record.scalar("uid")
        carried = {"uid": uid} if uid is not None else {}
        if not values:
            return Line(number, "", carried, f"field {self._field!r} is unset or empty")
        return Line(number, ",".join(values), carried, cut=cut)
