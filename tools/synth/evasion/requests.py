"""Changes of an argument value: each gives a request target that holds the payload readably."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import quote

from tools.synth.evasion.shared import Change, carrier, escaped, mixed, parameters
from tools.synth.words import syllables, word

_SQL = re.compile(r"(?i)\b(?:select|union|insert|update|delete|sleep|waitfor|benchmark|or|and|order by|group by|having|drop)\b")
_SQL_WORD = re.compile(r"(?i)\b(select|union|from|where|sleep|insert|order|and|or)\b")
_FULLWIDTH = {c: chr(ord(c) + 0xFEE0) for c in "<>'\"()/;|&=`"}


def _among(before: int, after: int) -> Change:
    """The value among harmless parameters."""

    def change(rng: random.Random, value: str) -> str:
        path, _, name = carrier(rng).partition("?")
        parts = [parameters(rng, before)] * bool(before) + [name + escaped(value)] + [parameters(rng, after)] * bool(after)
        return f"{path}?{'&'.join(parts)}"

    return change


def encoded(encode: Callable[[random.Random, str], str]) -> Change:
    """The value behind a carrier, encoded by ``encode``."""
    return lambda rng, value: carrier(rng) + encode(rng, value)


def _bytes(share: float, letters: bool = False) -> Callable[[random.Random, str], str]:
    def encode(rng: random.Random, value: str) -> str:
        out = []
        for i, char in enumerate(value):
            chosen = char.isalpha() if letters else share == 1 or i % 2 == 0
            out.append("".join(f"%{b:02x}" for b in char.encode()) if chosen else escaped(char))
        return "".join(out)

    return encode


def _wide(rng: random.Random, value: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else f"%u{min(ord(c), 0xFFFF):04x}" for c in value)


def _fullwidth(rng: random.Random, value: str) -> str | None:
    changed = "".join(_FULLWIDTH.get(c, c) for c in value)
    return carrier(rng) + quote(changed, safe="") if changed != value else None


def _overlong(rng: random.Random, value: str) -> str | None:
    if "/" not in value and "<" not in value:
        return None
    return carrier(rng) + "".join(f"%c0%{0x80 | ord(c):02x}" if c in "/<>.'" else escaped(c) for c in value)


def of_sql(replace: Callable[[random.Random, str], str]) -> Change:
    """The value as ``replace`` writes it, where it holds words of SQL and blanks."""

    def change(rng: random.Random, value: str) -> str | None:
        return carrier(rng) + replace(rng, value) if _SQL.search(value) and " " in value else None

    return change


def _mixed_request(rng: random.Random, value: str) -> str | None:
    free = _SQL.search(value) or "<" in value or "javascript:" in value.lower()
    return carrier(rng) + escaped(mixed(rng, value)) if free and "/etc/" not in value else None


def _padded_request(rng: random.Random, value: str) -> str:
    path, _, name = carrier(rng).partition("?")
    return f"{path}?pad={rng.choice('abx0') * 500}&{name}{escaped(value)}"


def _random_before(rng: random.Random, value: str) -> str:
    path, _, name = carrier(rng).partition("?")
    return f"{path}?token={base64.urlsafe_b64encode(rng.randbytes(225)).decode()}&{name}{escaped(value)}"


def _deep(count: int) -> Change:
    return lambda rng, value: (
        "".join(f"/{rng.choice((word(rng), syllables(rng, 2)))}" for _ in range(count)) + carrier(rng) + escaped(value)
    )


def steps(step: str) -> Change:
    """The value with ``step`` for each ``../``."""

    def change(rng: random.Random, value: str) -> str | None:
        return carrier(rng) + value.replace("../", step) if "../" in value else None

    return change


def _shell(rng: random.Random, value: str) -> str | None:
    """Quotes inside command words and $IFS for blanks."""
    changed = re.sub(r"\b(cat|whoami|wget|curl|ping|nslookup|uname|sleep|bash|ls|id)\b", lambda m: f"{m[0][0]}''{m[0][1:]}", value)
    return carrier(rng) + escaped(changed.replace(" ", "${IFS}")) if changed != value and "<" not in value else None


def _markup(rng: random.Random, value: str) -> str | None:
    if "<" not in value and "javascript:" not in value.lower():
        return None
    if rng.random() < 0.5:
        return carrier(rng) + escaped("".join(f"&#{ord(c)};" if c.isalpha() and rng.random() < 0.5 else c for c in value))
    return carrier(rng) + escaped("".join(f"\\u{ord(c):04x}" if c in "<>\"'()" else c for c in value))


REQUEST_CHANGES: Mapping[str, Change] = MappingProxyType({
    "spaces as +": lambda rng, v: carrier(rng) + escaped(v).replace("%20", "+"),
    "SQL: comment for blanks": of_sql(lambda rng, v: v.replace(" ", "/**/")),
    "SQL: %09 or %0a for blanks": of_sql(lambda rng, v: v.replace(" ", rng.choice(("%09", "%0a", "%0b", "%a0")))),
    "SQL: /*!50000 */ keywords": of_sql(lambda rng, v: escaped(_SQL_WORD.sub(r"/*!50000\1*/", v))),
    "mixed case": _mixed_request,
    "every byte %-encoded": encoded(_bytes(1.0)),
    "every second byte %-encoded": encoded(_bytes(0.5)),
    "letters %-encoded": encoded(_bytes(1.0, letters=True)),
    "double %-encoded": encoded(lambda rng, v: quote(quote(v, safe=""), safe="")),
    "%uXXXX": encoded(_wide),
    "full-width characters": _fullwidth,
    "overlong characters": _overlong,
    "2 parameters before": _among(2, 0),
    "2 parameters after": _among(0, 2),
    "10 parameters before": _among(10, 0),
    "10 parameters after": _among(0, 10),
    "32 parameters before": _among(32, 0),
    "32 parameters after": _among(0, 32),
    "40 parameters around": _among(20, 20),
    "500 equal bytes before": _padded_request,
    "300 random bytes before": _random_before,
    "deep path before": _deep(6),
    "40 path segments before": _deep(40),
    "in the path": lambda rng, v: f"/{word(rng)}/{escaped(v)}",
    "traversal: ./ between": steps(".././"),
    "traversal: %2e%2e%2f": steps("%2e%2e%2f"),
    "traversal: ..%252f": steps("..%252f"),
    "command: quotes in words, $IFS": _shell,
    "markup: entities, script escapes": _markup,
    "value in base64": encoded(lambda rng, v: quote(base64.b64encode(v.encode()).decode(), safe="")),
    "JSON value": lambda rng, v: '{"' + word(rng) + '":"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"}',
})  # fmt: skip
"""Changes of an argument value that leave the payload readable in the request."""
