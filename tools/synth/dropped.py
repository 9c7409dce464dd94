"""Addresses from which programs fetch what they install: a bare host, often a port, and random segments; and as many that look like them.

Forms are those of public reports on loaders (Emotet's URLs among them); hosts and segments are drawn.
"""

from __future__ import annotations

import random
import string

Row = tuple[str, str, str]
PORTS = (80, 443, 990, 7080, 8080, 8443, 4143, 4444, 20, 465, 22, 50000, 53, 8090)
_LETTERS = string.ascii_letters + string.digits


def _segment(rng: random.Random) -> str:
    alphabet = rng.choice((_LETTERS, _LETTERS, string.ascii_lowercase + string.digits))
    return "".join(rng.choices(alphabet, k=rng.choice((rng.randint(2, 6), rng.randint(6, 20)))))


def address(rng: random.Random) -> str:
    """One address with one to eight random segments."""
    host = ".".join(str(rng.randint(1, 254)) for _ in range(4))
    port = f":{rng.choice(PORTS)}" if rng.random() < 0.6 else ""
    return f"{host}{port}/{'/'.join(_segment(rng) for _ in range(rng.randint(1, 8)))}{rng.choice(('/', '/', ''))}"


def generate(rng: random.Random, count: int) -> list[Row]:
    """Draw ``count`` rows ``(text, "malicious", "dropped")``."""
    return [(address(rng), "malicious", "dropped") for _ in range(count)]
