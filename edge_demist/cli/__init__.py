"""The command line: one module a command.

Exit codes: 0 all done, 1 some items failed, 2 cannot start (usage, unreadable input, unusable bundle), 130 interrupted.
A reader that closes the pipe ends the command quietly.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Sequence

from edge_demist import __version__
from edge_demist.cli.options import Parser
from edge_demist.errors import EdgeDemistError
from edge_demist.io import printable

COMMANDS = (
    "classify",
    "explain",
    "embed",
    "map",
    "similar",
    "compare",
    "cluster",
    "tokenize",
    "tasks",
    "info",
    "verify",
    "doctor",
    "bench",
    "watch",
    "status",
    "install_service",
    "anonymize",
    "report",
    "feedback",
    "ask",
    "indicators",
    "drift",
    "serve",
    "mcp",
    "enrich",
    "train",
    "evaluate",
    "bundle",
)

GC_EVERY = 20_000
"""New objects that bring a collection about: a start makes many that stay, and so are what is remembered of clients and hosts."""

EPILOG = """examples:
  $ printf 'kernel.org\\nxjwqpvkz.info\\n' | edge-demist classify --task dga --fpr 1e-3 --output-format table -
    1.00  legit                   kernel.org
    1.00  dga                     xjwqpvkz.info

edge-demist COMMAND --help shows more, each with its output.
exit codes: 0 all done, 1 some items failed, 2 cannot start, 130 interrupted
"""


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser with one command's options, or with all commands (for help)."""
    parser = Parser(
        prog="edge-demist",
        description="Embed and classify security strings on the edge, offline, on a CPU.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"edge-demist {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS if command is None else (command,):
        importlib.import_module(f".{name}", __package__).add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    gc.set_threshold(GC_EVERY)
    _open_standard_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    module = arguments[0].replace("-", "_") if arguments else ""
    known = module in COMMANDS
    try:
        args = build_parser(module if known else None).parse_args(arguments)
        code = int(importlib.import_module(f".{module}", __package__).run(args))
        sys.stdout.flush()
    except EdgeDemistError as error:
        print(f"edge-demist: {printable(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except OSError as error:  # a full disk, a device that fails
        print(
            f"edge-demist: {printable(error.filename or 'output')}: {error.strerror or printable(error)}; the output is not complete",
            file=sys.stderr,
        )
        _silence_stdout()
        return 1
    except KeyboardInterrupt:
        print("edge-demist: interrupted", file=sys.stderr)
        return 130
    return code


def _open_standard_streams() -> None:
    """Of the standard streams that whoever started us has closed, reading ends and writing fails; no file of ours gets their numbers."""
    for number, name, flags, mode in ((0, "stdin", os.O_RDONLY, "r"), (1, "stdout", os.O_RDONLY, "w"), (2, "stderr", os.O_WRONLY, "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free
            setattr(sys, name, os.fdopen(number, mode))


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not fail on a closed pipe."""
    with contextlib.suppress(OSError):  # a stream of a program that calls main() has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
