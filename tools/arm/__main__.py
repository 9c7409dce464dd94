"""``python -m tools.arm COMMAND --root DIR``.

root      make the aarch64 root (about 400 MB, half a minute)
test      run the fast tests on both boards
bits      10,000 strings: each board's level gives the bits of this machine's levels
wheel     install a wheel beside numpy alone and let it answer
count     instructions per string, ours and ONNX Runtime int8, written to --out
estimate  the same with estimated cycles per string (llvm-mca)
screen    instructions per host name, screened and in four passes, written to --out
gate      count ours again and compare with --record: exit 1 beyond 2 %
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from edge_demist.diagnostics import cold_start, machine
from edge_demist.format.bundle import Bundle
from edge_demist.native import library as native
from tools.arm import boards, count, estimate, guest, root
from tools.synth.samples import mixed

FAST_TESTS = (
    "tests/runtime/test_native.py",
    "tests/runtime/test_tokenizer.py",
    "tests/runtime/test_ngrams.py",
    "tests/runtime/test_heads.py",
    "tests/runtime/test_doctor.py",
    "tests/runtime/test_safetensors.py",
    "tests/runtime/test_normalizers.py",
    "tests/explore/test_search.py",
)
"""Single-process tests that need numpy, pytest, hypothesis and sentencepiece only; those that exist are run."""
STRINGS = 10_000
PEERS = {"onnxruntime int8, hand-fixed graph": "best.onnx", "onnxruntime int8, stock": "stock.onnx"}


def run_tests(folder: Path, extra: list[str]) -> int:
    """The fast tests on both boards; the number of boards on which one failed."""
    files = [name for name in FAST_TESTS if (boards.ROOT / name).is_file()]
    failed = 0
    for board in boards.BOARDS.values():
        arguments = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", *files, *extra]
        line, variables = boards.command(folder, board, arguments, environment={"EDGE_DEMIST_EMULATED": "1"})
        sys.stderr.write(f"{board.title}\n")
        failed += subprocess.run(line, env=variables, cwd=boards.ROOT, check=False).returncode != 0
    return failed


def compare_bits(folder: Path, bundle: str, strings: int) -> dict[str, Any]:
    """Digests of this machine's levels and of the boards' levels; ``differing`` counts blocks of rows that are not equal."""
    with tempfile.TemporaryDirectory() as name:
        texts = Path(name) / "strings.json"
        texts.write_text(json.dumps(mixed(strings)), encoding="utf-8")
        here = Path(name) / "host.json"
        guest.digest(bundle, str(texts), str(here))
        levels: dict[str, list[str]] = json.loads(here.read_text(encoding="utf-8"))
        for key, board in boards.BOARDS.items():
            out = Path(name) / f"{key}.json"
            boards.run(folder, board, ["tools/arm/guest.py", "digest", bundle, str(texts), str(out), "best"])
            levels |= {f"{level} on {board.cpu}": found for level, found in json.loads(out.read_text(encoding="utf-8")).items()}
    expected = next(iter(levels.values()))
    differing = {level: sum(a != b for a, b in zip(expected, found, strict=True)) for level, found in levels.items()}
    for level, wrong in differing.items():
        sys.stderr.write(f"{level}: {'equal in every bit' if not wrong else f'{wrong} of {len(expected)} blocks differ'}\n")
    digest = hashlib.sha256("".join(expected).encode()).hexdigest()
    return {"strings": strings, "digest": digest, "differing": differing, "libraries": libraries()}


def try_wheel(folder: Path, wheel: Path) -> int:
    """Unpack a wheel beside numpy alone and embed one string on each board; the number of boards that fail."""
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(name)
        for board in boards.BOARDS.values():
            line, variables = boards.command(folder, board, ["-m", "edge_demist", "doctor"], bare=True)
            variables["PYTHONPATH"] = f"{name}:{folder / 'bare'}"
            sys.stderr.write(f"{board.title}\n")
            failed += subprocess.run(line, env=variables, cwd=name, check=False).returncode != 0
    return failed


def libraries() -> dict[str, str]:
    """Digests of the libraries that run on the boards."""
    built = json.loads((Path(native.FOLDER) / "BUILD.json").read_text(encoding="utf-8"))
    return {name: entry["sha256"] for name, entry in built["libraries"].items() if "aarch64" in name}


def facts(models: Path) -> dict[str, Any]:
    """What the counts belong to."""
    bundle = Bundle.load(models / "bundle")
    arch = {name: getattr(bundle.architecture, name) for name in ("num_layers", "hidden_size", "intermediate_size", "vocab_size")}
    return {"bundle_id": bundle.id, "name": bundle.name, "architecture": arch, "libraries": libraries(), "commit": machine.commit()}


def write(out: Path, result: dict[str, Any]) -> None:
    """Put ``result`` into the file; the title and the other commands' results in it stay."""
    known = count.read(out) if out.is_file() else {}
    kept = {name: value for name, value in known.items() if name == "title" or name.startswith("bits of") or "boards" not in result}
    out.write_text(cold_start.dumps(kept | result), encoding="utf-8")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.arm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("root", "test", "bits", "wheel", "count", "estimate", "screen", "gate"))
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the aarch64 root; made where it is missing")
    parser.add_argument(
        "--models", type=Path, default=None, metavar="DIR", help="folder with bundle/ and the peers' graphs (benchmarks.models)"
    )
    parser.add_argument("--bundle", default="tiny", help="bits: 'tiny' or a bundle folder")
    parser.add_argument("--strings", type=int, default=STRINGS)
    parser.add_argument("--wheel", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None, metavar="FILE")
    parser.add_argument("--ours", action="store_true", help="count, estimate: ours alone; the peers' figures in --out stay")
    parser.add_argument("--title", default="", help="count, estimate: the model's name in tables")
    parser.add_argument("--record", type=Path, default=None, metavar="FILE")
    args, extra = parser.parse_known_args()
    folder = args.root.resolve()
    root.make_root(folder)
    if args.command == "test":
        return int(run_tests(folder, extra) > 0)
    if args.command == "wheel":
        return int(try_wheel(folder, args.wheel.resolve()) > 0)
    if args.command == "bits":
        result = compare_bits(folder, args.bundle, args.strings)
        if args.out:
            write(args.out, {f"bits of {Path(args.bundle).name}": result})
        return int(any(result["differing"].values()))
    if args.command == "gate":
        complaints = count.compare(count.read(args.record), count.count_all(folder, args.models, {}))
        sys.stderr.write("".join(f"{line}\n" for line in complaints) or "instructions per string are as recorded\n")
        return int(bool(complaints))
    if args.command == "screen":
        write(args.out, count.count_screen(folder, args.models / "bundle") | facts(args.models))
    if args.command in ("count", "estimate"):
        costing = estimate.estimate if args.command == "estimate" else None
        result = count.count_all(folder, args.models, {} if args.ours else PEERS, costing) | facts(args.models)
        if args.ours:
            count.keep_peers(count.read(args.out), result)
        write(args.out, result | ({"title": args.title} if args.title else {}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
