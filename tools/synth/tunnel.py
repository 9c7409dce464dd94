"""DNS tunnel query names, made by writing down the public wire encodings of many tools.

Every builder takes ``(rng, room)`` and returns the name without base domain, at most ``room`` characters on the
wire. Names are lower-cased at the end, as DNS sensors log them. Ordinary names that look alike are made by
:mod:`tools.synth.dns_legit`.
"""

from __future__ import annotations

import hashlib
import random
import re
import string
from collections.abc import Callable, Sequence

from tools.synth import codecs, tunnel_alphabets
from tools.synth.payloads import ip_packet, payload
from tools.synth.words import domain, person, syllables, word

MAX_LABEL = 63  # RFC 1035, section 2.3.4
MAX_NAME = 253  # the same limit of 255 octets, as text
MIN_NAME = 8  # shorter handshake queries (``yubqav``) can be told from no ordinary label

Builder = Callable[[random.Random, int], str]

_ESCAPE = re.compile(r"\\x[0-9a-f]{2}|\\\d{3}")


def ambiguous(name: str) -> bool:
    """Say whether a name is one long label of letters and digits only, as random host names of ordinary zones are too."""
    return name.isascii() and name.isalnum() and 24 <= len(name) <= MAX_LABEL


def wire_form(name: str) -> str:
    r"""Replace log escapes of a byte (``\xbc`` of Zeek, ``\188`` of RFC 1035 master files) by one character."""
    return _ESCAPE.sub("?", name)


