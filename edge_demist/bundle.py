"""A bundle on disk: manifest, hashes, mapped tensors. Knows nothing of engines or of what the tensors compute.

Every file is checked against the manifest's size and SHA-256 before anything in it is parsed; one that was hashed before and has
not changed since (:mod:`edge_demist.cache`) is taken as read. No ``pathlib`` or ``hashlib`` at import: a sensor starts in
milliseconds.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import cache, safetensors
from .errors import BundleError, IntegrityError
from .safetensors import Tensor

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
MAX_MANIFEST_BYTES = 1_000_000
MAX_FILE_BYTES = 2_000_000_000
MAX_FILES = 256
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_HEXADECIMAL = frozenset("0123456789abcdef")

BUNDLE_VARIABLE = "EDGE_DEMIST_BUNDLE"
"""Environment variable that names another default bundle."""


def default_folder() -> str:
    """Folder of the bundle in the package, or the one that ``EDGE_DEMIST_BUNDLE`` names."""
    return os.environ.get(BUNDLE_VARIABLE) or os.path.join(os.path.dirname(__file__), "bundle")


def default_path() -> Path:
    """:func:`default_folder` as a path."""
    from pathlib import Path

    return Path(default_folder())


def _bounded(name: str, value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise BundleError(f"manifest: {name} must be a whole number from {low} to {high}, not {value!r}")
    return value


class Architecture(NamedTuple):
    """Shape of the encoder."""

    num_layers: int
    hidden_size: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    layer_norm_eps: float = 1e-12
    type: str = "bert"
    activation: str = "gelu"
    pooling: str = "mean"

    def check(self) -> None:
        """Bound every size."""
        for name, low, high in (
            ("num_layers", 1, 48),
            ("hidden_size", 64, 4096),
            ("num_heads", 1, 64),
            ("intermediate_size", 64, 16384),
            ("vocab_size", 16, 1_000_000),
            ("max_positions", 8, 8192),
        ):
            _bounded(f"architecture.{name}", getattr(self, name), low, high)
        if self.hidden_size % 64 or self.intermediate_size % 64 or self.hidden_size % (16 * self.num_heads):
            raise BundleError("manifest: hidden and intermediate size must be multiples of 64, the head size of 16")
        if not isinstance(self.layer_norm_eps, float) or not 0 < self.layer_norm_eps < 0.1:
            raise BundleError(f"manifest: architecture.layer_norm_eps {self.layer_norm_eps!r} is out of range")
        if (self.type, self.activation, self.pooling) != ("bert", "gelu", "mean"):
            raise BundleError(f"manifest: unsupported architecture {self.type}/{self.activation}/{self.pooling}")


class TokenizerConfig(NamedTuple):
    """Kind of tokenizer and its special ids."""

    type: str
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    pad_id: int
    unk_id: int
    byte_ids_start: int
    sentencepiece_sha256: str = ""
    lowercase: bool = False

    def check(self) -> None:
        """Check kinds and bounds."""
        if self.type not in ("unigram", "wordpiece"):
            raise BundleError(f"manifest: unknown tokenizer type {self.type!r}")
        for name in ("pad_id", "unk_id", "byte_ids_start"):
            _bounded(f"tokenizer.{name}", getattr(self, name), -1 if name == "byte_ids_start" else 0, 1_000_000)
        for token in (*self.prefix_ids, *self.suffix_ids):
            _bounded("tokenizer special id", token, 0, 1_000_000)
        if len(self.prefix_ids) > 4 or len(self.suffix_ids) > 4:
            raise BundleError("manifest: at most 4 prefix and 4 suffix ids")


class NgramConfig(NamedTuple):
    """Shape of the hashed n-gram table."""

    buckets: int
    dim: int
    min_n: int
    max_n: int
    max_bytes: int

    def check(self) -> None:
        """Check bounds; buckets must be a power of two, dim a multiple of 16."""
        _bounded("ngrams.buckets", self.buckets, 64, 1 << 24)
        _bounded("ngrams.dim", self.dim, 16, 1024)
        _bounded("ngrams.min_n", self.min_n, 1, 8)
        _bounded("ngrams.max_n", self.max_n, self.min_n, 8)
        _bounded("ngrams.max_bytes", self.max_bytes, 1, 65536)
        if self.buckets & (self.buckets - 1) or self.dim % 16:
            raise BundleError("manifest: ngrams.buckets must be a power of two and ngrams.dim a multiple of 16")


class Limits(NamedTuple):
    """Bounds on one text."""

    max_bytes: int
    max_tokens: int

    def check(self) -> None:
        """Check bounds."""
        _bounded("limits.max_bytes", self.max_bytes, 16, 1 << 20)
        _bounded("limits.max_tokens", self.max_tokens, 8, 8192)


class FileEntry(NamedTuple):
    """Size and hash of one file."""

    sha256: str
    bytes: int

    def check(self) -> None:
        """Check form."""
        if not isinstance(self.sha256, str) or len(self.sha256) != 64 or not _HEXADECIMAL.issuperset(self.sha256):
            raise BundleError("manifest: sha256 must be 64 hexadecimal digits")
        _bounded("files.bytes", self.bytes, 0, MAX_FILE_BYTES)


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
        files = _files(manifest)
        verify_files(folder, files, hash_all=hash_all)
        for needed in ("weights.safetensors", "tokenizer.safetensors"):
            if needed not in files:
                raise BundleError(f"manifest: {needed} is not listed")
        architecture = _section(manifest, "architecture", Architecture)
        tokenizer = _section(manifest, "tokenizer", TokenizerConfig)
        ngrams = _section(manifest, "ngrams", NgramConfig) if manifest.get("ngrams") is not None else None
        limits = _section(manifest, "limits", Limits)
        if limits.max_tokens > architecture.max_positions:
            raise BundleError("manifest: limits.max_tokens exceeds architecture.max_positions")
        _, tensors = safetensors.read(os.path.join(folder, "weights.safetensors"))
        check_weights(tensors, architecture, ngrams)
        metadata, tables = safetensors.read(os.path.join(folder, "tokenizer.safetensors"))
        return cls(
            folder=folder,
            manifest_bytes=raw,
            name=str(manifest.get("name", ""))[:200],
            version=_bounded("version", manifest.get("version"), 0, 1 << 31),
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


def read_manifest(folder: Path | str) -> tuple[bytes, dict[str, Any]]:
    """Read ``manifest.json``: its bytes and its parsed form (at most 1,000,000 bytes)."""
    try:
        with open(os.path.join(folder, "manifest.json"), "rb") as stream:
            raw = stream.read(MAX_MANIFEST_BYTES + 1)
        if len(raw) > MAX_MANIFEST_BYTES:
            raise BundleError(f"manifest.json is larger than {MAX_MANIFEST_BYTES} bytes")
    except OSError as error:
        raise BundleError(f"no readable bundle at {folder}: manifest.json: {error.strerror}") from None
    try:
        manifest = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"manifest.json is not valid JSON ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise BundleError(f"manifest.json: format {found!r} is not supported (this version reads format {FORMAT})")
    return raw, manifest


def _files(manifest: dict[str, Any]) -> dict[str, FileEntry]:
    """Parse the list of files; names may not leave the folder."""
    section = manifest.get("files")
    if not isinstance(section, dict) or len(section) > MAX_FILES:
        raise BundleError(f"manifest: files must be an object of at most {MAX_FILES} entries")
    files = {}
    for name, entry in section.items():
        if not _allowed(name):
            raise BundleError(f"manifest: file name {name[:120]!r} is not allowed")
        if not isinstance(entry, dict) or set(entry) != {"sha256", "bytes"}:
            raise BundleError(f"manifest: entry of {name!r} must have exactly sha256 and bytes")
        files[name] = FileEntry(**entry)
        files[name].check()
    return files


def _allowed(name: str) -> bool:
    """Whether a file name stays in the folder or one below it: letters, digits, ``_``, ``.`` and ``-``, at most one slash."""
    parts = name.split("/")
    return (
        len(parts) <= 2
        and ".." not in name
        and all(0 < len(part) <= 100 and part[0] in _LETTERS and all(c in _LETTERS or c in "_.-" for c in part) for part in parts)
    )


def verify_files(folder: str, files: Mapping[str, FileEntry], *, hash_all: bool) -> None:
    """Check every file; unless ``hash_all``, those that :mod:`edge_demist.cache` knows are not hashed again."""
    known = {} if hash_all else cache.read_verified(folder)
    found: dict[str, str] = {}
    for name, entry in files.items():
        info = _inside(folder, name, entry)
        note = f"{cache.mark(info)} {entry.sha256}"
        if known.get(name) != note:
            settled = cache.settled(info)
            _compare_hash(folder, name, entry)
            if not settled or cache.mark(_inside(folder, name, entry)) != cache.mark(info):
                continue
        found[name] = note
    if found.items() - known.items():
        cache.write_verified(folder, found)


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


def _section(manifest: dict[str, Any], name: str, kind: Any) -> Any:
    """Build a named tuple from a manifest section and check it; unknown keys are refused."""
    section = manifest.get(name)
    if not isinstance(section, dict):
        raise BundleError(f"manifest: {name} must be an object")
    if unknown := set(section) - set(kind._fields):
        raise BundleError(f"manifest: {name} has unknown keys {sorted(unknown)}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}
    try:
        made = kind(**values)
    except TypeError as error:
        raise BundleError(f"manifest: {name}: {error}") from None
    made.check()
    return made


def weight_shapes(arch: Architecture, ngrams: NgramConfig | None) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Expected dtype and shape of every tensor of ``weights.safetensors`` (see docs/architecture.md)."""
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
