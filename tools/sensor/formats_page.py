"""The field tables of docs/reference/formats.md, from the mapping."""

from __future__ import annotations

from edge_demist.sensor.detect.anywhere import ANYWHERE
from edge_demist.sensor.detect.mapping import Rule

_FORMS = {
    "target": "path and query",
    "argv": "hexadecimal undone",
    "command": "program and arguments",
    "agent": "blanks undone",
    "escaped": "escapes undone",
    "name": "if it is a host's full name",
    "question": "the question of a message that is written out",
    "exec": "what is run in a container",
    "message": "script or command line in the text",
    "command of JSON": "the command in the object that it holds as text",
}


def tables(rules: tuple[Rule, ...]) -> str:
    """A table a format, a row a field."""
    formats: dict[str, list[Rule]] = {}
    for rule in rules:
        formats.setdefault(rule.format or "Other", []).append(rule)
    parts = []
    for name, own in formats.items():
        logs = sorted({log for rule in own for log in rule.logs if "_" not in log or "*" not in log})
        rows = [f"| {_field(rule)} | {', '.join(rule.tasks)} |" for rule in own if not rule.field.startswith(ANYWHERE)] + _by_names(own)
        head = f"### {name}\n\nIn events, `log` is {', '.join(f'`{log}`' for log in logs)}.\n\n| field | specialists |\n|---|---|\n"
        parts.append(head + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _by_names(rules: list[Rule]) -> list[str]:
    """Rows of the fields that count wherever they stand: one for all names that are read alike."""
    alike: dict[tuple[str, str], list[str]] = {}
    for rule in rules:
        if rule.field.startswith(ANYWHERE):
            names = alike.setdefault((", ".join(rule.tasks), _FORMS.get(rule.form, "")), [])
            names.append(rule.field.removeprefix(ANYWHERE))
    return [
        f"| any field named {', '.join(f'`{n}`' for n in names)}{f' ({form})' * bool(form)} | {tasks} |"
        for (tasks, form), names in alike.items()
    ]


def _field(rule: Rule) -> str:
    text = f"`{rule.field}`"
    if rule.prefix_fields and rule.form == "url":
        text += " with " + " or ".join(f"`{path}`" for path in rule.prefix_fields)
    elif rule.form in _FORMS:
        text += f" ({_FORMS[rule.form]})"
    if rule.query_fields:
        text += " and " + " or ".join(f"`{path}`" for path in rule.query_fields)
    if rule.only_field:
        text += f", where `{rule.only_field}` is {' or '.join(rule.only_values) or 'there'}"
    if rule.unless:
        text += f", without {' and '.join(f'`{path}`' for path in rule.unless)}"
    return text.replace("|", "\\|")
