"""One simple change each that keeps an attack working: padding, company, order, case, quoting, comments, encodings.

Request changes take an argument value and give a request target; command changes take a command line, address changes an address
without its scheme.  A change gives None where it does not apply.  The same changes are made to harmless strings, in training and in
``benchmarks.evasion``, so that no change is a sign of an attack by itself.  Forms: OWASP Web Security Testing Guide, MITRE ATT&CK
T1027.010 and T1140, Bohannon's Invoke-DOSfuscation.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import quote

from tools.synth import cmdline
from tools.synth.cmdline import encoded_command, is_powershell
from tools.synth.words import domain, sentence, syllables, word

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
_SQL = re.compile(r"(?i)\b(?:select|union|insert|update|delete|sleep|waitfor|benchmark|or|and|order by|group by|having|drop)\b")
_SQL_WORD = re.compile(r"(?i)\b(select|union|from|where|sleep|insert|order|and|or)\b")
_CARRIERS = ("/item?id=", "/search?q=", "/page.php?name=", "/api/v1/find?value=", "/view?file=", "/index.jsp?p=")
_FULLWIDTH = {c: chr(ord(c) + 0xFEE0) for c in "<>'\"()/;|&=`"}


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


def _among(before: int, after: int) -> Change:
    """The value among harmless parameters."""

    def change(rng: random.Random, value: str) -> str:
        path, _, name = carrier(rng).partition("?")
        parts = [parameters(rng, before)] * bool(before) + [name + escaped(value)] + [parameters(rng, after)] * bool(after)
        return f"{path}?{'&'.join(parts)}"

    return change


def _encoded(encode: Callable[[random.Random, str], str]) -> Change:
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


def _sql(replace: Callable[[random.Random, str], str]) -> Change:
    def change(rng: random.Random, value: str) -> str | None:
        return carrier(rng) + replace(rng, value) if _SQL.search(value) and " " in value else None

    return change


def _mixed(rng: random.Random, text: str) -> str:
    return "".join(rng.choice((c.lower(), c.upper())) for c in text)


def _mixed_request(rng: random.Random, value: str) -> str | None:
    free = _SQL.search(value) or "<" in value or "javascript:" in value.lower()
    return carrier(rng) + escaped(_mixed(rng, value)) if free and "/etc/" not in value else None


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


def _traversal(step: str) -> Change:
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
    "SQL: comment for blanks": _sql(lambda rng, v: v.replace(" ", "/**/")),
    "SQL: %09 or %0a for blanks": _sql(lambda rng, v: v.replace(" ", rng.choice(("%09", "%0a", "%0b", "%a0")))),
    "SQL: /*!50000 */ keywords": _sql(lambda rng, v: escaped(_SQL_WORD.sub(r"/*!50000\1*/", v))),
    "mixed case": _mixed_request,
    "every byte %-encoded": _encoded(_bytes(1.0)),
    "every second byte %-encoded": _encoded(_bytes(0.5)),
    "letters %-encoded": _encoded(_bytes(1.0, letters=True)),
    "double %-encoded": _encoded(lambda rng, v: quote(quote(v, safe=""), safe="")),
    "%uXXXX": _encoded(_wide),
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
    "traversal: ./ between": _traversal(".././"),
    "traversal: %2e%2e%2f": _traversal("%2e%2e%2f"),
    "traversal: ..%252f": _traversal("..%252f"),
    "command: quotes in words, $IFS": _shell,
    "markup: entities, script escapes": _markup,
    "value in base64": _encoded(lambda rng, v: quote(base64.b64encode(v.encode()).decode(), safe="")),
    "JSON value": lambda rng, v: '{"' + word(rng) + '":"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"}',
})  # fmt: skip
"""Changes of an argument value that leave the payload readable in the request."""


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
    "triple %-encoded": _encoded(lambda rng, v: quote(quote(quote(v, safe=""), safe=""), safe="")),
    "every byte %25XX": _encoded(lambda rng, v: "".join(f"%25{b:02x}" for b in v.encode())),
    "decimal entities throughout": _encoded(lambda rng, v: quote("".join(f"&#{ord(c)};" for c in v), safe="")),
    "hexadecimal entities throughout": _encoded(lambda rng, v: quote("".join(f"&#x{ord(c):x};" for c in v), safe="")),
    "\\xHH": _encoded(_escaped_marks("\\x{:02x}")),
    "\\uHHHH": _encoded(_escaped_marks("\\u{:04x}")),
    "octal escapes": _encoded(lambda rng, v: quote("".join(f"\\{ord(c):03o}" if ord(c) < 256 else c for c in v), safe="")),
    "base64 twice": _encoded(lambda rng, v: quote(base64.b64encode(base64.b64encode(v.encode())).decode(), safe="")),
    "base64 of UTF-16": _encoded(lambda rng, v: quote(base64.b64encode(v.encode("utf-16-le")).decode(), safe="")),
    "base64 of gzip": _encoded(lambda rng, v: quote(base64.b64encode(gzip.compress(v.encode(), mtime=0)).decode(), safe="")),
    "hexadecimal": _encoded(lambda rng, v: v.encode().hex()),
    "session in the path": lambda rng, v: (
        carrier(rng).replace("?", f";jsessionid={rng.randbytes(16).hex().upper()}?") + escaped(v)
    ),
    "/a/../ eight times": lambda rng, v: _path_with(rng, v, "/a/.." * 8),
    "slashes doubled in the path": lambda rng, v: "/x" + carrier(rng).replace("/", "//") + escaped(v),
    "60 blanks before": lambda rng, v: carrier(rng) + "%20" * 60 + escaped(v),
    "60 blanks after": lambda rng, v: carrier(rng) + escaped(v) + "%20" * 60,
    "JSON in the value": _encoded(lambda rng, v: quote(json.dumps([v, rng.randrange(99)]), safe="")),
    "SQL: comments of words": _sql(lambda rng, v: v.replace(" ", f"/*{word(rng)}*/")),
    "SQL: # and a line end": _sql(lambda rng, v: v.replace(" ", f"%23{word(rng)}%0a")),
    "SQL: runs of blanks": _sql(lambda rng, v: v.replace(" ", "%20%20%20")),
    "SQL: character codes": _sql_codes,
    "command: back slashes in words": lambda rng, v: _in_words(rng, v, "\\"),
    "command: $@ in words": lambda rng, v: _in_words(rng, v, "$@"),
    "traversal: ..;/": _traversal("..;/"),
    "traversal: back slashes": _traversal("..\\"),
    "traversal: ..%c0%af": _traversal("..%c0%af"),
    "traversal: ....//": _traversal("....//"),
})  # fmt: skip
"""Further changes of an argument value, which train nothing."""


_WINDOWS_LINES = ("ipconfig /all", "dir C:\\Users", "echo done", "cd C:\\Temp", "tasklist", "hostname", "whoami")
_UNIX_LINES = ("ls -la", "cd /tmp", "echo done", "date", "uptime", "df -h", "true", "pwd")


def _harmless(rng: random.Random, line: str) -> tuple[str, str]:
    """A harmless line of the same shell, and how lines are joined there."""
    if is_windows(line):
        return rng.choice(_WINDOWS_LINES), "; " if is_powershell(line) else " & "
    return rng.choice(_UNIX_LINES), rng.choice(("; ", " && "))


def _company(before: bool, after: bool) -> Change:
    def change(rng: random.Random, line: str) -> str:
        first, join = _harmless(rng, line)
        last = _harmless(rng, line)[0]
        return f"{first + join if before else ''}{line}{join + last if after else ''}"

    return change


def _comment(before: bool) -> Change:
    def change(rng: random.Random, line: str) -> str:
        text = ""
        while len(text) < 600:
            text += re.sub(r"[^\w ]", "", sentence(rng)) + " "
        if is_powershell(line):
            return f"<# {text}#> {line}" if before else f"{line} # {text.strip()}"
        if is_windows(line):
            return f"rem {text.strip()} & {line}" if before else f"{line} & rem {text.strip()}"
        return f": '{text.strip()}'; {line}" if before else f"{line} # {text.strip()}"

    return change


def _carets(rng: random.Random, line: str) -> str | None:
    if not is_windows(line) or is_powershell(line):
        return None
    return "".join("^" + c if c.isalpha() and rng.random() < 0.4 else c for c in line)


def _backticks(rng: random.Random, line: str) -> str | None:
    if not is_powershell(line):
        return None
    ticked = re.sub(r"(?<=[A-Za-z])([^\W\d_abefnrtuvxABEFNRTUVX])(?=[A-Za-z])", lambda m: ("`" if rng.random() < 0.4 else "") + m[1], line)
    return ticked if ticked != line else None


def _quoted(rng: random.Random, line: str) -> str:
    head, blank, rest = line.partition(" ")
    mark = '""' if is_windows(line) else rng.choice(("''", '""'))
    words = re.split(r"( )", rest)
    changed = [w[:2] + mark + w[2:] if w.isalpha() and len(w) > 3 and rng.random() < 0.5 else w for w in words]
    return f"{head[:2]}{mark}{head[2:]}{blank}{''.join(changed)}" if head[:3].isalpha() else f"{head}{blank}{''.join(changed)}"


def _ifs(rng: random.Random, line: str) -> str | None:
    return None if is_windows(line) or " " not in line else line.replace(" ", rng.choice(("${IFS}", "$IFS$9")))


def _piped(form: str, encode: Callable[[bytes], str]) -> Change:
    return lambda rng, line: None if is_windows(line) else form.format(encode(line.encode()))


def _number(rng: random.Random, line: str) -> str | None:
    def whole(match: re.Match[str]) -> str:
        parts = [int(part) for part in match[1].split(".")]
        return "//" + str(sum(part << shift for part, shift in zip(parts, (24, 16, 8, 0), strict=True)))

    changed = re.sub(r"//(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?=[/:])", whole, line)
    return changed if changed != line else None


def _joined(rng: random.Random, line: str) -> str | None:
    changed = re.sub(r"(?<=[('\"])(\w{3})(\w{3,})(?=[)'\"])", r"\1'+'\2", line)
    return changed if changed != line else None


def _encoded_line(rng: random.Random, line: str) -> str | None:
    return encoded_command(rng, line) if is_powershell(line) else None


COMMAND_CHANGES: Mapping[str, Change] = MappingProxyType({
    "upper case": lambda rng, line: line.upper() if is_windows(line) else None,
    "mixed case": lambda rng, line: _mixed(rng, line) if is_windows(line) else None,
    "double blanks": lambda rng, line: line.replace(" ", "  "),
    "tabs for blanks": lambda rng, line: line.replace(" ", "\t"),
    "30 blanks after each word": lambda rng, line: line.replace(" ", " " * 30),
    "carets": _carets,
    "backticks": _backticks,
    "quotes in words": _quoted,
    "harmless command before": _company(before=True, after=False),
    "harmless command after": _company(before=False, after=True),
    "harmless before and after": _company(before=True, after=True),
    "long comment before": _comment(before=True),
    "long comment after": _comment(before=False),
    "-EncodedCommand": _encoded_line,
    "base64 -d | sh": _piped("echo {} | base64 -d | sh", lambda raw: base64.b64encode(raw).decode()),
    "printf hex | sh": _piped("printf '{}' | sh", lambda raw: "".join(f"\\x{b:02x}" for b in raw)),
    "IP as integer": _number,
    "string joined in parts": _joined,
    "$IFS for blanks": _ifs,
})  # fmt: skip
"""Changes of a command line that leave the command readable in it."""


def _unix(change: Callable[[random.Random, str], str]) -> Change:
    return lambda rng, line: None if is_windows(line) or (new := change(rng, line)) == line else new


_PROGRAM = re.compile(r"\b(?:curl|wget|bash|python3?|perl|chmod|cat)\b")


def _within(form: str) -> Change:
    """Names of programs with something behind their first letter that the shell drops."""
    return _unix(lambda rng, line: _PROGRAM.sub(lambda m: form.format(m[0][0], m[0][1:]), line))


def _powershell(change: Callable[[random.Random, str], str]) -> Change:
    return lambda rng, line: change(rng, line) if is_powershell(line) else None


def _address(form: str, joint: str = ".") -> Change:
    """Hosts given as four numbers in another writing."""

    def change(rng: random.Random, line: str) -> str | None:
        changed = re.sub(
            r"//(\d{1,3}(?:\.\d{1,3}){3})(?=[/:])",
            lambda m: "//" + joint.join(form.format(int(part)) for part in m[1].split(".")),
            line,
        )
        return changed if changed != line else None

    return change


def _decoded_by(form: str, encode: Callable[[str], str]) -> Change:
    return _unix(lambda rng, line: form.format(encode(line)))


def _base64(line: str) -> str:
    return base64.b64encode(line.encode()).decode()


MORE_COMMAND_CHANGES: Mapping[str, Change] = MappingProxyType({
    "100 blanks after each word": lambda rng, line: line.replace(" ", " " * 100),
    "300 blanks before": lambda rng, line: " " * 300 + line,
    "no-break blanks": lambda rng, line: line.replace(" ", "\u00a0"),
    "blanks of no width": lambda rng, line: line.replace(" ", " \u200b"),
    "typographic dashes": lambda rng, line: line.replace(" -", " \u2013") if " -" in line else None,
    "title case": lambda rng, line: " ".join(w[:1].upper() + w[1:] for w in line.split(" ")) if is_windows(line) else None,
    "a caret before every letter": lambda rng, line: (
        "".join("^" + c if c.isalnum() else c for c in line) if is_windows(line) and not is_powershell(line) else None
    ),
    "program in quotes": lambda rng, line: f'"{line.partition(" ")[0]}" {line.partition(" ")[2]}' if " " in line else None,
    "back slashes in words": _within("{}\\{}"),
    "letters in quotes": _within("'{}'{}"),
    "$@ in words": _within("{}$@{}"),
    "words in $'\\x'": _unix(lambda rng, line: _PROGRAM.sub(lambda m: "$'" + "".join(f"\\x{ord(c):02x}" for c in m[0]) + "'", line)),
    "braces of the shell": _unix(lambda rng, line: re.sub(r"^(\w+) ([^\s|;&,]+)", r"{\1,\2}", line)),
    "a group": _unix(lambda rng, line: f"{{ {line}; }}"),
    "$(… | base64 -d)": _decoded_by("$(echo {}|base64 -d)", _base64),
    "eval of base64": _decoded_by('eval "$(echo {} | base64 -d)"', _base64),
    "base64 in braces": _decoded_by("bash -c {{echo,{}}}|{{base64,-d}}|{{bash,-i}}", _base64),
    "base64 of gzip | sh": _decoded_by(
        "echo {} | base64 -d | gunzip | sh", lambda line: base64.b64encode(gzip.compress(line.encode(), mtime=0)).decode()
    ),
    "xxd -r -p | sh": _decoded_by("echo {} | xxd -r -p | sh", lambda line: line.encode().hex()),
    "printf octal | sh": _decoded_by("printf '{}' | sh", lambda line: "".join(f"\\{ord(c):03o}" for c in line)),
    "character codes": _powershell(lambda rng, line: f"powershell -c iex(-join([char[]]({','.join(str(ord(c)) for c in line)})))"),
    "IP in hexadecimal": lambda rng, line: new.replace("//", "//0x") if (new := _address("{:02x}", "")(rng, line)) else None,
    "IP in octal parts": _address("0{:o}"),
    "IP in hexadecimal parts": _address("0x{:x}"),
    "user part before the host": lambda rng, line: new if (new := re.sub(r"//(?=[\w.]+[/:])", f"//{word(rng)}@", line)) != line else None,
    "comment of words after": _unix(lambda rng, line: f"{line} # {re.sub('[^a-z ]', '', sentence(rng))}"),
})  # fmt: skip
"""Further changes of a command line, which train nothing."""


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
"""Further changes of an address, which train nothing."""

CHANGES: Mapping[str, Mapping[str, Change]] = MappingProxyType(
    {"uri-attack": REQUEST_CHANGES, "cmdline": COMMAND_CHANGES, "url-phishing": URL_CHANGES}
)
"""Changes by task: training makes them as well."""
FURTHER: Mapping[str, Mapping[str, Change]] = MappingProxyType(
    {"uri-attack": MORE_REQUEST_CHANGES, "cmdline": MORE_COMMAND_CHANGES, "url-phishing": MORE_URL_CHANGES}
)
"""Changes by task that are only measured."""


def company(rng: random.Random, target: str) -> str:
    """A request target whose query gets harmless parameters before and after its own."""
    path, mark, query = target.partition("?")
    if not mark:
        return f"{target}?{parameters(rng, rng.randint(1, 4))}" if target.startswith("/") and "#" not in target else target
    sides = [parameters(rng, rng.randint(1, 4)) for _ in range(2)]
    return f"{path}?{rng.choice((f'{sides[0]}&{query}', f'{query}&{sides[1]}', f'{sides[0]}&{query}&{sides[1]}'))}"


def changed(rng: random.Random, task: str, text: str) -> str:
    """The text under one change drawn from those of its task that apply; the text itself if none does."""
    names = list(CHANGES[task])
    for name in rng.sample(names, 4):
        if found := CHANGES[task][name](rng, text):
            return found
    return text
