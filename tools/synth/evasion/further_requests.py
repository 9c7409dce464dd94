"""Further changes of an argument value, which train nothing."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import quote

from tools.synth.evasion.requests import encoded, of_sql, steps
from tools.synth.evasion.shared import Change, carrier, escaped
from tools.synth.words import word


def _escaped_marks(form: str) -> Callable[[random.Random, str], str]:
    """Everything but letters and digits as ``form`` of its code."""
    return lambda rng, v: quote("".join(c if c.isalnum() or ord(c) > 0xFFFF else form.format(ord(c)) for c in v), safe="")


def _sql_codes(rng: random.Random, value: str) -> str | None:
    coded = re.sub(r"'(\w{3,})'", lambda m: f"char({','.join(str(ord(c)) for c in m[1])})", value)
    return carrier(rng) + escaped(coded) if coded != value else None


def _in_words(rng: random.Random, value: str, mark: str) -> str | None:
    changed = re.sub(r"\b(cat|whoami|wget|curl|ping|nslookup|uname|sleep|bash|ls)\b", lambda m: f"{m[0][0]}{mark}{m[0][1:]}", value)
    return carrier(rng) + escaped(changed) if changed != value and "<" not in value else None


def _path_with(rng: random.Random, value: str, between: str) -> str:
    path, _, name = carrier(rng).partition("?")
    return f"{between}{path}?{name}{escaped(value)}"


MORE_REQUEST_CHANGES: Mapping[str, Change] = MappingProxyType({
    "triple %-encoded": encoded(lambda rng, v: quote(quote(quote(v, safe=""), safe=""), safe="")),
    "every byte %25XX": encoded(lambda rng, v: "".join(f"%25{b:02x}" for b in v.encode())),
    "decimal entities throughout": encoded(lambda rng, v: quote("".join(f"&#{ord(c)};" for c in v), safe="")),
    "hexadecimal entities throughout": encoded(lambda rng, v: quote("".join(f"&#x{ord(c):x};" for c in v), safe="")),
    "\\xHH": encoded(_escaped_marks("\\x{:02x}")),
    "\\uHHHH": encoded(_escaped_marks("\\u{:04x}")),
    "octal escapes": encoded(lambda rng, v: quote("".join(f"\\{ord(c):03o}" if ord(c) < 256 else c for c in v), safe="")),
    "base64 twice": encoded(lambda rng, v: quote(base64.b64encode(base64.b64encode(v.encode())).decode(), safe="")),
    "base64 of UTF-16": encoded(lambda rng, v: quote(base64.b64encode(v.encode("utf-16-le")).decode(), safe="")),
    "base64 of gzip": encoded(lambda rng, v: quote(base64.b64encode(gzip.compress(v.encode(), mtime=0)).decode(), safe="")),
    "hexadecimal": encoded(lambda rng, v: v.encode().hex()),
    "session in the path": lambda rng, v: (
        carrier(rng).replace("?", f";jsessionid={rng.randbytes(16).hex().upper()}?") + escaped(v)
    ),
    "/a/../ eight times": lambda rng, v: _path_with(rng, v, "/a/.." * 8),
    "slashes doubled in the path": lambda rng, v: "/x" + carrier(rng).replace("/", "//") + escaped(v),
    "60 blanks before": lambda rng, v: carrier(rng) + "%20" * 60 + escaped(v),
    "60 blanks after": lambda rng, v: carrier(rng) + escaped(v) + "%20" * 60,
    "JSON in the value": encoded(lambda rng, v: quote(json.dumps([v, rng.randrange(99)]), safe="")),
    "SQL: comments of words": of_sql(lambda rng, v: v.replace(" ", f"/*{word(rng)}*/")),
    "SQL: # and a line end": of_sql(lambda rng, v: v.replace(" ", f"%23{word(rng)}%0a")),
    "SQL: runs of blanks": of_sql(lambda rng, v: v.replace(" ", "%20%20%20")),
    "SQL: character codes": _sql_codes,
    "command: back slashes in words": lambda rng, v: _in_words(rng, v, "\\"),
    "command: $@ in words": lambda rng, v: _in_words(rng, v, "$@"),
    "traversal: ..;/": steps("..;/"),
    "traversal: back slashes": steps("..\\"),
    "traversal: ..%c0%af": steps("..%c0%af"),
    "traversal: ....//": steps("....//"),
})  # fmt: skip
"""Further changes of an argument value, which train nothing."""
