"""``edge-demist mcp``: the model as tools of the Model Context Protocol, over standard input and output."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_model, command

EXAMPLES = (
    Example(
        """(printf '{"jsonrpc": "2.0", "id": 1, "method": "ping"}\\n'; sleep 1) | edge-demist mcp""",
        '{"jsonrpc":"2.0","id":1,"result":{}}',
    ),
)
NOTES = """tools, all of them read-only: classify, why, similar, first_seen, tokenize. A client starts the program itself, such as
  {"mcpServers": {"edge-demist": {"command": "edge-demist", "args": ["mcp", "--state", "/var/lib/edge-demist/state"]}}}
It ends when its input ends. Needs the extra: pip install 'edge-demist[mcp]'"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "mcp", "answer agents over stdio", EXAMPLES, NOTES, __doc__ or "")
    parser.add_argument("--state", type=Path, metavar="DIR", help="a sensor's state folder, for first_seen and similar; only read")
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Answer until the input ends."""
    from edge_demist.serve.mcp import serve

    with load_model(args) as model:
        serve(model, args.state)
    return 0
