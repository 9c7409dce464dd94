"""Why an alarm: the pieces of the string whose removal lowers the alarm score most.

Occlusion (Zeiler and Fergus 2014, section 4.1) on pieces that mean something in the string: labels of a host name,
parts of a path, arguments; long pieces are cut. At most 16 pieces, so an alarm costs at most 17 model rows (with a screen four).
"""

from __future__ import annotations

import itertools
import math
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
_First = Callable[[Sequence[tuple[str, str]]], Sequence[float]]
_Piece = tuple[int, int, str, str]


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


def explain(alarms: Sequence[tuple[str, str, float]], ask: _Ask, first: _First | None = None) -> list[tuple[ByteRange, ...]]:
    """For each (string, specialist, alarm score) the up to three ranges that carry it, strongest first.

    Strings are asked about as long as ``MAX_ASKED_BYTES`` lasts; those behind it, and very long ones, get no explanation.

    Args:
        alarms: what to explain.
        ask: gives alarm scores.
        first: gives first scores of the screen, +inf where there is none; with them only the pieces are asked about whose removal costs
            most there.
    """
    plans = []
    left = MAX_ASKED_BYTES
    for text, task, _ in alarms:
        raw = to_bytes(text[:MAX_TEXT_BYTES])[:MAX_TEXT_BYTES]
        spans = pieces(raw)
        left -= len(raw) * len(spans)
        plans.append([] if left < 0 else [(start, end, from_bytes(raw[:start] + raw[end:]), task) for start, end in spans])
    if first is not None:
        plans = _likely(plans, first)
    pairs = [(shorter, task) for plan in plans for _, _, shorter, task in plan]
    answers = iter(ask(pairs) if pairs else ())
    found = []
    for plan, (_, _, score) in zip(plans, alarms, strict=True):
        ranges = [ByteRange(start, end, score - (next(answers).alarm_score or 0.0)) for start, end, _, _ in plan]
        strong = [r for r in ranges if r.drop >= MIN_DROP]
        found.append(tuple(sorted(strong, key=lambda r: (-r.drop, r.start))[:MAX_RANGES]))
    return found


def _likely(plans: list[list[_Piece]], first: _First) -> list[list[_Piece]]:
    """Of each string the pieces without which the first score is lowest; all of them where there is no first score."""
    scores = iter(first([(shorter, task) for plan in plans for _, _, shorter, task in plan]))
    chosen = []
    for plan in plans:
        own = [next(scores) for _ in plan]
        best = sorted(range(len(plan)), key=own.__getitem__)[:MAX_RANGES]
        chosen.append(plan if math.inf in own else [plan[n] for n in sorted(best)])
    return chosen
