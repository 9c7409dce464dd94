"""``edge-demist info``: what is installed and what would run."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from edge_demist import __version__
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_json, add_model, command
from edge_demist.format.bundle import Bundle
from edge_demist.format.licences import sources_of
from edge_demist.io import printable
from edge_demist.model import EdgeDemist
from edge_demist.native import library as native

EXAMPLES = (
    Example("edge-demist info", "edge-demist …\nengine      …\nbundle      edge-demist version …\n…"),
    Example("edge-demist info --licences | head -n 1", "permissive\tMIT\t…"),
    Example("edge-demist info --json | head -n 2", '{\n "edge_demist": "…",'),
)


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "info", "versions, bundle, engine and CPU", EXAMPLES, description=__doc__ or "")
    add_json(parser)
    parser.add_argument(
        "--licences",
        action="store_true",
        help="sources that the bundle's models have seen, with their licences (to train without some: docs/how-to/permitted-sources.md)",
    )
    add_model(parser)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def parameters(bundle: Bundle) -> dict[str, int]:
    """Numbers of weights: encoder, embeddings, n-gram table."""
    sizes = {name: int(np.prod(t.shape)) for name, t in bundle.tensors.items() if name.endswith((".weight", ".bias"))}
    groups = {"embeddings": "embeddings.", "encoder": "layers.", "ngrams": "ngrams."}
    return {group: sum(size for name, size in sizes.items() if name.startswith(prefix)) for group, prefix in groups.items()}


def gather(model: EdgeDemist, asked: str) -> dict[str, Any]:
    """Everything ``info`` knows, as JSON values."""
    bundle = model.bundle
    engine: dict[str, Any] = {"name": model.engine.name, "asked": asked, "threads": getattr(model.engine, "threads", 1)}
    if os.environ.get("EDGE_DEMIST_ENGINE"):
        engine["EDGE_DEMIST_ENGINE"] = os.environ["EDGE_DEMIST_ENGINE"]
    level = getattr(getattr(model.engine, "kernels", None), "level", None)
    if level:
        engine["kernel"] = level
    engine["why"] = _reason(model.engine.name, level, asked)
    return {
        "edge_demist": __version__,
        "python": platform.python_version(),
        "packages": {p: _version(p) for p in ("numpy", "numba", "onnxruntime")},
        "machine": platform.machine(),
        "cpu_flags": sorted(native.cpu_flags()),
        "engine": engine,
        "bundle": {
            "path": str(bundle.path),
            "id": bundle.id,
            "name": bundle.name,
            "version": bundle.version,
            "parameters": parameters(bundle),
            "architecture": dict(bundle.manifest["architecture"]),
            "limits": {"max_bytes": bundle.limits.max_bytes, "max_tokens": bundle.limits.max_tokens},
            "files": {name: entry.sha256 for name, entry in sorted(bundle.files.items())},
        },
        "tasks": list(bundle.tasks),
    }


def _reason(name: str, level: str | None, asked: str) -> str:
    forced = asked != "auto" or os.environ.get("EDGE_DEMIST_ENGINE")
    if forced:
        return f"{name} was asked for" + (f"; kernel {level} is the best this CPU runs" if level else "")
    if name == "native":
        override = os.environ.get(native.KERNEL_VARIABLE)
        why = f"{native.KERNEL_VARIABLE}={override}" if override else "the best level whose features this CPU has"
        return f"compiled kernels fit this CPU; level {level}: {why}"
    return f"no compiled kernel fits this CPU; {name} is the next that runs"


def _licences(args: argparse.Namespace) -> int:
    """Print the sources, one a line: terms, licence, source, who has seen it."""
    with load_model(args) as model:
        found = sources_of(model.bundle)
    if args.json:
        print(json.dumps([source._asdict() for source in found], indent=1))
        return 0
    for source in found:
        print("\t".join(printable(part) for part in (source.terms, source.licence, source.name, ",".join(source.seen_by))))
    return 0


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    if args.licences:
        return _licences(args)
    with load_model(args) as model:
        facts = gather(model, args.engine)
    if args.json:
        print(json.dumps(facts, indent=1))
        return 0
    bundle, engine = facts["bundle"], facts["engine"]
    millions = {k: f"{v / 1e6:.1f}M" for k, v in bundle["parameters"].items()}
    size = sum(e.bytes for e in model.bundle.files.values()) / 1e6
    print(f"edge-demist {facts['edge_demist']}, Python {facts['python']}, numpy {facts['packages']['numpy']}, {facts['machine']}")
    print(f"engine      {engine['name']}: {engine['why']}; threads {engine['threads']}")
    print(f"bundle      {printable(bundle['name'])} version {bundle['version']}, {size:.1f} MB, id {bundle['id'][:16]}…")
    print(f"            {printable(Path(bundle['path']))}")
    print(f"parameters  {', '.join(f'{k} {v}' for k, v in millions.items())}")
    print(f"tasks       {', '.join(facts['tasks'])}")
    return 0
