"""Installs edge-demist from this kit into a virtual environment; no network is used, everything is checked first.

    python3 install.py --public-key KEY TARGET      (or --no-signature, where checksums alone must do)

The signature of SHA256SUMS is checked with the given key, then every file with SHA256SUMS; a file that is not listed
there is an error too. Only Python's own library is needed.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import subprocess
import sys
import venv
from pathlib import Path

import ed25519

HERE = Path(__file__).resolve().parent
CONTEXT = b"edge-demist offline kit 1\n"
UNLISTED = {"SHA256SUMS", "SHA256SUMS.sig"}


def read_key(path: Path) -> bytes:
    """An Ed25519 public key: PEM (RFC 8410) or 64 hexadecimal digits."""
    text = path.read_text(encoding="ascii").strip()
    if text.startswith("-----BEGIN PUBLIC KEY-----"):
        return base64.b64decode("".join(text.splitlines()[1:-1]))[-32:]
    return bytes.fromhex(text)


def check(folder: Path, key: Path | None) -> list[str]:
    """What is wrong with the kit; nothing means all is well."""
    sums = (folder / "SHA256SUMS").read_bytes()
    if key is not None:
        signature = folder / "SHA256SUMS.sig"
        if not signature.is_file():
            return ["SHA256SUMS.sig is missing: the kit is not signed"]
        if not ed25519.verify(read_key(key), bytes.fromhex(signature.read_text(encoding="ascii").strip()), CONTEXT + sums):
            return ["the signature of SHA256SUMS does not belong to this key"]
    listed = dict(reversed(line.split("  ", 1)) for line in sums.decode("ascii").splitlines())
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir() and "__pycache__" not in p.parts}
    wrong = [f"{name}: not listed in SHA256SUMS" for name in sorted(there - set(listed) - UNLISTED)]
    wrong += [f"{name}: missing" for name in sorted(set(listed) - there)]
    for name in sorted(there & set(listed)):
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != listed[name]:
            wrong.append(f"{name}: SHA-256 does not match")
    return wrong


def install(target: Path) -> None:
    """Make the environment and install from the kit's wheels alone."""
    venv.create(target, with_pip=True)
    command = [str(target / "bin" / "python"), "-m", "pip", "install", "--no-index", "--no-cache-dir", "--disable-pip-version-check"]
    subprocess.run([*command, "--find-links", str(HERE / "wheels"), "edge-demist"], check=True)


def main() -> int:
    """Check, then install."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    trust = parser.add_mutually_exclusive_group(required=True)
    trust.add_argument("--public-key", type=Path)
    trust.add_argument("--no-signature", action="store_true")
    parser.add_argument("--check-only", action="store_true")
    parser.add_argument("target", type=Path, nargs="?", default=Path("/opt/edge-demist"))
    args = parser.parse_args()
    try:
        wrong = check(HERE, args.public_key)
    except (OSError, ValueError) as error:
        wrong = [str(error)]
    for problem in wrong:
        sys.stderr.write(f"install: {problem}\n")
    if wrong:
        return 1
    if not args.check_only:
        install(args.target)
        unit = HERE / "edge-demist.service"
        sys.stdout.write(f"installed in {args.target}; next: cp {unit} /etc/systemd/system/ && systemctl daemon-reload\n")
    return 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    raise SystemExit(main())
