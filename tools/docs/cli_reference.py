"""The reference of the command line, from the parsers themselves.

python -m tools.docs.cli_reference     # writes docs/reference/cli.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from edge_demist.cli import COMMANDS, build_parser

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
HEAD = """# Command line

Generated from the parsers by `python -m tools.docs.cli_reference`; do not edit. `edge-demist COMMAND --help` shows the same.
In the output of an example `…` stands for anything. Exit codes: 0 all done, 1 some items failed, 2 cannot start, 130 interrupted.
"""


def main() -> int:
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(rendered(), encoding="utf-8")
    return 0


def rendered() -> str:
    """The page as Markdown."""
    return "\n".join([HEAD, *(part for name in COMMANDS for part in _command(_named(build_parser(name), name)))])


def _named(parser: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    return _inner(parser)[name.replace("_", "-")]


def _inner(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    inner = _inner(parser)
    about = (parser.description or "").replace("``", "`")
    yield f"{'##' if parser.prog.count(' ') == 1 else '###'} {parser.prog}\n\n{about}\n"
    if not inner:
        yield _options(parser)
        examples = "\n\n".join(
            "$ " + example.command.replace("\n", "\n  ") + (f"\n{example.output}" if example.output else "")
            for example in parser.get_default("examples") or ()
        )
        if examples:
            yield f"```text\n{examples}\n```\n"
    for one in inner.values():
        yield from _command(one)


def _options(parser: argparse.ArgumentParser) -> str:
    rows = ["| argument | meaning |", "|---|---|"]
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        value = _value(action)
        names = ", ".join(f"`{name}{value}`" for name in action.option_strings) or f"`{value.strip()}`"
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        rows.append(
            f"| {names} | {text}{' (required)' if action.required and action.option_strings else ''} |".replace("N|TASK", "N\\|TASK")
        )
    return "\n".join(rows) + "\n"


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    shown = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper())
    shown = str(shown)
    many = {"?": f" [{shown}]", "*": f" [{shown} …]", "+": f" {shown} [{shown} …]"}
    return many.get(str(action.nargs), f" {shown}")


if __name__ == "__main__":
    raise SystemExit(main())
