"""Options that several commands share, each defined once, and the parser that accepts nothing wrong in silence."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edge_demist.errors import InputError
from edge_demist.normalizers import NORMALIZERS, OLD_NAMES

SIGNATURE_VARIABLE = "EDGE_DEMIST_REQUIRE_SIGNATURE"
"""Environment variable that names a public key, as ``--require-signature`` does."""


class Example(NamedTuple):
    """A shell line of a command's help and what it prints; ``…`` stands for anything. The tests run it in an empty folder."""

    command: str
    output: str = ""

    def __str__(self) -> str:
        """As the help shows it."""
        return "\n".join(["  $ " + self.command.replace("\n", "\n    "), *(f"  {line}" for line in self.output.splitlines())])


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal, like its parent, but without shutil, whose import every start would pay."""

    def __init__(self, prog: str, **options: Any) -> None:
        if options.get("width") is None:
            options["width"] = _terminal_columns() - 2
        super().__init__(prog, **options)


def _terminal_columns() -> int:
    """Columns as ``shutil.get_terminal_size`` finds them."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return 80


class Parser(argparse.ArgumentParser):
    """Refuses abbreviated options and an option given twice that takes one value."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **{"formatter_class": HelpFormatter, **options})
        self.register("action", None, _StoreOnce)
        self.register("action", "store", _StoreOnce)


class _StoreOnce(argparse._StoreAction):
    """Stores a value; a second one is an error, for it would hide the first."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        """Store."""
        seen = namespace.__dict__.setdefault("_seen", set())
        if option is not None and self.dest in seen:
            raise argparse.ArgumentError(self, "is given twice; it takes one value")
        seen.add(self.dest)
        setattr(namespace, self.dest, values)


def command(subparsers: Any, name: str, text: str, examples: Sequence[Example], notes: str = "", description: str = "") -> Any:
    """A command's parser: ``text`` for the list of commands, examples with their output, then notes."""
    shown = "examples:\n" + "\n\n".join(map(str, examples))
    parser = subparsers.add_parser(
        name,
        help=text,
        description=description or text[0].upper() + text[1:] + ".",
        epilog=shown + (f"\n\n{notes.strip()}\n" if notes else "\n"),
    )
    parser.set_defaults(examples=tuple(examples))
    return parser


def add_renamed(parser: Any, name: str, *old: str, convert: Callable[[str], Any] | None = None, **options: Any) -> None:
    """An option under its name, and hidden under older ones; ``convert`` reads an older one's value where it had another unit."""
    added = parser.add_argument(name, **options)
    again = {key: options[key] for key in ("action", "type", "nargs", "choices", "const") if key in options}
    if convert is not None:
        again["type"] = convert
    for spelling in old:
        parser.add_argument(spelling, dest=added.dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **again)


def number(least: float, most: float = math.inf, *, whole: bool = False, above: bool = False) -> Callable[[str], Any]:
    """A type: numbers from ``least`` (above it, with ``above``) to ``most``."""

    def convert(text: str) -> float | int:
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or (above and value == least) or math.isinf(value):
            kind = "a whole number" if whole else "a number"
            limits = f"{'above' if above else 'from'} {least:g}" + (f" to {most:g}" if math.isfinite(most) else "")
            raise argparse.ArgumentTypeError(f"{text!r} is not {kind} {limits}")
        return value

    return convert


def milliseconds(text: str) -> float:
    """Seconds from milliseconds, for older options."""
    return float(number(0)(text)) / 1000


rate = number(0, 1, above=True)


def need_linux(name: str) -> None:
    """Refuse a command of the sensor elsewhere (InputError): it needs fcntl, signals and files as Linux has them."""
    if sys.platform != "linux":
        raise InputError(f"edge-demist {name} needs Linux; classify, embed and the other commands run on {sys.platform} too")


def add_input(parser: argparse.ArgumentParser) -> None:
    """The input of commands that read strings."""
    parser.add_argument("input", metavar="FILE", help="one string a line; - for standard input")
    parser.add_argument(
        "--input-format",
        choices=("lines", "jsonl", "csv", "zeek"),
        help="lines: a string a line (default); jsonl: an object a line, other keys are carried through (default for *.jsonl); "
        "csv: a table with a header, other columns are carried through (default for *.csv, *.tsv); zeek: a Zeek TSV or JSON log",
    )
    parser.add_argument("--field", metavar="NAME", help="key or column that holds the string (jsonl, csv: text, zeek: query)")


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Which bundle."""
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="bundle folder (default: the one in the package)")


def add_signature(parser: argparse.ArgumentParser, *old: str) -> None:
    """Whose signature a bundle must have."""
    text = f"refuse a bundle that this public key has not signed (also: ${SIGNATURE_VARIABLE})"
    add_renamed(parser, "--require-signature", *old, type=Path, default=required_key(), metavar="KEY", help=text)


def required_key() -> Path | None:
    """The public key that the environment demands."""
    named = os.environ.get(SIGNATURE_VARIABLE)
    return Path(named) if named else None


def add_model(parser: argparse.ArgumentParser, threads: str = "threads for large batches") -> None:
    """What commands that compute need: bundle, engine, threads (and what these are), signature."""
    add_bundle(parser)
    engines = ("auto", "native", "jit", "onnxruntime")
    parser.add_argument("--engine", default="auto", choices=engines, help="what computes (default: %(default)s)")
    parser.add_argument("--threads", type=number(1, whole=True), default=1, metavar="N", help=f"{threads} (default: %(default)s)")
    add_signature(parser)


def add_json(parser: argparse.ArgumentParser, text: str = "one JSON object in place of text") -> None:
    """Output for programs."""
    parser.add_argument("--json", action="store_true", help=text)


def add_fpr(parser: argparse.ArgumentParser, text: str) -> None:
    """The false-positive rate of alarms; one rule everywhere (``edge_demist.format.specialist.calibrated_level``)."""
    rule = "a rate between the calibrated ones means the next stricter one, and that is said"
    parser.add_argument("--fpr", type=rate, metavar="P", help=f"{text}; {rule}")


def add_normalizer(parser: argparse.ArgumentParser, text: str) -> None:
    """How texts are prepared."""
    names = sorted(set(NORMALIZERS) - set(OLD_NAMES))
    text += " (default: %(default)s)"
    parser.add_argument("--normalizer", type=lambda name: OLD_NAMES.get(name, name), default="identity", choices=names, help=text)
