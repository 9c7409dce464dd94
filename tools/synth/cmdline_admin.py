"""Ordinary Windows administration, build and background command lines, by template with slots.

Some lines, ``whoami /groups`` for one, occur in attack playbooks too: leave out what the data labels already
(:func:`tools.synth.drop_known`).
"""

from __future__ import annotations

import functools
import random
import re
from pathlib import Path

from tools.synth.cmdline_values import SLOTS

_SLOT = re.compile("<(" + "|".join(SLOTS) + ")>")


@functools.cache
def templates() -> tuple[str, ...]:
    """Read the templates, one a line, slots in angle brackets."""
    text = (Path(__file__).parent / "wordlists" / "windows_admin.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line.strip())


def fill(rng: random.Random, template: str) -> str:
    """Fill every slot of a template with its own value."""
    return _SLOT.sub(lambda match: SLOTS[match[1]](rng), template)


def generate(rng: random.Random, n: int) -> list[tuple[str, str, str]]:
    """Make ``n`` rows ``(text, "benign", "windows-admin-<first word>")``."""
    weights = [1.0 if _SLOT.search(template) else 0.15 for template in templates()]  # lines without a slot repeat
    rows = []
    for template in rng.choices(templates(), weights, k=n):
        program = template[1 : template.index('"', 1)] if template[0] == '"' else template.split()[0]
        tool = program.rpartition("\\")[2].lower().removesuffix(".exe").strip("<>")
        rows.append((fill(rng, template), "benign", f"windows-admin-{tool}"))
    return rows
