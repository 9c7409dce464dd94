"""``edge-demist bundle``: add specialists to a bundle, make keys, sign, verify, list."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge_demist.cli import tasks, verify
from edge_demist.cli.options import Example, add_bundle, add_signature, command, number
from edge_demist.errors import InputError
from edge_demist.format.bundle import Bundle

ADD = (
    Example(
        "edge-demist bundle add $(python3 -c 'import edge_demist as e, os; print(os.path.dirname(e.__file__))')"
        "/assets/model/specialists/dga.safetensors --replace --out bundle",
        "bundle: bundle …",
    ),
)
KEYS = (Example("edge-demist bundle keygen --key signer.pem", "signer.pem: keep it off the sensors; signer.pub goes to them"),)
SIGN = (
    Example(
        "edge-demist bundle keygen --key signer.pem > /dev/null\n"
        "cp -r $(python3 -c 'import edge_demist as e, os; print(os.path.dirname(e.__file__))')/assets/model bundle\n"
        "edge-demist bundle sign bundle --key signer.pem\n"
        "edge-demist bundle verify --bundle bundle --require-signature signer.pub | tail -n 1",
        "bundle: signed\n… (signature verified)",
    ),
)


def add_parser(subparsers: Any) -> None:
    """Register the command and its parts."""
    text = "add specialists to a bundle, sign it, check it"
    listed = Example("edge-demist bundle list | head -n 1", "cmdline             alarm     benign, malicious")
    parts = command(subparsers, "bundle", text, (listed,), description=__doc__ or "").add_subparsers(
        dest="part", metavar="PART", required=True
    )
    about = "A bundle with more specialists; base, tokenizer and the specialists that are there stay byte for byte."
    add = command(parts, "add", "add specialists", ADD, description=about)
    kinds = "TASK.safetensors, or the folder that train wrote it to"
    add.add_argument("specialists", type=Path, nargs="+", metavar="SPECIALIST", help=kinds)
    add_bundle(add)
    add.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder of the new bundle; written whole or not at all")
    add.add_argument("--name", help="name in the manifest (default: the old one)")
    add.add_argument("--version", type=number(1, whole=True), help="version in the manifest (default: the old one plus one)")
    add.add_argument("--card", type=Path, metavar="FILE.md", help="model card (default: the old one and what was added)")
    add.add_argument("--replace", action="store_true", help="replace specialists of the same tasks")
    add.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    add_signature(add)
    add.add_argument("--key", type=Path, metavar="PEM", help="sign the new bundle with this private key")
    keygen = command(parts, "keygen", "make an Ed25519 key pair (extra signing)", KEYS)
    keygen.add_argument("--key", type=Path, required=True, metavar="PEM", help="new file for the private key")
    keygen.add_argument("--public", type=Path, metavar="PUB", help="new file for the public key (default: beside it, ending in .pub)")
    sign = command(parts, "sign", "sign a bundle, or a specialist's file delivered alone (extra signing)", SIGN)
    sign.add_argument("path", type=Path, metavar="PATH", help="bundle folder or TASK.safetensors")
    sign.add_argument("--key", type=Path, required=True, metavar="PEM", help="private key")
    verify.add_options(command(parts, "verify", "the same as edge-demist verify", verify.EXAMPLES, verify.NOTES))
    tasks.add_options(command(parts, "list", "the same as edge-demist tasks", tasks.EXAMPLES))


def run(args: argparse.Namespace) -> int:
    """Run the part."""
    return int({"add": _add, "keygen": _keygen, "sign": _sign, "verify": verify.run, "list": tasks.run}[args.part](args))


def _add(args: argparse.Namespace) -> int:
    from edge_demist.format.extend import add_specialists
    from edge_demist.format.signing import Policy, read_public_key

    card = None
    if args.card is not None:
        try:
            card = args.card.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{args.card}: not UTF-8 ({error})") from None
    key = args.require_signature
    bundle = Bundle.load(args.bundle, hash_all=True)
    options = {"version": args.version, "name": args.name, "replace": args.replace, "overwrite": args.overwrite, "card": card}
    policy = Policy(read_public_key(key), require_signature=True) if key else Policy()
    identity = add_specialists(bundle, args.specialists, args.out, policy=policy, **options)
    if args.key:
        _keys().sign_bundle(args.out, args.key)
    print(f"{args.out}: bundle {identity}{', signed' if args.key else ''}")
    return 0


def _keygen(args: argparse.Namespace) -> int:
    public = args.public or args.key.with_suffix(".pub")
    if public == args.key:
        raise InputError(f"{args.key}: the private key needs another name than the public one; end it in .pem")
    _keys().generate(args.key, public)
    print(f"{args.key}: keep it off the sensors; {public} goes to them")
    return 0


def _sign(args: argparse.Namespace) -> int:
    (_keys().sign_bundle if args.path.is_dir() else _keys().sign_specialist)(args.path, args.key)
    print(f"{args.path}: signed")
    return 0


def _keys() -> Any:
    from edge_demist.format import keys

    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError:
        raise InputError("making keys and signing needs cryptography: pip install 'edge-demist[signing]'") from None
    return keys
