"""Command lines that everybody tries first on a new detector, by technique, and the everyday lines of administrators beside them.

Written from public knowledge (MITRE ATT&CK, LOLBAS, GTFOBins) without a look at tables or errors. What techniques nobody has trained on
would give is told by a model trained with ``--hold-out classic``, without the groups of :func:`held_out` (``benchmarks.classic_lines``);
other lists of this package may hold lines of the same technique, in other words.
"""

from __future__ import annotations

import functools
import random
import zlib

from tools.synth.cmdline_slots import Row, draw
from tools.synth.templates import groups

ATTACK, ADMIN = "classic_attack.txt", "classic_admin.txt"
HELD_OUT = 0.3
"""Share of the techniques that train nothing."""


@functools.cache
def held_out(file: str) -> frozenset[str]:
    """The groups of a file that are kept to measure: those whose names come first by hash."""
    names = sorted(groups(file), key=lambda name: zlib.crc32(f"classic {name}".encode()))
    return frozenset(names[: round(HELD_OUT * len(names))])


def lines(rng: random.Random, n: int, file: str, held: bool) -> list[Row]:
    """Some rows ``(text, label, group)`` of the groups that train, or of those held out; ``n`` of both together."""
    label = "malicious" if file == ATTACK else "benign"
    return [row for row in draw(rng, n, (file,), label) if (row[2] in held_out(file)) == held]


def generate(rng: random.Random, n: int, *, all_groups: bool = True) -> list[Row]:
    """Make ``n`` rows to train on, as many hostile ones as ordinary ones; fewer without the groups held out."""
    rows = draw(rng, n // 2, (ATTACK,), "malicious") + draw(rng, n - n // 2, (ADMIN,), "benign")
    return [row for row in rows if all_groups or row[2] not in held_out(ATTACK if row[1] == "malicious" else ADMIN)]
