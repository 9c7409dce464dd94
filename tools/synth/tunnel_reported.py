"""Query names of tunnels and backdoors after public source code and reports, in templates: ``wordlists/tunnels.txt``.

Tools are parted by hash: those of ``train`` train dns-tunnel, those of ``choose`` and ``judge`` are for ``benchmarks.tunnel_tools`` alone,
the first of these to choose between ways of training, the second for what is reported.
"""

from __future__ import annotations

import hashlib
import random
import re
import string
from collections.abc import Callable, Sequence

from tools.synth import codecs
from tools.synth.payloads import payload
from tools.synth.templates import fill, groups
from tools.synth.tunnel_alphabets import BASE85, BASE91
from tools.synth.words import COMMON_TLDS, brand, person, word

FILE = "tunnels.txt"
PARTS = ("train", "choose", "judge")
SHARES = (50, 70)
"""Of a hundred tools, how many come before ``choose`` and before ``judge``."""
MOST, LEAST = 253, 8
"""Characters of a name (RFC 1035), and below which a name without its zone tells nothing."""
MAX_ONE_LABEL = 58
"""Characters of parts that may be joined in one label."""
_HEX = "0123456789abcdef"
_CHARS = {
    "hex": _HEX, "low": string.ascii_lowercase, "num": string.digits, "alnum": codecs.BASE36, "HEX": _HEX,
}  # fmt: skip
_BITS = {
    "hex": _HEX, "HEX": _HEX, "b32": codecs.RFC_BASE32, "b32h": codecs.RFC_BASE32HEX, "nib": "abcdefghijklmnop",
    "b64": string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/",
    "b64u": string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_",
}  # fmt: skip
_NUMBERS = {"b36": codecs.BASE36, "b58": codecs.BASE58, "b62": codecs.BASE62, "b85": BASE85, "b91": BASE91, "low": string.ascii_lowercase}
_CODED = re.compile(r"<(r?)(\w+) (\d+)-(\d+)(?: (\d+))?>")
_SIZED = re.compile(r"<(hex|low|num|alnum|HEX)(\d+)>")


def _coded(kind: str, data: bytes, rng: random.Random) -> str:
    if kind in _BITS:
        return codecs.encode_bits(data, _BITS[kind]).strip("-_")
    if kind in _NUMBERS:
        return codecs.encode_integer(data, _NUMBERS[kind])
    if kind == "xored":
        return bytes(byte ^ 0xB9 for byte in data).hex()
    if kind == "dec":
        return "".join(f"{byte:03d}" for byte in data)
    shuffled = "".join(rng.sample(codecs.BASE36, 32))  # an alphabet of the tool's own
    return codecs.encode_bits(data, shuffled)


def _slot(match: re.Match[str]) -> tuple[str, Callable[[random.Random], str]]:
    plain, kind, low, high, width = match[1] != "r", match[2], int(match[3]), int(match[4]), int(match[5] or 63)

    def drawn(rng: random.Random) -> str:
        size = rng.randint(low, high)
        data = payload(rng, size) if plain else rng.randbytes(size)
        return codecs.split_labels(_coded(kind, data, rng), width, MOST)

    return match[0][1:-1], drawn


def _sized(alphabet: str, size: int) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choices(alphabet, k=size))


def _computer(rng: random.Random) -> str:
    made, some = "".join(rng.choices(codecs.BASE36, k=7)), word(rng)
    forms = (
        f"desktop-{made}",
        f"{person(rng)}-pc",
        f"srv-{some}{rng.randint(1, 20)}",
        f"win-{made}{rng.randrange(10**4):04d}",
        f"{some}-laptop",
    )
    return rng.choice(forms)


def _address(rng: random.Random) -> str:
    return ".".join(str(rng.randint(1, 254)) for _ in range(4))


_TEXT = "\n".join(template for templates, _ in groups(FILE).values() for template in templates)
SLOTS: dict[str, Callable[[random.Random], str]] = {
    "guid": lambda rng: "-".join("".join(rng.choices(_HEX, k=size)) for size in (8, 4, 4, 4, 12)),
    "ips": _address,
    "pc": _computer,
    "user": lambda rng: rng.choice(("root", "admin", "www-data", "tomcat", "jenkins", person(rng))),
    "word": word,
    **dict(_slot(match) for match in _CODED.finditer(_TEXT)),
    **{match[0][1:-1]: _sized(_CHARS[match[1]], int(match[2])) for match in _SIZED.finditer(_TEXT)},
}


def part_of(tool: str) -> str:
    """Part of a tool, by hash."""
    place = int.from_bytes(hashlib.sha256(f"tunnel {tool}".encode()).digest()[:4], "big") % 100
    return PARTS[(place >= SHARES[0]) + (place >= SHARES[1])]


