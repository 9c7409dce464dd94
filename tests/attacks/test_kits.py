"""Offline kits that were changed on the way: the installer refuses whatever is not listed, and none of it runs."""

from __future__ import annotations

import importlib.util
import marshal
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools.kit import build

pytest.importorskip("cryptography", reason="signing needs the package cryptography")

EVIL = "open({!r}, 'w').close()\n"


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


class Place:
    """A signed kit, unpacked, and the file that an attacker's code would leave."""

    def __init__(self, folder: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

        key = Ed25519PrivateKey.generate()
        self.folder, self.mark, self.key = folder, folder / "PWNED", folder / "key.pub"
        (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.key.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        wheel = folder / "edge_demist-9.9-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("edge_demist-9.9.dist-info/METADATA", "Metadata-Version: 2.4\nName: edge-demist\nVersion: 9.9\n")
        self.kit = folder / "kit"
        for name, data in build.contents(wheel, [wheel], folder / "key.pem").items():
            (self.kit / name).parent.mkdir(parents=True, exist_ok=True)
            (self.kit / name).write_bytes(data)
        self.evil = EVIL.format(str(self.mark))

    def run(self, *python: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *python, str(self.kit / "install.py"), "--public-key", str(key or self.key), "--check-only"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=self.kit, check=False)


@pytest.mark.parametrize("python", [(), ("-I",)], ids=["plain", "isolated"])
def test_an_intact_kit(place, python):
    done = place.run(*python)
    assert done.returncode == 0, done.stderr
    assert not list(place.kit.rglob("__pycache__"))


def cached(place):
    source = place.kit / "install.py"
    code = compile(place.evil, "x.py", "exec")
    (place.kit / "__pycache__").mkdir()
    name = place.kit / "__pycache__" / f"ed25519.{sys.implementation.cache_tag}.pyc"
    size = source.stat().st_size
    name.write_bytes(
        importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, int(source.stat().st_mtime) & 0xFFFFFFFF, size) + marshal.dumps(code)
    )


def link_to_a_folder(place):
    (place.kit / "__pycache__" / "venv").mkdir(parents=True)
    (place.kit / "__pycache__" / "venv" / "__init__.py").write_text(place.evil)
    (place.kit / "venv").symlink_to("__pycache__/venv")


def shadow(name):
    def change(place):
        (place.kit / f"{name}.py").write_text(place.evil)

    change.__name__ = f"shadow_{name}"
    return change


def package(place):
    (place.kit / "hashlib").mkdir()
    (place.kit / "hashlib" / "__init__.py").write_text(place.evil)


def cache_below(place):
    (place.kit / "wheels" / "__pycache__").mkdir()
    (place.kit / "wheels" / "__pycache__" / "evil.whl").write_bytes(b"x")


def empty_folder(place):
    (place.kit / "wheels" / "more").mkdir()


def wheels_elsewhere(place):
    shutil.move(place.kit / "wheels", place.folder / "elsewhere")
    (place.kit / "wheels").symlink_to(place.folder / "elsewhere")


def wheel_is_a_link(place):
    wheel = next((place.kit / "wheels").glob("*.whl"))
    shutil.move(wheel, place.folder / "w")
    wheel.symlink_to(place.folder / "w")


def pipe(place):
    os.mkfifo(place.kit / "wheels" / "x.whl")


def wheel_is_a_pipe(place):
    wheel = next((place.kit / "wheels").glob("*.whl"))
    wheel.unlink()
    os.mkfifo(wheel)


def escape_in_a_name(place):
    (place.kit / "\x1b[2Jx").write_bytes(b"")


def flipped(place):
    wheel = next((place.kit / "wheels").glob("*.whl"))
    raw = bytearray(wheel.read_bytes())
    raw[len(raw) // 2] ^= 1
    wheel.write_bytes(raw)


def unsigned(place):
    (place.kit / "SHA256SUMS.sig").unlink()


def signed_by_nobody(place):
    (place.kit / "SHA256SUMS.sig").write_text("00" * 64)


def listed_outside(place):
    sums = place.kit / "SHA256SUMS"
    sums.write_text(sums.read_text() + "0" * 64 + "  ../../../etc/passwd\n")


CHANGES = [
    cached,
    link_to_a_folder,
    *map(shadow, ("hashlib", "argparse", "ed25519", "os", "__future__", "posix", "typing", "sitecustomize")),
    package,
    cache_below,
    empty_folder,
    wheels_elsewhere,
    wheel_is_a_link,
    pipe,
    wheel_is_a_pipe,
    escape_in_a_name,
    flipped,
    unsigned,
    signed_by_nobody,
    listed_outside,
]


@pytest.mark.parametrize("python", [(), ("-I",)], ids=["plain", "isolated"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_kit(place, change, python):
    change(place)
    done = place.run(*python)
    assert done.returncode == 1 and done.stderr.startswith("install: ")
    assert not place.mark.exists()
    assert "\x1b" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("key", ["01" + "00" * 31, "00" * 32, "ff" * 32, "zz", ""])
def test_a_weak_key_is_none(place, key):
    (place.folder / "weak").write_text(key)
    (place.kit / "SHA256SUMS.sig").write_text("01" + "00" * 63)
    done = place.run(key=place.folder / "weak")
    assert done.returncode == 1 and "install: " in done.stderr


def test_a_weak_key_for_bundles(tmp_path):
    from edge_demist.errors import SignatureError
    from edge_demist.format import ed25519
    from edge_demist.format.signing import read_public_key

    small = ["0100000000000000000000000000000000000000000000000000000000000000", "00" * 32, "00" * 31 + "80"]
    small += ["ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"]
    small += [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ]
    for key in small:
        assert not ed25519.verify(bytes.fromhex(key), bytes.fromhex("01" + "00" * 63), b"anything")
        (tmp_path / "key").write_text(key)
        if ed25519.is_weak(bytes.fromhex(key)):
            with pytest.raises(SignatureError, match="weak"):
                read_public_key(tmp_path / "key")
    assert sum(ed25519.is_weak(bytes.fromhex(key)) for key in small) >= 5


def test_an_older_bundle_under_a_new_name(tmp_path):
    from edge_demist.errors import SignatureError
    from edge_demist.format.signing import accept_version

    state, key, other = tmp_path / "versions.json", b"k" * 32, b"o" * 32
    accept_version(state, "edge-demist", 9, key)
    for name in ("edge-demist", "edge-demist ", "another"):
        with pytest.raises(SignatureError, match="version 8 is older than 9"):
            accept_version(state, name, 8, key)
    accept_version(state, "theirs", 2, other)
    accept_version(state, "another", 9, key)
    with pytest.raises(SignatureError, match="older"):
        accept_version(state, "edge-demist", 8, other)


@pytest.mark.parametrize("place_", ["/home/me/bundle", "/root/key.pub", "/tmp/b", "/run/user/1000/k", "/dev/shm/b", "/proc/1/root/x"])
@pytest.mark.parametrize("option", ["--bundle", "--require-signature", "path", "--executable"])
def test_a_unit_names_no_place_that_it_hides(capsys, tmp_path, place_, option):
    from edge_demist.cli import main

    given = ["install-service", "--folder", str(tmp_path), *([place_] if option == "path" else [option, place_])]
    assert main(given) == 2
    assert "hides" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert main([*given, "--print"]) == 0
    assert "hides" in capsys.readouterr().err


def test_a_unit_names_no_link_to_such_a_place(capsys, tmp_path):
    from edge_demist.cli import main

    (tmp_path / "link").symlink_to("/dev/shm")
    assert main(["install-service", "--folder", str(tmp_path), "--bundle", str(tmp_path / "link")]) == 2
    assert "hides" in capsys.readouterr().err
