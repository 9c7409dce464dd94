"""``edge-demist doctor``: the tiny bundle, the committed reference, and every check when something is wrong."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_demist import cli
from edge_demist.cli import doctor
from edge_demist.diagnostics import bit_exactness, checks, reference, tiny_model
from edge_demist.diagnostics.result import Check
from edge_demist.errors import BundleError
from edge_demist.format.bundle import Bundle
from edge_demist.native import library as native
from tests.support.bundles import reference_encode
from tests.support.tiny_bundle import write_tiny_bundle

LEVELS = native.available_levels()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("doctor") / "bundle")


# ---- tiny bundle and reference ----------------------------------------------------------------------------


def test_tiny_bundle_is_the_same_everywhere():
    digest = hashlib.sha256()
    for group in (tiny_model.tensors(), tiny_model.tokenizer_tensors()):
        for name in sorted(group):
            digest.update(name.encode() + group[name].tobytes())
    for adapter in tiny_model.adapters():
        for pair in adapter.layers.values():
            digest.update(pair[0].tobytes() + pair[1].tobytes())
    assert digest.hexdigest() == "6fda01da8b384bb8270fed66f69bf1a501ad6f3dddb0989b3f7aea3cd4cf9f3a"
    assert int(tiny_model.numbers(0, 1)[0]) == 0xE220A8397B1DCDAF  # first output of splitmix64 with seed 0


def test_tiny_bundle_loads_from_disk(folder):
    loaded = Bundle.load(folder)
    made = tiny_model.bundle()
    assert set(loaded.tensors) == set(made.tensors)
    assert all(np.array_equal(loaded.tensors[name], made.tensors[name]) for name in made.tensors)


def test_reference_agrees_with_the_float64_oracle():
    part = reference.read().part("tiny")
    expected = reference_encode(tiny_model.bundle(), part["ids"], part["offsets"])
    cosine = (expected * part["vectors"]).sum(1)
    assert cosine.min() > 0.9999


def test_reference_holds_every_kind_of_string():
    texts = reference.read().texts()
    assert len(texts) >= 60
    assert b"" in texts
    assert any(b"\xff" in text for text in texts)
    assert any(len(text) >= 256 for text in texts)


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_gives_the_committed_bits(level):
    (check,) = bit_exactness.check_levels(None, [level])
    assert check.state == "ok", check.text
    assert check.facts["strings"] == len(reference.read().texts())


# ---- the check notices -----------------------------------------------------------------------------------


class OtherOrder:
    """Kernels whose pooled vectors are summed in another order: numpy's float64 oracle, rounded to float32."""

    def __init__(self, kernels):
        self._kernels = kernels
        for name in ("level", "scratch_bytes", "tokenize", "ngrams", "encode_text", "project"):
            setattr(self, name, getattr(kernels, name))

    def encode(self, model, ids, offsets, rows, adapters, index, normalize, scratch, out):
        import ctypes

        status = self._kernels.encode(model, ids, offsets, rows, adapters, index, normalize, scratch, out)
        ends = np.ctypeslib.as_array((ctypes.c_int32 * (rows + 1)).from_address(offsets))
        tokens = np.ctypeslib.as_array((ctypes.c_int32 * int(ends[-1])).from_address(ids))
        vectors = np.ctypeslib.as_array((ctypes.c_float * (rows * tiny_model.HIDDEN)).from_address(out)).reshape(rows, tiny_model.HIDDEN)
        if not adapters and normalize:
            vectors[:] = reference_encode(tiny_model.bundle(), tokens, ends)
        return status


def test_another_order_of_operations_is_seen():
    (check,) = bit_exactness.check_levels(None, LEVELS[:1], lambda level: OtherOrder(native.load(level)))
    assert check.state == "fail"
    assert "vectors:" in check.text
    assert "values differ" in check.text
    assert "do not use this level" in check.text


