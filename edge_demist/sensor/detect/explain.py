"""Why an alarm: the pieces of the string whose removal lowers the alarm score most.

Occlusion (Zeiler and Fergus 2014, section 4.1) on pieces that mean something in the string: labels of a host name,
parts of a path, arguments; long pieces are cut. At most 16 pieces, so an alarm costs at most 17 model rows.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence

from edge_demist.normalizers import from_bytes, to_bytes
from edge_demist.sensor.detect.scoring import Answer
from edge_demist.sensor.events import MAX_TEXT_BYTES, ByteRange

MAX_PIECES = 16
MAX_RANGES = 3
MAX_ASKED_BYTES = 1 << 18
"""Bytes that the explanations of one batch may have read: an alarm's string counts once for each of its pieces."""
MIN_DROP = 0.001
_PIECE = re.compile(rb"[^./?&=;,:@%+\-_ ()'\"<>|\\]+|[./?&=;,:@%+\-_ ()'\"<>|\\]+", re.DOTALL)
_Ask = Callable[[Sequence[tuple[str, str]]], Sequence[Answer]]


def pieces(raw: bytes) -> list[tuple[int, int]]:
    """Byte ranges that cover the string; where there are more than 16, neighbours make 16 of about equal length.

    Time grows with the string alone: what an alarm says was written by whoever set it off.
    """
    edges = [0, *(match.end() for match in _PIECE.finditer(raw))]
    if len(edges) == 2 and len(raw) > 1:
        count = min(len(raw), 8)
        edges = [len(raw) * i // count for i in range(count + 1)]
    elif len(edges) > MAX_PIECES + 1:
        wanted = [len(raw) * i // MAX_PIECES for i in range(1, MAX_PIECES)]
        chosen = {edges[bisect_left(edges, place)] for place in wanted}
        edges = sorted({0, len(raw)} | chosen)
    return list(itertools.pairwise(edges))


def explain(alarms: Sequence[tuple[str, str, float]], ask: _Ask) -> list[tuple[ByteRange, ...]]:
    """For each (string, specialist, alarm score) the up to three ranges that carry it, strongest first.

    Strings are asked about as long as ``MAX_ASKED_BYTES`` lasts; those behind it, and very long ones, get no explanation.
    """
    plans = []
    pairs: list[tuple[str, str]] = []
    left = MAX_ASKED_BYTES
    for text, task, _ in alarms:
        raw = to_bytes(text[:MAX_TEXT_BYTES])[:MAX_TEXT_BYTES]
        spans = pieces(raw)
        left -= len(raw) * len(spans)
        if left < 0:
            spans = []
        plans.append(spans)
        pairs.extend((from_bytes(raw[:start] + raw[end:]), task) for start, end in spans)
    answers = iter(ask(pairs) if pairs else ())
    found = []
    for spans, (_, _, score) in zip(plans, alarms, strict=True):
        ranges = [ByteRange(start, end, score - (next(answers).alarm_score or 0.0)) for start, end in spans]
        strong = [r for r in ranges if r.drop >= MIN_DROP]
        found.append(tuple(sorted(strong, key=lambda r: (-r.drop, r.start))[:MAX_RANGES]))
    return found
