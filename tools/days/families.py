"""Name generators and tunnels of other alphabets, lengths and rhythms than the published ones."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable
from pathlib import Path

from tools.days.track import Episode, Track, address

Namer = Callable[[], str]
_TLDS = (
    "com",
    "net",
    "org",
    "info",
    "biz",
    "ru",
    "top",
    "xyz",
    "cc",
    "to",
    "pw",
    "click",
    "online",
    "website",
    "dev",
    "io",
    "mx",
    "tr",
    "ir",
    "li",
)
_HEADS, _TAILS = (tuple(Path(__file__).with_name("words.txt").read_text(encoding="utf-8").splitlines()[row].split()) for row in (0, 1))


def letters(rng: random.Random) -> Namer:
    """Names over an alphabet of the family's own, some with digits, of one length or a range."""
    alphabet = "".join(rng.sample(string.ascii_lowercase, rng.randint(9, 24))) + rng.choice(("", "", string.digits, "23456789", "0189"))
    low = rng.randint(6, 14)
    high, tlds = low + rng.choice((0, 2, 6, 10)), rng.sample(_TLDS, rng.randint(1, 5))
    return lambda: "".join(rng.choice(alphabet) for _ in range(rng.randint(low, high))) + "." + rng.choice(tlds)


def hexadecimal(rng: random.Random) -> Namer:
    """Pieces of a digest, as they are or in base 32 or 36."""
    alphabet, count = (
        rng.choice((string.digits + "abcdef", string.ascii_lowercase + "234567", string.digits + string.ascii_lowercase)),
        rng.randint(10, 30),
    )
    lead, tld = rng.choice(("", "", "x", "a1")), rng.choice(_TLDS)
    return lambda: lead + "".join(rng.choice(alphabet) for _ in range(count)) + "." + tld


def spoken(rng: random.Random) -> Namer:
    """Names that can be pronounced: consonants and vowels in turn, or syllables of the family."""
    consonants, vowels = rng.sample("bcdfghjklmnprstvwxz", 9), rng.sample("aeiouy", 4)
    syllables = [a + b + c for a in consonants for b in vowels for c in ("", rng.choice(consonants))]
    parts, tlds = rng.randint(3, 5), rng.sample(_TLDS, 2)
    return lambda: "".join(rng.choice(syllables) for _ in range(parts)) + "." + rng.choice(tlds)


def words(rng: random.Random) -> Namer:
    """Two or three words of a list, some with a number."""
    tlds, third, number = rng.sample(_TLDS, 2), rng.random() < 0.4, rng.random() < 0.3
    joint = rng.choice(("", "", "-"))

    def name() -> str:
        chosen = [rng.choice(_HEADS), rng.choice(_TAILS), *([rng.choice(_TAILS)] if third else [])]
        return joint.join(chosen) + (str(rng.randrange(100)) if number else "") + "." + rng.choice(tlds)

    return name


def below_dynamic(rng: random.Random) -> Namer:
    """Generated labels below a shared suffix."""
    zone, count = rng.choice(("ddns.net", "duckdns.org", "hopto.org", "dynu.net", "mooo.com")), rng.randint(8, 15)
    return lambda: "".join(rng.choice(string.ascii_lowercase + "0123456789") for _ in range(count)) + "." + zone


GENERATORS = {"letters": letters, "digest": hexadecimal, "spoken": spoken, "words": words, "dynamic": below_dynamic}


def generated_names(rng: random.Random, client: str, begin: float, family: str = "", gap: float = 0.0) -> Episode:
    """A bot that tries names until one resolves: all of them missing but a few, in bursts or one a few minutes."""
    family = family or rng.choice(list(GENERATORS))
    namer, track, found = GENERATORS[family](rng), Track(client), set()
    gap = gap or rng.choice((0.2, 2.0, 15.0, 90.0, 240.0))
    count = rng.randint(25, 120) if gap < 60 else rng.randint(20, 60)
    resolves, time = rng.choice((0.0, 0.02, 0.1, 0.3)), begin
    for _ in range(count):
        name, time = namer(), time + rng.uniform(0.3, 1.7) * gap
        found.add(name)
        server = address(rng)
        if rng.random() < resolves:
            track.lookup(time, name, answers=(server,))
            track.request(time + 0.2, server, f"/{rng.randrange(10**6)}", "Mozilla/5.0 (Windows NT 6.1)", host=name, status=404)
        else:
            track.lookup(time, name, failed=True)
    return Episode("dga", f"{family} every {gap:g} s", track, sorted(found))


# --- tunnels ---------------------------------------------------------------------------------------------------------------------


def _hex(rng: random.Random, count: int) -> str:
    return rng.randbytes(count).hex()


def _base32(rng: random.Random, count: int) -> str:
    return base64.b32encode(rng.randbytes(count)).decode().rstrip("=").lower()


def _base64(rng: random.Random, count: int) -> str:
    return base64.urlsafe_b64encode(rng.randbytes(count)).decode().rstrip("=")


def _decimal(rng: random.Random, count: int) -> str:
    return ".".join(str(rng.randrange(256)) for _ in range(count % 12 + 4))


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(string.ascii_lowercase) for _ in range(2 * count))


CODES = {"hex": _hex, "base32": _base32, "base64": _base64, "bytes": _decimal, "letters": _letters}


def _zone(rng: random.Random) -> str:
    name = rng.choice(_HEADS) + rng.choice(_TAILS)
    return rng.choice((f"{name}.{rng.choice(_TLDS)}", f"t.{name}.{rng.choice(_TLDS)}", f"{rng.choice('nst')}1.{name}.{rng.choice(_TLDS)}"))


def _cut(text: str, levels: int) -> str:
    size = min(60, max(1, -(-len(text) // levels)))
    return ".".join(text[i : i + size].strip("-") or "x" for i in range(0, len(text), size))


def tunnel(rng: random.Random, client: str, begin: float, code: str = "", gap: float = 0.0) -> Episode:
    """Encoded data below a zone: sessions, polls that carry little, files going out at once or over hours."""
    code = code or rng.choice(list(CODES))
    gap = gap or rng.choice((0.1, 1.0, 5.0, 30.0, 60.0))
    zone, track, time = _zone(rng), Track(client), begin
    size, levels = rng.choice((4, 8, 15, 30, 60, 100)), rng.randint(1, 4)
    kind = rng.choice(("TXT", "NULL", "CNAME", "MX", "A", "AAAA", "A"))
    count = {0.1: rng.randint(150, 900), 1.0: rng.randint(200, 1500)}.get(gap, rng.randint(60, 200))
    lead = rng.choice((lambda i: "", lambda i: f"{i:x}.", lambda i: f"{i}-", lambda i: "post."))
    for number in range(count):
        time += rng.uniform(0.7, 1.3) * gap
        carries = size if rng.random() < 0.8 else max(2, size // 4)
        name = (lead(number) + _cut(CODES[code](rng, carries), levels))[:180].strip(".") + "." + zone
        track.lookup(time, name.lower() if code != "base64" else name, kind, (address(rng),) if kind == "A" else ("x",))
    kind_of = "exfiltration" if size >= 60 else "tunnel"
    return Episode(kind_of, f"{code} {size} bytes {kind} every {gap:g} s", track, [zone])
