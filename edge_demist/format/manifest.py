"""``manifest.json`` of a bundle: its sections, their bounds, and the names of files that it may list."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_demist.errors import BundleError
from edge_demist.io import brief, read_bounded

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
MAX_MANIFEST_BYTES = 1_000_000
MAX_FILE_BYTES = 2_000_000_000
MAX_FILES = 256
MAX_SPECIAL_IDS = 4
"""Prefix and suffix ids of a tokenizer, each."""
MIN_NORM_EPS = 1e-20
"""A smaller one is nothing in float32, and a vector of equal numbers would be divided by zero."""
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_HEXADECIMAL = frozenset("0123456789abcdef")


def bounded(name: str, value: object, low: int, high: int) -> int:
    """Return ``value`` if it is a whole number from ``low`` to ``high``; BundleError if not."""
    if type(value) is not int or not low <= value <= high:
        raise BundleError(f"manifest: {name} must be a whole number from {low} to {high}, not {brief(value)}")
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
            bounded(f"architecture.{name}", getattr(self, name), low, high)
        if self.hidden_size % 64 or self.intermediate_size % 64 or self.hidden_size % (16 * self.num_heads):
            raise BundleError("manifest: hidden and intermediate size must be multiples of 64, the head size of 16")
        if not isinstance(self.layer_norm_eps, float) or not MIN_NORM_EPS <= self.layer_norm_eps < 0.1:
            raise BundleError(f"manifest: architecture.layer_norm_eps {brief(self.layer_norm_eps)} is out of range")
        if (self.type, self.activation, self.pooling) != ("bert", "gelu", "mean"):
            raise BundleError(f"manifest: unsupported architecture {brief((self.type, self.activation, self.pooling))}")


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
            raise BundleError(f"manifest: unknown tokenizer type {brief(self.type)}")
        for name in ("pad_id", "unk_id", "byte_ids_start"):
            bounded(f"tokenizer.{name}", getattr(self, name), -1 if name == "byte_ids_start" else 0, 1_000_000)
        for name in ("prefix_ids", "suffix_ids"):
            ids = getattr(self, name)
            if type(ids) is not tuple or len(ids) > MAX_SPECIAL_IDS:
                raise BundleError(f"manifest: tokenizer.{name} must be a list of at most {MAX_SPECIAL_IDS} ids")
            for token in ids:
                bounded(f"tokenizer.{name}", token, 0, 1_000_000)
        if type(self.sentencepiece_sha256) is not str or type(self.lowercase) is not bool:
            raise BundleError("manifest: tokenizer.sentencepiece_sha256 must be a string, tokenizer.lowercase true or false")

    @property
    def special_count(self) -> int:
        """Ids that stand around every row."""
        return len(self.prefix_ids) + len(self.suffix_ids)


class NgramConfig(NamedTuple):
    """Shape of the hashed n-gram table."""

    buckets: int
    dim: int
    min_n: int
    max_n: int
    max_bytes: int

    def check(self) -> None:
        """Check bounds; buckets must be a power of two, dim a multiple of 16."""
        bounded("ngrams.buckets", self.buckets, 64, 1 << 24)
        bounded("ngrams.dim", self.dim, 16, 1024)
        bounded("ngrams.min_n", self.min_n, 1, 8)
        bounded("ngrams.max_n", self.max_n, self.min_n, 8)
        bounded("ngrams.max_bytes", self.max_bytes, 1, 65536)
        if self.buckets & (self.buckets - 1) or self.dim % 16:
            raise BundleError("manifest: ngrams.buckets must be a power of two and ngrams.dim a multiple of 16")


class Limits(NamedTuple):
    """Bounds on one text."""

    max_bytes: int
    max_tokens: int

    def check(self) -> None:
        """Check bounds."""
        bounded("limits.max_bytes", self.max_bytes, 16, 1 << 20)
        bounded("limits.max_tokens", self.max_tokens, 8, 8192)


class FileEntry(NamedTuple):
    """Size and hash of one file."""

    sha256: str
    bytes: int

    def check(self) -> None:
        """Check form."""
        if not isinstance(self.sha256, str) or len(self.sha256) != 64 or not _HEXADECIMAL.issuperset(self.sha256):
            raise BundleError("manifest: sha256 must be 64 hexadecimal digits")
        bounded("files.bytes", self.bytes, 0, MAX_FILE_BYTES)


def check_special_ids(tokenizer: TokenizerConfig, limits: Limits, vocab_size: int) -> None:
    """Refuse special ids outside the vocabulary, and limits that leave no room for one token beside them.

    Raises:
        BundleError: names the id or the limit.
    """
    for token in (tokenizer.pad_id, tokenizer.unk_id, *tokenizer.prefix_ids, *tokenizer.suffix_ids):
        if token >= vocab_size:
            raise BundleError(f"manifest: tokenizer: special id {token} is outside the vocabulary of {vocab_size}")
    if limits.max_tokens <= tokenizer.special_count:
        raise BundleError(f"manifest: limits.max_tokens {limits.max_tokens} leaves no token beside {tokenizer.special_count} special ids")


def read_manifest(folder: Path | str) -> tuple[bytes, dict[str, Any]]:
    """Read ``manifest.json``: its bytes and its parsed form (at most 1,000,000 bytes)."""
    try:
        raw = read_bounded(os.path.join(folder, "manifest.json"), MAX_MANIFEST_BYTES)
    except OSError as error:
        raise BundleError(f"no readable bundle at {folder}: manifest.json: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise BundleError(f"no readable bundle at {str(folder)!r}: {error}") from None
    if raw is None:
        raise BundleError(f"manifest.json is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        manifest = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"manifest.json is not valid JSON ({error})") from None
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int or manifest["format"] != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise BundleError(f"manifest.json: format {brief(found)} is not supported (this version reads format {FORMAT})")
    return raw, manifest


def file_entries(manifest: dict[str, Any]) -> dict[str, FileEntry]:
    """Parse the list of files; names may not leave the folder."""
    found = manifest.get("files")
    if not isinstance(found, dict) or len(found) > MAX_FILES:
        raise BundleError(f"manifest: files must be an object of at most {MAX_FILES} entries")
    files = {}
    for name, entry in found.items():
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


def bundle_name(manifest: dict[str, Any]) -> str:
    """The bundle's name, at most 200 characters; BundleError if it is no text."""
    name = manifest.get("name", "")
    if not isinstance(name, str):
        raise BundleError(f"manifest: name must be a string, not {brief(name)}")
    return name[:200]


def section(manifest: dict[str, Any], name: str, kind: Any) -> Any:
    """Build a named tuple from a manifest section and check it; unknown keys are refused."""
    found = manifest.get(name)
    if not isinstance(found, dict):
        raise BundleError(f"manifest: {name} must be an object")
    if unknown := set(found) - set(kind._fields):
        raise BundleError(f"manifest: {name} has unknown keys {str(sorted(unknown))[:200]}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    try:
        made = kind(**values)
        made.check()
    except (TypeError, ValueError) as error:
        raise BundleError(f"manifest: {name}: {str(error)[:200]}") from None
    return made
