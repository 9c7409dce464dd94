"""Named text normalizers and the one way from text to bytes.

A specialist names the normalizer it was trained with; training and serving both call this module. The
tokenizer itself never changes a string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from edge_demist import decoding, wrappers
from edge_demist.addresses import page, url, url_without_root_slash
from edge_demist.hostnames import query_name, strip_all_service_labels, strip_service_labels, strip_www

T = TypeVar("T")


def identity(text: str) -> str:
    """Return the text unchanged."""
    return text


_SESSION = re.compile(r";(?:jsessionid|phpsessid|sid|aspsessionid\w{0,8})=[\w.!\-]{8,128}", re.IGNORECASE)
"""The name of a session in a path: letters and digits that no target runs."""
_CARETED = re.compile(r"(?<=\w)\^(?=\w)")
LEAST_CARETS = 3
_CDATA = re.compile(r"<!\[cdata\[(.*?)\]\]>", re.IGNORECASE | re.DOTALL)
_SQL_COMMENT = re.compile(r"/\*[\w\s]{0,512}\*/|/\*!?\d{0,6}|\*/|(?:--|#)[\w \t]{0,40}\n")
"""Comments of plain words, up to the end of their line, and the marks of others: what those hold stays, for some servers run it."""
_EMPTY_QUOTES = re.compile(r"(?<=[A-Za-z])(?:''|\"\"|\$[@*]|``)(?=[A-Za-z])")
_FIELD_SEPARATOR = re.compile(r"\$(?:\{ifs[^}]{0,12}\}|ifs\$\d|ifs(?![a-z0-9_]))(?:\$\(\))?", re.IGNORECASE)
_SELF_SEGMENTS = re.compile(r"(?<=/)(?:\./)+")
_SLASHES = re.compile(r"(?<=[^:/.?=&])//+(?=[^/])|\A//+(?=/[^/])")
_FOLDED = re.compile(r"(?:/\w[\w-]{0,32}/\.\.(?=/)){3,}")
"""Segments that the next one takes back, three or more in a row (RFC 3986, section 5.2.4)."""
_BRACES = re.compile(r"(?<![\w$\"':])\{([\w./+-]{1,64}(?:,[^{},\s\"':]{0,512}){1,16})\}")
"""Words that the shell makes of ``{ping,-c}``."""
ROUNDS = 3
"""How often a request is decoded: servers and applications behind them decode twice at most; one more costs little."""


def request(text: str) -> str:
    """Request targets and argument values as an application reads them: decoded, in lower case, blanks and comments as one blank.

    Undoes, up to ``ROUNDS`` times, percent-encoding (``%u``, overlong and full-width forms included), HTML and script escapes,
    look-ups for letters, base64 and hexadecimal digits of whole words; then SQL comments, ``$IFS``, quotes inside words,
    ``/./``, numbers for addresses and long repeats.
    """
    return _request(text, str.lower)


def cased_request(text: str) -> str:
    """:func:`request` in ordinary case (:func:`edge_demist.decoding.ordinary_case`) in place of lower case."""
    return _request(text, decoding.ordinary_case)


def _request(text: str, fold: Callable[[str], str]) -> str:
    form = plain = text
    for _ in range(ROUNDS):
        form = decoding.narrow(decoding.percent(plain))
        form = decoding.hex_words(decoding.base64_words(decoding.script_escapes(decoding.entities(decoding.lookups(form)))))
        if form == plain:
            break
        plain = form
    start = max(plain.find("?"), plain.find("="))
    if start >= 0 and "+" in plain:
        plain = plain[:start] + plain[start:].replace("+", " ")
    plain = fold(decoding.dotted_addresses(decoding.plain_width(decoding.character_codes(plain))))
    plain = wrappers.slices(_FIELD_SEPARATOR.sub(" ", plain)) if "$" in plain else plain
    plain = _SLASHED.sub(r"\1\2", wrappers.spare_back_slashes(plain)) if "\\" in plain else plain
    plain = _SQL_COMMENT.sub(" ", plain) if "*" in plain or "\n" in plain else plain
    plain = _CARETED.sub("", plain) if plain.count("^") >= LEAST_CARETS else plain
    plain = _CDATA.sub(r"\1", plain) if "<![" in plain else plain
    plain = _BRACES.sub(lambda m: m[1].replace(",", " "), plain) if "{" in plain else plain
    plain = _SESSION.sub("", plain) if ";" in plain else plain
    plain = _EMPTY_QUOTES.sub("", plain)
    plain = _SELF_SEGMENTS.sub("", plain) if "/./" in plain else plain
    plain = _FOLDED.sub("", plain) if "/../" in plain else plain
    plain = _SLASHES.sub("/", plain) if "//" in plain else plain
    return decoding.short_repeats(
        wrappers.plain_parameters(wrappers.without_ending(decoding.one_blank(wrappers.plain_elements(wrappers.less_nested(plain)))))
    )


def undisguised(text: str) -> str:
    """:func:`request` of any string, hexadecimal words and look-alike letters undone as well: for vectors that see through a disguise."""
    return request(decoding.look_alikes(decoding.hex_words(decoding.percent(text))))


_CARETS = re.compile(r"(?<!\[)\^(?=[\^\w\"/\\.:-])")
_TICKS = re.compile(r"(?<=[\w.-])`(?=[\w.-])")
_QUOTED_PART = re.compile(r"(?<=\w)([\"'])(\w{0,12})\1(?=\w)")
_JOINED = re.compile(r"(?<=\w)([\"'])\s{0,4}\+\s{0,4}\1(?=[\w.:/-])")
_BARE_PROGRAM = re.compile(r"\A([\"'])([\w.-]{1,64})\1(?=\s|\Z)")
_LAST_COMMENT = re.compile(r"\s(?:#|(?:&\s{0,4})rem\s)[\w ,.'\t-]{0,8192}\Z", re.IGNORECASE)
"""A comment of plain words at the end: nothing of it is run."""
_SLASHED = re.compile(r"((?:\A|[;|&(`=]\s{0,4})[a-z]{1,12})\\([a-z]{1,12})(?=\s|\Z)")
_IN_GROUP = re.compile(r"\A\{\s(.*?);?\s{0,4}\}\s{0,4}\Z", re.DOTALL)
_USER_OF_ADDRESS = re.compile(r"(?<=://)[^\s/@\"'<>]{1,128}@(?=[\w.\[])")
_VARIABLES = {"%comspec%": "cmd.exe", "%systemroot%": r"c:\windows", "%windir%": r"c:\windows"}
_VARIABLE = re.compile("|".join(_VARIABLES), re.IGNORECASE)


def command(text: str) -> str:
    """Command lines as the shell runs them: in lower case, one blank between words, nothing inside words that shells drop.

    Undoes carets, backticks and quotes inside words, joined strings, ``$IFS``, script escapes, base64 of whole words
    (``-EncodedCommand`` among them), text that is decoded for a shell (``echo … | base64 -d | sh``), numbers for addresses, and the
    variables that name the system's folder and shell.
    """
    return _command(text, str.lower)


def cased_command(text: str) -> str:
    """:func:`command` in ordinary case (:func:`edge_demist.decoding.ordinary_case`) in place of lower case."""
    return _command(text, decoding.ordinary_case)


def _command(text: str, fold: Callable[[str], str]) -> str:
    plain = decoding.plain_width(text)
    plain = _CARETS.sub("", plain) if "^" in plain else plain
    plain = _BRACES.sub(lambda m: m[1].replace(",", " "), plain) if "{" in plain else plain
    for _ in range(2):
        form = decoding.base64_words(decoding.script_escapes(decoding.piped_to_shell(plain)))
        form = decoding.hex_words(form) if "pack" in form or "hex" in form else form
        if form == plain:
            break
        plain = form
    plain = _without_company(wrappers.unwrapped(wrappers.powershell_texts(decoding.character_codes(plain)).strip()))
    plain = fold(decoding.dotted_addresses(plain))
    if "$" in plain:
        plain = wrappers.slices(_FIELD_SEPARATOR.sub(" ", plain))
    plain = _TICKS.sub("", plain) if "`" in plain else plain
    plain = _SLASHED.sub(r"\1\2", wrappers.spare_back_slashes(plain)) if "\\" in plain else plain
    plain = _EMPTY_QUOTES.sub("", _QUOTED_PART.sub(r"\2", _JOINED.sub("", plain)))
    if "%" in plain:
        plain = _VARIABLE.sub(lambda m: _VARIABLES[m[0].lower()], plain)
    return decoding.short_repeats(decoding.one_blank(plain))


def _without_company(plain: str) -> str:
    """A line without what changes nothing: a last comment of words, quotes around a bare program, a group's braces, a URL's user."""
    plain = _LAST_COMMENT.sub("", plain) if "#" in plain or "&" in plain else plain
    plain = _BARE_PROGRAM.sub(r"\2", plain) if plain[:1] in "\"'" else plain
    plain = _IN_GROUP.sub(r"\1", plain) if plain[:1] == "{" else plain
    return _USER_OF_ADDRESS.sub("", plain) if "://" in plain and "@" in plain else plain


_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SEPARATORS = re.compile(r"(?:[\s_+-]|(?<!\A)(?<!/)\.|~(?!\Z|/))+")
"""A dot that begins a name and a tilde that ends one say what a file is, so they stay."""


def file_words(text: str) -> str:
    """Names of files as words, ``.env`` and ``a.php~`` with their mark: lower case, humps and separators as one blank, slashes forward."""
    return _SEPARATORS.sub(" ", _HUMP.sub(" ", decoding.plain_width(text).strip()).lower().replace("\\", "/")).strip()


def header(text: str) -> str:
    """Header lines as a server reads them: decoded, in lower case, blanks as one."""
    plain = decoding.percent(text)
    plain = decoding.base64_words(decoding.script_escapes(decoding.entities(decoding.lookups(plain))))
    return decoding.short_repeats(decoding.one_blank(decoding.plain_width(plain).lower()))


_CERTIFICATE_PART = re.compile(r"\b(subject|issuer|san)=")
_ATTRIBUTE = re.compile(r",\s*(?=[A-Za-z0-9.]{1,24}=)|(?<!^)/(?=[A-Za-z]{1,24}=)")
SHOWN_NAMES = 8
"""Names of a certificate's SAN that are read."""


