"""The offline kit: equal inputs give equal kits, damage is found, and it installs with networking cut."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from edge_demist.errors import BundleError
from tools.kit import build as offline_kit

PLAIN = ("--no-signature",)


def fake_wheel(folder: Path, name: str, version: str, requires: str = "", files: dict[str, str] | None = None) -> Path:
    """A wheel that installs."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.4\nName: {name.replace('_', '-')}\nVersion: {version}\nLicense-Expression: MIT\n"
    members = {
        f"{name}/__init__.py": f"__version__ = '{version}'\n",
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\nRequires-Dist: torch; extra == 'x'\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(files or {}),
    }
    members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member), text)
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    fake_wheel(folder, "numpy_stand_in", "2.0")
    manifest = json.dumps({"name": "default", "version": 3})
    fake_wheel(folder, "edge_demist", "9.9", "numpy-stand-in>=1", {"edge_demist/assets/model/manifest.json": manifest})
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization", reason="cryptography is not installed")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def build(wheels: Path, output: Path, key: Path | None = None, bundle: Path | None = None) -> Path:
    main = wheels / "edge_demist-9.9-py3-none-any.whl"
    offline_kit.build(main, output, private_key=key, wheels=wheels, platforms=(), bundle=bundle)
    folder = output.with_suffix(".d")
    with tarfile.open(output) as archive:
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # since 3.11.4
    return folder / offline_kit.FOLDER


def install(kit: Path, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, str(kit / "install.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_the_kit_is_reproducible_and_whole(wheels: Path, tmp_path: Path) -> None:
    kit = build(wheels, tmp_path / "a.tgz")
    build(wheels, tmp_path / "b.tgz")
    assert (tmp_path / "a.tgz").read_bytes() == (tmp_path / "b.tgz").read_bytes()
    names = {p.name for p in kit.rglob("*") if p.is_file()}
    assert {"SHA256SUMS", "sbom.cdx.json", "install.py", "edge-demist.service"} <= names
    assert not list(kit.rglob("*.py")) or [p.name for p in kit.rglob("*.py")] == ["install.py"]
    assert install(kit, *PLAIN, "--check-only").returncode == 0


def test_the_sbom_names_every_wheel_and_the_model(wheels: Path, tmp_path: Path) -> None:
    bom = json.loads((build(wheels, tmp_path / "a.tgz") / "sbom.cdx.json").read_text())
    assert bom["bomFormat"] == "CycloneDX" and bom["specVersion"] == "1.6" and bom["serialNumber"].startswith("urn:uuid:")
    parts = {c["name"]: c for c in bom["components"]}
    assert set(parts) == {"edge-demist", "numpy-stand-in", "default"} and parts["default"]["type"] == "machine-learning-model"
    assert all(len(c["hashes"][0]["content"]) == 64 for c in parts.values())
    refs = {c["bom-ref"] for c in bom["components"]} | {"kit"}
    needs = {d["ref"]: d["dependsOn"] for d in bom["dependencies"]}
    assert set(needs) <= refs and needs["edge_demist-9.9-py3-none-any.whl"] == ["numpy_stand_in-2.0-py3-none-any.whl"]


def test_signatures_are_made_and_checked(wheels: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    kit = build(wheels, tmp_path / "a.tgz", private)
    assert install(kit, "--public-key", str(public), "--check-only").returncode == 0
    (tmp_path / "other").write_text("11" * 32)
    assert "does not belong" in install(kit, "--public-key", str(tmp_path / "other"), "--check-only").stderr
    (kit / "SHA256SUMS").write_text((kit / "SHA256SUMS").read_text().replace("a", "b", 1))
    assert install(kit, "--public-key", str(public), "--check-only").returncode == 1
    unsigned = build(wheels, tmp_path / "b.tgz")
    assert "not signed" in install(unsigned, "--public-key", str(public), "--check-only").stderr


@pytest.mark.parametrize("damage", ["changed", "missing", "added"])
def test_damage_is_found_before_anything_is_installed(wheels: Path, tmp_path: Path, damage: str) -> None:
    kit = build(wheels, tmp_path / "a.tgz")
    victim = kit / "wheels" / "numpy_stand_in-2.0-py3-none-any.whl"
    if damage == "changed":
        victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    elif damage == "missing":
        victim.unlink()
    else:
        (kit / "wheels" / "evil-1.0-py3-none-any.whl").write_bytes(b"")
    done = install(kit, *PLAIN, str(tmp_path / "target"))
    assert done.returncode == 1 and "install: " in done.stderr and "wheels/" in done.stderr and not (tmp_path / "target").exists()


def test_it_installs_with_networking_cut(wheels: Path, tmp_path: Path) -> None:
    prefix = ("unshare", "--map-root-user", "--net") if shutil.which("unshare") else ()
    if not prefix or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine cannot make a network namespace")
    kit = build(wheels, tmp_path / "a.tgz")
    done = install(kit, *PLAIN, str(tmp_path / "target"), prefix=prefix)
    assert done.returncode == 0, done.stderr
    python = tmp_path / "target" / "bin" / "python"
    code = "import edge_demist, numpy_stand_in; print(edge_demist.__version__)"
    assert subprocess.run([python, "-E", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout == "9.9\n"


def test_a_bundle_of_one_s_own_goes_into_the_kit_and_the_unit(wheels: Path, tmp_path: Path, bundle_copy: Path) -> None:
    kit = build(wheels, tmp_path / "kit.tar.gz", bundle=bundle_copy)
    assert "--bundle /opt/edge-demist/bundle" in (kit / "edge-demist.service").read_text()
    parts = [c for c in json.loads((kit / "sbom.cdx.json").read_text())["components"] if c["type"] == "machine-learning-model"]
    assert [c["bom-ref"] for c in parts] == ["bundle", "own-bundle"]
    done = install(kit, "--no-signature", str(tmp_path / "target"))
    assert done.returncode == 0, done.stderr
    installed = {p.relative_to(tmp_path / "target" / "bundle") for p in (tmp_path / "target" / "bundle").rglob("*") if p.is_file()}
    assert Path("manifest.json") in installed and Path("weights.safetensors") in installed
    (bundle_copy / "weights.safetensors").write_bytes(b"changed")
    with pytest.raises(BundleError):
        build(wheels, tmp_path / "other.tar.gz", bundle=bundle_copy)


def test_a_kit_for_another_python_says_so(wheels: Path, tmp_path: Path) -> None:
    (wheel,) = wheels.glob("numpy_stand_in*")
    wheel.rename(wheels / "numpy_stand_in-2.0-cp27-none-any.whl")
    kit = build(wheels, tmp_path / "kit.tar.gz")
    done = install(kit, "--no-signature", str(tmp_path / "target"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "pip could not install for Python" in done.stderr and "cp27" in done.stderr
