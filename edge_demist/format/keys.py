"""Makes Ed25519 keys and signs bundles and specialist files, through the ``cryptography`` package."""

import os
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.format.signing import (
    MANIFEST_CONTEXT,
    SIGNATURE_NAME,
    SPECIALIST_CONTEXT,
    parse_public_key,
    verify_bundle,
    verify_specialist,
)


def generate(private: Path, public: Path) -> None:
    """Write a new private key (PKCS #8 PEM, readable by its owner alone) and its public key (PEM).

    Raises InputError if a file exists: a key is never overwritten.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    for path in (private, public):
        if path.exists():
            raise InputError(f"{path}: already exists; keys are never overwritten")
    key = Ed25519PrivateKey.generate()
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def sign_bundle(folder: Path, private: Path) -> None:
    """Write ``manifest.sig``, then verify the bundle the way a sensor does."""
    signature, public = _sign(MANIFEST_CONTEXT + (folder / "manifest.json").read_bytes(), private)
    (folder / SIGNATURE_NAME).write_text(signature.hex() + "\n", encoding="ascii")
    verify_bundle(folder, public)


def sign_specialist(path: Path, private: Path) -> None:
    """Write ``<path>.sig`` for a specialist file that is delivered alone, then verify it."""
    signature, public = _sign(SPECIALIST_CONTEXT + path.read_bytes(), private)
    path.with_name(path.name + ".sig").write_text(signature.hex() + "\n", encoding="ascii")
    verify_specialist(path, public)


def _sign(message: bytes, private: Path) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(private.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise InputError(f"{private}: not an unencrypted private key in PEM form ({error})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{private}: not an Ed25519 key")
    return key.sign(message), parse_public_key(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
