"""Template lines with slots, read from a word list file, and how a line is filled.

A slot stands in angle brackets: ``<3-17>`` draws a number, ``<a|b|c>`` one of the forms (empty ones allowed), ``<name>`` a
value of the slot functions given. ``<x=...>`` keeps the value, ``<x>`` repeats it. Slots may stand within forms. What is no
slot, a shell redirection for one, stays; so do forms with a spaced bar, which is a pipe. Within forms ``‹``, ``›`` and ``¦``
stand for angle brackets and a bar of the line itself. In a file, ``[name]`` opens a group,
``#!`` begins a remark, and ``8*`` before a line lets it be drawn eight times as often.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path

Slots = Mapping[str, Callable[[random.Random], str]]
Group = tuple[tuple[str, ...], tuple[float, ...]]

WORDLISTS = Path(__file__).parent / "wordlists"
_FIXED = 0.25  # weight of a line that has no slot, so repeats
_SLOT = re.compile(r"<(?:([a-z])=)?([^<>]*)>")
_RANGE = re.compile(r"(\d+)-(\d+)")
_WEIGHT = re.compile(r"(\d+)\* ")
_STANDS_FOR = str.maketrans("‹›¦", "<>|")


@functools.cache
def lines(name: str) -> tuple[str, ...]:
    """Read the entries of a word list, without blank lines and remarks."""
    text = (WORDLISTS / name).read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line.strip() and not line.startswith("#!"))


@functools.cache
def groups(name: str) -> dict[str, Group]:
    """Read a file of templates as ``{group: (templates, weights)}``."""
    found: dict[str, tuple[list[str], list[float]]] = {}
    group = ""
    for line in lines(name):
        if re.fullmatch(r"\[[\w.+-]+\]", line):
            group = line[1:-1]
            continue
        weight = _WEIGHT.match(line)
        texts, weights = found.setdefault(group, ([], []))
        texts.append(line[weight.end() :] if weight else line)
        weights.append(float(weight[1]) if weight else 1.0 if _SLOT.search(line) else _FIXED)
    return {key: (tuple(texts), tuple(weights)) for key, (texts, weights) in found.items()}


def fill(rng: random.Random, template: str, slots: Slots) -> str:
    """Fill the slots of one template, innermost first."""
    kept: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        key, body = match[1], match[2]
        number = _RANGE.fullmatch(body)
        if number:
            drawn = str(rng.randint(int(number[1]), int(number[2])))
        elif "|" in body and " | " not in body:
            drawn = rng.choice(body.split("|"))
        elif body in kept:
            return kept[body]
        elif body in slots:
            drawn = slots[body](rng)
        else:
            return match[0]
        if key:
            kept[key] = drawn
        return drawn

    for _ in range(6):
        filled = _SLOT.sub(value, template)
        if filled == template:
            break
        template = filled
    return template.translate(_STANDS_FOR)


def unfilled(text: str, slots: Slots) -> bool:
    """Say whether a slot is left in a filled text."""
    return any(m[1] or m[2] in slots or _RANGE.fullmatch(m[2]) for m in _SLOT.finditer(text))
