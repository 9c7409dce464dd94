"""Reads a request's body with bounds on size and time, and its values by type."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edge_demist.serve.problems import Problem
from edge_demist.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_object(request: Request, settings: Settings) -> dict[str, Any]:
    """The JSON object in the body.

    Raises:
        Problem: too large (413), too slow (408), no JSON object (400).
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > settings.max_body:
        raise Problem(413, f"the body has {declared} bytes; at most {settings.max_body} are read")
    raw = bytearray()
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for part in request.stream():
                raw += part
                if len(raw) > settings.max_body:
                    raise Problem(413, f"the body is larger than {settings.max_body} bytes")
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {settings.body_seconds:g} seconds") from None
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Problem(422, "the body must be a JSON object")
    return value


def number(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    """A number, or None where it is not given.

    Raises:
        Problem: something else, or out of range.
    """
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise Problem(422, f"{name} must be a number from {low:g} to {high:g}", name)
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
