"""What vectors say of themselves: which encoder, task and normalizer made them, and how their numbers are stored.

Two sets of vectors share a space when encoder, task's adapter and normalizer are the same; only then do cosines between them mean
anything. The bundle's id and version are told as well, but may differ: a specialist added to a bundle moves no general vector.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from edge_demist.errors import InputError
from edge_demist.format.general import FILE as GENERAL

if TYPE_CHECKING:
    from edge_demist.format.bundle import Bundle
    from edge_demist.format.specialist import Specialist

DTYPES = ("float32", "int8", "binary")
KEY = "edge_demist"
"""Key of the passport in a Parquet file's metadata."""

MAX_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Passport:
    """A vector file's description.

    ``space`` is SHA-256 of what makes the vectors; ``scale`` the value of one int8 step (0 for float32 and binary).
    """

    space: str
    bundle: str
    bundle_name: str
    bundle_version: int
    task: str | None
    normalizer: str
    dim: int
    dtype: str
    scale: float

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: names the first one that is wrong.
        """
        checks = {
            "space": isinstance(self.space, str) and len(self.space) == 64,
            "bundle": isinstance(self.bundle, str) and len(self.bundle) == 64,
            "bundle_name": isinstance(self.bundle_name, str) and len(self.bundle_name) <= 200,
            "bundle_version": type(self.bundle_version) is int and self.bundle_version >= 0,
            "task": self.task is None or (isinstance(self.task, str) and len(self.task) <= 100),
            "normalizer": isinstance(self.normalizer, str) and len(self.normalizer) <= 100,
            "dim": type(self.dim) is int and 1 <= self.dim <= 4096,
            "dtype": self.dtype in DTYPES,
            "scale": isinstance(self.scale, (int, float)) and 0 <= self.scale < 1e6 and (self.scale > 0) == (self.dtype == "int8"),
        }
        for name, good in checks.items():
            if not good:
                raise InputError(f"the passport's {name} is wrong: {str(getattr(self, name))[:100]!r}")

    def to_json(self) -> str:
        """One line of JSON, keys sorted."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def view(self) -> str:
        """What a person calls it: the task, or ``general`` with its normalizer."""
        made = f"task {self.task}" if self.task is not None else f"general vector, normalizer {self.normalizer}"
        return f"{made}, {self.bundle_name} version {self.bundle_version}"


def parse_passport(raw: str | bytes, where: str) -> Passport:
    """Read a passport.

    Raises:
        InputError: names the file and what is wrong.
    """
    try:
        found = json.loads(raw) if len(raw) <= MAX_BYTES else None
        if isinstance(found, dict):
            return Passport(**found)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except (ValueError, TypeError, RecursionError):
        pass
    raise InputError(f"{where}: the passport is malformed; embed again with this version: edge-demist embed")


def require_same(a: Passport, b: Passport, name_a: str, name_b: str) -> None:
    """Refuse vectors of two spaces.

    Raises:
        InputError: one line that says which spaces meet and how to embed again.
    """
    if a.space != b.space or a.dim != b.dim:
        again = f"--task {b.task}" if b.task is not None else f"--normalizer {b.normalizer}"
        raise InputError(
            f"{name_a} ({a.view}) and {name_b} ({b.view}) are in different spaces, so they cannot be compared; "
            f"embed the strings of {name_a} again: edge-demist embed {again}"
        )


def encoder_sha256(bundle: Bundle) -> str:
    """SHA-256 of what makes a pooled vector: the encoder's tensors and the tokenizer; the n-gram table is no part of it."""
    import hashlib

    digest = hashlib.sha256(bundle.files["tokenizer.safetensors"].sha256.encode())
    for name in sorted(bundle.tensors):
        if not name.startswith("ngrams."):
            tensor = bundle.tensors[name]
            digest.update(f"\0{name} {tensor.dtype.str} {tensor.shape}\0".encode())
            digest.update(tensor.tobytes())
    return digest.hexdigest()


def general_sha256(bundle: Bundle) -> str:
    """SHA-256 of what makes general vectors: the encoder, and the projection where the bundle has one (which is bound to the n-grams)."""
    import hashlib

    encoder, projection = encoder_sha256(bundle), bundle.files.get(GENERAL)
    return encoder if projection is None else hashlib.sha256(f"{encoder} {projection.sha256}".encode()).hexdigest()


class Encoder(Protocol):
    """What makes vectors: a loaded model."""

    @property
    def bundle(self) -> Bundle:
        """Its bundle."""

    @property
    def dim(self) -> int:
        """Numbers of a vector."""

    def specialist(self, task: str) -> Specialist:
        """The specialist of a task."""


def passport_of(model: Encoder, task: str | None, normalizer: str, dtype: str) -> Passport:
    """The passport of vectors that ``model.encode(…, task=task, normalizer=normalizer)`` gives.

    Raises:
        UnknownTaskError: no such task.
    """
    import hashlib

    from edge_demist.explore.quantize import scale_of

    made = general_sha256(model.bundle) if task is None else encoder_sha256(model.bundle)
    digest, used = hashlib.sha256(made.encode()), normalizer
    if task is not None:
        specialist = model.specialist(task)
        used = specialist.normalizer
        digest.update(f"\0max_tokens {specialist.max_tokens}".encode())
        layers: Any = specialist.adapter.layers if specialist.adapter is not None else {}
        for key in sorted(layers):
            for part in layers[key]:
                digest.update(f"\0{key} {part.dtype.str} {part.shape}\0".encode() + part.tobytes())
    digest.update(f"\0{used}".encode())
    bundle = model.bundle
    scale = scale_of(model.dim) if dtype == "int8" else 0.0
    return Passport(digest.hexdigest(), bundle.id, bundle.name, bundle.version, task, used, model.dim, dtype, scale)
