"""Bare program names and short command lines as argument values, and as many ordinary short values.

Scanners' lists of command names (fuzzdb's ``OS-cmd-execution`` lists, for one) send the names bare, and the data labels them
cmd-injection. So that a single word is not the signal, ordinary words, names, identifiers and field values come in proportion.
"""

from __future__ import annotations

import functools
import random

from tools.synth.templates import fill, lines
from tools.synth.uri_payloads import document_address
from tools.synth.words import brand, person, syllables, word

Row = tuple[str, str, str]

_ARGUMENTS: tuple[str, ...] = (
    "<c> <-a|-l|-la|-v|-h|--help|--version|/?|/a|/all>",
    "<c> </etc/passwd|/etc/hosts|/tmp|/home|/var/log|C:\\|C:\\Windows>",
)
_ARGUMENTS += ("<c> <name>", "<c> <address>", "<c> -c <1-9> <address>", "<c> <name>.<txt|log|conf>", "<c>.exe", "<c>.exe <name>")
_ARGUMENTS += ("/bin/<c>", "/usr/bin/<c>", "/sbin/<c>", "/usr/sbin/<c>", "<c>;", "<c>|", "cmd=<c>", "cmd=<c>+<name>", "exec=<c>")
_ARGUMENTS += (
    "/get?cmd=<c>",
    "/get?foo=<c>%20<name>",
    "arg=;<c>",
    "code=<c> <name>",
    "command=<c>",
    "c=<c>",
    "|<c>",
    ";<c>",
    "`<c>`",
    "$(<c>)",
)

_VALUES: tuple[str, ...] = (
    "<w>",
    "<w>",
    "<w>",
    "<W>",
    "<U>",
    "<made>",
    "<made>",
    "<person>",
    "<Person>",
    "<w><0-999>",
    "<made><0-99>",
    "<w>_<w>",
    "<w>-<w>",
)
_VALUES += ("<w>-<w>-<w>", "<w>.<w>", "<person>.<made>", "<W><W>", "<w><W>", ".<txt|log|pdf|jpg|png|html|php|csv|doc|css|js|zip|mp3>")
_VALUES += (
    "<w>.<txt|pdf|jpg|png|html|csv|docx|css|js>",
    "<a=a|b|c|d|e|f|i|n|p|q|s|t|x>=<0-99>",
    "<w>=<w>",
    "<w>=<0-9999>",
    "<w>=",
    "?<w>=<w>",
)
_VALUES += ("/<w>", "/<w>/<w>", "/<w>/<0-999>", "/<w>.<html|php|asp|jsp>", "<0-99999>", "<0-9>.<0-99>", "<w> <w>", "<W> <w>", "<w>,<w>")
_VALUES += ("<w>@example.<com|org|net>", "<a|b|c|x|y|z><0-9>", "<true|false|null|none|yes|no|on|off|asc|desc|default|auto|all|any|new|old>")
_VALUES += (
    "<en|de|fr|es|it|pt><-|_><US|DE|FR|ES|IT|BR>",
    "<small|medium|large|xl|red|blue|green|black|white>",
    "<w>[]",
    "#<w>",
    "<w>+<w>",
    "<w>%20<w>",
)


@functools.cache
def commands() -> tuple[str, ...]:
    """Read the program names that are no ordinary words of forms and fields as well."""
    return tuple(name for name in lines("commands.txt") if name.lower() not in lines("field_names.txt"))


def _ordinary_word(rng: random.Random) -> str:
    while (drawn := word(rng)) in commands():
        pass
    return drawn


_SLOTS = {
    "U": lambda rng: _ordinary_word(rng).upper(),
    "W": lambda rng: _ordinary_word(rng).capitalize(),
    "Person": lambda rng: person(rng).capitalize(),
    "address": document_address,
    "c": lambda rng: rng.choice(commands()),
    "made": lambda rng: rng.choice((syllables(rng, rng.randint(2, 4)), brand(rng))),
    "name": lambda rng: rng.choice((word(rng), person(rng))),
    "person": person,
    "w": _ordinary_word,
}


def command(rng: random.Random) -> Row:
    """Draw a bare program name, or a short command line of one."""
    if rng.random() < 0.65:
        return rng.choice(commands()), "cmd-injection", "bare-command"
    return fill(rng, rng.choice(_ARGUMENTS), _SLOTS), "cmd-injection", "short-command"


def ordinary(rng: random.Random) -> Row:
    """Draw a short ordinary value that is no program name."""
    while (text := fill(rng, rng.choice(_VALUES), _SLOTS)).lower() in commands():
        pass
    return text, "normal", "short-value"


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows, one half cmd-injection and one half normal."""
    return [(command if i % 2 else ordinary)(rng) for i in range(n)]
