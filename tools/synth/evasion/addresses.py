"""Changes of an address that leave host and path readable in it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote

from tools.synth.evasion.shared import Change, parameters
from tools.synth.words import domain, syllables, word


def _parts(address: str) -> tuple[str, str]:
    host, _, rest = address.partition("/")
    return host, rest


def _percent_path(rng: random.Random, address: str) -> str | None:
    host, rest = _parts(address)
    return f"{host}/{''.join(f'%{ord(c):02x}' if c.isalnum() and c.isascii() else c for c in rest)}" if rest else None


URL_CHANGES: Mapping[str, Change] = MappingProxyType({
    "https:// before": lambda rng, a: "https://" + a,
    "www. before": lambda rng, a: "www." + a,
    "host in upper case": lambda rng, a: _parts(a)[0].upper() + a[len(_parts(a)[0]) :],
    "port :8443": lambda rng, a: _parts(a)[0] + ":8443" + a[len(_parts(a)[0]) :],
    "2 parameters after": lambda rng, a: a + ("&" if "?" in a else "?") + parameters(rng, 2),
    "32 parameters after": lambda rng, a: a + ("&" if "?" in a else "?") + parameters(rng, 32),
    "path %-encoded": _percent_path,
    "user part before": lambda rng, a: f"www.{domain(rng)}@{a}",
    "300 byte fragment after": lambda rng, a: f"{a}#{syllables(rng, 150)}",
})  # fmt: skip
"""Changes of an address that leave host and path readable in it."""

_WIDE_LETTERS = {code: code + 0xFEE0 for code in (*range(0x30, 0x3A), *range(0x61, 0x7B))}

MORE_URL_CHANGES: Mapping[str, Change] = MappingProxyType({
    "trailing dot": lambda rng, a: f"{_parts(a)[0]}.{a[len(_parts(a)[0]):]}",
    "port :443": lambda rng, a: f"{_parts(a)[0]}:443{a[len(_parts(a)[0]):]}",
    "name and password before": lambda rng, a: f"www.{domain(rng)}:secure@{a}",
    "defanged": lambda rng, a: f"hxxps://{_parts(a)[0].replace('.', '[.]')}{a[len(_parts(a)[0]):]}",
    "full-width host": lambda rng, a: _parts(a)[0].translate(_WIDE_LETTERS) + a[len(_parts(a)[0]) :],
    "ideographic dots": lambda rng, a: _parts(a)[0].replace(".", "\u3002") + a[len(_parts(a)[0]) :],
    "/./ in the path": lambda rng, a: a.replace("/", "/./", 1) if "/" in a else None,
    "path in upper case": lambda rng, a: f"{_parts(a)[0]}/{_parts(a)[1].upper()}" if _parts(a)[1] else None,
    "path %-encoded twice": lambda rng, a: f"{_parts(a)[0]}/{quote(quote(_parts(a)[1], safe=''), safe='')}" if _parts(a)[1] else None,
    "session after": lambda rng, a: f"{a};jsessionid={rng.randbytes(16).hex().upper()}",
    "campaign parameters after": lambda rng, a: (
        f"{a}{'&' if '?' in a else '?'}utm_source={word(rng)}&utm_medium=email&utm_campaign={word(rng)}_{word(rng)}"
    ),
    "10 parameters after": lambda rng, a: a + ("&" if "?" in a else "?") + parameters(rng, 10),
    "60 parameters after": lambda rng, a: a + ("&" if "?" in a else "?") + parameters(rng, 60),
})  # fmt: skip
