"""Undoes encodings that a server or a shell undoes as well: one function an encoding, each linear in the length of its text.

Nothing is ever dropped that a target could run: a text is decoded or shortened inside a word, never cut out.  Leaves to
:mod:`edge_demist.normalizers` which of them belong to which kind of text, and in what order.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

_ESCAPES = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_WIDE_ESCAPE = re.compile(r"%u([0-9a-fA-F]{4})")
_SCRIPT_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{0{0,8}([0-9a-fA-F]{1,5})\})")
_ENTITY = re.compile(
    r"&(?:#0{0,9}(\d{1,6});?|#[xX]0{0,9}([0-9a-fA-F]{1,5});?|(lt|gt|quot|apos|amp|colon|tab|newline|lpar|rpar|sol|nbsp);)", re.IGNORECASE
)
_ENTITIES = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "amp": "&", "colon": ":", "tab": " ", "newline": " ", "lpar": "(", "rpar": ")"}
_ENTITIES |= {"sol": "/", "nbsp": " "}
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0\x80[\x80-\x9f][\x80-\xbf]")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_%-])([A-Za-z0-9+/_-]{12,})(={1,2}(?![A-Za-z0-9+_=%-])|(?![A-Za-z0-9+/_=%-]))")
_HEX = re.compile(r"(?<![A-Za-z0-9_-])(?:0[xX])?((?:[0-9a-fA-F]{2}){8,})(?![A-Za-z0-9_-])")
_HEX_PAIRS = re.compile(r"(?<![A-Za-z0-9_-])([0-9a-fA-F]{2}([ :])[0-9a-fA-F]{2}(?:\2[0-9a-fA-F]{2}){6,})(?![A-Za-z0-9_-])")
_LONG_WORD = re.compile(rb"[A-Za-z0-9+/_-]{16}")
_OCTAL = re.compile(r"\\0?([0-3]?[0-7]{2})")
_OCTAL_RUN = re.compile(r"(?:\\0?[0-3]?[0-7]{2}){4,}")
_TO_SHELL = (
    r"\s{0,4}\|\s{0,4}(?:sudo\s{1,4})?(?:/(?:usr/)?bin/)?(?:env\s{1,4})?"
    r"(?:ba|da|z|k|a)?sh(?![\w./-])(?:\s{1,4}-[si]?(?![\w-]))?"
)
_DECODER = (
    r"(?:base64\s{1,4}(?:-d|-D|--decode|-di|-id)(?:\s{0,4}\|\s{0,4}(?:gunzip|zcat|gzip\s-d))?|openssl\s{1,4}(?:enc\s{1,4}-)?base64\s{1,4}(?:-d|-A|\s){2,10}"
    r"|base32\s{1,4}(?:-d|--decode)|xxd(?:\s{1,4}-(?:r|p|ps|plain|rp|pr)){1,2}|rev"
    r"|tr\s{1,4}['\"]?\[?[aA]-[zZ]\[?[aA]?-?[zZ]?\]?['\"]?\s{1,4}['\"]?\[?[nN]-[zZ][aA]-[mM]?[\w-]{0,8}\]?['\"]?)"
)
_PIPED = re.compile(
    r"(?<![\w./-])(?:(?:ba|da|z|k)?sh\s{1,4}-c\s{1,4})?(?:echo|printf)(?:\s{1,4}-[neE]{1,3}|\s{1,4}'?%[sb]'?){0,2}\s{1,4}"
    r"(?:\$?'([^']{8,})'|\"([^\"]{8,})\"|([^\s'\"|;&]{8,}))"
    rf"(?:\s{{0,4}}\|\s{{0,4}}({_DECODER})(?![\w-]))?{_TO_SHELL}"
)
_HERE_STRING = re.compile(rf"({_DECODER})\s{{0,4}}<<<\s{{0,4}}['\"]?([\w+/=]{{8,}})['\"]?{_TO_SHELL}")
_LETTERS_13 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ROT13 = {ord(c): letters[(i + 13) % 26] for letters in (_LETTERS_13, _LETTERS_13.lower()) for i, c in enumerate(letters)}
_LATIN = re.compile("[A-Za-z]")
_LOOK_ALIKES = str.maketrans(
    "аАвВсСеЕһНіІјЈкКӏмМоОрРԛѕЅтТуУѵԝхХαΑβΒεΕζΖηΗιΙκΚμΜνΝοΟρΡτΤυΥχΧ",
    "aABBcCeEhHiIjJkKlMMoOpPqsSTTyYvwxXaAbBeEzZnHiIkKuMvNoOpPtTuYxX",
)
_CODES = re.compile(
    r"(?:\[char\[\]\]\s{0,4}\(?|(?:string\.)?fromcharcode\s{0,4}\(|\bcha?r\s{0,4}\(|-join\s{0,4}\(\s{0,4})"
    r"((?:(?:0x[\da-f]{2}|\d{2,3})\s{0,4},\s{0,4}){3,}(?:0x[\da-f]{2}|\d{2,3}))\)?",
    re.IGNORECASE,
)
_CODES_ONE_BY_ONE = re.compile(r"\bcha?r\((\d{2,3})\)(?:\s{0,4}(?:\|\||\+|,|\.)\s{0,4}cha?r\(\d{2,3}\)){2,}", re.IGNORECASE)
_CODE = re.compile(r"0x[\da-f]{2}|\d{2,3}", re.IGNORECASE)
_ODD_NUMBER = re.compile(
    r"(?<=//)(?=[\da-fA-FxX.]*0[xX\d])((?:0[xX][0-9a-fA-F]{1,2}|0?\d{1,3})(?:\.(?:0[xX][0-9a-fA-F]{1,2}|0?\d{1,3})){3})(?=[/:?#\s\"')]|$)"
)
_MAPPED = re.compile(r"(?<=//)\[::ffff:(\d{1,3}(?:\.\d{1,3}){3})\]", re.IGNORECASE)
_WHOLE_NUMBER = re.compile(r"(?<=//)(?:(\d{8,10})|0[xX]([0-9a-fA-F]{8}))(?=[/:?#\s\"')]|$)")
_LETTERS = r"([^${}:']{1,16})"
_LOOKUP = re.compile(rf"\$\{{(?:(?:lower|upper):{_LETTERS}|[^${{}}]{{0,24}}:-{_LETTERS}|date:'{_LETTERS}')\}}", re.IGNORECASE)
_REPEATED = re.compile(r"(.)\1{31,}", re.DOTALL)
_WITHIN_WORDS = re.compile(r"(?<=\w)[\x00\xad\u200b-\u200f\u2060\ufeff]+(?=\w)")
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff\udca0]+")
_ODD_CASE = re.compile(r"(?<![A-Za-z])(?:[A-Z]{5,}(?![a-z])|[A-Za-z]*[a-z][A-Z]+[a-z]?(?![a-z]))[A-Za-z]*")
_ODD_WORD = re.compile(rf"(?<![^\s\"'(\\-]){_ODD_CASE.pattern}")
_TITLE = re.compile(r"(?:[A-Z][a-z]+(?:\s+|\Z)|[^A-Za-z\s]\S*(?:\s+|\Z)){3,}\Z")
"""Words that all begin with a capital, and what begins with no letter: nobody types commands so."""
_COMPATIBLE = re.compile("[\u2100-\u214f\u2460-\u24ff\uff61\U0001d400-\U0001d7ff\U0001f110-\U0001f189]")
"""Letters and digits in other shapes: of formulas, in circles, in brackets (UAX 15)."""
_DATA = re.compile(
    r"\bdata:(?:text/plain|application/(?:json|octet-stream|x-www-form-urlencoded))?(?:;charset=[\w-]{1,16})?;base64,(?=[\w+/-]{8})",
    re.IGNORECASE,
)
_WIDE = re.compile("(?:[^\0]\0){4,}[^\0]?|(?:\0[^\0]){4,}")
_FULLWIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_FULLWIDTH |= dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2015, 0x2212), 0x2D)
_FULLWIDTH |= dict.fromkeys((0x2018, 0x2019, 0x02BC), 0x27) | dict.fromkeys((0x201C, 0x201D), 0x22)

KEPT_REPEATS = 8
"""Characters that stay of 32 or more equal ones in a row."""
_NO_HOST_BYTE = re.compile(r"[^a-z0-9._\-]")
MOST_ODD_BYTES, ODD_SHARE = 8, 0.15
"""From so many bytes on, and so great a share of a name, those that no host has are written as letters."""
ODD_WORDS = 3
"""Words in odd case that make a whole text suspicious of it."""
NESTED = 3
"""How deep look-ups inside look-ups are written out."""
LEAST_BASE64 = 12
MOST_UNPACKED, MOST_RATIO = 8192, 8
"""Bytes of a packed text that are read, and how many times its own."""
_GZIP = b"\x1f\x8b\x08"
LEAST_TEXT = 0.95
"""Share of printable ASCII in a decoded base64 word that is taken for text."""


def percent(text: str) -> str:
    """Decode ``%XX`` as UTF-8, overlong forms and stray bytes included, and ``%uXXXX`` (RFC 3986, section 2.1; RFC 3629, section 10)."""
    if "%" not in text:
        return text
    return _WIDE_ESCAPE.sub(lambda m: _char(int(m[1], 16)), _ESCAPES.sub(_percent_run, text))


def _percent_run(match: re.Match[str]) -> str:
    raw = bytes.fromhex(match[0].replace("%", ""))
    if not raw.isascii():
        raw = _OVERLONG.sub(_overlong, raw)
    return raw.decode("utf-8", "surrogateescape")


def _overlong(match: re.Match[bytes]) -> bytes:
    """The character of an overlong UTF-8 sequence, as servers decoded it that did not check (CVE-2000-0884)."""
    raw = match[0]
    code = raw[0] & (0x1F if len(raw) == 2 else 0x0F if len(raw) == 3 else 0x07)
    for byte in raw[1:]:
        code = code << 6 | byte & 0x3F
    return chr(code).encode("utf-8", "surrogatepass")


def _char(code: int) -> str:
    """A character by its number; a blank for what is no character."""
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else " "


def script_escapes(text: str) -> str:
    r"""Decode ``\xHH``, ``\uHHHH`` and ``\u{H…}`` of JavaScript, JSON, ``printf`` and ``$'…'``, and four or more ``\NNN`` in a row."""
    if "\\1" in text or "\\0" in text:
        text = _OCTAL_RUN.sub(_octal_run, text)
    if "\\x" not in text and "\\u" not in text:
        return text
    return _SCRIPT_ESCAPE.sub(lambda m: _char(int(m[1] or m[2] or m[3], 16)), text)


def _octal_run(match: re.Match[str]) -> str:
    r"""The characters of a run of ``\NNN``."""
    return _OCTAL.sub(lambda m: _char(int(m[1], 8)), match[0])


def entities(text: str) -> str:
    """Decode character references of HTML: numbers, and the names that spell markup; a name needs its semicolon."""
    if "&" not in text:
        return text
    return _ENTITY.sub(lambda m: _ENTITIES[m[3].lower()] if m[3] else _char(int(m[1]) if m[1] else int(m[2], 16)), text)


def plain_width(text: str) -> str:
    """Write full-width letters, those of formulas, typographic quotes and dashes as ASCII: Windows and many servers map them (best fit)."""
    if text.isascii():
        return text
    if _COMPATIBLE.search(text):
        import unicodedata  # few strings hold such letters

        text = _COMPATIBLE.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)
    return text.translate(_FULLWIDTH)


def base64_words(text: str) -> str:
    """Write each whole word of base64 (RFC 4648, sections 4 and 5) that holds text, UTF-16 as well, as that text.

    What stands before it in a ``data:`` address of plain text goes.
    """
    if ";base64," in text:
        text = _DATA.sub("", text)
    return _BASE64.sub(_base64_word, text)


def narrow(text: str) -> str:
    """Drop the NUL beside every letter of text that is UTF-16 read as bytes."""
    return _WIDE.sub(lambda m: m[0].replace("\0", ""), text) if "\0" in text else text


def _base64_word(match: re.Match[str]) -> str:
    found = _text_of(match[1])
    if found is None and "/" in match[1]:  # a path whose segments are words of their own
        return "/".join(_text_of(word) or word if len(word) >= LEAST_BASE64 else word for word in match[1].split("/")) + match[2]
    return match[0] if found is None else found


def _text_of(word: str) -> str | None:
    """The text that a word of base64 holds; None where it holds none."""
    word = word.replace("-", "+").replace("_", "/")
    if len(word) % 4 == 1:
        return None
    try:
        raw = base64.b64decode(word + "=" * (-len(word) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    if raw[:3] == _GZIP:
        raw = _unpacked(raw)
    if len(raw) >= 8 and len(raw) % 2 == 0 and raw.count(0) * 2 >= len(raw) - 2:
        raw = raw.decode("utf-16-le" if raw[1] == 0 else "utf-16-be", "replace").encode("utf-8")
    printable = len(raw.translate(None, _PRINTABLE))
    return raw.decode("utf-8", "replace") if printable <= (1 - LEAST_TEXT) * len(raw) else None


def _unpacked(raw: bytes) -> bytes:
    """What a gzip holds, up to a bound; the gzip itself where it is damaged."""
    import zlib  # few words are gzips

    try:
        return zlib.decompressobj(31).decompress(raw, min(MOST_UNPACKED, MOST_RATIO * len(raw)))
    except zlib.error:
        return raw


def piped_to_shell(text: str) -> str:
    """Write what ``echo`` or ``printf`` sends to a shell, by ``base64 -d``, ``xxd -r -p``, ``rev`` or as it is, as the command it is there.

    What a decoder turns into no text stays as it stands (MITRE ATT&CK T1027.010, T1140).
    """
    if "sh" not in text or "|" not in text:
        return text
    text = _HERE_STRING.sub(lambda m: _sent(m[0], m[2], m[1]), text) if "<<<" in text else text
    return _PIPED.sub(lambda m: _sent(m[0], m[1] or m[2] or m[3], m[4] or ""), text)


def _sent(text: str, sent: str, decoder: str) -> str:
    """What a decoder hands to a shell; ``text`` where that is no text."""
    if decoder == "rev":
        return sent[::-1]
    if decoder.startswith("tr"):
        return sent.translate(_ROT13)
    if decoder.startswith("xxd"):
        return _decoded(text, lambda: bytes.fromhex(re.sub(r"\s|\\x|0x", "", sent)))
    if decoder.startswith("base32"):
        return _decoded(text, lambda: base64.b32decode("".join(sent.split())))
    if decoder:
        return _decoded(text, lambda: base64.b64decode("".join(sent.split()) + "=="))
    return script_escapes(sent)


def _decoded(text: str, decode: Callable[[], bytes]) -> str:
    """What ``decode`` gives, or ``text`` where that is no printable text."""
    try:
        raw = decode()
        raw = _unpacked(raw) if raw[:3] == _GZIP else raw
    except (binascii.Error, ValueError):
        return text
    printable = len(raw.translate(None, _PRINTABLE))
    return raw.decode("utf-8", "replace") if printable <= (1 - LEAST_TEXT) * len(raw) else text


def hex_words(text: str) -> str:
    """Write each word of 16 or more hexadecimal digits that holds text as that text; ``0x`` may stand before, blanks or colons between."""
    if text.count(":") > 6 or text.count(" ") > 6:
        text = _HEX_PAIRS.sub(_hex_word, text)
    return _HEX.sub(_hex_word, text)


def _hex_word(match: re.Match[str]) -> str:
    raw = bytes.fromhex(match[1].replace(":", " "))
    printable = len(raw.translate(None, _PRINTABLE))
    return raw.decode("utf-8", "replace") if printable <= (1 - LEAST_TEXT) * len(raw) else match[0]


def unpacked(raw: bytes) -> bytes:
    """Bytes of a string with the text of its words of base64 and hexadecimal, of 16 characters or more, in their place."""
    if not _LONG_WORD.search(raw):
        return raw
    text = raw.decode("utf-8", "surrogateescape")
    return hex_words(base64_words(text)).encode("utf-8", "surrogateescape")


def look_alikes(text: str) -> str:
    """Write Cyrillic and Greek letters that look like Latin ones as those, in a text that has Latin letters as well (UTS 39)."""
    return text if text.isascii() or not _LATIN.search(text) else text.translate(_LOOK_ALIKES)


_CHARACTERS = re.compile(r"cha?r|-join", re.IGNORECASE)
_TEXT_CODES = frozenset((9, 10, 13, *range(32, 127)))
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"


def lookups(text: str) -> str:
    """Write look-ups of Log4j that stand for a few letters (``${lower:j}``, ``${::-j}``, ``${env:X:-j}``) as those letters."""
    for _ in range(NESTED if "${" in text else 0):
        found = _LOOKUP.sub(lambda m: m[1] or m[2] or m[3] or "", text)
        if found == text:
            break
        text = found
    return text


def letters_for_bytes(name: str) -> str:
    """A name of a question in which many bytes are no host's, each of those as one of 26 letters (RFC 2181, section 11).

    What a tunnel sends as bytes (Base128, Base85) is then as long and as random as what others send as Base32.
    """
    odd = len(_NO_HOST_BYTE.findall(name))
    return _NO_HOST_BYTE.sub(_letter, name) if odd >= MOST_ODD_BYTES and odd >= ODD_SHARE * len(name) else name


def _letter(match: re.Match[str]) -> str:
    return chr(97 + ord(match[0]) % 26)


def ordinary_case(text: str) -> str:
    """Write in lower case what is in capitals throughout, long words in capitals, and words whose letters change case where no hump is.

    Ordinary case stays (``Get-Item``, ``HKLM``): it tells one shell from another. What anyone can type in any case says nothing; a text
    with ``ODD_WORDS`` words of that sort, each at its token's beginning, is written in lower case throughout.
    """
    if text.islower():
        return text
    if text.isupper() or _TITLE.match(text) or len(_ODD_WORD.findall(text)) >= ODD_WORDS:
        return text.lower()
    return _ODD_CASE.sub(lambda m: m[0].lower(), text)


def dotted_addresses(text: str) -> str:
    """Write an IPv4 address with decimal dots: one number after ``//``, octal or hexadecimal parts (``inet_aton``), one inside IPv6."""
    if "//" not in text:
        return text
    text = _MAPPED.sub(r"\1", text) if "//[" in text else text
    return (
        _ODD_NUMBER.sub(_decimal_parts, _WHOLE_NUMBER.sub(_dotted, text))
        if "//0" in text or ".0" in text
        else _WHOLE_NUMBER.sub(_dotted, text)
    )


