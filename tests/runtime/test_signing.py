"""Ed25519 against RFC 8032's vectors; signed bundles; no way back to older versions."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.errors import BundleError, IntegrityError, SignatureError
from edge_demist.format import ed25519
from edge_demist.format.signing import Policy, accept_version, read_public_key, verify_bundle, verify_manifest, verify_specialist

# RFC 8032, section 7.1: TEST 1, 2, 3 and SHA(abc): public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_rfc_8032_vectors(key: str, message: str, signature: str) -> None:
    assert ed25519.verify(bytes.fromhex(key), bytes.fromhex(signature), bytes.fromhex(message))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(VECTORS), st.integers(0, 511), st.sampled_from(["key", "message", "signature"]))
def test_one_changed_bit_is_refused(vector: tuple[str, str, str], bit: int, part: str) -> None:
    key, message, signature = (bytearray(bytes.fromhex(text)) for text in vector)
    target = {"key": key, "message": message, "signature": signature}[part]
    if not target:
        target += b"\0"
    else:
        target[bit // 8 % len(target)] ^= 1 << bit % 8
    assert not ed25519.verify(bytes(key), bytes(signature), bytes(message))


def test_a_scalar_beyond_the_group_order_is_refused() -> None:
    key, message, signature = (bytes.fromhex(text) for text in VECTORS[1])
    scalar = int.from_bytes(signature[32:], "little") + ed25519.L
    assert not ed25519.verify(key, signature[:32] + scalar.to_bytes(32, "little"), message)


def test_points_that_are_not_canonical_or_not_on_the_curve_are_refused() -> None:
    signature = bytes.fromhex(VECTORS[0][2])
    for key in (ed25519.P.to_bytes(32, "little"), (2).to_bytes(32, "little"), b"\xff" * 32, b"short"):
        assert not ed25519.verify(key, signature, b"")


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A signed folder with one file, its public key, its private key."""
    pytest.importorskip("cryptography", reason="signing needs the extra 'quantize'")
    from edge_demist.format import keys

    folder = tmp_path / "bundle"
    (folder / "specialists").mkdir(parents=True)
    data = b"tensors"
    (folder / "specialists/dga.safetensors").write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest = {"format": 1, "name": "tiny", "version": 3, "files": {"specialists/dga.safetensors": entry}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    keys.generate(tmp_path / "private.pem", tmp_path / "public.pem")
    keys.sign_bundle(folder, tmp_path / "private.pem")
    return folder, tmp_path / "public.pem", tmp_path / "private.pem"


def test_a_signed_bundle_verifies_with_pem_hex_and_raw_keys(signed: tuple[Path, Path, Path]) -> None:
    folder, public, private = signed
    raw = read_public_key(public)
    assert len(raw) == 32
    for key in (raw, public.read_bytes(), raw.hex().encode() + b"\n"):
        verify_manifest(folder, key)
        verify_bundle(folder, key)
    assert private.stat().st_mode & 0o077 == 0
    with pytest.raises(SignatureError, match="not an Ed25519 public key"):
        read_public_key(private)


def test_a_changed_byte_anywhere_is_refused(signed: tuple[Path, Path, Path]) -> None:
    folder, public, _ = signed
    key = read_public_key(public)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        original = path.read_bytes()
        for place in range(0, len(original), max(1, len(original) // 7)):
            changed = bytearray(original)
            changed[place] ^= 1
            path.write_bytes(bytes(changed))
            with pytest.raises(BundleError):
                verify_bundle(folder, key)
        path.write_bytes(original)
    verify_bundle(folder, key)
    (folder / "specialists/dga.safetensors").write_bytes(b"Tensors")
    with pytest.raises(IntegrityError):
        verify_bundle(folder, key)


def test_another_key_and_a_missing_signature_are_refused(signed: tuple[Path, Path, Path]) -> None:
    folder, public, _ = signed
    with pytest.raises(SignatureError, match="another key"):
        verify_manifest(folder, bytes.fromhex(VECTORS[0][0]))
    (folder / "manifest.sig").write_text("00" * 63)
    with pytest.raises(SignatureError, match="128 hexadecimal"):
        verify_manifest(folder, public.read_bytes())
    (folder / "manifest.sig").unlink()
    with pytest.raises(SignatureError, match="not signed"):
        verify_manifest(folder, public.read_bytes())


def test_policy_refuses_what_is_unsigned(signed: tuple[Path, Path, Path]) -> None:
    folder, public, _ = signed
    strict = Policy(read_public_key(public), require_signature=True)
    strict.check_bundle(folder)
    lone = folder.parent / "uri.safetensors"
    lone.write_bytes(b"delivered alone")
    Policy().check_specialist(lone)
    with pytest.raises(SignatureError, match="not signed"):
        strict.check_specialist(lone)
    with pytest.raises(SignatureError, match="no public key"):
        Policy(require_signature=True).check_bundle(folder)
    (folder / "manifest.sig").unlink()
    Policy().check_bundle(folder)
    with pytest.raises(SignatureError, match="not signed"):
        strict.check_bundle(folder)


def test_a_specialist_and_a_manifest_cannot_stand_in_for_each_other(signed: tuple[Path, Path, Path]) -> None:
    from edge_demist.format import keys

    folder, public, private = signed
    lone = folder.parent / "uri.safetensors"
    lone.write_bytes((folder / "manifest.json").read_bytes())
    keys.sign_specialist(lone, private)
    verify_specialist(lone, public.read_bytes())
    (folder / "manifest.sig").write_bytes((folder.parent / "uri.safetensors.sig").read_bytes())
    with pytest.raises(SignatureError, match="does not verify"):
        verify_manifest(folder, public.read_bytes())


def test_an_older_version_is_refused_even_if_signed(signed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    from edge_demist.format import keys

    folder, public, private = signed
    policy = Policy(read_public_key(public), require_signature=True, state_file=tmp_path / "state/versions.json")
    policy.check_bundle(folder)
    policy.check_bundle(folder)
    manifest = json.loads((folder / "manifest.json").read_text()) | {"version": 2}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    keys.sign_bundle(folder, private)
    with pytest.raises(SignatureError, match="version 2 is older than 3"):
        policy.check_bundle(folder)
    assert json.loads((tmp_path / "state/versions.json").read_text())["tiny"] == 3


@pytest.mark.parametrize("damage", ["", "[]", '{"tiny": "3"}', "{"])
def test_a_damaged_state_file_refuses_rather_than_forgets(tmp_path: Path, damage: str) -> None:
    state = tmp_path / "versions.json"
    state.write_text(damage)
    with pytest.raises(SignatureError, match="damaged"):
        accept_version(state, "tiny", 9)


@given(st.lists(st.integers(0, 20), max_size=12))
@settings(deadline=None, max_examples=25)
def test_accepted_versions_never_fall(versions: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        highest = 0
        for version in versions:
            if version < highest:
                with pytest.raises(SignatureError):
                    accept_version(Path(folder) / "state", "x", version)
            else:
                accept_version(Path(folder) / "state", "x", version)
                highest = version


def test_keys_are_never_overwritten(signed: tuple[Path, Path, Path]) -> None:
    from edge_demist.errors import InputError
    from edge_demist.format import keys

    _, public, private = signed
    with pytest.raises(InputError, match="never overwritten"):
        keys.generate(private, public)
