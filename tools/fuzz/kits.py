"""Offline kits with one thing changed: the installer finds it, and runs nothing of it."""

from __future__ import annotations

import os
import random
import shutil
import zipfile
from pathlib import Path

from tools.fuzz.values import spoil_bytes
from tools.kit import build

NAMES = (
    "ed25519.py",
    "hashlib.py",
    "wheels/x.whl",
    "__pycache__/install.pyc",
    "wheels/__pycache__/a",
    "\x1b[2J",
    "a b",
    ".hidden",
    "venv/__init__.py",
)


class Target:
    """A case is a signed kit with a file changed, added, taken away, or made something else."""

    weight = 1

    def __init__(self, folder: Path) -> None:
        """Build a kit, sign it, and load its installer."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

        key = Ed25519PrivateKey.generate()
        folder.mkdir(exist_ok=True)
        self.folder, self.key = folder, folder / "key.pub"
        (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.key.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        wheel = folder / "edge_demist-9.9-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("edge_demist-9.9.dist-info/METADATA", "Metadata-Version: 2.4\nName: edge-demist\nVersion: 9.9\n")
        self.files = build.contents(wheel, [wheel], folder / "key.pem")
        code = build.installer().decode().replace("if not sys.flags.isolated:", "if False:")
        self.installer: dict[str, object] = {"__name__": "installer", "__file__": str(folder / "kit" / "install.py")}
        exec(compile(code, "install.py", "exec"), self.installer)

    def run(self, seed: int) -> str:
        """Change something, and check."""
        chance, kit = random.Random(seed), self.folder / "kit"
        shutil.rmtree(kit, ignore_errors=True)
        for name, raw in self.files.items():
            (kit / name).parent.mkdir(parents=True, exist_ok=True)
            (kit / name).write_bytes(raw)
        changed = self._change(kit, chance)
        try:
            wrong = self.installer["check"](kit, self.key)  # type: ignore[operator]
        except (OSError, ValueError) as error:
            wrong = [str(error)]
        if bool(wrong) != changed:
            return f"BAD {'refused as it was' if wrong else 'a change was not seen'}"
        return "refused" if wrong else "taken"

    def _change(self, kit: Path, chance: random.Random) -> bool:
        """Whether anything is different now."""
        kind, name = chance.randrange(8), chance.choice(sorted(self.files))
        path = kit / name
        if kind == 0:
            raw = spoil_bytes(self.files[name], chance, 1 << 20)
            path.write_bytes(raw)
            same_signature = name == "SHA256SUMS.sig" and raw.strip().lower() == self.files[name].strip()
            return raw != self.files[name] and not same_signature
        if kind == 1:
            path.unlink()
        elif kind == 2:
            odd = kit / chance.choice(NAMES)
            odd.parent.mkdir(parents=True, exist_ok=True)
            odd.write_bytes(chance.randbytes(chance.randint(0, 30)))
        elif kind == 3:
            (self.folder / "elsewhere").write_bytes(self.files[name])
            path.unlink()
            path.symlink_to(self.folder / "elsewhere")
        elif kind == 4:
            (kit / chance.choice(("more", "wheels/more", "__pycache__"))).mkdir()
        elif kind == 5:
            os.mkfifo(kit / f"pipe{chance.randrange(9)}")
        elif kind == 6:
            (kit / f"link{chance.randrange(9)}").symlink_to(chance.choice(("wheels", ".", "/", "install.py", "/dev/zero")))
        else:
            return False
        return True
