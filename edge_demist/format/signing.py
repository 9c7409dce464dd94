r"""Trust in a bundle: Ed25519 signatures, files that match the signed manifest, and no way back to older versions.

``manifest.sig`` holds 128 hexadecimal digits: the signature of ``b"edge-demist manifest 1\n"`` + the bytes of
``manifest.json``. The manifest holds every file's SHA-256, so the signature covers the whole bundle. A specialist
delivered alone has ``<file>.sig`` beside it, with the context ``b"edge-demist specialist 1\n"``. Public keys are
PEM files ("BEGIN PUBLIC KEY", RFC 8410) or 64 hexadecimal digits. Keys and signatures are made by ``python -m quantize``.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
from pathlib import Path

from edge_demist.errors import BundleError, SignatureError
from edge_demist.format import ed25519
from edge_demist.format.bundle import verify_file
from edge_demist.format.manifest import bundle_name, file_entries, read_manifest
from edge_demist.io import brief, read_bounded, replace_file

MANIFEST_CONTEXT = b"edge-demist manifest 1\n"
SPECIALIST_CONTEXT = b"edge-demist specialist 1\n"
SIGNATURE_NAME = "manifest.sig"
MAX_KEY_FILE_BYTES = 4096
MAX_SIGNATURE_FILE_BYTES = 1024
MAX_STATE_BYTES = 1_000_000
MAX_SPECIALIST_BYTES = 64_000_000

_PUBLIC_KEY_INFO = bytes.fromhex("302a300506032b6570032100")


def read_public_key(path: Path) -> bytes:
    """Return the 32 bytes of the Ed25519 public key in ``path`` (PEM, or 64 hexadecimal digits).

    Raises:
        SignatureError: the file cannot be read or holds something else, a private key for instance.
    """
    return parse_public_key(_read(path, MAX_KEY_FILE_BYTES), path.name)


def parse_public_key(data: bytes, where: str = "public key") -> bytes:
    """Return the 32 raw bytes of a key given raw, as PEM or in hexadecimal; SignatureError if it is none of these, or weak."""
    key = _key_bytes(data)
    if key is None:
        raise SignatureError(f"{where}: not an Ed25519 public key (PEM 'BEGIN PUBLIC KEY', or 64 hexadecimal digits)")
    if ed25519.is_weak(key):
        raise SignatureError(f"{where}: a weak key (of small order): one signature would do for every bundle; make another one")
    return key


def _key_bytes(data: bytes) -> bytes | None:
    if len(data) == 32:
        return data
    text = data.decode("ascii", "replace").strip()
    try:
        if text.startswith("-----BEGIN PUBLIC KEY-----") and text.endswith("-----END PUBLIC KEY-----"):
            der = base64.b64decode("".join(text.splitlines()[1:-1]), validate=True)
            if len(der) == 44 and der.startswith(_PUBLIC_KEY_INFO):
                return der[12:]
        elif len(text) == 64:
            return bytes.fromhex(text)
    except (ValueError, binascii.Error):
        pass
    return None


def key_name(public_key: bytes) -> str:
    """The name of a key in the record of accepted versions: ``key:`` and its SHA-256."""
    return f"key:{hashlib.sha256(public_key).hexdigest()}"


def verify_manifest(folder: Path, public_key_bytes: bytes) -> str:
    """Check that ``manifest.sig`` signs ``manifest.json`` of ``folder``; files are not looked at.

    Args:
        folder: the bundle.
        public_key_bytes: 32 raw bytes, or the contents of a key file.

    Returns:
        The bundle's id (SHA-256 of the manifest): what is then loaded must have the same.

    Raises:
        SignatureError: the signature is missing, malformed or another key's, or the manifest was changed.
        BundleError: there is no manifest.
    """
    raw, _ = read_manifest(folder)
    _verify(raw, folder / SIGNATURE_NAME, MANIFEST_CONTEXT, public_key_bytes)
    return hashlib.sha256(raw).hexdigest()


def verify_bundle(folder: Path, public_key_bytes: bytes) -> None:
    """Check the signature, then every file's size and SHA-256; SignatureError or IntegrityError says what is wrong."""
    verify_manifest(folder, public_key_bytes)
    _, manifest = read_manifest(folder)
    for name, entry in file_entries(manifest).items():
        verify_file(folder, name, entry)


