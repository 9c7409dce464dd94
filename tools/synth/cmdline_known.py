"""Short command lines as analysts type them to see whether a detector answers, and ordinary lines of the same programs.

Written from public knowledge (MITRE ATT&CK, LOLBAS, GTFOBins) without a look at tables or errors; of short lines more than
:mod:`tools.synth.cmdline_classic` has, for a short line has few n-grams. Tools whose manual pages the tables call ordinary (scanners,
password crackers) are on neither side.
"""

from __future__ import annotations

import random
import re

from tools.synth.cmdline_slots import Row, draw

FILES = {"malicious": "known_attack.txt", "benign": "known_admin.txt"}
"""The list of templates of each label."""
ATTACK_TOOLS = frozenset(
    (
        "mimikatz", "evil-winrm", "nxc", "netexec", "crackmapexec", "cme", "chisel", "certipy", "certify", "kerbrute", "bloodhound-python",
        "sharphound", "rubeus", "adfind", "minerd", "lazagne", "pypykatz",
    )
)  # fmt: skip
"""Tools of attackers alone. The tables call their manual pages ordinary, which a sensor does not want to learn."""
_PROGRAM = re.compile(r"\A\W*(?:\S*[\\/])?([\w-]+)")


def is_attack_tool(line: str) -> bool:
    """Whether a line runs or names a tool of attackers."""
    found = _PROGRAM.match(line)
    return "mimikatz" in line.lower() or (found is not None and found[1].lower() in ATTACK_TOOLS)


def draw_of(rng: random.Random, n: int, label: str) -> list[Row]:
    """Make ``n`` rows ``(text, label, group)`` of one label."""
    return draw(rng, n, (FILES[label],), label)


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows, as many hostile ones as ordinary ones."""
    return draw_of(rng, n // 2, "malicious") + draw_of(rng, n - n // 2, "benign")
