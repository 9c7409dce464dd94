"""What the project aims at, computed from result files: each target is a ratio of medians of one interleaved run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Mapping[str, Any]]

NUMPY_MS = 57
"""What an interpreter that imports numpy alone took on the machine for which the bounds of a start were set, in milliseconds."""


@dataclass(frozen=True)
class Target:
    """One line of the table of targets.

    Attributes:
        what: what is compared.
        floor, aim: bounds of ``measured``.
        measured: None if it was not measured.
        source: result file and path in it.
        smaller: smaller is better.
        unit: shown after figures.
    """

    what: str
    floor: float
    aim: float
    measured: float | None
    source: str
    smaller: bool = False
    unit: str = "×"

    def _text(self, value: float) -> str:
        digits = 0 if self.unit.strip() in ("ms", "MB") else 2
        return f"{value:.{digits}f}{self.unit}"

    @property
    def floor_text(self) -> str:
        """The floor with its sign and unit."""
        return ("≤ " if self.smaller else "") + self._text(self.floor)

    @property
    def aim_text(self) -> str:
        """The aim with its sign and unit."""
        return ("≤ " if self.smaller else "") + self._text(self.aim)

    @property
    def measured_text(self) -> str:
        """The measured figure."""
        return "–" if self.measured is None else self._text(self.measured)

    @property
    def verdict(self) -> str:
        """``aim``, ``floor``, ``below`` or ``not measured``."""
        if self.measured is None:
            return "not measured"
        reached = [self.measured <= bound if self.smaller else self.measured >= bound for bound in (self.floor, self.aim)]
        return "aim" if reached[1] else "floor" if reached[0] else "**below the floor**"


def ratio(case: Mapping[str, Any], ours: str, theirs: str) -> float | None:
    """Median over the rounds of theirs / ours; None if one is missing."""
    if ours not in case or theirs not in case:
        return None
    pairs = zip(case[ours]["slices_us_per_string"], case[theirs]["slices_us_per_string"], strict=True)
    return statistics.median(b / a for a, b in pairs)


def _smallest(case: Mapping[str, Any], ours: str, names: tuple[str, ...]) -> float | None:
    found = [value for name in names if (value := ratio(case, ours, name)) is not None]
    return min(found, default=None)


def _ids_targets(name: str, result: Mapping[str, Any]) -> list[Target]:
    cases, model = result.get("ids", {}), result["model"]["name"]
    source = f"speed-{name}.json"
    one, many = cases.get("batch-1", {}), cases.get("batch-32", {})

    def target(what: str, floor: float, aim: float, measured: float | None, case: str) -> Target:
        return Target(f"{model}: {what}", floor, aim, measured, f"{source}, ids, {case}")

    return [
        target("batch 1 against CTranslate2 int8", 1.5, 2.0, ratio(one, "native", "ctranslate2"), "batch-1"),
        target("batch 1 against stock ONNX Runtime int8", 1.8, 2.5, ratio(one, "native", "ort-stock"), "batch-1"),
        target("batch 32 against CTranslate2 int8", 1.7, 2.5, ratio(many, "native", "ctranslate2"), "batch-32"),
        target("batch 32 against stock ONNX Runtime int8", 2.3, 3.5, ratio(many, "native", "ort-stock"), "batch-32"),
        target("AVX2, batch 1, against CTranslate2 held to AVX2", 1.1, 1.4, ratio(one, "native-avx2", "ctranslate2-avx2"), "batch-1"),
        target("AVX2, batch 32, against CTranslate2 held to AVX2", 1.0, 1.3, ratio(many, "native-avx2", "ctranslate2-avx2"), "batch-32"),
        target(
            "AVX-512 VNNI, batch 32, against ONNX Runtime's best graph",
            1.2,
            1.6,
            _smallest(many, "native-avx512vnni", ("ort-best", "engine-onnxruntime")),
            "batch-32",
        ),
    ]


def _user_targets(name: str, result: Mapping[str, Any]) -> list[Target]:
    source = f"speed-{name}.json"
    text, tokens, start = result.get("text", {}), result.get("tokenize", {}).get("hostnames", {}), result.get("start", {}).get("native")
    found = [
        Target(
            f"text to label against sentence-transformers MiniLM + linear head, batch {size}",
            8,
            20,
            ratio(text.get(f"batch-{size}", {}), "classify", "sentence-transformers"),
            f"{source}, text, batch-{size}",
        )
        for size in (1, 32)
    ]
    if tokens.get("rows") and not tokens["strings_with_other_ids"]:
        best = _smallest(tokens["rows"], "edge-demist", ("sentencepiece", "sentencepiece, one thread"))
        found.append(Target("tokenizer batch against SentencePiece, same ids", 2.5, 4, best, f"{source}, tokenize"))
    mixed = result.get("mixed", {}).get("engine", {})
    for key, part in mixed.items():
        if isinstance(part, Mapping):
            what = f"batch for 8 specialists against one, {key.replace('-', ' ')}"
            found.append(Target(what, 1.15, 1.05, ratio(part, "one", "mixed"), f"{source}, mixed, {key}", smaller=True))
    if start:
        key, note = ("median_cpu_seconds", ", processor time") if result.get("clock") == "cpu" else ("median_seconds", "")
        found.append(
            Target(f"process start to first vector{note}", 100, 70, start[key] * 1e3, f"{source}, start", smaller=True, unit=" ms")
        )
        bare = "numpy_" + key
        if bare in start:
            what = f"the same beyond an interpreter that imports numpy alone{note}"
            beyond = (start[key] - start[bare]) * 1e3
            found.append(Target(what, 100 - NUMPY_MS, 70 - NUMPY_MS, beyond, f"{source}, start", smaller=True, unit=" ms"))
        found.append(
            Target("memory after the first vector", 60, 45, start["rss_bytes"] / 1e6, f"{source}, start", smaller=True, unit=" MB")
        )
    return found


def _arm_targets(name: str, result: Mapping[str, Any]) -> list[Target]:
    bounds = {"pi4": (0.9, 0.75), "pi5": (0.6, 0.45)}
    found = []
    for key, (floor, aim) in bounds.items():
        rows = result["boards"][key]["rows"]
        others = [row["instructions"] for title, row in rows.items() if title != "native"]
        measured = rows["native"]["instructions"] / min(others) if others else None
        what = f"{result.get('title', name)}: instructions a host name / ONNX Runtime's best int8 graph, {result['boards'][key]['title']}"
        found.append(Target(what, floor, aim, measured, f"arm-{name}.json, {key}", smaller=True))
    return found


def targets(speed: Results, arm: Results) -> list[Target]:
    """All targets, in the order of the table."""
    found: list[Target] = []
    made: tuple[tuple[Results, Callable[[str, Mapping[str, Any]], list[Target]]], ...] = (
        (speed, _ids_targets),
        (speed, _user_targets),
        (arm, _arm_targets),
    )
    for results, make in made:
        for name, result in results.items():
            if make is _user_targets and not result["model"]["tasks"]:
                continue
            found += make(name, result)
    return found
