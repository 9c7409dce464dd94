"""Regular expressions whose time grows with the text alone.

Thompson 1968; Cox 2007, "Regular Expression Matching Can Be Simple And Fast". Python's ``re`` tries one way after the other:
``([a-z]+[.]?)+x`` and one long name would keep the sensor busy for days. Here all ways are followed at once. The syntax is
Python's, read by Python's own parser, but for what is not regular: no look-around, no back-references, no word boundaries, no
possessive or atomic groups. Only whole matches are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

MAX_STATES = 1000
MAX_CACHED = 512

Test = Callable[[str], bool]


class NotRegularError(ValueError):
    """The expression needs more than one pass over the text, or is too large."""


class _State(NamedTuple):
    """Consumes a character that passes ``test``; without one goes on to all of ``to``, ``where`` asking for begin or end."""

    test: Test | None
    to: tuple[int, ...]
    where: str = ""


class LinearRegex:
    """A compiled expression."""

    def __init__(self, pattern: str) -> None:
        """Compile.

        Raises:
            re.error: the expression is malformed.
            NotRegularError: it cannot be matched in one pass, or would need more than 1000 states.
        """
        tree = _parser.parse(pattern)
        self._flags = tree.state.flags
        self._states: list[_State] = []
        self._accept = self._put(_State(None, ()))
        self._begin = self._sequence(tree, self._accept)
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def fullmatch(self, text: str) -> bool:
        """Whether the whole text matches."""
        now = self._closure((self._begin,), begin=True, end=not text)
        last = len(text) - 1
        for i, character in enumerate(text):
            if not now:
                return False
            now = self._step(now, character) if i < last else self._closure(self._moved(now, character), end=True)
        return self._accept in now

    def _step(self, now: frozenset[int], character: str) -> frozenset[int]:
        found = self._steps.get((now, character))
        if found is None:
            if len(self._steps) >= MAX_CACHED:
                self._steps.clear()
            found = self._steps[now, character] = self._closure(self._moved(now, character))
        return found

    def _moved(self, now: frozenset[int], character: str) -> list[int]:
        states = (self._states[i] for i in now)
        return [target for state in states if state.test is not None and state.test(character) for target in state.to]

    def _closure(self, first: Sequence[int], *, begin: bool = False, end: bool = False) -> frozenset[int]:
        """The states that can be reached without another character: those that take one, and the last."""
        seen, waiting = set(first), list(first)
        while waiting:
            state = self._states[waiting.pop()]
            open_ = not state.where or (state.where == "begin" and begin) or (state.where == "end" and end)
            if state.test is None and open_:
                new = [target for target in state.to if target not in seen]
                seen.update(new)
                waiting += new
        return frozenset(i for i in seen if self._states[i].test is not None or i == self._accept)

    # --- building ----------------------------------------------------------------------------------------------

    def _put(self, state: _State) -> int:
        if len(self._states) >= MAX_STATES:
            raise NotRegularError(f"the expression needs more than {MAX_STATES} states; make it shorter, or its counts smaller")
        self._states.append(state)
        return len(self._states) - 1

    def _sequence(self, items: Any, then: int) -> int:
        for kind, value in reversed(list(items)):
            then = self._one(kind, value, then)
        return then

    def _one(self, kind: Any, value: Any, then: int) -> int:
        """The state that begins a part of the parsed expression and leads to ``then``."""
        if kind in (sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY):
            return self._put(_State(_test(kind, value, self._flags), (then,)))
        if kind is sre.BRANCH:
            return self._put(_State(None, tuple(self._sequence(option, then) for option in value[1])))
        if kind is sre.SUBPATTERN and not value[1] and not value[2]:
            return self._sequence(value[3], then)
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            least, most, items = value
            return self._repeat(least, most, items, then)
        if kind is sre.AT and value in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING, sre.AT_END, sre.AT_END_STRING):
            where = "begin" if value in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING) else "end"
            return self._put(_State(None, (then,), where))
        raise NotRegularError(f"{str(kind).lower()} is not regular: no look-around, back-references, word boundaries or inner flags")

    def _repeat(self, least: int, most: int, items: Any, then: int) -> int:
        if least > MAX_STATES or (most != sre.MAXREPEAT and most > MAX_STATES):
            raise NotRegularError(f"a count over {MAX_STATES}")
        if most == sre.MAXREPEAT:
            loop = self._put(_State(None, ()))
            self._states[loop] = _State(None, (self._sequence(items, loop), then))
            then = loop
        else:
            for _ in range(most - least):
                then = self._put(_State(None, (self._sequence(items, then), then)))
        for _ in range(least):
            then = self._sequence(items, then)
        return then


def _test(kind: Any, value: Any, flags: int) -> Test:
    """What a character must pass: Python's own answer about a single character."""
    if kind is sre.ANY:
        return (lambda _: True) if flags & re.DOTALL else (lambda c: c != "\n")
    if kind is sre.IN:
        inside = "".join(map(_member, value))
        one = re.compile(f"[{inside}]", flags & ~re.VERBOSE)
    else:
        one = re.compile(("[^{}]" if kind is sre.NOT_LITERAL else "[{}]").format(_hexadecimal(value)), flags & ~re.VERBOSE)
    return lambda c: one.fullmatch(c) is not None


def _member(item: tuple[Any, Any]) -> str:
    kind, value = item
    if kind is sre.NEGATE:
        return "^"
    if kind is sre.LITERAL:
        return _hexadecimal(value)
    if kind is sre.RANGE:
        return f"{_hexadecimal(value[0])}-{_hexadecimal(value[1])}"
    return {
        sre.CATEGORY_DIGIT: r"\d",
        sre.CATEGORY_NOT_DIGIT: r"\D",
        sre.CATEGORY_SPACE: r"\s",
        sre.CATEGORY_NOT_SPACE: r"\S",
        sre.CATEGORY_WORD: r"\w",
        sre.CATEGORY_NOT_WORD: r"\W",
    }[value]


def _hexadecimal(code: int) -> str:
    return f"\\U{code:08x}"
