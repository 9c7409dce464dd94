"""The house: data flows one way, no circle, nothing imports upward; files and functions stay small."""

from __future__ import annotations

import ast
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "edge_demist"
# from the bottom up: a module may import from its own entry and from those before it
LEVELS = (
    "errors", "decoding", "wrappers", "io", "hostnames", "addresses", "normalizers", "native", "kernels", "format", "text", "predictions",
    "explore.quantize", "explore.search", "explore.passport", "explore.places", "engines", "inference", "judging",
    "model", "anonymize",
    "sensor.storage", "sensor.toml_files", "sensor.caching", "sensor.restoring",
    "sensor.understanding", "sensor.counters", "sensor.public_suffix", "sensor.sources", "sensor.events", "sensor.database",
    "sensor.memory",
    "sensor.neighbours",
    "sensor.drift_sample", "sensor.drift", "sensor.detect",
    "sensor.incidents", "sensor.config", "sensor.sinks",
    "sensor", "train", "explore", "integrations", "serve", "diagnostics", "cli", "__init__", "__main__",
)  # fmt: skip
MAX_ROOMS, MAX_FILE_LINES, MAX_FUNCTION_LINES = 20, 400, 60


def modules() -> dict[str, ast.Module]:
    """Every module of the runtime, by its name below ``edge_demist``."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__") if name != "__init__" else name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imports(name: str, tree: ast.Module, *, types: bool) -> set[str]:
    """Modules of the runtime that a module imports, relative imports included; ``types``: also those for annotations alone."""
    only_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or (id(node) in only_types and not types):
            continue
        assert not node.level or name in ("__init__", "__main__") or name.startswith("cli"), f"{name}: relative imports hide the way"
        base = (node.module or "").removeprefix("edge_demist").removeprefix(".")
        if not (node.module or "").startswith("edge_demist"):
            continue
        for alias in node.names:
            whole = f"{base}.{alias.name}".lstrip(".")
            found.add(whole if whole in MODULES else base or "__init__")
    return found - {name}


def level(name: str) -> int:
    """Where a module stands; the longest entry that its name begins with."""
    fitting = [entry for entry in LEVELS if name == entry or name.startswith(f"{entry}.")]
    assert fitting, f"{name}: say in LEVELS where it stands"
    return LEVELS.index(max(fitting, key=len))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_imports_upward(name: str) -> None:
    upward = [other for other in imports(name, MODULES[name], types=True) if other != "__init__" and level(other) > level(name)]
    assert name == "__init__" or upward == [], f"{name} imports from above: {upward}"


def test_no_circle() -> None:
    graph = {name: imports(name, tree, types=False) for name, tree in MODULES.items() if name != "__init__"}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError with the modules of a circle
    assert set(order) >= set(graph)


def test_the_runtime_imports_no_other_package_of_the_repository() -> None:
    for name, tree in MODULES.items():
        found = {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        found |= {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not found & {"quantize", "tools", "benchmarks", "tests"}, name


def test_few_rooms_at_any_level() -> None:
    for folder in [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir() and any(path.glob("*.py")))]:
        rooms = [p for p in folder.iterdir() if p.is_dir() and any(p.rglob("*.py"))]
        assert len(rooms) <= MAX_ROOMS, folder


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE_LINES
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert "kernels" in path.parts or long == []


def test_versions_are_one() -> None:
    from edge_demist import __version__

    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] == __version__
