"""Machines of networks, clouds, software and advertising (``e1234.dscb.akamaiedge.net``): most of what a sensor sees in DNS.

Lists of harmless names are mostly sites that people visit, so the machines behind them look like the hosts of malware lists. The word
list was written from general knowledge after a look at hosts of top lists that a model called malicious. Platforms where anybody may put
pages are left out; customers of some networks on it (``cloudfront.net``, ``azureedge.net``) do choose names of hosts.
"""

from __future__ import annotations

import random
import string

from tools.synth.templates import lines
from tools.synth.words import brand, word

Row = tuple[str, str, str]

_WORK: tuple[str, ...] = (
    "a",
    "api",
    "app",
    "assets",
    "auth",
    "beacon",
    "bidder",
    "c",
    "cacerts",
    "cdn",
    "check",
    "client",
    "clients",
    "collect",
)
_WORK += ("collector", "config", "connect", "content", "crl", "crl3", "d", "data", "device", "dl", "download", "edge", "events", "feed")
_WORK += ("fonts", "g", "gateway", "geo", "gw", "ib", "id", "images", "img", "in", "ingest", "init", "js", "l", "log", "logs", "m")
_WORK += ("match", "measure", "media", "metrics", "ntp", "o", "ocsp", "p", "ping", "pixel", "play", "presence", "prod", "push", "r")
_WORK += ("registry", "relay", "rtb", "s", "scripts", "sdk", "secure", "service", "session", "settings", "ssl", "static", "stats")
_WORK += ("status", "stream", "sync", "t", "tags", "telemetry", "time", "track", "trc", "update", "updates", "upload", "us", "v")
_WORK += ("video", "w", "ws", "x")
_PLACES: tuple[str, ...] = (
    "us-east-1",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "ap-southeast-1",
    "us",
    "eu",
    "na",
    "emea",
    "apac",
    "sg",
    "de",
)
_PLACES += ("fra1", "ams", "iad", "lhr", "dscb", "dscx", "dsca", "dscd", "b", "g", "a", "prod", "prd", "stage", "use1", "euw1", "na03")
_PLACES += ("westeurope", "eastus", "weu")


def label(rng: random.Random) -> str:
    """Draw the first label or labels of a machine's name."""
    work, place, number = rng.choice(_WORK), rng.choice(_PLACES), rng.randint(1, 99)
    letter = rng.choice(string.ascii_lowercase)
    shapes = (
        work,
        f"{work}{number if number < 10 else ''}",
        f"{work}-{place}",
        f"{work}.{place}",
        f"{place}-{work}",
        f"{work}-{word(rng)}",
        f"{word(rng)}-{work}",
        f"{word(rng)}.{work}",
        f"{brand(rng)}",
        f"{brand(rng)}.{work}",
        f"{brand(rng)}-{place}.{work}",
        f"{letter}{rng.randint(1, 999_999)}.{place}",
        f"{letter}{rng.randint(1, 99_999)}",
        f"{rng.choice(('ns', 'dns', 'sun', 'srv', 'edge', 'r', 'rr'))}{rng.randint(1, 9)}-{number}",
        f"{work}.{letter}{rng.randint(1, 9)}",
        "d" + "".join(rng.choices(string.ascii_lowercase + string.digits, k=rng.choice((12, 13)))),
        f"{rng.getrandbits(rng.choice((32, 48))):08x}",
        f"{rng.randint(1000, 9_999_999)}.{work}",
    )
    return rng.choice(shapes)


def host(rng: random.Random) -> Row:
    """Draw the name of a machine."""
    return f"{label(rng)}.{rng.choice(lines('infrastructure.txt'))}", "legit", "infrastructure"


def generate(rng: random.Random, n: int) -> list[Row]:
    """``n`` names of machines."""
    return [host(rng) for _ in range(n)]
