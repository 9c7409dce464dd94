"""Hostile command lines by ATT&CK technique, for Windows, Linux, macOS, containers and cloud shells.

The forms are those of public playbooks (MITRE ATT&CK procedure examples), of LOLBAS and GTFOBins style use of installed programs,
and of published intrusion reports. Hosts are private or documentation addresses and invented names; nothing is downloadable.
Some discovery lines are an administrator's too: leave out what the data labels already (:func:`tools.synth.drop_known`).
"""

from __future__ import annotations

import random

from tools.synth.cmdline_slots import Row, draw

FILES = ("attack_windows.txt", "attack_unix.txt")
SHORT = ("attack_short.txt", "attack_scripts.txt")


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows ``(text, "malicious", technique)``, a third of them plain one-line forms."""
    short = n // 3
    return draw(rng, n - short, FILES, "malicious") + draw(rng, short, SHORT, "malicious")
