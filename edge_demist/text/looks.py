"""Second looks at a suspicious string: what it says without what stands around it, each reading a string of its own.

A wrapper, a prefix or a sentence beside a payload lowers a score a little, seldom much.  So a string whose score lies below its
threshold, but not far below, is read again by its core.  A reading counts only where it alarms: nothing is hidden by taking too much
away.  Leaves scores to :mod:`edge_demist.judging`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from edge_demist import decoding
from edge_demist.normalizers import by_name, from_bytes, to_bytes
from edge_demist.text.bare_commands import WRAPPERS, core, plainest

MOST_LOOKS = 8
"""Readings of one string."""
MOST_BYTES = 1024
"""Longer strings are read in windows; those are looked at again one by one."""
LEAST_BYTES = 8
LEAST_PAYLOAD = 4
"""Characters of a value that is read alone."""

_JOINTS = re.compile(r"\s*(?:;|&&|\|\||\n|(?<![>&])&(?![>&\d])|(?<=\s)(?:do|then|else)\s|(?<=;)\s*(?:done|fi)\b)\s*")
_IN_QUOTES = re.compile(r"'([^']{8,})'|\"([^\"]{8,})\"|\$\(([^()]{8,})\)|<<-?\s?'?\w+'?(?: ?\| ?\w+)? (.{8,}) \w+\Z")
_DEEPER = re.compile(r"[\"',]([^\"',]{8,})[\"',]")
_CAPITALS = re.compile(r"\A[a-z.]*[A-Z]|/[A-Z]{2}|\b(?!TODO|LIST|JSON|HKLM|HKCU)[A-Z]{4,}\b|\.EXE")
_SLASHED = re.compile(
    r"(?:bcdedit|net1?|schtasks|reg|vssadmin|wevtutil|certutil|wmic|tasklist|taskkill|attrib|icacls|cmd|msiexec|rundll32|regsvr32|bitsadmin|sc|netsh"
    r"|wbadmin|fsutil|cipher|nltest|cscript|wscript|mshta|whoami|query|shutdown|takeown|at|forfiles|robocopy|xcopy|findstr|ipconfig)(?:\.exe)?\s",
    re.IGNORECASE,
)
"""Programs of Windows whose options begin with a slash; most take a dash as well."""
_CMDLET = re.compile(r"(?<![\w-])[a-z]{3,12}-[a-z]{4,}", re.IGNORECASE)
_OPTION = re.compile(r"(?<= )-(?=[a-z])")
_VALUE = re.compile(r"[?&]")
_VALUE_OF_JSON = re.compile(r"\"\s?[:,]\s?\"?|[?&]|\A[{\[]|\"\s?[}\]]|\{\s?\"")
_JSON = re.compile(r"\"\s?:|\[\s?\"|\",")
_NAME = re.compile(r"\A[\w.\[\]-]{1,64}=")
_EDGES = ' "{}[],\\'
_MARK = re.compile(
    r"[^\w\s.,:;=/+@%~*#\"|\[\]-]|[;|](?!\w*[=.]|base64|[;|]|\Z)|\.\./|--(?=\W*\w{0,4}\Z)|(?:file|php|expect|dict|gopher)://|/etc/|\b(?:union|select|and|or|order)\b",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"\A(?:(?:[$#]\{|\$|\{{1,2}|\[|%{1,2})[\w.-]{2,64}[}\]%]{0,2}|<[a-z]{1,32}(?:_[a-z\d]{1,32}){1,4}>)\Z", re.IGNORECASE
)
"""A value that somebody else fills in (``${UUID}``, ``[CACHEBUSTER]``, ``%%SITE%%``, ``<user_id>``), as links of advertisers
hold; no element of HTML has an underscore."""
_WORDS_BEFORE = re.compile(r"\A(?:[a-z]{2,15} ){3,}|\A\w{22,}(?=\w\w\W)")
_WORDS_AFTER = re.compile(r"(?: [a-z]{2,15}){5,}\Z")
_SHELL = re.compile(r"[$^`\\?]")
_SEGMENT = re.compile(r"/(?:[\w.-]*(?=/|\Z))?")
_CARRIER = "/item?id="
_LABELS_BEFORE = re.compile(r"\A(?:(?:www?|m|mobile|web|secure|login|my)\d{0,2}\.)+(?=[^./]+\.)")
_PAGE_END = re.compile(r"[?#;]|[,)]\Z|(?<=\.php)/|(?<=\.html)/|(?<=\.aspx)/|(?<=\.jsp)/|/(?=[^/]*@)|\.\Z|\x00")


def looks(raw: bytes, kind: Kind) -> list[bytes]:
    """Readings of a normalized string, at most ``MOST_LOOKS``, none of them the string itself."""
    if not LEAST_BYTES <= len(raw) <= MOST_BYTES:
        return []
    found = dict.fromkeys(to_bytes(one) for one in kind.read(from_bytes(raw)) if len(one) >= LEAST_BYTES)
    found.pop(raw, None)
    return list(found)[:MOST_LOOKS]


def is_wrapped(raw: bytes, kind: Kind | None) -> bool:
    """Whether a string begins with a wrapper, behind which stage one sees too little."""
    return kind is not None and raw.partition(b" ")[0] in kind.wrappers


def _commands(text: str) -> Iterator[str]:
    """A command line without wrappers, with words as the shell puts them together, and its parts."""
    plain = plainest(text)
    if "$(" not in text:
        yield core(text)
    yield core(plain)
    yield plain
    if " -" in plain and " /" not in plain and _SLASHED.match(core(plain)):
        yield _OPTION.sub("/", core(plain))
    if _CAPITALS.search(plain) and not (_CMDLET.search(plain) or _JOINTS.search(core(plain))):
        yield core(plain).lower()
    for found in _IN_QUOTES.finditer(plain):
        inner = next(part for part in found.groups() if part)
        yield core(inner)
        yield from (core(deeper[1]) for deeper in _DEEPER.finditer(inner))
    parts = _JOINTS.split(plain)
    if len(parts) > 1:
        yield from sorted(map(core, parts), key=len, reverse=True)


def _requests(text: str) -> Iterator[str]:
    """The values and path segments of a request that hold marks, without the words beside them."""
    spread = _VALUE_OF_JSON if '"' in text and _JSON.search(text) else _VALUE
    parts = spread.split(text.replace('\\"', '"') if spread is _VALUE_OF_JSON else text)
    parts = [_NAME.sub("", part).strip(_EDGES) for part in parts]
    if text[:1] == "/" and "../" not in text:
        parts[:1] = [part for part in _SEGMENT.split(parts[0]) if part and "=" not in part]
    for part in sorted(parts, key=lambda part: -len(_MARK.findall(part))):
        trimmed = _WORDS_AFTER.sub("", _WORDS_BEFORE.sub("", part))
        payload = trimmed if len(trimmed) >= LEAST_PAYLOAD else part
        payload = plainest(payload) if _SHELL.search(payload) else payload
        if len(payload) >= LEAST_PAYLOAD and _MARK.search(payload) and not _PLACEHOLDER.match(payload):
            yield _CARRIER + payload


def _addresses(text: str) -> Iterator[str]:
    """An address without labels that say nothing, and without what stands behind its page."""
    end = _PAGE_END.search(text)
    page = text[: end.start()] if end and end.start() else text
    bare = _LABELS_BEFORE.sub("", page)
    yield bare
    yield page
    yield _LABELS_BEFORE.sub("", text)
    if "xn--" in bare:
        yield _latin(bare)


def _latin(address: str) -> str:
    """An address whose host has its look-alike letters written as the Latin ones that they look like (UTS 39)."""
    host, slash, path = address.partition("/")
    try:
        return decoding.look_alikes(host.encode("ascii").decode("idna")) + slash + path
    except UnicodeError:
        return address


class Kind(NamedTuple):
    """How strings of a kind are read again.

    Attributes:
        read: gives the readings.
        least: a string whose alarm score lies below is not read again.
        margin: logits by which a reading must exceed the threshold: several readings are several chances of a false alarm.
        wrappers: first words behind which a string is read again even where stage one of the screen sees nothing in the whole.
    """

    read: Callable[[str], Iterator[str]]
    least: float
    margin: float
    wrappers: frozenset[bytes] = frozenset()


KINDS: Mapping[str, Kind] = by_name(
    {
        **dict.fromkeys(("command", "cased_command"), Kind(_commands, 0.5, 0.0, WRAPPERS)),
        **dict.fromkeys(("request", "cased_request"), Kind(_requests, 0.2, 1.0)),
        **dict.fromkeys(("url", "url_without_root_slash", "page"), Kind(_addresses, 0.8, 0.1)),
    }
)
"""By normalizer; strings of others are read once."""
