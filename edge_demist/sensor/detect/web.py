"""Host and request target put together as a proxy or a server understands them (RFC 9112, section 3.2)."""

from __future__ import annotations

import re

_ABSOLUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]{0,20}://")
_AUTHORITY = re.compile(r"(?:[\w.\-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}\Z")
_BARE_IPV6 = re.compile(r"[0-9a-fA-F:.]+\Z")
_REQUEST_LINE = re.compile(r"([A-Z]{3,16}) (.*?) HTTP/\d(?:\.\d)?(?:\Z|[\r\n\\])", re.DOTALL)
_HOST_FIRST = re.compile(
    r"(?:[a-z0-9-]{1,63}\.)+(?!(?:php\d?|aspx?|jspx?|cgi|html?|js|do|py|pl|action|json|xml|cfm|dll|exe)/)[a-z][a-z0-9-]{1,62}(?::\d{1,5})?(?=/)",
    re.IGNORECASE,
)
"""A host before a path, as logs of proxies write an address without its scheme; no file's name before what servers call path info."""
_NO_TARGET = re.compile(r"0x[0-9a-fA-F]{1,32}\Z")
"""A number that a log calls ``request``."""
_AUTHORITY_END = re.compile(r"[/?#\\]")


def full_url(host: str, target: str, method: str = "") -> str:
    """The address of a request, or an empty string where there is none.

    Args:
        host: the Host header or ``:authority``; may have a port.
        target: the request target in any of its four forms.
        method: the method, where the log has one.
    """
    if line := _request_line(target):
        return full_url(host, line[2], line[1])
    if host.count(":") > 1 and host[0] != "[" and _BARE_IPV6.match(host):
        host = f"[{host}]"
    if "/" in host:
        host = "" if host.startswith("/") else _ABSOLUTE.sub("", host, count=1).rstrip("/")
    if target.startswith("/"):
        return host + target if host else ""
    if _is_authority(target, method):
        return target or host
    if target == "*":
        return ""
    if _ABSOLUTE.match(target) or (not host and _HOST_FIRST.match(target)):
        return target
    rest = target[len(host) :]
    if host and target[: len(host)].lower() == host.lower() and (not rest or rest[0] in "/?#:"):
        return target
    return f"{host}/{target}" if host else ""


def request_target(target: str, method: str = "") -> str:
    """Path and query of a request target; an empty string for ``*`` and for the authority that CONNECT names."""
    if target.startswith("/"):
        return target
    if line := _request_line(target):
        return request_target(line[2], line[1])
    if target == "*" or _is_authority(target, method) or _NO_TARGET.match(target):
        return ""
    absolute = _ABSOLUTE.match(target) or _HOST_FIRST.match(target)
    if absolute is None:
        return target
    end = _AUTHORITY_END.search(target, absolute.end())
    return target[end.start() :] if end else "/"


def _request_line(target: str) -> re.Match[str] | None:
    """A whole request line (``GET /x HTTP/1.1``), as some logs have it in the place of its target."""
    return _REQUEST_LINE.match(target) if target[:1].isupper() and " HTTP/" in target else None


def _is_authority(target: str, method: str) -> bool:
    """Whether a target that is no path is a host and port; what CONNECT asks for is one."""
    return method.upper() == "CONNECT" or _AUTHORITY.match(target) is not None
