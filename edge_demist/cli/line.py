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
    """One input line: its number (from 1), its text or what is wrong with it, other keys to carry through, the object that it was."""

    number: int
    text: str
    carried: Mapping[str, Any]
    error: str | None = None
    cut: bool = False
    written: JsonObject | None = None


def no_constant(name: str) -> float:
    """Refuse NaN and infinities, which are not JSON."""
    raise ValueError(f"{name} is no JSON")


class RawJson(str):
    """A JSON value as it was written: ASCII, in one line. Numbers keep their digits, nothing is nested too deeply to write."""

    __slots__ = ()


class JsonObject(dict[str, RawJson]):
    """The members of a JSON object, of equal names the last; ``text`` is how it was written, ``names`` where all names stand."""

    __slots__ = ("names", "text")

    def __init__(self) -> None:
        """Start without members."""
        super().__init__()
        self.text = ""
        self.names: list[tuple[str, int, int]] = []

    def plus(self, more: Mapping[str, str]) -> str:
        """The object with other members behind its own, each a value in JSON; a name of its own that they have gets ``input_`` before it.

        Every other byte stays: numbers, escapes, blanks, order and members of equal names.
        """
        taken, parts, at = {*self, *more}, [], 0
        for name, begin, end in self.names:
            if name in more:
                new = f"input_{name}"
                while new in taken:
                    new = f"input_{new}"
                parts += [self.text[at:begin], json.dumps(new)]
                at = end
        added = ", ".join(f"{json.dumps(name)}: {value}" for name, value in more.items())
        return "".join((*parts, self.text[at:-1], ", " if self.names and more else "", added, "}"))


_NUMBERS_ASIDE = json.JSONDecoder(parse_constant=no_constant, parse_int=float)
"""Numbers are not looked at: of any length, they stay as they were written."""
_SCAN: Callable[[str, int], tuple[object, int]] = _NUMBERS_ASIDE.scan_once  # type: ignore[attr-defined]
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb]")
"""What steers a terminal or turns the direction of text; JSON may hold it inside strings alone, where an escape means the same."""
_BLANKS = re.compile(r"[ \t\n\r]*")
_OUTSIDE = str.maketrans("\t\n\r", "   ")
"""JSON has none of these inside strings, so where they stand they are blanks."""


def members(text: str) -> JsonObject | None:
    """The members of a JSON object (RFC 8259), each value as it was written; None for another JSON value.

    Raises:
        ValueError: it is no JSON; ``NaN`` and ``Infinity`` are none.
        RecursionError: it is nested too deeply.
    """
    at = _blanks(text, 0)
    if not text.startswith("{", at):
        _NUMBERS_ASIDE.decode(text)
        return None
    found, start = JsonObject(), at
    at = _blanks(text, at + 1)
    closed = text.startswith("}", at)
    while not closed:
        if not text.startswith('"', at):
            raise ValueError(f"a name in quotes is expected at character {at}")
        opened = at
        name, at = json.decoder.scanstring(text, at + 1, True)  # type: ignore[attr-defined]
        found.names.append((name, opened - start, at - start))
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
    end = at if found else at + 1
    if closed and _blanks(text, end) != len(text):
        raise ValueError("something follows the object")
    found.text = text[start:end].rstrip()
    if found.names and _UNSEEN.search(found.text):
        return members(_UNSEEN.sub(lambda m: f"\\u{ord(m[0]):04x}", found.text))
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