def certificate(text: str) -> str:
    """``subject=… issuer=… san=…`` in lower case, attributes in one order (Zeek and Suricata write them in different ones).

    An issuer that is the subject again is written ``issuer=self``; of the SAN the first ``SHOWN_NAMES`` names stay.
    """
    pieces = _CERTIFICATE_PART.split(decoding.one_blank(decoding.plain_width(text)).lower())
    found = dict(zip(pieces[1::2], (piece.strip(" ,/") for piece in pieces[2::2]), strict=False)) or {"subject": pieces[0]}
    names = {part: ", ".join(sorted(_ATTRIBUTE.split(found[part]))) for part in ("subject", "issuer") if part in found}
    if names.get("issuer") and names["issuer"] == names.get("subject"):
        names["issuer"] = "self"
    if "san" in found:
        names["san"] = ",".join(found["san"].split(",")[:SHOWN_NAMES])
    return decoding.short_repeats(" ".join(f"{part}={value}" for part, value in names.items()))


OLD_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "site": "strip_www",
        "owner": "strip_service_labels",
        "registrant": "strip_all_service_labels",
        "address": "url_without_root_slash",
    }
)
"""Names that files written before 0.2 hold; every table by normalizer has them too."""


def by_name(table: Mapping[str, T]) -> Mapping[str, T]:
    """A table by normalizer in which the old names stand as well."""
    return MappingProxyType({**table, **{old: table[new] for old, new in OLD_NAMES.items() if new in table}})


