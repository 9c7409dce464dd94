"""The recipe of a bundle: what to build, what to measure it on, and what int8 may cost.

TOML; every key is optional::

    name = "edge-demist"
    version = 3
    artefacts = ["qdq", "sentence-transformers", "peft", "onnx-adapter"]

    [texts]                  # one string a line; the built-in ones are used if a file is not named
    calibration = "calibration.txt"
    verification = "verification.txt"

    [gate]
    max_accuracy_drop = 0.3  # percentage points, on any task
    min_cosine = 0.98        # of any verification string

    [compare]
    methods = true           # measure the other quantization methods too
    fallback_layers = 2      # linear layers kept in float32 by the fallback method

    [tasks.dga]              # labelled strings: JSON lines or Parquet with "text" and "label"
    file = "dga-dev.parquet"
    limit = 2000

Unknown keys are errors. Paths are relative to the recipe.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar

from quantize.errors import QuantizeError

ARTEFACTS = ("qdq", "sentence-transformers", "peft", "onnx-adapter")
MAX_RECIPE_BYTES = 1 << 20

_T = TypeVar("_T")


@dataclass(frozen=True)
class Gate:
    """What quantization may cost: points of accuracy on any task, and the least cosine of any string."""

    max_accuracy_drop: float = 0.3
    min_cosine: float = 0.98

    def __post_init__(self) -> None:
        """Refuse limits that make no sense."""
        if not 0 <= self.max_accuracy_drop <= 100 or not -1 <= self.min_cosine <= 1:
            raise QuantizeError(f"recipe: gate limits out of range: {self}")


@dataclass(frozen=True)
class Texts:
    """Files with one string a line; None for the built-in ones."""

    calibration: Path | None = None
    verification: Path | None = None


@dataclass(frozen=True)
class Compare:
    """Whether to measure the other methods, and how many linear layers the fallback method keeps in float32."""

    methods: bool = False
    fallback_layers: int = 2


@dataclass(frozen=True)
class LabelledTexts:
    """A task's labelled strings: JSON lines or Parquet with columns ``text`` and ``label``."""

    file: Path
    limit: int = 2000


@dataclass(frozen=True)
class Recipe:
    """All settings of a build."""

    name: str = "edge-demist"
    version: int = 1
    artefacts: tuple[str, ...] = ()
    texts: Texts = field(default_factory=Texts)
    gate: Gate = field(default_factory=Gate)
    compare: Compare = field(default_factory=Compare)
    tasks: Mapping[str, LabelledTexts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse unknown artefacts and versions below 1."""
        unknown = sorted(set(self.artefacts) - set(ARTEFACTS))
        if unknown:
            raise QuantizeError(f"recipe: unknown artefacts {', '.join(unknown)}; known: {', '.join(ARTEFACTS)}")
        if type(self.version) is not int or self.version < 1:
            raise QuantizeError(f"recipe: version must be a whole number from 1, not {self.version!r}")


def read_recipe(path: Path | None) -> Recipe:
    """Read a recipe; None gives the defaults. QuantizeError names what is wrong."""
    if path is None:
        return Recipe()
    try:
        if path.stat().st_size > MAX_RECIPE_BYTES:
            raise QuantizeError(f"{path}: larger than {MAX_RECIPE_BYTES} bytes")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuantizeError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise QuantizeError(f"{path}: not valid TOML ({error})") from error
    base = path.parent
    values: dict[str, object] = dict(content)
    values["artefacts"] = tuple(_of(content, "artefacts", list, []))
    texts = {key: base / str(value) for key, value in _of(content, "texts", dict, {}).items()}
    values["texts"] = _make(Texts, texts, "texts")
    values["gate"] = _make(Gate, _of(content, "gate", dict, {}), "gate")
    values["compare"] = _make(Compare, _of(content, "compare", dict, {}), "compare")
    tasks = {}
    for task, entry in _of(content, "tasks", dict, {}).items():
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            raise QuantizeError(f"{path}: tasks.{task} needs a file")
        tasks[task] = _make(LabelledTexts, {**entry, "file": base / entry["file"]}, f"tasks.{task}")
    values["tasks"] = tasks
    return _make(Recipe, values, str(path))


def _of(content: Mapping[str, object], key: str, kind: type[_T], default: _T) -> _T:
    value = content.get(key, default)
    if not isinstance(value, kind):
        raise QuantizeError(f"recipe: {key} must be a {kind.__name__}")
    return value


def _make(kind: type[_T], values: Mapping[str, object], where: str) -> _T:
    unknown = sorted(set(values) - {one.name for one in fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise QuantizeError(f"recipe: unknown keys in {where}: {', '.join(unknown)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise QuantizeError(f"recipe: {where}: {error}") from error
