"""A bundle on disk: hashes and mapped tensors. Knows nothing of engines or of what the tensors compute.

Every file is checked against the manifest's size and SHA-256 before anything in it is parsed; one that was hashed before and has
not changed since (:mod:`edge_demist.format.verified`) is taken as read. No ``pathlib`` or ``hashlib`` at import: a sensor starts in
milliseconds.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edge_demist.errors import BundleError, IntegrityError
from edge_demist.format import safetensors, verified
from edge_demist.format.manifest import (
    Architecture,
    FileEntry,
    Limits,
    NgramConfig,
    TokenizerConfig,
    bounded,
    file_entries,
    read_manifest,
    section,
)
from edge_demist.format.safetensors import Tensor

if TYPE_CHECKING:
    from pathlib import Path

BUNDLE_VARIABLE = "EDGE_DEMIST_BUNDLE"
"""Environment variable that names another default bundle."""


def default_folder() -> str:
    """Folder of the bundle in the package, or the one that ``EDGE_DEMIST_BUNDLE`` names."""
    return os.environ.get(BUNDLE_VARIABLE) or os.path.join(os.path.dirname(os.path.dirname(__file__)), "assets", "model")


def default_path() -> Path:
    """:func:`default_folder` as a path."""
    from pathlib import Path

    return Path(default_folder())


class Bundle(NamedTuple):
    """A verified bundle; tensors are read-only maps of the files."""

    folder: str
    manifest_bytes: bytes
    name: str
    version: int
    architecture: Architecture
    tokenizer: TokenizerConfig
    ngrams: NgramConfig | None
    limits: Limits
    files: Mapping[str, FileEntry]
    manifest: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    tokenizer_tensors: Mapping[str, Tensor]
    tokenizer_metadata: Mapping[str, str]

    @property
    def path(self) -> Path:
        """Its folder."""
        from pathlib import Path

        return Path(self.folder)

    @property
    def id(self) -> str:
        """SHA-256 of the manifest, which names the hashes of all files: what identifies the bundle."""
        import hashlib

        return hashlib.sha256(self.manifest_bytes).hexdigest()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the specialists, sorted."""
        prefix, suffix = "specialists/", ".safetensors"
        return tuple(sorted(n[len(prefix) : -len(suffix)] for n in self.files if n.startswith(prefix) and n.endswith(suffix)))

    @property
    def base_sha256(self) -> str:
        """Hash that specialists are bound to: of ``weights.safetensors``."""
        return self.files["weights.safetensors"].sha256

    @classmethod
    def load(cls, path: Path | str | None = None, *, hash_all: bool = False) -> Bundle:
        """Open and verify a bundle.

        Args:
            path: folder of the bundle; None for :func:`default_folder`.
            hash_all: hash every file, also one that is known to be unchanged since it was hashed before.

        Raises:
            BundleError: missing, malformed, of another format, or with tensors of a wrong shape.
            IntegrityError: a file that is not what the manifest says.
        """
        folder = os.fspath(path) if path is not None else default_folder()
        raw, manifest = read_manifest(folder)
        files = file_entries(manifest)
        verifyfile_entries(folder, files, hash_all=hash_all)
        for needed in ("weights.safetensors", "tokenizer.safetensors"):
            if needed not in files:
                raise BundleError(f"manifest: {needed} is not listed")
        architecture = section(manifest, "architecture", Architecture)
        tokenizer = section(manifest, "tokenizer", TokenizerConfig)
        ngrams = section(manifest, "ngrams", NgramConfig) if manifest.get("ngrams") is not None else None
        limits = section(manifest, "limits", Limits)
        if limits.max_tokens > architecture.max_positions:
            raise BundleError("manifest: limits.max_tokens exceeds architecture.max_positions")
        _, tensors = safetensors.read(os.path.join(folder, "weights.safetensors"))
        check_weights(tensors, architecture, ngrams)
        metadata, tables = safetensors.read(os.path.join(folder, "tokenizer.safetensors"))
        return cls(
            folder=folder,
            manifest_bytes=raw,
            name=str(manifest.get("name", ""))[:200],
            version=bounded("version", manifest.get("version"), 0, 1 << 31),
            architecture=architecture,
            tokenizer=tokenizer,
            ngrams=ngrams,
            limits=limits,
            files=MappingProxyType(files),
            manifest=MappingProxyType(manifest),
            tensors=MappingProxyType(tensors),
            tokenizer_tensors=MappingProxyType(tables),
            tokenizer_metadata=MappingProxyType(metadata),
        )


