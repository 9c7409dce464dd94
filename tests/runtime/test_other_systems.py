"""Without what only Linux has: the package, its commands and their help work; the sensor's commands say what they need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import edge_demist

POSIX = ("fcntl", "resource", "termios", "pwd", "grp", "posix_ipc", "syslog")
"""Modules of the standard library that Windows lacks."""
HIDE = f"""
import json, os, select, signal, socket, sys
for name in {POSIX!r} + tuple(os.environ.get("HIDDEN_PACKAGES", "").split()):
    sys.modules[name] = None
for name in ("O_NONBLOCK", "O_NOCTTY", "O_NOFOLLOW", "O_CLOEXEC", "O_DIRECTORY", "geteuid", "getuid", "fchmod", "fork", "pipe2", "pread",
             "sched_getaffinity", "register_at_fork", "uname", "statvfs"):
    if hasattr(os, name):
        delattr(os, name)
for module, names in ((signal, ("SIGHUP", "SIGKILL", "SIGPIPE")), (socket, ("AF_UNIX",))):
    for name in names:
        delattr(module, name)
sys.platform = "win32"
from edge_demist.cli import main
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The package as the wheel for any system holds it: without compiled kernels."""
    folder = tmp_path_factory.mktemp("any")
    ignore = shutil.ignore_patterns("__pycache__", "lib", "model")
    shutil.copytree(Path(edge_demist.__file__).parent, folder / "edge_demist", ignore=ignore)
    (folder / "edge_demist" / "assets" / "model").symlink_to(Path(edge_demist.__file__).parent / "assets" / "model")
    return folder


def run(folder: Path, code: str, hidden: str = "") -> subprocess.CompletedProcess[str]:
    place = {**os.environ, "PYTHONPATH": str(folder), "HIDDEN_PACKAGES": hidden}
    return subprocess.run(
        [sys.executable, "-c", HIDE + code], env=place, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def test_help_needs_nothing_that_only_linux_has(plain):
    done = run(plain, "main(['--help'])")
    assert done.returncode == 0, done.stderr
    assert "watch" in done.stdout


@pytest.mark.parametrize("command", [["watch", "x"], ["status"], ["install-service"]], ids=lambda c: c[0])
def test_the_sensor_says_that_it_needs_linux(plain, command):
    done = run(plain, f"sys.exit(main({command!r}))")
    assert done.returncode == 2 and f"edge-demist {command[0]} needs Linux" in done.stderr


def test_without_an_engine_it_says_what_to_install(plain):
    done = run(plain, "sys.exit(main(['tokenize', '-']))", "numba onnxruntime")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "edge-demist[jit]" in done.stderr


def test_each_extra_for_other_systems_brings_the_compiler_of_the_tokenizer():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for extra in ("jit", "onnxruntime"):
        assert any(package.startswith("numba==") for package in project["optional-dependencies"][extra])


@pytest.mark.slow  # Numba compiles every kernel
@pytest.mark.parametrize("engine", ["jit", "onnxruntime"])
def test_it_classifies_and_embeds_on_either_extra(plain, engine, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setenv("EDGE_DEMIST_ENGINE", engine)
    (plain / "names.txt").write_text("kernel.org\nxjwqpvkz.info\n")
    code = "sys.exit(main(['classify', '--task', 'dga', 'names.txt']) or main(['embed', 'names.txt', '-o', 'v.jsonl']))"
    done = run(plain, code, "" if engine == "onnxruntime" else "onnxruntime")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["legit", "dga"]
    assert len((plain / "v.jsonl").read_text().splitlines()) == 2
