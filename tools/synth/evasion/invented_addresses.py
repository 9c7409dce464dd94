"""Changes of an address thought of after the others: other writings of scheme, host and path, and what may stand behind them."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import quote

from tools.synth.evasion.shared import Change, parameters
from tools.synth.words import sentence, syllables, word

_CAMPAIGN = ("source", "medium", "campaign", "term", "content")


def at_host(change: Callable[[random.Random, str], str | None]) -> Change:
    """The change made to the host alone."""

    def made(rng: random.Random, address: str) -> str | None:
        host, slash, rest = address.partition("/")
        new = change(rng, host)
        return f"{new}{slash}{rest}" if new and new != host else None

    return made


def at_path(change: Callable[[random.Random, str], str]) -> Change:
    """The change made to what stands behind the host."""

    def made(rng: random.Random, address: str) -> str | None:
        host, slash, rest = address.partition("/")
        new = change(rng, slash + rest)
        return host + new if rest and new != slash + rest else None

    return made


def with_query(more: Callable[[random.Random], str]) -> Change:
    """The address with what ``more`` gives behind it as a query."""
    return lambda rng, a: f"{a}{'&' if '?' in a else '?'}{more(rng)}"


def _number(rng: random.Random, host: str) -> str | None:
    parts = host.split(".")
    if len(parts) != 4 or not all(part.isdecimal() for part in parts):
        return None
    return str(int.from_bytes(bytes(map(int, parts)), "big"))


INVENTED_URL_CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "HTTP:// in capitals": lambda rng, a: "HTTP://" + a,
        "https:/// with three slashes": lambda rng, a: "https:///" + a,
        "https:\\\\ with back slashes": lambda rng, a: "https:\\\\" + a.replace("/", "\\"),
        "// alone": lambda rng, a: "//" + a,
        "blanks around": lambda rng, a: f"  {a}\t\n",
        "in angle brackets": lambda rng, a: f"<https://{a}>",
        "in quotes": lambda rng, a: f'"https://{a}"',
        "view-source:": lambda rng, a: f"view-source:https://{a}",
        "a tab in the scheme": lambda rng, a: "ht\ttps://" + a,
        "upper case throughout": lambda rng, a: f"HTTPS://{a.upper()}",
        "mixed case of the host": at_host(lambda rng, h: "".join(rng.choice((c, c.upper())) for c in h)),
        "host %-encoded": at_host(lambda rng, h: "".join(f"%{ord(c):02x}" if c.isalnum() and rng.random() < 0.4 else c for c in h)),
        "host %-encoded throughout": at_host(lambda rng, h: "".join(f"%{ord(c):02X}" for c in h)),
        "two trailing dots": at_host(lambda rng, h: h + ".."),
        "dot and port": at_host(lambda rng, h: h + ".:443"),
        "port :80": at_host(lambda rng, h: h + ":80"),
        "port :8080": at_host(lambda rng, h: h + ":8080"),
        "port with zeros": at_host(lambda rng, h: h + ":0443"),
        "an empty port": at_host(lambda rng, h: h + ":"),
        "soft hyphens in the host": at_host(lambda rng, h: h.replace("e", "e\u00ad")),
        "blanks of no width in the host": at_host(lambda rng, h: h.replace(".", "\u200b.")),
        "bold host": at_host(lambda rng, h: "".join(chr(ord(c) - 0x61 + 0x1D41A) if "a" <= c <= "z" else c for c in h)),
        "circled letters": at_host(lambda rng, h: h.translate({c: c - 0x61 + 0x24D0 for c in range(0x61, 0x7B, rng.randint(2, 4))})),
        "full-width dots": at_host(lambda rng, h: h.replace(".", "\uff0e")),
        "half-width ideographic dots": at_host(lambda rng, h: h.replace(".", "\uff61")),
        "(.)": at_host(lambda rng, h: "hxxp://" + h.replace(".", "(.)")),
        "[dot]": at_host(lambda rng, h: "hxxps[:]//" + h.replace(".", "[dot]")),
        "{.}": at_host(lambda rng, h: h.replace(".", "{.}")),
        "one number for the host": at_host(_number),
        "a name before @, encoded": lambda rng, a: f"https://www.{word(rng)}.com%2f{word(rng)}%3f@{a}",
        "a long name before @": lambda rng, a: f"https://{syllables(rng, 60)}@{a}",
        "no user before @": lambda rng, a: f"https://@{a}",
        "a fragment before nothing": lambda rng, a: a + "#",
        "a question mark behind": lambda rng, a: a + "?" if "?" not in a else None,
        "a text fragment": lambda rng, a: f"{a}#:~:text={quote(sentence(rng))}",
        "a route in the fragment": lambda rng, a: f"{a}#/{word(rng)}/{word(rng)}?{parameters(rng, 3)}",
        "an address in the fragment": lambda rng, a: f"{a}#{word(rng)}@{word(rng)}.com",
        "base64 in the fragment": lambda rng, a: f"{a}#{base64.b64encode(rng.randbytes(90)).decode()}",
        "gclid": with_query(lambda rng: f"gclid={base64.urlsafe_b64encode(rng.randbytes(66)).decode().rstrip('=')}"),
        "fbclid": with_query(lambda rng: f"fbclid=IwAR{base64.urlsafe_b64encode(rng.randbytes(42)).decode().rstrip('=')}"),
        "mail parameters": with_query(lambda rng: f"mc_cid={rng.randbytes(5).hex()}&mc_eid={rng.randbytes(5).hex()}"),
        "campaign of five": with_query(lambda rng: "&".join(f"utm_{name}={word(rng)}" for name in _CAMPAIGN)),
        "a token": with_query(lambda rng: f"token={rng.randbytes(20).hex()}"),
        "a number": with_query(lambda rng: f"v={rng.randrange(10**6)}"),
        "5 parameters after": with_query(lambda rng: parameters(rng, 5)),
        "300 parameters after": with_query(lambda rng: parameters(rng, 300)),
        "1,000 equal bytes": with_query(lambda rng: "pad=" + rng.choice("aA0") * 1000),
        "slashes doubled": at_path(lambda rng, p: p.replace("/", "//")),
        "slashes many times": at_path(lambda rng, p: "/" * 40 + p.lstrip("/")),
        "back slashes in the path": at_path(lambda rng, p: p.replace("/", "\\")),
        "/a/.. in the path": at_path(lambda rng, p: "/a/.." * 6 + p),
        "every byte of the path": at_path(lambda rng, p: re.sub(r"(?<=.)[^?#](?=[^?]*$)", lambda m: f"%{ord(m[0]):02X}", p)),
        "overlong slashes": at_path(lambda rng, p: "/" + p[1:].replace("/", "%c0%af")),
        "matrix parameters": at_path(lambda rng, p: re.sub(r"(?=\?|$)", f";v={rng.randrange(999)};lang=en", p, count=1)),
        "a slash behind": at_path(lambda rng, p: p if p.endswith("/") or "?" in p else p + "/"),
        "index.html behind": at_path(lambda rng, p: p + "index.html" if p.endswith("/") else p),
        "%20 behind": at_path(lambda rng, p: p + "%20%20"),
    }
)
"""Changes by name; they train nothing."""
