"""Changes of an argument value thought of after the others: encodings within encodings, other carriers, other writings of words."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import quote

from tools.synth.evasion.requests import encoded, of_sql, steps
from tools.synth.evasion.shared import Change, carrier, escaped, parameter, parameters
from tools.synth.words import domain, sentence, word

_NAMED = {"<": "lt", ">": "gt", '"': "quot", "'": "apos", "(": "lpar", ")": "rpar", "/": "sol", ":": "colon", ";": "semi", "=": "equals"}
_FIRST = re.compile(r"(?:cat|wget|curl|whoami|uname|id)\b[^;|`)]*")
_COMMAND = re.compile(r"\b(cat|whoami|wget|curl|ping|nslookup|uname|sleep|bash|ls|id)\b")


def _base64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _wide_words(value: str) -> str:
    """Letters and digits in bold, as Unicode has them for formulas (compatibility forms, UAX 15)."""
    bases = ((0x61, 0x7A, 0x1D41A), (0x41, 0x5A, 0x1D400), (0x30, 0x39, 0x1D7CE))
    return "".join(next((chr(ord(c) - low + to) for low, high, to in bases if low <= ord(c) <= high), c) for c in value)


def markup(change: Callable[[str], str]) -> Change:
    """The value as ``change`` writes it, where it holds markup or script."""

    def made(rng: random.Random, value: str) -> str | None:
        new = change(value)
        return carrier(rng) + escaped(new) if re.search(r"<\w|javascript:|\bon\w+=", value) and new != value else None

    return made


def command(change: Callable[[str], str]) -> Change:
    """The value as ``change`` writes it, where it holds a command."""

    def made(rng: random.Random, value: str) -> str | None:
        new = change(value)
        return carrier(rng) + escaped(new) if _COMMAND.search(value) and "<" not in value and new != value else None

    return made


def called(form: Callable[[str], str]) -> Change:
    """Calls in script, each as ``form`` writes it."""
    return markup(lambda v: re.sub(r"\b(?:alert|confirm|prompt)\([\w.]*\)", lambda m: form(m[0]), v))


def lookup(change: Callable[[str], str]) -> Change:
    """The value as ``change`` writes it, where it holds a look-up of Log4j."""
    return lambda rng, v: carrier(rng) + quote(change(v), safe="") if "jndi" in v else None


def _overlong(char: str, size: int) -> str:
    """An ASCII character in two or three bytes; others as they are."""
    code = ord(char)
    if code > 127:
        return quote(char)
    return f"%c{code >> 6:x}%{0x80 | code & 63:02x}" if size == 2 else f"%e0%{0x80 | code >> 6:02x}%{0x80 | code & 63:02x}"


def _within(form: str) -> Change:
    return command(lambda v: _COMMAND.sub(lambda m: form.format(m[0][:1], m[0][1:]), v))


def _tags(value: str) -> str:
    return re.sub(r"<[a-z][^<>]*>", lambda m: m[0].replace(" ", "/"), value)


def _words_around(rng: random.Random, count: int) -> str:
    return quote(" ".join(sentence(rng) for _ in range(count)), safe="")


def _in_name(rng: random.Random, value: str) -> str:
    return f"{carrier(rng)}{word(rng)}&{quote(value, safe='')}=1"


INVENTED_REQUEST_CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "base64url without padding": encoded(lambda rng, v: base64.urlsafe_b64encode(v.encode()).decode().rstrip("=")),
        "base64 in lines": encoded(lambda rng, v: quote(re.sub(r"(.{20})", r"\1\n", _base64(v)), safe="")),
        "data: with base64": encoded(lambda rng, v: quote(f"data:text/plain;base64,{_base64(v)}", safe="")),
        "base64 of %-encoded": encoded(lambda rng, v: quote(_base64(quote(v, safe="")), safe="")),
        "base64 of JSON": encoded(lambda rng, v: quote(_base64(json.dumps({word(rng): v})), safe="")),
        "base64 in JSON": encoded(lambda rng, v: quote(json.dumps({word(rng): _base64(v), "v": 2}), safe="")),
        "base64 of UTF-16, big end first": encoded(lambda rng, v: quote(base64.b64encode(v.encode("utf-16-be")).decode(), safe="")),
        "hexadecimal with 0x": encoded(lambda rng, v: "0x" + v.encode().hex()),
        "hexadecimal in pairs": encoded(lambda rng, v: v.encode().hex(" ").replace(" ", "%20")),
        "hexadecimal with colons": encoded(lambda rng, v: v.encode().hex(":")),
        "every letter \\xHH": encoded(lambda rng, v: quote("".join(f"\\x{b:02x}" for b in v.encode()), safe="")),
        "every letter \\u00HH": encoded(lambda rng, v: quote("".join(f"\\u{ord(c):04x}" for c in v), safe="")),
        "every letter %u00HH": encoded(lambda rng, v: "".join(f"%u{ord(c):04x}" if ord(c) < 65536 else quote(c) for c in v)),
        "%-encoded in capitals": encoded(lambda rng, v: "".join(f"%{b:02X}" for b in v.encode())),
        "names of HTML": encoded(lambda rng, v: quote("".join(f"&{_NAMED[c]};" if c in _NAMED else c for c in v), safe="")),
        "entities without semicolons": encoded(lambda rng, v: quote("".join(c if c.isalnum() else f"&#{ord(c):07d}" for c in v), safe="")),
        "entities escaped again": encoded(lambda rng, v: quote("".join(c if c.isalnum() else f"&amp;#{ord(c)};" for c in v), safe="")),
        "overlong in three bytes": encoded(lambda rng, v: "".join(c if c.isalnum() and c.isascii() else _overlong(c, 3) for c in v)),
        "overlong letters": encoded(lambda rng, v: "".join(_overlong(c, 2) for c in v)),
        "full-width throughout": encoded(
            lambda rng, v: quote("".join(chr(ord(c) + 0xFEE0) if 32 < ord(c) < 127 else c for c in v), safe="")
        ),
        "bold letters": encoded(lambda rng, v: quote(_wide_words(v), safe="")),
        "UTF-16 %-encoded": encoded(lambda rng, v: "".join(f"%{b:02x}" for b in v.encode("utf-16-le"))),
        "NUL before": encoded(lambda rng, v: "%00" + escaped(v)),
        "NUL and an ending behind": encoded(lambda rng, v: escaped(v) + "%00.jpg"),
        "blanks of no width around": encoded(lambda rng, v: "%e2%80%8b%ef%bb%bf" * 12 + escaped(v)),
        "SQL: upper case": of_sql(lambda rng, v: escaped(v.upper())),
        "one name twice": lambda rng, v: (c := carrier(rng)) + word(rng) + "&" + c.partition("?")[2] + escaped(v),
        "a list": lambda rng, v: carrier(rng).replace("=", "[]=") + word(rng) + f"&{word(rng)}[0]={escaped(v)}",
        "names in brackets": lambda rng, v: carrier(rng).replace("=", "[filter][value]=") + escaped(v),
        "names in brackets, encoded": lambda rng, v: carrier(rng).replace("=", "%5Bfilter%5D%5B0%5D=") + escaped(v),
        "in the name": _in_name,
        "semicolons between parameters": encoded(lambda rng, v: f"{word(rng)};{parameter(rng)};{parameter(rng)};v={quote(v, safe='')}"),
        "matrix parameter": lambda rng, v: f"/{word(rng)};v={quote(v, safe='')}/{word(rng)}",
        "absolute target": lambda rng, v: f"http://www.{domain(rng)}{carrier(rng)}{escaped(v)}",
        "an ending behind": lambda rng, v: f"/{word(rng)}/{quote(v, safe='')}.css",
        "a fragment behind": encoded(lambda rng, v: f"{escaped(v)}#{word(rng)}"),
        "words before": encoded(lambda rng, v: f"{_words_around(rng, 2)}%20{escaped(v)}"),
        "words after": encoded(lambda rng, v: f"{escaped(v)}%20{_words_around(rng, 2)}"),
        "words around": encoded(lambda rng, v: f"{_words_around(rng, 5)}%20{escaped(v)}%20{_words_around(rng, 5)}"),
        "lines around": encoded(lambda rng, v: f"{_words_around(rng, 1)}%0d%0a{escaped(v)}%0d%0a{_words_around(rng, 1)}"),
        "nested JSON": encoded(lambda rng, v: quote(json.dumps({"a": {"b": [{"c": v, "n": rng.randrange(9999)}]}}), safe="")),
        "JSON of escapes": encoded(lambda rng, v: quote('{"q":"' + "".join(f"\\u{ord(c):04x}" for c in v) + '"}', safe="")),
        "XML": encoded(lambda rng, v: quote(f"<r><{(w := word(rng))}>{v.replace('&', '&amp;').replace('<', '&lt;')}</{w}></r>", safe="")),
        "a query within": encoded(lambda rng, v: quote(f"{carrier(rng)}{escaped(v)}&{parameters(rng, 2)}", safe="")),
        "8,000 bytes before": lambda rng, v: f"{carrier(rng)}{word(rng)}&{parameters(rng, 400)[:7000]}&v={escaped(v)}",
        "SQL: comments of marks": of_sql(lambda rng, v: v.replace(" ", f"/*{rng.choice((';=(', 'a;b=c', '%2f%2e', '--', '<>'))}*/")),
        "SQL: long comments": of_sql(lambda rng, v: v.replace(" ", f"/*{re.sub('[^a-z ]', '', sentence(rng)).replace(' ', '+') * 4}*/")),
        "SQL: comments side by side": of_sql(lambda rng, v: v.replace(" ", "/**//**/")),
        "SQL: a line comment for blanks": of_sql(lambda rng, v: v.replace(" ", f"--%20{word(rng)}%0a")),
        "SQL: version comments around": of_sql(
            lambda rng, v: re.sub(r"(?i)\b(union|select|and|or|from)\b", r"/*!\1*/", v).replace(" ", "+")
        ),
        "SQL: %0c, %a0, %0b for blanks": of_sql(lambda rng, v: re.sub(" ", lambda m: rng.choice(("%0c", "%a0", "%0b", "%0d")), v)),
        "SQL: && and || for words": of_sql(lambda rng, v: quote(re.sub(r"(?i)\bor\b", "||", re.sub(r"(?i)\band\b", "&&", v)), safe="")),
        "SQL: names in backticks": of_sql(lambda rng, v: escaped(re.sub(r"(?i)\b(from|into|update) (\w+)", r"\1 `\2`", v))),
        "SQL: e0 behind numbers": of_sql(lambda rng, v: escaped(re.sub(r"^(-?\d+)(?=\W)", r"\1e0", v))),
        "markup: / for blanks": markup(_tags),
        "markup: line ends in tags": markup(lambda v: re.sub(r"(<[a-z]+) ", r"\1" + "\n\t", v)),
        "markup: a tab in javascript:": markup(lambda v: re.sub("(?i)java(?=script:)", "java\t", v)),
        "markup: entities in javascript:": markup(lambda v: re.sub("(?i)javascript:", "&#106;ava&#x73;cript&colon;", v)),
        "markup: backticks for brackets": markup(lambda v: re.sub(r"\((\d+)\)", r"`\1`", v)),
        "markup: \\u in names": markup(lambda v: re.sub(r"\b[afe](?=lert\b|etch\b|val\b)", lambda m: f"\\u{ord(m[0]):04x}", v)),
        "markup: comments in script": markup(lambda v: re.sub(r"(?<=[a-z])\(", "/**/(", v)),
        "markup: names of a window": markup(lambda v: re.sub(r"\b(alert|confirm|prompt|eval)\(", r"window['\1'](", v)),
        "markup: of character codes": called(lambda v: f"eval(String.fromCharCode({','.join(str(ord(c)) for c in v)}))"),
        "markup: of base64": called(lambda v: f"eval(atob('{_base64(v)}'))"),
        "command: a quote at every letter": command(lambda v: _COMMAND.sub(lambda m: "".join(f"'{c}'" for c in m[0]), v)),
        "command: back slashes everywhere": command(lambda v: re.sub(r"(?<=[a-z])(?=[a-z])", r"\\", v)),
        "command: $() in words": _within("{}$(){}"),
        "command: backticks in words": _within("{}``{}"),
        "command: ${x} in words": _within("{}${{x}}{}"),
        "command: $'\\x'": command(lambda v: _COMMAND.sub(lambda m: "$'" + "".join(f"\\x{ord(c):02x}" for c in m[0]) + "'", v)),
        "command: variables": command(lambda v: _COMMAND.sub(lambda m: f"a={m[0][:1]};b={m[0][1:]};$a$b", v, count=1)),
        "command: slices for slashes": command(lambda v: v.replace("/", "${PATH:0:1}")),
        "command: full paths": command(lambda v: re.sub(r"(?<![/\w])(cat|whoami|wget|curl|ping|id|uname)\b", r"/usr/bin/\1", v)),
        "command: < for blanks": command(lambda v: re.sub(r"\bcat ", "cat<", v)),
        "command: braces": command(lambda v: re.sub(r"\b(cat|wget|curl|ping) ([^\s;|&$`)]+)", r"{\1,\2}", v)),
        "command: tabs and line ends": command(lambda v: v.replace(" ", "\t").replace(";", "\n")),
        "command: question marks": command(lambda v: v.replace("/etc/passwd", "/???/p?sswd").replace("/etc/shadow", "/e??/sh?dow")),
        "command: base64 -d": command(lambda v: _FIRST.sub(lambda m: f"echo {_base64(m[0])}|base64 -d|sh", v, count=1)),
        "traversal: ..%5c": steps("..%5c"),
        "traversal: ..%255c": steps("..%255c"),
        "traversal: %252e%252e%252f": steps("%252e%252e%252f"),
        "traversal: .%2e/": steps(".%2e/"),
        "traversal: ..%u2215": steps("..%u2215"),
        "traversal: ..%ef%bc%8f": steps("..%ef%bc%8f"),
        "traversal: %c0%ae%c0%ae%c0%af": steps("%c0%ae%c0%ae%c0%af"),
        "traversal: ..././": steps("..././"),
        "traversal: slashes doubled": steps("..//"),
        "traversal: from a folder": lambda rng, v: f"{carrier(rng)}/var/www/{word(rng)}/{v}" if v.startswith("../") else None,
        "look-ups in look-ups": lookup(lambda v: v.replace("jndi", "${lower:j}${::-n}${env:NO:-d}i")),
        "look-ups for every letter": lookup(
            lambda v: re.sub(r"jndi|(?<=:)[a-z]+(?=:)", lambda m: "".join(f"${{::-{c}}}" for c in m[0]), v)
        ),
        "blanks within braces": lambda rng, v: (
            carrier(rng) + quote(v.replace("{{", "{{  ").replace("}}", "  }}"), safe="") if "{{" in v else None
        ),
    }
)
"""Changes by name; they train nothing."""
