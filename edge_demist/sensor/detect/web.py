"""Host and request target put together as a proxy or a server understands them (RFC 9112, section 3.2)."""

from __future__ import annotations

import re

_ABSOLUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]{0,20}://")
_AUTHORITY = re.compile(r"(?:[\w.\-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}\Z")
_AUTHORITY_END = re.compile(r"[/?#\\]")


def full_url(host: str, target: str, method: str = "") -> str:
    """The address of a request, or an empty string where there is none.

    Args:
        host: the Host header or ``:authority``; may have a port.
        target: the request target in any of its four forms.
        method: the method, where the log has one.
    """
    if _is_authority(target, method):
        return target or host
    if target == "*":
        return ""
    if _ABSOLUTE.match(target):
        return target
    if not host or host.startswith("/"):
        return ""
    host = _ABSOLUTE.sub("", host, count=1).rstrip("/")
    if target.startswith("/"):
        return host + target
    rest = target[len(host) :]
    if target[: len(host)].lower() == host.lower() and (not rest or rest[0] in "/?#:"):
        return target
    return f"{host}/{target}"


def request_target(target: str, method: str = "") -> str:
    """Path and query of a request target; an empty string for ``*`` and for the authority that CONNECT names."""
    if target == "*" or _is_authority(target, method):
        return ""
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return target
    end = _AUTHORITY_END.search(target, absolute.end())
    return target[end.start() :] if end else "/"


def _is_authority(target: str, method: str) -> bool:
    """Whether a target is a host and port; what CONNECT asks for is one, unless it is a path."""
    return _AUTHORITY.match(target) is not None or (method.upper() == "CONNECT" and not target.startswith("/"))
