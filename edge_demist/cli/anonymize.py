"""``edge-demist anonymize``: take personal data out of strings before they leave the box."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge_demist.anonymize import MAX_TEXT_CHARS, Anonymizer
from edge_demist.errors import EdgeDemistError, InputError
from edge_demist.io import printable
from edge_demist.normalizers import from_bytes, to_bytes

MAX_LINE_BYTES = 1 << 20


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "anonymize",
        help="replace names, addresses, tokens and numbers by placeholders",
        description="One string a line in, one a line out; personal data becomes <USER>, <MAIL>, <IP>, <TOKEN> and so on.",
        epilog="examples:\n  edge-demist anonymize uris.txt -o clean.txt\n  cut -f 9 http.log | edge-demist anonymize -",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", default="-", help="input (default standard input)")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="write here instead of standard output")
    parser.add_argument("--input-format", choices=("text", "jsonl"), default="text", help="lines, or objects with a text")
    parser.add_argument("--keep", action="append", default=[], metavar="KEY", help="jsonl: also keep this key, unchanged")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="keyed hashes in the placeholders, for joins")
    parser.add_argument("--stats", type=Path, metavar="FILE", help="write how much of each kind was replaced, as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 1 if some lines could not be read, 2 for wrong usage."""
    try:
        anonymizer = Anonymizer(args.key_file.read_bytes() if args.key_file else None)
        with _open_input(args.file) as source, _open_output(args.output) as target:
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


def _lines(source: BinaryIO) -> Iterator[bytes | None]:
    """Lines without newline; None for one over 1 MiB, which is read past."""
    while line := source.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := source.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield line.rstrip(b"\r\n")


def _convert(source: BinaryIO, target: BinaryIO, anonymizer: Anonymizer, args: argparse.Namespace) -> int:
    failed = 0
    for number, line in enumerate(_lines(source), 1):
        try:
            if line is None:
                raise InputError(f"line is longer than {MAX_LINE_BYTES} bytes")
            target.write(_convert_line(line, anonymizer, args) + b"\n")
        except (ValueError, RecursionError) as error:
            failed += 1
            why = "not a JSON object with a text" if isinstance(error, json.JSONDecodeError) else str(error)
            target.write(json.dumps({"line": number, "error": why}).encode("ascii") + b"\n")
    return failed


def _convert_line(line: bytes, anonymizer: Anonymizer, args: argparse.Namespace) -> bytes:
    if args.input_format == "text":
        return to_bytes(anonymizer(from_bytes(line)))
    value = json.loads(line)
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise InputError("not a JSON object with a text")
    kept = {key: value[key] for key in args.keep if key in value}
    cut = {"cut": True} if len(value["text"]) > MAX_TEXT_CHARS else {}
    return json.dumps(kept | {"text": anonymizer(value["text"])} | cut).encode("ascii")
