"""The kernels' sources: what they compile to, and the JIT engine over the same sources.

Compiling takes half a minute, so all of this is marked slow.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_demist.engines import jit
from edge_demist.engines.native import NativeEngine
from edge_demist.native import abi
from edge_demist.native import library as native
from tests.support.bundles import random_bundle, random_rows

ROOT = Path(__file__).resolve().parents[2]
SO_NAMES = [f"lib{level}.so" for levels in native.LEVELS.values() for level in levels]


def test_the_record_describes_the_libraries():
    record = json.loads((Path(native.FOLDER) / "BUILD.json").read_text())
    assert sorted(record["libraries"]) == sorted(SO_NAMES)
    for name, entry in record["libraries"].items():
        data = (Path(native.FOLDER) / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        assert len(data) < 130_000
        assert data[:4] == b"\x7fELF"


def test_the_default_install_needs_numpy_alone():
    program = (
        "import sys; import edge_demist.text.tokenizer, edge_demist.text.ngrams, edge_demist.engines.native, edge_demist.engines;"
        "print(*sorted({m.partition('.')[0] for m in sys.modules} & {'numba', 'llvmlite', 'onnxruntime', 'torch'}))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


@pytest.fixture(scope="module")
def compiler():
    pytest.importorskip("numba")
    from edge_demist.kernels import compiler

    return compiler


@pytest.fixture(scope="module")
def front(compiler):
    return compiler.front_end()


@pytest.mark.slow
def test_rebuilding_gives_the_committed_bytes():
    pytest.importorskip("numba")
    import importlib.metadata

    record = json.loads((Path(native.FOLDER) / "BUILD.json").read_text())
    if any(importlib.metadata.version(name) != record[name] for name in ("numba", "llvmlite")):
        pytest.skip("other compiler versions than the recorded ones")
    tool = [sys.executable, str(ROOT / "tools" / "kernels" / "build.py"), "--check"]
    result = subprocess.run(tool, capture_output=True, text=True, check=False)
    if "ld.lld is missing" in result.stderr:
        pytest.skip("no linker")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_no_fast_math_in_the_ir(front):
    for source in front:
        assert re.search(r"= f(add|sub|mul|div) (fast|contract|reassoc|nnan|ninf|nsz|arcp|afn)", source) is None
        assert "@llvm.fma" not in source
        assert "@llvm.fmuladd" not in source


@pytest.mark.slow
def test_the_expected_instructions_are_used(compiler, front):
    instructions = {
        "x86_64_avx2": "vpmaddubsw", "x86_64_avxvnni": "vpdpbusd", "x86_64_avx512vnni": "vpdpbusd", "x86_64_amx": "tdpbusd",
        "aarch64_neon": "sadalp", "aarch64_neondot": "sdot",
    }  # fmt: skip
    for level, instruction in instructions.items():
        target = compiler.TARGETS[level]
        machine = compiler.target_machine(target)
        text = machine.emit_assembly(compiler.optimise(front, target, machine))
        assert re.search(rf"\b{instruction}\b", text), level
        assert not re.search(r"\bv?fn?m(add|sub|la|ls)\d*[ps]s\b|\bfmadd\b|\bfmla\b", text), level


@pytest.mark.slow
def test_a_changed_order_of_operations_is_noticed(compiler, front):
    """The check that all levels agree is worth something only if it can fail."""
    level = native.available_levels()[0]
    target = compiler.TARGETS[level]
    bundle = random_bundle(2)
    ids, offsets = random_rows(2, 300, 512, 12)
    expected = NativeEngine(bundle).encode(ids, offsets)

    def vectors(sources):
        from dataclasses import replace

        host = replace(target, triple=compiler.llvm.get_process_triple())
        machine = compiler.target_machine(host)
        owner, addresses = compiler.load_object(machine.emit_object(compiler.optimise(sources, host, machine)))
        functions = native.declare(lambda name: jit.function(addresses[name], abi.EXPORTS[name.removeprefix(abi.PREFIX)]))
        return NativeEngine(bundle, kernels=native.Kernels(level, owner, functions)).encode(ids, offsets), owner

    same, _ = vectors(front)
    assert (same == expected).all()
    contracted, _ = vectors([re.sub(r"= f(add|sub|mul) ", r"= f\1 contract ", source) for source in front])
    assert (contracted != expected).any()
    assert np.abs(contracted - expected).max() < 0.05


@pytest.mark.slow
def test_one_flipped_operation_fails_the_bit_check(tmp_path):
    """One epilogue multiplies left to right, (C * s_a) * s_w, instead of C * (s_a * s_w): ``doctor`` must see it."""
    pytest.importorskip("numba")
    program = f"""
import sys, types; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
path = Path({str(ROOT / "edge_demist" / "kernels" / "linear.py")!r})
written, flipped = "* (scale * load(ws", "* scale * (load(ws"
source = path.read_text()
assert source.count(written) == 4
linear = types.ModuleType("edge_demist.kernels.linear")
linear.__file__ = str(path)
sys.modules[linear.__name__] = linear
exec(compile(source.replace(written, flipped), str(path), "exec"), linear.__dict__)
from edge_demist.doctor import bits
from edge_demist.engines import jit
(check,) = bits.check_levels(None, [{native.available_levels()[0]!r}], jit.kernels)
print(check.state, check.text)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "EDGE_DEMIST_CACHE": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("fail "), result.stdout
    assert "values differ" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("level", [None, "generic"])
def test_jit_engine_has_the_same_bits(level, tmp_path):
    pytest.importorskip("numba")
    program = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from bundles import random_bundle, random_rows
from edge_demist.engines import create, jit
from edge_demist.engines.native import NativeEngine
bundle = random_bundle(2)
rows = random_rows(2, 100, 512, 20)
level = {level!r}
engine = create(bundle, "jit") if level is None else NativeEngine(bundle, kernels=jit.kernels(level))
assert (engine.encode(*rows) == create(bundle, "native").encode(*rows)).all()
print(engine.name, engine.level)
"""
    cache = tmp_path / "cache"
    outputs = []
    for _ in range(2):  # the second run reads the cache
        result = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "EDGE_DEMIST_CACHE": str(cache)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        outputs.append(result.stdout)
    assert outputs[0] == outputs[1]
    entries = list(cache.iterdir())
    assert len(entries) == 1


def test_jit_cache_that_cannot_be_used(monkeypatch, tmp_path):
    pytest.importorskip("numba")
    from edge_demist.engines import jit

    calls = []

    def make():
        calls.append(1)
        return b"code"

    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("EDGE_DEMIST_CACHE", str(blocked / "cache"))
    assert jit._cached("x.o", make) == b"code"
    assert jit._cached("x.o", make) == b"code"
    assert len(calls) == 2
    monkeypatch.setenv("EDGE_DEMIST_CACHE", str(tmp_path / "cache"))
    assert jit._cached("x.o", make) == jit._cached("x.o", make) == b"code"
    assert len(calls) == 3
    (tmp_path / "cache" / "x.o").write_bytes(b"damaged")
    assert jit._cached("x.o", make) == b"code"
    assert len(calls) == 4
