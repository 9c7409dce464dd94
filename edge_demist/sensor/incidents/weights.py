"""The weights that turn signs into log odds: a small versioned file, fitted by ``python -m tools.sensor.fit_incidents``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_demist.errors import BundleError
from edge_demist.io import read_bounded

FORMAT = 1
KINDS = ("dga", "tunnel", "scan", "contact")
DEFAULT = Path(__file__).with_name("weights.json")
MAX_BYTES = 1 << 16
MAX_WEIGHT = 50.0


@dataclass(frozen=True, slots=True)
class Weights:
    """``signs`` by kind of case, each with a ``bias``; an incident opens at ``open`` and further cases join from ``join`` on."""

    version: str
    signs: Mapping[str, Mapping[str, float]]
    open: float
    join: float

    def __post_init__(self) -> None:
        """Check what later code relies on."""
        if set(self.signs) != set(KINDS) or any("bias" not in table for table in self.signs.values()):
            raise BundleError(f"incident weights: expected the kinds {', '.join(KINDS)}, each with a bias")
        numbers = [value for table in self.signs.values() for value in table.values()] + [self.open, self.join]
        if not all(abs(number) <= MAX_WEIGHT for number in numbers) or self.join > self.open:
            raise BundleError(f"incident weights: numbers must lie within ±{MAX_WEIGHT:g}, join not above open")


def load_weights(path: Path | None = None) -> Weights:
    """Read a file of weights; None for the one in the package.

    Raises:
        BundleError: it is no such file.
    """
    path = path or DEFAULT
    try:
        return parse_weights(read_bounded(path, MAX_BYTES) or b"", str(path))
    except OSError as error:
        raise BundleError(f"incident weights {path}: {error}") from error


def parse_weights(raw: bytes, name: str) -> Weights:
    """The weights of a file's bytes.

    Raises:
        BundleError: they are none.
    """
    try:
        data = json.loads(raw)
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}, not {FORMAT}")
        signs = {str(k): {str(s): float(v) for s, v in table.items()} for k, table in data["signs"].items()}
        return Weights(str(data["version"]), signs, float(data["open"]), float(data["join"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise BundleError(f"incident weights {name}: {error}") from error
