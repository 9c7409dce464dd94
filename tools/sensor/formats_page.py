"""Write the field tables of docs/formats.md from the mapping.

    python -m tools.sensor.formats_page [--check]

``--check`` changes nothing and fails if the page does not show what the mapping says.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from edge_demist.sensor.detect.mapping import Rule, load_rules

PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
_MARK = re.compile(r"(<!-- fields -->\n).*?(<!-- end -->)", re.DOTALL)
_FORMS = {"target": "path and query", "argv": "hexadecimal undone", "command": "program and arguments"}


def tables(rules: tuple[Rule, ...]) -> str:
    """A table a format, a row a field."""
    formats: dict[str, list[Rule]] = {}
    for rule in rules:
        formats.setdefault(rule.format or "Other", []).append(rule)
    parts = []
    for name, own in formats.items():
        logs = sorted({log for rule in own for log in rule.logs if "_" not in log or "*" not in log})
        rows = [f"| {_field(rule)} | {', '.join(rule.tasks)} |" for rule in own]
        head = f"### {name}\n\nIn events, `log` is {', '.join(f'`{log}`' for log in logs)}.\n\n| field | specialists |\n|---|---|\n"
        parts.append(head + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _field(rule: Rule) -> str:
    text = f"`{rule.field}`"
    if rule.prefix_fields and rule.form == "url":
        text += " with " + " or ".join(f"`{path}`" for path in rule.prefix_fields)
    elif rule.form in _FORMS:
        text += f" ({_FORMS[rule.form]})"
    if rule.only_field:
        text += f", where `{rule.only_field}` is {' or '.join(rule.only_values)}"
    if rule.unless:
        text += f", without {' and '.join(f'`{path}`' for path in rule.unless)}"
    return text.replace("|", "\\|")


def rendered(page: str) -> str:
    """The page with the tables of the mapping."""
    return _MARK.sub(lambda m: m[1] + "\n" + tables(load_rules()) + m[2], page)


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the page is not current")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    if check:
        return int(rendered(page) != page)
    PAGE.write_text(rendered(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
