"""Host names as specialists read them: one spelling each, with or without the labels that any owner of a domain may put in front."""

from __future__ import annotations

import functools
import re

from edge_demist import decoding

MAX_HOSTNAME = 253
"""Characters of a host name (RFC 1035, section 2.3.4: 255 octets with the lengths of labels and the root)."""
_ANY_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]{0,20}://")
_PORT = re.compile(r":\d{1,5}\Z")
_HOST_END = re.compile(r"[/?#]")
MACHINES = "api|cdn|static|assets|img|images|ns|mx|smtp|imap|pop|autodiscover|autoconfig"
_PEOPLE = (
    "mail|webmail|email|m|mobile|app|apps|blog|forum|forums|wiki|chat|shop|store|news|media|video|docs|help|support|status|search|"
    "home|my|id|login|auth|sso|accounts|secure|admin|cpanel|portal|connect|remote|vpn|web|ftp|files|cloud|download|update|updates|"
    "dns|server|dev|test|demo|beta|stage|staging|old|new|git|gitlab"
)
ANY_SERVICE = f"{MACHINES}|{_PEOPLE}"


@functools.cache
def leading(labels: str) -> re.Pattern[str]:
    """Match one leading ``www.`` or label of ``labels`` before two more labels; the latter not before what looks like a public suffix."""
    return re.compile(rf"(?:www\d*\.|(?:{labels})\d*\.(?!(?:co|com|net|org|ac|gov|edu)\.[^.]*$))(?=[^.]+\.)")


def hostname(text: str) -> str:
    """Lower-case a host name, drop surrounding blanks, scheme, port and dots at the end; U-labels become A-labels (RFC 5891).

    Names that the IDNA codec refuses (empty or overlong labels, forbidden characters) are kept as they are, and so are those of
    more than ``MAX_HOSTNAME`` characters: an A-label is no shorter than its U-label, and the codec's time grows with the square.
    """
    name = text.strip().lower()
    if ":" in name:
        name = _authority(name)
    name = name.rstrip(".")
    if name.isascii() or len(name) > MAX_HOSTNAME:
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def _authority(name: str) -> str:
    """The host of an address or of a host with a port: neither says which host it is (RFC 3986, section 3.2)."""
    scheme = _ANY_SCHEME.match(name)
    if scheme:
        end = _HOST_END.search(name, scheme.end())
        name = name[scheme.end() : end.start() if end else len(name)]
    return _PORT.sub("", name) if name.count(":") == 1 or name.startswith("[") else name


def query_name(text: str) -> str:
    """:func:`hostname` of a name that is asked for, which may hold any bytes (:func:`edge_demist.decoding.letters_for_bytes`)."""
    return readable(hostname(text))


def readable(name: str) -> str:
    """A host name in one spelling, with letters for bytes that no host has."""
    return name if is_plain(name) else decoding.letters_for_bytes(name)


def is_plain(name: str) -> bool:
    """Whether names hold letters, digits, hyphens and dots alone, as nearly all do."""
    return name.isascii() and name.replace(".", "").replace("-", "").isalnum()


def strip_www(text: str) -> str:
    """:func:`hostname` without a leading ``www.``, where more than one label follows.

    Lists of names say ``www.`` for habits of their makers (98.6 % of such names in the training table of hostname-threat are malicious,
    most of its harmless names are bare domains); a sensor sees it before every kind of name.
    """
    name = hostname(text)
    return name[4:] if name.startswith("www.") and "." in name[4:] else name


def strip_service_labels(text: str) -> str:
    """:func:`hostname` without leading labels of services that any owner of a domain may run (``www2.``, ``api.``, ``ns1.``).

    They are taken away while at least two labels stay; all but ``www.`` not before what looks like a public suffix (``api.co.uk``).
    Labels that say what a host is for to people (``mail.``, ``forum.``, ``shop.``) stay.
    """
    return _without(MACHINES, hostname(text))


def strip_all_service_labels(text: str) -> str:
    """:func:`strip_service_labels` without labels of services for people either (``mail.``, ``login.``, ``vpn.``, ``dev.``)."""
    return _without(ANY_SERVICE, hostname(text))


def _without(labels: str, name: str) -> str:
    """``name`` from where the leading labels end."""
    begin, pattern = 0, leading(labels)
    while found := pattern.match(name, begin):
        begin = found.end()
    return name[begin:]
