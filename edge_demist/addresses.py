"""Addresses of pages as specialists read them: one spelling each, as browsers and servers understand it."""

from __future__ import annotations

import re

from edge_demist import decoding
from edge_demist.hostnames import hostname, is_plain

_SCHEME = re.compile(r"^https?://", re.IGNORECASE)
_HOST_END = re.compile(r"[/?#]")
_MATRIX = re.compile(r"(?:;[A-Za-z][\w-]{0,23}=[\w.!-]{0,128}){1,8}+(?=[/?#]|\Z)")
"""Parameters of a path segment (RFC 3986, section 3.3), sessions among them: a server finds the page without them."""


def url(text: str) -> str:
    """Strip blanks, ``http://`` or ``https://`` and the port; the host part as :func:`hostname` has it (RFC 3986, section 3.2).

    Of the addresses in the training table of url-phishing that name a port 92 % are harmless; without ports their verdict is that of
    the same address as a log without ports has it.
    """
    bare = _SCHEME.sub("", text.strip(), count=1)
    end = _HOST_END.search(bare)
    cut = end.start() if end else len(bare)
    host = bare[:cut]
    return (hostname(host) if ":" in host or host.endswith(".") or not host.isascii() else host.lower()) + bare[cut:]


def url_without_root_slash(text: str) -> str:
    """:func:`url` without the slash of an empty path: ``example.com/`` and ``example.com`` are one resource (RFC 3986, section 6.2.3).

    A sensor sees the slash in every request for a first page; in the training table of url-phishing 62 % of such addresses are malicious,
    of those without it 27 %.
    """
    full = url(text)
    end = len(full) - 1
    return full[:end] if end > 0 and full[end] == "/" and not _HOST_END.search(full, 0, end) else full


_PAGE_SCHEME = re.compile(r"\A(?:[a-z][a-z0-9+]{1,11}:/{1,8}|https?:(?!\d))+", re.IGNORECASE)
_ENCODED_SCHEME = re.compile(r"\Ahttps?%3a", re.IGNORECASE)
_USER_PART = re.compile(r"\A[^/?#]{0,255}@")
_BEHIND_HOST = re.compile(r"[.\s\0]{1,16}(?=(?::\d{0,5})?\Z)|:\Z")
_NUMBERS = frozenset("0123456789[")
_DEFAULT_PORT = re.compile(r":(?:80|443)$")


def page(text: str) -> str:
    """:func:`url_without_root_slash` as it is understood: no user part or default port, path decoded, numbers for dotted addresses."""
    bare = text.strip()
    bare = bare if _is_bare(bare) else _written_about(bare)
    bare = decoding.percent(bare) if "%" in bare and _ENCODED_SCHEME.match(bare) else bare
    bare = bare[8:].lstrip("/") if bare[:8] == "https://" else bare
    bare = _PAGE_SCHEME.sub("", bare, count=1) if ":" in bare[:16] else bare
    bare = bare.lstrip("/") if bare[:2] == "//" else bare
    bare = _USER_PART.sub("", bare, count=1) if "@" in bare else bare
    bare = _MATRIX.sub("", bare) if ";" in bare else bare
    bare = decoding.dotted_addresses("//" + bare).removeprefix("//") if "//" in bare or bare[:1] in _NUMBERS else bare
    end = _HOST_END.search(bare)
    host, path = (bare[: end.start()], bare[end.start() :]) if end else (bare, "")
    host, path = (host.lower(), path) if is_plain(host) and host[-1:] != "." else _odd_host(host, path)
    path = "" if path == "/" else decoding.percent(path)
    path = path.lower() if path.isupper() else path
    path = _without_dots(path) if "/." in path else path
    path = _one_slash(path) if "//" in path else path
    return decoding.short_repeats(decoding.one_blank(host + path))


def _odd_host(host: str, path: str) -> tuple[str, str]:
    """A host in one spelling: decoded, without a port and without dots and blanks behind it; the path takes what was no host's."""
    plain = decoding.percent(host)
    end = _HOST_END.search(plain)
    plain, path = (plain[: end.start()], plain[end.start() :] + path) if end else (plain, path)
    return _DEFAULT_PORT.sub("", hostname(_BEHIND_HOST.sub("", plain, count=1))).lower(), path


def _without_dots(path: str) -> str:
    """A path without ``/./`` and without what ``/../`` takes back (RFC 3986, section 5.2.4); the query stays as it is."""
    end = min((k for k in (path.find(mark) for mark in "?#") if k >= 0), default=len(path))
    kept: list[str] = []
    *folders, last = path[:end].split("/")
    for folder in folders:
        if folder == ".." and len(kept) > 1:
            kept.pop()
        elif folder not in (".", ".."):
            kept.append(folder)
    return "/".join([*kept, last]) + path[end:]


_ABOUT = re.compile(
    r"[\t\r\n\\]|\A\s*[<\"'(`]|\A\[[^\[\]]{0,64}\]\(|\A\[h|[\[({](?:\.|dot|:|://)[\])}]|\A\s*(?:view-source|feed|url):", re.IGNORECASE
)
_BACK_SLASH = re.compile(r"\\(?=[\w.%-]|\Z|\\)")


def _is_bare(text: str) -> bool:
    """Whether an address stands as it is typed: the cheap look comes first."""
    first = text[:1]
    odd = not first.isalnum() or not text.isprintable() or (first in "vfuVFU" and ":" in text[:12])
    odd = odd or "\\" in text or "(" in text or "[" in text or "{" in text
    return not odd or not _ABOUT.search(text)


_DEFANGED = re.compile(r"\s?[\[({](\.|:|://)[\])}]\s?|\s?[\[({]dot[\])}]\s?", re.IGNORECASE)
_LINK = re.compile(r"\A\[(?:[^\[\]]{0,64}\]\(|(?=h))")


def _written_about(text: str) -> str:
    """An address out of the brackets and quotes of who writes about it (``hxxp://a[.]b``), and as browsers clean it (WHATWG URL, 4.4)."""
    bare = _LINK.sub("", re.sub(r"[\t\r\n]", "", text).strip(" <>\"'()`"), count=1)
    bare = bare.removesuffix("]") if "[" not in bare else bare
    bare = re.sub(r"\A(?:view-source|feed|url):", "", bare, flags=re.IGNORECASE)
    bare = _DEFANGED.sub(lambda m: m[1] or ".", bare)
    end = min((k for k in (bare.find(mark) for mark in "?#") if k >= 0), default=len(bare))
    return _BACK_SLASH.sub("/", bare[:end]) + bare[end:]


_SEVERAL_SLASHES = re.compile(r"(?<!:)/{2,}")


def _one_slash(path: str) -> str:
    """One slash for several before a query, as servers take them; those of an address within stay."""
    end = min((k for k in (path.find(mark) for mark in "?#") if k >= 0), default=len(path))
    return _SEVERAL_SLASHES.sub("/", path[:end]) + path[end:]