def tools_of(part: str) -> list[str]:
    """Tools of a part."""
    return [tool for tool in groups(FILE) if part_of(tool) == part]


def zone(rng: random.Random) -> str:
    """A registered domain of an operator's own, below further labels or not."""
    letters = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(4, 9)))
    name = rng.choice((brand(rng), f"{word(rng)}{rng.randint(1, 99)}", f"{word(rng)}-{word(rng)}", letters))
    ending = rng.choice((*COMMON_TLDS, "xyz", "online", "site", "club", "tk", "top", "me", "cc", "space"))
    below = rng.choice(("", "", "", "t.", "ns1.", "d.", "x.", "c.", "dns.", "tun.", "a1.", "u.", "api.", "update."))
    return f"{below}{name}.{ending}"


def query(rng: random.Random, tool: str) -> str:
    """One name of a tool without its zone, lower case, never longer than a name may be with one."""
    templates, weights = groups(FILE)[tool]
    text = fill(rng, rng.choices(templates, weights)[0], SLOTS).lower()
    return text[: MOST - 40].strip(".-")


_WORDS = (
    "a", "b", "c", "d", "q", "r", "t", "u", "x", "up", "dn", "tx", "rx", "id", "ok", "go", "in", "out",
    "dat", "cmd", "res", "ack", "syn", "fin", "get", "put", "log", "msg", "req", "end", "beg", "poll", "data", "file", "exec", "task",
    "info", "node", "chunk", "start", "hello", "reply",
)  # fmt: skip
_KINDS = (*_BITS, *_NUMBERS, "custom", "xored", "dec")


def _payload_field(rng: random.Random) -> str:
    size = int(5 * 2 ** (rng.random() * rng.choice((2.0, 3.0, 4.7))))
    data = payload(rng, size) if rng.random() < 0.5 else rng.randbytes(size)
    width = rng.choice((63, 63, 60, 57, 50, 32, 31, rng.randint(10, 62)))
    return codecs.split_labels(_coded(rng.choice(_KINDS), data, rng), width, 200)


def _small_field(rng: random.Random) -> str:
    number, size = rng.randrange(rng.choice((10, 100, 1000, 70_000))), rng.choice((2, 4, 4, 6, 8, 8, 10, 12, 16))
    digits = "".join(rng.choices(rng.choice((_HEX, _HEX, codecs.BASE36, codecs.BASE36, string.digits)), k=size))
    numbers = (str(number), f"{number:03d}", f"{number:05d}", f"{number:x}", digits, digits, digits)
    return rng.choice((*numbers, rng.choice(_WORDS), rng.choice(_WORDS) + str(number % 100), _computer(rng), SLOTS["user"](rng)))


def composed(rng: random.Random) -> str:
    """A query of no tool in particular: one or two pieces of payload, up to three of counter, session, word or computer, in any order."""
    parts = [_payload_field(rng) for _ in range(rng.choice((1, 1, 1, 1, 2)))]
    parts += [_small_field(rng) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]
    rng.shuffle(parts)
    between = rng.choice("....--_") if sum(map(len, parts)) < MAX_ONE_LABEL else "."
    return between.join(parts).lower().strip(".-_")[:200].strip(".-_")


def generate_composed(rng: random.Random, count: int, *, bases: Sequence[str] = ()) -> list[tuple[str, str, str]]:
    """Make ``count`` rows ``(text, "tunnel", "composed")``, nearly all of them below a zone."""
    rows = list[tuple[str, str, str]]()
    while len(rows) < count:
        text = composed(rng)
        if len(text) < 40 or rng.random() < 0.85:
            text = f"{text}.{rng.choice(bases) if bases and rng.random() < 0.3 else zone(rng)}"
        if all(0 < len(label) <= 63 for label in text.split(".")):
            rows.append((text, "tunnel", "composed"))
    return rows


def generate(
    rng: random.Random, count: int, *, tools: Sequence[str] | None = None, bases: Sequence[str] = (), base_rate: float = 0.75
) -> list[tuple[str, str, str]]:
    """Make ``count`` rows ``(text, "tunnel", tool)``, equally many of each tool; some without their zone, where enough is left to tell."""
    names, rows = list(tools if tools is not None else tools_of("train")), list[tuple[str, str, str]]()
    while len(rows) < count:
        tool = names[len(rows) % len(names)]
        text = query(rng, tool)
        long = len(text) >= 40
        if not long or rng.random() < base_rate:
            text = f"{text}.{rng.choice(bases) if bases and rng.random() < 0.6 else zone(rng)}"
        if len(text) >= LEAST:
            rows.append((text, "tunnel", tool))
    return rows
