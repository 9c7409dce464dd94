"""Generated names in the shapes of families that reports describe: alphabets, lengths, rules and zones, with seeds of our own.

A family is one line of ``wordlists/dga_shapes.txt``: its name, its rule with arguments, its zones. The lines say what public reports say
of a family's names (which letters, how many, in which order, below which zones). No algorithm, seed or word list of a family is here, so
the names are none that it made; words come from our own list and from ordinary names. A group of names shares one seed, as a day's list
does: for rules that need one, a fixed part, a stock of words or an order of letters is drawn a group.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import string
from collections.abc import Callable, Collection, Mapping, Sequence

from tools.synth.templates import lines
from tools.synth.words import word_groups

CONSONANTS, VOWELS = "bcdfghjklmnpqrstvwxz", "aeiouy"
LETTERS, DIGITS, HEX = string.ascii_lowercase, string.digits, "0123456789abcdef"
ALPHABETS: Mapping[str, str] = {"letters": LETTERS, "alnum": LETTERS + DIGITS, "hex": HEX, "base32": LETTERS + "234567"}
Maker = Callable[[random.Random], str]
Rule = Callable[[random.Random, Sequence[str], Sequence[str]], Maker]


@dataclasses.dataclass(frozen=True)
class Shape:
    """A family's line: rule, its arguments, zones."""

    name: str
    rule: str
    given: tuple[str, ...]
    zones: tuple[str, ...]


def _span(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def _drawn(rng: random.Random, alphabet: Sequence[str], span: tuple[int, int]) -> str:
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(*span)))