_LONG_LABEL = r"|\A(?:[A-Za-z]{1,8}://)?(?:[^./:?#]*\.)*[^./:?#]{64}"
"""A label of more than 63 characters (RFC 1035, section 2.3.4)."""
_NO_HOST = re.compile(r"[\x00-\x20\x7f\"'()<>\[\]{}\\|;,=&?%@!$^`]" + _LONG_LABEL)
_ESCAPE = r"\\(?:x[0-9A-Fa-f]{2}|[0-9]{3})"
"""A byte as logs write it (Zeek; RFC 1035, section 5.1): one character of a label."""
_LONG_ASKED = rf"|\A(?:[A-Za-z]{{1,8}}://)?(?:[^./:?#]*\.)*(?:{_ESCAPE}|(?!{_ESCAPE})[^./:?#]){{64}}"
_NO_QUERY = re.compile(r"[ \"'()<>\[\]{}|;,?%@!$^`](?=[^.]{0,63}(?:\.[^.]{0,63})?\.?\Z)|\A/[^?]*\?|\A(?:[^ ]* ){4}|\A\W?\x00" + _LONG_ASKED)
"""The last two labels are somebody's, as registered; what stands before them the client sends as it likes.

Sentences, paths with a query and wildcards of NetBIOS are no names.
"""
_NO_ADDRESS = re.compile(r"^\s*(?:https?://)?[^/?#@\s\"'<>(){},;|^`]{0,300}[\s\"'<>(){},;|^`]+[^\s]|\A[^./:@?#%\u3002]*\Z", re.IGNORECASE)
_NO_PAGE = re.compile(
    r"\A(?:[<\"'(`]|\[[^\[\]]{0,64}\]\()?+(?:(?:view-source:|url:)?h[tx\t\r\n]{2,6}ps?[\[(]?:[\])]?[/\\]{0,3}[\])]?)?+"
    r"(?:\s?[\[({](?:\.|dot)[)}\]]\s?|[^/?#@\s\"'<>(){},;|^`]){0,300}+[\s\"'<>(){},;|^`]+[^\s\"'>)`\]]|\A[^./:@?#%\u3002]*\Z",
    re.IGNORECASE,
)
"""As :func:`page` undoes it: brackets around an address or its dots, ``hxxp``, tabs in the scheme."""
REFUSED: Mapping[str, re.Pattern[str]] = by_name(
    {
        **dict.fromkeys(("strip_www", "strip_service_labels", "strip_all_service_labels"), _NO_HOST),
        "hostname": _NO_QUERY,
        **dict.fromkeys(("url", "url_without_root_slash"), _NO_ADDRESS),
        "page": _NO_PAGE,
    }
)
"""By normalizer, what a text of its kind cannot hold: a host that can be registered, a name that is asked for, the host of an address.

Names that are asked for may hold bytes and escapes, as tunnels send them.
"""