def _decimal_parts(match: re.Match[str]) -> str:
    """Dotted parts in decimal; one with a leading zero is octal."""
    try:
        values = [int(part, 16) if part[:2] in ("0x", "0X") else int(part, 8 if part[0] == "0" else 10) for part in match[1].split(".")]
    except ValueError:
        return match[0]
    return ".".join(map(str, values)) if max(values) < 256 else match[0]


def character_codes(text: str) -> str:
    """Write lists of character codes as text: ``[char[]](105,101,…)``, ``String.fromCharCode(…)``, ``CHAR(…)``, ``CHR(105)||CHR(100)…``."""
    if "(" not in text or not _CHARACTERS.search(text):
        return text
    return _CODES_ONE_BY_ONE.sub(_from_codes, _CODES.sub(_from_codes, text))


def _from_codes(match: re.Match[str]) -> str:
    codes = [int(code, 0) if code[:2] in ("0x", "0X") else int(code) for code in _CODE.findall(match[0])]
    return "".join(map(_char, codes)) if all(code in _TEXT_CODES for code in codes) else match[0]


def _dotted(match: re.Match[str]) -> str:
    value = int(match[1]) if match[1] else int(match[2], 16)
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0)) if value < 1 << 32 else match[0]


def one_blank(text: str) -> str:
    """Write each run of blanks, tabs, line ends, other control characters and invisible ones as one blank."""
    if text.isprintable() and "  " not in text:  # no blank but single ones
        return text.strip(" ")
    return _BLANKS.sub(" ", _WITHIN_WORDS.sub("", text)).strip(" ")


def short_repeats(text: str) -> str:
    """Keep ``KEPT_REPEATS`` of 32 or more equal characters in a row."""
    return text if len(text) < 32 else _REPEATED.sub(lambda m: m[1] * KEPT_REPEATS, text)