def _size(rng: random.Random, room: int) -> int:
    """Draw a payload size in bytes: short probes, middling and full names alike."""
    full = max(room * 5 // 8, 12)
    return rng.choice((rng.randint(6, 18), rng.randint(12, min(60, full)), rng.randint(min(40, full), full), full))


def _hex(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789abcdef") for _ in range(count))


def _b32(value: int) -> str:
    return codecs.IODINE_BASE32[value & 31]


def _cmc(rng: random.Random) -> str:
    """Cache-miss counter of three base32 digits."""
    return "".join(_b32(rng.randrange(32)) for _ in range(3))


# iodine: doc/proto_00000502.txt and src/client.c -----------------------------------------------------------------

_CODEC_TESTS = (
    "aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUvVwWxXyYzZ+0129-",
    "aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUvVwWxXyYzZ_0129-",
    "aA-Aaahhh-Drink-mal-ein-J\xe4germeister-",
    "aA-La-fl\xfbte-na\xefve-fran\xe7aise-est-retir\xe9-\xe0-Cr\xe8te",
    "aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUvVwWxXyYzZ",
)


def _high_bytes(rng: random.Random, text: str) -> str:
    r"""Write bytes above 127 as one kind of sensor does: Latin-1, ``\xbc`` or ``\188``."""
    style = rng.choice((0, 0, 1, 2))
    if style == 0:
        return text
    return "".join(c if ord(c) < 128 else (f"\\x{ord(c):02x}" if style == 1 else f"\\{ord(c):03d}") for c in text)


def iodine_data_header(user: int, packet: int, fragment: int, down_packet: int, down_fragment: int, last: bool, cmc: str) -> str:
    """Write the five header characters of an upstream data query (``|0UUUU|SSSFF|FFDDD|GGGGL|UDCMC|``)."""
    bits = (packet & 7) << 12 | (fragment & 15) << 8 | (down_packet & 7) << 5 | (down_fragment & 15) << 1 | int(last)
    return f"{user & 15:x}" + _b32(bits >> 10) + _b32(bits >> 5) + _b32(bits) + cmc


def iodine_data(rng: random.Random, room: int) -> str:
    """Upstream data in base32, base64, base64u or base128, labels of 57 characters."""
    alphabets = (codecs.IODINE_BASE32, codecs.IODINE_BASE64, codecs.IODINE_BASE64U, codecs.IODINE_BASE128)
    alphabet = rng.choices(alphabets, (3, 2, 1, 6))[0]
    user, last, cmc = rng.choice((0, 0, 1, 2)), rng.random() < 0.6, rng.choice(codecs.BASE36)
    packet, fragment = rng.randrange(8), rng.choice((0, 0, 1, rng.randrange(16)))
    head = iodine_data_header(user, packet, fragment, rng.randrange(8), rng.randrange(16), last, cmc)
    body = codecs.encode_bits(payload(rng, rng.choice((_size(rng, room), room))), alphabet)
    width = rng.choice((57, 57, 57, 63))
    return _high_bytes(rng, codecs.split_labels(head + body, width, room))


def iodine_handshake(rng: random.Random, room: int) -> str:
    """Version, login, codec tests, fragment probes and pings."""
    user = rng.choice((0, 0, 1, 2, rng.randrange(16)))
    kind = rng.choices("vlzyrnpso", (3, 4, 5, 1, 6, 2, 8, 1, 1))[0]
    enc = codecs.encode_bits
    if kind == "v":
        return "v" + enc(b"\x00\x00\x05\x02" + rng.randbytes(2), codecs.IODINE_BASE32)
    if kind == "l":
        digest = hashlib.md5(rng.randbytes(8), usedforsecurity=False).digest()
        return "l" + enc(bytes([user]) + digest + rng.randbytes(2), codecs.IODINE_BASE32)
    if kind == "z":
        return _high_bytes(rng, codecs.split_labels("z" + _cmc(rng) + rng.choice(_CODEC_TESTS), 63, room))
    if kind == "y":
        return "y" + rng.choice("tsuvr") + _b32(1) + _cmc(rng)
    if kind == "r":
        size = rng.choice((768, 1152, 1344, 1200, 1180, rng.randrange(2048)))
        head = "r" + _b32(user << 1 | size >> 10 & 1) + _b32(size >> 5) + _b32(size) + "d"
        return codecs.split_labels(head + enc(rng.randbytes(room), codecs.IODINE_BASE32), 57, room)
    if kind == "n":
        return "n" + enc(bytes([user]) + rng.randint(64, 1344).to_bytes(2, "big") + rng.randbytes(2), codecs.IODINE_BASE32)
    if kind == "p":
        return "p" + enc(bytes([user, rng.randrange(128)]) + rng.randbytes(2), codecs.IODINE_BASE32)
    if kind == "s":
        return "s" + _b32(user) + _b32(rng.choice((5, 6, 26, 7))) + _cmc(rng)
    return "o" + _b32(user) + rng.choice("tsuvrli") + _cmc(rng)


def iodine(rng: random.Random, room: int) -> str:
    """Make data queries mostly, handshake queries sometimes."""
    return iodine_data(rng, room) if rng.random() < 0.75 else iodine_handshake(rng, room)


# Other tools ---------------------------------------------------------------------------------------------------


def dnscat2(rng: random.Random, room: int) -> str:
    """Hex packets with packet id, type and session id (dnscat2, doc/protocol.md), with the ``dnscat`` tag or without."""
    session, kind = rng.randbytes(2), rng.choices((0, 1, 2, 3), (1, 5, 1, 4))[0]
    head = rng.randbytes(2) + bytes([kind]) + session
    if kind == 0:
        body = rng.randbytes(2) + rng.choice((b"\x00\x00", b"\x00\x01", b"\x00\x20")) + f"command ({word(rng)})".encode() + b"\x00"
    elif kind == 1:
        body = rng.randbytes(4) + (payload(rng, _size(rng, room // 2)) if rng.random() < 0.7 else b"")
    elif kind == 2:
        body = rng.choice((b"", b"Executive order", b"user closed the session")) + b"\x00"
    else:
        body = rng.randbytes(6) + rng.randrange(600).to_bytes(2, "big") + rng.randbytes(rng.choice((9, 24, room // 2)))
    tag = rng.choice(("", "", "dnscat."))
    return tag + codecs.split_labels((head + body).hex(), rng.choice((60, 62, 63)), room - len(tag))


def dns2tcp(rng: random.Random, room: int) -> str:
    """Base64 of session id, acknowledgement, sequence, type and data; ``=auth``/``=connect`` tags (dns2tcp, common/includes)."""
    header = rng.randbytes(2) + rng.randrange(4096).to_bytes(2, "big") + rng.randrange(4096).to_bytes(2, "big")
    step = rng.choices(("data", "nop", "auth", "connect", "resource"), (12, 2, 1, 1, 1))[0]
    if step == "data":
        body = codecs.base64_text(header + b"\x08" + payload(rng, _size(rng, room)))
        return codecs.split_labels(body, rng.choice((63, 63, 60)), room)
    if step == "nop":
        return codecs.base64_text(header + b"\x04")
    extra = rng.randbytes(20) if step == "auth" else rng.choice((b"ssh", b"smtp", b"pop3", b"http-proxy", b"socks"))
    return f"{codecs.base64_text(header + bytes([2]) + extra)}.={step}"


def dnscapy(rng: random.Random, room: int) -> str:
    """Base64 labels, fragment number, flag, connection and query number (DNScapy, README and dnscapy_client.py)."""
    tail = f".{rng.randrange(128)}.{rng.choice('fde')}.{rng.randint(1, 40)}.{rng.randrange(65536)}"
    size = rng.choice((rng.randint(20, 80), room))
    return codecs.split_labels(codecs.base64_text(payload(rng, size)), 63, room - len(tail)) + tail


def tuns(rng: random.Random, room: int) -> str:
    """Base32 of a whole IP packet after a one-letter command (Nussbaum et al., "On robust covert channels inside DNS", 2009)."""
    text = codecs.encode_bits(ip_packet(rng, rng.choice((40, 52, 60, 84, 140))), codecs.RFC_BASE32)
    return codecs.split_labels(rng.choice("dddu") + text, 63, room)


def ozyman(rng: random.Random, room: int) -> str:
    """``<base32>-0.id-N.up.sshdns`` and ``<nonce>-0.id-N.down.sshdns`` (OzymanDNS, droute.pl)."""
    tail = f"-{rng.randrange(8)}.id-{rng.randrange(65536)}.{rng.choice(('up', 'up', 'down'))}"
    tail += rng.choice((".sshdns", ".sshdns", ""))
    if ".down" in tail:
        return str(rng.randrange(10**5, 10**9)) + tail
    return codecs.split_labels(codecs.encode_bits(payload(rng, _size(rng, room)), codecs.RFC_BASE32), 60, room - len(tail)) + tail


def heyoka(rng: random.Random, room: int) -> str:
    """Base32 chunks behind a two-byte session and a counter (Heyoka, "Revisiting DNS tunnelling", 2009)."""
    head = codecs.encode_bits(rng.randbytes(2) + rng.randrange(4096).to_bytes(2, "big"), codecs.RFC_BASE32HEX)
    body = codecs.encode_bits(payload(rng, _size(rng, room)), codecs.RFC_BASE32HEX)
    return codecs.split_labels(head + body, rng.choice((31, 48, 63)), room)


def dnsexfiltrator(rng: random.Random, room: int) -> str:
    """``init.<base64url or base32 name|count>`` and numbered chunks (DNSExfiltrator, README)."""
    url = rng.random() < 0.7
    if rng.random() < 0.12:
        file = f"{word(rng)}.{rng.choice(('zip', 'docx', 'pdf', 'db'))}|{rng.randint(2, 4000)}".encode()
        return "init." + (codecs.base64_text(file, url=True) if url else codecs.encode_bits(file, codecs.RFC_BASE32))
    head = f"{rng.randint(0, rng.choice((9, 99, 4000)))}."
    data = rng.randbytes(_size(rng, room))
    text = codecs.base64_text(data, url=True) if url else codecs.encode_bits(data, codecs.RFC_BASE32)
    return head + codecs.split_labels(text, rng.choice((63, 63, rng.randint(20, 63))), room - len(head))


def cobalt_strike(rng: random.Random, room: int) -> str:
    """``post.``, ``cdn.``, ``www6.``, ``api.`` channels of the DNS beacon (vendor's malleable C2 documentation, public analyses)."""
    session, counter = _hex(rng, rng.choice((7, 8))), _hex(rng, rng.choice((8, 9)))
    channel = rng.choices(("post", "api", "cdn", "www6", ""), (5, 2, 2, 1, 1))[0]
    if channel != "post":
        return f"{channel}.{counter}.{session}" if channel else f"{session}.{counter}"
    labels = rng.randint(1, 4)
    widths = [rng.choice((52, 56, 8, 16, 32)) for _ in range(labels)]
    data = ".".join(_hex(rng, width) for width in widths)
    return f"{rng.choice(('post', 'post', word(rng)))}.{labels}{data}.{counter}.{session}"[:room].rstrip(".")


def dnsteal(rng: random.Random, room: int) -> str:
    """Base64 chunks ended by ``-.`` with the file name last (dnsteal, README; + becomes *)."""
    name = f"{word(rng)}.{rng.choice(('txt', 'png', 'zip', 'pdf', 'csv'))}"
    text = codecs.base64_text(payload(rng, _size(rng, room)), pad=True).replace("+", "*")
    width = rng.choice((57, 45, 30))
    body = codecs.split_labels(text, width, room - len(name) - 2 * (room // width + 1))
    return body.replace(".", "-.") + "-." + name


def godoh(rng: random.Random, room: int) -> str:
    """Write identifier, type, sequence, checksum, protocol, length and hex data labels (goDoH, README and protocol package)."""
    if rng.random() < 0.2:
        return "".join(rng.choice(string.ascii_lowercase) for _ in range(5)).encode().hex()
    ident, kind, crc = _hex(rng, 4), rng.choice(("be", "ef", "da")), _hex(rng, 8)
    data = ".".join(_hex(rng, 60) for _ in range(rng.randint(1, 3))) if kind == "ef" else "0.0"
    return f"{ident}.{kind}.{rng.randrange(300)}.{crc}.{rng.randrange(2)}.{rng.randrange(4)}.{data}"[:room].rstrip(".")


def det(rng: random.Random, room: int) -> str:
    """Hex of ``job|!|chunk|!|data`` (Data Exfiltration Toolkit, plugins/dns.py)."""
    job = "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(7))
    text = f"{job}|!|{rng.randrange(500)}|!|".encode() + payload(rng, _size(rng, room // 2))
    return codecs.split_labels(text.hex(), 63, room)


def integer_alphabet(rng: random.Random, room: int) -> str:
    """Base36, base58 or base62 with a counter (Sliver's base58 and Saitama's base36 channels, public write-ups)."""
    alphabet = rng.choice((codecs.BASE36, codecs.BASE58, codecs.BASE62))
    if rng.random() < 0.3:
        alphabet = "".join(rng.sample(alphabet, len(alphabet)))
    text = codecs.encode_integer(rng.randrange(1 << 16).to_bytes(2, "big") + payload(rng, _size(rng, room)), alphabet)
    return codecs.split_labels(text, rng.choice((63, 63, rng.randint(20, 50))), room)


def short_label(rng: random.Random, room: int) -> str:
    """One label of 16 to 30 characters in any encoding."""
    data = payload(rng, 24)
    encodings = (
        codecs.encode_bits(data, codecs.RFC_BASE32),
        codecs.encode_bits(data, codecs.ZBASE32),
        codecs.encode_bits(data, codecs.IODINE_BASE32),
        codecs.encode_integer(data, codecs.BASE36),
        codecs.encode_integer(data, codecs.BASE62),
        codecs.base64_text(data, url=True),
        codecs.base64_text(data),
        data.hex(),
    )
    text = rng.choice(encodings).strip("-_")
    start = rng.randrange(max(len(text) - 30, 1))
    return text[start : start + rng.randint(16, 30)][:room]


def numbered(rng: random.Random, room: int) -> str:
    """Any encoding with a counter, session or host label before or after, as home-made exfiltration scripts do."""
    data = payload(rng, _size(rng, room))
    text = rng.choice((data.hex(), codecs.encode_bits(data, codecs.RFC_BASE32), codecs.base64_text(data, url=True)))
    text = text if rng.random() < 0.9 else text.replace("-", "_")
    number = rng.randrange(rng.choice((10, 100, 10000)))
    marks: tuple[str, ...] = (str(number), f"{number:03d}", f"{number:x}", f"s{number}", f"{number}-{number + rng.randint(1, 90)}")
    marks += (_hex(rng, 4), _hex(rng, 8), person(rng) + "-pc", f"{word(rng)}{number}", syllables(rng, 2))
    before = rng.choice(("", rng.choice(marks) + "."))
    after = rng.choice(("", "." + rng.choice(marks), "." + rng.choice(marks) + "." + rng.choice(marks)))
    width = rng.choice((63, 62, 60, 32, rng.randint(16, 63)))
    body = codecs.split_labels(text, width, min(room - len(before) - len(after), rng.choice((room, width, 2 * width))))
    joiner = rng.choice((".", ".", ".", "-"))
    return (before.replace(".", joiner) if len(before) + width < MAX_LABEL else before) + body + after


TOOLS: dict[str, tuple[Builder, int]] = {
    "iodine": (iodine, 24),
    "dnscat2": (dnscat2, 10),
    "dns2tcp": (dns2tcp, 8),
    "dnscapy": (dnscapy, 5),
    "tuns": (tuns, 4),
    "ozymandns": (ozyman, 5),
    "heyoka": (heyoka, 4),
    "dnsexfiltrator": (dnsexfiltrator, 7),
    "cobalt-strike": (cobalt_strike, 7),
    "dnsteal": (dnsteal, 4),
    "godoh": (godoh, 4),
    "det": (det, 3),
    "integer-alphabet": (integer_alphabet, 6),
    "short-label": (short_label, 8),
    "numbered": (numbered, 13),
    "any-alphabet": (tunnel_alphabets.any_alphabet, 16),
    "sliver": (tunnel_alphabets.sliver, 6),
    "weasel": (tunnel_alphabets.weasel, 5),
    "pisloader": (tunnel_alphabets.pisloader, 5),
    "beacon": (tunnel_alphabets.beacon, 9),
    "script": (tunnel_alphabets.script, 8),
    "keepalive": (tunnel_alphabets.keepalive, 8),
    "fields": (tunnel_alphabets.fields, 10),
    "chunk": (tunnel_alphabets.chunk, 12),
}

ZONED = ("keepalive", "fields", "chunk")
"""Tools whose names are too short to tell from a computer's or a random label where the zone is cut off."""


def base_domain(rng: random.Random, bases: Sequence[str] = ()) -> str:
    """Draw the zone a tunnel ends in: one of ``bases`` or an invented one, sometimes below further labels."""
    zone = rng.choice(bases) if bases else domain(rng)
    if rng.random() < 0.45:
        zone = f"{rng.choice(('t', 't1', 'ns', 'ns1', 'dns', 'x', 'c2', 'tun', 'a', 'cdn', 'mail', 'up', word(rng)))}.{zone}"
    return zone


def generate(
    rng: random.Random,
    n: int,
    *,
    tools: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    bases: Sequence[str] = (),
    base_rate: float = 0.35,
    ambiguous_rate: float = 0.03,
) -> list[tuple[str, str, str]]:
    """Make ``n`` rows ``(text, "tunnel", tool)``.

    ``tools`` and ``exclude`` choose among :data:`TOOLS`, so a tool can be held out. ``base_rate`` is the share of
    names that keep a base domain (from ``bases``, or invented); the published rows mostly have none. Names that
    are :func:`ambiguous` are kept at ``ambiguous_rate`` only: the published ordinary rows hold many like them, so
    a higher rate buys recall on short single labels with false alarms.
    """
    names = [name for name in (tools or TOOLS) if name not in exclude]
    weights = [TOOLS[name][1] for name in names]
    rows: list[tuple[str, str, str]] = []
    while len(rows) < n:
        family = rng.choices(names, weights)[0]
        tail = "." + base_domain(rng, bases) if family in ZONED or rng.random() < base_rate else ""
        room = rng.choice((MAX_NAME, MAX_NAME, rng.randint(70, 250))) - len(tail)
        text = TOOLS[family][0](rng, room)
        if rng.random() < 0.08 and len(text) > 40:  # queries of clients set to short single labels
            longest = max(wire_form(text).split("."), key=len)
            text = longest[: rng.randint(16, 40)] if len(longest) >= 16 else text
        text = (text + tail).lower().strip(".")
        if ambiguous(text) and rng.random() >= ambiguous_rate:
            continue
        if len(text) >= MIN_NAME and "?" not in text:
            rows.append((text, "tunnel", family))
    return rows