UNREGISTERED: Mapping[str, re.Pattern[str]] = by_name({"strip_all_service_labels": re.compile(r"\A[^.\u3002\uff0e\uff61]*\.?\Z")})
"""By normalizer that keeps what a registrant chose, what nobody registered: single labels, as computers and resolvers ask for them."""

NORMALIZERS: Mapping[str, Callable[[str], str]] = by_name(
    {
        "identity": identity,
        "hostname": query_name,
        "strip_www": strip_www,
        "strip_service_labels": strip_service_labels,
        "strip_all_service_labels": strip_all_service_labels,
        "url": url,
        "url_without_root_slash": url_without_root_slash,
        "page": page,
        "request": request,
        "command": command,
        "cased_request": cased_request,
        "undisguised": undisguised,
        "cased_command": cased_command,
        "file_words": file_words,
        "header": header,
        "certificate": certificate,
    }
)


def to_bytes(text: str) -> bytes:
    """Encode text as UTF-8.

    Bytes smuggled through ``surrogateescape`` come back as they were; any other lone surrogate becomes its three
    bytes (``surrogatepass``), which the tokenizer, like SentencePiece, reads as invalid UTF-8.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        pass
    parts = bytearray()
    for char in text:
        code = ord(char)
        if 0xDC80 <= code <= 0xDCFF:
            parts.append(code - 0xDC00)
        else:
            parts += char.encode("utf-8", "surrogatepass")
    return bytes(parts)


def from_bytes(raw: bytes) -> str:
    """Decode UTF-8; bytes that are not valid survive as escapes that :func:`to_bytes` turns back."""
    return raw.decode("utf-8", "surrogateescape")


def truncate_utf8(raw: bytes, limit: int) -> bytes:
    """Cut to at most ``limit`` bytes without splitting a valid UTF-8 character."""
    if len(raw) <= limit:
        return raw
    end = limit
    while end > max(limit - 3, 0) and (raw[end] & 0xC0) == 0x80:
        end -= 1
    return raw[:end] if (raw[end] & 0xC0) != 0x80 else raw[:limit]
