"""Synthetic algorithmically generated domains, made to differ from every known family.

Every family draws its parameters (alphabet, lengths, suffixes, word list) from a seed, as a real family would, so
rows come in groups that share a pattern. Ordinary names come from real rows through :func:`hard_legit`.
"""

from __future__ import annotations

import datetime
import hashlib
import random
import string
from collections.abc import Callable, Sequence

from tools.synth import codecs
from tools.synth.words import word_groups

TLDS: tuple[str, ...] = (
    "com",
    "net",
    "org",
    "info",
    "biz",
    "ru",
    "cn",
    "in",
    "eu",
    "su",
    "cc",
    "tv",
    "me",
    "pw",
    "top",
    "xyz",
    "site",
    "club",
)
TLDS += ("online", "space", "icu", "work", "click", "link", "live", "shop", "fun", "ws", "to", "de", "fr", "it", "nl", "pl", "us")
TLDS += ("co.uk", "com.br", "com.ua", "kz", "ga", "tk", "ml", "cf", "gq", "bid", "win", "name", "mobi", "asia", "tech", "store", "pro")
DYNAMIC_ZONES: tuple[str, ...] = (
    "ddns.net",
    "duckdns.org",
    "no-ip.org",
    "hopto.org",
    "zapto.org",
    "sytes.net",
    "mooo.com",
    "dyndns.org",
    "servebeer.com",
)
DYNAMIC_ZONES += ("myftp.org", "dynu.net", "chickenkiller.com", "us.to", "serveftp.com", "3utilities.com", "redirectme.net")

Family = Callable[[random.Random], Callable[[random.Random], str]]


