"""Every example in a command's help does what it says, and the reference in docs/ is what the parsers say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge_demist.cli import COMMANDS, EPILOG, build_parser
from edge_demist.cli.options import Example

ROOT = Path(__file__).parents[2]


def examples():
    """(name, example) of every command and sub-command."""
    command, *output = (line[2:] for line in EPILOG.splitlines()[1:4])
    yield "edge-demist", Example(command.removeprefix("$ "), "\n".join(output))
    for name in COMMANDS:
        for parser in leaves(subparsers(build_parser(name))[name.replace("_", "-")]):
            for example in parser.get_default("examples"):
                yield parser.prog, example


def subparsers(parser):
    """Sub-commands by name."""
    found = [action for action in parser._actions if hasattr(action, "choices") and isinstance(action.choices, dict)]
    return found[0].choices if found else {}


def leaves(parser):
    """The command itself, or its sub-commands."""
    inner = subparsers(parser)
    if not inner:
        yield parser
    for one in dict.fromkeys(inner.values()):
        yield from leaves(one)


def matches(wanted, given):
    """Whether output is as shown, where ``…`` stands for anything, and as the last line for any number of lines."""
    wanted = wanted.rstrip("\n")
    more = wanted.endswith("\n…")
    pattern = ".*".join(re.escape(part) for part in wanted.removesuffix("\n…").split("…"))
    return re.fullmatch(pattern + (r"(\n.*)?" if more else ""), given.rstrip("\n"), re.DOTALL) is not None


FOUND = list(examples())
SLOW = ("bench", "train")


def test_every_command_shows_an_example_with_its_output():
    shown = {prog for prog, example in FOUND if example.output or ">" in example.command}
    wanted = {parser.prog for name in COMMANDS for parser in leaves(subparsers(build_parser(name))[name.replace("_", "-")])}
    assert wanted - shown == set()


@pytest.mark.parametrize(
    ("prog", "example"),
    [pytest.param(*one, marks=pytest.mark.slow) if one[0].split()[-1] in SLOW else one for one in FOUND],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_examples_print_what_the_help_says(tmp_path, prog, example):
    command = tmp_path / "bin" / "edge-demist"
    command.parent.mkdir()
    for path, module in ((command, "-m edge_demist "), (command.with_name("python3"), "")):
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module}"$@"\n')
        path.chmod(0o755)
    (tmp_path / "work").mkdir()
    place = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    script = f"set -e\n{example.command}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path / "work", env=place, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert matches(example.output, done.stdout), f"{prog} printed:\n{done.stdout}"
    assert "Traceback" not in done.stderr


def test_the_reference_is_what_the_parsers_say():
    from tools.docs import cli_reference

    written = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert written == cli_reference.rendered(), "run python -m tools.docs.cli_reference"


@pytest.mark.parametrize(
    "line",
    [
        "classify --task dga --task cmdline -",
        "classify --tas dga -",
        "classify --task dga --fpr 0 -",
        "classify --task dga --min-accuracy 1.5 -",
        "watch x --poll-interval -1",
        "watch x --poll-interval 1 --poll-ms 5",
        "watch x --batch-size 0",
        "watch x --commit-interval nan",
        "bench --fail-above soon",
    ],
)
def test_what_is_wrong_is_refused_by_the_parser(line, capsys):
    words = line.split()
    with pytest.raises(SystemExit) as stopped:
        build_parser(words[0]).parse_args(words)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("watch x --poll-ms 250", "watch x --poll-interval 0.25"),
        ("watch x --max-latency-ms 20", "watch x --max-latency 0.02"),
        ("watch x --commit-s 9", "watch x --commit-interval 9"),
        ("watch x --keep 3 --format eve", "watch x --rotate-keep 3 --output-format eve"),
        ("anonymize --keep id --keep label --input-format text", "anonymize --keep-field id --keep-field label"),
    ],
)
def test_older_spellings_mean_the_same(old, new):
    first, second = (vars(build_parser(line.split()[0]).parse_args(line.split())) for line in (old, new))
    assert {k: v for k, v in first.items() if k != "_seen"} == {k: v for k, v in second.items() if k != "_seen"}
    shown = build_parser(old.split()[0]).format_help()
    assert all(word not in shown for word in old.split() if word.startswith("--") and word != "--input-format")
