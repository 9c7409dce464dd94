"""Why an alarm: the pieces of the string whose removal lowers the alarm score most.

Occlusion (Zeiler and Fergus 2014, section 4.1) on pieces that mean something in the string: labels of a host name,
parts of a path, arguments; long pieces are cut. At most 16 pieces, so an alarm costs at most 17 model rows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

from edge_demist.normalizers import from_bytes, to_bytes
from edge_demist.sensor.detect.scoring import Answer
from edge_demist.sensor.events import MAX_TEXT_BYTES, ByteRange

MAX_PIECES = 16
MAX_RANGES = 3
MIN_DROP = 0.001
_PIECE = re.compile(rb"[^./?&=;,:@%+\-_ ()'\"<>|\\]+|[./?&=;,:@%+\-_ ()'\"<>|\\]+", re.DOTALL)
_Ask = Callable[[Sequence[tuple[str, str]]], Sequence[Answer]]


def pieces(raw: bytes) -> list[tuple[int, int]]:
    """Byte ranges that cover the string; neighbours are merged until there are at most 16."""
    spans = [match.span() for match in _PIECE.finditer(raw)]
    if len(spans) == 1 and len(raw) > 1:
        count = min(len(raw), 8)
        edges = [len(raw) * i // count for i in range(count + 1)]
        return list(itertools.pairwise(edges))
    while len(spans) > MAX_PIECES:
        smallest = min(range(len(spans) - 1), key=lambda i: (spans[i + 1][1] - spans[i][0], i))
        spans[smallest : smallest + 2] = [(spans[smallest][0], spans[smallest + 1][1])]
    return spans


def explain(alarms: Sequence[tuple[str, str, float]], ask: _Ask) -> list[tuple[ByteRange, ...]]:
    """For each (string, specialist, alarm score) the up to three ranges that carry it, strongest first."""
    plans = []
    pairs: list[tuple[str, str]] = []
    for text, task, _ in alarms:
        raw = to_bytes(text)[:MAX_TEXT_BYTES]
        spans = pieces(raw)
        plans.append(spans)
        pairs.extend((from_bytes(raw[:start] + raw[end:]), task) for start, end in spans)
    answers = iter(ask(pairs) if pairs else ())
    found = []
    for spans, (_, _, score) in zip(plans, alarms, strict=True):
        ranges = [ByteRange(start, end, score - (next(answers).alarm_score or 0.0)) for start, end in spans]
        strong = [r for r in ranges if r.drop >= MIN_DROP]
        found.append(tuple(sorted(strong, key=lambda r: (-r.drop, r.start))[:MAX_RANGES]))
    return found
