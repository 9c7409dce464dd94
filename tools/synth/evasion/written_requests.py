"""Further writings of an argument value: other carriers, encodings, and words that SQL, script, shells and servers take for the same."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import quote

from tools.synth.evasion.invented_requests import called, command, lookup, markup
from tools.synth.evasion.requests import encoded, of_sql, steps
from tools.synth.evasion.shared import Change, carrier, escaped, parameter, parameters
from tools.synth.words import domain, sentence, syllables, word

_KEYWORD = re.compile(r"(?i)\b(union|select|from|where|and|or|order by|group by|having|sleep)\b")
_STEP = "../"


def _base64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _some(form: str, share: float = 0.5) -> Change:
    """Some letters of the value in another writing, escaped for a request."""
    return encoded(lambda rng, v: quote("".join(form.format(ord(c)) if c.isalpha() and rng.random() < share else c for c in v), safe=""))


def _raw_some(form: str, share: float = 0.5) -> Change:
    """Some letters of the value in another writing of a request's own."""
    return encoded(
        lambda rng, v: "".join(form.format(ord(c)) if c.isalpha() and c.isascii() and rng.random() < share else escaped(c) for c in v)
    )


def _sql(pattern: str, new: str | Callable[[re.Match[str]], str]) -> Change:
    """A writing of SQL, where the value has it."""

    def change(rng: random.Random, value: str) -> str | None:
        changed = re.sub(pattern, new, value)
        return carrier(rng) + escaped(changed) if changed != value else None

    return lambda rng, v: change(rng, v) if of_sql(lambda _, x: x)(rng, v) else None


def _spaced(value: str) -> str:
    return re.sub(r" ", "\t\n ", value)


def _path(value: str) -> str:
    return value.replace(_STEP, "").lstrip("./")


