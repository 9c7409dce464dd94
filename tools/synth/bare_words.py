"""Ordinary strings with a word of attacks in them: bare (``passwd``), in paths, in searches, in plain language.

A word alone runs nothing: it takes a separator, a quote or a path before it. Words are those of ``bare_words.txt`` and names of programs;
a third of them, by hash, is of the part ``measure`` and trains nothing.
"""

from __future__ import annotations

import functools
import random
import re
import zlib
from collections.abc import Sequence

from tools.synth.templates import fill, groups, lines
from tools.synth.words import word

Row = tuple[str, str, str]
FILE, LISTED, BARE = "bare_words.txt", "listed", "bare"
KEPT = 0.3
"""Share of the words that are kept to measure."""
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@functools.cache
def words_of(part: str) -> tuple[str, ...]:
    """Words of a part, ``train`` or ``measure``; those listed come as often as names of programs, of which there are more."""
    kept = [line for line in lines("commands.txt") if _PLAIN.fullmatch(line)]
    listed = groups(FILE)[LISTED][0]
    both = [*kept, *(listed * max(1, len(kept) // len(listed)))]
    return tuple(one for one in both if (zlib.crc32(f"bare {one}".encode()) / 2**32 < KEPT) == (part == "measure"))


def generate(rng: random.Random, count: int, part: str = "") -> list[Row]:
    """Draw ``count`` rows ``(text, "normal", group)``, equally many of each group; of both parts where none is named."""
    names = words_of(part) if part else words_of("train") + words_of("measure")
    found = [(group, drawn) for group, drawn in groups(FILE).items() if group != LISTED]
    return [_row(rng, names, *found[i % len(found)]) for i in range(count)]


def searches(rng: random.Random, count: int) -> list[Row]:
    """Like :func:`generate` of the part ``train``, but only words of the list stand alone: tables call names of programs attacks."""
    listed = [word for word in words_of("train") if word in set(groups(FILE)[LISTED][0])]
    names = words_of("train")
    found = [(group, drawn) for group, drawn in groups(FILE).items() if group != LISTED]
    return [_row(rng, listed if found[i % len(found)][0] == BARE else names, *found[i % len(found)]) for i in range(count)]


def _row(rng: random.Random, names: Sequence[str], group: str, drawn: tuple[Sequence[str], Sequence[float]]) -> Row:
    slots = {
        "v": lambda rng: rng.choice(names), "V": lambda rng: rng.choice(names).title(), "U": lambda rng: rng.choice(names).upper(),
        "w": word, "W": lambda rng: word(rng).title(),
    }  # fmt: skip
    return (fill(rng, rng.choices(*drawn)[0], slots), "normal", group)
