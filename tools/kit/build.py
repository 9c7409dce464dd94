r"""One file for an air-gapped appliance: wheels, unit, checksums, SBOM, signature, and the installer that checks them.

    python -m tools.kit.build build --wheel dist/edge_demist-….whl --key private.pem -o kit.tar.gz \
        [--platform manylinux2014_aarch64] [--platform manylinux2014_x86_64] [--python 3.11] [--python 3.12] [--wheels DIR] [--bundle DIR]
    # on the appliance, without a network:
    tar xzf kit.tar.gz && sha256sum edge-demist-kit/install.py   # compare: nothing else checks this one file
    python3 -I edge-demist-kit/install.py --public-key key.pub /opt/edge-demist

``--wheels DIR`` takes dependencies from a folder; else pip downloads them for every platform and every Python while building. The
packaged bundle is inside the wheel; ``--bundle DIR`` puts another beside it, which the unit then uses. The SBOM is CycloneDX 1.6.
Signing needs ``cryptography``; checking needs nothing but Python.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import itertools
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import uuid
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from edge_demist.format.bundle import Bundle
from edge_demist.sensor.service import DEFAULT_ARGUMENTS, UnitOptions, render_unit

ROOT = Path(__file__).parents[2]
FOLDER = "edge-demist-kit"
SIGNING_CONTEXT = b"edge-demist offline kit 1\n"
TARGET = "/opt/edge-demist"
PYTHONS = ("3.11", "3.12", "3.13")
DEFAULT_PLATFORMS = ("manylinux2014_x86_64", "manylinux2014_aarch64")
EPOCH = 315_532_800  # 1980-01-01, the oldest time that zip and tar tools all take


def metadata_of(wheel: Path) -> dict[str, str]:
    """Name, version, licence and requirements out of a wheel (PyPA core metadata)."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        message = HeaderParser().parsestr(archive.read(name).decode("utf-8"))
    requires = [r for r in message.get_all("Requires-Dist", []) if "extra ==" not in r]
    licence = message.get("License-Expression") or (message.get("License") or "").splitlines()[:1]
    return {
        "name": str(message["Name"]),
        "version": str(message["Version"]),
        "licence": licence if isinstance(licence, str) else "".join(licence),
        "requires": ",".join(re.match(r"[\w.\-]+", r)[0] for r in requires),  # type: ignore[index]
    }


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def bundle_files(folder: Path | None) -> dict[str, bytes]:
    """Files of a bundle that goes into the kit, each checked against its manifest.

    Raises:
        BundleError: the bundle is damaged, or is none.
    """
    if folder is None:
        return {}
    bundle = Bundle.load(folder, hash_all=True)
    names = ["manifest.json", *bundle.files, *(["manifest.sig"] if (folder / "manifest.sig").is_file() else [])]
    return {f"bundle/{name}": (folder / name).read_bytes() for name in names}


def model_components(wheel: Path, bundle: dict[str, bytes]) -> list[dict[str, object]]:
    """The model bundle inside the wheel, and the one beside it, as CycloneDX' machine-learning-model."""
    with zipfile.ZipFile(wheel) as archive:
        raws = [("bundle", archive.read(n)) for n in archive.namelist() if n.endswith("assets/model/manifest.json")]
    raws += [("own-bundle", bundle["bundle/manifest.json"])] if bundle else []
    found = [(ref, raw, json.loads(raw)) for ref, raw in raws]
    return [
        {
            "type": "machine-learning-model",
            "bom-ref": ref,
            "name": str(manifest.get("name", "bundle")),
            "version": str(manifest.get("version", "")),
            "hashes": [{"alg": "SHA-256", "content": sha256(raw)}],
        }
        for ref, raw, manifest in found
    ]


def sbom(wheels: list[Path], main: Path, bundle: dict[str, bytes]) -> dict[str, object]:
    """A CycloneDX 1.6 bill of materials; equal inputs give equal text."""
    components: list[dict[str, object]] = []
    dependencies: list[dict[str, object]] = []
    refs = {metadata_of(w)["name"].lower().replace("_", "-"): f"pkg:pypi/{metadata_of(w)['name'].lower()}" for w in wheels}
    for wheel in wheels:
        facts = metadata_of(wheel)
        purl = f"pkg:pypi/{facts['name'].lower()}@{facts['version']}?file_name={wheel.name}"
        component: dict[str, object] = {"type": "library", "bom-ref": wheel.name, "name": facts["name"], "version": facts["version"]}
        component |= {"purl": purl, "hashes": [{"alg": "SHA-256", "content": sha256(wheel.read_bytes())}]}
        if facts["licence"]:
            component["licenses"] = [{"license": {"name": facts["licence"]}}]
        components.append(component)
        wanted = {name.lower().replace("_", "-") for name in facts["requires"].split(",") if name}
        needs = [w.name for w in wheels if metadata_of(w)["name"].lower().replace("_", "-") in wanted & set(refs)]
        dependencies.append({"ref": wheel.name, "dependsOn": needs})
    identity = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components, sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{identity}",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "kit", "name": FOLDER, "version": metadata_of(main)["version"]}},
        "components": components + model_components(main, bundle),
        "dependencies": [{"ref": "kit", "dependsOn": [main.name]}, *dependencies],
    }


