"""Every finding of an attack has its tests, and they are there."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

TESTS = Path(__file__).parents[1]
FINDINGS = tomllib.loads((Path(__file__).with_name("findings.toml")).read_text(encoding="utf-8"))["finding"]


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}


def test_every_finding_has_tests_that_are_there():
    assert [entry["number"] for entry in FINDINGS] == list(range(1, len(FINDINGS) + 1))
    named = {test for entry in FINDINGS for test in entry["tests"]}
    there = {f"{file}::{name}" for file in {test.partition("::")[0] for test in named} for name in functions(TESTS / file)}
    assert all(entry["tests"] for entry in FINDINGS) and named <= there, sorted(named - there)
