"""Options of commands that load a bundle, and loading it under the policy they set."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_demist.errors import SignatureError
from edge_demist.format.bundle import Bundle, default_path

if TYPE_CHECKING:
    from edge_demist.model import EdgeDemist

SIGNATURE_VARIABLE = "EDGE_DEMIST_REQUIRE_SIGNATURE"
"""Environment variable that names a public key, as ``--require-signature`` does."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """Options shared by commands that load a bundle."""
    parser.add_argument("--bundle", type=Path, default=None, metavar="DIR", help="bundle folder (default: the one in the package)")
    parser.add_argument(
        "--engine", default="auto", choices=("auto", "native", "jit", "onnxruntime"), help="what computes (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads for large batches (default: 1)")
    parser.add_argument(
        "--require-signature",
        type=Path,
        default=required_key(),
        metavar="KEY",
        help=f"refuse a bundle that this public key has not signed (also: ${SIGNATURE_VARIABLE})",
    )


def required_key() -> Path | None:
    """The public key that the environment demands."""
    named = os.environ.get(SIGNATURE_VARIABLE)
    return Path(named) if named else None


def load_model(args: argparse.Namespace) -> EdgeDemist:
    """Open the bundle that the options name.

    Raises:
        SignatureError: a signature is required, and missing, wrong, or the bundle changed while it was read.
        BundleError: missing, damaged or hostile bundle.
        EngineUnavailableError: the engine cannot run here.
    """
    from edge_demist import EdgeDemist

    if args.require_signature is None:
        return EdgeDemist.load(args.bundle, engine=args.engine, threads=args.threads)
    from edge_demist.format.signing import Policy, read_public_key

    folder = args.bundle or default_path()
    signed = Policy(read_public_key(args.require_signature), require_signature=True).check_manifest(folder)
    model = EdgeDemist(Bundle.load(folder, hash_all=True), engine=args.engine, threads=args.threads)
    if model.bundle_id != signed:
        model.close()
        raise SignatureError(f"{folder}: manifest.json changed while it was read; load it again")
    return model
