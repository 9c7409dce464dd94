"""A bundle on disk: hashes and mapped tensors. Knows nothing of engines or of what the tensors compute.

Every file is checked against the manifest's size and SHA-256 before anything in it is parsed; one that was hashed before and has
not changed since (:mod:`edge_demist.format.verified`) is taken as read. No ``pathlib`` or ``hashlib`` at import: a sensor starts in
milliseconds.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edge_demist.errors import BundleError, IntegrityError
from edge_demist.format import bounds, safetensors, verified
from edge_demist.format.manifest import (
    Architecture,
    FileEntry,
    Limits,
    NgramConfig,
    TokenizerConfig,
    bounded,
    bundle_name,
    check_special_ids,
    file_entries,
    read_manifest,
    section,
)
from edge_demist.format.safetensors import Tensor
from edge_demist.io import open_regular

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
    """A verified bundle; tensors are read-only maps of the files, or copies where the bundle is ``hashed`` (see :meth:`load`)."""

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
    marks: Mapping[str, str] = MappingProxyType({})
    """The version of each file that was checked (``verified.mark``); empty where every read is to hash again."""
    hashed: bool = False
    magnitudes: Mapping[str, float] = MappingProxyType({})
    """The largest magnitude of each float tensor."""

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

    def read(self, name: str, *, copy: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
        """Metadata and tensors of one of the bundle's files: of the very bytes that the manifest names.

        Raises:
            BundleError: the file is not listed, or malformed.
            IntegrityError: it was changed since the bundle was loaded.
        """
        return _read(self.folder, self.files, self.marks, name, copy=copy or self.hashed)

    def read_metadata(self, name: str) -> dict[str, str]:
        """The metadata of one of the bundle's files; errors as for :meth:`read`."""
        mark = None if self.hashed else self.marks.get(name)
        return safetensors.read_metadata(os.path.join(self.folder, name), sha256=self.files[name].sha256, mark=mark)

    def read_bytes(self, name: str, limit: int) -> bytes:
        """The bytes of one of the bundle's files, hashed.

        Raises:
            BundleError: not listed, or larger than ``limit``.
            IntegrityError: changed since.
        """
        import hashlib

        entry = self.files.get(name)
        if entry is None or entry.bytes > limit:
            raise BundleError(f"{name}: {'is not listed in the manifest' if entry is None else f'larger than {limit} bytes'}")
        raw = _bytes(self.folder, name, entry.bytes)
        if hashlib.sha256(raw).hexdigest() != entry.sha256:
            raise IntegrityError(f"{name}: SHA-256 differs from the manifest; it was changed after it was checked")
        return raw

    @classmethod
    def load(cls, path: Path | str | None = None, *, hash_all: bool = False) -> Bundle:
        """Open and verify a bundle.

        Args:
            path: folder of the bundle; None for :func:`default_folder`.
            hash_all: hash every file, also one that is known to be unchanged since it was hashed before, and use copies of the
                bytes that were hashed: for bundles whose signature matters.

        Raises:
            BundleError: missing, malformed, of another format, or with tensors of a wrong shape.
            IntegrityError: a file that is not what the manifest says.
        """
        folder = os.fspath(path) if path is not None else default_folder()
        raw, manifest = read_manifest(folder)
        files = file_entries(manifest)
        marks = verifyfile_entries(folder, files, hash_all=hash_all)
        for needed in ("weights.safetensors", "tokenizer.safetensors"):
            if needed not in files:
                raise BundleError(f"manifest: {needed} is not listed")
        architecture = section(manifest, "architecture", Architecture)
        tokenizer = section(manifest, "tokenizer", TokenizerConfig)
        ngrams = section(manifest, "ngrams", NgramConfig) if manifest.get("ngrams") is not None else None
        limits = section(manifest, "limits", Limits)
        if limits.max_tokens > architecture.max_positions:
            raise BundleError("manifest: limits.max_tokens exceeds architecture.max_positions")
        check_special_ids(tokenizer, limits, architecture.vocab_size)
        _, tensors = _read(folder, files, marks, "weights.safetensors", copy=hash_all)
        magnitudes = check_weights(tensors, architecture, ngrams)
        metadata, tables = _read(folder, files, marks, "tokenizer.safetensors", copy=hash_all)
        return cls(
            folder=folder,
            manifest_bytes=raw,
            name=bundle_name(manifest),
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
            marks=MappingProxyType(marks),
            hashed=hash_all,
            magnitudes=MappingProxyType(magnitudes),
        )


