"""Names under ordinary service labels (``mail.``, ``api.``, ``cdn.``), whatever stands behind them.

Lists of harmless names are mostly bare domains, lists of malicious ones hold more hosts, and DGA names have no host at all. A model
that learns from such lists takes the label before the domain for the sign, while a sensor sees it before every kind of name.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tools.generators.templates import lines
from tools.generators.words import brand


def hosts(rng: random.Random, names: Sequence[tuple[str, str]], count: int) -> list[tuple[str, str, str]]:
    """Draw ``count`` rows ``(service.name, label, "service")``, equally many of each label, from ``names`` of two labels.

    Args:
        rng: source of chance.
        names: pairs of a registered domain and its class.
        count: rows; fewer where a class has no name.
    """
    classes = sorted({label for _, label in names})
    services = lines("service_names.txt")
    rows = []
    for label in classes:
        own = [name for name, known in names if known == label and name.count(".") == 1]
        for name in rng.choices(own, k=count // len(classes)) if own else ():
            number = str(rng.randint(1, 9)) if rng.random() < 0.1 else ""
            rows.append((f"{rng.choice(services)}{number}.{name}", label, "service"))
    return rows


def generate(rng: random.Random, n: int) -> list[tuple[str, str, str]]:
    """Rows over invented names, for a look at them; training draws from its own table."""
    return hosts(rng, [(f"{brand(rng)}.com", "legit") for _ in range(n)], n)
