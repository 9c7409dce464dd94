"""Why a verdict: the words of the string without which its score falls most, in logits and in a sentence.

Occlusion (Zeiler and Fergus 2014, section 4.1) on words: labels of a host name, parts of a path, values, arguments. Logits
(ln p/(1 - p)), since near 1 a probability hardly moves. At most 16 pieces, so an explanation costs at most 17 model rows
(with a screen nine).
"""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence

from edge_demist import decoding
from edge_demist.normalizers import from_bytes, to_bytes
from edge_demist.sensor.events import MAX_TEXT_BYTES, ByteRange, printable

MAX_PIECES = 16
MAX_RANGES = 3
MAX_ASKED_BYTES = 1 << 18
"""Bytes that the explanations of one batch may have read: an alarm's string counts once for each of its pieces."""
MIN_LOGITS = 1.0
"""A word stands out if the odds without it are smaller by e."""
MIN_WORD, MIN_PART = 3, 24
MAX_SHOWN = 40
MAX_READ = 4096
NOTHING = "no single word stands out: the score lies in the string as a whole"
_BETWEEN = b"./?&=;,:@+ \t()'\"<>|\\{}[]$!*#^`~-"
_WORD = re.compile(rb"\d{1,3}(?:\.\d{1,3}){3}|[^\s%s]{%d,}" % (re.escape(_BETWEEN), MIN_WORD))
_LEAST = 1e-7
_Ask = Callable[[Sequence[tuple[str, str]]], Sequence[float]]
_Piece = tuple[int, int, str, str]


def logit(score: float) -> float:
    """Ln p/(1 - p), held within ±16.1 (p within 10^-7 of its ends)."""
    score = min(max(score, _LEAST), 1.0 - _LEAST)
    return math.log(score / (1.0 - score))


