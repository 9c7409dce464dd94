"""schemathesis over the OpenAPI document: what it says is what the service does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from benchmarks.serve import service

PROGRAM = shutil.which("st", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(PROGRAM is None, reason="schemathesis is not installed")
def test_the_document_and_the_service_agree(tmp_path: Path) -> None:
    # a document cannot say which level each specialist has: valid requests may be refused with 422
    with service() as port:
        words = [str(PROGRAM), "run", f"http://127.0.0.1:{port}/openapi.json", "--max-examples", "8", "--seed", "1"]
        words += ["--exclude-checks", "positive_data_acceptance", "--no-color"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "19 selected" in done.stdout
