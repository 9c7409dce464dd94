"""Installs edge-demist from this kit into a virtual environment; no network is used, everything is checked first.

    sha256sum install.py          compare with the number published beside the kit, which came by another way than the kit
    python3 -I install.py --public-key KEY TARGET          (or --no-signature, where checksums alone must do)

This file checks everything else, so nothing checks this file: verify it first, as above. Then the signature of SHA256SUMS is
checked with the given key, and every file with SHA256SUMS; a file, a folder or a link that is not listed there is an error, caches
of Python too. What is installed is what was checked: copies in a folder of our own. Only Python's own library is needed.
"""

import sys

if not sys.flags.isolated:  # a module beside this file would be imported instead of Python's own
    sys.path[:] = []
    import posix

    posix.execv(sys.executable, [sys.executable, "-I", __file__, *sys.argv[1:]])

import argparse
import base64
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import venv
from pathlib import Path

# --- the kit's builder puts the code of edge_demist/format/ed25519.py here ---
from edge_demist.format.ed25519 import is_weak, verify

# --- end ---

HERE = Path(__file__).absolute().parent
CONTEXT = b"edge-demist offline kit 1\n"
UNLISTED = {"SHA256SUMS", "SHA256SUMS.sig"}
PUBLIC_KEY_INFO = bytes.fromhex("302a300506032b6570032100")
MAX_TEXT_BYTES = 1_000_000
MAX_FILE_BYTES = 2_000_000_000


def read(path: Path, limit: int) -> bytes:
    """The bytes of a regular file; a link, a pipe or a device is an error (ValueError), and so is one that is too long."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{path}: is no regular file")
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path}: longer than {limit} bytes")
    return data


def read_key(path: Path) -> bytes:
    """An Ed25519 public key: PEM (RFC 8410) or 64 hexadecimal digits; a weak one is refused."""
    text = read(path.resolve(), 4096).decode("ascii").strip()
    if text.startswith("-----BEGIN PUBLIC KEY-----"):
        der = base64.b64decode("".join(text.splitlines()[1:-1]), validate=True)
        if len(der) != 44 or not der.startswith(PUBLIC_KEY_INFO):
            raise ValueError(f"{path}: not an Ed25519 public key")
        key = der[12:]
    else:
        key = bytes.fromhex(text)
    if len(key) != 32 or is_weak(key):
        raise ValueError(f"{path}: not an Ed25519 public key, or a weak one")
    return key


def listed(sums: bytes) -> dict[str, str]:
    """File name to hash, as SHA256SUMS lists them; ValueError for a name that leads outside or stands there twice."""
    found: dict[str, str] = {}
    for line in sums.decode("ascii").splitlines():
        digest, separator, name = line.partition("  ")
        parts = name.split("/")
        plain = all(part and not part.startswith(".") and part.isprintable() for part in parts) and "\\" not in name
        if not separator or len(digest) != 64 or not plain or name in found or name in UNLISTED:
            raise ValueError(f"SHA256SUMS: the line {line[:100]!a} is not allowed")
        found[name] = digest
    return found


def strangers(folder: Path, names: set[str]) -> list[str]:
    """Everything in the kit that is not listed: files, folders, links, pipes."""
    folders = {name[:i] for name in names for i, c in enumerate(name) if c == "/"}
    wrong, waiting = [], [("", folder)]
    while waiting:
        prefix, place = waiting.pop()
        for entry in sorted(os.scandir(place), key=lambda e: e.name):
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False) and name in folders:
                waiting.append((name + "/", Path(entry.path)))
            elif not (entry.is_file(follow_symlinks=False) and name in names | UNLISTED):
                wrong.append(f"{name!a}: not listed in SHA256SUMS")
    return wrong


def check(folder: Path, key: Path | None, copies: Path | None = None) -> list[str]:
    """What is wrong with the kit; nothing means all is well. Wheels and bundle that were checked are put into ``copies``."""
    sums = read(folder / "SHA256SUMS", MAX_TEXT_BYTES)
    if key is not None:
        if not (folder / "SHA256SUMS.sig").is_file():
            return ["SHA256SUMS.sig is missing: the kit is not signed"]
        signature = bytes.fromhex(read(folder / "SHA256SUMS.sig", 1000).decode("ascii").strip())
        if not verify(read_key(key), signature, CONTEXT + sums):
            return ["the signature of SHA256SUMS does not belong to this key"]
    files = listed(sums)
    wrong = strangers(folder, set(files))
    for name, digest in sorted(files.items()):
        try:
            data = read(folder / name, MAX_FILE_BYTES)
        except FileNotFoundError:
            wrong.append(f"{name}: missing")
            continue
        if hashlib.sha256(data).hexdigest() != digest:
            wrong.append(f"{name}: SHA-256 does not match")
        elif copies is not None and name.startswith(("wheels/", "bundle/")):
            (copies / name).parent.mkdir(parents=True, exist_ok=True)
            (copies / name).write_bytes(data)
    return wrong


def install(target: Path, copies: Path) -> None:
    """Make the environment, install from the checked wheels alone, and put the kit's own bundle, if there is one, beside it.

    Raises:
        ValueError: no wheel of the kit is for this Python and processor, or the folder cannot be used.
    """
    wheels, python = copies / "wheels", ".".join(map(str, sys.version_info[:2]))
    try:
        venv.create(target, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f"{target}: no environment can be made ({error})") from None
    options = ["--isolated", "--no-index", "--no-cache-dir", "--disable-pip-version-check", "--find-links", str(wheels)]
    done = subprocess.run([str(target / "bin" / "python"), "-I", "-m", "pip", "install", *options, "edge-demist"], check=False)
    if done.returncode:
        held = ", ".join(sorted(path.name for path in wheels.iterdir()))
        raise ValueError(f"pip could not install for Python {python} on {os.uname().machine}; the kit holds {held}")
    if (copies / "bundle").is_dir():
        shutil.rmtree(target / "bundle", ignore_errors=True)
        shutil.copytree(copies / "bundle", target / "bundle")


def main() -> int:
    """Check, then install."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    trust = parser.add_mutually_exclusive_group(required=True)
    trust.add_argument("--public-key", type=Path)
    trust.add_argument("--no-signature", action="store_true")
    parser.add_argument("--check-only", action="store_true")
    parser.add_argument("target", type=Path, nargs="?", default=Path("/opt/edge-demist"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as copies:
        try:
            wrong = check(HERE, args.public_key, Path(copies))
        except (OSError, ValueError) as error:
            wrong = [ascii(str(error))]
        for problem in wrong:
            sys.stderr.write(f"install: {problem}\n")
        if wrong:
            return 1
        if not args.check_only:
            try:
                install(args.target, Path(copies))
            except (OSError, ValueError) as error:
                sys.stderr.write(f"install: {str(error)!a}\n")
                return 1
            unit = HERE / "edge-demist.service"
            sys.stdout.write(f"installed in {args.target}; next: cp {unit} /etc/systemd/system/ && systemctl daemon-reload\n")
    return 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    raise SystemExit(main())
