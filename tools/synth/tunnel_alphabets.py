"""DNS tunnels in alphabets beside the usual ones, and tools that cut their payload in ways of their own.

Builders are those of :mod:`tools.synth.tunnel`: ``(rng, room)`` to a name without base domain. A resolver passes any byte on (RFC 2181,
section 11), so tunnels may use characters that no host name has.
"""

from __future__ import annotations

import random
import string

from tools.synth import codecs
from tools.synth.payloads import payload
from tools.synth.words import person, word

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford, "Base 32"
_NIBBLES = "abcdefghijklmnop"  # NetBIOS names, RFC 1001, section 14.1
BASE85 = (
    string.digits + string.ascii_letters + "!#$%&()*+-;<=>@^_`{|}~"
)  # RFC 1924, without the question mark, which stands for a byte here
BASE91 = string.ascii_letters + string.digits + '!#$%&()*+,/;<=>@[]^_`{|}~"'  # Henke, basE91; no dot inside a label
_HEX = "0123456789abcdef"


def _size(rng: random.Random, room: int) -> int:
    return rng.choice((rng.randint(14, 30), rng.randint(24, 70), max(room * 5 // 8, 14)))


def _hex(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(_HEX, k=count))


def any_alphabet(rng: random.Random, room: int) -> str:
    """Bits in a well-known alphabet, or in one that a tool has shuffled for itself; numbers in base 10, 85 and 91."""
    data, kind = payload(rng, _size(rng, room)), rng.random()
    if kind < 0.6:
        alphabet = rng.choice((codecs.RFC_BASE32, codecs.RFC_BASE32HEX, codecs.ZBASE32, codecs.IODINE_BASE32, _CROCKFORD, _NIBBLES, _HEX))
        shuffled = kind < 0.25 and alphabet != _HEX
        alphabet = "".join(rng.sample(alphabet, len(alphabet))) if shuffled else alphabet
        text = codecs.encode_bits(data, alphabet)
    else:
        text = codecs.encode_integer(data, rng.choice((string.digits, codecs.BASE36, codecs.BASE62, BASE85, BASE85, BASE91)))
    return codecs.split_labels(text, rng.choice((63, 63, 60, 57, 48, rng.randint(20, 62))), room)


def sliver(rng: random.Random, room: int) -> str:
    """A protocol buffer of type, message id, start, size and data in base58 or base32 (Sliver, DNSMessage of its ``dns.proto``)."""
    data = payload(rng, _size(rng, room - 40))
    head = b"\x08" + bytes([rng.randint(1, 7)]) + b"\x10" + rng.randbytes(3) + b"\x18" + bytes([rng.randrange(127), 0x20])
    message = head + bytes([len(data) & 127, 0x2A, len(data) & 127]) + data
    base32 = rng.random() < 0.4
    text = codecs.encode_bits(message, codecs.RFC_BASE32) if base32 else codecs.encode_integer(message, codecs.BASE58)
    return codecs.split_labels(text, 63, room)


def weasel(rng: random.Random, room: int) -> str:
    """Session, counter and hex of an encrypted message in one label, as Weasel's beacons ask for AAAA records (README)."""
    return f"{_hex(rng, 4)}{rng.randrange(10**4):04d}{_hex(rng, rng.choice((24, 32, 40, 48, 54)))}"[:room]


def pisloader(rng: random.Random, room: int) -> str:
    """Four random characters before short base32 (Palo Alto Networks, "New Wekby attacks use DNS requests as C2", 2016)."""
    mark = "".join(rng.choices(string.ascii_uppercase + string.digits, k=4))
    text = codecs.encode_bits(payload(rng, rng.randint(8, 38)), codecs.RFC_BASE32)
    return mark + rng.choice((".", "", ".")) + codecs.split_labels(text, rng.choice((59, 32, 24)), room - 5)


def beacon(rng: random.Random, room: int) -> str:
    """Short look-ups between data queries: a channel's word or none, a counter, a session (public analyses of several families)."""
    words = ("api", "cdn", "www6", "www", "post", "dx", "ns", "a", "q", "init", "ping", "get", "ack", "poll")
    session, counter = _hex(rng, rng.choice((6, 7, 8, 12))), _hex(rng, rng.choice((7, 8, 9, 10)))
    shapes = (
        f"{rng.choice(words)}.{counter}.{session}",
        f"{rng.choice(words)}.{rng.choice('1234')}{_hex(rng, rng.randint(8, 40))}.{counter}.{session}",
        f"{_hex(rng, rng.choice((24, 32, 52, 62)))}.{_hex(rng, rng.choice((16, 24, 32, 48)))}",
        f"{_hex(rng, rng.choice((16, 24, 30)))}.{rng.randrange(300)}.{session}",
        f"{session}.{codecs.encode_bits(rng.randbytes(rng.randint(10, 22)), codecs.RFC_BASE32)}.{rng.randrange(100)}",
    )
    return rng.choice(shapes)[:room].rstrip(".")


def script(rng: random.Random, room: int) -> str:
    """One chunk a query with its number and the computer's name, joined by hyphens or dots, as home-made scripts write them."""
    computer = rng.choice(
        (f"{person(rng)}-pc", f"srv{rng.randint(1, 99):02d}", f"{word(rng)}-{rng.randint(1, 99)}", f"host{rng.randint(1, 9)}")
    )
    data = rng.randbytes(rng.randint(12, 26))
    chunk = rng.choice((data.hex(), codecs.encode_bits(data, codecs.RFC_BASE32), codecs.base64_text(data, url=True).strip("-_")))
    parts = [f"{rng.randrange(rng.choice((10, 400, 9000)))}", chunk, computer]
    if rng.random() < 0.4:
        parts.insert(rng.randrange(3), _hex(rng, rng.choice((4, 8))))
    between = rng.choice("-..") if sum(map(len, parts)) < 60 else "."
    return between.join(parts if rng.random() < 0.7 else parts[::-1])[:room].strip("-.")


def _encoded(rng: random.Random, data: bytes) -> str:
    """Bytes in one of the encodings that scripts reach for first."""
    return rng.choice(
        (
            data.hex(),
            codecs.encode_bits(data, codecs.RFC_BASE32),
            codecs.base64_text(data, url=True),
            codecs.encode_integer(data, codecs.BASE36),
        )
    ).strip("-_")


def keepalive(rng: random.Random, room: int) -> str:
    """A query that asks for data and carries none: session, counters and a type in one short label, a word or a number beside it or not."""
    session, counter = rng.randbytes(rng.choice((1, 2, 2, 4))), rng.randrange(rng.choice((60, 4000, 60_000))).to_bytes(2, "big")
    more = rng.choice((b"", b"", counter, rng.randbytes(2), rng.randbytes(4)))
    label = _encoded(rng, session + counter + more + bytes([rng.randrange(12)]))
    mark = rng.choice(("", "", "", "p", "q.", "r", "poll.", "hb-", f"{rng.randrange(100)}.", f"{rng.randrange(10**4)}-"))
    return f"{mark}{label}"[:room]


def fields(rng: random.Random, room: int) -> str:
    """One label of fields written one after the other: who, which part, of how many, a letter for the kind, a piece of the payload."""
    who = "".join(rng.choices(rng.choice((_HEX, codecs.BASE36)), k=rng.choice((4, 6, 8, 10))))
    part = rng.choice((f"{rng.randrange(1000):03d}", f"{rng.randrange(10**4):04d}", f"{rng.randrange(256):02x}", str(rng.randrange(100))))
    size = rng.choice(("", "", f"{rng.randrange(1000):03d}", f"{rng.randrange(64):02x}"))
    kind = rng.choice(("", "", rng.choice(string.ascii_lowercase), rng.choice(string.ascii_lowercase) + str(rng.randrange(10))))
    parts = [who, part + size, _encoded(rng, payload(rng, rng.randint(3, 16))), kind]
    if rng.random() < 0.3:
        rng.shuffle(parts)
    return rng.choice(("", "", "", "-", ".")).join(part for part in parts if part)[: min(room, 62)].strip("-.")


def chunk(rng: random.Random, room: int) -> str:
    """A short piece in one label, in the order it comes or with its number, as a loop around ``dig`` or ``nslookup`` asks for it."""
    text = _encoded(rng, payload(rng, rng.choice((rng.randint(6, 12), rng.randint(10, 20), 15, 16, 30))))[:62]
    computer = rng.choice(
        (f"{person(rng)}-pc", f"{word(rng)}{rng.randint(1, 99)}", f"desktop-{''.join(rng.choices(codecs.BASE36, k=7))}", word(rng))
    )
    number = str(rng.randrange(rng.choice((10, 100, 1000))))
    shapes = ([text], [text], [number, text], [text, number], [number, text, computer], [computer, number, text], [computer, text])
    parts = rng.choice(shapes)
    return rng.choice("..-" if sum(map(len, parts)) < 60 else ".").join(parts)[:room].strip("-.")
