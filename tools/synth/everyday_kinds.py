"""Ordinary strings that look like threats, by kind: names (dynamic DNS, look-ups, clouds, …) and addresses (mail wrappers, …).

Kinds and forms are templates in ``wordlists/everyday_names.txt`` and ``everyday_pages.txt``, one operator a line. The lines are parted by
hash: operators of the part ``train`` may train, those of ``measure`` are for ``benchmarks.everyday`` alone.
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
import string
import uuid
from collections.abc import Callable

from tools.synth import pages, words
from tools.synth.everyday_hosts import stranger
from tools.synth.templates import fill, lines

Row = tuple[str, str, str]
FILES = {"names": "everyday_names.txt", "pages": "everyday_pages.txt"}
TRAINED, REPORTED = 60, "+ "
"""Of a hundred operators, how many may train, and how lines begin of which all do: those of public reports of false alarms."""
_LOWER, _ALNUM = string.ascii_lowercase, string.ascii_lowercase + string.digits
_ALPHABETS = {
    "hex": "0123456789abcdef", "HEX": "0123456789ABCDEF", "low": _LOWER, "num": string.digits, "alnum": _ALNUM, "b32": _LOWER + "234567",
    "ID": string.ascii_letters + string.digits + "-_", "id": string.ascii_letters + string.digits,
    "UP": string.ascii_uppercase + string.digits, "cons": "bcdfghjklmnpqrstvwxz",
}  # fmt: skip
_SIZED = re.compile(r"<(" + "|".join(sorted(_ALPHABETS, key=len, reverse=True)) + r")(\d+)>")


def _address(between: str, count: int = 4, most: int = 254) -> Callable[[random.Random], str]:
    return lambda rng: between.join(str(rng.randint(1, most)) for _ in range(count))


def _drawn(alphabet: str, size: int) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choices(alphabet, k=size))


def _slug(rng: random.Random) -> str:
    return "-".join(words.word(rng) for _ in range(rng.choice((1, 2, 2, 3))))


def _host(rng: random.Random) -> str:
    return rng.choice(("", "", "www.", "mail.")) + words.domain(rng)


_SCRIPTS = (
    "абвгдежзиклмнопрстуфхцчшыюя",
    "あいうえおかきくけこさしすせそたなはまやらん",
    "アイウエオカキクケコサシスセソタナハマヤラン",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "กขคงจชซดตถทนบปผพฟมยรลวสหอ",
    *("".join(map(chr, codes)) for codes in (range(0x4E00, 0x5200), range(0xAC00, 0xB000, 7))),
)
_ACCENTS = str.maketrans({"a": "äáàåã", "o": "öóøô", "u": "üúů", "e": "éèêě", "i": "íï", "c": "çč", "s": "šśß", "n": "ñń"})


def _idn(rng: random.Random) -> str:
    """A-label of a word with accents, or of letters of another script (RFC 5891)."""
    name = "".join(rng.choices(rng.choice(_SCRIPTS), k=rng.randint(2, 9)))
    if rng.random() < 0.5:
        plain = rng.choice((words.word(rng), words.brand(rng)))
        name = "".join(rng.choice(c.translate(_ACCENTS)) if rng.random() < 0.5 else c for c in plain)
    return name.encode("idna").decode() if len(name) < 20 else words.word(rng)


def _directory(rng: random.Random) -> str:
    return f"{rng.choice(('ad.', 'corp.', ''))}{words.brand(rng)}.{rng.choice(('local', 'com', 'lan', 'intern'))}"


_REGIONS = ("us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1", "sa-east-1")
_REGIONS2 = ("us-central1", "europe-west1", "europe-west3", "asia-east1", "us-east4")
_AZURE = ("westeurope", "northeurope", "eastus", "eastus2", "westus2", "uksouth", "southeastasia", "germanywestcentral")
SLOTS: dict[str, Callable[[random.Random], str]] = {
    **pages.SLOTS,
    "ad": _directory,
    "azure": lambda rng: rng.choice(_AZURE),
    "brand": words.brand,
    "guid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "host": _host,
    "idn": _idn,
    "ip12": lambda rng: "".join(f"{rng.randint(1, 254):03d}" for _ in range(4)),
    "ipd": _address("-"),
    "ipd2": _address("-", 2),
    "ipd3": _address("-", 3),
    "ips": _address("."),
    "own": stranger,
    "person": words.person,
    "region": lambda rng: rng.choice(_REGIONS),
    "region2": lambda rng: rng.choice(_REGIONS2),
    "rip": _address("."),
    "selector": lambda rng: rng.choice(("selector1", "s1", "google", "k1", "mail", "dkim", f"s{rng.randint(1000, 2030)}")),
    "Site": lambda rng: words.word(rng).capitalize(),
    "slug": _slug,
} | {
    f"{kind}{size}": _drawn(_ALPHABETS[kind], int(size))
    for file in FILES.values() for line in lines(file) for kind, size in _SIZED.findall(line)
}  # fmt: skip


@functools.cache
def kinds(what: str, part: str) -> dict[str, tuple[str, ...]]:
    """Templates by kind: ``what`` is ``names`` or ``pages``, ``part`` is ``train`` or ``measure``."""
    found: dict[str, list[str]] = {}
    kind = ""
    for line in lines(FILES[what]):
        if re.fullmatch(r"\[[\w-]+\]", line):
            kind = line[1:-1]
        elif (line.startswith(REPORTED) or place(line) < TRAINED) == (part == "train"):
            found.setdefault(kind, []).append(line.removeprefix(REPORTED))
    return {kind: tuple(templates) for kind, templates in found.items()}


def place(template: str) -> int:
    """Place of an operator from 0 to 99, by hash."""
    return int.from_bytes(hashlib.sha256(f"everyday {template}".encode()).digest()[:4], "big") % 100


def filled(rng: random.Random, template: str) -> str:
    """One string of a template."""
    return fill(rng, template, SLOTS)


def generate(rng: random.Random, count: int, what: str = "names", part: str = "train") -> list[Row]:
    """Draw ``count`` rows ``(text, "legit", kind)``, equally many of each kind."""
    found = list(kinds(what, part).items())
    drawn = (found[i % len(found)] for i in range(count))
    return [(filled(rng, rng.choice(templates)), "legit", kind) for kind, templates in drawn]