def verify_specialist(path: Path, public_key_bytes: bytes) -> None:
    """Check that ``<path>.sig`` signs a specialist file that came without a bundle; SignatureError if not."""
    data = _read(path, MAX_SPECIALIST_BYTES)
    _verify(data, path.with_name(path.name + ".sig"), SPECIALIST_CONTEXT, public_key_bytes)


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a sensor demands of bundles and specialists before it uses them.

    ``public_key`` None with ``require_signature`` refuses everything; ``state_file`` None turns the guard against
    older versions off.
    """

    public_key: bytes | None = None
    require_signature: bool = False
    state_file: Path | None = None

    def check_manifest(self, folder: Path) -> str:
        """Check the signature as demanded, files not.

        Returns:
            The bundle's id (SHA-256 of the manifest): what is then loaded must have the same.
        """
        raw, _ = read_manifest(folder)
        if self._must_verify(folder / SIGNATURE_NAME):
            _verify(raw, folder / SIGNATURE_NAME, MANIFEST_CONTEXT, self._key(folder.name))
        return hashlib.sha256(raw).hexdigest()

    def check_bundle(self, folder: Path) -> None:
        """Raise SignatureError if ``folder`` is not signed as demanded or is older than one accepted before.

        A bundle that has a signature is always checked if there is a key. The version is remembered at the end.
        """
        if self._must_verify(folder / SIGNATURE_NAME):
            verify_bundle(folder, self._key(folder.name))
        if self.state_file is not None:
            _, manifest = read_manifest(folder)
            signed = self.public_key is not None and (folder / SIGNATURE_NAME).is_file()
            key = parse_public_key(self.public_key) if signed and self.public_key is not None else None
            accept_version(self.state_file, bundle_name(manifest), manifest.get("version"), key)

    def check_specialist(self, path: Path) -> None:
        """Raise SignatureError if a specialist file that came without a bundle is not signed as demanded."""
        if self._must_verify(path.with_name(path.name + ".sig")):
            verify_specialist(path, self._key(path.name))

    def _must_verify(self, signature: Path) -> bool:
        return self.require_signature or (self.public_key is not None and signature.is_file())

    def _key(self, name: str) -> bytes:
        if self.public_key is None:
            raise SignatureError(f"{name}: signatures are required, but no public key is configured")
        return self.public_key


def accept_version(state_file: Path, name: str, version: object, public_key: bytes | None = None) -> None:
    """Remember ``version`` as the highest accepted for bundles called ``name``, and for those that ``public_key`` signed.

    A signed bundle of any name must be no older than the newest that the same key signed: a new name is no way back.
    The state file is JSON, ``{name or "key:<sha256>": version}``, replaced atomically. Call it after the signature was
    verified: name and version are only as trustworthy as the manifest.

    Raises:
        SignatureError: a higher version was accepted before, or the state file is damaged.
    """
    if type(version) is not int or version < 0:
        raise SignatureError(f"manifest: version must be a whole number, not {brief(version)}")
    known = _read_state(state_file)
    names = {name[:200]: f"bundle {name[:200]!r}"}
    if public_key is not None:
        names[key_name(public_key)] = f"bundle {name[:200]!r}, signed by a key that signed newer ones"
    for entry, what in names.items():
        if version < known.get(entry, 0):
            raise SignatureError(
                f"{what}: version {version} is older than {known[entry]}, which was accepted before; "
                f"to go back on purpose, remove {state_file}"
            )
    if all(known.get(entry) == version for entry in names):
        return
    state_file.parent.mkdir(parents=True, exist_ok=True)
    body = json.dumps({**known, **dict.fromkeys(names, version)}, sort_keys=True)
    replace_file(state_file, body.encode("ascii"), 0o600)


def _read_state(path: Path) -> dict[str, int]:
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        state = json.loads(_read(path, MAX_STATE_BYTES))
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict) or not all(type(version) is int and version >= 0 for version in state.values()):
        raise SignatureError(f"{path}: the record of accepted versions is damaged; restore it, or remove it to start anew")
    return state


def _verify(message: bytes, signature_file: Path, context: bytes, public_key_bytes: bytes) -> None:
    key = parse_public_key(public_key_bytes)
    if not signature_file.is_file():
        raise SignatureError(f"{signature_file}: missing; this is not signed (python -m quantize sign), but a signature is required")
    text = _read(signature_file, MAX_SIGNATURE_FILE_BYTES).decode("ascii", "replace").strip()
    try:
        signature = bytes.fromhex(text)
    except ValueError:
        signature = b""
    if len(text) != 128 or len(signature) != 64:
        raise SignatureError(f"{signature_file.name}: must hold 128 hexadecimal digits")
    if not ed25519.verify(key, signature, context + message):
        raise SignatureError(f"{signature_file.name}: the signature does not verify: changed since, or signed with another key")


def _read(path: Path, limit: int) -> bytes:
    try:
        raw = read_bounded(path, limit)
    except OSError as error:
        raise SignatureError(f"{path.name}: cannot be read ({error.strerror})") from None
    if raw is None:
        raise SignatureError(f"{path.name}: larger than {limit} bytes")
    return raw


__all__ = [
    "BundleError",
    "Policy",
    "SignatureError",
    "accept_version",
    "parse_public_key",
    "read_public_key",
    "verify_bundle",
    "verify_manifest",
    "verify_specialist",
]
