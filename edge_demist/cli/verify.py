"""``edge-demist verify``: check every file of a bundle and, with a key, its signature."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from edge_demist.cli.options import Example, add_bundle, add_signature, command
from edge_demist.errors import BundleError, EngineUnavailableError, InputError, SignatureError
from edge_demist.explore.places import FILE as ATLAS
from edge_demist.explore.places import read_atlas
from edge_demist.format.bundle import Bundle, default_path
from edge_demist.format.specialist import load_specialist
from edge_demist.io import printable

EXAMPLES = (Example("edge-demist verify", "ok  …\nedge-demist version …: … files, … specialists, each tried, id …"),)
NOTES = "exit codes: 0 intact, 1 damaged, hostile, unsigned (with --require-signature) or signed by another key"


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    add_options(command(subparsers, "verify", "check hashes and signature", EXAMPLES, NOTES, __doc__ or ""))


def add_options(parser: Any) -> None:
    """Its options, which ``bundle verify`` has as well."""
    add_bundle(parser)
    parser.add_argument("path", nargs="?", type=Path, help=argparse.SUPPRESS)
    add_signature(parser, "--key")


def run(args: argparse.Namespace) -> int:
    """Verify; 1 if the bundle cannot be trusted."""
    if args.path and args.bundle:
        raise InputError(f"{args.path} and --bundle {args.bundle}: give one bundle")
    folder = args.path or args.bundle or default_path()
    try:
        if args.require_signature is not None:
            from edge_demist.format.signing import read_public_key, verify_manifest

            try:
                key = read_public_key(args.require_signature)
            except OSError as error:
                raise InputError(f"{args.require_signature}: {error.strerror}") from None
            verified = verify_manifest(folder, key)
        bundle = Bundle.load(folder, hash_all=True)
        if args.require_signature is not None and bundle.id != verified:
            raise SignatureError("manifest.json changed while it was read; verify it again")
        for task in bundle.tasks:
            load_specialist(bundle, task)
        if ATLAS in bundle.files:
            read_atlas(bundle)
        tested = _self_test(bundle)
    except BundleError as error:
        print(f"edge-demist: {printable(folder)}: {printable(error)}", file=sys.stderr)
        return 1
    for name, entry in sorted(bundle.files.items()):
        print(f"ok  {entry.sha256}  {entry.bytes:>10}  {name}")
    signed = " (signature verified)" if args.require_signature is not None else ""
    what = f"{len(bundle.files)} files, {len(bundle.tasks)} specialists{tested}"
    print(f"{printable(bundle.name)} version {bundle.version}: {what}, id {bundle.id}{signed}")
    return 0


def _self_test(bundle: Bundle) -> str:
    """Ask every specialist about strings, hostile ones included; BundleError if an answer is no probability."""
    from edge_demist.model import EdgeDemist
    from edge_demist.sensor.detect.scoring import self_test

    try:
        model = EdgeDemist(bundle)
    except EngineUnavailableError:
        return " (not tried: no engine runs here)"
    self_test(model)
    model.close()
    return ", each tried"
