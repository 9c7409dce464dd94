"""``edge-demist anonymize``: take personal data out of strings before they leave the box."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

from edge_demist.anonymize import MAX_TEXT_CHARS, Anonymizer
from edge_demist.cli.options import Example, add_renamed, command
from edge_demist.errors import EdgeDemistError, InputError
from edge_demist.io import bounded_lines, printable
from edge_demist.normalizers import from_bytes, to_bytes

MAX_LINE_BYTES = 1 << 20
FORMS = ("lines", "jsonl")


EXAMPLES = (
    Example(
        "printf '/home/jane/mail?to=jane.doe@corp.example\\n' | edge-demist anonymize",
        "/home/<USER…>/mail?to=<MAIL…>",
    ),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    text = "replace names, addresses, tokens and numbers by placeholders"
    about = "One string a line in, one a line out; personal data becomes <USER>, <MAIL>, <IP>, <TOKEN> and so on."
    parser = command(subparsers, "anonymize", text, EXAMPLES, description=about)
    parser.add_argument("input", nargs="?", default="-", metavar="FILE", help="one string a line (default: standard input)")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="write here instead of standard output")
    parser.add_argument("--input-format", choices=FORMS, type=_form, default="lines", help="lines, or objects with a text")
    add_renamed(parser, "--keep-field", "--keep", action="append", default=[], metavar="KEY", help="jsonl: carry this key over as it is")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="keyed hashes in the placeholders, for joins")
    parser.add_argument("--stats", type=Path, metavar="FILE", help="write how much of each kind was replaced, as JSON")


def _form(name: str) -> str:
    return "lines" if name == "text" else name  # its name until 0.1


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 1 if some lines could not be read, 2 for wrong usage."""
    try:
        anonymizer = Anonymizer(args.key_file.read_bytes() if args.key_file else None)
        with _open_input(args.input) as source, _open_output(args.output) as target:
            failed = _convert(source, target, anonymizer, args)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (OSError, EdgeDemistError) as error:
        sys.stderr.write(f"edge-demist anonymize: {printable(error)}\n")
        return 2
    if args.stats:
        args.stats.write_text(json.dumps(dict(sorted(anonymizer.counts.items())), indent=2) + "\n", encoding="ascii")
    return 1 if failed else 0


def _open_input(name: str) -> BinaryIO:
    return os.fdopen(os.dup(0), "rb") if name == "-" else Path(name).open("rb")


def _open_output(path: Path | None) -> BinaryIO:
    return os.fdopen(os.dup(1), "wb") if path is None or path == Path("-") else path.open("wb")


def _convert(source: BinaryIO, target: BinaryIO, anonymizer: Anonymizer, args: argparse.Namespace) -> int:
    failed = 0
    lines = itertools.chain.from_iterable(bounded_lines(source, MAX_LINE_BYTES))
    for number, (line, cut) in enumerate(lines, 1):
        try:
            if cut:
                raise InputError(f"line is longer than {MAX_LINE_BYTES} bytes")
            target.write(_convert_line(line, anonymizer, args) + b"\n")
        except (ValueError, RecursionError) as error:
            failed += 1
            why = "not a JSON object with a text" if isinstance(error, json.JSONDecodeError) else str(error)
            target.write(json.dumps({"line": number, "error": why}).encode("ascii") + b"\n")
    return failed


def _convert_line(line: bytes, anonymizer: Anonymizer, args: argparse.Namespace) -> bytes:
    if args.input_format == "lines":
        return to_bytes(anonymizer(from_bytes(line)))
    value = json.loads(line)
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise InputError("not a JSON object with a text")
    kept = {key: value[key] for key in args.keep_field if key in value}
    cut = {"cut": True} if len(value["text"]) > MAX_TEXT_CHARS else {}
    return json.dumps(kept | {"text": anonymizer(value["text"])} | cut).encode("ascii")