WRITTEN_REQUEST_CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "name[]": (lambda rng, v: f"/search?{word(rng)}[]={escaped(v)}"),
        "name[0][key]": (lambda rng, v: f"/api?{word(rng)}[0][{word(rng)}]={escaped(v)}"),
        "the name twice": (lambda rng, v: f"/item?id={rng.randrange(99)}&id={escaped(v)}"),
        "the name twice, first": (lambda rng, v: f"/item?id={escaped(v)}&id={rng.randrange(99)}"),
        "semicolons between all parameters": (lambda rng, v: f"/item?{parameter(rng)};{parameter(rng)};id={escaped(v)}"),
        "a matrix parameter": (lambda rng, v: f"/item;id={quote(v, safe='')}/list"),
        "last segment of a path": (lambda rng, v: f"/{word(rng)}/{word(rng)}/{word(rng)}/{quote(v, safe='')}"),
        "first segment of a path": (lambda rng, v: f"/{quote(v, safe='')}/{word(rng)}/{word(rng)}"),
        "a whole address": (lambda rng, v: f"https://{domain(rng)}/item?id={escaped(v)}"),
        "without a path": (lambda rng, v: f"/?{escaped(v)}"),
        "behind a fragment": (lambda rng, v: f"/item#id={escaped(v)}"),
        "every mark as %XX": encoded(lambda rng, v: quote(v, safe="")),
        "blanks as %20 twice": encoded(lambda rng, v: escaped(v).replace("%20", "%20%20")),
        "%%3XX": encoded(
            lambda rng, v: "".join(c if c.isalnum() else "".join(f"%%3{f'{b:02x}'[0]}{f'{b:02x}'[1]}" for b in c.encode()) for c in v)
        ),
        "some letters %XX": _raw_some("%{:02x}"),
        "some letters %25XX": _raw_some("%25{:02x}"),
        "some letters %u00XX": _raw_some("%u{:04x}"),
        "some letters \\u": _some("\\u{:04x}"),
        "some letters \\x": _some("\\x{:02x}"),
        "some letters \\u{…}": _some("\\u{{{:x}}}"),
        "some letters as entities": _some("&#{};"),
        "some letters as hexadecimal entities": _some("&#x{:X};"),
        "some letters as long entities": _some("&#x0000{:x};"),
        "letters as octal": encoded(lambda rng, v: quote("".join(f"\\{ord(c):03o}" if ord(c) < 256 else c for c in v), safe="")),
        "full-width letters, some": encoded(
            lambda rng, v: quote("".join(chr(ord(c) + 0xFEE0) if 32 < ord(c) < 127 and rng.random() < 0.4 else c for c in v), safe="")
        ),
        "soft hyphens": encoded(
            lambda rng, v: quote(re.sub(r"(?<=[a-z])(?=[a-z])", lambda m: "\u00ad" * (rng.random() < 0.3), v), safe="")
        ),
        "blanks of no width within": encoded(
            lambda rng, v: quote(re.sub(r"(?<=[a-z])(?=[a-z])", lambda m: "\u200b" * (rng.random() < 0.3), v), safe="")
        ),
        "NUL within words": encoded(lambda rng, v: re.sub(r"(?<=[a-z])(?=[a-z])", lambda m: "%00" * (rng.random() < 0.3), escaped(v))),
        "JSON in JSON": encoded(lambda rng, v: quote(json.dumps({word(rng): {word(rng): json.dumps({"v": v})}}), safe="")),
        "JSON among others": (lambda rng, v: json.dumps({word(rng): rng.randrange(99), word(rng): v, "n": [1, 2], word(rng): word(rng)})),
        "JSON escaped whole": (lambda rng, v: '{"id":"' + "".join(f"\\u{ord(c):04x}" for c in v) + '"}'),
        "JSON with \\/": (lambda rng, v: json.dumps({word(rng): v}).replace("/", "\\/")),
        "CDATA": encoded(lambda rng, v: quote(f"<![CDATA[{v}]]>", safe="")),
        "base64 among parameters": (lambda rng, v: f"/item?{parameters(rng, 3)}&data={quote(_base64(v), safe='')}&{parameters(rng, 3)}"),
        "base64 of a query": encoded(lambda rng, v: quote(_base64(f"{parameter(rng)}&id={escaped(v)}"), safe="")),
        "base64 with words around": encoded(lambda rng, v: quote(_base64(f"{word(rng)} {v} {word(rng)}"), safe="")),
        "hexadecimal in capitals": encoded(lambda rng, v: v.encode().hex().upper()),
        "a form's length": (
            lambda rng, v: f"{parameters(rng, 6)}&{word(rng)}={quote(v, safe='').replace('%20', '+')}&{parameters(rng, 2)}"
        ),
        "a sentence before": encoded(lambda rng, v: quote(f"{sentence(rng)} {v}", safe="")),
        "a sentence after": encoded(lambda rng, v: quote(f"{v} {sentence(rng)}", safe="")),
        "syllables before": encoded(lambda rng, v: syllables(rng, 60) + escaped(v)),
        "digits before": encoded(lambda rng, v: "".join(rng.choice("0123456789") for _ in range(120)) + escaped(v)),
        "SQL: () for blanks": _sql(r"(?i)\b(select|union|where|and|or|from) (\w+)", r"\1(\2)"),
        "SQL: comment with a bang": of_sql(lambda rng, v: escaped(_KEYWORD.sub(r"/*!\1*/", v))),
        "SQL: comment in a comment": of_sql(lambda rng, v: v.replace(" ", "/*/**/*/")),
        "SQL: comment of five letters": of_sql(lambda rng, v: v.replace(" ", f"/*{syllables(rng, 2)}*/")),
        "SQL: line ends": of_sql(lambda rng, v: v.replace(" ", "%0d%0a")),
        "SQL: -- and a line end": of_sql(lambda rng, v: v.replace(" ", "--%0a")),
        "SQL: + for blanks": of_sql(lambda rng, v: quote(v, safe=" ").replace(" ", "+")),
        "SQL: like for =": _sql(r"(?<=[\w'])\s?=\s?(?=[\w'])", " like "),
        "SQL: numbers as hexadecimal": _sql(r"\b\d{1,4}\b", lambda m: f"0x{int(m[0]):x}"),
        "SQL: strings as hexadecimal": _sql(r"'(\w{1,12})'", lambda m: "0x" + m[1].encode().hex()),
        "SQL: strings joined": _sql(r"'(\w)(\w+)'", r"'\1'||'\2'"),
        "SQL: double quotes": _sql("'", '"'),
        "SQL: brackets round values": of_sql(lambda rng, v: escaped(f"({v})")),
        "SQL: two brackets before": of_sql(lambda rng, v: escaped(f"1)) {v}")),
        "SQL: case of each letter": of_sql(lambda rng, v: escaped("".join(c.upper() if i % 2 else c.lower() for i, c in enumerate(v)))),
        "SQL: # for --": _sql(r"-- ?-?\w{0,3}$", "#"),
        "SQL: ;%00 for --": _sql(r"-- ?-?\w{0,3}$", ";\0"),
        "SQL: union distinct": _sql(r"(?i)union (?:all )?select", "union distinct select"),
        "SQL: tabs and ends": of_sql(lambda rng, v: quote(_spaced(v), safe="'()")),
        "markup: no blanks, slashes": markup(lambda v: re.sub(r"(<[a-z]+) ", r"\1/", v)),
        "markup: upper case": markup(str.upper),
        "markup: case of each letter": markup(
            lambda v: re.sub(r"<[^>]+>", lambda m: m[0].swapcase() if len(m[0]) % 2 else m[0].title(), v)
        ),
        "markup: a NUL in the tag": markup(lambda v: re.sub(r"<([a-z])", "<\0\\1", v)),
        "markup: blanks round =": markup(lambda v: re.sub(r"(on\w+)=", r"\1 = ", v)),
        "markup: attributes before": markup(lambda v: re.sub(r"(<[a-z]+) ", r'\1 class="a b" title="x" ', v)),
        "markup: no end": markup(lambda v: v.removesuffix(">")),
        "markup: two openings": markup(lambda v: v.replace("<", "<<", 1)),
        "markup: ticks for quotes": markup(lambda v: v.replace('"', "`").replace("'", "`")),
        "markup: entities with capitals": markup(lambda v: v.replace("(", "&LPAR;").replace(")", "&RPAR;")),
        "markup: %28 within": markup(lambda v: v.replace("(", "%28").replace(")", "%29")),
        "markup: top[…]": called(lambda v: re.sub(r"^(\w{2})(\w+)", r"top['\1'+'\2']", v)),
        "markup: Function": called(lambda v: f"Function('{v}')()"),
        "markup: setTimeout": called(lambda v: f"setTimeout('{v}')"),
        "markup: a constructor": called(lambda v: f"[].constructor.constructor('{v}')()"),
        "markup: a call by ?.": called(lambda v: v.replace("(", "?.(", 1)),
        "markup: a pair around": called(lambda v: f"({v.partition('(')[0]})({v.partition('(')[2]}"),
        "markup: javascript: in capitals": markup(lambda v: v.replace("javascript:", "JaVaScRiPt:")),
        "markup: line ends in javascript:": markup(lambda v: v.replace("javascript:", "java\nscript\n:")),
        "markup: blanks before javascript:": markup(lambda v: v.replace("javascript:", "\x01\x02 javascript:")),
        "command: & for ;": command(lambda v: v.replace(";", "&", 1)),
        "command: line ends for ;": command(lambda v: v.replace(";", "\n").replace("&&", "\n")),
        "command: || for |": command(lambda v: v.replace("|", "||", 1) if "||" not in v else v),
        "command: $IFS$9": command(lambda v: v.replace(" ", "$IFS$9")),
        "command: ${IFS%??}": command(lambda v: v.replace(" ", "${IFS%??}")),
        "command: tabs": command(lambda v: v.replace(" ", "\t")),
        "command: a back slash first": command(lambda v: re.sub(r"\b(cat|whoami|wget|curl|ping|id)\b", r"\\\1", v)),
        "command: $* in words": command(lambda v: re.sub(r"\b(cat|whoami|wget|curl|ping)\b", lambda m: m[0][:2] + "$*" + m[0][2:], v)),
        "command: ${x:-} in words": command(
            lambda v: re.sub(r"\b(cat|whoami|wget|curl|ping)\b", lambda m: m[0][:2] + "${x:-}" + m[0][2:], v)
        ),
        "command: carets": command(lambda v: re.sub(r"\b(whoami|ping|type|nslookup|curl)\b", lambda m: "^".join(m[0]), v)),
        "command: $(…) around": command(lambda v: re.sub(r"(?<=[;|&])\s?([a-z]+ ?[\w /.:-]*)$", r"$(\1)", v)),
        "command: `…` around": command(lambda v: re.sub(r"(?<=[;|&])\s?([a-z]+ ?[\w /.:-]*)$", r"`\1`", v)),
        "command: /bin/ before": command(lambda v: re.sub(r"(?<![/\w])(cat|whoami|wget|curl|ping|id|uname)\b", r"/bin/\1", v)),
        "command: sudo": command(lambda v: re.sub(r"(?<![/\w])(cat|whoami|wget|curl|ping|id|uname)\b", r"sudo \1", v)),
        "command: question marks in paths": command(lambda v: v.replace("/etc/", "/e?c/").replace("/bin/", "/b?n/")),
        "command: stars in paths": command(lambda v: v.replace("/etc/passwd", "/etc/pass*").replace("/etc/shadow", "/etc/sh*w")),
        "command: brackets in paths": command(lambda v: v.replace("/etc/", "/[e]tc/")),
        "command: a comment behind": command(lambda v: v + " #"),
        "command: quotes in paths": command(lambda v: v.replace("/etc/", "/e't'c/").replace("passwd", 'pas""swd')),
        "command: a variable in words": command(
            lambda v: re.sub(r"(?<![/\w])(cat|wget|curl|ping)\b", lambda m: f"a={m[0]};$a", v, count=1)
        ),
        "command: by printf": command(
            lambda v: re.sub(
                r"(?<![/\w])(cat|wget|curl|ping)\b", lambda m: "$(printf '" + "".join(f"\\{ord(c):03o}" for c in m[0]) + "')", v
            )
        ),
        "command: by sh -c": command(lambda v: re.sub(r"(?<=[;|&])\s?([a-z]+ ?[\w /.:-]*)$", r"sh -c '\1'", v)),
        "traversal: ..%2f": steps("..%2f"),
        "traversal: %2e%2e/": steps("%2e%2e/"),
        "traversal: %2e%2e%5c": steps("%2e%2e%5c"),
        "traversal: ..%5c..%2f": lambda rng, v: carrier(rng) + v.replace("../../", "..%5c..%2f") if "../../" in v else None,
        "traversal: ..//../": steps("..//"),
        "traversal: ..///": steps("..///"),
        "traversal: ....\\/": steps("....\\/"),
        "traversal: ..%09/": steps("..%09/"),
        "traversal: %uff0e%uff0e%u2215": steps("%uff0e%uff0e%u2215"),
        "traversal: %e0%80%ae": steps("%e0%80%ae%e0%80%ae/"),
        "traversal: ..%25c0%25af": steps("..%25c0%25af"),
        "traversal: %25%32%65": steps("%25%32%65%25%32%65/"),
        "traversal: a folder before": lambda rng, v: f"{carrier(rng)}{word(rng)}/{v}" if v.startswith("../") else None,
        "traversal: %00 and an ending": lambda rng, v: f"{carrier(rng)}{v}%00.png" if v.startswith("../") else None,
        "traversal: ? and an ending": lambda rng, v: f"{carrier(rng)}{v}%3f.html" if v.startswith("../") else None,
        "traversal: file:": lambda rng, v: f"{carrier(rng)}file:///{_path(v)}" if v.startswith(_STEP) else None,
        "traversal: /./ within": lambda rng, v: carrier(rng) + re.sub(r"(?<=\w)/(?=\w)", "/./", v) if v.startswith(_STEP) else None,
        "traversal: slashes doubled within": lambda rng, v: (
            carrier(rng) + re.sub(r"(?<=\w)/(?=\w)", "//", v) if v.startswith(_STEP) else None
        ),
        "traversal: twenty steps": lambda rng, v: f"{carrier(rng)}{_STEP * 20}{_path(v)}" if v.startswith(_STEP) else None,
        "traversal: in a cookie of base64": lambda rng, v: f"{carrier(rng)}{quote(_base64(v), safe='')}" if v.startswith(_STEP) else None,
        "look-ups: upper": lookup(lambda v: v.replace("jndi", "${upper:j}${upper:n}di")),
        "look-ups: env with a default": lookup(lambda v: re.sub("[jn](?=.{0,3}:)", lambda m: f"${{env:X{m[0]}:-{m[0]}}}", v)),
        "look-ups: sys with a default": lookup(lambda v: v.replace("ldap", "${sys:a:-l}dap")),
        "look-ups: date": lookup(lambda v: v.replace("jndi", "${date:'j'}ndi")),
    }
)
"""Changes by name; they train nothing."""
