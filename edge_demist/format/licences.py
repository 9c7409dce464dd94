"""Licences of the sources that a bundle's specialists and base have seen, from the table in the package.

``terms`` is permissive, share-alike, restricted (non-commercial or by agreement), own-text (read it), unstated, or own (made by our
generators).
"""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import NamedTuple

from edge_demist.format.bundle import Bundle
from edge_demist.format.specialist import load_specialist

TABLE = Path(__file__).resolve().parents[1] / "assets" / "licences.csv"
UNKNOWN = "not in the table"


class Source(NamedTuple):
    """A source as a bundle names it, its licence, what that allows, and who has seen it."""

    name: str
    licence: str
    terms: str
    seen_by: tuple[str, ...]


@functools.cache
def table() -> dict[str, tuple[str, str]]:
    """Licence and terms by source."""
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return {row["source"]: (row["licence"], row["terms"]) for row in csv.DictReader(stream)}


def licence_of(source: str) -> tuple[str, str]:
    """Licence and terms of a source; of the longest entry that stands in its name, if it is none itself."""
    known = table()
    if source in known:
        return known[source]
    inside = [name for name in known if name in source]
    return known[max(inside, key=len)] if inside else (UNKNOWN, "unstated")


def sources_of(bundle: Bundle) -> list[Source]:
    """Every source that the bundle names, sorted: those of its specialists and, from its manifest, those of base and n-gram table."""
    seen: dict[str, set[str]] = {}
    for task in bundle.tasks:
        for name in load_specialist(bundle, task).sources:
            seen.setdefault(name, set()).add(task)
    listed = bundle.manifest.get("sources", [])
    for name in listed if isinstance(listed, list) else ():
        seen.setdefault(str(name)[:200], set()).add("base")
    return [Source(name, *licence_of(name), tuple(sorted(by))) for name, by in sorted(seen.items())]
