"""``edge-demist tokenize``: token ids and pieces of strings, exactly as given."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from edge_demist.cli.lines import Blanks, dump, read_batches, said, write_lines
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_input, add_model, command
from edge_demist.normalizers import to_bytes

EXAMPLES = (
    Example(
        "printf 'www.example.com\\n' | edge-demist tokenize -",
        '{"text": "www.example.com", "ids": […], "pieces": ["www.", …]}',
    ),
)
NOTES = 'output: {"text", "ids", "pieces"}; no normalizer is applied.'


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "tokenize", "token ids and pieces", EXAMPLES, NOTES, __doc__ or "")
    add_input(parser)
    parser.add_argument("--special", action="store_true", help="add the prefix and suffix ids that the encoder sees")
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Tokenize; 1 if some lines failed."""
    failed = False
    with load_model(args) as model:
        blanks = Blanks()
        for batch in read_batches(args, blanks):
            good = [line for line in batch if not line.error]
            ids, offsets = model.tokenizer.encode_batch([to_bytes(line.text) for line in good], add_special_tokens=args.special)
            rows = itertools.pairwise(offsets)
            out = []
            for line in batch:
                if line.error:
                    failed = True
                    out.append(dump({"line": line.number, "error": line.error}))
                    continue
                begin, end = next(rows)
                row = ids[begin:end]
                out.append(said(line, {"text": line.text, "ids": row.tolist(), "pieces": model.tokenizer.pieces(row)}))
            write_lines(out)
        blanks.tell()
    return 1 if failed else 0