def pieces(raw: bytes) -> list[tuple[int, int]]:
    """Byte ranges that cover the string, each a word with what stands between it and the next.

    Words have at least three letters; what is shorter belongs to the word before it, and a long string without words is cut into
    parts of equal length. Where there are more than 16 pieces, neighbours make 16 of about equal length. Time grows with the
    string alone: what an alarm says was written by whoever set it off.
    """
    begins = [match.start() for match in _WORD.finditer(raw)]
    edges = [0, *begins[1:], len(raw)] if raw else [0]
    if len(edges) == 2 and begins and begins[0] > 0 and reading(from_bytes(raw[begins[0] :])):
        edges = [0, begins[0], len(raw)]
    elif len(edges) == 2 and len(raw) >= 2 * MIN_PART:
        count = min(len(raw) // MIN_PART, MAX_PIECES)
        edges = [len(raw) * i // count for i in range(count + 1)]
    elif len(edges) > MAX_PIECES + 1:
        wanted = [len(raw) * i // MAX_PIECES for i in range(1, MAX_PIECES)]
        edges = sorted({0, len(raw)} | {edges[bisect_left(edges, place)] for place in wanted})
    return list(itertools.pairwise(edges))


def fitting(texts: Sequence[str]) -> list[bool]:
    """Which strings :func:`explain` asks about when it is given all of them: as long as ``MAX_ASKED_BYTES`` lasts."""
    found, left = [], MAX_ASKED_BYTES
    for text in texts:
        raw = to_bytes(text[:MAX_TEXT_BYTES])[:MAX_TEXT_BYTES]
        left -= len(raw) * len(pieces(raw))
        found.append(left >= 0)
    return found


def explain(asked: Sequence[tuple[str, str, float]], ask: _Ask, first: _Ask | None = None) -> list[tuple[ByteRange, ...]]:
    """For each (string, specialist, score) the up to three words that carry it, strongest first; none where none stands out.

    Strings are asked about as long as ``MAX_ASKED_BYTES`` lasts; those behind it, and very long ones, get no explanation.

    Args:
        asked: strings with their specialists and scores.
        ask: gives the scores of (string, specialist) pairs, in order.
        first: gives first scores of the screen, +inf where there is none; with them only the half of the pieces is asked about
            whose removal costs most there.
    """
    plans: list[list[_Piece]] = []
    left = MAX_ASKED_BYTES
    for text, task, _ in asked:
        raw = to_bytes(text[:MAX_TEXT_BYTES])[:MAX_TEXT_BYTES]
        spans = pieces(raw)
        left -= len(raw) * len(spans)
        useful = left >= 0 and len(spans) > 1
        plans.append([(start, end, from_bytes(raw[:start] + raw[end:]), task) for start, end in spans] if useful else [])
    if first is not None:
        plans = _likely(plans, first)
    pairs = [(shorter, task) for plan in plans for _, _, shorter, task in plan]
    answers = iter(ask(pairs) if pairs else ())
    found = []
    for plan, (text, _, score) in zip(plans, asked, strict=True):
        raw = to_bytes(text[:MAX_TEXT_BYTES])[:MAX_TEXT_BYTES]
        ranges = [_range(raw, start, end, score, next(answers)) for start, end, _, _ in plan]
        strong = [r for r in ranges if r.logits >= MIN_LOGITS]
        found.append(tuple(sorted(strong, key=lambda r: (-r.logits, r.start))[:MAX_RANGES]))
    return found


def _likely(plans: list[list[_Piece]], first: _Ask) -> list[list[_Piece]]:
    """Of each string the half of the pieces without which the first score is lowest; all where there is no first score."""
    many = [plan if len(plan) > MAX_RANGES else [] for plan in plans]  # of few all are asked about
    scores = iter(first([(shorter, task) for plan in many for _, _, shorter, task in plan]))
    chosen = []
    for plan, own in zip(plans, [[next(scores) for _ in plan] for plan in many], strict=True):
        best = sorted(range(len(own)), key=own.__getitem__)[: max(MAX_RANGES, len(plan) // 2)]
        chosen.append([plan[n] for n in sorted(best)] if own and math.inf not in own else plan)
    return chosen


def _range(raw: bytes, start: int, end: int, score: float, without: float) -> ByteRange:
    begin, word = _word(raw, start, end)
    shown = printable(from_bytes(word))
    return ByteRange(begin, begin + len(word), score - without, logit(score) - logit(without), shown)


def _word(raw: bytes, start: int, end: int) -> tuple[int, bytes]:
    """The word of a piece, without what stands around it; where there is nothing else, all of it."""
    rest = raw[start:end].lstrip(_BETWEEN)
    word = rest.rstrip(_BETWEEN)
    return (end - len(rest), word) if word else (start, raw[start:end])


def reading(word: str) -> str:
    """What a word says in which a payload is encoded (percent, base64, hexadecimal); empty for what stands as it is read."""
    plain = decoding.hex_words(decoding.base64_words(decoding.percent(word))) if len(word) <= MAX_READ else word
    return "" if plain == word else printable(plain)


def shown_word(word: str) -> str:
    """A word in quotation marks, with what it says where it is encoded."""
    plain = reading(word)
    return f'"{_short(word)}"' + (f' (read as "{_short(plain)}")' if plain else "")


def sentence(ranges: Sequence[ByteRange], score: float) -> str:
    """The explanation for people: ``without "…" the score falls from 0.9997 to 0.41 (8.5 logits)``."""
    if not ranges:
        return NOTHING
    first, *others = ranges
    text = f"without {shown_word(first.word)} the score falls from {score:.6g} to {score - first.drop:.6g} ({first.logits:.1f} logits)"
    return text + "".join(f", without {shown_word(r.word)} to {score - r.drop:.6g} ({r.logits:.1f})" for r in others)


def _short(word: str) -> str:
    return word if len(word) <= MAX_SHOWN else f"{word[: MAX_SHOWN - 3]}..."