def characters(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """Draw from an alphabet: ``letters 8-12``, a named one or its characters; ``=`` before the lengths draws one a group."""
    del words
    alphabet = ALPHABETS.get(given[0], given[0])
    low, high = _span(given[1].removeprefix("="))
    span = (setup.randint(low, high),) * 2 if given[1].startswith("=") else (low, high)
    head = given[2] if len(given) > 2 else ""
    return lambda rng: head + _drawn(rng, alphabet, span)


def led(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """One alphabet after another: ``letters 1 hex 33``."""
    del setup, words
    parts = [(ALPHABETS.get(a, a), _span(b)) for a, b in zip(given[::2], given[1::2], strict=True)]
    return lambda rng: "".join(_drawn(rng, alphabet, span) for alphabet, span in parts)


def narrow(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """Draw from a part of the alphabet that a seed leaves: ``10-16 7-12`` lengths, then how many letters."""
    del words
    letters = setup.sample(LETTERS, setup.randint(*_span(given[1])))
    return lambda rng: _drawn(rng, letters, _span(given[0]))


def ranges(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """Each place has a range of letters of its own, drawn a group: ``12 3-6`` places, then how many letters a place."""
    del words
    count = setup.randint(*_span(given[0]))
    places = []
    for _ in range(count):
        wide = setup.randint(*_span(given[1]))
        begin = setup.randrange(27 - wide)
        places.append(LETTERS[begin : begin + wide])
    return lambda rng: "".join(rng.choice(letters) for letters in places)


def pattern(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """Consonants and vowels in turn as a pattern says: ``cv 8-12``; ``?`` is either, a digit a digit."""
    del words
    kinds = {"c": CONSONANTS, "v": VOWELS[: setup.choice((5, 6))], "?": LETTERS, "d": DIGITS}
    span = _span(given[1])

    def make(rng: random.Random) -> str:
        return "".join(rng.choice(kinds[given[0][i % len(given[0])]]) for i in range(rng.randint(*span)))

    return make


def spoken(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """Syllables of a drawn list of two- and three-letter ones: ``3-5`` of them."""
    del words
    heads = [*CONSONANTS, "br", "ch", "cl", "dr", "fl", "gr", "kr", "pl", "qu", "sh", "sk", "st", "th", "tr", ""]
    tails = ["", "", "", "n", "r", "s", "l", "m", "t", "k", "x", "ss"]
    vowels = [*"aeiou", "ai", "ea", "ou", "ee"]
    stock = [setup.choice(heads) + setup.choice(vowels) + setup.choice(tails) for _ in range(setup.randint(20, 90))]
    return lambda rng: _drawn(rng, stock, _span(given[0]))


def doubled(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """A syllable twice and a letter of a drawn few: ``3`` letters a syllable."""
    del words
    tails, size = setup.sample(LETTERS, 10), _span(given[0])

    def make(rng: random.Random) -> str:
        part = _drawn(rng, LETTERS, size)
        return part + part + rng.choice(tails)

    return make


def changed(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """Put letters before the rest of a drawn seed name: ``4 12-24`` letters that change, length of the seed."""
    low, high = _span(given[1])
    seed = ""
    while len(seed) < low:
        seed += setup.choice(words) if setup.random() < 0.7 else _drawn(setup, LETTERS, (3, 5))
    seed, count = seed[:high], _span(given[0])
    return lambda rng: (head := _drawn(rng, LETTERS, count)) + seed[len(head) :]


def shuffled(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """Orders of the letters of a drawn seed, or that seed with two letters exchanged: ``all 8-12``, ``two 10-18``."""
    low, high = _span(given[1])
    seed = "".join(setup.choice(words) for _ in range(6))[: setup.randint(low, high)] if given[0] == "two" else ""
    stock = list(seed or _drawn(setup, LETTERS, (low, high)))

    def make(rng: random.Random) -> str:
        if given[0] == "all":
            return "".join(rng.sample(stock, len(stock)))
        text, (one, other) = stock.copy(), rng.sample(range(len(stock)), 2)
        text[one], text[other] = text[other], text[one]
        return "".join(text)

    return make


def fixed(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """A fixed beginning or end beside drawn characters: ``start letters 2-6 hex 8``: place, length of the fixed part, the rest."""
    del words
    part = _drawn(setup, ALPHABETS[given[1]], _span(given[2]))
    alphabet, span = ALPHABETS[given[3]], _span(given[4])
    return lambda rng: (part + _drawn(rng, alphabet, span)) if given[0] == "start" else (_drawn(rng, alphabet, span) + part)


def numbered(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """A drawn word or two and a number: ``1-2 1-4`` words, digits; below ``www`` or a server's name where a third says so."""
    stem = "".join(setup.choice(words) for _ in range(setup.randint(*_span(given[0]))))
    hosts = given[2].split(",") if len(given) > 2 else [""]
    return lambda rng: f"{rng.choice(hosts)}{stem}{_drawn(rng, DIGITS, _span(given[1]))}"


def joined(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """Words of a drawn stock: ``2-3 40-400 -`` how many, size of the stock, what stands between, longest length."""
    stock = setup.sample(list(words), min(len(words), setup.randint(*_span(given[1]))))
    between = "" if len(given) < 3 or given[2] == "." else given[2]
    longest = int(given[3]) if len(given) > 3 else 40

    def make(rng: random.Random) -> str:
        count, text = rng.randint(*_span(given[0])), rng.choice(stock)
        for _ in range(count - 1):
            text += (between if between != "?" else rng.choice(("", "-"))) + rng.choice(stock)
        return text[:longest].rstrip("-")

    return make


def running(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """Words of one text joined, function words among them, whole or cut: ``12-28`` letters."""
    content = setup.sample(list(words), min(len(words), setup.randint(60, 300)))
    stock, (low, high) = [*content, *setup.sample(_words("function"), 60)], _span(given[0])

    def make(rng: random.Random) -> str:
        least, text = rng.randint(low, high), ""
        while len(text) < least:
            more = rng.choice(stock)
            text += more if len(text) + len(more) <= high else more[: rng.randint(1, 3)]
        return text

    return make


def affixed(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """Words with beginnings and endings of others: ``1-2 -`` how many, what stands between."""
    stock = setup.sample(list(words), min(len(words), 200))

    def one(rng: random.Random) -> str:
        return rng.choice((*_words("prefix"), "")) + rng.choice(stock) + rng.choice((*_words("suffix"), ""))

    between = "" if len(given) < 2 or given[1] == "." else given[1]
    return lambda rng: between.join(one(rng) for _ in range(rng.randint(*_span(given[0]))))


def pairs(setup: random.Random, given: Sequence[str], words: Sequence[str]) -> Maker:
    """First names, words of classes: ``name name``, ``verb noun``, ``adjective noun``."""
    verbs, adjectives, nouns = word_groups()
    some = setup.sample(list(words), min(len(words), 150))
    classes: dict[str, Sequence[str]] = {
        "name": _words("name"),
        "verb": verbs,
        "adjective": adjectives,
        "noun": nouns,
        "word": some,
        "-": ("-",),
    }
    classes["function"] = _words("function")
    return lambda rng: "".join(rng.choice(classes[part]) for part in given)


RULES: Mapping[str, Rule] = {
    "characters": characters, "led": led, "narrow": narrow, "ranges": ranges, "pattern": pattern, "spoken": spoken, "doubled": doubled,
    "changed": changed, "shuffled": shuffled, "fixed": fixed, "numbered": numbered, "joined": joined, "running": running,
    "affixed": affixed, "pairs": pairs,
}  # fmt: skip
DICTIONARY = ("joined", "running", "affixed", "pairs", "numbered")
"""Rules that put words together."""


@functools.cache
def _blocks() -> dict[str, tuple[str, ...]]:
    """Lines of the file by the heading in brackets above them."""
    found: dict[str, tuple[str, ...]] = {}
    for block in "\n".join(lines("dga_shapes.txt")).split("[")[1:]:
        head, _, body = block.partition("]\n")
        found[head] = tuple(body.strip().splitlines())
    return found


@functools.cache
def _words(head: str) -> tuple[str, ...]:
    return tuple(word for line in _blocks()[head] for word in line.split())


@functools.cache
def shapes() -> tuple[Shape, ...]:
    """Shapes of the file."""
    found = []
    for line in _blocks()["shapes"]:
        name, rule, zones = (part.split() for part in line.split("|"))
        every = tuple(zone for part in zones for zone in (_words(part[1:]) if part.startswith("@") else (part,)))
        found.append(Shape(name[0], rule[0], tuple(rule[1:]), every))
    return tuple(found)


def generate(
    rng: random.Random,
    n: int,
    *,
    words: Sequence[str] = (),
    exclude: Collection[str] = (),
    only: Collection[str] = (),
    group_size: int = 12,
    own_zones: float = 0.7,
) -> list[tuple[str, str, str]]:
    """Make ``n`` rows ``(text, "dga", "shape-<family>")`` in groups of ``group_size`` that share one seed, shapes in turn.

    ``words`` are those of ordinary names (:func:`tools.synth.words.derive_words`), beside our own list. A share ``own_zones`` of the
    groups stands below the zones of its shape, the others below any shape's, so that an ending tells no shape.
    """
    own = sorted({text for group in word_groups() for text in group})
    some = [shape for shape in shapes() if shape.name not in exclude and (not only or shape.name in only)]
    every = sorted({zone for shape in shapes() for zone in shape.zones})
    rows: list[tuple[str, str, str]] = []
    while len(rows) < n:
        for shape in rng.sample(some, len(some)):
            stock = own if not words or rng.random() < 0.3 else list(words)
            make = RULES[shape.rule](rng, shape.given, stock)
            zones = shape.zones if rng.random() < own_zones else rng.sample(every, rng.randint(1, 6))
            for _ in range(min(group_size, n - len(rows))):
                label = make(rng)[:63].strip("-")
                if label:
                    rows.append((f"{label}.{rng.choice(zones)}", "dga", f"shape-{shape.name}"))
    return rows
