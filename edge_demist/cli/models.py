"""Loading the bundle that a command's options name, under the policy they set (``options.add_model``)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edge_demist import __version__
from edge_demist.errors import SignatureError
from edge_demist.format import verified
from edge_demist.format.bundle import Bundle, default_path
from edge_demist.format.specialist import load_specialist

if TYPE_CHECKING:
    from edge_demist.model import EdgeDemist


def load_model(args: argparse.Namespace) -> EdgeDemist:
    """Open the bundle that the options name.

    With ``every_specialist`` each one is read, checked and let go, so that a malformed one is told now and not at its first string.

    Raises:
        SignatureError: a signature is required, and missing, wrong, or the bundle changed while it was read.
        BundleError: missing, damaged or hostile bundle.
        EngineUnavailableError: the engine cannot run here.
    """
    model = _opened(args)
    if getattr(args, "every_specialist", False):
        check_specialists(model.bundle)
    return model


def check_specialists(bundle: Bundle) -> None:
    """Read and check each specialist of a bundle; where a note may be kept, once for its very bytes and this version.

    Raises:
        BundleError: one is malformed.
    """
    said = f"{bundle.id} {__version__}"
    if not bundle.hashed and verified.read_verified(bundle.folder).get(verified.CHECKED) == said:
        return
    for task in bundle.tasks:
        load_specialist(bundle, task)
    if not bundle.hashed:
        verified.write_verified(bundle.folder, {**verified.read_verified(bundle.folder), verified.CHECKED: said})


def _opened(args: argparse.Namespace) -> EdgeDemist:
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
