"""Shared fixtures. The package under test is the installed one; quantize/, tools/ and benchmarks/ come from the tree."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "tests")]
settings.register_profile("default", deadline=None, derandomize=True)
settings.load_profile("default")
if "EDGE_DEMIST_CACHE" not in os.environ:  # what a test leaves behind is no part of the user's cache
    os.environ["EDGE_DEMIST_CACHE"] = tempfile.mkdtemp(prefix="edge-demist-tests-")
    atexit.register(shutil.rmtree, os.environ["EDGE_DEMIST_CACHE"], ignore_errors=True)
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """Folder with the training data; tests that need it are skipped without it."""
    if not DATA.is_dir():
        pytest.skip("the training data is not on this machine")
    return DATA


@pytest.fixture(scope="session")
def model():
    """The shipped bundle on the default engine."""
    from edge_demist import EdgeDemist

    return EdgeDemist.load()


@pytest.fixture
def bundle_copy(tmp_path):
    """A copy of the shipped bundle that a test may damage."""
    from edge_demist.format.bundle import default_path

    folder = tmp_path / "bundle"
    shutil.copytree(default_path(), folder)
    return folder


@pytest.fixture
def rehash():
    """Make a changed bundle's manifest consistent again, as an attacker would."""

    def apply(folder, **changes):
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        for name in manifest["files"]:
            raw = (folder / name).read_bytes()
            manifest["files"][name] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
        manifest.update(changes)
        path.write_text(json.dumps(manifest))

    return apply