COPIED = ("weights.safetensors", "tokenizer.safetensors")
"""Hashed while they are read where every file is to be hashed, so not before."""


def _read(
    folder: str, files: Mapping[str, FileEntry], marks: Mapping[str, str], name: str, *, copy: bool
) -> tuple[dict[str, str], dict[str, Tensor]]:
    if name not in files:
        raise BundleError(f"manifest: {name} is not listed")
    return safetensors.read(os.path.join(folder, name), sha256=files[name].sha256, mark=marks.get(name), copy=copy)


def _bytes(folder: str, name: str, size: int) -> bytes:
    try:
        with open(open_regular(os.path.join(folder, name)), "rb") as stream:
            return stream.read(size + 1)
    except OSError as error:
        raise IntegrityError(f"{name}: cannot be read ({error.strerror})") from None


def verifyfile_entries(folder: str, files: Mapping[str, FileEntry], *, hash_all: bool) -> dict[str, str]:
    """Check every file; unless ``hash_all``, those that :mod:`edge_demist.format.verified` knows are not hashed again.

    Returns:
        The marks of the versions that were hashed; none with ``hash_all``: whoever reads a file hashes what he reads.
    """
    if hash_all:
        for name, entry in files.items():
            _inside(folder, name, entry)
            if name not in COPIED:
                _compare_hash(folder, name, entry)
        return {}
    known = verified.read_verified(folder)
    found: dict[str, str] = {}
    marks: dict[str, str] = {}
    for name, entry in files.items():
        info = _inside(folder, name, entry)
        note = f"{verified.mark(info)} {entry.sha256}"
        if known.get(name) != note:
            settled = verified.settled(info)
            _compare_hash(folder, name, entry)
            if verified.mark(_inside(folder, name, entry)) != verified.mark(info):
                continue
            if not settled:
                continue
        found[name], marks[name] = note, verified.mark(info)
    if found.items() - known.items():
        verified.write_verified(folder, found)
    return marks


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
        with open(open_regular(os.path.join(folder, name)), "rb") as stream:
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


def check_weights(tensors: Mapping[str, Tensor], arch: Architecture, ngrams: NgramConfig | None) -> dict[str, float]:
    """Refuse missing, foreign, misshapen or non-finite tensors, and such as would overflow; returns their largest magnitudes.

    Raises:
        BundleError: names the tensor and what is wrong.
    """
    expected = weight_shapes(arch, ngrams)
    if set(tensors) != set(expected):
        odd = sorted(set(tensors) ^ set(expected))
        raise BundleError(f"weights.safetensors: missing or foreign tensors: {', '.join(odd[:5])}")
    magnitudes: dict[str, float] = {}
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.shape != shape:
            raise BundleError(f"weights.safetensors: {name} is {tensor.dtype}{list(tensor.shape)}, expected {np.dtype(dtype)}{list(shape)}")
        magnitudes[name] = check_finite("weights.safetensors", name, tensor)
    bounds.largest_vector(arch, magnitudes)
    return magnitudes


def check_finite(file: str, name: str, tensor: Tensor) -> float:
    """Refuse NaN and infinities in float tensors, and scales that are not positive; returns the largest magnitude."""
    if tensor.dtype.kind != "f" or tensor.size == 0:
        return 0.0
    largest = float(np.abs(tensor).max())  # NaN goes through
    if not math.isfinite(largest):
        raise BundleError(f"{file}: {name} holds NaN or infinite values")
    if name.endswith(".scale") and float(tensor.min()) <= 0:
        raise BundleError(f"{file}: {name} holds a scale that is not positive")
    return largest
