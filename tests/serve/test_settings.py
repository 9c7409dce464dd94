"""How a service is started, and what it does without its extra."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_demist.errors import InputError
from edge_demist.serve import openapi
from edge_demist.serve.settings import Settings, read_key


def test_an_open_address_needs_a_key(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "sensor.example"):
        with pytest.raises(InputError, match="--api-key-file"):
            Settings(host=host, port=1)
    assert Settings(host="127.0.0.1", port=1).local and Settings(host="::1", port=1).local and Settings(host="localhost", port=1).local
    with pytest.raises(InputError, match="--uds PATH or --port"):
        Settings()
    (tmp_path / "key").write_text("short\n")
    with pytest.raises(InputError, match="16 to 512"):
        read_key(tmp_path / "key")
    (tmp_path / "key").write_text("k" * 32 + "\n")
    assert Settings(host="0.0.0.0", port=1, api_key=read_key(tmp_path / "key")).port == 1


def test_nothing_of_it_is_loaded_unasked_and_the_extra_is_named() -> None:
    code = "import sys, edge_demist, edge_demist.cli; assert not any('serve' in n or n in ('starlette', 'uvicorn') for n in sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)
    code = "import sys; sys.modules['uvicorn'] = None; from edge_demist.cli import main; sys.exit(main(['serve', '--port', '1']))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 2 and b"pip install 'edge-demist[serve]'" in done.stderr


def test_the_openapi_document_names_every_route(model) -> None:
    pytest.importorskip("starlette")
    from edge_demist.serve.app import ROUTES

    found = openapi.document(model.tasks, model.dim)
    json.dumps(found)
    assert {path.replace(":path", "") for _, path, _ in ROUTES} <= set(found["paths"])
    for path, methods in found["paths"].items():
        for method, one in methods.items():
            assert one["responses"]["200"] and (method == "get" or one["requestBody"]["required"]), path