def test_one_flipped_bit_is_seen_in_every_part():
    known = reference.read()
    expected = known.part("tiny")
    for name, tensor in expected.items():
        raw = bytearray(tensor.tobytes())
        raw[len(raw) // 2] ^= 1
        changed = np.frombuffer(bytes(raw), tensor.dtype).reshape(tensor.shape)
        (line,) = reference.differences(expected, {**expected, name: changed})
        assert line.startswith(f"{name}: 1 of ")
    shorter = {**expected, "ids": expected["ids"][:-1]}
    assert reference.differences(expected, shorter) == ["ids: of another shape"]
    assert reference.differences(expected, expected) == []


def test_negative_zero_is_a_difference():
    zero = np.zeros(2, np.float32)
    assert reference.differences({"v": zero}, {"v": -zero}) != []


def test_missing_reference_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(bit_exactness.reference, "read", lambda: reference_missing(tmp_path))
    (check,) = bit_exactness.check_levels(None)
    assert check.state == "fail"
    assert "reinstall" in check.text


def reference_missing(tmp_path):
    return reference.Reference(*_broken(tmp_path))


def _broken(tmp_path):
    raise BundleError("reference.safetensors: No such file or directory")


def test_unreadable_reference_is_a_bundle_error(tmp_path):
    with pytest.raises(BundleError, match="reference"):
        reference.read(tmp_path / "reference.safetensors")
    (tmp_path / "reference.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(BundleError):
        reference.read(tmp_path / "reference.safetensors")


def test_other_bundle_has_no_reference(folder):
    checks = bit_exactness.check_levels(Bundle.load(folder), LEVELS[:1])
    assert [check.state for check in checks] == ["ok", "note"]
    assert "not the shipped one" in checks[1].text


def test_level_that_does_not_load_fails():
    (check,) = bit_exactness.check_levels(None, ["x86_64_none"])
    assert check.state == "fail"
    assert "does not run on this machine" in check.text


def test_no_level_is_a_warning():
    (check,) = bit_exactness.check_levels(None, [])
    assert check.state == "warn"


# ---- system ----------------------------------------------------------------------------------------------


def test_states_are_checked():
    with pytest.raises(ValueError, match="'odd' is not one of"):
        Check("x", "odd", "")


def test_cpu_names_levels_and_what_they_miss(monkeypatch):
    check = checks.check_cpu()
    assert check.facts["levels"] == LEVELS
    monkeypatch.setattr(native, "machine", lambda: "riscv64")
    check = checks.check_cpu()
    assert check.state == "warn"
    assert "no compiled kernels" in check.text


@pytest.fixture
def libraries(tmp_path):
    for path in Path(native.FOLDER).iterdir():
        if path.suffix in (".so", ".json"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_libraries_are_compared_with_their_build(libraries):
    assert checks.check_libraries(libraries).state == "ok"
    path = Path(native.library_path(LEVELS[0], libraries))
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.unlink()  # it is loaded: writing into it would take the ground from under the dynamic linker
    path.write_bytes(raw)
    check = checks.check_libraries(libraries)
    assert check.state == "fail"
    assert f"{path.name}: not the file that was built" in check.text
    path.unlink()
    assert f"{path.name}: No such file" in checks.check_libraries(libraries).text
    (libraries / "BUILD.json").write_text("{")
    assert checks.check_libraries(libraries).state == "fail"


def test_a_package_for_any_platform_has_no_libraries_and_that_is_no_fault(tmp_path):
    check = checks.check_libraries(tmp_path / "lib")
    assert check.state == "note" and "any platform" in check.text


def test_engine_says_why(folder, monkeypatch):
    bundle = Bundle.load(folder)
    monkeypatch.delenv("EDGE_DEMIST_ENGINE", raising=False)
    monkeypatch.delenv("EDGE_DEMIST_KERNEL", raising=False)
    check = checks.check_engine(bundle)
    assert check.state == "ok"
    assert f"native {LEVELS[0]}: the best compiled level" in check.text
    monkeypatch.setenv("EDGE_DEMIST_KERNEL", LEVELS[-1])
    assert f"asked for by EDGE_DEMIST_KERNEL={LEVELS[-1]}" in checks.check_engine(bundle).text
    monkeypatch.setenv("EDGE_DEMIST_KERNEL", "x86_64_none")
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    check = checks.check_engine(bundle)
    assert check.state == "fail"
    assert "x86_64_none" in check.text
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: name)
    check = checks.check_engine(None)
    assert check.state == "warn"
    assert "auto would try jit next" in check.text
    monkeypatch.setenv("EDGE_DEMIST_ENGINE", "onnxruntime")
    assert checks.check_engine(bundle).state == "note"


def test_engines_are_looked_up_not_imported(folder):
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from edge_demist.diagnostics import checks; from edge_demist.format.bundle import Bundle\n"
        f"checks.check_engine(Bundle.load(Path({str(folder)!r})))\n"
        "assert not {'onnxruntime', 'numba', 'llvmlite'} & set(sys.modules), 'imported unasked'"
    )
    if os.environ.get("EDGE_DEMIST_EMULATED"):
        pytest.skip("the emulation starts no other programs")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_bundle_is_verified(folder, tmp_path):
    bundle, check = checks.open_bundle(folder)
    assert bundle is not None
    assert check.state == "ok"
    assert "hashes agree; not signed" in check.text
    missing, check = checks.open_bundle(tmp_path / "none")
    assert missing is None
    assert check.state == "fail"


def test_loose_permissions_are_found(tmp_path):
    file = tmp_path / "weights"
    file.write_text("x")
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    assert checks.check_permissions([tmp_path, tmp_path / "none"]).state == "ok"
    file.chmod(0o666)
    check = checks.check_permissions([tmp_path])
    assert check.state == "warn"
    assert check.facts["writable_by_all"] == [str(file)]


def test_writable_folders(tmp_path, monkeypatch):
    assert checks.writable(tmp_path / "not" / "there" / "yet")
    monkeypatch.setattr(checks.tempfile, "TemporaryFile", lambda dir: (_ for _ in ()).throw(PermissionError(13, "no")))
    assert not checks.writable(tmp_path)
    check = checks.check_writing()
    assert check.state == "note"
    assert "NOT writable" in check.text


def test_clock(monkeypatch):
    assert checks.check_clock("2026-01-01T00:00:00Z").state == "ok"
    assert checks.check_clock("not a date").state == "ok"
    assert checks.check_clock("2999-01-01T00:00:00Z").state == "fail"
    monkeypatch.setattr(checks.time, "time", lambda: 0.0)
    check = checks.check_clock()
    assert check.state == "fail"
    assert "1970-01-01" in check.text
    monkeypatch.setattr(checks.time, "monotonic", lambda: 1.0)
    assert "stands still" in checks.check_clock().text


def test_memory(folder, monkeypatch):
    bundle = Bundle.load(folder)
    text = {"/proc/meminfo": "MemTotal: 1 kB\nMemAvailable: 900000 kB\n", "/sys/fs/cgroup/memory.max": "max"}
    monkeypatch.setattr(checks.machine, "read", lambda path: text.get(str(path)))
    assert checks.check_memory(bundle).state == "ok"
    text["/sys/fs/cgroup/memory.max"] = "1000000"
    check = checks.check_memory(bundle)
    assert check.state == "warn"
    assert check.facts["limit_bytes"] == 1_000_000
    text.clear()
    assert checks.check_memory(None).state == "note"


# ---- command ---------------------------------------------------------------------------------------------


def test_command_passes(folder, capsys):
    assert cli.main(["doctor", "--bundle", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "checks passed" in out
    assert all(f"bits of {level}" in out for level in LEVELS)


def test_command_fails_and_still_checks_the_rest(tmp_path, capsys):
    assert cli.main(["doctor", "--bundle", str(tmp_path / "none"), "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert value["failed"] == ["bundle"]
    names = [check["name"] for check in value["checks"]]
    assert {"cpu", "libraries", "clock", "memory", f"bits of {LEVELS[0]}"} <= set(names)


def test_damaged_bundle_fails(folder, tmp_path, capsys):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    raw = bytearray((copy / "weights.safetensors").read_bytes())
    raw[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(raw)
    assert cli.main(["doctor", "--bundle", str(copy)]) == 1
    assert "FAIL  bundle:" in capsys.readouterr().out


def test_checks_are_lazy():
    first = next(doctor.all_checks(None))
    assert first.name == "cpu"
    assert SimpleNamespace(**first.values()).state in ("ok", "warn")
