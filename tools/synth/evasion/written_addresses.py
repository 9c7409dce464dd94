"""Further writings of an address: as browsers, mail and reports write it, and what servers leave aside."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import quote

from tools.synth.evasion.invented_addresses import at_host, at_path, with_query
from tools.synth.evasion.shared import Change, parameter, parameters
from tools.synth.words import domain, syllables, word

_CYRILLIC = {ord(a): b for a, b in zip("aceopxyi", "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456", strict=True)}


def _some(chars: Mapping[int, str], share: float) -> Callable[[random.Random, str], str]:
    return lambda rng, h: "".join(chars[ord(c)] if ord(c) in chars and rng.random() < share else c for c in h)


def _four(form: Callable[[list[int]], str]) -> Change:
    """Another writing of a host of four numbers (``inet_aton``)."""

    def change(rng: random.Random, host: str) -> str | None:
        return form([int(part) for part in host.split(".")]) if re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}", host) else None

    return at_host(change)


def _mixed_escapes(rng: random.Random, path: str) -> str:
    forms = ("{}", "%{:02x}", "%{:02X}")
    return "".join(c if c in "/?#&=" else f.format(c if f == "{}" else ord(c)) for c in path for f in (rng.choice(forms),))


def _fragment(more: Callable[[random.Random], str]) -> Change:
    return lambda rng, a: f"{a}#{more(rng)}"


WRITTEN_URL_CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "www2. before": lambda rng, a: f"www2.{a}" if not a[0].isdecimal() else None,
        "m. before": lambda rng, a: f"m.{a}" if not a[0].isdecimal() else None,
        "www. before, with scheme": lambda rng, a: f"https://www.{a}" if not a[0].isdecimal() else None,
        "three trailing dots": at_host(lambda rng, h: h + "..."),
        "a trailing dot and a blank": at_host(lambda rng, h: h + ".%20"),
        "two dots and a port": at_host(lambda rng, h: h + "..:443"),
        "%2e behind the host": at_host(lambda rng, h: h + "%2e"),
        "dots %-encoded": at_host(lambda rng, h: h.replace(".", "%2e")),
        "Cyrillic letters in the host": at_host(_some(_CYRILLIC, 0.3)),
        "one Cyrillic letter": at_host(lambda rng, h: h.replace("a", "\u0430", 1) if "a" in h else h.replace("e", "\u0435", 1)),
        "joiners in the host": at_host(lambda rng, h: h.replace("-", "-\u200d")),
        "direction marks in the host": at_host(lambda rng, h: "\u202a" + h),
        "port :8000": at_host(lambda rng, h: h + ":8000"),
        "port :10443": at_host(lambda rng, h: h + ":10443"),
        "two numbers for the host": _four(lambda p: f"{p[0]}.{(p[1] << 16) + (p[2] << 8) + p[3]}"),
        "octal numbers for the host": _four(lambda p: ".".join(f"0{n:o}" for n in p)),
        "hexadecimal number for the host": _four(lambda p: "0x" + "".join(f"{n:02x}" for n in p)),
        "IPv6 of the host": _four(lambda p: f"[::ffff:{'.'.join(map(str, p))}]"),
        "http:/ with one slash": lambda rng, a: "http:/" + a,
        "https: without slashes": lambda rng, a: "https:" + a,
        "https:// twice": lambda rng, a: "https://https://" + a,
        "ftp://": lambda rng, a: "ftp://" + a,
        "hxxp[:]//": lambda rng, a: f"hxxp[:]//{a.replace('.', '[.]', 1)}",
        "meow://": lambda rng, a: "meow://" + a,
        "one [.]": lambda rng, a: a.replace(".", "[.]", 1),
        "[.] throughout": lambda rng, a: a.replace(".", "[.]"),
        " [.] ": at_host(lambda rng, h: "https://" + h.replace(".", " [.] ")),
        "\\. for dots": at_host(lambda rng, h: h.replace(".", "\\.")),
        "a comma behind": lambda rng, a: a + ",",
        "a full stop behind": lambda rng, a: a + ".",
        "a bracket behind": lambda rng, a: a + ")",
        "in square brackets": lambda rng, a: f"[https://{a}]",
        "as Markdown": lambda rng, a: f"[{word(rng)}](https://{a})",
        "in backticks": lambda rng, a: f"`https://{a}`",
        "two users before @": lambda rng, a: f"https://{word(rng)}@{domain(rng)}@{a}",
        "a user of blanks": lambda rng, a: f"https://{domain(rng)}%20%20%20%20%20%20@{a}",
        "a user of an address": lambda rng, a: f"https://{domain(rng)}%2f{word(rng)}%2f{word(rng)}@{a}",
        "a password of an address": lambda rng, a: f"https://{word(rng)}:{domain(rng)}@{a}",
        "// before the path": at_path(lambda rng, p: "/" + p),
        "//// in the path": at_path(lambda rng, p: p.replace("/", "////")),
        "/./ throughout": at_path(lambda rng, p: p.replace("/", "/./")),
        "/%2e/ in the path": at_path(lambda rng, p: p.replace("/", "/%2e/", 1)),
        "/x/%2e%2e in the path": at_path(lambda rng, p: f"/{word(rng)}/%2e%2e{p}"),
        "two folders taken back": at_path(lambda rng, p: f"/{word(rng)}/{word(rng)}/../..{p}"),
        "a folder taken back within": at_path(lambda rng, p: re.sub(r"/(?=[^/]*$)", f"/{word(rng)}/../", p)),
        "%2f for slashes": at_path(lambda rng, p: "/" + p[1:].replace("/", "%2f")),
        "%5c for slashes": at_path(lambda rng, p: "/" + p[1:].replace("/", "%5c")),
        "escapes of both cases": at_path(_mixed_escapes),
        "%u in the path": at_path(lambda rng, p: re.sub(r"[a-z]", lambda m: f"%u{ord(m[0]):04x}" if rng.random() < 0.3 else m[0], p)),
        "a tab in the path": at_path(lambda rng, p: p[:3] + "\t" + p[3:]),
        "line ends in the path": at_path(lambda rng, p: p.replace("/", "/\r\n")),
        "blanks of no width in the path": at_path(lambda rng, p: p.replace("/", "/\u200b")),
        "%00 behind": lambda rng, a: a + "%00",
        "path info behind": at_path(lambda rng, p: f"{p}/{word(rng)}" if p.endswith((".php", ".aspx", ".jsp")) else p),
        "a matrix parameter": at_path(lambda rng, p: f"{p};v={rng.randrange(99)}"),
        "matrix parameters within": at_path(lambda rng, p: re.sub(r"(?<=[a-z])/", f";{word(rng)}={word(rng)}/", p)),
        "a short parameter": with_query(lambda rng: f"v={rng.randrange(1000)}"),
        "one parameter": with_query(parameter),
        "4 parameters": with_query(lambda rng: parameters(rng, 4)),
        "a parameter of 40 letters": with_query(lambda rng: f"id={syllables(rng, 20)}"),
        "a parameter without a name": with_query(lambda rng: syllables(rng, 5)),
        "an address of mail behind": with_query(lambda rng: f"e={word(rng)}@{word(rng)}.com"),
        "an address of mail in base64": with_query(lambda rng: "bXJAZXhhbXBsZS5jb20="),
        "several question marks": lambda rng, a: a + "???" if "?" not in a else None,
        "empty parameters": with_query(lambda rng: "&&&"),
        "a number in the fragment": _fragment(lambda rng: str(rng.randrange(10**6))),
        "a word in the fragment": _fragment(word),
        "#! and a word": _fragment(lambda rng: "!" + word(rng)),
        "#/": _fragment(lambda rng: "/"),
        "a long word in the fragment": _fragment(lambda rng: syllables(rng, 9)),
        "mail in base64 in the fragment": _fragment(lambda rng: "bXJzLnNtaXRoQGV4YW1wbGUuY29t"),
        "a fragment of parameters": _fragment(lambda rng: parameters(rng, 2)),
        "an address of mail in the path": lambda rng, a: f"{a}/{word(rng)}@{word(rng)}.com" if "?" not in a else None,
        "a parameter and a fragment": lambda rng, a: f"{a}{'&' if '?' in a else '?'}{parameter(rng)}#{word(rng)}",
        "&amp; for &": lambda rng, a: f"{a}{'&amp;' if '?' in a else '?'}{parameter(rng)}&amp;{parameter(rng)}",
        "encoded whole": lambda rng, a: quote(f"https://{a}", safe=""),
    }
)
"""Changes by name; they train nothing."""
