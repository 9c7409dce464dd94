"""The command line of the toolchain. Exit codes: 0, 1 refused or failed, 2 usage."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_demist.errors import EdgeDemistError
from edge_demist.format import keys
from edge_demist.format.bundle import Bundle
from edge_demist.format.signing import Policy, read_public_key
from quantize import pipeline
from quantize.errors import QuantizeError
from quantize.extend import add_specialists
from quantize.recipe import Recipe, read_recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    args = _parser().parse_args(arguments)
    try:
        if args.command == "keygen":
            keys.generate(args.private, args.public)
        elif args.command == "sign":
            _sign(args.path, args.key)
        elif args.command == "add":
            _add(args)
        else:
            _build(args)
    except (EdgeDemistError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _build(args: argparse.Namespace) -> None:
    recipe = _recipe(args)
    job = pipeline.Job(args.checkpoint, args.out, recipe, tuple(args.adapters), args.force, args.overwrite, args.engine)
    if args.dry_run:
        sys.stdout.write("\n".join(pipeline.plan(job)) + "\n")
        return
    steps = pipeline.STEPS if args.command == "build" else pipeline.STEPS[: pipeline.STEPS.index(args.command) + 1]
    if args.command in ("convert", "export"):
        steps = ("convert",) if args.command == "convert" else ("convert", "export")
    identity = pipeline.build(job, steps)
    if identity is None:
        sys.stdout.write(f"{job.work}\n")
        return
    if args.key:
        keys.sign_bundle(job.out, args.key)
    sys.stdout.write(f"{job.out}: bundle {identity}{', signed' if args.key else ''}\n")


def _add(args: argparse.Namespace) -> None:
    identity = add_specialists(
        Bundle.load(args.bundle, hash_all=True),
        args.specialists,
        args.out,
        version=args.version,
        name=args.name,
        replace=args.replace,
        overwrite=args.overwrite,
        card=_text(args.card) if args.card else None,
        policy=Policy(read_public_key(args.require_signature), require_signature=True) if args.require_signature else Policy(),
    )
    if args.key:
        keys.sign_bundle(args.out, args.key)
    sys.stdout.write(f"{args.out}: bundle {identity}{', signed' if args.key else ''}\n")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise QuantizeError(f"{path}: not UTF-8 ({error})") from error


def _recipe(args: argparse.Namespace) -> Recipe:
    recipe = read_recipe(args.recipe)
    if args.name:
        recipe = replace(recipe, name=args.name)
    if args.version:
        recipe = replace(recipe, version=args.version)
    if args.artefacts is not None:
        recipe = replace(recipe, artefacts=tuple(filter(None, args.artefacts.split(","))))
    return recipe


def _sign(path: Path, key: Path) -> None:
    if path.is_dir():
        keys.sign_bundle(path, key)
    else:
        keys.sign_specialist(path, key)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m quantize", description="Turn a BERT-family checkpoint into a proven int8 bundle.")
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "convert": "checkpoint → int8 bundle in OUT.work/bundle",
        "calibrate": "convert, then gather activation ranges",
        "verify": "and measure cosine and task accuracy against the checkpoint",
        "report": "and render tables and plots",
        "export": "convert, then write the standard artefacts (ONNX, sentence-transformers, PEFT, onnx_adapter)",
        "build": "all of it, gated; the bundle appears at OUT",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="Hugging Face checkpoint folder")
        command.add_argument("--adapters", type=Path, nargs="*", default=[], metavar="DIR", help="more folders of <task>/ folders")
        command.add_argument("--recipe", type=Path, metavar="FILE.toml", help="settings; see quantize/recipe.py")
        command.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")
        command.add_argument("--name", help="name in the manifest, instead of the recipe's")
        command.add_argument("--version", type=int, help="version in the manifest, instead of the recipe's")
        command.add_argument("--artefacts", help="comma-separated, instead of the recipe's; empty for none")
        command.add_argument("--engine", default="auto", help="engine to verify with (auto, native, jit, onnxruntime)")
        command.add_argument("--force", action="store_true", help="write a bundle that fails the gate, marked in its manifest")
        command.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
        command.add_argument("--dry-run", action="store_true", help="check the inputs and say what would be done")
        command.add_argument("--key", type=Path, metavar="PEM", help="sign the finished bundle with this private key")
    text = "a bundle with more specialists; base, tokenizer and the specialists that are there stay byte for byte"
    add = commands.add_parser("add", help=text, description=text)
    add.add_argument(
        "specialists", type=Path, nargs="+", metavar="SPECIALIST", help="folder that training wrote, folder of such, or <task>.safetensors"
    )
    add.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to start from (default: the one in the package)")
    add.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder of the new bundle")
    add.add_argument("--name", help="name in the manifest, instead of the old one")
    add.add_argument("--version", type=int, help="version in the manifest, instead of the old one plus one")
    add.add_argument(
        "--card", type=Path, metavar="FILE.md", help="model card of the new bundle, instead of the old one with a list of what was added"
    )
    add.add_argument("--replace", action="store_true", help="replace specialists of the same tasks")
    add.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    add.add_argument("--require-signature", type=Path, metavar="KEY", help="refuse files that this public key has not signed")
    add.add_argument("--key", type=Path, metavar="PEM", help="sign the new bundle with this private key")
    keygen = commands.add_parser("keygen", help="make an Ed25519 key pair")
    keygen.add_argument("--private", type=Path, required=True, help="new file for the private key (PEM)")
    keygen.add_argument("--public", type=Path, required=True, help="new file for the public key (PEM)")
    sign = commands.add_parser("sign", help="sign a bundle folder, or a specialist file delivered alone")
    sign.add_argument("path", type=Path)
    sign.add_argument("--key", type=Path, required=True, help="private key (PEM)")
    return parser
