"""``edge-demist serve``: an HTTP service that clients of embedding services can use."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_model, command, number

EXAMPLES = (
    Example(
        "edge-demist serve --uds ./demist.sock & \\\nuntil curl -sf --unix-socket ./demist.sock http://x/health; do sleep 0.2; done\n"
        'curl -s --unix-socket ./demist.sock http://x/v1/classify -d \'{"inputs": "kernel.org", "tasks": ["dga"]}\'; kill %1',
        '{"bundle_id":"…","tasks":["dga"],"results":[[{"text":"kernel.org","task":"dga","label":"legit",…}]]}',
    ),
)
NOTES = """routes: /v1/embeddings, /v1/models (OpenAI); /embed, /predict, /similarity, /tokenize, /info, /health, /metrics (Text Embeddings
Inference); /pipeline/text-classification/TASK; /api/embed, /api/embeddings, /api/tags, /api/version (Ollama);
/v1/classify, /v1/similar; /openapi.json.
SIGHUP takes a new bundle after its self-test; SIGTERM answers what waits and ends. Needs the extra: pip install 'edge-demist[serve]'"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "serve", "answer over HTTP", EXAMPLES, NOTES, __doc__ or "")
    parser.add_argument("--uds", type=Path, metavar="PATH", help="listen on this Unix socket")
    parser.add_argument("--port", type=number(0, 65535, whole=True), metavar="N", help="listen on this port of --host")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="another needs --api-key-file (default: %(default)s)")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="demand this key: Authorization: Bearer KEY")
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from edge_demist.serve.run import serve
    from edge_demist.serve.settings import Settings, read_key

    key = read_key(args.api_key_file) if args.api_key_file else None
    settings = Settings(host=args.host, port=args.port, uds=args.uds, api_key=key, threads=args.threads)
    serve(settings, lambda: load_model(args))
    return 0
