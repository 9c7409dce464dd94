"""User-Agent headers of the classes that the data has few of, by template and lists of real product names.

The forms are those the products send (RFC 9110 product tokens, RFC 7231 comments); names come from product and project names in
the word lists, versions and models are drawn. A name whose class the data decides otherwise (``Scrapy`` and a bare ``curl/7.x``
are crawlers there) follows the data. Real strings and contradictions are left out by :func:`tools.synth.drop_known`.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
import string
from collections.abc import Callable

from tools.synth.templates import fill, groups, lines
from tools.synth.words import brand

SHARES = {
    "http-library": 0.12,
    "crawler-bot": 0.19,
    "browser-desktop": 0.17,
    "tv-console-iot": 0.15,
    "mobile-app": 0.14,
    "feed-media-client": 0.12,
    "attack-tool": 0.11,
}
"""Share of each class among the generated rows."""

_INVENTED = 0.25  # of names in lists of products, of which there are always new ones
_LANGUAGES = ("en", "en", "en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl", "cs", "ru", "tr", "ja", "ko", "zh")
_COUNTRIES = {"en": ("US", "GB", "CA", "AU"), "pt": ("BR", "PT"), "zh": ("CN", "TW"), "sv": ("SE",), "da": ("DK",), "nb": ("NO",)}
_COUNTRIES |= {"cs": ("CZ",), "ja": ("JP",), "ko": ("KR",)}

# CFNetwork and Darwin of one system release, from Apple's release lists.
_CFNETWORK = (
    ("485", "10.3"),
    ("548.1", "11.0"),
    ("609", "13.0"),
    ("672", "14.0"),
    ("711", "14.0"),
    ("758", "15.0"),
    ("808", "16.0"),
    ("811", "16.7"),
    ("889", "17.2"),
    ("893", "17.4"),
    ("976", "18.2"),
    ("978.0", "18.7"),
    ("1107", "19.0"),
    ("1121.2", "19.3"),
    ("1206", "20.1"),
    ("1240.0", "20.6"),
    ("1312", "21.0"),
    ("1335.0", "21.6"),
    ("1390", "22.0"),
    ("1404.0", "22.3"),
    ("1410.0", "22.6"),
    ("1474", "23.0"),
    ("1490.0", "23.2"),
    ("1498.700", "23.6"),
    ("1568.100", "24.0"),
    ("3826.400", "24.3"),
    ("3826.600", "24.6"),
    ("3860.100", "25.0"),
)
_CHROME_BUILDS: tuple[tuple[int, int], ...] = (
    (4, 249),
    (10, 648),
    (20, 1132),
    (31, 1650),
    (40, 2214),
    (50, 2661),
    (60, 3112),
    (70, 3538),
    (80, 3987),
    (90, 4430),
)
_CHROME_BUILDS += ((100, 4896), (110, 5481), (120, 6099), (130, 6723), (140, 7339))
_BUILDS: tuple[str, ...] = (
    "LMY47V",
    "LRX22C",
    "MMB29M",
    "MRA58K",
    "NRD90M",
    "N2G47H",
    "NMF26X",
    "OPM1.171019.011",
    "OPR1.170623.027",
    "O11019",
)
_BUILDS += ("PPR1.180610.011", "PKQ1.180904.001", "QP1A.190711.020", "QKQ1.191014.001", "RP1A.200720.011", "RP1A.201005.001")
_BUILDS += ("SP1A.210812.016", "TP1A.220624.014", "UP1A.231005.007", "AP3A.240905.015.A2", "BP2A.250605.031.A3")


def language(rng: random.Random) -> str:
    """Draw a language tag such as ``en-US``."""
    tongue = rng.choice(_LANGUAGES)
    return f"{tongue}-{rng.choice(_COUNTRIES.get(tongue, (tongue.upper(),)))}"


def chrome_version(rng: random.Random) -> str:
    """Draw a Chrome version: full with a build that fits the major version, or reduced (``120.0.0.0``)."""
    major = rng.randint(28, 145)
    if major >= 101 and rng.random() < 0.6:
        return f"{major}.0.0.0"
    (low, build), (high, next_build) = next(
        (pair for pair in itertools.pairwise(_CHROME_BUILDS) if pair[0][0] <= major < pair[1][0]), _CHROME_BUILDS[-2:]
    )
    at = build + (next_build - build) * (major - low) // (high - low)
    return f"{major}.0.{at}.{rng.randint(8, 190)}"


def _darwin(rng: random.Random) -> tuple[str, str]:
    network, kernel = rng.choice(_CFNETWORK)
    tail = rng.choice(("", f".{rng.randint(1, 5)}", f".{rng.randint(1, 12)}", f".{rng.randint(1, 5)}.{rng.randint(1, 3)}"))
    return network + tail, f"{kernel}.0"


def _cfnetwork(rng: random.Random) -> str:
    network, kernel = _darwin(rng)
    mac = rng.choice(("", "", "", "", f" (x86_64) ({rng.choice(('MacBookPro', 'MacBookAir', 'iMac', 'Macmini'))}{rng.randint(5, 16)}%2C1)"))
    return f"CFNetwork/{network} Darwin/{kernel}{mac}"


def _letters(alphabet: str, low: int, high: int) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choice(alphabet) for _ in range(rng.randint(low, high)))


@functools.cache
def names(kind: str) -> tuple[str, ...]:
    """Read a list of product names."""
    return lines(f"user_agent/names_{kind}.txt")


def _name(kind: str, endings: tuple[str, ...] = ()) -> Callable[[random.Random], str]:
    def draw(rng: random.Random) -> str:
        if endings and rng.random() < _INVENTED:
            made = brand(rng).replace("-", "")
            return rng.choice((made.capitalize(), made.capitalize(), made)) + rng.choice(endings)
        return rng.choice(names(kind))

    return draw


def _low(kind: str) -> Callable[[random.Random], str]:
    """A name as it occurs in a package, host or address: lower-case letters and digits."""

    def draw(rng: random.Random) -> str:
        made = re.sub(r"[^a-z0-9]", "", rng.choice(names(kind)).lower())
        return made if 2 < len(made) < 24 and rng.random() < 0.6 else brand(rng).replace("-", "")

    return draw


def _encoded(draw: Callable[[random.Random], str]) -> Callable[[random.Random], str]:
    """Apps name themselves with ``%20`` for blanks, or without any."""
    return lambda rng: draw(rng).replace(" ", rng.choice(("%20", "%20", "", " ")))


def _chromium(rng: random.Random) -> str:
    version = ".".join(str(rng.randint(0, 60)) for _ in range(rng.choice((2, 3, 4))))
    yandex = f"{rng.randint(14, 26)}.{rng.randint(1, 12)}.{rng.randint(0, 9)}.{rng.randint(10, 2999)}"
    return rng.choice(names("chromium")).replace("CR", chrome_version(rng)).replace("VER", version).replace("/YA", f"/{yandex}")


def _shell(rng: random.Random) -> str:
    version = f"{rng.randint(1, 60)}.{rng.randint(0, 9)}.{rng.randint(0, 999)}.{rng.randint(0, 99)}"
    product = rng.choice(("Vivaldi", "OPR", "Edg", "Avast", "AVG", "Norton", "CCleaner", "Brave", "Maxthon", "Whale", "Iron", "UCBrowser"))
    return rng.choice((f"{product}/{version}", f"{product}/{version}", "/" + syllable_tag(rng)))


def syllable_tag(rng: random.Random) -> str:
    """Draw a short tag with a number, as bundled browsers append it."""
    return f"{brand(rng).replace('-', '').capitalize()}/{rng.randint(1, 9)}.{rng.randint(0, 9)}"


def _lg_model(rng: random.Random) -> str:
    series = rng.choice(("LA", "LB", "LF", "LH", "LJ", "LK", "LM", "NANO", "OLED", "QNED", "SJ", "SK", "SM", "UF", "UH", "UJ", "UK", "UM"))
    size, number = rng.choice((24, 28, 32, 43, 49, 50, 55, 65, 75, 86)), rng.randint(50, 99) * 10 + rng.choice((0, 3, 5))
    return f"{size}{series}{number}0{rng.choice(('LA', 'PLA', 'PLC', 'PUA', 'PSB', 'V-ZA', 'T-ZC', 'LC', 'PTA', 'ZC', 'PVA'))}"


SLOTS: dict[str, Callable[[random.Random], str]] = {
    "HEX10": _letters("0123456789ABCDEF", 10, 10),
    "CC": lambda rng: language(rng)[-2:],
    "LOC": lambda rng: language(rng).replace("-", "_"),
    "TVB": lambda rng: rng.choice(names("tvbrand")).upper().replace(" ", "_"),
    "app": _encoded(_name("app", ("", "", "App", "Mobile", "Pay", "Go", "Chat", "Shop", "Bank", "Fit", " Pro"))),
    "applow": _low("app"),
    "bot": _name("bot", ("Bot", "bot", "Crawler", "Spider", "spider", "-crawler", "Fetcher", "Indexer", "Checker", "Preview", "Monitor")),
    "botlow": _low("bot"),
    "build": lambda rng: rng.choice(_BUILDS),
    "carrier": lambda rng: rng.choice(("Vodafone", "Orange F", "T-Mobile", "AT&T", "MTN", "Airtel", "Claro", "Movistar", "Jio 4G")),
    "cfn": _cfnetwork,
    "cfnv": lambda rng: _darwin(rng)[0],
    "chromium": _chromium,
    "cr": chrome_version,
    "darwin": lambda rng: _darwin(rng)[1],
    "hex16": _letters("0123456789abcdef", 16, 16),
    "hex32": _letters("0123456789abcdef", 32, 32),
    "hex7": _letters("0123456789abcdef", 7, 8),
    "iosbuild": lambda rng: f"{rng.randint(13, 23)}{rng.choice('ABCDEFGH')}{rng.randint(30, 700)}",
    "lang": language,
    "lgtv": _lg_model,
    "lin": lambda rng: rng.choice(("Linux x86_64", "Linux x86_64", "Linux i686", "Linux aarch64", "Fedora; Linux x86_64", "FreeBSD amd64")),
    "langlow": lambda rng: language(rng).lower(),
    "ll": lambda rng: language(rng)[:2],
    "loc": lambda rng: language(rng).replace("-", "_").lower(),
    "low8": lambda rng: re.sub(r"[^a-z]", "", brand(rng).lower())[:11],
    "lower8": _letters(string.ascii_lowercase, 4, 9),
    "macv": lambda rng: f"10_{rng.randint(6, 15)}_{rng.randint(0, 8)}" if rng.random() < 0.5 else "10_15_7",
    "podlow": _low("pod"),
    "pod": _encoded(_name("pod", ("Cast", "cast", " Radio", " FM", " Podcast", " Podcasts", "Pod", " Audio", " Music"))),
    "reader": _name("reader", ("Reader", " RSS", "Feed", "News", " News", "RSS", "Feeds")),
    "readlow": _low("reader"),
    "shell": _shell,
    "tool": lambda rng: rng.choice((str, str, str.capitalize, str.upper))(rng.choice(names("tool"))),
    "toollow": _low("tool"),
    "win": lambda rng: rng.choice(
        ("Windows NT 10.0; Win64; x64",) * 4
        + ("Windows NT 10.0; WOW64", "Windows NT 6.1; WOW64", "Windows NT 6.1; Win64; x64", "Windows NT 6.1", "Windows NT 6.3; Win64; x64")
        + ("Windows NT 6.2; WOW64", "Windows NT 5.1", "Windows NT 6.0", "Windows NT 10.0; ARM64", "Windows NT 6.3; WOW64")
    ),
}
SLOTS |= {
    kind: _name(kind)
    for kind in (
        *("aft", "atv", "box", "eapp", "laptop", "malware", "mon", "netclr", "oem", "phone", "pos", "role", "scanner", "toolbar"),
        *("tvbrand", "vendor"),
    )
}


def generate(rng: random.Random, n: int) -> list[tuple[str, str, str]]:
    """Make ``n`` rows ``(text, class, "generated-<group of templates>")``, classes by :data:`SHARES`."""
    rows = []
    for label in rng.choices(list(SHARES), list(SHARES.values()), k=n):
        files = groups(f"user_agent/{label.replace('-', '_')}.txt")
        group = rng.choices(list(files), [sum(weights) for _, weights in files.values()])[0]
        templates, weights = files[group]
        text = fill(rng, rng.choices(templates, weights)[0], SLOTS)
        rows.append((" ".join(text.split()), label, f"generated-{group}"))
    return rows
