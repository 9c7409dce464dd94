"""Markdown tables and numbers for documents; a page's marked blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def amount(value: float | None) -> str:
    """Three significant digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percent(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A share in percent with one digit, its interval in brackets; or a dash."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}" + (f" ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})" if interval else "")


def filled(page: str, blocks: Mapping[str, Callable[[], str]], name: str) -> str:
    """The page with what stands between ``<!-- NAME -->`` and ``<!-- end -->`` written anew.

    Raises:
        ValueError: the page has a marker that is in no block; ``name`` says which page.
    """

    def fresh(match: re.Match[str]) -> str:
        if match[1] not in blocks:
            raise ValueError(f"{name}: no block is called {match[1]!r}; known: {', '.join(sorted(blocks))}")
        return f"<!-- {match[1]} -->\n{blocks[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- ([a-z0-9-]+) -->\n.*?<!-- end -->", fresh, page, flags=re.DOTALL)
