"""Label-preserving changes to request targets, argument values (uri-attack) and URLs (url-phishing).

Every change is applied to ordinary and hostile rows alike, so that an encoding or a prefix tells nothing about the
label; only what would turn one into the other (SQL comments as blanks) depends on it. Forms: RFC 3986, the URL
Living Standard, and the evasions catalogued in the OWASP Web Security Testing Guide and OWASP CRS.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from urllib.parse import quote

from tools.synth.words import domain, syllables, word

Change = Callable[[random.Random, str, str], str]

_KEYWORDS = re.compile(
    r"\b(select|union|all|from|where|and|or|sleep|order|by|insert|into|drop|table|case|when|then|else|end|null|like|having|"
    r"count|concat|char|waitfor|delay|benchmark|script|alert|confirm|prompt|javascript|onerror|onload|onclick|onmouseover|"
    r"svg|img|src|iframe|body|document|cookie|eval)\b",
    re.IGNORECASE,
)
_ESCAPED = re.compile(r"%[0-9a-fA-F]{2}")
_PARAMETERS: tuple[str, ...] = (
    "q",
    "id",
    "search",
    "s",
    "query",
    "name",
    "page",
    "file",
    "url",
    "next",
    "lang",
    "cat",
    "item",
    "user",
    "ref",
    "data",
    "msg",
)
_PARAMETERS += (
    "text",
    "path",
    "view",
    "sort",
    "filter",
    "title",
    "p",
    "cmd",
    "template",
    "return",
    "keyword",
    "input",
    "value",
    "redirect",
)
_FILES = ("index.php", "search", "view.asp", "item.jsp", "api/v1/items", "download", "login", "profile.php", "news", "get", "", "products")
REDIRECT_PARAMETERS = (
    "url",
    "next",
    "redirect",
    "redirect_uri",
    "return",
    "returnUrl",
    "goto",
    "dest",
    "continue",
    "target",
    "rurl",
    "to",
    "u",
)
# Shell words and paths are case-sensitive; an upper-case JavaScript name is at least an attempt.
_CASE_FREE = frozenset({"sqli", "xss", "normal"})


def percent_encode(rng: random.Random, text: str, label: str) -> str:
    """Percent-encode a share of the characters that are not letters or digits; ``%`` itself is left alone."""
    share = rng.choice((0.3, 0.7, 1.0))
    keep = "/?&=" if text.startswith(("/", "http")) else ""
    upper = rng.random() < 0.6

    def encode(char: str) -> str:
        if (char.isalnum() and char.isascii()) or char in "%-_." + keep or rng.random() > share:
            return char
        escaped = quote(char, safe="")
        return escaped if upper else escaped.lower()

    return "".join(encode(char) for char in text)


def encode_letters(rng: random.Random, text: str, label: str) -> str:
    """Percent-encode some letters, which needs no encoding but is allowed (RFC 3986, section 2.3)."""
    if _ESCAPED.search(text):
        return text
    return "".join(f"%{ord(c):02x}" if c.isascii() and c.isalpha() and rng.random() < 0.15 else c for c in text)


def double_encode(rng: random.Random, text: str, label: str) -> str:
    """Encode the ``%`` of escapes once more (CWE-174)."""
    if not _ESCAPED.search(text):
        text = percent_encode(rng, text, label)
    return _ESCAPED.sub(lambda match: "%25" + match[0][1:], text)


def keyword_case(rng: random.Random, text: str, label: str) -> str:
    """Upper, lower or mix the case of SQL, HTML and JavaScript keywords."""
    if label not in _CASE_FREE:
        return text
    style = rng.randrange(3)

    def change(match: re.Match[str]) -> str:
        if style < 2:
            return match[0].upper() if style == 0 else match[0].lower()
        return "".join(rng.choice((c.upper(), c.lower())) for c in match[0])

    return _KEYWORDS.sub(change, text)


def blanks(rng: random.Random, text: str, label: str) -> str:
    """Write blanks as ``+``, ``%20``, tab or ``%09``; as ``/**/`` in SQL only."""
    if " " not in text:
        return text
    choices = ["+", "+", "%20", "%20", "\t", "%09", "%0a"] + (["/**/", "%a0", "/**/"] if label == "sqli" else [])
    return text.replace(" ", rng.choice(choices))


def request_path(rng: random.Random) -> str:
    """Make an ordinary path that ends where a query begins."""
    folders = "".join(f"/{rng.choice((word(rng), syllables(rng, 2), 'api', 'en', 'app'))}" for _ in range(rng.choice((0, 0, 1, 1, 2))))
    return f"{folders}/{rng.choice(_FILES)}"


def as_argument(rng: random.Random, value: str) -> str:
    """Escape what a value must not hold inside a query: all that RFC 3986 forbids, or the least browsers escape."""
    if rng.random() < 0.5:
        return quote(value, safe="/:" + "%" * bool(_ESCAPED.search(value)) + "+" * (" " not in value))
    return value.replace("&", "%26").replace("#", "%23").replace(" ", rng.choice(("+", "%20", " ")))


def in_query(rng: random.Random, text: str, label: str) -> str:
    """Put a bare value behind ``/path?parameter=`` or ``parameter=``, at times among further parameters."""
    if text.startswith(("/", "?", "http")) and label != "open-redirect":
        return text
    name = rng.choice(REDIRECT_PARAMETERS if label == "open-redirect" else _PARAMETERS)
    parts = [f"{name}={as_argument(rng, text)}"]
    for _ in range(rng.choice((0, 0, 1, 2))):
        parts.insert(rng.randrange(len(parts) + 1), f"{rng.choice(_PARAMETERS)}={rng.choice((word(rng), str(rng.randrange(5000))))}")
    query = "&".join(parts)
    return query if rng.random() < 0.3 else f"{request_path(rng)}?{query}"


def with_host(rng: random.Random, text: str, label: str) -> str:
    """Put scheme and host before a request path."""
    if not text.startswith("/") or text.startswith("//"):
        return text
    return f"{rng.choice(('http', 'https'))}://{rng.choice(('', 'www.', 'shop.', 'app.'))}{domain(rng)}{text}"


def more_parameters(rng: random.Random, text: str, label: str) -> str:
    """Append an ordinary parameter to a query."""
    if "?" not in text or "#" in text:
        return text
    return (
        f"{text}&{rng.choice(('utm_source', 'page', 'lang', 'v', '_', 'sid', 'ref'))}={rng.choice((word(rng), str(rng.randrange(10**6))))}"
    )


# Changes of the value come before those that put it into a request.
CHANGES: tuple[tuple[Change, float], ...] = (
    (keyword_case, 0.25),
    (blanks, 0.25),
    (percent_encode, 0.15),
    (encode_letters, 0.03),
    (double_encode, 0.05),
    (in_query, 0.4),
    (more_parameters, 0.1),
    (with_host, 0.12),
)


def augment(rng: random.Random, text: str, label: str) -> str:
    """Change a uri-attack row; the label stays true and the text never becomes empty."""
    for change, rate in CHANGES:
        if rng.random() < rate:
            text = change(rng, text, label) or text
    return text


def augment_url(rng: random.Random, text: str, label: str) -> str:
    """Change a URL of url-phishing without touching its host: scheme, port, slash, escapes, campaign parameters, fragment."""
    bare = re.sub(r"^https?://", "", text.strip(), flags=re.IGNORECASE)
    host, slash, rest = bare.partition("/")
    if not host:
        return text
    roll = rng.random()
    if roll < 0.15 and not rest:
        slash = "" if slash else "/"
    elif roll < 0.3 and rest:
        rest = "".join(f"%{ord(c):02X}" if c in " ~!'()*,;" or (c.isalpha() and c.isascii() and rng.random() < 0.01) else c for c in rest)
    elif roll < 0.42 and "#" not in bare and (rest or slash):
        parameter = rng.choice(("utm_source", "utm_medium", "ref", "lang", "id", "v", "fbclid", "token", "session"))
        value = rng.choice((word(rng), str(rng.randrange(10**6)), rng.randbytes(rng.randint(4, 16)).hex()))
        rest += f"{'&' if '?' in rest else '?'}{parameter}={value}"
    elif roll < 0.47 and "#" not in bare and slash:
        rest += f"#{word(rng)}"
    elif roll < 0.5 and ":" not in host:
        host += rng.choice((":443", ":80"))
    scheme = rng.choice(("", "", "https://", "http://"))
    return f"{scheme}{host}{slash}{rest}"
