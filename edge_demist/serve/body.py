"""Reads a request's body with bounds on size and time, and its values by type."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edge_demist.serve.problems import Problem
from edge_demist.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_VALUES = 65_536
"""Values of a body: an empty list takes two bytes there and sixty in memory."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class Bodies:
    """What is held of bodies that are being answered, in bytes; what is beyond is refused."""

    def __init__(self, most: int) -> None:
        """At most so many, or one body."""
        self._most, self._held = most, 0

    @contextlib.contextmanager
    def holding(self, weight: int) -> Iterator[None]:
        """Count a body while it is there.

        Raises:
            Problem: there is no room beside the others (429).
        """
        if self._held and self._held + weight > self._most:
            raise Problem(429, "too much is being answered; try again in a second")
        self._held += weight
        try:
            yield
        finally:
            self._held -= weight


class Arriving:
    """Bodies that are being sent. When they are too large together, the one that began first has had its time."""

    def __init__(self, most: int) -> None:
        """At most so many bytes in all."""
        self._most, self._bytes = most, 0
        self._held: dict[asyncio.Timeout, int] = {}

    def grow(self, clock: asyncio.Timeout, count: int) -> None:
        """So many bytes more came for the body behind a clock."""
        self._held[clock] = self._held.get(clock, 0) + count
        self._bytes += count
        while self._bytes > self._most and (first := next(iter(self._held))) is not clock:
            self.forget(first)
            first.reschedule(asyncio.get_running_loop().time())

    def forget(self, clock: asyncio.Timeout) -> None:
        """It is read, or given up."""
        self._bytes -= self._held.pop(clock, 0)


async def read_object(request: Request, settings: Settings, arriving: Arriving) -> tuple[dict[str, Any], int]:
    """The JSON object in the body, and about how many bytes of memory its strings may take.

    Raises:
        Problem: too large (413), too slow (408), compressed (415), no JSON object (400, 422).
    """
    if (coding := request.headers.get("content-encoding") or "identity").lower() != "identity":
        raise Problem(415, f"content-encoding {coding[:40]!r} is not read; send the body as it is", headers={"Accept-Encoding": "identity"})
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > settings.max_body:
        raise Problem(413, f"the body has {declared} bytes; at most {settings.max_body} are read")
    raw = bytearray()
    clock = asyncio.timeout(settings.body_seconds)
    try:
        async with clock:
            async for part in request.stream():
                raw += part
                if len(raw) > settings.max_body:
                    raise Problem(413, f"the body is larger than {settings.max_body} bytes")
                arriving.grow(clock, len(part))
    except TimeoutError:
        raise Problem(408, f"the body came too slowly; it has {settings.body_seconds:g} seconds, and less beside many large ones") from None
    finally:
        arriving.forget(clock)
    return parsed(raw), len(raw) * (1 if raw.isascii() and b"\\u" not in raw else 4)


def parsed(raw: bytes | bytearray) -> dict[str, Any]:
    """The JSON object in UTF-8 (RFC 8259); no text is no object.

    Raises:
        Problem: it is none.
    """
    if _values(raw) > MAX_VALUES and _values(_STRING.sub(b"", raw)) > MAX_VALUES:
        raise Problem(413, f"the body holds more than {MAX_VALUES} values")
    try:
        value = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Problem(422, "the body must be a JSON object")
    return value


def _values(raw: bytes | bytearray) -> int:
    """At least as many as there are values, of JSON that is whole."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def number(body: Mapping[str, Any], name: str, low: float, high: float, *, whole: bool = False) -> float | None:
    """A number (a whole one), or None where it is not given.

    Raises:
        Problem: something else, or out of range.
    """
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high or (whole and value != int(value)):
        raise Problem(422, f"{name} must be a {'whole ' if whole else ''}number from {low:g} to {high:g}", name)
    return value


def flag(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """A truth value.

    Raises:
        Problem: something else.
    """
    value = body.get(name, default)
    if value is not None and not isinstance(value, bool):
        raise Problem(422, f"{name} must be true or false", name)
    return default if value is None else value