def download(main: Path, folder: Path, platforms: tuple[str, ...], pythons: tuple[str, ...]) -> list[Path]:
    """The dependencies' wheels for every platform and Python, by pip; for building only, never on the appliance.

    Raises:
        subprocess.CalledProcessError: pip found none.
    """
    needed = [name for name in metadata_of(main)["requires"].split(",") if name]
    for platform, python in itertools.product(platforms, pythons) if needed else ():
        command = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--platform", platform, "--python-version", python]
        subprocess.run([*command, "--dest", str(folder), *needed], check=True, stdout=subprocess.DEVNULL)
    return sorted(folder.glob("*.whl"))


def sign(private_key: Path, message: bytes) -> bytes:
    """Ed25519 (RFC 8032) with a PEM key, by ``cryptography``.

    Raises:
        SystemExit: the key is of another kind.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(private_key.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise SystemExit(f"{private_key}: not an Ed25519 private key")
    return key.sign(SIGNING_CONTEXT + message)


def installer() -> bytes:
    """``install.py``: one file, with the code that verifies signatures inside.

    Raises:
        SystemExit: the sources do not fit together.
    """
    code = (ROOT / "edge_demist" / "format" / "ed25519.py").read_text(encoding="utf-8")
    body = re.sub(r'\A""".*?"""\n', "", code, flags=re.DOTALL).replace("from __future__ import annotations\n", "")
    template = (ROOT / "tools" / "kit" / "installer.py").read_text(encoding="utf-8")
    found = re.fullmatch(r"(.*\n# --- the kit's builder [^\n]*\n).*?(# --- end ---\n.*)", template, flags=re.DOTALL)
    if found is None or "__future__" in body:
        raise SystemExit("installer.py: there is no place for the code that verifies signatures")
    return f"{found[1]}{body.strip()}\n\n{found[2]}".encode()


def contents(main: Path, wheels: list[Path], private_key: Path | None, bundle: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Every file of the kit; checksums cover all but themselves and their signature."""
    files = {f"wheels/{wheel.name}": wheel.read_bytes() for wheel in wheels} | (bundle or {})
    own = ("--bundle", f"{TARGET}/bundle") if bundle else ()
    unit = UnitOptions(executable=f"{TARGET}/bin/edge-demist", arguments=(*DEFAULT_ARGUMENTS, *own))
    files["edge-demist.service"] = render_unit(unit).encode("ascii")
    files["sbom.cdx.json"] = (json.dumps(sbom(wheels, main, bundle or {}), indent=1) + "\n").encode("ascii")
    files["install.py"] = installer()
    sums = "".join(f"{sha256(data)}  {name}\n" for name, data in sorted(files.items())).encode("ascii")
    files["SHA256SUMS"] = sums
    if private_key is not None:
        files["SHA256SUMS.sig"] = sign(private_key, sums).hex().encode("ascii") + b"\n"
    return files


def pack(files: dict[str, bytes], output: Path) -> None:
    """A tar.gz that depends on its contents alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size, info.mtime, info.mode = len(data), EPOCH, 0o755 if name == "install.py" else 0o644
            archive.addfile(info, io.BytesIO(data))
    output.write_bytes(gzip.compress(buffer.getvalue(), mtime=EPOCH))


def build(
    main: Path,
    output: Path,
    *,
    private_key: Path | None,
    wheels: Path | None,
    platforms: tuple[str, ...],
    pythons: tuple[str, ...] = PYTHONS,
    bundle: Path | None = None,
) -> None:
    """Make the kit."""
    own = bundle_files(bundle)
    with tempfile.TemporaryDirectory() as folder:
        found = sorted(wheels.glob("*.whl")) if wheels else download(main, Path(folder), platforms, pythons)
        others = [wheel for wheel in found if wheel.name != main.name]
        pack(contents(main, sorted([main, *others], key=lambda w: w.name), private_key, own), output)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command = parser.add_subparsers(required=True).add_parser("build")
    command.add_argument("--wheel", type=Path, required=True)
    command.add_argument("--wheels", type=Path, help="folder with the dependencies' wheels")
    command.add_argument("--platform", action="append", help=f"default {' '.join(DEFAULT_PLATFORMS)}")
    command.add_argument("--python", action="append", help=f"may be repeated; default {' '.join(PYTHONS)}")
    command.add_argument("--bundle", type=Path, help="a bundle of your own, which the unit then uses")
    command.add_argument("--key", type=Path, help="Ed25519 private key (PEM); without it the kit is not signed")
    command.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    platforms = tuple(args.platform or DEFAULT_PLATFORMS)
    pythons = tuple(args.python or PYTHONS)
    build(args.wheel, args.output, private_key=args.key, wheels=args.wheels, platforms=platforms, pythons=pythons, bundle=args.bundle)
    sys.stdout.write(f"{args.output}: {args.output.stat().st_size} bytes, sha256 {sha256(args.output.read_bytes())}\n")
    sys.stdout.write(f"publish by another way than the kit: install.py has sha256 {sha256(installer())}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