def _draw(rng: random.Random, alphabet: str | Sequence[str], count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def _lengths(rng: random.Random, low: int, high: int) -> tuple[int, int]:
    start = rng.randint(low, high)
    return start, min(start + rng.choice((0, 0, 2, 4, 8)), high)


def uniform(setup: random.Random) -> Callable[[random.Random], str]:
    """Uniform letters, of the whole alphabet or of part of it."""
    letters = string.ascii_lowercase
    if setup.random() < 0.4:
        letters = "".join(setup.sample(letters, setup.randint(9, 25)))
    low, high = _lengths(setup, 5, 30)
    return lambda rng: _draw(rng, letters, rng.randint(low, high))


def alternating(setup: random.Random) -> Callable[[random.Random], str]:
    """Consonant and vowel in turn, or in a drawn pattern."""
    pattern = setup.choice(("cv", "vc", "cvc", "cvv", "ccv", "cvccv", "cvcvc"))
    consonants = "".join(setup.sample("bcdfghjklmnpqrstvwxz", setup.randint(10, 20)))
    vowels = setup.choice(("aeiou", "aeiouy", "aeio"))
    low, high = _lengths(setup, 6, 18)

    def make(rng: random.Random) -> str:
        count = rng.randint(low, high)
        return "".join(rng.choice(vowels if pattern[i % len(pattern)] == "v" else consonants) for i in range(count))

    return make


def syllabic(setup: random.Random) -> Callable[[random.Random], str]:
    """Syllables of a drawn list: pronounceable, with the letter pairs of no language."""
    parts = [_draw(setup, "bcdfghklmnprstvwz", 1) + _draw(setup, "aeiou", 1) + setup.choice(("", "", _draw(setup, "nrlstmk", 1)))]
    parts += [
        setup.choice("bdfgklmnprstvz") + setup.choice("aeiou") + setup.choice(("", "n", "r", "s")) for _ in range(setup.randint(12, 60))
    ]
    low, high = _lengths(setup, 2, 6)
    return lambda rng: _draw(rng, parts, rng.randint(low, high))


def markov(setup: random.Random) -> Callable[[random.Random], str]:
    """Letter-pair chain learnt from the self-made word list."""
    follows: dict[str, list[str]] = {}
    for group in word_groups():
        for text in group:
            for first, second in zip("^" + text, text, strict=False):
                follows.setdefault(first, []).append(second)
    low, high = _lengths(setup, 6, 18)

    def make(rng: random.Random) -> str:
        count, text = rng.randint(low, high), ""
        while len(text) < count:
            text += rng.choice(follows.get(text[-1:] or "^") or follows["^"])
        return text

    return make


def hexadecimal(setup: random.Random) -> Callable[[random.Random], str]:
    """Hexadecimal digits, with a fixed or changing length."""
    low, high = _lengths(setup, 7, 32)
    return lambda rng: _draw(rng, "0123456789abcdef", rng.randint(low, high))


def hashed_date(setup: random.Random) -> Callable[[random.Random], str]:
    """Digest of seed, date and counter, in hexadecimal, base32, base36 or letters."""
    seed, cut, form = setup.randbytes(4).hex(), setup.randint(8, 24), setup.randrange(4)
    start = datetime.date(2012, 1, 1).toordinal()

    def make(rng: random.Random) -> str:
        day = datetime.date.fromordinal(start + rng.randrange(5000))
        digest = hashlib.sha256(f"{seed}{day}{rng.randrange(1000)}".encode()).digest()
        if form == 0:
            return digest.hex()[:cut]
        if form == 1:
            return codecs.encode_bits(digest, codecs.RFC_BASE32)[:cut]
        if form == 2:
            return codecs.encode_integer(digest, codecs.BASE36)[-cut:]
        return "".join(chr(97 + byte % 26) for byte in digest)[:cut]

    return make


def letters_digits(setup: random.Random) -> Callable[[random.Random], str]:
    """Letters and digits mixed, with a drawn share of digits."""
    share = setup.uniform(0.08, 0.5)
    low, high = _lengths(setup, 6, 24)

    def make(rng: random.Random) -> str:
        return "".join(rng.choice("0123456789" if rng.random() < share else string.ascii_lowercase) for _ in range(rng.randint(low, high)))

    return make


def dated(setup: random.Random) -> Callable[[random.Random], str]:
    """Put a readable date inside letters, or digits made of one."""
    mark, form = _draw(setup, string.ascii_lowercase, setup.randint(2, 5)), setup.choice(("%Y%m%d", "%d%m%y", "%y%j", "%m%d"))
    place = setup.randrange(3)

    def make(rng: random.Random) -> str:
        day = datetime.date(2012 + rng.randrange(14), rng.randint(1, 12), rng.randint(1, 28)).strftime(form)
        tail = _draw(rng, string.ascii_lowercase, rng.randint(2, 6))
        return (mark + day + tail, day + mark + tail, tail + day)[place]

    return make


def permuted(setup: random.Random) -> Callable[[random.Random], str]:
    """Permutations of one string of letters."""
    stock = _draw(setup, string.ascii_lowercase + string.digits * setup.randrange(2), setup.randint(8, 14))
    return lambda rng: "".join(rng.sample(stock, len(stock)))


def fixed_part(setup: random.Random) -> Callable[[random.Random], str]:
    """Keep a fixed beginning or end with a random middle."""
    part = _draw(setup, string.ascii_lowercase, setup.randint(3, 7))
    low, high = _lengths(setup, 4, 12)
    letters = setup.choice((string.ascii_lowercase, codecs.BASE36))
    if setup.random() < 0.5:
        return lambda rng: part + _draw(rng, letters, rng.randint(low, high))
    return lambda rng: _draw(rng, letters, rng.randint(low, high)) + part


def typo(setup: random.Random) -> Callable[[random.Random], str]:
    """Take a word with some characters replaced or inserted at random."""
    stock = [text for group in word_groups() for text in group if len(text) > 4]
    edits = setup.randint(2, 3)

    def make(rng: random.Random) -> str:
        text = list(rng.choice(stock) + rng.choice(("", rng.choice(stock))))
        for _ in range(edits):
            place, char = rng.randrange(len(text)), rng.choice(codecs.BASE36)
            text[place : place + rng.randrange(2)] = [char]
        return "".join(text)

    return make


CHARACTER_FAMILIES: dict[str, Family] = {
    "uniform": uniform,
    "alternating": alternating,
    "syllabic": syllabic,
    "markov": markov,
    "hex": hexadecimal,
    "hashed-date": hashed_date,
    "letters-digits": letters_digits,
    "dated": dated,
    "permuted": permuted,
    "fixed-part": fixed_part,
    "typo": typo,
}
DICTIONARY = "dictionary"


def dictionary(setup: random.Random, words: Sequence[str] = ()) -> Callable[[random.Random], str]:
    """Two or three words of a drawn sub-list: free, verb + noun, with digits, cut, or separated by a hyphen."""
    verbs, adjectives, nouns = word_groups()
    pool = list(words) if words and setup.random() < 0.7 else [*verbs, *adjectives, *nouns]
    stock = setup.sample(pool, min(len(pool), setup.choice((30, 80, 200, 400))))
    shape, count = setup.randrange(6), setup.choice((2, 2, 3))

    def make(rng: random.Random) -> str:
        if shape == 0:
            return rng.choice(verbs) + rng.choice((*adjectives, "")) + rng.choice(nouns)
        if shape == 1:
            return rng.choice(adjectives) + rng.choice(nouns) + rng.choice(("", *verbs[:20]))
        parts = [rng.choice(stock) for _ in range(count)]
        if shape == 2:
            return "".join(parts) + str(rng.randrange(1000))
        if shape == 3:
            return "".join(part[: rng.randint(2, len(part))] for part in parts)
        return ("-" if shape == 4 else "").join(parts)

    return make


def generate(
    rng: random.Random,
    n: int,
    *,
    words: Sequence[str] = (),
    families: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    group_size: int = 25,
) -> list[tuple[str, str, str]]:
    """Make ``n`` rows ``(text, "dga", "synthetic-<family>")`` in groups of ``group_size`` that share one seed.

    ``words`` is a word list derived from ordinary names of the training split (:func:`tools.synth.words.derive_words`);
    without it the self-made list serves.
    """
    names = [name for name in (families or [*CHARACTER_FAMILIES, DICTIONARY, DICTIONARY, DICTIONARY]) if name not in exclude]
    rows: list[tuple[str, str, str]] = []
    while len(rows) < n:
        family = rng.choice(names)
        make = dictionary(rng, words) if family == DICTIONARY else CHARACTER_FAMILIES[family](rng)
        zones = rng.sample(TLDS, rng.choice((1, 2, 5, 8))) if rng.random() < 0.85 else rng.sample(DYNAMIC_ZONES, rng.randint(1, 4))
        for _ in range(min(group_size, n - len(rows))):
            label = make(rng)[:63].strip("-")
            if label:
                rows.append((f"{label}.{rng.choice(zones)}", "dga", f"synthetic-{family}"))
    return rows


def hard_legit(rng: random.Random, n: int, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Draw ``n`` ordinary names that are hard to tell: long labels of letters only, few vowels, or digits inside.

    ``names`` are real ordinary rows; nothing is invented here, so the label stays true.
    """

    def odd(name: str) -> bool:
        label = max(name.split("."), key=len)
        vowels = sum(label.count(vowel) for vowel in "aeiou")
        return len(label) >= 12 or vowels * 4 < len(label) or any(char.isdigit() for char in label)

    pool = [name for name in names if odd(name)] or list(names)
    return [(rng.choice(pool), "legit", "hard-legit") for _ in range(n)] if pool else []
