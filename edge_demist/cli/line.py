"""One line of input, and JSON values that are carried through as they were written."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is cut here and the rest of it skipped (16 MiB)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One input line: its number (from 1), its text or what is wrong with it, and other keys to carry through."""

    number: int
    text: str
    carried: Mapping[str, Any]
    error: str | None = None
    cut: bool = False


def no_constant(name: str) -> float:
    """Refuse NaN and infinities, which are not JSON."""
    raise ValueError(f"{name} is no JSON")


class RawJson(str):
    """A JSON value as it was written: ASCII, in one line. Numbers keep their digits, nothing is nested too deeply to write."""

    __slots__ = ()


_SCAN: Callable[[str, int], tuple[object, int]] = json.JSONDecoder(parse_constant=no_constant).scan_once  # type: ignore[attr-defined]
_BLANKS = re.compile(r"[ \t\n\r]*")
_OUTSIDE = str.maketrans("\t\n\r", "   ")
"""JSON has none of these inside strings, so where they stand they are blanks."""


def members(text: str) -> dict[str, RawJson] | None:
    """The members of a JSON object (RFC 8259), each value as it was written; None for another JSON value.

    Raises:
        ValueError: it is no JSON; ``NaN`` and ``Infinity`` are none.
        RecursionError: it is nested too deeply.
    """
    at = _blanks(text, 0)
    if not text.startswith("{", at):
        json.loads(text, parse_constant=no_constant)
        return None
    found: dict[str, RawJson] = {}
    at = _blanks(text, at + 1)
    closed = text.startswith("}", at)
    while not closed:
        if not text.startswith('"', at):
            raise ValueError(f"a name in quotes is expected at character {at}")
        name, at = json.decoder.scanstring(text, at + 1, True)  # type: ignore[attr-defined]
        at = _blanks(text, at)
        if not text.startswith(":", at):
            raise ValueError(f"a colon is expected at character {at}")
        begin = _blanks(text, at + 1)
        try:
            _, end = _SCAN(text, begin)
        except StopIteration:
            raise ValueError(f"a value is expected at character {begin}") from None
        found[name] = RawJson(_ascii(text[begin:end]).translate(_OUTSIDE))
        at = _blanks(text, end)
        closed = text.startswith("}", at)
        if not closed and not text.startswith(",", at):
            raise ValueError(f"a comma is expected at character {at}")
        at = _blanks(text, at + 1)
    if closed and _blanks(text, at if found else at + 1) != len(text):
        raise ValueError("something follows the object")
    return found


def _blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _ascii(raw: str) -> str:
    """Escape what is not ASCII, which JSON has inside strings alone."""
    if raw.isascii():
        return raw.replace("\x7f", "\\u007f")
    units = raw.encode("utf-16-be", "surrogatepass")
    codes = (int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2))
    return "".join(chr(code) if code < 0x7F else f"\\u{code:04x}" for code in codes)


def decoded(value: Any) -> Any:
    """A carried value as Python has it; None where it cannot be read."""
    if type(value) is not RawJson:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
