"""Small self-made word list, random text and invented names shared by the generators."""

from __future__ import annotations

import functools
import random
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

COMMON_TLDS = ("com", "net", "org", "info", "biz", "de", "co.uk", "io", "fr", "it", "nl", "com.br", "pl", "eu", "us", "ru")
EXAMPLE_DOMAINS = ("example.com", "example.net", "example.org")

_LETTER_RUNS = re.compile(r"[a-z]{4,10}")


@functools.cache
def word_groups() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the self-made (verbs, adjectives, nouns)."""
    text = (Path(__file__).parent / "wordlists" / "words.txt").read_text(encoding="utf-8")
    body = text.split("\n", 1)[1]
    verbs, adjectives, nouns = (tuple(group.split()) for group in body.strip().split("\n\n"))
    return verbs, adjectives, nouns


def word(rng: random.Random) -> str:
    """Draw one word of any group."""
    return rng.choice(rng.choice(word_groups()))


def sentence(rng: random.Random, low: int = 4, high: int = 14) -> str:
    """Make a word salad of ``low`` to ``high`` words that reads like a plain sentence."""
    return " ".join(word(rng) for _ in range(rng.randint(low, high)))


def syllables(rng: random.Random, count: int) -> str:
    """Make a pronounceable made-up word of ``count`` syllables."""
    heads, vowels, tails = "bcdfghjklmnprstvwz", "aeiou", ("", "", "", "n", "r", "l", "s")
    return "".join(rng.choice(heads) + rng.choice(vowels) + rng.choice(tails) for _ in range(count))


def brand(rng: random.Random) -> str:
    """Invent the second-level label of a company or product."""
    shape = rng.random()
    if shape < 0.4:
        return syllables(rng, rng.randint(2, 4))
    if shape < 0.8:
        return word(rng) + rng.choice(word_groups()[2])
    return word(rng) + "-" + word(rng)


def domain(rng: random.Random) -> str:
    """Return an example domain or an invented one, the latter under a common suffix."""
    if rng.random() < 0.15:
        return rng.choice(EXAMPLE_DOMAINS)
    return f"{brand(rng)}.{rng.choice(COMMON_TLDS)}"


def person(rng: random.Random) -> str:
    """Invent a first name as it occurs in user names and home folders."""
    return rng.choice(
        ("anna", "ben", "carla", "david", "eva", "felix", "grace", "hugo", "ines", "jonas", "kim", "lena", "mark", "nina")
        + ("oscar", "paula", "quinn", "rosa", "sam", "tara", "umar", "vera", "will", "xena", "yusuf", "zoe")
    )


def derive_words(names: Iterable[str], *, min_count: int = 2, limit: int = 5000) -> list[str]:
    """Derive words from names at run time: letter runs of 4 to 10 characters seen at least ``min_count`` times.

    The most frequent ``limit`` runs come back, most frequent first, so the result depends on the names only.
    """
    counts: Counter[str] = Counter()
    for name in names:
        counts.update(set(_LETTER_RUNS.findall(name.lower())))
    ranked = sorted((c for c in counts.items() if c[1] >= min_count), key=lambda item: (-item[1], item[0]))
    return [text for text, _ in ranked[:limit]]