def verifyfile_entries(folder: str, files: Mapping[str, FileEntry], *, hash_all: bool) -> None:
    """Check every file; unless ``hash_all``, those that :mod:`edge_demist.format.verified` knows are not hashed again."""
    known = {} if hash_all else verified.read_verified(folder)
    found: dict[str, str] = {}
    for name, entry in files.items():
        info = _inside(folder, name, entry)
        note = f"{verified.mark(info)} {entry.sha256}"
        if known.get(name) != note:
            settled = verified.settled(info)
            _compare_hash(folder, name, entry)
            if not settled or verified.mark(_inside(folder, name, entry)) != verified.mark(info):
                continue
        found[name] = note
    if found.items() - known.items():
        verified.write_verified(folder, found)


def verify_file(folder: Path | str, name: str, entry: FileEntry) -> None:
    """Compare one file's size, then its SHA-256, with the manifest.

    Raises:
        IntegrityError: the file is missing, a link that leads elsewhere, or different.
    """
    _inside(os.fspath(folder), name, entry)
    _compare_hash(os.fspath(folder), name, entry)


def _inside(folder: str, name: str, entry: FileEntry) -> os.stat_result:
    """Check that a file lies in the folder, links followed, and has the right size."""
    path = os.path.join(folder, name)
    try:
        parent = os.path.dirname(path)
        if any(stat.S_ISLNK(os.lstat(p).st_mode) for p in ((path, parent) if "/" in name else (path,))):
            inside, real = os.path.realpath(folder), os.path.realpath(path)
            if os.path.commonpath([inside, real]) != inside:
                raise IntegrityError(f"{name}: leads out of the bundle's folder")
        info = os.stat(path)
    except OSError as error:
        raise IntegrityError(f"{name}: cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(info.st_mode):
        raise IntegrityError(f"{name}: is no regular file")
    if info.st_size != entry.bytes:
        raise IntegrityError(f"{name}: {info.st_size} bytes, the manifest says {entry.bytes}; the file is damaged or from another bundle")
    return info


def _compare_hash(folder: str, name: str, entry: FileEntry) -> None:
    import hashlib

    try:
        with open(os.path.join(folder, name), "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise IntegrityError(f"{name}: cannot be read ({error.strerror})") from None
    if digest != entry.sha256:
        raise IntegrityError(f"{name}: SHA-256 differs from the manifest; the file is damaged or from another bundle")


def weight_shapes(arch: Architecture, ngrams: NgramConfig | None) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Expected dtype and shape of every tensor of ``weights.safetensors`` (see docs/explanation/architecture.md)."""
    h, f, vocab = arch.hidden_size, arch.intermediate_size, -(-arch.vocab_size // 16) * 16
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "embeddings.word.weight": (np.int8, (vocab, h)),
        "embeddings.word.scale": (np.float32, (vocab,)),
        "embeddings.position.weight": (np.float32, (arch.max_positions, h)),
        "embeddings.norm.weight": (np.float32, (h,)),
        "embeddings.norm.bias": (np.float32, (h,)),
    }
    for i in range(arch.num_layers):
        for part, k, n in (("qkv", h, 3 * h), ("attn_out", h, h), ("ffn_up", h, f), ("ffn_down", f, h)):
            shapes[f"layers.{i}.{part}.weight"] = (np.int8, (n // 16, k // 4, 16, 4))
            shapes[f"layers.{i}.{part}.scale"] = (np.float32, (n,))
            shapes[f"layers.{i}.{part}.bias"] = (np.float32, (n,))
            shapes[f"layers.{i}.{part}.correction"] = (np.int32, (n,))
        for part in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[f"layers.{i}.{part}"] = (np.float32, (h,))
    if ngrams is not None:
        shapes["ngrams.weight"] = (np.int8, (ngrams.buckets, ngrams.dim))
        shapes["ngrams.scale"] = (np.float32, (ngrams.dim,))
    return shapes


def check_weights(tensors: Mapping[str, Tensor], arch: Architecture, ngrams: NgramConfig | None) -> None:
    """Refuse missing, foreign, misshapen or non-finite tensors.

    Raises:
        BundleError: names the tensor and what is wrong.
    """
    expected = weight_shapes(arch, ngrams)
    if set(tensors) != set(expected):
        odd = sorted(set(tensors) ^ set(expected))
        raise BundleError(f"weights.safetensors: missing or foreign tensors: {', '.join(odd[:5])}")
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.shape != shape:
            raise BundleError(f"weights.safetensors: {name} is {tensor.dtype}{list(tensor.shape)}, expected {np.dtype(dtype)}{list(shape)}")
        check_finite("weights.safetensors", name, tensor)


def check_finite(file: str, name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinities in float tensors, and scales that are not positive."""
    if tensor.dtype.kind != "f":
        return
    if not np.isfinite(tensor).all():
        raise BundleError(f"{file}: {name} holds NaN or infinite values")
    if name.endswith(".scale") and not bool(np.all(np.asarray(tensor, np.float32) > 0)):
        raise BundleError(f"{file}: {name} holds a scale that is not positive")
