"""The strings to measure on: those in the package, or the lines of a user's file."""

from __future__ import annotations

import json
from pathlib import Path

from edge_demist.errors import InputError

SHIPPED = Path(__file__).resolve().parent.parent / "assets" / "strings.jsonl"
MAX_STRINGS = 100_000
"""At most this many distinct strings of a file are used."""
MAX_LINE_BYTES = 65_536
"""Longer lines are cut."""


def shipped(kind: str | None = None) -> list[str]:
    """Sample strings of one kind, or all.

    Kinds: ``hostname``, ``dga``, ``dns-query``, ``url``, ``uri``, ``cmdline``, ``user-agent``, ``filename``.

    Raises:
        InputError: the package has no such kind.
    """
    rows = [json.loads(line) for line in SHIPPED.read_text(encoding="utf-8").splitlines()]
    found = [str(row["text"]) for row in rows if kind in (None, row["kind"])]
    if not found:
        raise InputError(f"no sample strings of kind {kind!r}; there are {', '.join(dict.fromkeys(r['kind'] for r in rows))}")
    return found


def from_file(path: Path) -> list[str]:
    """Distinct lines of a file, at most ``MAX_STRINGS``, in order; bytes that are not UTF-8 survive as surrogate escapes.

    Raises:
        InputError: the file cannot be read or holds no string.
    """
    seen: dict[str, None] = {}
    try:
        with path.open("rb") as stream:
            for raw in stream:
                text = raw.rstrip(b"\r\n")[:MAX_LINE_BYTES].decode("utf-8", "surrogateescape")
                if text.strip():
                    seen[text] = None
                if len(seen) >= MAX_STRINGS:
                    break
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if not seen:
        raise InputError(f"{path}: no strings in it")
    return list(seen)
