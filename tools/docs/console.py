"""Runs the commands of a document and writes, or checks, the output that it shows.

    python -m tools.docs.console [--check] [PAGE …]

A ``console`` block holds commands after ``$ `` and what they print below them (standard output and error; past 12 lines
only the first are shown, with ``…``). An ``sh`` block is run as one script and has to end with 0. Other blocks are not
run. Every page gets a folder of its own that holds ``tests/data`` of the repository, and its blocks run there in order.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAX_LINES, SECONDS = 12, 300


def environment(folder: Path) -> dict[str, str]:
    """Variables in which ``edge-demist`` and ``python3`` are those that run this program."""
    programs = folder / ".programs"
    programs.mkdir(exist_ok=True)
    (programs / "edge-demist").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m edge_demist "$@"\n')
    (programs / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for path in programs.iterdir():
        path.chmod(0o755)
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder), "COLUMNS": "100", "LC_ALL": "C.UTF-8"}


def run(command: str, folder: Path) -> tuple[int, str]:
    """A command's exit code, and standard output and error together."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(folder), timeout=SECONDS, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout


def shown(output: str) -> str:
    """What a page shows of an output."""
    lines = output.rstrip("\n").split("\n") if output.strip() else []
    return "".join(f"{line.rstrip()}\n" for line in (lines if len(lines) <= MAX_LINES else [*lines[: MAX_LINES - 1], "…"]))


def refreshed(text: str, folder: Path, page: str = "") -> str:
    """The page with the outputs of its commands written anew; ``folder`` is where they run.

    Raises:
        RuntimeError: an ``sh`` block does not end with 0.
    """

    def one(match: re.Match[str]) -> str:
        kind, body = match.groups()
        if kind == "sh":
            code, output = run(f"set -e\n{body}", folder)
            if code:
                raise RuntimeError(f"{page}: this block ended with {code}:\n{body}\n{output[-2000:]}")
            return match[0]
        commands = re.findall(r"^\$ (.*(?:\\\n.*)*)$", body, re.MULTILINE)
        return "```console\n" + "".join(f"$ {command}\n{shown(run(command, folder)[1])}" for command in commands) + "```"

    return BLOCK.sub(one, text)


def pages() -> list[Path]:
    """README and all documents but the history."""
    return [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if not {"history", "decisions"} & set(p.parts))]


def place() -> tempfile.TemporaryDirectory[str]:
    """A folder to run a page in."""
    folder = tempfile.TemporaryDirectory(prefix="page-")
    shutil.copytree(ROOT / "tests" / "data", Path(folder.name) / "tests" / "data")
    return folder


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check; 1 where an output is not what the page shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE")
    args = parser.parse_args(argv)
    stale = []
    for path in args.pages or pages():
        old = path.read_text(encoding="utf-8")
        with place() as folder:
            new = refreshed(old, Path(folder), str(path))
        if new != old:
            stale.append(path)
            if not args.check:
                path.write_text(new, encoding="utf-8")
            print(f"{path}: {'shows another output' if args.check else 'written'}")
    return int(bool(stale) and args.check)


if __name__ == "__main__":
    raise SystemExit(main())
