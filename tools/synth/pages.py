"""Pages of well-known sites as legitimate addresses, in the forms that a browser's history or a proxy's log holds them.

Lists of phishing addresses hold many deep pages of large sites, since anybody can put a document there, while their harmless
addresses are mostly first pages. The word list has the forms of the sites' own pages: searches, mailboxes, articles, shops, sign-in
pages, interfaces, updates; and forms of user content that lists of phishing seldom hold (blogs, repositories, shops, documents opened
for editing). Files, forms and sites shared at Google and files shared at Dropbox are left out: the lists are full of them.
"""

from __future__ import annotations

import functools
import random
import re
import string
import uuid
from collections.abc import Callable

from tools.synth import well_known
from tools.synth.cmdline_values import address
from tools.synth.templates import fill, lines
from tools.synth.words import domain, syllables, word

Row = tuple[str, str, str]

_ALPHABETS = {
    "ID": string.ascii_letters + string.digits + "-_",
    "id": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "low": string.ascii_lowercase,
    "num": string.digits,
    "UP": string.ascii_uppercase + string.digits,
}
_SIZED = re.compile(r"<(" + "|".join(_ALPHABETS) + r")(\d+)>")
_LANGUAGES = ("en", "en", "de", "fr", "es", "it", "pt", "nl", "ja", "pl", "ru", "sv", "tr")


def _words(rng: random.Random) -> list[str]:
    return [word(rng) for _ in range(rng.randint(2, 8))]


def _name(rng: random.Random) -> str:
    return rng.choice((word(rng), word(rng), syllables(rng, rng.randint(2, 3))))


def _user(rng: random.Random) -> str:
    return rng.choice((_name(rng), _name(rng) + str(rng.randint(1, 999)), f"{word(rng)}{rng.choice('._-')}{_name(rng)}"))


@functools.cache
def _templates() -> tuple[str, ...]:
    return tuple(line for line in lines("pages.txt") if not line.startswith("["))


def _sized(alphabet: str, size: int) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choices(alphabet, k=size))


SLOTS: dict[str, Callable[[random.Random], str]] = {
    "SYM": lambda rng: "".join(rng.choices(string.ascii_uppercase, k=rng.randint(2, 5))),
    "Slug": lambda rng: "-".join(w.capitalize() for w in _words(rng)),
    "Slug_": lambda rng: "_".join(w.capitalize() for w in _words(rng)[:3]),
    "Word": lambda rng: _name(rng).capitalize(),
    "domain": domain,
    "guid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "ip": address,
    "lang": lambda rng: rng.choice(_LANGUAGES),
    "q": lambda rng: rng.choice(("+", "+", "%20")).join(_words(rng)[:4]),
    "slug": lambda rng: "-".join(_words(rng)),
    "slug_": lambda rng: "_".join(_words(rng)),
    "user": _user,
    "word": _name,
} | {f"{kind}{size}": _sized(_ALPHABETS[kind], int(size)) for line in lines("pages.txt") for kind, size in _SIZED.findall(line)}


def page(rng: random.Random) -> Row:
    """Draw a page of a well-known site, without a scheme."""
    return fill(rng, rng.choice(_templates()), SLOTS), "legit", "pages"


def borrowed(rng: random.Random) -> Row:
    """Draw the path of such a page on a host that only looks like a well-known one."""
    _, slash, path = page(rng)[0].partition("/")
    return well_known.look_alike_host(rng) + slash + path, "malicious", "borrowed-pages"


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows ``(address without scheme, label, family)``, every third a page on a host that looks alike."""
    return [(borrowed if i % 3 == 2 else page)(rng) for i in range(n)]
