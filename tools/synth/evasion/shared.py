"""What changes of every kind of string share: a carrier of values, harmless parameters, whose shell a line is for."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable
from urllib.parse import quote

from tools.synth import cmdline
from tools.synth.words import syllables, word

Change = Callable[[random.Random, str], str | None]

_NAMES: tuple[str, ...] = (
    "id",
    "q",
    "page",
    "lang",
    "ref",
    "sort",
    "view",
    "cat",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "session",
    "token",
    "v",
)
_NAMES += ("gclid", "fbclid", "_ga", "color", "size", "from", "to", "limit", "offset", "format", "callback", "theme", "tab", "filter")
_CARRIERS = ("/item?id=", "/search?q=", "/page.php?name=", "/api/v1/find?value=", "/view?file=", "/index.jsp?p=")

_WINDOWS_SHELL = re.compile(r"(?i)^\W{0,3}(?:powershell|pwsh|cmd|mshta|wscript|cscript|mimikatz|vssadmin|bcdedit|nltest|whoami /)")


def is_windows(line: str) -> bool:
    """Whether a line runs on Windows."""
    return cmdline.is_windows(line) or bool(_WINDOWS_SHELL.match(line))


def carrier(rng: random.Random) -> str:
    """Path and parameter that carry a value."""
    return rng.choice(_CARRIERS)


def escaped(value: str) -> str:
    """A value as a browser sends it."""
    return quote(value, safe="/:;,()!*'@|$.")


def parameter(rng: random.Random) -> str:
    """A harmless parameter."""
    roll = rng.random()
    value = word(rng) if roll < 0.4 else str(rng.randrange(10 ** rng.randint(1, 8))) if roll < 0.65 else syllables(rng, rng.randint(2, 4))
    if roll > 0.85:
        value = base64.urlsafe_b64encode(rng.randbytes(rng.randint(6, 24))).decode().rstrip("=")
    return f"{rng.choice(_NAMES)}={value}"


def parameters(rng: random.Random, count: int) -> str:
    """Harmless parameters, joined."""
    return "&".join(parameter(rng) for _ in range(count))


def mixed(rng: random.Random, text: str) -> str:
    """Every letter in a case drawn for it."""
    return "".join(rng.choice((c.lower(), c.upper())) for c in text)
